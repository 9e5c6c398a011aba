/**
 * What uplinkctl reads of the answers of the REST API. The other end may be another version, or not uplinkd at all: what is missing
 * reads as unknown, and every text is freed from characters that would move the cursor, colour the screen or turn the line around.
 * Nothing that came from the other end reaches a terminal but through here.
 */

export interface ActiveView {
  readonly active: readonly { readonly name: string; readonly interface: string; readonly gateway: string }[];
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
  readonly uplinks: readonly UplinkView[];
  readonly kernel: { readonly inSync: boolean; readonly failures: readonly string[]; readonly repairs: number; readonly applied: number };
  readonly host: { readonly natBackend: string; readonly natInSync: boolean; readonly sysctlsInSync: boolean; readonly problems: readonly string[] } | undefined;
  readonly controller: { readonly version: string; readonly startedAtMs: number; readonly ready: boolean; readonly worstLatenessMs: number };
}

export interface UplinkView {
  readonly name: string;
  readonly state: string;
  readonly sinceMs: number;
  readonly because: string;
  readonly active: boolean;
  readonly interface: string;
  readonly gateway: string;
  readonly priority: number;
  readonly targets: readonly TargetView[];
}

export interface TargetView {
  readonly target: string;
  readonly address: string;
  readonly answering: boolean;
  readonly rttMs: number;
  readonly jitterMs: number;
  readonly lossPercent: number;
  readonly lastError: string;
}

/** Without control characters, line and paragraph separators, and those that turn the direction of writing. */
export function plain(sent: string): string {
  return sent.replace(/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu, '�');
}

/** @returns undefined when this is no answer of /v1/active or /v1/status */
export function readActive(answer: unknown): ActiveView | undefined {
  if (!Array.isArray(member(answer, 'active'))) return undefined;
  return {
    active: items(answer, 'active').map((one) => ({ name: text(one, 'name'), interface: text(one, 'interface'), gateway: text(one, 'gateway') })),
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

function readUplink(sent: unknown): UplinkView {
  return {
    name: text(sent, 'name'),
    state: text(sent, 'state'),
    sinceMs: time(sent, 'since'),
    because: text(sent, 'because'),
    active: yes(sent, 'active'),
    interface: text(sent, 'interface'),
    gateway: text(sent, 'gateway'),
    priority: number(sent, 'priority'),
    targets: items(sent, 'targets').map((target) => ({
      target: text(target, 'target'),
      address: text(target, 'address'),
      answering: yes(target, 'answering'),
      rttMs: number(target, 'rttMs'),
      jitterMs: number(target, 'jitterMs'),
      lossPercent: number(target, 'lossPercent'),
      lastError: text(target, 'lastError'),
    })),
  };
}

function isObject(sent: unknown): sent is Readonly<Record<string, unknown>> {
  return typeof sent === 'object' && sent !== null && !Array.isArray(sent);
}

function member(sent: unknown, key: string): unknown {
  return isObject(sent) && Object.hasOwn(sent, key) ? sent[key] : undefined;
}

function text(sent: unknown, key: string): string {
  const value = member(sent, key);
  return typeof value === 'string' ? plain(value) : '';
}

function texts(sent: unknown, key: string): string[] {
  return items(sent, key).flatMap((value) => (typeof value === 'string' ? [plain(value)] : []));
}

function items(sent: unknown, key: string): readonly unknown[] {
  const value = member(sent, key);
  return Array.isArray(value) ? value : [];
}

function number(sent: unknown, key: string): number {
  const value = member(sent, key);
  return typeof value === 'number' ? value : Number.NaN;
}

function yes(sent: unknown, key: string): boolean {
  return member(sent, key) === true;
}

function time(sent: unknown, key: string): number {
  const value = member(sent, key);
  return typeof value === 'string' ? Date.parse(value) : Number.NaN;
}
