/** All uplinks silent at once is evidence about us, or about the targets, and not about every provider: the verdicts then say so. */
import type { Instant } from '../model.js';
import type { Plane } from './state.js';
import { restate } from './verdict.js';
import { quorumSince } from './witness.js';
import { duration } from './words.js';

/** Faults of different origin do not fall together so closely. */
const AT_ONCE_MS = 3000;

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
