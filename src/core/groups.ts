/**
 * Connections by group of destinations: one that is lively is no evidence for many that have gone silent, however many packets it brings.
 *
 *   lively   had an answer since then
 *   waits    used to get answers, has sent something before then, and nothing has come back since
 *
 * All else says nothing: who sends nothing, and who was never answered (one-way traffic, a server that has long been dead).
 */
import type { GroupCount, Instant } from '../model.js';

/** The usual is that of about so long: as for the line as a whole (traffic.ts). */
export const USUAL_MS = 10_000;
/** So many answers make a usual ratio. */
const USUAL_AT_LEAST = 3;
/** Whoever has sent nothing for so long waits for nothing any more: TCP asks again after 3, then after 6 seconds. */
const WAITS_AT_MOST_MS = 10_000;
/** Silence of a single group counts from this length, and from this many times the longest usual wait. */
const QUIET_AFTER_MS = 100;
const USUAL_WAITS = 1.5;
/** A group that had an answer within this time is lively, for the alarm. */
const LIVELY_MS = 500;

/** Owned by its line's traffic and changed in place. */
export interface Group {
  last: GroupCount;
  usualSent: number;
  usualAnswered: number;
  /** Sent, and not among the usual yet. */
  heldSent: number;
  answeredAt: Instant;
  /** Since the last answer: so much, the first of it then, and the last of it then. */
  sentSince: number;
  waitsFrom: Instant | undefined;
  sentAt: Instant;
  /** Longest usual time from sending to an answer, decayed, ms. */
  waitMs: number;
}

export function openGroup(last: GroupCount): Group {
  return { last, usualSent: 0, usualAnswered: 0, heldSent: 0, answeredAt: -Infinity as Instant, sentSince: 0, waitsFrom: undefined, sentAt: -Infinity as Instant, waitMs: 0 };
}

/** @param weight how much of it becomes the usual: 0 = nothing, the line is silent */
export function noteGroup(group: Group, count: GroupCount, elapsedMs: number, now: Instant, weight: number): void {
  const [sent, answered] = [count.sent - group.last.sent, count.answered - group.last.answered];
  group.last = count;
  group.waitMs *= 2 ** (-elapsedMs / USUAL_MS);
  if (sent > 0) group.sentAt = now;
  if (answered > 0) {
    if (group.waitsFrom !== undefined && weight > 0) group.waitMs = Math.max(group.waitMs, now - group.waitsFrom);
    group.answeredAt = now;
    forgive(group);
  } else if (sent > 0) {
    group.waitsFrom ??= now;
    group.sentSince += sent;
  }
  if (weight === 0) {
    group.heldSent = 0;
    return;
  }
  // An answer belongs to what was sent before it; silence does not become the usual while it is being looked at.
  group.heldSent += sent;
  if (group.waitsFrom !== undefined && now - group.waitsFrom < USUAL_MS) return;
  const fade = Math.exp((-elapsedMs * weight) / USUAL_MS);
  group.usualSent = group.usualSent * fade + group.heldSent * weight;
  group.usualAnswered = group.usualAnswered * fade + answered * weight;
  group.heldSent = 0;
}

/** What it waited for is not held against the line any more. */
export function forgive(group: Group): void {
  group.waitsFrom = undefined;
  group.sentSince = 0;
}

/** Of the groups that say anything, more had an answer since then than wait for one. No group says anything: nobody objects. */
export function mostAreLively(groups: readonly Group[], since: Instant, now: Instant): boolean {
  let [lively, waiting] = [0, 0];
  for (const group of groups) {
    if (group.answeredAt > since) lively++;
    else if (waits(group, now) && group.waitsFrom! <= since) waiting++;
  }
  return waiting === 0 || lively > waiting;
}

/**
 * Several groups, and more than are lively, wait for longer than they use to.
 *
 * @param missedAtLeast so many answers must be missing in all of them together
 * @param rttMs how long an answer takes at the most, usually
 */
export function mostHaveGoneQuiet(groups: readonly Group[], missedAtLeast: number, patience: number, rttMs: number, now: Instant): boolean {
  let [lively, quiet, missed] = [0, 0, 0];
  for (const group of groups) {
    if (waits(group, now) && now - group.waitsFrom! >= patience * Math.max(QUIET_AFTER_MS, USUAL_WAITS * group.waitMs, rttMs)) {
      quiet++;
      missed += missedIn(group);
    } else if (now - group.answeredAt <= LIVELY_MS) lively++;
  }
  return quiet > 1 && quiet > lively && missed >= missedAtLeast;
}

function waits(group: Group, now: Instant): boolean {
  return group.waitsFrom !== undefined && group.usualAnswered >= USUAL_AT_LEAST && now - group.sentAt <= WAITS_AT_MOST_MS && missedIn(group) >= 1;
}

/** So many answers were to be expected and have not come. */
function missedIn({ sentSince, usualSent, usualAnswered }: Group): number {
  return usualSent === 0 ? 0 : (sentSince * usualAnswered) / usualSent;
}
