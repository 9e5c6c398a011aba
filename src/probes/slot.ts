/**
 * A place for something that is opened when it is needed first, and again after it failed, at most once per second: a socket that cannot
 * be had costs one attempt a second, however many probes are ordered meanwhile. Those are lost, with the reason.
 */
import type { Instant, LostCause } from '../model.js';
import { causeOfOpening } from './errno.js';

/** After a failure the next attempt waits this long. */
const REOPEN_AFTER_MS = 1000;

export interface Failure {
  readonly failed: LostCause;
  readonly error: string;
}

export interface Slot<T> {
  /** What is open, opened now if it is time for it, or why there is nothing. */
  take(): T | Failure;
  /** What was open broke and has closed itself. */
  broke(error: string): void;
  /** Closes what is open. */
  close(): void;
}

/** @param open throws where it cannot; the error's text says why, and by its errno whose fault it is */
export function slot<T extends { close(): void }>(open: () => T, now: () => Instant): Slot<T> {
  let present: T | undefined;
  let failure: Failure | undefined;
  let retryAt = -Infinity;
  const fail = (failed: LostCause, error: string): Failure => {
    present = undefined;
    retryAt = now() + REOPEN_AFTER_MS;
    return (failure = { failed, error });
  };
  return {
    take() {
      if (present !== undefined) return present;
      if (failure !== undefined && now() < retryAt) return failure;
      try {
        return (present = open());
      } catch (cause) {
        return fail(causeOfOpening(cause), cause instanceof Error ? cause.message : String(cause));
      }
    },
    broke: (error) => void fail('prober', error),
    close() {
      present?.close();
      present = undefined;
    },
  };
}

export function isFailure(taken: object): taken is Failure {
  return 'failed' in taken;
}
