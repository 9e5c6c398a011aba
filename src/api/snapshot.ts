/**
 * The status as readers get it: judged once, and written once, for all of them.
 *
 * To judge and to write it costs a router with many uplinks milliseconds, and anybody may ask as often as he likes.
 * So what one reader gets the next ones get too, for FRESH_MS, or longer where it takes long to make. News ends that
 * at once: who made a change, or waited for one, reads what came of it.
 */
import type { Board } from '../board.js';
import type { Status } from '../model.js';
import type { Answer } from './answer.js';
import type { Clock, ShowTime } from './wire.js';

export interface Snapshot {
  readonly status: Status;
  readonly show: ShowTime;
  /** What `make` gave when it was first asked for under this key. */
  once<T extends Answer>(key: string, make: () => T): T;
}

/** Ten times a second is more often than people or programs look. */
const FRESH_MS = 100;
/** What takes 10 ms to make is made five times a second: a twentieth of the time, all readers together. */
const FRESH_PER_COST = 20;
const FRESH_AT_MOST_MS = 1000;

/** @returns a function that gives the snapshot of this moment */
export function openSnapshots(board: Board, clock: Clock, calendar: () => ShowTime): { now(): Snapshot; close(): void } {
  let snapshot: Snapshot | undefined;
  let madeAt = 0;
  let costMs = 0;

  /** The time that it takes; what is written later of the same snapshot adds to it. */
  function costed<T>(make: () => T): T {
    const beganAt = performance.now();
    const made = make();
    costMs += performance.now() - beganAt;
    return made;
  }

  const leave = board.subscribe(() => (snapshot = undefined));
  return {
    now() {
      const show = calendar();
      const now = clock.now();
      const freshMs = Math.min(FRESH_AT_MOST_MS, Math.max(FRESH_MS, FRESH_PER_COST * costMs));
      const isFresh = leave !== undefined && now - madeAt < freshMs;
      if (snapshot !== undefined && isFresh && snapshot.show === show) return snapshot;
      costMs = 0;
      madeAt = now;
      const status = costed(() => board.get());
      const written = new Map<string, Answer>();
      snapshot = {
        status,
        show,
        once<T extends Answer>(key: string, make: () => T) {
          const found = written.get(key) as T | undefined;
          if (found !== undefined) return found;
          const made = costed(make);
          written.set(key, made);
          return made;
        },
      };
      return snapshot;
    },
    close: () => leave?.(),
  };
}
