/**
 * What survives a restart: `<state-dir>/state.json`, with each uplink's slot (marks and tables are made of it) and the operator's
 * override. A file that cannot be read counts as empty: slots are derived from names anyway. Nothing in it is believed unlooked at.
 * Traffic matters more than memory: what cannot be written (a full or read-only disk) is told, and routing goes on.
 *
 * Times are kept as wall time, with the wall time at which that boot of the machine began. Within one boot only their distance
 * from it counts, so that whoever sets the clock moves nothing. After another boot the wall clock is asked. A box without a
 * battery-backed clock may then be years off: an override never lasts longer than it was given for, or than overrides may; no time
 * is taken to have passed while the clock shows less than when the file was written; and when the clock is set (`clockSet`) the end
 * is reckoned anew.
 */
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Instant, Override } from './model.js';

export interface Clock {
  /** Milliseconds of the monotonic clock. */
  now(): Instant;
  /** Milliseconds since 1970, UTC. */
  wall(): number;
  /** Which boot of the machine this is ('' = not known), and the milliseconds since it began. */
  boot(): { readonly id: string; readonly ms: number };
}

export interface Memory {
  /** With what was saved since. */
  readonly slots: ReadonlyMap<string, number>;
  /** Above every generation that former runs told. */
  readonly generationBefore: number;
  /** As it stands now: undefined when its time is over. */
  override(): Override | undefined;
  /** Somebody set the wall clock. @returns the override as it stands now */
  clockSet(): Override | undefined;
  save(kept: { readonly slots?: ReadonlyMap<string, number>; readonly override?: Override | undefined }): void;
}

interface Kept {
  /** Grows by one with each start. */
  readonly starts: number;
  readonly slots: Readonly<Record<string, number>>;
  readonly override: KeptOverride | null;
}

interface KeptOverride extends Omit<Override, 'until' | 'confirmBy' | 'since'> {
  readonly since: number;
  readonly until?: number;
  readonly confirmBy?: number;
  /** When it was written, and at which boot; `beganAt` by the wall clock of that time. */
  readonly writtenAt: number;
  readonly boot: { readonly id: string; readonly beganAt: number };
}

/** More decisions than any run takes. */
const GENERATIONS_A_RUN = 1_000_000;
/** A start a second for thirty years; its generations are still whole numbers. */
const STARTS_AT_MOST = 1_000_000_000;
const SLOTS = { first: 1, last: 126 } as const;
/** As the API takes them. */
const OVERRIDE_MS_AT_MOST = 30 * 86_400_000;
/** An override without an end may be old; older than this is no time that anybody gave. */
const AGE_MS_AT_MOST = 10 * 365 * 86_400_000;
const TEXT_AT_MOST = 1000;

/** @param complain told what could not be written or believed, in words for people */
export function openMemory(stateDir: string, clock: Clock, complain: (text: string) => void): Memory {
  const file = join(stateDir, 'state.json');
  const former = readKept(file, complain);
  let kept: Kept = { ...former, starts: former.starts + 1 };

  const write = (next: Kept): void => {
    kept = next;
    try {
      mkdirSync(stateDir, { recursive: true });
      writeFileSync(`${file}.new`, `${JSON.stringify(kept, null, 2)}\n`, { mode: 0o600 });
      renameSync(`${file}.new`, file);
    } catch (failure) {
      const why = failure instanceof Error ? failure.message : String(failure);
      complain(`${file} cannot be written (${why}): routing goes on, but the next start finds the override as it was written last; make room there or choose another --state-dir`);
    }
  };
  const isOfThisBoot = ({ boot }: KeptOverride): boolean => boot.id !== '' && boot.id === clock.boot().id;

  const memory: Memory = {
    get slots() { return new Map(Object.entries(kept.slots)); },
    generationBefore: former.starts * GENERATIONS_A_RUN,
    override: () => (kept.override === null ? undefined : standing(kept.override, isOfThisBoot(kept.override), clock)),
    clockSet() {
      const override = memory.override();
      // One of a former boot stays as it was written: the clock may be set more than once until it is right.
      if (kept.override !== null && isOfThisBoot(kept.override)) write({ ...kept, override: asKept(override, clock) });
      return override;
    },
    save(next) {
      const slots = next.slots === undefined ? kept.slots : Object.fromEntries(next.slots);
      write({ ...kept, slots, override: 'override' in next ? asKept(next.override, clock) : kept.override });
    },
  };
  return memory;
}

function asKept(override: Override | undefined, clock: Clock): Kept['override'] {
  if (override === undefined) return null;
  const toWall = (at: Instant): number => clock.wall() + (at - clock.now());
  const { until, confirmBy, since, ...rest } = override;
  const { id, ms } = clock.boot();
  return {
    ...rest, since: toWall(since), ...(until === undefined ? {} : { until: toWall(until) }), ...(confirmBy === undefined ? {} : { confirmBy: toWall(confirmBy) }),
    writtenAt: clock.wall(), boot: { id, beganAt: clock.wall() - ms },
  };
}

function standing(kept: KeptOverride, isOfThisBoot: boolean, clock: Clock): Override | undefined {
  const { writtenAt, boot, since, until, confirmBy, ...rest } = kept;
  const now = clock.now();
  /** By the clock that wrote it. */
  const nowThen = isOfThisBoot ? boot.beganAt + clock.boot().ms : Math.max(clock.wall(), writtenAt);
  const passed = Math.min(Math.max(nowThen - since, 0), AGE_MS_AT_MOST);
  const left = (end: number): number => Math.min(end - nowThen, end - since - passed, OVERRIDE_MS_AT_MOST);
  if (until !== undefined && left(until) <= 0) return undefined;
  return {
    ...rest, since: (now - passed) as Instant,
    until: until === undefined ? undefined : ((now + left(until)) as Instant),
    confirmBy: confirmBy === undefined ? undefined : ((now + left(confirmBy)) as Instant),
  };
}

function readKept(file: string, complain: (text: string) => void): Kept {
  const nothing: Kept = { starts: 0, slots: {}, override: null };
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch {
    return nothing; // the first start
  }
  let found: unknown;
  try {
    found = JSON.parse(text);
  } catch {
    return nothing; // half-written by a power cut
  }
  if (!isRecord(found)) return nothing;
  const starts = isWhole(found['starts'], 0, STARTS_AT_MOST) ? found['starts'] : 0;
  const slots = Object.entries(isRecord(found['slots']) ? found['slots'] : {}).filter((entry): entry is [string, number] => isWhole(entry[1], SLOTS.first, SLOTS.last));
  const override = readOverride(found['override']);
  if (override === undefined) complain(`${file} holds an override that cannot be read; it is dropped, and the choice is automatic`);
  return { starts, slots: Object.fromEntries(slots), override: override ?? null };
}

/** @returns undefined when it is none of ours */
function readOverride(found: unknown): KeptOverride | null | undefined {
  if (found === null || found === undefined) return null;
  if (!isRecord(found)) return undefined;
  const { uplink, since, until, confirmBy, reason, by, ifDead, writtenAt, boot } = found;
  if (!isText(uplink) || uplink === '' || !isText(reason) || !isText(by) || (ifDead !== 'fall-through' && ifDead !== 'obey')) return undefined;
  if (!isTime(since) || (until !== undefined && !isTime(until)) || (confirmBy !== undefined && !isTime(confirmBy))) return undefined;
  return {
    uplink, reason, by, ifDead, since, ...(until === undefined ? {} : { until }), ...(confirmBy === undefined ? {} : { confirmBy }),
    // Former versions wrote neither.
    writtenAt: isTime(writtenAt) ? writtenAt : since,
    boot: isRecord(boot) && isText(boot['id']) && isTime(boot['beganAt']) ? { id: boot['id'], beganAt: boot['beganAt'] } : { id: '', beganAt: 0 },
  };
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value.length <= TEXT_AT_MOST;
}

function isWhole(value: unknown, least: number, most: number): value is number {
  return Number.isInteger(value) && (value as number) >= least && (value as number) <= most;
}

/** Milliseconds since 1970 that a calendar can show (ECMA-262, time values). */
function isTime(value: unknown): value is number {
  return typeof value === 'number' && Math.abs(value) <= 8.64e15;
}
