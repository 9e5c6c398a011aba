/** How a verdict is stated, with its reasons and what follows from it for the uplink's standing. */
import type { FaultDomain, Instant, UplinkState, Verdict } from '../model.js';
import { notePenalty, suppressedUntil } from './damping.js';
import { answering, evidenceOf, silent } from './domain.js';
import type { Health } from './health.js';
import { isBlinded, witnesses } from './witness.js';

/** A target that is silent for so long is named. */
const SILENT_FOR_MS = 10_000;

export function verdictOf(health: Health): Verdict {
  const holdUntil = Math.max(health.restUntil ?? -Infinity, suppressedUntil(health) ?? -Infinity);
  return {
    uplink: health.name, state: health.state, since: health.since, because: health.because, domain: health.domain, evidence: health.evidence,
    severed: health.line.severed !== '', inDoubt: health.burst !== undefined || health.checkedAt !== undefined,
    holdUntil: holdUntil === -Infinity ? undefined : (holdUntil as Instant),
  };
}

/** Carries new connections, well or badly. */
export function isLiving({ state }: Health): boolean {
  return state === 'up' || state === 'degraded';
}

export function become(health: Health, state: UplinkState, because: string, domain: FaultDomain, now: Instant): void {
  const before = health.state;
  const dies = state === 'down' && before !== 'down' && before !== 'unknown'; // who never lived does not die
  if (dies) health.downs++;
  if (dies || (state === 'degraded' && before !== 'suspect')) notePenalty(health, now);
  if (state === 'down' || state === 'degraded') health.mustProve = true;
  // Who answered from the start and never failed has nothing to prove.
  if (state === 'up' && before !== 'suspect') health.risenAt = health.mustProve ? now : (-Infinity as Instant);
  if (state === 'up' || state === 'degraded') health.qualityFrom = now;
  health.changed = true;
  health.state = state;
  health.since = now;
  health.burst = undefined;
  health.checkedAt = undefined;
  health.restUntil = undefined;
  if (!isLiving(health)) health.vouchedSince = undefined;
  health.alarmed = false;
  restate(health, because, domain, now);
  if (state !== 'suspect' && state !== 'down') health.silentSince = undefined;
}

/** What is to be said of a living uplink has changed, although it goes on living. */
export function explain(health: Health, now: Instant): void {
  if (health.domain === 'outside') return;
  const heard = witnesses(health);
  if (isBlinded(health, now)) return restate(health, `cannot ask: ${heard[0]!.lastError}; nothing is known of the line`, 'prober', now);
  if (health.state !== 'up') {
    if (health.domain === 'prober') restate(health, 'can ask again', 'none', now);
    return;
  }
  const quiet = heard.filter((record) => record.excused && now - (record.lastReplyAt ?? now) > SILENT_FOR_MS).map((record) => record.target.id);
  if (health.vouchedSince !== undefined) restate(health, `no answer from ${silent(health)}, but connections get theirs: the targets are at fault`, 'target', now);
  else if (quiet.length > 0) restate(health, `${answers(health, now)}; ${quiet.join(', ')} ${quiet.length === 1 ? 'does' : 'do'} not`, 'target', now);
  // Until the burst ends, nobody speaks for it.
  else if (health.burst === undefined && (health.domain === 'target' || health.domain === 'prober')) restate(health, answers(health, now), 'none', now);
}

export function restate(health: Health, because: string, domain: FaultDomain, now: Instant): void {
  if (health.because !== because || health.domain !== domain) health.changed = true;
  health.because = because;
  health.domain = domain;
  health.evidence = evidenceOf(health, now);
}

function answers(health: Health, now: Instant): string {
  const names = answering(health, now);
  if (names === '') return 'no target has answered yet';
  return `${names} ${names.includes(', ') ? 'answer' : 'answers'}`;
}
