/**
 * What every method of asking looks like to the prober: an asker is opened for one line (device, family) at its first probe, and closed with it.
 *
 * `answered` and `lost` may be called at any later time, or before `ask` returns, each at most once per probe; a right answer may still follow
 * a `lost`. Silence is never reported: after `GIVE_UP_MS` what was not answered is let go without a word, because deadlines are the core's.
 */
import type { Instant, LostCause, ProbeLine, ProbeOrder } from '../model.js';

/** Beyond every sensible `probe.timeout`; an answer this late helps nobody. */
export const GIVE_UP_MS = 10_000;

/** One probe and who wants to hear of it. */
export interface Question {
  readonly order: ProbeOrder;
  /**
   * @param unpinned why it may have gone by another uplink; absent or '' = it did not
   * @param hopLimit what the answer's time to live had left; undefined = not known
   */
  answered(at: Instant, rttMs: number, unpinned?: string, hopLimit?: number): void;
  lost(at: Instant, cause: LostCause, error: string): void;
}

export interface Asker {
  /** Sends now. */
  ask(question: Question): void;
  /** Idempotent. What is in flight is forgotten, and nothing is reported any more. */
  close(): void;
}

/** @throws Error (`EPERM: ...`) when there can be no socket, or not on this device */
export type OpenAsker = (line: ProbeLine, now: () => Instant) => Asker;
