/**
 * Time in the lab: one clock for every process of it, and waits on conditions instead of sleeps.
 *
 * `now` is CLOCK_MONOTONIC in milliseconds, which all namespaces share, so an instant taken here can be compared with the
 * instants that a traffic process inside the lab wrote down. `waitFor` looks again and again, quickly, and when time is up it
 * shows what it saw last: a failed wait should explain itself without a second run.
 *
 * A deadline only ends a test that can no longer pass. It is never the assertion: it grows with the slowness that the runner measured
 * before the first test, so that a slow or busy machine fails nothing.
 */
import { inspect } from 'node:util';

/** Where the runner writes how many times slower than a quiet machine this one is. */
export const SLOWNESS = 'UPLINKD_TEST_SLOWNESS';

/** The shortest deadline, on a quiet machine: a machine that was quiet at the start can be busy later. */
const DEADLINE_MS = 60_000;
/** Looking costs the daemon as much as the test. */
const SELDOM_MS = 100;

export interface WaitOptions {
  /** Give up after so many ms of a quiet machine, but never before a minute. */
  readonly timeoutMs?: number;
  /** Give up after exactly so many ms: for a wait that is to be in vain. */
  readonly inVainMs?: number;
  /** Look again after so many ms. Default 5, and by and by less often. */
  readonly everyMs?: number;
  /** Further facts for the failure text, asked for only then. */
  readonly explain?: () => string | Promise<string>;
}

/** Milliseconds of CLOCK_MONOTONIC, with fractions. */
export function now(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

/** A deadline for what takes so many ms at most on a quiet machine: at least a minute, and more on a slow one. A whole number, as child processes want it. */
export function deadline(quietMs = 0): number {
  return Math.ceil(Math.max(quietMs, DEADLINE_MS) * Math.max(1, Number(process.env[SLOWNESS] ?? 1)));
}

/** Resolves at that instant (`now()` scale), at once if it has passed; late by 1 ms at most on an idle machine. */
export async function until(instantMs: number): Promise<void> {
  for (let restMs = instantMs - now(); restMs > 0; restMs = instantMs - now()) {
    await new Promise((resolve) => setTimeout(resolve, Math.max(1, Math.floor(restMs))));
  }
}

/**
 * Looks until what is seen is as wished, and returns it.
 * @param what completes the sentence "waited in vain until ..."
 * @param look may throw: that counts as "not yet", and its message is the last state
 * @throws Error with the last state seen
 */
export async function waitFor<T>(what: string, look: () => T | Promise<T>, wished: (seen: T) => boolean, options: WaitOptions = {}): Promise<T> {
  const timeoutMs = options.inVainMs ?? deadline(options.timeoutMs);
  const beganAt = now();
  let last = 'nothing was seen';
  for (let restMs = options.everyMs ?? 5; ; restMs = options.everyMs ?? Math.min(SELDOM_MS, restMs * 1.2)) {
    try {
      const seen = await look();
      if (wished(seen)) return seen;
      last = typeof seen === 'string' ? seen : inspect(seen, { depth: 6, breakLength: 140 });
    } catch (error) {
      last = `the look itself failed: ${error instanceof Error ? error.message : String(error)}`;
    }
    if (now() - beganAt > timeoutMs) break;
    await new Promise((resolve) => setTimeout(resolve, restMs));
  }
  const more = options.explain === undefined ? '' : `\n${await options.explain()}`;
  throw new Error(`waited in vain for ${timeoutMs} ms until ${what}\nlast seen: ${last}${more}`);
}
