/** What is remembered of one uplink in one family. Judged by judge.ts, asked by ask.ts; owned by `step` and changed in place. */
import type { Address, Evidence, Family, FaultDomain, Instant, OutsideVerdict, Proof, Target, UplinkPolicy, UplinkState } from '../model.js';
import { openRecord, type TargetRecord } from './record.js';
import { openSpending, type Spending } from './spending.js';
import { openTraffic, type Traffic } from './traffic.js';
import { isAside, isGateway } from './witness.js';

/** What is known of the line itself, from the kernel. */
export interface Line {
  readonly ifindex: number;
  /** The device's present name; what was looked for where there is none. */
  readonly device: string;
  /** The one that packets into the internet bear (source.ts), '' when there is none. */
  readonly address: string;
  /** All that it has of this family; the destination of a packet decides. */
  readonly addresses: readonly Address[];
  /** Preferred source of the route that the gateway was learnt from, '' = it has none. */
  readonly source: string;
  /** '' for point-to-point lines. */
  readonly gateway: string;
  /** Why no frame can leave, in words; '' when one can. */
  readonly severed: string;
  readonly severedDomain: FaultDomain;
}

export interface Burst {
  /** When the first unanswered probe was sent: answers to later probes are evidence of life. */
  readonly evidenceFrom: Instant;
  /** Since when nothing came back, as far as is known. */
  readonly silentFrom: Instant;
  /** Began with connections that got no answers any more. */
  readonly byTraffic: boolean;
  /** Connections get no answers either. */
  isConfirmed: boolean;
  readonly startedAt: Instant;
  /** Nobody is suspected before. */
  patientUntil: Instant;
  volleys: number;
  left: number;
  nextAt: Instant;
  /** When it last asked: it is over when all that was asked until then is. Steady probes of later go on beside it and do not prolong it. */
  askedAt: Instant;
}

export interface Starvation {
  readonly until: Instant;
  readonly forMs: number;
}

/** Owned by `step` and changed in place. */
export interface Health {
  readonly name: string;
  readonly family: Family;
  policy: UplinkPolicy;
  line: Line;
  state: UplinkState;
  since: Instant;
  because: string;
  domain: FaultDomain;
  evidence: readonly Evidence[];
  records: readonly TargetRecord[];
  burst: Burst | undefined;
  /** Asked then, because another uplink went silent, and not answered yet. */
  checkedAt: Instant | undefined;
  silentSince: Instant | undefined;
  /** Since when we could not ask, by our own fault. */
  blindSince: Instant | undefined;
  /** When we ourselves were starved, lately: what was not asked then is no silence. */
  starved: readonly Starvation[];
  /** New flows stay away until then, although it answers again. */
  restUntil: Instant | undefined;
  /** When it last came up from `down`, `degraded` or `unknown`. A suspicion that proved wrong does not count. */
  risenAt: Instant;
  /** It was down or degraded once, or a former run preferred another one: it has to hold before it leads. */
  mustProve: boolean;
  suspicions: number;
  downs: number;
  /** Decaying counts (half-life), for rest and hold to grow with. */
  suspicionLevel: number;
  penalty: number;
  levelsAt: Instant;
  /** The penalty reached `suppress`, and has not fallen to `reuse` since. */
  suppressed: boolean;
  /** What was wrong with it before it was suspected: it still is when it answers again. */
  poor: { readonly domain: FaultDomain; readonly because: string } | undefined;
  /** Since then no target answers, and connections do: they keep it up. */
  vouchedSince: Instant | undefined;
  /** Connections have gone quiet: a burst is to find out. */
  alarmed: boolean;
  /** Quality is judged by what was asked since then. */
  qualityFrom: Instant;
  readonly traffic: Traffic;
  readonly spending: Spending;
  /** What others say of the uplink. */
  outside: readonly OutsideVerdict[];
  /** Carries new flows now. */
  leads: boolean;
  /** It may lead as soon as it shows this. */
  awaits: Proof;
  /** The verdict, or the doubt about it, has changed since the last decision. */
  changed: boolean;
  /** What people were told last. */
  toldState: UplinkState;
  toldBecause: string;
  /** Deadlines up to here have been judged. */
  judgedAt: Instant;
  /** When quality is looked at next. */
  qualityAt: Instant;
  /** When `pass` has something to do next; Infinity for a severed line. Kept, because it is asked for at every step. */
  nextPassAt: number;
}

const UNPLUGGED: Line = {
  ifindex: 0, device: '', address: '', addresses: [], source: '', gateway: '', severed: 'the kernel has not been read yet', severedDomain: 'device',
};

/** @param former what was remembered of it under an older policy */
export function openHealth(policy: UplinkPolicy, family: Family, now: Instant, former?: Health): Health {
  return {
    name: policy.name, family, policy, line: UNPLUGGED, state: 'unknown', since: now, because: 'not judged yet', domain: 'none', evidence: [],
    records: openRecords(policy, family, now, former?.records ?? []),
    burst: undefined, checkedAt: undefined, silentSince: undefined, starved: [], blindSince: undefined, restUntil: undefined, risenAt: now, mustProve: former?.mustProve ?? false,
    suspicions: former?.suspicions ?? 0, downs: former?.downs ?? 0,
    suspicionLevel: former?.suspicionLevel ?? 0, penalty: former?.penalty ?? 0, levelsAt: former?.levelsAt ?? now, suppressed: former?.suppressed ?? false,
    poor: undefined, vouchedSince: undefined, alarmed: false, qualityFrom: now, traffic: former?.traffic ?? openTraffic(now), spending: former?.spending ?? openSpending(now), outside: former?.outside ?? [], leads: former?.leads ?? false, awaits: 'nothing',
    judgedAt: now, qualityAt: now, nextPassAt: now, changed: true, toldState: 'unknown', toldBecause: 'not judged yet',
  };
}

/**
 * The first round goes out at once; then the grids are staggered: three targets at 1/s look at the uplink every 333 ms, and whoever only explains is
 * asked between them. No two uplinks share their instants either: the golden ratio spreads any number of slots evenly.
 */
export function openRecords(policy: UplinkPolicy, family: Family, now: Instant, former: readonly TargetRecord[]): readonly TargetRecord[] {
  const { intervalMs, rotate } = policy.probe;
  const targets = targetsIn(policy, family);
  const offset = (policy.slot * 0.618034) % 1;
  const seated = targets.filter((target) => !isAside({ target }));
  const turns = seated.filter((target) => !isGateway({ target }));
  const seats = Math.max(1, seated.length);
  return targets.map((target, i) => {
    const seat = isAside({ target }) ? (i + 0.5) % seats : seated.indexOf(target);
    // Who is asked in turn is spread over all turns, the others over one interval.
    const turn = rotate > 0 && rotate < turns.length ? turns.indexOf(target) : -1;
    const startMs = turn < 0 ? ((seat + offset) * intervalMs) / seats - intervalMs : ((turn + offset - turns.length) * intervalMs) / rotate;
    return openRecord(target, (now + startMs) as Instant, remembered(policy, target), former.find((record) => record.target.id === target.id));
  });
}

/** How many probes any rule looks back at. */
function remembered({ probe, health }: UplinkPolicy, target: Target): number {
  const longestMs = target.kind === 'exec' ? target.limitMs : probe.timeoutMs === 'auto' ? probe.timeoutMaxMs : probe.timeoutMs;
  return Math.max(
    health.quality.windowMs / probe.intervalMs, health.up.successes, health.suspect.failures + health.suspect.burst, (2 * longestMs) / (target.intervalMs ?? probe.intervalMs),
  );
}

/** Those of this family; the gateway is asked where there is nothing else to ask. */
function targetsIn(policy: UplinkPolicy, family: Family): readonly Target[] {
  const own = policy.probe.targets.filter((target) => target.families.includes(family));
  const asked = policy.gateways[family] === 'none' ? own.filter((target) => target.host !== 'gateway') : own;
  const gateway: Target = { kind: 'icmp', id: 'gateway', host: 'gateway', families: [4, 6], intervalMs: undefined, sizeBytes: 0 };
  return asked.length > 0 || policy.gateways[family] === 'none' ? asked : [gateway];
}
