/**
 * What one target answered: a ring of facts, and what can be read off it.
 *
 * A probe is stored when it is sent, with its deadline; the answer is stored when it comes, early or late. Nothing
 * records a probe as lost: a probe is missed while its deadline has passed without an answer, and a late answer
 * repairs that. The deadline adapts to the measured round trip (RFC 6298, without its one-second floor). A probe that our own
 * socket or program failed is void: it says nothing about anybody.
 */
import type { Instant, LostCause, ProbePolicy, Target } from '../model.js';

/** At least so many facts are kept, and at most. */
const RING = { least: 64, most: 2048 };
/** RFC 6298: RTTVAR weighs 1/4, SRTT 1/8, and the deadline is SRTT + max(G, 4 RTTVAR). */
const ALPHA = 1 / 8;
const BETA = 1 / 4;
const K = 4;
/** G, the granularity of the clock: how late a timer or a read of ours may be without anybody having to explain it. */
const GRANULARITY_MS = 10;
/** By every answer the best round trip is believed a little less. */
const BEST_DRIFT = 1.0005;
/** What a gust of delay was like is half forgotten after this time. */
const WORST_HALF_LIFE_MS = 7_200_000;
/** So many unanswered in a row are silence. */
const SILENT_IN_A_ROW = 3;
/** A web server thinks before it answers, now shorter, now longer. */
const HTTP_TIMEOUT_MIN_MS = 250;
/** A program is ended at its own limit; its end is told a little later. */
const EXEC_SLACK_MS = 200;

export interface Probe {
  readonly seq: number;
  readonly sentAt: Instant;
  deadlineAt: Instant;
  repliedAt: Instant | undefined;
  graced: boolean;
  /** The answer may have lain unread: a sign of life, and no figure. */
  late: boolean;
  /** Sent because another one had just been missed: what it says of loss was said before. */
  readonly again: boolean;
  void: boolean;
}

/** Owned and changed in place by the judge of its uplink. */
export interface TargetRecord {
  readonly target: Target;
  readonly probes: Probe[];
  readonly capacity: number;
  nextSeq: number;
  /** Next probe on the steady grid; with its jitter, when it is sent. */
  gridAt: Instant;
  dueAt: Instant;
  srttMs: number | undefined;
  rttvarMs: number;
  /** The shortest round trip, forgotten slowly: what the line takes when nothing queues. */
  bestMs: number;
  /** The longest that an answer took lately, after its deadline too; counts half after a while. */
  worstMs: number;
  worstAt: Instant;
  /** No deadline was ever further from its probe: what is older waits for nothing. */
  longestMs: number;
  /** When the first answer came. */
  heardAt: Instant | undefined;
  lastReplyAt: Instant | undefined;
  lastError: string;
  lastCause: LostCause | undefined;
  /** How often in a row that was the cause. */
  causeRow: number;
  sent: number;
  received: number;
  /** A burst found the uplink alive although this target had gone silent: no further burst until it answers again. */
  excused: boolean;
  /** So many of its last answers passed no router; -1: they came from afar; 0: not known. */
  nextDoor: number;
  /** Why its answers may come by another uplink; '' = they do not. */
  unpinned: string;
}

/**
 * @param perWindow as many probes as are looked back at
 * @param former numbers go on where it ended, so that answers to its probes do not fit; and what gusts of delay are like here is still known
 */
export function openRecord(target: Target, dueAt: Instant, perWindow: number, former?: TargetRecord): TargetRecord {
  return {
    target, probes: [], capacity: Math.min(RING.most, Math.max(RING.least, Math.ceil(2 * perWindow))), nextSeq: former?.nextSeq ?? 1, gridAt: dueAt, dueAt,
    srttMs: undefined, rttvarMs: 0, bestMs: Infinity, worstMs: former?.worstMs ?? 0, worstAt: former?.worstAt ?? dueAt, longestMs: 0, heardAt: undefined, lastReplyAt: undefined, lastError: '', lastCause: undefined, causeRow: 0, sent: 0, received: 0, excused: false, nextDoor: 0, unpinned: '',
  };
}

/** How long to wait for an answer, ms. Before the first answer: timeoutMax. */
export function timeoutMs({ target, srttMs, rttvarMs }: TargetRecord, policy: ProbePolicy): number {
  if (target.kind === 'exec') return target.limitMs + EXEC_SLACK_MS;
  if (policy.timeoutMs !== 'auto') return policy.timeoutMs;
  if (srttMs === undefined) return policy.timeoutMaxMs;
  const least = target.kind === 'http' ? Math.max(HTTP_TIMEOUT_MIN_MS, policy.timeoutMinMs) : policy.timeoutMinMs;
  return Math.min(policy.timeoutMaxMs, Math.max(least, srttMs + Math.max(GRANULARITY_MS, K * rttvarMs)));
}

export function noteSent(record: TargetRecord, policy: ProbePolicy, at: Instant, again = false): Probe {
  // Nobody is waited for longer than his probe is remembered.
  const waitMs = Math.min(timeoutMs(record, policy), (record.capacity / 2) * (record.target.intervalMs ?? policy.intervalMs));
  const probe: Probe = { seq: record.nextSeq++, sentAt: at, deadlineAt: (at + waitMs) as Instant, repliedAt: undefined, graced: false, late: false, again, void: false };
  record.longestMs = Math.max(record.longestMs, waitMs);
  record.probes.push(probe);
  if (record.probes.length > record.capacity) record.probes.shift();
  record.sent++;
  return probe;
}

/** @param isLate we ourselves were late to read it @returns the probe that was answered; undefined when it is unknown (too old) or answered before */
export function noteReply(record: TargetRecord, seq: number, at: Instant, rttMs: number, isLate = false): Probe | undefined {
  const probe = find(record, seq);
  if (probe === undefined || probe.repliedAt !== undefined) return undefined;
  probe.repliedAt = at;
  probe.void = false;
  probe.late ||= isLate || probe.graced;
  record.received++;
  record.lastReplyAt = at;
  record.lastError = '';
  record.lastCause = undefined;
  record.causeRow = 0;
  record.excused = false;
  record.bestMs = Math.min(rttMs, record.bestMs * BEST_DRIFT);
  // What was asked before the first answer may have waited for the line to begin (an address that is checked, a neighbour that is looked for): no gust.
  record.heardAt ??= at;
  if (!probe.late && probe.sentAt >= record.heardAt) {
    record.worstMs = Math.max(rttMs, worstMs(record, at));
    record.worstAt = at;
  }
  if (record.srttMs === undefined) {
    if (isLate) return probe;
    record.srttMs = rttMs;
    record.rttvarMs = rttMs / 2;
  } else {
    record.rttvarMs += BETA * (Math.abs(record.srttMs - rttMs) - record.rttvarMs);
    record.srttMs += ALPHA * (rttMs - record.srttMs);
  }
  return probe;
}

/** The longest round trip of the recent past, ms. */
export function worstMs(record: TargetRecord, now: Instant): number {
  return record.worstMs * 2 ** (-(now - record.worstAt) / WORST_HALF_LIFE_MS);
}

/** Not sent, or wrongly answered: it needs no deadline any more. Errors of the network explain, and shorten no wait: anybody may send them. */
export function noteLost(record: TargetRecord, seq: number, at: Instant, cause: LostCause, error: string): void {
  const probe = find(record, seq);
  if (probe === undefined || probe.repliedAt !== undefined) return;
  if (cause === 'prober') probe.void = true;
  if (cause !== 'unreachable' && cause !== 'refused' && probe.deadlineAt > at) probe.deadlineAt = at;
  record.causeRow = record.lastCause === cause ? record.causeRow + 1 : 1;
  record.lastCause = cause;
  record.lastError = error;
}

/** From now on it is asked from another address: what is known stays known, and what is in flight will not be heard. */
export function voidOpen(record: TargetRecord, now: Instant): void {
  for (const each of record.probes) if (isOpen(each, now)) each.void = true;
}

/** Missed replies in a row, the newest first, among probes whose time is over. */
export function misses(record: TargetRecord, now: Instant): number {
  let count = 0;
  for (let i = record.probes.length - 1; i >= 0; i--) {
    const probe = record.probes[i]!;
    if (probe.repliedAt !== undefined) return count;
    if (isMissed(probe, now)) count++;
  }
  return count;
}

/** It misses more in a row than chance would have it. */
export function isSilent(record: TargetRecord, now: Instant): boolean {
  return misses(record, now) >= SILENT_IN_A_ROW;
}

/** Answers in a row to probes sent at or after `since`, the newest first; open and void probes do not break the row. */
export function answersInRow(record: TargetRecord, since: Instant, now: Instant): number {
  let count = 0;
  for (let i = record.probes.length - 1; i >= 0; i--) {
    const probe = record.probes[i]!;
    if (probe.sentAt < since) return count;
    if (probe.repliedAt !== undefined) count++;
    else if (isMissed(probe, now)) return count;
  }
  return count;
}

/** When the first probe of the present row of misses was sent. */
export function silentSince(record: TargetRecord, now: Instant): Instant | undefined {
  let first: Instant | undefined;
  for (let i = record.probes.length - 1; i >= 0; i--) {
    const probe = record.probes[i]!;
    if (probe.repliedAt !== undefined) return first;
    if (isMissed(probe, now)) first = probe.sentAt;
  }
  return first;
}

/** Was any probe that left at or after `since` answered? */
export function answeredSince(record: TargetRecord, since: Instant): boolean {
  if (record.lastReplyAt === undefined || record.lastReplyAt < since) return false;
  for (let i = record.probes.length - 1; i >= 0; i--) {
    const probe = record.probes[i]!;
    if (probe.sentAt < since) return false;
    if (probe.repliedAt !== undefined) return true;
  }
  return false;
}

/** Does a probe that was sent at or before `sentUntil` still wait for its answer? */
export function isWaiting(record: TargetRecord, sentUntil: Instant, now: Instant): boolean {
  for (let i = record.probes.length - 1; i >= 0; i--) {
    const probe = record.probes[i]!;
    if (probe.sentAt + record.longestMs <= now) return false;
    if (probe.sentAt <= sentUntil && isOpen(probe, now)) return true;
  }
  return false;
}

/** The next deadline among open probes; undefined when none is open. */
export function nextDeadline(record: TargetRecord, now: Instant): Instant | undefined {
  let next: Instant | undefined;
  for (let i = record.probes.length - 1; i >= 0; i--) {
    const probe = record.probes[i]!;
    if (probe.sentAt + record.longestMs <= now) return next;
    if (isOpen(probe, now) && (next === undefined || probe.deadlineAt < next)) next = probe.deadlineAt;
  }
  return next;
}

/**
 * Open probes get until `until` at least: used when we ourselves were late and their answers may lie unread. Once each: a
 * machine that is always late must not keep a dead uplink alive.
 */
export function grantGrace(record: TargetRecord, openSince: Instant, until: Instant): void {
  for (const probe of record.probes) {
    if (probe.graced || probe.void || probe.repliedAt !== undefined || probe.deadlineAt <= openSince) continue;
    probe.late = true;
    if (probe.deadlineAt >= until) continue;
    probe.deadlineAt = until;
    probe.graced = true;
    record.longestMs = Math.max(record.longestMs, until - probe.sentAt);
  }
}

/** What happened to probes sent at or after `since` whose time is over; those that were sent again count once. */
interface Tally {
  readonly over: number;
  readonly missed: number;
}

export function tally(record: TargetRecord, since: Instant, now: Instant): Tally {
  let missed = 0;
  let answered = 0;
  for (let i = record.probes.length - 1; i >= 0; i--) {
    const probe = record.probes[i]!;
    if (probe.sentAt < since) break;
    if (probe.again) continue;
    if (probe.repliedAt !== undefined) answered++;
    else if (isMissed(probe, now)) missed++;
  }
  return { over: missed + answered, missed };
}

/** When the oldest of that many probes was sent, the newest of those whose time is over; undefined where there are fewer. */
export function overSince(record: TargetRecord, count: number, now: Instant): Instant | undefined {
  let left = count;
  for (let i = record.probes.length - 1; i >= 0; i--) {
    const probe = record.probes[i]!;
    if (!probe.again && (probe.repliedAt !== undefined || isMissed(probe, now)) && --left === 0) return probe.sentAt;
  }
  return undefined;
}

/** Median round trip of those that were answered, after their deadline too, and the mean deviation from it, ms. The mean would be that of a few gusts. */
interface Delay {
  readonly rttMs: number;
  readonly jitterMs: number;
}

export function delay(record: TargetRecord, since: Instant): Delay | undefined {
  const rttsMs: number[] = [];
  for (let i = record.probes.length - 1; i >= 0; i--) {
    const probe = record.probes[i]!;
    if (probe.sentAt < since) break;
    if (probe.repliedAt !== undefined && !probe.late && !probe.again) rttsMs.push(probe.repliedAt - probe.sentAt);
  }
  if (rttsMs.length === 0) return undefined;
  rttsMs.sort((a, b) => a - b);
  const rttMs = (rttsMs[(rttsMs.length - 1) >> 1]! + rttsMs[rttsMs.length >> 1]!) / 2;
  return { rttMs, jitterMs: rttsMs.reduce((sum, each) => sum + Math.abs(each - rttMs), 0) / rttsMs.length };
}

/** Loss among the probes of the last `windowMs` whose time is over, 0..100; undefined below 3 of them. */
export function lossPercent(record: TargetRecord, now: Instant, windowMs: number): number | undefined {
  const { over, missed } = tally(record, (now - windowMs) as Instant, now);
  return over < 3 ? undefined : (100 * missed) / over;
}

/** The newest probe that is over came to nothing by our own fault. */
export function isBlind(record: TargetRecord, now: Instant): boolean {
  return record.probes.findLast((probe) => !isOpen(probe, now))?.void ?? false;
}

function isMissed(probe: Probe, now: Instant): boolean {
  return !probe.void && probe.repliedAt === undefined && probe.deadlineAt <= now;
}

function isOpen(probe: Probe, now: Instant): boolean {
  return !probe.void && probe.repliedAt === undefined && probe.deadlineAt > now;
}

function find(record: TargetRecord, seq: number): Probe | undefined {
  const first = record.probes[0];
  return first === undefined ? undefined : record.probes[seq - first.seq];
}
