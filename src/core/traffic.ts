/**
 * Connections that pass through an uplink, as evidence: what the LAN's side sends, and what comes back for it.
 *
 * The packet filter counts; here counts become samples, tens of times a second while there is traffic. Two questions are answered:
 *   - has it gone quiet? what was sent has for some time had no answer, although by the usual ratio some were to be expected. That
 *     starts a burst of probes before any probe is due, and is never a verdict by itself;
 *   - does it progress? answers come at something like the usual ratio. That vetoes a verdict that rests on silent targets alone.
 *
 * Neither is answered by packets alone: a lively minority of destinations does not speak for a silent majority (groups.ts).
 * The ratio is learnt, because some traffic is never answered. A wrong alarm makes this uplink's traffic less trusted for a while.
 */
import type { Instant, TrafficCount, TrafficStatus } from '../model.js';
import { contradicts, noteDevice, openBypass, type Bypass } from './bypass.js';
import { forgive, mostAreLively, mostHaveGoneQuiet, noteGroup, openGroup, USUAL_MS, type Group } from './groups.js';
import { noteUnanswered, openUnanswered, type Unanswered } from './unanswered.js';

/** While something passes it is counted this often, and else this often. */
export const COUNT_EVERY_MS = { busy: 15, idle: 250 };
/** Nothing was sent for so long: idle. */
const IDLE_AFTER_MS = 1000;
/** Nothing was sent for so long: what comes then begins anew, and its first answers need a round trip. */
const PAUSE_MS = 60;
/** Samples of the recent past, for questions about it. */
const SAMPLES = 64;
/** So many answers were to be expected and none came; so many have to have come for there to be a usual ratio. */
const MISSED_AT_LEAST = 4;
const USUAL_AT_LEAST = 20;
/** Silence counts from this length, and from this many times the longest usual gap between answers. */
const GONE_QUIET_AFTER_MS = 15;
const USUAL_GAPS = 1.5;
/** Of the usual share of answers, so much is progress. */
const PROGRESS_SHARE = 0.4;
const PROGRESS_AT_LEAST = 2;
/** Whoever vouches brings this share of the answers that used to come: connections that end before the fault go on, and prove nothing about the rest. */
const LEVEL_SHARE = 0.5;
const VOUCHED_USUAL_MS = 300_000;
/** After a wrong alarm patience doubles, up to this; it halves again in this time. */
const PATIENCE_AT_MOST = 2;
const PATIENCE_HALF_LIFE_MS = 10_000;
/** And so long there is no other alarm. */
const ALARMS_APART_MS = 500;
/** An unusual load: this share of the most that was ever seen, which is so many times the average, and no trickle. */
const LOAD_SHARE = 0.5;
const LOAD_TIMES = 2;
const TRICKLE_BYTES_PER_S = 20_000;
/** What it was seen to carry counts half after an hour; the average is that of half an hour. */
const MOST_HALF_LIFE_MS = 3_600_000;
const AVERAGE_MS = 1_800_000;
const RATE_MS = 1000;

interface Sample {
  readonly at: Instant;
  readonly sent: number;
  readonly answered: number;
}

/** Owned by its uplink and changed in place. */
export interface Traffic {
  last: TrafficCount | undefined;
  lastAt: Instant;
  readonly samples: Sample[];
  /** The same by destinations. */
  groups: Group[];
  readonly unanswered: Unanswered;
  /** Decayed sums: the usual. */
  usualSent: number;
  /** Sent, and not among the usual yet. */
  heldSent: number;
  usualAnswered: number;
  /** Answers per second, of about that time. */
  levelPerS: number;
  /** When answers last came, and what was sent since. */
  answeredAt: Instant;
  sentSince: number;
  /** When sending began after a pause: the first answers need a round trip. */
  begunAt: Instant;
  sentAt: Instant;
  /** Longest usual gap between answers while sending, decayed, ms. */
  gapMs: number;
  patience: number;
  /** When it last raised a wrong alarm. */
  doubtedAt: Instant;
  /** Per second, over about a second. */
  rate: { sentPackets: number; answeredPackets: number; sentBytes: number; answeredBytes: number };
  /** Each direction by itself: most lines carry more to us than from us. */
  readonly out: Load;
  readonly back: Load;
  /** What passes uncounted. */
  readonly bypass: Bypass;
}

/** Bytes per second: the most that was seen for a while, decayed, and the average. */
interface Load {
  mostBytes: number;
  averageBytes: number;
}

export function openTraffic(now: Instant): Traffic {
  return {
    last: undefined, lastAt: now, samples: [], groups: [], unanswered: openUnanswered(), usualSent: 0, heldSent: 0, usualAnswered: 0, levelPerS: 0, answeredAt: now, sentSince: 0, begunAt: now, sentAt: -Infinity as Instant, gapMs: 0, patience: 1, doubtedAt: -Infinity as Instant,
    rate: { sentPackets: 0, answeredPackets: 0, sentBytes: 0, answeredBytes: 0 }, out: { mostBytes: 0, averageBytes: 0 }, back: { mostBytes: 0, averageBytes: 0 },
    bypass: openBypass(now),
  };
}

/**
 * A new count. Counters that fell began anew.
 *
 * @param standing what comes through a silent line is not the usual; what comes while connections alone vouch for it becomes the usual only slowly
 */
export function noteTraffic(traffic: Traffic, count: TrafficCount, now: Instant, standing: 'usual' | 'silent' | 'vouching' = 'usual'): void {
  const { last, lastAt } = traffic;
  traffic.last = count;
  traffic.lastAt = now;
  const elapsedMs = now - lastAt;
  if (last === undefined || elapsedMs <= 0 || beganAnew(last, count)) {
    traffic.groups = count.groups.map(openGroup);
    if (last?.interface !== count.interface) traffic.bypass.last = undefined;
    noteDevice(traffic.bypass, count.device, now);
    return;
  }
  const sent = count.sentPackets - last.sentPackets;
  const answered = count.answeredPackets - last.answeredPackets;
  traffic.samples.push({ at: now, sent, answered });
  if (traffic.samples.length > SAMPLES) traffic.samples.shift();
  noteDevice(traffic.bypass, count.device, now);
  noteRate(traffic, last, count, elapsedMs);
  if (sent > 0 && now - traffic.sentAt > PAUSE_MS) traffic.begunAt = lastAt;
  if (sent > 0) traffic.sentAt = now;
  traffic.patience = Math.max(1, traffic.patience * 2 ** (-elapsedMs / PATIENCE_HALF_LIFE_MS));
  traffic.gapMs *= 2 ** (-elapsedMs / USUAL_MS);
  if (answered > 0) {
    if (traffic.sentSince > 0 && standing !== 'silent' && traffic.begunAt < traffic.answeredAt) traffic.gapMs = Math.max(traffic.gapMs, lastAt - traffic.answeredAt);
    traffic.answeredAt = now;
    traffic.sentSince = 0;
  } else traffic.sentSince += sent;
  const weight = standing === 'silent' ? 0 : standing === 'vouching' ? USUAL_MS / VOUCHED_USUAL_MS : 1;
  noteUnanswered(traffic.unanswered, count.groups.map(({ sent: all, answered: back }, i) => ({ sent: all - traffic.groups[i]!.last.sent, answered: back - traffic.groups[i]!.last.answered })), now);
  traffic.groups.forEach((group, i) => noteGroup(group, count.groups[i]!, elapsedMs, now, weight));
  if (weight === 0) {
    traffic.heldSent = 0;
    return;
  }
  const fade = Math.exp((-elapsedMs * weight) / USUAL_MS);
  traffic.levelPerS += ((1000 * answered) / elapsedMs - traffic.levelPerS) * (1 - fade);
  // An answer belongs to what was sent before it; silence does not become the usual while it is being looked at.
  traffic.heldSent += sent;
  if (traffic.sentSince > 0 && now - traffic.answeredAt < USUAL_MS) return;
  traffic.usualSent = traffic.usualSent * fade + traffic.heldSent * weight;
  traffic.usualAnswered = traffic.usualAnswered * fade + answered * weight;
  traffic.heldSent = 0;
}

/** @param rttMs how long an answer takes at the most, usually */
export function hasGoneQuiet(traffic: Traffic, rttMs: number, now: Instant): boolean {
  if (now - traffic.doubtedAt < ALARMS_APART_MS) return false;
  const { groups, patience } = traffic;
  const isQuiet = allIsQuiet(traffic, rttMs, now)
    || mostHaveGoneQuiet(groups, MISSED_AT_LEAST * patience, patience, rttMs, now);
  return isQuiet && !contradicts(traffic.bypass, now);
}

function allIsQuiet(traffic: Traffic, rttMs: number, now: Instant): boolean {
  if (traffic.usualAnswered < USUAL_AT_LEAST || traffic.sentSince * usualRatio(traffic) < MISSED_AT_LEAST * traffic.patience) return false;
  const quietMs = now - Math.max(traffic.answeredAt, traffic.begunAt);
  const resumed = traffic.begunAt >= traffic.answeredAt ? rttMs + COUNT_EVERY_MS.busy : 0;
  return quietMs >= traffic.patience * Math.max(GONE_QUIET_AFTER_MS, USUAL_GAPS * traffic.gapMs, resumed);
}

/** The alarm was false: this traffic stutters by nature. */
export function doubtTraffic(traffic: Traffic): void {
  traffic.patience = Math.min(PATIENCE_AT_MOST, traffic.patience * 2);
  traffic.doubtedAt = traffic.lastAt;
  traffic.answeredAt = traffic.lastAt;
  traffic.sentSince = 0;
  for (const group of traffic.groups) forgive(group);
}

/** Did connections get answers since then, at something like the usual ratio? undefined = hardly anything was sent. */
export function progressed(traffic: Traffic, since: Instant): boolean | undefined {
  let sent = 0;
  let answered = 0;
  for (let i = traffic.samples.length - 1; i >= 0; i--) {
    const sample = traffic.samples[i]!;
    if (sample.at <= since) break;
    sent += sample.sent;
    answered += sample.answered;
  }
  if (answered < PROGRESS_AT_LEAST) return sent * usualRatio(traffic) < MISSED_AT_LEAST ? undefined : false;
  return answered >= PROGRESS_SHARE * usualRatio(traffic) * sent;
}

/**
 * Answers come at the usual ratio, from most who are asked, and about as many as used to: the line lives, whatever the targets say.
 *
 * @param few so many need not be: somebody else vouches, too
 */
export function vouches(traffic: Traffic, since: Instant, now: Instant, few: boolean): boolean {
  if (progressed(traffic, since) !== true || !mostAreLively(traffic.groups, since, now)) return false;
  if (few) return true;
  const from = Math.max(since, traffic.samples[0]?.at ?? now);
  const answered = traffic.samples.reduce((sum, sample) => sum + (sample.at > from ? sample.answered : 0), 0);
  const usual = (traffic.levelPerS * (now - from)) / 1000;
  return answered >= LEVEL_SHARE * usual - Math.sqrt(usual);
}

/** It carries unusually much, one way or the other. */
export function isLoaded(traffic: Traffic): boolean {
  return isUnusual(traffic.out, sentBytes(traffic)) || isUnusual(traffic.back, receivedBytes(traffic));
}

function sentBytes({ rate, bypass }: Traffic): number {
  return Math.max(rate.sentBytes, bypass.rate.sent);
}

function receivedBytes({ rate, bypass }: Traffic): number {
  return Math.max(rate.answeredBytes, bypass.rate.received);
}

function isUnusual({ mostBytes, averageBytes }: Load, bytes: number): boolean {
  return mostBytes > TRICKLE_BYTES_PER_S && mostBytes >= LOAD_TIMES * averageBytes && bytes >= LOAD_SHARE * mostBytes;
}

export function isIdle(traffic: Traffic, now: Instant): boolean {
  return now - traffic.sentAt > IDLE_AFTER_MS;
}

export function trafficStatus(traffic: Traffic, now: Instant): TrafficStatus | undefined {
  if (traffic.last === undefined) return undefined;
  const current = now - traffic.lastAt < 2 * RATE_MS ? traffic.rate : { sentPackets: 0, answeredPackets: 0, sentBytes: 0, answeredBytes: 0 };
  return { ...current, progressing: progressed(traffic, (now - RATE_MS) as Instant) };
}

/** Another device, or counters that fell. */
function beganAnew(last: TrafficCount, count: TrafficCount): boolean {
  return last.interface !== count.interface || last.groups.length !== count.groups.length || count.sentPackets < last.sentPackets || count.answeredPackets < last.answeredPackets;
}

function noteRate(traffic: Traffic, last: TrafficCount, count: TrafficCount, elapsedMs: number): void {
  const keep = Math.exp(-elapsedMs / RATE_MS);
  const smooth = (rate: number, delta: number): number => rate * keep + ((1000 * delta) / elapsedMs) * (1 - keep);
  const { rate } = traffic;
  rate.sentPackets = smooth(rate.sentPackets, count.sentPackets - last.sentPackets);
  rate.answeredPackets = smooth(rate.answeredPackets, count.answeredPackets - last.answeredPackets);
  rate.sentBytes = smooth(rate.sentBytes, count.sentBytes - last.sentBytes);
  rate.answeredBytes = smooth(rate.answeredBytes, count.answeredBytes - last.answeredBytes);
  noteLoad(traffic.out, sentBytes(traffic), elapsedMs);
  noteLoad(traffic.back, receivedBytes(traffic), elapsedMs);
}

function noteLoad(load: Load, bytes: number, elapsedMs: number): void {
  load.mostBytes = Math.max(load.mostBytes * 2 ** (-elapsedMs / MOST_HALF_LIFE_MS), bytes);
  load.averageBytes += (bytes - load.averageBytes) * (1 - Math.exp(-elapsedMs / AVERAGE_MS));
}

function usualRatio(traffic: Traffic): number {
  return traffic.usualSent === 0 ? 0 : traffic.usualAnswered / traffic.usualSent;
}
