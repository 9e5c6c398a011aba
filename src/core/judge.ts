/**
 * The health of one uplink: what to make of the answers.
 *
 *   unknown ──answered──► up ──missed reply──► burst ──unanswered──► suspect ──silence lasts──► down
 *                         ▲ ▲                  │ │                    │                        │
 *                         │ └─── answered ─────┘ └─ connections get   │                        │
 *                         │                         answers: vouched  │                        │
 *                         ├──── answered (new flows rest a while) ────┘                        │
 *                         ├──── so many answers in a row ──────────────────────────────────────┘
 *                         └──── well for a window ──── degraded ◄──── up, and the line works badly (quality.ts)
 *   anything ── severed (no device, no carrier, no address, no gateway), or condemned from outside ──► down, at once
 *
 * A target that was answering and misses a reply starts a burst to all targets, and so do connections whose answers stop; a quorum of answers ends it, and
 * the silent target is excused until it answers again.
 *
 * Time passes only in `pass` (the wake event), and an answer never condemns: replies that lie unread when a timer rings are taken in first. Time in which
 * we were too starved to ask is no silence, and what our own prober could not ask is no miss.
 */
import type { Instant, LostCause, OutsideVerdict, ProbeOrder, TrafficCount } from '../model.js';
import { awaits, expectedMs, nextAsk, patienceMs, sendDue } from './ask.js';
import { contradicts } from './bypass.js';
import { endSuppression, noteSuspicion, noteWrongSuspicion } from './damping.js';
import { domainOf, silent, whereInWords, whoSpeaks } from './domain.js';
import { mostAreLively } from './groups.js';
import { openRecords, type Burst, type Health, type Line } from './health.js';
import { judgeQuality } from './quality.js';
import { answeredSince, grantGrace, misses, noteLost, noteReply, silentSince, timeoutMs, voidOpen } from './record.js';
import { noteSight, noteStarvation, starvedMs } from './starvation.js';
import { doubtTraffic, hasGoneQuiet, noteTraffic } from './traffic.js';
import { become, explain, isLiving } from './verdict.js';
import {
  condemnation, flowsStillVouch, flowsVouch, isAside, isBlinded, lastHeardAt, quorumSince, steadySince,
} from './witness.js';
import { count, duration } from './words.js';

/** An uplink is judged from evidence within this time of start-up or of a new line, unless its answers may take longer. */
const UNKNOWN_AT_MOST_MS = 2000;
/** A timer this late says that we were starved: open probes get some grace, because their answers may lie unread. */
const LATE_MS = 10;
const GRACE_MS = 15;
/** Connections that vouch for a line, or bring a suspect back, must have got their answers for so long. */
const VOUCH_MS = 500;
const VOUCHED_LATELY_MS = 1500;
/** While our own prober fails, whoever is in doubt is asked this often. */
const BLIND_MS = 200;
/** What senders begin with: such an answer passed no router. */
const FRESH_HOP_LIMITS: readonly number[] = [64, 128, 255];

/** The line was looked at: a severed one is down at once, a whole one is asked anew. */
export function noteLine(health: Health, line: Line, now: Instant): void {
  look(health, line, now);
  if (health.records.length === 0 && line.severed === '') weigh(health, now);
  health.nextPassAt = nextPass(health);
}

function look(health: Health, line: Line, now: Instant): void {
  const before = health.line;
  health.line = line;
  if (line.severed !== '') {
    if (health.state !== 'down' || before.severed !== line.severed) become(health, 'down', line.severed, line.severedDomain, now);
    return;
  }
  const lostAddress = before.address !== line.address && !line.addresses.some(({ address }) => address === before.address);
  const moved = before.ifindex !== line.ifindex || before.gateway !== line.gateway || lostAddress;
  if (!moved && before.address !== line.address) health.records.forEach((record) => voidOpen(record, now));
  if (before.severed === '' && !moved) return;
  health.records = openRecords(health.policy, health.family, now, health.records);
  health.judgedAt = now;
  const wanted = count(health.policy.health.up.successes, 'answer');
  if (health.state === 'unknown') become(health, 'unknown', 'asking for the first time', 'none', now);
  else if (before.severed !== '') become(health, 'down', `the line is back; waiting for ${wanted} in a row`, 'none', now);
  else if (health.state === 'down') become(health, 'down', `address or gateway changed; waiting for ${wanted} in a row`, 'none', now);
  else become(health, 'unknown', 'address or gateway changed; asking anew', 'none', now);
}

/** @param lateMs how long this answer may have lain unread, as far as our own timer tells */
export function takeReply(health: Health, target: string, seq: number, at: Instant, rttMs: number, lateMs = 0, unpinned = '', hopLimit?: number): void {
  const record = health.records.find((other) => other.target.id === target);
  const wasExcused = record?.excused;
  if (record === undefined || noteReply(record, seq, at, rttMs, lateMs > LATE_MS) === undefined) return;
  record.unpinned = unpinned;
  record.nextDoor = hopLimit === undefined ? 0 : FRESH_HOP_LIMITS.includes(hopLimit) ? Math.max(0, record.nextDoor) + 1 : -1;
  if (wasExcused === true || health.domain === 'prober') explain(health, at);
  if (health.awaits !== 'nothing') health.changed = true;
  weigh(health, at);
  if (health.burst !== undefined && record.target.kind === 'hop') bePatient(health, health.burst, at);
  health.nextPassAt = nextPass(health);
}

export function takeLost(health: Health, target: string, seq: number, at: Instant, cause: LostCause, error: string): void {
  const record = health.records.find((other) => other.target.id === target);
  if (record === undefined) return;
  noteLost(record, seq, at, cause, error);
  if (cause === 'prober' && health.domain !== 'prober' && isBlinded(health, at)) {
    health.blindSince ??= at;
    explain(health, at);
  }
  health.nextPassAt = nextPass(health);
}

/** What passed through the uplink. It only ever calls for a burst, or for patience. */
export function takeTraffic(health: Health, counted: TrafficCount, now: Instant): void {
  const { traffic } = health;
  noteTraffic(traffic, counted, now, !isLiving(health) || health.burst !== undefined ? 'silent' : health.vouchedSince !== undefined ? 'vouching' : 'usual');
  if (!health.policy.probe.passive || health.line.severed !== '') return;
  if (health.state === 'suspect' && flowsVouch(health, Math.max(health.silentSince!, now - VOUCH_MS) as Instant, now)) return vouch(health, now);
  if (!isLiving(health)) return;
  const { burst } = health;
  if (burst !== undefined) {
    // Connections get no answers either: that is no mere delay of the targets. They get some again: it may be one after all.
    const isConfirmed = burst.isConfirmed
      ? !contradicts(traffic.bypass, now)
        && (traffic.answeredAt !== now || !mostAreLively(traffic.groups, burst.startedAt, now))
      : hasGoneQuiet(traffic, expectedMs(health), now);
    if (isConfirmed !== burst.isConfirmed) {
      burst.isConfirmed = isConfirmed;
      bePatient(health, burst, now);
      health.nextPassAt = nextPass(health);
    }
    return;
  }
  const silence = health.vouchedSince === undefined ? hasGoneQuiet(traffic, expectedMs(health), now)
    : now - health.vouchedSince > VOUCHED_LATELY_MS && !flowsStillVouch(health, (now - VOUCHED_LATELY_MS) as Instant, now);
  if (!silence) return;
  health.alarmed = true;
  health.nextPassAt = Math.min(health.nextPassAt, now);
}

/** Somebody outside has something to say, or no more. */
export function takeOutside(health: Health, outside: readonly OutsideVerdict[], now: Instant): void {
  // Whoever was excused because somebody outside spoke for the line is asked about again.
  if (outside.length < health.outside.length) for (const record of health.records) record.excused = false;
  health.outside = outside;
  if (health.line.severed !== '') return;
  if (health.domain === 'outside' && condemnation(health) === undefined) {
    become(health, 'down', `nobody says any more that it is down; waiting for ${count(health.policy.health.up.successes, 'answer')} in a row`, 'none', now);
  }
  weigh(health, now);
  health.nextPassAt = nextPass(health);
}

/** Time passed: deadlines are judged, probes that are due are ordered. @returns true when a burst began now. */
export function pass(health: Health, now: Instant, lateMs: number, orders: ProbeOrder[]): boolean {
  if (lateMs > LATE_MS) {
    for (const record of health.records) grantGrace(record, health.judgedAt, (now + GRACE_MS) as Instant);
    noteStarvation(health, (now - lateMs) as Instant, now);
  }
  health.judgedAt = now;
  endSuppression(health, now);
  if (health.line.severed !== '') return false;
  if (health.blindSince !== undefined && !isBlinded(health, now)) {
    noteSight(health, now);
    explain(health, now);
  }
  // Nobody counts any more: nobody vouches.
  if (health.vouchedSince !== undefined && health.burst === undefined && now - health.traffic.lastAt > VOUCHED_LATELY_MS) health.alarmed = true;
  weigh(health, now);
  const began = mayDoubt(health, now);
  if (health.checkedAt !== undefined && health.burst === undefined && !awaits(health, health.checkedAt, now)) endCheck(health);
  if (lapseAt(health) <= now) lapse(health, now);
  if (health.qualityAt <= now) judgeQuality(health, now);
  sendDue(health, now, orders);
  health.nextPassAt = nextPass(health);
  return began;
}

function nextPass(health: Health): number {
  return health.line.severed === '' ? Math.min(nextAsk(health), lapseAt(health), health.alarmed && health.burst === undefined ? health.judgedAt : Infinity) : Infinity;
}

/** What the answers so far say, whatever the clock says. */
function weigh(health: Health, now: Instant): void {
  const condemned = condemnation(health);
  if (condemned !== undefined) {
    if (health.domain !== 'outside') become(health, 'down', `${condemned.by} says that it is down${condemned.because === '' ? '' : `: ${condemned.because}`}`, 'outside', now);
    return;
  }
  switch (health.state) {
    case 'unknown':
      if (quorumSince(health, health.since)) become(health, 'up', health.records.length === 0 ? 'there is nothing to ask; carrier and address count' : whoSpeaks(health, now, 'answered'), 'none', now);
      break;
    case 'up':
    case 'degraded':
      if (health.vouchedSince !== undefined && quorumSince(health, health.vouchedSince)) {
        health.vouchedSince = undefined;
        explain(health, now);
      }
      if (health.burst !== undefined && quorumSince(health, health.burst.evidenceFrom)) endBurst(health, now);
      if (health.checkedAt !== undefined && quorumSince(health, health.checkedAt)) endCheck(health);
      break;
    case 'suspect':
      if (quorumSince(health, health.silentSince!)) revive(health, whoSpeaks(health, now, 'answers again'), now);
      break;
    case 'down':
      if (steadySince(health, health.since, now)) {
        become(health, 'up', whoSpeaks(health, now, `answered ${count(health.policy.health.up.successes, 'time')} in a row`), 'none', now);
      }
      break;
    case 'draining':
    case 'disabled':
      break;
  }
}

/** When silence alone ends this state; Infinity when it does not. */
function lapseAt(health: Health): number {
  const { state, policy, records, since } = health;
  if (health.domain === 'prober') return Infinity;
  if (state === 'suspect') return health.silentSince! + policy.health.down.afterMs + starvedMs(health, health.silentSince!);
  if (state !== 'unknown') return Infinity;
  const longest = Math.max(0, ...records.filter((record) => !isAside(record)).map((record) => timeoutMs(record, policy.probe)));
  return since + Math.max(UNKNOWN_AT_MOST_MS, longest) + starvedMs(health, since);
}

/** Nobody answered in the time that this state may last. */
function lapse(health: Health, now: Instant): void {
  if (flowsVouch(health, Math.max(health.silentSince ?? health.since, now - VOUCH_MS) as Instant, now)) return vouch(health, now);
  const silence = health.state === 'unknown' ? 'since it was first asked' : `for ${duration(now - (health.silentSince ?? now))}`;
  const domain = domainOf(health, health.silentSince ?? health.since, now);
  become(health, 'down', `no answer from ${silent(health)} ${silence}${whereInWords(health, domain)}`, domain, now);
}

/** Starts a burst on a fresh row of misses, and ends one that nobody answered. @returns true when one began. */
function mayDoubt(health: Health, now: Instant): boolean {
  if (!isLiving(health)) return false;
  const burst = health.burst;
  if (burst !== undefined) {
    if (burst.left > 0 || now < burst.patientUntil || awaits(health, burst.askedAt, now)) return false;
    // What could not be asked proves nothing: again, until it can.
    if (isBlinded(health, now)) health.burst = { ...burst, silentFrom: now, left: 1, nextAt: (now + BLIND_MS) as Instant };
    else suspect(health, burst, now);
    return false;
  }
  const { failures } = health.policy.health.suspect;
  if (health.alarmed) {
    health.alarmed = false;
    health.vouchedSince = undefined;
    return begin(health, { evidenceFrom: now, silentFrom: lastHeardAt(health, now), byTraffic: true }, now);
  }
  // Whoever is to take over has to answer now: the first miss counts.
  const enough = health.checkedAt === undefined ? failures : 1;
  for (const record of health.records) {
    if (record.excused || isAside(record) || record.lastReplyAt === undefined || misses(record, now) < enough) continue;
    const since = silentSince(record, now)!;
    if (begin(health, { evidenceFrom: since, silentFrom: since, byTraffic: false }, now)) return true;
  }
  return false;
}

function begin(health: Health, from: Pick<Burst, 'evidenceFrom' | 'silentFrom' | 'byTraffic'>, now: Instant): boolean {
  health.changed = true;
  health.burst = { ...from, isConfirmed: from.byTraffic, startedAt: now, patientUntil: now, volleys: 0, left: Math.max(from.byTraffic ? 1 : 0, health.policy.health.suspect.burst), nextAt: now, askedAt: now };
  bePatient(health, health.burst, now);
  if (quorumSince(health, from.evidenceFrom)) endBurst(health, now);
  else if (health.burst.left === 0) suspect(health, health.burst, now);
  return health.burst !== undefined || health.state === 'suspect';
}

function bePatient(health: Health, burst: Burst, now: Instant): void {
  burst.patientUntil = (burst.startedAt + patienceMs(health, burst.isConfirmed, burst.evidenceFrom, now)) as Instant;
}

/** The uplink lives; who stayed silent is excused, so that a dead target costs one burst and no more. */
function endBurst(health: Health, now: Instant): void {
  const { evidenceFrom, byTraffic } = health.burst!;
  health.burst = undefined;
  health.changed = true;
  if (byTraffic) doubtTraffic(health.traffic);
  let excused = false;
  for (const record of health.records) {
    if (record.excused || record.lastReplyAt === undefined || answeredSince(record, evidenceFrom) || misses(record, now) === 0) continue;
    record.excused = true;
    excused = true;
  }
  if (excused) explain(health, now);
}

function endCheck(health: Health): void {
  health.checkedAt = undefined;
  health.changed = true;
}

function suspect(health: Health, burst: Burst, now: Instant): void {
  const since = burst.byTraffic ? burst.startedAt : (Math.min(burst.startedAt, burst.silentFrom + expectedMs(health)) as Instant);
  if (flowsVouch(health, since, now)) return vouch(health, now);
  health.suspicions++;
  noteSuspicion(health, now);
  health.silentSince = burst.silentFrom;
  health.poor = health.state === 'degraded' ? { domain: health.domain, because: health.because } : undefined;
  const domain = domainOf(health, burst.evidenceFrom, now);
  const asked = health.policy.health.suspect.burst;
  const quiet = burst.byTraffic ? 'connections get no answers any more; ' : '';
  become(health, 'suspect', `${quiet}no answer from ${silent(health)}${asked === 0 ? '' : ` to a burst of ${asked}`}${whereInWords(health, domain)}`, domain, now);
}

/** Connections get their answers: silence of the targets alone costs no line. */
function vouch(health: Health, now: Instant): void {
  for (const record of health.records) record.excused = record.lastReplyAt !== undefined;
  health.vouchedSince = now;
  health.burst = undefined;
  health.changed = true;
  if (health.state === 'suspect') revive(health, 'connections get answers', now);
  else if (health.state === 'unknown') become(health, 'up', '', 'target', now);
  explain(health, now);
}

/** A suspicion proved wrong: old flows never noticed, new ones rest a while, longer with each repeat. */
function revive(health: Health, why: string, now: Instant): void {
  const restMs = noteWrongSuspicion(health, now);
  const { poor } = health;
  const again = `${why} after ${duration(now - health.silentSince!)} of silence`;
  if (poor === undefined) become(health, 'up', `${again}; new flows return after ${duration(restMs)}`, 'none', now);
  else become(health, 'degraded', poor.because, poor.domain, now);
  health.restUntil = (now + restMs) as Instant;
}
