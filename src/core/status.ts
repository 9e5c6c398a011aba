/** The state as people are told it: computed when somebody asks, never stored. */
import type { ActiveUplink, Decision, FamilyStatus, Instant, PolicyStatus, Status, TargetStatus, UplinkPolicy, UplinkStatus } from '../model.js';
import { addressOf } from './ask.js';
import { classesOf } from './classes.js';
import { dampingStatus } from './damping.js';
import { classRanks } from './desire.js';
import { evidenceOf } from './domain.js';
import type { Health } from './health.js';
import { markOf, tableOf } from './layout.js';
import { qualityStatus } from './quality.js';
import { lossPercent, misses, timeoutMs, type TargetRecord } from './record.js';
import { spentBytes } from './spending.js';
import type { Plane, State } from './state.js';
import { trafficStatus } from './traffic.js';
import { isLiving, verdictOf } from './verdict.js';

const LOSS_WINDOW_MS = 30_000;
const NOTHING_YET: Decision = { ranks: [], generation: 0, since: 0 as Instant, because: 'waiting for the first answers', rule: 'automatic', order: '', fit: [] };

export function status(state: State, now: Instant): Status {
  const decisions = [...state.planes.values()].map((plane) => ({ family: plane.family, decision: decisionOf(state, plane) }));
  return {
    at: now, decision: inOne(decisions.map(({ decision }) => decision), state.generation), decisions,
    active: [...state.planes.values()].flatMap((plane) => activeUplinks(plane)), override: state.override,
    uplinks: state.policy.uplinks.flatMap((uplink) => uplinkStatus(state, uplink, now) ?? []),
    kernel: {
      ...kernelSync(state), lastReadAt: state.repair.lastReadAt,
      repairs: state.repair.repairs, applied: state.repair.applied,
    },
    host: hostStatus(state),
    controller: { startedAt: state.startedAt, ready: state.ready, worstLatenessMs: state.worstLatenessMs, steps: state.steps },
  };
}

/** What is wrong with prefixes is nothing that the packet filter knows of, and is in the same place for people. */
function hostStatus({ hostReport, prefixProblems }: State): Status['host'] {
  return hostReport === undefined ? undefined : { ...hostReport, problems: [...hostReport.problems, ...prefixProblems.map(({ text }) => text)] };
}

/** A foreign route that refuses everything is as good as none of ours standing. */
function kernelSync({ repair }: State): Pick<Status['kernel'], 'inSync' | 'failures'> {
  const refusing = repair.refusals.filter(({ isPassed }) => !isPassed).map(({ text }) => text);
  return { inSync: repair.inSync && refusing.length === 0, failures: [...repair.failures, ...refusing] };
}

/** What carries each policy's new connections now. The packet filter has the counters. */
export function policyStatus(state: State): readonly Omit<PolicyStatus, 'connections' | 'bytes'>[] {
  const classes = classesOf(state.policy);
  return state.policy.policies.map((policy) => ({
    policy,
    active: [...state.planes.values()].map(({ family, decision }) => ({
      family, uplinks: decision === undefined ? [] : (classRanks(classes.of.get(policy.name)!, decision)[0]?.members ?? []).map((member) => member.uplink),
    })),
  }));
}

/** IPv4's decision speaks for all, unless it has nobody and another family has; the generation counts changes in any family. */
function inOne(decisions: readonly Decision[], generation: number): Decision {
  const first = decisions.find((decision) => decision.ranks.length > 0) ?? decisions[0] ?? NOTHING_YET;
  return { ...first, generation };
}

function decisionOf(state: State, plane: Plane): Decision {
  return plane.decision ?? { ...NOTHING_YET, generation: state.generation, since: plane.openedAt };
}

/** An uplink that no frame can leave by carries nothing, whatever was ordered. */
function activeUplinks({ family, health, decision }: Plane): readonly ActiveUplink[] {
  return (decision?.ranks[0]?.members ?? []).flatMap((member) => {
    const each = health.get(member.uplink);
    if (each === undefined || each.line.severed !== '') return [];
    return [{ name: member.uplink, interface: each.line.device, gateway: each.line.gateway, family, weight: member.weight }];
  });
}

/** undefined in the moment between a new policy and its first step. */
function uplinkStatus(state: State, policy: UplinkPolicy, now: Instant): UplinkStatus | undefined {
  const present = [...state.planes.values()].flatMap((plane) => {
    const health = plane.health.get(policy.name);
    return health === undefined ? [] : [{ plane, health }];
  });
  // A line that never had an IPv4 address is an IPv6 line.
  const told = present.length > 1 && present[0]!.health.line.severedDomain === 'address' ? [...present.slice(1), present[0]!] : present;
  const [first] = told;
  if (first === undefined) return undefined;
  const families = told.map(({ plane, health }) => familyStatus(state, plane, health, now));
  const { line } = first.health;
  const link = state.facts?.links.find((l) => l.index === line.ifindex);
  return {
    ...verdictOf(first.health), families,
    interface: line.device === '' ? policy.interface : line.device, ifindex: line.ifindex === 0 ? undefined : line.ifindex,
    addresses: (state.facts?.addresses ?? []).filter((a) => a.ifindex === line.ifindex && a.scope === 0).map((a) => `${a.address}/${a.prefixLength}`),
    gateway: line.gateway, priority: policy.priority, weight: policy.weight, metered: policy.metered, carrier: link?.carrier ?? false,
    active: families.some((family) => family.active), rank: families[0]!.rank,
    mark: markOf(policy.slot, state.policy.markMask), table: tableOf(policy.slot),
    targets: told.flatMap(({ health }) => health.records.map((record) => targetStatus(health, record, now))),
    suspicions: sum(told, ({ health }) => health.suspicions), downs: sum(told, ({ health }) => health.downs),
    probeBytes: { spent: sum(told, ({ health }) => spentBytes(health.spending, now)), budget: policy.probe.budgetBytes },
    outside: state.outside.filter((verdict) => verdict.uplink === policy.name),
  };
}

function familyStatus(state: State, { family, decision }: Plane, health: Health, now: Instant): FamilyStatus {
  const { uplink, ...verdict } = verdictOf(health);
  const rank = (decision?.ranks ?? []).findIndex((r) => r.members.some((member) => member.uplink === uplink));
  return {
    // What a silent one was condemned by stays; of one that lives, how its witnesses fare now.
    ...verdict, evidence: isLiving(health) ? evidenceOf(health, now) : verdict.evidence, family, gateway: health.line.gateway, quality: qualityStatus(health, now), damping: dampingStatus(state.policy, health, now),
    traffic: trafficStatus(health.traffic, now), active: rank === 0 && health.line.severed === '', rank: rank < 0 ? undefined : rank,
  };
}

function targetStatus(health: Health, record: TargetRecord, now: Instant): TargetStatus {
  const judgedAt = Math.min(now, health.judgedAt) as Instant;
  return {
    family: health.family, target: record.target.id, kind: record.target.kind, address: addressOf(health, record.target),
    rttMs: record.srttMs, jitterMs: record.srttMs === undefined ? undefined : record.rttvarMs,
    lossPercent: lossPercent(record, judgedAt, LOSS_WINDOW_MS), timeoutMs: timeoutMs(record, health.policy.probe),
    answering: record.lastReplyAt !== undefined && misses(record, judgedAt) === 0 && health.line.severed === '',
    lastReplyAt: record.lastReplyAt, lastError: record.lastError, lastCause: record.lastCause, sent: record.sent, received: record.received,
  };
}

function sum<T>(items: readonly T[], valueOf: (item: T) => number): number {
  return items.reduce((total, item) => total + valueOf(item), 0);
}
