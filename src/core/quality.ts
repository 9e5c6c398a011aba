/**
 * Lines that work, badly: loss, delay and jitter over a window; a captive portal; names that cannot be looked up; large packets that vanish.
 *
 * Each target is weighed by itself and the better half of them is believed, so that one resolver that limits its rate is no sick line. Loss
 * must be more than chance would give a line at its `up` level. Under an unusual load of our own, with delay beyond the usual, nothing is
 * judged: a full queue is no sickness, and to move new flows away is no cure.
 */
import type { FaultDomain, Instant, QualityStatus, Threshold } from '../model.js';
import type { Health } from './health.js';
import { isHollow, isStillHollow } from './hollow.js';
import { answeredSince, delay, isSilent, overSince, silentSince, tally, type TargetRecord } from './record.js';
import { isLoaded } from './traffic.js';
import { become, explain, isLiving, restate } from './verdict.js';
import { isGateway, isSlow, witnesses } from './witness.js';

const EVERY_MS = 1000;
const SAMPLES_AT_LEAST = 10;
/** Chance: p n plus so many times the root of it and a few more is seen less than once a month. */
const DEVIATIONS = 3;
const LOST_BY_CHANCE = 6;
/** Fewer where each of several targets fares badly, which chance hardly does. */
const LOST_BY_ALL = 3;
/** The `up` level for that, at the most, %. */
const LOSS_BY_CHANCE_PERCENT = 5;
/** What is lost now counts, not what was lost a while ago. */
const RECENT_MS = 3000;
const RECENT_ROUNDS = 3;
/** A page or a name that fails so often in a row fails. */
const WRONG_IN_A_ROW = 2;
/** Delay beyond this is not that of an empty queue. */
const QUEUE_MS = 30;
/** And as much again as it takes without, up to this. */
const LONG_WAY_MS = 100;

export interface Impairment {
  readonly domain: FaultDomain;
  readonly because: string;
}

/** Looks at a line that answers, once a second. */
export function judgeQuality(health: Health, now: Instant): void {
  health.qualityAt = (now + EVERY_MS) as Instant;
  if (!isLiving(health) || health.burst !== undefined) return;
  const found = impairment(health, now);
  if (health.records.some((record) => record.excused)) explain(health, now);
  if (health.state === 'up') {
    if (found !== undefined) become(health, 'degraded', found.because, found.domain, now);
  } else if (found === undefined ? isRecovered(health, now) : found.domain !== health.domain) {
    if (found === undefined) become(health, 'up', isHollow(health) && health.traffic.answeredAt <= health.since ? 'is tried again' : 'works well again', 'none', now);
    else restate(health, found.because, found.domain, now);
  }
}

/** What is wrong with a line that answers; undefined = nothing, or not known yet. A degraded one is measured by the `up` levels. */
export function impairment(health: Health, now: Instant): Impairment | undefined {
  // What targets miss while connections alone keep the line up is no loss of the line.
  if (isBusy(health, now) || health.vouchedSince !== undefined) health.qualityFrom = now;
  if (isStillHollow(health, now)) return { domain: 'connections', because: health.because };
  return portal(health) ?? names(health, now) ?? largePackets(health, now) ?? figures(health, now);
}

/** Nothing is wrong with it any more, as far as is known: is that much, and for long enough to be believed? */
export function isRecovered(health: Health, now: Instant): boolean {
  if (health.domain !== 'quality') return true;
  return lossOf(health, now).lossPercent !== undefined && now - Math.max(health.since, health.qualityFrom) >= health.policy.health.quality.windowMs;
}

/** A line that loses so much works, and is no better than one that carries traffic now. */
export function isClean(health: Health, now: Instant): boolean {
  const { lossPercent } = lossOf(health, now);
  return lossPercent === undefined || lossPercent <= health.policy.health.quality.lossPercent.up / 2;
}

export function qualityStatus(health: Health, now: Instant): QualityStatus {
  const seen = overall(health, now);
  return { lossPercent: seen.lossPercent, latencyMs: seen.rttMs, jitterMs: seen.jitterMs, busy: isBusy(health, now) };
}

function isBusy(health: Health, now: Instant): boolean {
  return isLoaded(health.traffic) && best(health, now).some((record) => record.srttMs !== undefined && record.srttMs > record.bestMs + QUEUE_MS + Math.min(record.bestMs, LONG_WAY_MS));
}

function figures(health: Health, now: Instant): Impairment | undefined {
  const { lossPercent, latencyMs, jitterMs } = health.policy.health.quality;
  const seen = overall(health, now);
  const isPoor = health.state === 'degraded' && health.domain === 'quality';
  const level = (threshold: Threshold): number => (isPoor ? threshold.up : threshold.down);
  const complain = (because: string): Impairment => ({ domain: 'quality', because });
  const isLossy = seen.lossPercent !== undefined && seen.lossPercent > level(lossPercent);
  if (isLossy && (health.state === 'degraded' || (isBeyondChance(seen, lossPercent.up) && isLosing(health, lossPercent.down, now)))) {
    const { lossPercent: percent = 0 } = seen;
    return complain(`${Math.round(percent)} % of probes are lost (more than ${level(lossPercent)} %)`);
  }
  // In doubt it stays what it is.
  if (seen.rttMs !== undefined && seen.rttMs - (isPoor ? 0 : seen.doubtMs) > level(latencyMs)) return complain(`answers take ${Math.round(seen.rttMs)} ms (more than ${level(latencyMs)} ms)`);
  if (seen.jitterMs !== undefined && seen.jitterMs > level(jitterMs)) return complain(`answers come ${Math.round(seen.jitterMs)} ms apart from even (more than ${level(jitterMs)} ms)`);
  return undefined;
}

function isBeyondChance({ over, missed, targets, leastPercent }: Loss, upPercent: number): boolean {
  const usual = (over * Math.min(upPercent, LOSS_BY_CHANCE_PERCENT)) / 100;
  return missed >= usual + DEVIATIONS * Math.sqrt(usual) + (targets > 1 && leastPercent > upPercent ? LOST_BY_ALL : LOST_BY_CHANCE);
}

/** Still, and not a while ago: who has recovered already is not left for what was. */
function isLosing(health: Health, downPercent: number, now: Instant): boolean {
  const since = (now - Math.max(RECENT_MS, RECENT_ROUNDS * health.policy.probe.intervalMs)) as Instant;
  return best(health, now).every((record) => {
    const { over, missed } = tally(record, since, now);
    return over === 0 || (100 * missed) / over > downPercent / 2;
  });
}

interface Loss {
  readonly over: number;
  readonly missed: number;
  /** How many were weighed, how many of them are believed, and how the best of them fares. */
  readonly targets: number;
  readonly half: number;
  readonly leastPercent: number;
  /** undefined = too few probes to say. */
  readonly lossPercent: number | undefined;
}

interface Overall extends Loss {
  readonly rttMs: number | undefined;
  /** By so much it may be wrong. */
  readonly doubtMs: number;
  readonly jitterMs: number | undefined;
}

/** Of the better half of the targets. */
function overall(health: Health, now: Instant): Overall {
  const loss = lossOf(health, now);
  const delays = best(health, now).map((record) => delay(record, judgedFrom(health, record, now))).filter((each) => each !== undefined);
  // How far away a target stands is no fault of the line.
  const near = delays.toSorted((a, b) => a.rttMs - b.rttMs).slice(0, loss.half);
  const enough = loss.lossPercent !== undefined;
  const spreadMs = mean(near.map((each) => each.jitterMs)) ?? 0;
  return {
    ...loss, rttMs: enough ? mean(near.map((each) => each.rttMs)) : undefined, doubtMs: (DEVIATIONS * spreadMs) / Math.sqrt(Math.max(1, loss.over)),
    jitterMs: enough ? spreadMs : undefined,
  };
}

/** The part of it that every decision asks for. */
function lossOf(health: Health, now: Instant): Loss {
  const tallies = best(health, now).map((record) => tally(record, judgedFrom(health, record, now), now)).filter(({ over }) => over > 0);
  const half = Math.max(Math.ceil(tallies.length / 2), Math.min(health.policy.probe.quorum, tallies.length));
  tallies.sort((a, b) => a.missed / a.over - b.missed / b.over);
  const believed = tallies.slice(0, half);
  const over = believed.reduce((sum, each) => sum + each.over, 0);
  const missed = believed.reduce((sum, each) => sum + each.missed, 0);
  return {
    over, missed, targets: tallies.length, half, leastPercent: tallies.length === 0 ? 0 : (100 * tallies[0]!.missed) / tallies[0]!.over,
    lossPercent: over >= SAMPLES_AT_LEAST ? (100 * missed) / over : undefined,
  };
}

/** The window; where that holds few probes, as far back as there are enough. */
function judgedFrom({ qualityFrom, policy }: Health, record: TargetRecord, now: Instant): Instant {
  const windowFrom = now - policy.health.quality.windowMs;
  return Math.max(qualityFrom, Math.min(windowFrom, overSince(record, SAMPLES_AT_LEAST, now) ?? windowFrom)) as Instant;
}

/** Those that answer at all, the quick ones where there are any. One answer that comes late excuses nobody from this. */
function best(health: Health, now: Instant): readonly TargetRecord[] {
  const living = witnesses(health).filter((record) => record.lastReplyAt !== undefined && !(record.excused && isSilent(record, now)));
  const quick = living.filter((record) => !isSlow(record.target));
  return quick.length > 0 ? quick : living;
}

function mean(values: readonly number[]): number | undefined {
  return values.length === 0 ? undefined : values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** A page of somebody else's, and no page that is right. */
function portal({ records }: Health): Impairment | undefined {
  const pages = records.filter(({ target }) => target.kind === 'http');
  const caught = pages.find((record) => record.lastCause === 'portal' && record.causeRow >= WRONG_IN_A_ROW);
  if (caught === undefined || pages.some((record) => record.lastCause === undefined && record.lastReplyAt !== undefined)) return undefined;
  return { domain: 'portal', because: `a captive portal is in the way: ${caught.lastError}` };
}

/** Two who should know names, and none of them does. One alone may be at fault himself. */
function names({ records }: Health, now: Instant): Impairment | undefined {
  const asked = records.filter((record) => record.target.kind === 'dns');
  const failing = asked.filter((record) => isSilent(record, now));
  const others = records.filter((record) => record.target.kind === 'http' && record.lastCause === 'dns' && record.causeRow >= WRONG_IN_A_ROW);
  if (failing.length < asked.length || failing.length + others.length < 2) return undefined;
  return { domain: 'dns', because: `names cannot be looked up: ${[...failing, ...others].map(({ target }) => target.id).join(', ')} fail` };
}

/** The same host answers to small packets. */
function largePackets({ records }: Health, now: Instant): Impairment | undefined {
  for (const record of records) {
    const { target } = record;
    if (target.kind !== 'icmp' || target.sizeBytes === 0 || record.lastReplyAt === undefined || !isSilent(record, now)) continue;
    const since = silentSince(record, now)!;
    const small = records.find((other) => other.target.kind === 'icmp' && other.target.host === target.host && other.target.sizeBytes === 0);
    if (small === undefined || !answeredSince(small, since)) continue;
    return { domain: 'mtu', because: `packets of ${target.sizeBytes} bytes get no answer from ${isGateway(record) ? 'the gateway' : target.host}, small ones do` };
  }
  return undefined;
}
