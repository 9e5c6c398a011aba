/**
 * What to ask an uplink, and when.
 *
 * Every target stands on a grid of its own, staggered over the interval, so that the answers do not come in clumps and
 * nothing drifts; a little jitter keeps us from knocking in step with others. A burst asks every target a few times in quick succession; an
 * uplink of which we must know soon (a suspect, one that is asked for the first time) is asked at a quicker pace. Who only explains is
 * asked seldom; who has a budget, so seldom that it lasts.
 */
import type { Instant, ProbeOrder, Target } from '../model.js';
import { isLinkLocal } from './address.js';
import type { Health } from './health.js';
import { isWaiting, nextDeadline, noteSent, timeoutMs, worstMs, type TargetRecord } from './record.js';
import { sourceOf } from './source.js';
import { costBytes, roundMs, spend, spentBytes } from './spending.js';
import { isIdle, progressed } from './traffic.js';
import { BURST_GAP_MS } from './tuning.js';
import { isAside, isGateway, isNearAlive, isSlow } from './witness.js';

/** While suspect or unknown every target is asked this often (or at its steady pace, where that is faster); the dear ones and those aside less. */
const QUICK_INTERVAL_MS = 200;
const QUICK_INTERVAL_SLOW_MS = 2000;
/** Those aside, in intervals. */
const ASIDE_TIMES = 10;
/** Of the time between two targets' turns. */
const JITTER = 0.1;
/** Of `down.after`: how long a silence may be a mere delay, where nobody confirms it and where connections do. */
const PATIENCE_SHARE = 1 / 8;
const CONFIRMED_SHARE = 1 / 11;
const PATIENCE_AT_MOST_MS = 1000;
const GUST_TIMES = 1.2;
const GUST_AT_MOST_MS = 1000;
/** Where connections go on and the first router beyond the gateway answers, what is silent lies farther out, or does not like to be asked. */
const NEAR_ALIVE_SHARE = 1 / 2;
/** Connections that got answers within this time stand for probes that cost. */
const LATELY_MS = 1000;

/** One probe to every target, now: asked of the others when the leading uplink is in doubt. */
export function check(health: Health, now: Instant, orders: ProbeOrder[]): void {
  if (health.line.severed !== '' || health.state !== 'up' || health.burst !== undefined || health.checkedAt !== undefined) return;
  const quick = health.records.filter((record) => !isSlow(record.target) && !isAside(record) && addressOf(health, record.target) !== '');
  // Who cannot be asked quickly is taken at his last word.
  if (quick.length === 0) return;
  health.checkedAt = now;
  health.changed = true;
  for (const record of quick) send(health, record, now, orders);
  health.nextPassAt = Math.min(health.nextPassAt, nextAsk(health));
}

/** Is an answer still to be expected to what was asked up to then, from somebody who does answer? The slow are waited for where nobody is quick. */
export function awaits(health: Health, sentBy: Instant, now: Instant): boolean {
  return expected(health).some((record) => isWaiting(record, sentBy, now));
}

/** Steady probes on the grid, the probes of a burst, and the quicker pace while suspect. */
export function sendDue(health: Health, now: Instant, orders: ProbeOrder[]): void {
  const burst = health.burst;
  const volley = burst !== undefined && burst.left > 0 && burst.nextAt <= now;
  const first = volley && burst.volleys === 0;
  if (volley) {
    burst.volleys++;
    burst.left--;
    burst.askedAt = now;
    burst.nextAt = (now + burstGapMs(health)) as Instant;
  }
  for (const record of health.records) {
    const due = dueAt(health, record) <= now;
    if (record.dueAt <= now) advance(health, record, now);
    if (due || (volley && (first || !(isSlow(record.target) || isAside(record))))) send(health, record, now, orders, volley && !first && !due);
  }
}

/** The next instant at which something is to be sent or a deadline passes. */
export function nextAsk(health: Health): Instant {
  const { burst } = health;
  let next: number = burst === undefined ? Infinity : burst.left > 0 ? burst.nextAt : burst.patientUntil > health.judgedAt ? burst.patientUntil : Infinity;
  for (const record of health.records) {
    // The first round is due when the record is opened, not when its grid began.
    next = Math.min(next, Math.max(health.judgedAt, dueAt(health, record)), nextDeadline(record, health.judgedAt) ?? Infinity);
  }
  return next as Instant;
}

/** Where a target is asked; '' for the gateway of a line that has none, and for methods that find their way by themselves. */
export function addressOf(health: Health, target: Target): string {
  return target.host === 'gateway' ? health.line.gateway : target.host;
}

/** How long the answers that are to be expected take at the most, usually, ms. */
export function expectedMs(health: Health): number {
  return Math.max(0, ...expected(health).map((record) => timeoutMs(record, health.policy.probe)));
}

/**
 * How long a burst waits at least, ms: a share of the time that `down` takes, less where traffic confirms the silence, more where traffic goes on and the
 * line lives; and as long as answers took in the gusts of delay that this line is known for.
 *
 * @param since when the silence began
 */
export function patienceMs(health: Health, confirmed: boolean, since: Instant, now: Instant): number {
  const { afterMs } = health.policy.health.down;
  const gusts = expected(health).map((record) => GUST_TIMES * worstMs(record, now));
  const gustMs = gusts.length === 0 ? 0 : Math.min(afterMs / 2, GUST_AT_MOST_MS, ...gusts);
  const isNear = !isIdle(health.traffic, now) && isNearAlive(health, since);
  const share = confirmed ? CONFIRMED_SHARE : isNear ? NEAR_ALIVE_SHARE : PATIENCE_SHARE;
  return Math.max(gustMs, Math.min(PATIENCE_AT_MOST_MS, afterMs * share));
}

function advance(health: Health, record: TargetRecord, now: Instant): void {
  const intervalMs = steadyMs(health, record, now);
  record.gridAt = (record.gridAt + intervalMs * (Math.floor((now - record.gridAt) / intervalMs) + 1)) as Instant;
  const random = (Math.imul(record.nextSeq, 0x9e3779b1) + Math.imul(health.policy.slot, 0x85ebca6b)) >>> 0;
  record.dueAt = (record.gridAt + (random / 2 ** 32) * JITTER * (intervalMs / health.records.length)) as Instant;
}

/** The steady cadence of a target, ms. */
function steadyMs(health: Health, record: TargetRecord, now: Instant): number {
  const { rotate } = health.policy.probe;
  const own = cadenceMs(health, record);
  const turns = health.records.reduce((count, other) => count + (takesTurns(other) ? 1 : 0), 0);
  const inTurn = rotate === 0 || rotate >= turns || !takesTurns(record) ? own : (own * turns) / rotate;
  return inTurn * stretch(health, now);
}

/** Those without a cadence of their own. */
function takesTurns(record: TargetRecord): boolean {
  return !isGateway(record) && !isAside(record) && record.target.intervalMs === undefined;
}

function cadenceMs({ policy }: Health, record: TargetRecord): number {
  return record.target.intervalMs ?? policy.probe.intervalMs * (isAside(record) ? ASIDE_TIMES : 1);
}

/** How many times as seldom it is asked so that its budget lasts: on standby, when nothing is left, and while connections tell as much for nothing. */
function stretch(health: Health, now: Instant): number {
  const { budgetBytes, intervalMs } = health.policy.probe;
  if (budgetBytes === undefined) return 1;
  const watched = health.leads && progressed(health.traffic, (now - LATELY_MS) as Instant) !== true;
  if (watched && spentBytes(health.spending, now) < budgetBytes) return 1;
  const roundBytes = health.records.reduce((sum, record) => sum + (costBytes(record.target, health.family) * intervalMs) / cadenceMs(health, record), 0);
  return Math.max(1, roundMs(health.spending, budgetBytes, roundBytes, now) / intervalMs);
}

function dueAt(health: Health, record: TargetRecord): Instant {
  if (health.state !== 'suspect' && health.state !== 'unknown') return record.dueAt;
  const last = record.probes[record.probes.length - 1];
  const quickMs = isSlow(record.target) || isAside(record) ? QUICK_INTERVAL_SLOW_MS : QUICK_INTERVAL_MS;
  return Math.min(record.dueAt, last === undefined ? Infinity : last.sentAt + quickMs) as Instant;
}

function send(health: Health, record: TargetRecord, now: Instant, orders: ProbeOrder[], again = false): void {
  const { target } = record;
  const address = addressOf(health, target);
  if (address === '' && !isSlow(target)) return;
  const probe = noteSent(record, health.policy.probe, now, again);
  spend(health.spending, costBytes(target, health.family), now);
  const source = sourceFor(health, address);
  orders.push({ uplink: health.name, family: health.family, target, address, seq: probe.seq, ...(source === '' ? {} : { source }) });
}

/** '' = the line's own: a host in another network of the line is asked from the address there. */
function sourceFor({ line }: Health, address: string): string {
  if (address === '' || line.addresses.length < 2 || isLinkLocal(address)) return '';
  const source = sourceOf(line.addresses, { via: line.gateway, source: line.source }, address);
  return source === line.address ? '' : source;
}

function burstGapMs(health: Health): number {
  return Math.min(BURST_GAP_MS.most, Math.max(BURST_GAP_MS.least, expectedMs(health) / 8));
}

/** Who may be expected to answer soon: a target that is silent anyway is not waited for. */
function expected(health: Health): readonly TargetRecord[] {
  const living = health.records.filter((record) => record.lastReplyAt !== undefined && !record.excused && !isAside(record));
  const quick = living.filter((record) => !isSlow(record.target));
  return quick.length > 0 ? quick : living;
}
