/**
 * Calls back at a steady rate, to about 0.1 ms at 1 kHz, for a few per cent of a core.
 *
 * Node's timers have a grain of 1 ms and drift. Near a due time the thread therefore naps on a futex (Atomics.wait wakes within 0.1 ms) for at
 * most one interval and lets the event loop turn once per nap, so that answers are read as they come. A due time that was missed by
 * less than CATCH_UP_MS is made up for at once; after a longer stall the grid starts anew, and the gap stays visible in the send times.
 */
import { now } from './wait.js';

const CATCH_UP_MS = 4;
/** Rests longer than this are left to a timer. */
const LONG_REST_MS = 2.5;
const LONGEST_NAP_MS = 1;

export function pace(intervalMs: number, call: () => void): { stop(): void } {
  const cell = new Int32Array(new SharedArrayBuffer(4));
  let running = true;
  let dueAt = now();
  const turn = (): void => {
    if (!running) return;
    if (now() - dueAt > Math.max(CATCH_UP_MS, intervalMs)) dueAt = now();
    while (dueAt <= now()) {
      dueAt += intervalMs;
      call();
    }
    const restMs = dueAt - now();
    if (restMs > LONG_REST_MS) {
      setTimeout(turn, restMs - LONG_REST_MS / 2);
      return;
    }
    if (restMs > 0) Atomics.wait(cell, 0, 0, Math.min(restMs, LONGEST_NAP_MS));
    setImmediate(turn);
  };
  turn();
  return { stop: () => (running = false) };
}
