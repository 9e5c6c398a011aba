/** The clocks and the timer of the real world. Bound to the process: the monotonic clock is that of every process of the machine. */
import { existsSync, readFileSync } from 'node:fs';
import type { Instant } from './model.js';
import type { Clock, Timers } from './ports.js';

const BOOT_ID = '/proc/sys/kernel/random/boot_id';
const bootId = existsSync(BOOT_ID) ? readFileSync(BOOT_ID, 'utf8').trim() : '';

/** `boot`: which boot of the machine this is, and ms since then (process.hrtime, CLOCK_MONOTONIC). */
export const clock: Clock & { boot(): { readonly id: string; readonly ms: number } } = {
  now: () => performance.now() as Instant,
  wall: () => Date.now(),
  boot: () => ({ id: bootId, ms: Number(process.hrtime.bigint() / 1_000_000n) }),
};

export function openTimers(): Timers {
  let timer: NodeJS.Timeout | undefined;
  return {
    set(ms, ring) {
      clearTimeout(timer);
      // What arrived before the timer rang is read first: the poll phase comes next, what it reads is told in the turn after it, and then it rings.
      timer = setTimeout(() => setImmediate(() => setImmediate(ring)), ms);
    },
    clear: () => clearTimeout(timer),
    soon: queueMicrotask,
  };
}
