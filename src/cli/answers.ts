/**
 * What uplinkctl reads of /v1/active, /v1/status and /v1/uplinks/NAME, and of problems.
 */
import { isObject, items, member, number, onlyTexts, text, texts, time, yes } from './reading.js';

export interface ActiveView {
  readonly active: readonly { readonly name: string; readonly interface: string; readonly gateway: string; readonly family: number }[];
  /** Milliseconds since 1970, NaN = not known; as everywhere here. */
  readonly sinceMs: number;
  readonly because: string;
  readonly override: OverrideView | undefined;
}

export interface OverrideView {
  readonly uplink: string;
  readonly untilMs: number;
  readonly confirmByMs: number;
  readonly reason: string;
  readonly by: string;
  readonly ifDead: string;
}

export interface StatusView extends ActiveView {
  readonly atMs: number;
  readonly rule: string;
  readonly decisions: readonly DecisionView[];
  readonly uplinks: readonly UplinkView[];
  readonly kernel: { readonly inSync: boolean; readonly failures: readonly string[]; readonly repairs: number; readonly applied: number };
  readonly host: { readonly natBackend: string; readonly natInSync: boolean; readonly sysctlsInSync: boolean; readonly problems: readonly string[] } | undefined;
  readonly controller: { readonly version: string; readonly startedAtMs: number; readonly ready: boolean; readonly worstLatenessMs: number };
}

export interface DecisionView {
  /** 4, 6. */
  readonly family: number;
  /** Names in order of preference, those that share in one list. */
  readonly order: readonly (readonly string[])[];
  readonly because: string;
  readonly sinceMs: number;
  readonly rule: string;
}

/** How an uplink fares in one family. */
export interface FamilyView {
  readonly family: number;
  readonly state: string;
  readonly sinceMs: number;
  readonly because: string;
  /** Where it broke: `address`. */
  readonly domain: string;
  readonly evidence: readonly EvidenceView[];
  readonly active: boolean;
  /** 0 = active, NaN = not in use. */
  readonly rank: number;
  readonly gateway: string;
  readonly holdUntilMs: number;
  readonly quality: { readonly lossPercent: number; readonly latencyMs: number; readonly jitterMs: number; readonly busy: boolean };
  readonly damping: { readonly penalty: number; readonly suppressedUntilMs: number; readonly holdMs: number; readonly awaits: string };
  readonly traffic: TrafficView | undefined;
}

export interface EvidenceView {
  readonly witness: string;
  readonly name: string;
  readonly says: string;
  readonly text: string;
}

/** Packets per second. */
export interface TrafficView {
  readonly sent: number;
  readonly answered: number;
  /** undefined = too little traffic to say. */
  readonly progressing: boolean | undefined;
}

export interface OutsideView {
  readonly state: string;
  readonly by: string;
  readonly because: string;
  readonly untilMs: number;
}

export interface UplinkView extends Omit<FamilyView, 'family'> {
  readonly name: string;
  readonly interface: string;
  readonly priority: number;
  readonly probeBytes: { readonly spent: number; readonly budget: number };
  readonly outside: readonly OutsideView[];
  readonly families: readonly FamilyView[];
  readonly targets: readonly TargetView[];
}

export interface TargetView {
  readonly family: number;
  readonly target: string;
  readonly address: string;
  readonly answering: boolean;
  readonly rttMs: number;
  readonly jitterMs: number;
  readonly lossPercent: number;
  readonly lastError: string;
  readonly received: number;
}

/** @returns undefined when this is no answer of /v1/active or /v1/status */
export function readActive(answer: unknown): ActiveView | undefined {
  if (!Array.isArray(member(answer, 'active'))) return undefined;
  return {
    active: items(answer, 'active').map((one) => ({ name: text(one, 'name'), interface: text(one, 'interface'), gateway: text(one, 'gateway'), family: number(one, 'family') })),
    sinceMs: time(answer, 'since'),
    because: text(answer, 'because'),
    override: readOverride(member(answer, 'override')),
  };
}

/** @returns undefined when this is no answer of /v1/status */
export function readStatus(answer: unknown): StatusView | undefined {
  const active = readActive(answer);
  if (active === undefined || !Array.isArray(member(answer, 'uplinks'))) return undefined;
  const kernel = member(answer, 'kernel');
  const host = member(answer, 'host');
  const controller = member(answer, 'controller');
  return {
    ...active,
    atMs: time(answer, 'at'),
    rule: text(answer, 'rule'),
    decisions: items(answer, 'decisions').map(readDecision),
    uplinks: items(answer, 'uplinks').map(readUplink),
    kernel: { inSync: yes(kernel, 'inSync'), failures: texts(kernel, 'failures'), repairs: number(kernel, 'repairs'), applied: number(kernel, 'applied') },
    host: isObject(host) ? { natBackend: text(host, 'natBackend'), natInSync: yes(host, 'natInSync'), sysctlsInSync: yes(host, 'sysctlsInSync'), problems: texts(host, 'problems') } : undefined,
    controller: {
      version: text(controller, 'version'),
      startedAtMs: time(controller, 'startedAt'),
      ready: yes(controller, 'ready'),
      worstLatenessMs: number(controller, 'worstLatenessMs'),
    },
  };
}

/** @returns undefined when this is no answer of /v1/uplinks/NAME */
export function readOneUplink(answer: unknown): UplinkView | undefined {
  return text(answer, 'name') === '' || !Array.isArray(member(answer, 'targets')) ? undefined : readUplink(answer);
}

/** What a problem document says, else undefined. */
export function readProblem(answer: unknown): string | undefined {
  const detail = text(answer, 'detail');
  return detail === '' ? undefined : detail;
}

function readOverride(sent: unknown): OverrideView | undefined {
  if (!isObject(sent)) return undefined;
  return {
    uplink: text(sent, 'uplink'),
    untilMs: time(sent, 'until'),
    confirmByMs: time(sent, 'confirmBy'),
    reason: text(sent, 'reason'),
    by: text(sent, 'by'),
    ifDead: text(sent, 'ifDead'),
  };
}

export function readDecision(sent: unknown): DecisionView {
  return {
    family: number(sent, 'family'),
    order: items(sent, 'order').map((rank) => (Array.isArray(rank) ? onlyTexts(rank) : [])),
    because: text(sent, 'because'),
    sinceMs: time(sent, 'since'),
    rule: text(sent, 'rule'),
  };
}

function readFamily(sent: unknown): FamilyView {
  const quality = member(sent, 'quality');
  const damping = member(sent, 'damping');
  return {
    family: number(sent, 'family'),
    state: text(sent, 'state'),
    sinceMs: time(sent, 'since'),
    because: text(sent, 'because'),
    domain: text(sent, 'domain'),
    evidence: items(sent, 'evidence').map((one) => ({ witness: text(one, 'witness'), name: text(one, 'name'), says: text(one, 'says'), text: text(one, 'text') })),
    active: yes(sent, 'active'),
    rank: number(sent, 'rank'),
    gateway: text(sent, 'gateway'),
    holdUntilMs: time(sent, 'holdUntil'),
    quality: { lossPercent: number(quality, 'lossPercent'), latencyMs: number(quality, 'latencyMs'), jitterMs: number(quality, 'jitterMs'), busy: yes(quality, 'busy') },
    damping: { penalty: number(damping, 'penalty'), suppressedUntilMs: time(damping, 'suppressedUntil'), holdMs: number(damping, 'holdMs'), awaits: text(damping, 'awaits') },
    traffic: readTraffic(member(sent, 'traffic')),
  };
}

function readTraffic(sent: unknown): TrafficView | undefined {
  if (!isObject(sent)) return undefined;
  const progressing = member(sent, 'progressing');
  return { sent: number(sent, 'sentPacketsPerSecond'), answered: number(sent, 'answeredPacketsPerSecond'), progressing: typeof progressing === 'boolean' ? progressing : undefined };
}

function readUplink(sent: unknown): UplinkView {
  const probeBytes = member(sent, 'probeBytes');
  return {
    ...readFamily(sent),
    name: text(sent, 'name'),
    interface: text(sent, 'interface'),
    priority: number(sent, 'priority'),
    probeBytes: { spent: number(probeBytes, 'spent'), budget: number(probeBytes, 'budget') },
    outside: items(sent, 'outside').map((one) => ({ state: text(one, 'state'), by: text(one, 'by'), because: text(one, 'because'), untilMs: time(one, 'until') })),
    families: items(sent, 'families').map(readFamily),
    targets: items(sent, 'targets').map((target) => ({
      family: number(target, 'family'),
      target: text(target, 'target'),
      address: text(target, 'address'),
      answering: yes(target, 'answering'),
      rttMs: number(target, 'rttMs'),
      jitterMs: number(target, 'jitterMs'),
      lossPercent: number(target, 'lossPercent'),
      lastError: text(target, 'lastError'),
      received: number(target, 'received'),
    })),
  };
}
