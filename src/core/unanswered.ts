/**
 * Do connections get nothing at all? They say so only when nothing comes back for long, in spite of steady asking of several groups of destinations.
 * Who is never answered while others are (one-way traffic, a dead server, whatever a LAN scans) is not counted. What follows from it: hollow.ts.
 */
import type { Instant } from '../model.js';

/** What it takes: so long nothing must have come back, in so many seconds of that time something must have been sent, to so many groups of destinations. */
export interface Proof {
  readonly afterMs: number;
  readonly seconds: number;
  readonly groups: number;
}

/** Where connections alone say so. */
export const LONG: Proof = { afterMs: 20_000, seconds: 10, groups: 3 };
/** Where there are other signs. */
export const SHORT: Proof = { afterMs: 8000, seconds: 5, groups: 1 };
const SECOND_MS = 1000;
/** A group counts by more than a single packet. */
const PACKETS_AT_LEAST = 2;
/** Nothing was sent for so long: whoever asked has given up. */
const GIVEN_UP_MS = 10_000;
/** A group that sent so much in vain while others were answered is never answered. */
const IN_VAIN = 20;
/** Owned by its line's traffic and changed in place. */
export interface Unanswered {
  /** Since when connections send and nothing comes back; undefined = something does, or nothing is sent. */
  since: Instant | undefined;
  sentAt: Instant;
  seconds: number;
  secondAt: Instant;
  /** By group: what it has sent since its last answer, and how much of that before the last answer of anybody. */
  inVain: { now: number; before: number }[];
  /** How often in a row it was a fault of this line. */
  times: number;
  notBefore: Instant;
}

export function openUnanswered(): Unanswered {
  const never = -Infinity as Instant;
  return { since: undefined, sentAt: never, seconds: 0, secondAt: never, inVain: [], times: 0, notBefore: never };
}

/** @param groups what passed since the last count, by group */
export function noteUnanswered(unanswered: Unanswered, groups: readonly { readonly sent: number; readonly answered: number }[], now: Instant): void {
  if (unanswered.inVain.length !== groups.length) unanswered.inVain = groups.map(() => ({ now: 0, before: 0 }));
  let [anySent, anyAnswered] = [false, false];
  groups.forEach(({ sent, answered }, i) => {
    const group = unanswered.inVain[i]!;
    group.now = answered > 0 ? 0 : group.now + sent;
    anySent ||= sent > 0;
    anyAnswered ||= answered > 0;
  });
  if (anyAnswered || (!anySent && now - unanswered.sentAt > GIVEN_UP_MS)) askAnew(unanswered);
  if (anyAnswered) {
    unanswered.times = 0;
    for (const group of unanswered.inVain) group.before = group.now;
  }
  if (!anySent) return;
  unanswered.sentAt = now;
  if (anyAnswered) return;
  unanswered.since ??= now;
  if (now - unanswered.secondAt < SECOND_MS) return;
  unanswered.secondAt = now;
  unanswered.seconds++;
}

/** For long, and although they ask steadily. */
export function getNothing({ since, seconds, inVain, notBefore, sentAt }: Unanswered, proof: Proof, now: Instant): boolean {
  if (since === undefined || now - since < proof.afterMs || seconds < proof.seconds || now < notBefore || now - sentAt > GIVEN_UP_MS) return false;
  const asked = inVain.filter((group) => group.before < IN_VAIN && group.now - group.before >= PACKETS_AT_LEAST).length;
  return asked > 0 && asked >= Math.min(proof.groups, inVain.length);
}

/** What was asked so far is not held against the line any more. */
export function askAnew(unanswered: Unanswered): void {
  unanswered.since = undefined;
  unanswered.seconds = 0;
}
