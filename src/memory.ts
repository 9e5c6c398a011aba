/**
 * What survives a restart: `<state-dir>/state.json`, with each uplink's slot (marks and tables are made of it) and the
 * operator's override in wall time. A file that cannot be read counts as empty: slots are derived from names anyway.
 * Traffic matters more than memory: what cannot be written (a full or read-only disk) is told, and routing goes on.
 */
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Instant, Override } from './model.js';

export interface Clock {
  /** Milliseconds of the monotonic clock. */
  now(): Instant;
  /** Milliseconds since 1970, UTC. */
  wall(): number;
}

export interface Memory {
  /** With what was saved since. */
  readonly slots: ReadonlyMap<string, number>;
  /** Above every generation that former runs told. */
  readonly generationBefore: number;
  /** As it stands now: undefined when its time is over. */
  override(): Override | undefined;
  save(kept: { readonly slots?: ReadonlyMap<string, number>; readonly override?: Override | undefined }): void;
}

interface Kept {
  /** Grows by one with each start. */
  readonly starts: number;
  readonly slots: Readonly<Record<string, number>>;
  readonly override: (Omit<Override, 'until' | 'confirmBy' | 'since'> & { readonly since: number; readonly until?: number; readonly confirmBy?: number }) | null;
}

/** More decisions than any run takes. */
const GENERATIONS_A_RUN = 1_000_000;

/** @param complain told what could not be written, in words for people */
export function openMemory(stateDir: string, clock: Clock, complain: (text: string) => void): Memory {
  const file = join(stateDir, 'state.json');
  const former = readKept(file);
  let kept: Kept = { ...former, starts: former.starts + 1 };
  const toWall = (at: Instant): number => clock.wall() + (at - clock.now());
  const toInstant = (wall: number): Instant => (clock.now() + (wall - clock.wall())) as Instant;
  return {
    get slots() { return new Map(Object.entries(kept.slots)); },
    generationBefore: former.starts * GENERATIONS_A_RUN,
    override() {
      const { override } = kept;
      if (override === null) return undefined;
      if (override.until !== undefined && override.until <= clock.wall()) return undefined;
      return {
        ...override, since: toInstant(override.since),
        until: override.until === undefined ? undefined : toInstant(override.until),
        confirmBy: override.confirmBy === undefined ? undefined : toInstant(override.confirmBy),
      };
    },
    save(next) {
      const slots = next.slots === undefined ? kept.slots : Object.fromEntries(next.slots);
      const override = 'override' in next ? keptOverride(next.override, toWall) : kept.override;
      kept = { ...kept, slots, override };
      try {
        mkdirSync(stateDir, { recursive: true });
        writeFileSync(`${file}.new`, `${JSON.stringify(kept, null, 2)}\n`, { mode: 0o600 });
        renameSync(`${file}.new`, file);
      } catch (failure) {
        const why = failure instanceof Error ? failure.message : String(failure);
        complain(`${file} cannot be written (${why}): routing goes on, but the next start finds the override as it was written last; make room there or choose another --state-dir`);
      }
    },
  };
}

function keptOverride(override: Override | undefined, toWall: (at: Instant) => number): Kept['override'] {
  if (override === undefined) return null;
  const { until, confirmBy, since, ...rest } = override;
  return {
    ...rest, since: toWall(since), ...(until === undefined ? {} : { until: toWall(until) }), ...(confirmBy === undefined ? {} : { confirmBy: toWall(confirmBy) }),
  };
}

function readKept(file: string): Kept {
  const nothing: Kept = { starts: 0, slots: {}, override: null };
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch {
    return nothing; // the first start
  }
  try {
    const found = JSON.parse(text) as Partial<Kept>;
    const slots = Object.entries(found.slots ?? {}).filter(([, slot]) => Number.isInteger(slot));
    const override = typeof found.override?.uplink === 'string' && typeof found.override.since === 'number' ? found.override : null;
    const starts = Number.isSafeInteger(found.starts) ? found.starts! : 0;
    return { starts, slots: Object.fromEntries(slots), override };
  } catch {
    return nothing; // half-written by a power cut
  }
}
