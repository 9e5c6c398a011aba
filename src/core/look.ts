/** When to look at the kernel without being told: notifications are hints, and the kernel withholds some. */
import type { Effect, Instant } from '../model.js';
import { allHealth, type State } from './state.js';

const LOOK_QUICK_MS = 10;
const LOOK_IDLE_MS = 100;
const QUICK_FOR_MS = 1000;
const READ_EVERY_MS = 5000;

export function lookAround(state: State, now: Instant, effects: Effect[]): void {
  const { looks } = state;
  if (looks.nextReadAt <= now) {
    looks.nextReadAt = (now + READ_EVERY_MS) as Instant;
    effects.push({ type: 'read', what: 'all' });
  }
  if (looks.nextLinkAt > now || state.facts === undefined) return;
  const ifindexes = [...new Set([...allHealth(state)].map((health) => health.line.ifindex))].filter((ifindex) => ifindex !== 0);
  looks.nextLinkAt = (now + (now < looks.quickUntil ? LOOK_QUICK_MS : LOOK_IDLE_MS)) as Instant;
  if (ifindexes.length > 0) effects.push({ type: 'look', ifindexes });
}

/** Something moved: the next moves may come without notice. */
export function quicken(state: State, now: Instant): void {
  state.looks.quickUntil = (now + QUICK_FOR_MS) as Instant;
  state.looks.nextLinkAt = Math.min(state.looks.nextLinkAt, now + LOOK_QUICK_MS) as Instant;
}
