/** When to look at the kernel without being told: notifications are hints, and the kernel withholds some. */
import type { Effect, Instant } from '../model.js';
import { DEVICE_EVERY_MS } from './bypass.js';
import { isCounting } from './desire-host.js';
import { tunnelsAmong } from './outer.js';
import { allHealth, type State } from './state.js';
import { COUNT_EVERY_MS, isIdle } from './traffic.js';

const LOOK_QUICK_MS = 10;
const LOOK_IDLE_MS = 100;
const QUICK_FOR_MS = 1000;
const READ_EVERY_MS = 5000;

/** Nothing counts what passes: perhaps later. */
const UNCOUNTED_MS = 2000;

export function lookAround(state: State, now: Instant, effects: Effect[]): void {
  const { looks } = state;
  if (looks.nextCountAt <= now) {
    looks.nextCountAt = nextCountAt(state, now);
    if (looks.nextCountAt < Infinity) {
      const isDue = looks.nextDeviceAt <= now || isInDoubt(state);
      if (isDue) looks.nextDeviceAt = now + DEVICE_EVERY_MS;
      effects.push({ type: 'count', devices: isDue ? (hasTunnel(state) ? 'yes' : 'flowtable') : 'no' });
    }
  }
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

/** Nothing was counted: it is not asked for so soon again. */
export function countSeldom(state: State, now: Instant): void {
  state.looks.nextCountAt = now + UNCOUNTED_MS;
}

/** The config may want now what it did not want before. */
export function countAnew(state: State, now: Instant): void {
  state.looks.nextCountAt = Math.min(state.looks.nextCountAt, now);
}

/** The packets of a tunnel are the router's own: nobody counts them on the line below. */
function hasTunnel({ policy, facts }: State): boolean {
  return facts !== undefined && tunnelsAmong(policy, facts).length > 0;
}

/** What a device said stands against an alarm. */
function isInDoubt(state: State): boolean {
  for (const { traffic } of allHealth(state)) if (traffic.bypass.inDoubt) return true;
  return false;
}

/** Often while something passes. */
function nextCountAt(state: State, now: Instant): number {
  if (!isCounting(state.policy)) return Infinity;
  for (const { traffic } of allHealth(state)) if (!isIdle(traffic, now)) return now + COUNT_EVERY_MS.busy;
  return now + COUNT_EVERY_MS.idle;
}
