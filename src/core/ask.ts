/**
 * What to ask an uplink, and when.
 *
 * Every target stands on a grid of its own, staggered over the interval, so that the answers do not come in clumps and
 * nothing drifts. A burst asks every target a few times in quick succession; an uplink of which we must know soon (a suspect,
 * one that is asked for the first time) is asked at a quicker pace.
 */
import type { Instant, ProbeOrder, Target } from '../model.js';
import type { Health } from './health.js';
import { isWaiting, nextDeadline, noteSent, timeoutMs, type TargetRecord } from './record.js';

/** Between the probes of a burst: a quarter of the timeout, within these bounds. */
const BURST_GAP_MS = { least: 10, most: 100 };
/** While suspect or unknown every target is asked this often (or at its steady pace, where that is faster). */
const QUICK_INTERVAL_MS = 200;

/** One probe to every target, now: asked of the others when the leading uplink is in doubt. */
export function check(health: Health, now: Instant, orders: ProbeOrder[]): void {
  if (health.line.severed !== '' || health.state !== 'up' || health.burst !== undefined || health.checkedAt !== undefined) return;
  health.checkedAt = now;
  health.changed = true;
  for (const record of health.records) send(health, record, now, orders);
  health.nextPassAt = Math.min(health.nextPassAt, nextAsk(health));
}

/** Is an answer still to be expected to what was asked up to then, from somebody who does answer? */
export function awaits(health: Health, sentBy: Instant, now: Instant): boolean {
  return health.records.some((record) => answers(record) && isWaiting(record, sentBy, now));
}

/** Steady probes on the grid, the probes of a burst, and the quicker pace while suspect. */
export function sendDue(health: Health, now: Instant, orders: ProbeOrder[]): void {
  const burst = health.burst;
  const volley = burst !== undefined && burst.left > 0 && burst.nextAt <= now;
  if (volley) {
    burst.left--;
    burst.askedAt = now;
    burst.nextAt = (now + burstGapMs(health)) as Instant;
  }
  for (const record of health.records) {
    const due = dueAt(health, record) <= now;
    if (record.dueAt <= now) {
      const intervalMs = health.policy.probe.intervalMs;
      record.dueAt = (record.dueAt + intervalMs * (Math.floor((now - record.dueAt) / intervalMs) + 1)) as Instant;
    }
    if (due || volley) send(health, record, now, orders);
  }
}

function dueAt(health: Health, record: TargetRecord): Instant {
  if (health.state !== 'suspect' && health.state !== 'unknown') return record.dueAt;
  const last = record.probes[record.probes.length - 1];
  return Math.min(record.dueAt, last === undefined ? Infinity : last.sentAt + QUICK_INTERVAL_MS) as Instant;
}

function send(health: Health, record: TargetRecord, now: Instant, orders: ProbeOrder[]): void {
  const address = addressOf(health, record.target);
  if (address === '') return;
  const probe = noteSent(record, health.policy.probe, now);
  orders.push({ uplink: health.name, family: health.family, target: record.target.id, address, seq: probe.seq });
}

/** Where a target is asked; '' for the gateway of a line that has none. */
export function addressOf(health: Health, target: Target): string {
  return target.host === 'gateway' ? health.line.gateway : target.host;
}

function burstGapMs(health: Health): number {
  const longest = Math.max(...health.records.filter(answers).map((record) => timeoutMs(record, health.policy.probe)));
  return Math.min(BURST_GAP_MS.most, Math.max(BURST_GAP_MS.least, longest / 4));
}

/** A target that is silent anyway is not waited for. */
function answers(record: TargetRecord): boolean {
  return record.lastReplyAt !== undefined && !record.excused;
}

/** The next instant at which something is to be sent or a deadline passes. */
export function nextAsk(health: Health): Instant {
  let next: number = health.burst !== undefined && health.burst.left > 0 ? health.burst.nextAt : Infinity;
  for (const record of health.records) {
    // The first round is due when the record is opened, not when its grid began.
    next = Math.min(next, Math.max(health.judgedAt, dueAt(health, record)), nextDeadline(record, health.judgedAt) ?? Infinity);
  }
  return next as Instant;
}
