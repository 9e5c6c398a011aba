/** The state as people are told it: computed when somebody asks, never stored. */
import type { ActiveUplink, Decision, Instant, Status, TargetStatus, UplinkStatus } from '../model.js';
import { addressOf } from './ask.js';
import type { Health } from './health.js';
import { verdictOf } from './judge.js';
import { markOf, tableOf } from './layout.js';
import { lossPercent, misses, timeoutMs, type TargetRecord } from './record.js';
import type { State } from './state.js';

const LOSS_WINDOW_MS = 30_000;
const NOTHING_YET: Decision = { ranks: [], generation: 0, since: 0 as Instant, because: 'waiting for the first answers', rule: 'automatic', order: '' };

export function status(state: State, now: Instant): Status {
  const decision = state.decision ?? { ...NOTHING_YET, generation: state.generationBefore, since: state.startedAt };
  return {
    at: now, decision, active: activeUplinks(state, decision), override: state.override,
    uplinks: [...state.health.values()].map((health) => uplinkStatus(state, decision, health, now)),
    kernel: {
      inSync: state.repair.inSync, lastReadAt: state.repair.lastReadAt, failures: state.repair.failures,
      repairs: state.repair.repairs, applied: state.repair.applied,
    },
    host: state.hostReport,
    controller: { startedAt: state.startedAt, ready: state.ready, worstLatenessMs: state.worstLatenessMs, steps: state.steps },
  };
}

/** An uplink that no frame can leave by carries nothing, whatever was ordered. */
function activeUplinks(state: State, decision: Decision): readonly ActiveUplink[] {
  return (decision.ranks[0]?.members ?? []).flatMap((member) => {
    const health = state.health.get(member.uplink);
    if (health === undefined || health.line.severed !== '') return [];
    return [{ name: member.uplink, interface: health.policy.interface, gateway: health.line.gateway, family: 4 as const, weight: member.weight }];
  });
}

function uplinkStatus(state: State, decision: Decision, health: Health, now: Instant): UplinkStatus {
  const { policy, line } = health;
  const rank = decision.ranks.findIndex((r) => r.members.some((m) => m.uplink === policy.name));
  const link = state.facts?.links.find((l) => l.index === line.ifindex);
  return {
    ...verdictOf(health),
    interface: policy.interface, ifindex: line.ifindex === 0 ? undefined : line.ifindex,
    addresses: (state.facts?.addresses ?? []).filter((a) => a.ifindex === line.ifindex && a.scope === 0).map((a) => `${a.address}/${a.prefixLength}`),
    gateway: line.gateway, priority: policy.priority, weight: policy.weight, metered: policy.metered, carrier: link?.carrier ?? false,
    active: rank === 0 && line.severed === '', rank: rank < 0 ? undefined : rank,
    mark: markOf(policy.slot, state.policy.markMask), table: tableOf(policy.slot),
    targets: health.records.map((record) => targetStatus(health, record, now)),
    suspicions: health.suspicions, downs: health.downs,
  };
}

function targetStatus(health: Health, record: TargetRecord, now: Instant): TargetStatus {
  const judgedAt = Math.min(now, health.judgedAt) as Instant;
  return {
    target: record.target.id, kind: record.target.kind, address: addressOf(health, record.target),
    rttMs: record.srttMs, jitterMs: record.srttMs === undefined ? undefined : record.rttvarMs,
    lossPercent: lossPercent(record, judgedAt, LOSS_WINDOW_MS), timeoutMs: timeoutMs(record, health.policy.probe),
    answering: record.lastReplyAt !== undefined && misses(record, judgedAt) === 0 && health.line.severed === '',
    lastReplyAt: record.lastReplyAt, lastError: record.lastError, sent: record.sent, received: record.received,
  };
}
