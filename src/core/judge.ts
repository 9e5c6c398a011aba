/**
 * The health of one uplink: what to ask and when, and what to make of the answers.
 *
 *   unknown ──answered──► up ──missed reply──► burst ──unanswered──► suspect ──silence lasts──► down
 *                         ▲                      │                      │                        │
 *                         ├──── answered ────────┘                      │                        │
 *                         ├──── answered (new flows rest a while) ──────┘                        │
 *                         └──── so many answers in a row ────────────────────────────────────────┘
 *   anything ── severed (no device, no carrier, no address, no gateway) ──► down, at once
 *
 * A target that was answering and misses a reply starts a burst to all targets; a quorum of answers from beyond the
 * gateway ends it, and the silent target is excused until it answers again. With no target beyond the gateway, the
 * gateway is the evidence.
 *
 * Time passes only in `pass` (the wake event), and an answer never condemns: replies that lie unread when a timer rings are
 * taken in first. Time in which we were too starved to ask is no silence.
 */
import type { FaultDomain, Instant, ProbeOrder, UplinkState, Verdict } from '../model.js';
import { awaits, nextAsk, sendDue } from './ask.js';
import { openRecords, type Burst, type Health, type Line } from './health.js';
import { answeredSince, answersInRow, grantGrace, misses, noteLost, noteReply, silentSince, timeoutMs, type TargetRecord } from './record.js';
import { duration } from './words.js';

/** An uplink is judged from evidence within this time of start-up or of a new line, unless its answers may take longer. */
const UNKNOWN_AT_MOST_MS = 2000;
/** After a suspicion that proved wrong new flows stay away so long, doubling with each repeat. */
const REST_MS = 5000;
const REST_DOUBLINGS_AT_MOST = 6;
/** A past suspicion or death counts half after this time. */
const HALF_LIFE_MS = 300_000;
/** A timer this late says that we were starved: open probes get some grace, because their answers may lie unread. */
const LATE_MS = 10;
const GRACE_MS = 15;
const STARVATIONS_AT_MOST = 16;

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
  const moved = before.ifindex !== line.ifindex || before.gateway !== line.gateway || before.address !== line.address;
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
export function takeReply(health: Health, target: string, seq: number, at: Instant, rttMs: number, lateMs = 0): void {
  const record = recordOf(health, target);
  if (record === undefined || noteReply(record, seq, at, rttMs, lateMs > LATE_MS) === undefined) return;
  weigh(health, at);
  health.nextPassAt = nextPass(health);
}

export function takeLost(health: Health, target: string, seq: number, at: Instant, error: string): void {
  const record = recordOf(health, target);
  if (record === undefined) return;
  noteLost(record, seq, at, error);
  health.nextPassAt = nextPass(health);
}

/** Time passed: deadlines are judged, probes that are due are ordered. @returns true when a burst began now. */
export function pass(health: Health, now: Instant, lateMs: number, orders: ProbeOrder[]): boolean {
  if (lateMs > LATE_MS) {
    for (const record of health.records) grantGrace(record, health.judgedAt, (now + GRACE_MS) as Instant);
    health.starved = [...health.starved.slice(1 - STARVATIONS_AT_MOST), { until: now, forMs: lateMs }];
  }
  health.judgedAt = now;
  if (health.line.severed !== '') return false;
  weigh(health, now);
  const began = mayDoubt(health, now);
  if (health.checkedAt !== undefined && health.burst === undefined && !awaits(health, health.checkedAt, now)) endCheck(health);
  if (lapseAt(health) <= now) lapse(health, now);
  sendDue(health, now, orders);
  health.nextPassAt = nextPass(health);
  return began;
}

export function verdictOf(health: Health): Verdict {
  return {
    uplink: health.name, state: health.state, since: health.since, because: health.because, domain: health.domain,
    severed: health.line.severed !== '', inDoubt: health.burst !== undefined || health.checkedAt !== undefined, holdUntil: health.holdUntil,
  };
}

/** How often the uplink died lately, each death counting half after five minutes. */
export function downLevel(health: Health, now: Instant): number {
  return health.downLevel * decay(now - health.levelsAt);
}

function nextPass(health: Health): number {
  return health.line.severed === '' ? Math.min(nextAsk(health), lapseAt(health)) : Infinity;
}

/** What the answers so far say, whatever the clock says. */
function weigh(health: Health, now: Instant): void {
  switch (health.state) {
    case 'unknown':
      if (quorumSince(health, health.since)) become(health, 'up', health.records.length === 0 ? 'there is nothing to ask; carrier and address count' : `${answering(health)} answered`, 'none', now);
      break;
    case 'up':
      if (health.burst !== undefined && quorumSince(health, health.burst.evidenceFrom)) endBurst(health);
      if (health.checkedAt !== undefined && quorumSince(health, health.checkedAt)) endCheck(health);
      break;
    case 'suspect':
      if (quorumSince(health, health.silentSince!)) revive(health, now);
      break;
    case 'down':
      if (steadySince(health, health.since, now)) {
        become(health, 'up', `${answering(health)} answered ${count(health.policy.health.up.successes, 'time')} in a row`, 'none', now);
      }
      break;
    case 'degraded':
    case 'draining':
    case 'disabled':
      break;
  }
}

/** When silence alone ends this state; Infinity when it does not. */
function lapseAt(health: Health): number {
  const { state, policy, records, since } = health;
  if (state === 'suspect') return health.silentSince! + policy.health.down.afterMs + starvedMs(health, health.silentSince!);
  if (state !== 'unknown') return Infinity;
  const longest = Math.max(0, ...records.map((record) => timeoutMs(record, policy.probe)));
  return since + Math.max(UNKNOWN_AT_MOST_MS, longest) + starvedMs(health, since);
}

function starvedMs(health: Health, since: Instant): number {
  return health.starved.reduce((sum, { until, forMs }) => sum + Math.max(0, Math.min(forMs, until - since)), 0);
}

/** Nobody answered in the time that this state may last. */
function lapse(health: Health, now: Instant): void {
  const forMs = now - (health.silentSince ?? now);
  die(health, `no answer from ${silent(health)} ${health.state === 'unknown' ? 'since it was first asked' : `for ${duration(forMs)}`}`, now);
}

/** Starts a burst on a fresh row of misses, and ends one that nobody answered. @returns true when one began. */
function mayDoubt(health: Health, now: Instant): boolean {
  if (health.state !== 'up') return false;
  const burst = health.burst;
  if (burst !== undefined) {
    if (burst.left === 0 && !awaits(health, burst.askedAt, now)) suspect(health, burst, now);
    return false;
  }
  // Whoever is to take over has to answer now: the first miss counts.
  const enough = health.checkedAt === undefined ? health.policy.health.suspect.failures : 1;
  for (const record of health.records) {
    if (record.excused || record.lastReplyAt === undefined || misses(record, now) < enough) continue;
    health.changed = true;
    health.burst = { evidenceFrom: silentSince(record, now)!, left: health.policy.health.suspect.burst, nextAt: now, askedAt: now };
    if (quorumSince(health, health.burst.evidenceFrom)) endBurst(health);
    else {
      if (health.burst.left === 0) suspect(health, health.burst, now);
      return true;
    }
  }
  return false;
}

/** The uplink lives; who stayed silent is excused, so that a dead target costs one burst and no more. */
function endBurst(health: Health): void {
  const from = health.burst!.evidenceFrom;
  health.burst = undefined;
  health.changed = true;
  for (const record of health.records) {
    if (record.lastReplyAt !== undefined && !answeredSince(record, from)) record.excused = true;
  }
}

function endCheck(health: Health): void {
  health.checkedAt = undefined;
  health.changed = true;
}

function suspect(health: Health, burst: Burst, now: Instant): void {
  health.silentSince = burst.evidenceFrom;
  health.suspicions++;
  fade(health, now);
  health.suspicionLevel++;
  const domain = domainOf(health, burst.evidenceFrom);
  const asked = health.policy.health.suspect.burst;
  become(health, 'suspect', `no answer from ${silent(health)}${asked === 0 ? '' : ` to a burst of ${asked}`}${inWords(health, domain)}`, domain, now);
}

/** A suspicion proved wrong: old flows never noticed, new ones rest a while, longer with each repeat. */
function revive(health: Health, now: Instant): void {
  fade(health, now);
  const doublings = Math.min(REST_DOUBLINGS_AT_MOST, Math.max(0, Math.round(health.suspicionLevel) - 1));
  const restMs = REST_MS * 2 ** doublings;
  become(health, 'up', `${answering(health)} answers again after ${duration(now - health.silentSince!)} of silence; new flows return after ${duration(restMs)}`, 'none', now);
  health.holdUntil = (now + restMs) as Instant;
}

function die(health: Health, silence: string, now: Instant): void {
  const domain = domainOf(health, health.silentSince ?? health.since);
  become(health, 'down', silence + inWords(health, domain), domain, now);
}

function become(health: Health, state: UplinkState, because: string, domain: FaultDomain, now: Instant): void {
  if (state === 'down' && health.state !== 'down') {
    fade(health, now);
    // An uplink that never lived did not die.
    if (health.state !== 'unknown') {
      health.downs++;
      health.downLevel++;
    }
  }
  if (state === 'down') health.mustProve = true;
  // Who answered from the start and never failed has nothing to prove.
  if (state === 'up' && health.state !== 'suspect') health.risenAt = health.mustProve ? now : (-Infinity as Instant);
  health.changed = true;
  health.state = state;
  health.since = now;
  health.because = because;
  health.domain = domain;
  health.burst = undefined;
  health.checkedAt = undefined;
  health.holdUntil = undefined;
  if (state !== 'suspect' && state !== 'down') health.silentSince = undefined;
}

/** The targets whose answers count: those beyond the gateway, or the gateway where there are none. */
function witnesses(health: Health): readonly TargetRecord[] {
  const beyond = health.records.filter((record) => record.target.host !== 'gateway');
  return beyond.length > 0 ? beyond : health.records;
}

function quorumOf(health: Health): number {
  return Math.min(health.policy.probe.quorum, witnesses(health).length);
}

function quorumSince(health: Health, since: Instant): boolean {
  let answered = 0;
  for (const record of witnesses(health)) if (answeredSince(record, since)) answered++;
  return answered >= quorumOf(health);
}

function steadySince(health: Health, since: Instant, now: Instant): boolean {
  let steady = 0;
  for (const record of witnesses(health)) if (answersInRow(record, since, now) >= health.policy.health.up.successes) steady++;
  return steady >= quorumOf(health);
}

/** Where it broke: does the gateway still answer? A gateway that never answered says nothing. */
function domainOf(health: Health, since: Instant): FaultDomain {
  const gateway = health.records.find((record) => record.target.host === 'gateway');
  if (gateway?.lastReplyAt === undefined) return 'upstream';
  return answeredSince(gateway, since) ? 'upstream' : 'gateway';
}

function inWords(health: Health, domain: FaultDomain): string {
  const asWell = witnesses(health).every((record) => record.target.host !== 'gateway');
  return domain === 'gateway' && asWell ? '; the gateway is silent too' : '';
}

function silent(health: Health): string {
  return witnesses(health).map((record) => record.target.id).join(', ');
}

function answering(health: Health): string {
  const names = witnesses(health).filter((record) => record.lastReplyAt !== undefined && !record.excused).map((record) => record.target.id);
  return names.join(', ');
}

function recordOf(health: Health, target: string): TargetRecord | undefined {
  return health.records.find((record) => record.target.id === target);
}

function fade(health: Health, now: Instant): void {
  const factor = decay(now - health.levelsAt);
  health.suspicionLevel *= factor;
  health.downLevel *= factor;
  health.levelsAt = now;
}

function decay(elapsedMs: number): number {
  return 2 ** (-elapsedMs / HALF_LIFE_MS);
}

function count(n: number, noun: string): string {
  return `${n} ${noun}${n === 1 ? '' : 's'}`;
}
