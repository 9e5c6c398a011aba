/**
 * The memory for bad manners: a suspicion makes the rest of new flows longer, a death or a degradation the hold before an uplink leads again;
 * both fade by half-life. Who misbehaves too often comes last until he has been quiet for long (RFC 2439).
 */
import type { DampingStatus, Instant, Policy } from '../model.js';
import type { Health } from './health.js';

/** After a suspicion that proved wrong new flows stay away so long, doubling with each repeat. */
const REST_MS = 5000;
const REST_DOUBLINGS_AT_MOST = 6;
const HOLD_DOUBLINGS_AT_MOST = 4;
/** RFC 2439, 4.2: no longer than four half-lives. */
const HALF_LIVES_AT_MOST = 4;

/** A death or a degradation. */
export function notePenalty(health: Health, now: Instant): void {
  const { suppress, reuse } = health.policy.health.damping;
  fade(health, now);
  health.penalty = Math.min(health.penalty + 1, Math.max(suppress, reuse * 2 ** HALF_LIVES_AT_MOST));
  if (health.penalty >= suppress) health.suppressed = true;
}

/** @returns how long new flows stay away after this suspicion, ms */
export function noteWrongSuspicion(health: Health, now: Instant): number {
  fade(health, now);
  return REST_MS * 2 ** Math.min(REST_DOUBLINGS_AT_MOST, Math.max(0, Math.round(health.suspicionLevel) - 1));
}

export function noteSuspicion(health: Health, now: Instant): void {
  fade(health, now);
  health.suspicionLevel++;
}

/** Recent deaths and degradations, each counting half after a half-life. */
export function penaltyOf(health: Health, now: Instant): number {
  return health.penalty * decay(health, now);
}

/** Comes last until then; undefined = is not suppressed. */
export function suppressedUntil(health: Health): Instant | undefined {
  if (!health.suppressed) return undefined;
  const { halfLifeMs, reuse } = health.policy.health.damping;
  return (health.levelsAt + halfLifeMs * Math.max(0, Math.log2(health.penalty / reuse))) as Instant;
}

export function endSuppression(health: Health, now: Instant): void {
  if ((suppressedUntil(health) ?? Infinity) <= now) health.suppressed = false;
}

/** How long an uplink must have been up before it takes over from one that works, ms. */
export function holdMs(policy: Policy, penalty: number): number {
  return policy.failback.holdMs * 2 ** Math.min(HOLD_DOUBLINGS_AT_MOST, Math.max(0, Math.round(penalty) - 1));
}

export function dampingStatus(policy: Policy, health: Health, now: Instant): DampingStatus {
  const penalty = penaltyOf(health, now);
  return { penalty, suppressedUntil: suppressedUntil(health), holdMs: holdMs(policy, penalty), awaits: health.leads ? 'nothing' : health.awaits };
}

function fade(health: Health, now: Instant): void {
  const factor = decay(health, now);
  health.suspicionLevel *= factor;
  health.penalty *= factor;
  health.levelsAt = now;
}

function decay({ levelsAt, policy }: Health, now: Instant): number {
  return 2 ** (-(now - levelsAt) / policy.health.damping.halfLifeMs);
}
