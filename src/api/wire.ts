/**
 * From the model to the JSON of the API and back: the only place where both are known.
 *
 * Instants are monotonic; people read wall time. An instant is shown as
 *     wall(instant) = instant + (wall now - monotonic now)
 * with the offset in the brackets sampled at each answer. A wall clock that is set right (NTP after boot) therefore moves all
 * the times shown, old events too, and their distances stay true. The offset is kept while it wanders by less than
 * HELD_MS, so that an unchanged event reads the same in every answer (its ETag depends on it).
 */
import type { ActiveUplink, Decision, Family, FamilyStatus, Instant, OutsideVerdict, Override, Status, TargetStatus, UplinkStatus } from '../model.js';
import type { ActiveAnswer, DecisionPart, StatusAnswer } from './schemas.js';
import type { UplinkAnswer, UplinkFamilyPart } from './uplink-schemas.js';

export interface Clock {
  /** Monotonic. */
  now(): Instant;
  /** Milliseconds since 1970, as Date.now(). */
  wallMs(): number;
}

export interface Identity {
  readonly version: string;
  /** Another one at each start of the daemon; letters, digits and hyphens. */
  readonly boot: string;
}

/** RFC 3339, UTC, milliseconds. */
export type ShowTime = (instant: Instant) => string;

const HELD_MS = 100;
/** Of an uplink that has no family. */
const UNMEASURED = {
  quality: { lossPercent: undefined, latencyMs: undefined, jitterMs: undefined, busy: false },
  damping: { penalty: 0, suppressedUntil: undefined, holdMs: 0, awaits: 'nothing' },
  traffic: undefined,
} as const satisfies Pick<FamilyStatus, 'quality' | 'damping' | 'traffic'>;

/** @returns a function that samples the clock and gives the converter for one answer: the same one while the offset is held */
export function openCalendar(clock: Clock): () => ShowTime {
  let heldMs = Number.NaN;
  let show: ShowTime;
  return () => {
    const offsetMs = clock.wallMs() - clock.now();
    if (!(Math.abs(offsetMs - heldMs) < HELD_MS)) {
      heldMs = offsetMs;
      show = (instant) => new Date(instant + offsetMs).toISOString();
    }
    return show;
  };
}

export function wireActive(status: Status, show: ShowTime): ActiveAnswer {
  return {
    generation: status.decision.generation,
    active: status.active.map(wireActiveUplink),
    since: show(status.decision.since),
    because: status.decision.because,
    override: wireOverride(status.override, show),
  };
}

export function wireStatus(status: Status, identity: Identity, show: ShowTime): StatusAnswer {
  const { kernel, host, controller } = status;
  return {
    at: show(status.at),
    ...wireActive(status, show),
    rule: status.decision.rule,
    decisions: status.decisions.map((one) => wireDecision(one, show)),
    uplinks: status.uplinks.map((uplink) => wireUplink(uplink, show)),
    kernel: {
      inSync: kernel.inSync,
      lastReadAt: orNull(kernel.lastReadAt, show),
      failures: kernel.failures,
      repairs: kernel.repairs,
      applied: kernel.applied,
    },
    host: host === undefined ? null : { natBackend: host.natBackend, natInSync: host.natInSync, sysctlsInSync: host.sysctlsInSync, problems: host.problems },
    controller: {
      version: identity.version,
      boot: identity.boot,
      startedAt: show(controller.startedAt),
      ready: controller.ready,
      worstLatenessMs: rounded(controller.worstLatenessMs),
      steps: controller.steps,
    },
  };
}

export function wireDecision({ family, decision }: { readonly family: Family; readonly decision: Decision }, show: ShowTime): DecisionPart {
  return {
    family,
    order: decision.ranks.map((rank) => rank.members.map((member) => member.uplink)),
    rule: decision.rule,
    because: decision.because,
    since: show(decision.since),
    generation: decision.generation,
  };
}

export function wireUplink(uplink: UplinkStatus, show: ShowTime): UplinkAnswer {
  const { quality, damping, traffic } = uplink.families[0] ?? UNMEASURED;
  return {
    name: uplink.uplink,
    ...wireJudged({ ...uplink, quality, damping, traffic }, show),
    interface: uplink.interface,
    ifindex: uplink.ifindex ?? null,
    addresses: uplink.addresses,
    carrier: uplink.carrier,
    priority: uplink.priority,
    weight: uplink.weight,
    metered: uplink.metered,
    mark: hexadecimal(uplink.mark),
    table: uplink.table,
    suspicions: uplink.suspicions,
    downs: uplink.downs,
    probeBytes: { spent: Math.round(uplink.probeBytes.spent), budget: orNull(uplink.probeBytes.budget, Math.round) },
    outside: uplink.outside.map((verdict) => wireOutside(verdict, show)),
    families: uplink.families.map((one) => ({ family: one.family, ...wireJudged(one, show) })),
    targets: uplink.targets.map((target) => wireTarget(target, show)),
  };
}

export function hexadecimal(value: number): string {
  return `0x${value.toString(16)}`;
}

/** What stands of an uplink as a whole and of each of its families. */
function wireJudged(judged: Omit<FamilyStatus, 'family'>, show: ShowTime): Omit<UplinkFamilyPart, 'family'> {
  const { quality, damping, traffic } = judged;
  return {
    state: judged.state,
    since: show(judged.since),
    because: judged.because,
    domain: judged.domain,
    evidence: judged.evidence.map(({ witness, name, says, text }) => ({ witness, name, says, text })),
    active: judged.active,
    rank: judged.rank ?? null,
    gateway: wireGateway(judged.gateway),
    severed: judged.severed,
    inDoubt: judged.inDoubt,
    holdUntil: orNull(judged.holdUntil, show),
    quality: {
      lossPercent: orNull(quality.lossPercent, rounded),
      latencyMs: orNull(quality.latencyMs, rounded),
      jitterMs: orNull(quality.jitterMs, rounded),
      busy: quality.busy,
    },
    damping: { penalty: rounded(damping.penalty), suppressedUntil: orNull(damping.suppressedUntil, show), holdMs: rounded(damping.holdMs), awaits: damping.awaits },
    traffic: traffic === undefined ? null : {
      sentPacketsPerSecond: rounded(traffic.sentPackets),
      answeredPacketsPerSecond: rounded(traffic.answeredPackets),
      sentBytesPerSecond: rounded(traffic.sentBytes),
      answeredBytesPerSecond: rounded(traffic.answeredBytes),
      progressing: traffic.progressing ?? null,
    },
  };
}

function wireOutside(verdict: OutsideVerdict, show: ShowTime): UplinkAnswer['outside'][number] {
  return { state: verdict.state, by: verdict.by, because: verdict.because, since: show(verdict.since), until: show(verdict.until) };
}

function wireActiveUplink(active: ActiveUplink): ActiveAnswer['active'][number] {
  return { name: active.name, interface: active.interface, gateway: wireGateway(active.gateway), family: active.family, weight: active.weight };
}

function wireOverride(override: Override | undefined, show: ShowTime): ActiveAnswer['override'] {
  if (override === undefined) return null;
  return {
    uplink: override.uplink,
    until: orNull(override.until, show),
    confirmBy: orNull(override.confirmBy, show),
    reason: override.reason,
    by: override.by,
    since: show(override.since),
    ifDead: override.ifDead,
  };
}

function wireTarget(target: TargetStatus, show: ShowTime): UplinkAnswer['targets'][number] {
  return {
    family: target.family,
    target: target.target,
    kind: target.kind,
    address: target.address === '' ? null : target.address,
    answering: target.answering,
    rttMs: orNull(target.rttMs, rounded),
    jitterMs: orNull(target.jitterMs, rounded),
    lossPercent: orNull(target.lossPercent, rounded),
    timeoutMs: rounded(target.timeoutMs),
    lastReplyAt: orNull(target.lastReplyAt, show),
    lastError: target.lastError,
    lastCause: target.lastCause ?? null,
    sent: target.sent,
    received: target.received,
  };
}

function wireGateway(gateway: string): string | null {
  return gateway === '' ? null : gateway;
}

function orNull<T, R>(value: T | undefined, show: (value: T) => R): R | null {
  return value === undefined ? null : show(value);
}

/** Of milliseconds: microseconds are the last digit that means something. */
function rounded(value: number): number {
  return Math.round(value * 1000) / 1000;
}
