/**
 * Uplinks compared with each other. All silent at once is evidence about us, or about the targets, and not about every provider: the verdicts then say so.
 * A target that fell silent on one uplink and answers on another is evidence about the first: less of the internet is in reach there.
 */
import type { Instant } from '../model.js';
import type { Health } from './health.js';
import { isSilent, misses } from './record.js';
import type { Plane } from './state.js';
import { restate } from './verdict.js';
import { quorumSince, witnesses } from './witness.js';
import { duration } from './words.js';

/** Faults of different origin do not fall together so closely. */
const AT_ONCE_MS = 3000;
/** After so long without an answer a target counts as one that is not to be had by this uplink at all. */
const REMEMBERED_MS = 900_000;

export function correlate(plane: Plane, now: Instant): void {
  // Of whom there is better to say than his silence is not asked here.
  const whole = [...plane.health.values()].filter(({ line, domain }) => line.severed === '' && domain !== 'outside' && domain !== 'prober');
  if (whole.length < 2 || whole.every((health) => health.domain === 'everything')) return;
  const since = whole.map((health) => ((health.state === 'suspect' || health.state === 'down') && !quorumSince(health, health.since) ? health.silentSince : undefined)).filter((at) => at !== undefined);
  if (since.length < whole.length) return;
  const spreadMs = Math.max(...since) - Math.min(...since);
  if (spreadMs > AT_ONCE_MS + Math.max(...whole.map((health) => health.policy.probe.intervalMs))) return;
  for (const health of whole) {
    if (health.domain === 'everything') continue;
    restate(health, `${health.because}; all uplinks fell silent within ${duration(Math.max(1, spreadMs))}, which may be us or the targets`, 'everything', now);
  }
}

/** A target that used to answer by this uplink is silent, and answers by one that leads. */
export function reachesLess(health: Health, plane: Plane, now: Instant): boolean {
  const lost = witnesses(health).filter((record) => record.lastReplyAt !== undefined && now - record.lastReplyAt < REMEMBERED_MS && isSilent(record, now));
  if (lost.length === 0) return false;
  const led = [...plane.health.values()].filter((other) => other.leads).flatMap(witnesses);
  return lost.some(({ target }) => led.some((record) => record.target.id === target.id && record.lastReplyAt !== undefined && misses(record, now) === 0));
}
