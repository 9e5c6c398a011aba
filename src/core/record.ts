/**
 * What one target answered: a ring of facts, and what can be read off it.
 *
 * A probe is stored when it is sent, with its deadline; the answer is stored when it comes, early or late. Nothing
 * records a probe as lost: a probe is missed while its deadline has passed without an answer, and a late answer
 * repairs that. The deadline adapts to the measured round trip (RFC 6298, without its one-second floor).
 */
import type { Instant, ProbePolicy, Target } from '../model.js';

/** Enough for 30 s at four probes a second; older facts are forgotten. */
const RING_AT_MOST = 128;
/** RFC 6298: RTTVAR weighs 1/4, SRTT 1/8, and the deadline is SRTT + max(G, 4 RTTVAR). */
const ALPHA = 1 / 8;
const BETA = 1 / 4;
const K = 4;
/** G, the granularity of the clock: how late a timer or a read of ours may be without anybody having to explain it. */
const GRANULARITY_MS = 10;

export interface Probe {
  readonly seq: number;
  readonly sentAt: Instant;
  deadlineAt: Instant;
  repliedAt: Instant | undefined;
  graced: boolean;
}

/** Owned and changed in place by the judge of its uplink. */
export interface TargetRecord {
  readonly target: Target;
  readonly probes: Probe[];
  nextSeq: number;
  /** Next probe on the steady grid. */
  dueAt: Instant;
  srttMs: number | undefined;
  rttvarMs: number;
  lastReplyAt: Instant | undefined;
  lastError: string;
  sent: number;
  received: number;
  /** A burst found the uplink alive although this target had gone silent: no further burst until it answers again. */
  excused: boolean;
}

/** @param nextSeq goes on where a former record of this target ended: an answer to that one's probes must not fit this one's */
export function openRecord(target: Target, dueAt: Instant, nextSeq: number): TargetRecord {
  return {
    target, probes: [], nextSeq, dueAt, srttMs: undefined, rttvarMs: 0,
    lastReplyAt: undefined, lastError: '', sent: 0, received: 0, excused: false,
  };
}

/** How long to wait for an answer, ms. Before the first answer: timeoutMax. */
export function timeoutMs(record: TargetRecord, policy: ProbePolicy): number {
  if (policy.timeoutMs !== 'auto') return policy.timeoutMs;
  if (record.srttMs === undefined) return policy.timeoutMaxMs;
  return Math.min(policy.timeoutMaxMs, Math.max(policy.timeoutMinMs, record.srttMs + Math.max(GRANULARITY_MS, K * record.rttvarMs)));
}

export function noteSent(record: TargetRecord, policy: ProbePolicy, at: Instant): Probe {
  const probe: Probe = {
    seq: record.nextSeq++, sentAt: at, deadlineAt: (at + timeoutMs(record, policy)) as Instant, repliedAt: undefined, graced: false,
  };
  record.probes.push(probe);
  if (record.probes.length > RING_AT_MOST) record.probes.shift();
  record.sent++;
  return probe;
}

/** @returns the probe that was answered; undefined when it is unknown (too old) or answered before. */
/** @param isLate we ourselves were late to read it: no figure to begin with, although it is a sign of life */
export function noteReply(record: TargetRecord, seq: number, at: Instant, rttMs: number, isLate = false): Probe | undefined {
  const probe = find(record, seq);
  if (probe === undefined || probe.repliedAt !== undefined) return undefined;
  probe.repliedAt = at;
  record.received++;
  record.lastReplyAt = at;
  record.lastError = '';
  record.excused = false;
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

/** The probe could not be sent or an error came back: it needs no deadline any more. */
export function noteLost(record: TargetRecord, seq: number, at: Instant, error: string): void {
  const probe = find(record, seq);
  if (probe === undefined || probe.repliedAt !== undefined) return;
  if (probe.deadlineAt > at) probe.deadlineAt = at;
  record.lastError = error;
}

/** Missed replies in a row, the newest first, among probes whose time is over. */
export function misses(record: TargetRecord, now: Instant): number {
  let count = 0;
  for (let i = record.probes.length - 1; i >= 0; i--) {
    const probe = record.probes[i]!;
    if (probe.repliedAt !== undefined) return count;
    if (probe.deadlineAt <= now) count++;
  }
  return count;
}

/** Answers in a row to probes sent at or after `since`, the newest first; open probes do not break the row. */
export function answersInRow(record: TargetRecord, since: Instant, now: Instant): number {
  let count = 0;
  for (let i = record.probes.length - 1; i >= 0; i--) {
    const probe = record.probes[i]!;
    if (probe.sentAt < since) return count;
    if (probe.repliedAt !== undefined) count++;
    else if (probe.deadlineAt <= now) return count;
  }
  return count;
}

/** When the first probe of the present row of misses was sent. */
export function silentSince(record: TargetRecord, now: Instant): Instant | undefined {
  let first: Instant | undefined;
  for (let i = record.probes.length - 1; i >= 0; i--) {
    const probe = record.probes[i]!;
    if (probe.repliedAt !== undefined) return first;
    if (probe.deadlineAt <= now) first = probe.sentAt;
  }
  return first;
}

/** Was any probe that left at or after `since` answered? */
export function answeredSince(record: TargetRecord, since: Instant): boolean {
  for (let i = record.probes.length - 1; i >= 0; i--) {
    const probe = record.probes[i]!;
    if (probe.sentAt < since) return false;
    if (probe.repliedAt !== undefined) return true;
  }
  return false;
}

/** Does a probe that was sent at or before `sentUntil` still wait for its answer? */
export function isWaiting(record: TargetRecord, sentUntil: Instant, now: Instant): boolean {
  return record.probes.some((probe) => probe.sentAt <= sentUntil && probe.repliedAt === undefined && probe.deadlineAt > now);
}

/** The next deadline among open probes; undefined when none is open. */
export function nextDeadline(record: TargetRecord, now: Instant): Instant | undefined {
  let next: Instant | undefined;
  for (let i = record.probes.length - 1; i >= 0; i--) {
    const probe = record.probes[i]!;
    if (probe.repliedAt !== undefined || probe.deadlineAt <= now) continue;
    if (next === undefined || probe.deadlineAt < next) next = probe.deadlineAt;
  }
  return next;
}

/**
 * Open probes get until `until` at least: used when we ourselves were late and their answers may lie unread. Once each: a
 * machine that is always late must not keep a dead uplink alive.
 */
export function grantGrace(record: TargetRecord, openSince: Instant, until: Instant): void {
  for (const probe of record.probes) {
    if (probe.graced || probe.repliedAt !== undefined || probe.deadlineAt <= openSince || probe.deadlineAt >= until) continue;
    probe.deadlineAt = until;
    probe.graced = true;
  }
}

/** Loss among the probes of the last `windowMs` whose time is over, 0..100; undefined below 3 of them. */
export function lossPercent(record: TargetRecord, now: Instant, windowMs: number): number | undefined {
  let over = 0;
  let missed = 0;
  for (const probe of record.probes) {
    if (probe.sentAt < now - windowMs) continue;
    if (probe.repliedAt !== undefined) over++;
    else if (probe.deadlineAt <= now) {
      over++;
      missed++;
    }
  }
  return over < 3 ? undefined : (100 * missed) / over;
}

function find(record: TargetRecord, seq: number): Probe | undefined {
  const first = record.probes[0];
  if (first === undefined) return undefined;
  return record.probes[seq - first.seq];
}
