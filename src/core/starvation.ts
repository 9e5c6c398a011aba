/** Time in which we ourselves could not ask, because nobody let us run or because our prober failed: it is no silence of the line. */
import type { Instant } from '../model.js';
import type { Health } from './health.js';

const STARVATIONS_AT_MOST = 16;

export function noteStarvation(health: Health, since: Instant, now: Instant): void {
  const from = Math.max(since, health.starved.at(-1)?.until ?? -Infinity);
  if (from < now) health.starved = [...health.starved.slice(1 - STARVATIONS_AT_MOST), { until: now, forMs: now - from }];
}

/** We can ask again. */
export function noteSight(health: Health, now: Instant): void {
  if (health.blindSince !== undefined) noteStarvation(health, health.blindSince, now);
  health.blindSince = undefined;
}

/** How much of the time since then it was, as far as is remembered. */
export function starvedMs(health: Health, since: Instant): number {
  return health.starved.reduce((sum, { until, forMs }) => sum + Math.max(0, Math.min(forMs, until - since)), 0);
}
