/**
 * A law: one sentence that must hold in every world, and a way to watch it. Bounds are computed from the policy and from the truth of the
 * world, never from what the core believes.
 */
import type { Change, Effect, Event, KernelFacts, Verdict } from '../../../src/model.js';
import { verdicts } from '../../../src/core/step.js';
import { ACTIVE_TABLE } from '../../../src/core/layout.js';
import type { Isp } from '../isps.js';
import type { Weather } from '../weather.js';
import { defaultsIn, type World } from '../world.js';

export interface Turn {
  readonly event: Event;
  readonly effects: readonly Effect[];
  readonly wakeAt: number;
  readonly verdicts: ReadonlyMap<string, Verdict>;
}

/** Each answers '' or what was broken, in words. */
export interface Watch {
  turn?(turn: Turn): string;
  /** Around a single change that the kernel made for us. */
  change?(change: Change, before: KernelFacts, after: KernelFacts): string;
  /** Every 50 ms, whatever the daemon does. */
  tick?(): string;
  end?(): string;
}

export interface Law {
  readonly name: string;
  readonly says: string;
  watch(world: World, weather: Weather): Watch;
}

export function turnOf(world: World, event: Event, effects: readonly Effect[], wakeAt: number): Turn {
  return { event, effects, wakeAt, verdicts: verdicts(world.loop.state) };
}

/** Nobody lied, nobody meddled and we were not starved within that time. */
export function isOrdinary(world: World, withinMs: number): boolean {
  const since = world.agenda.now - withinMs;
  return world.kernel.dishonestAt < since && world.foreignAt < since && world.starvedAt < since;
}

/** From the moment an uplink dies until new flows leave it. */
export function detectMs(world: World, isp: Isp): number {
  const { probe, health } = isp.policy;
  const others = Math.max(...world.isps.all.map((other) => other.timeoutAtMostMs));
  const gapMs = 100;
  const unplugged = !world.kernel.isPlugged(isp.ifindex);
  if (unplugged) return 260;
  const misses = health.suspect.failures * probe.intervalMs;
  // The others are asked when the burst begins; one that was asked in vain gets a burst of its own.
  return misses + 2 * isp.timeoutAtMostMs + health.suspect.burst * gapMs + 2 * others + health.suspect.burst * gapMs + 60;
}

/** From the moment an uplink is whole again until it is up. */
export function findMs(isp: Isp): number {
  const { probe, health } = isp.policy;
  const lostNotice = 5000;
  return lostNotice + (health.up.successes + 1) * probe.intervalMs + isp.timeoutAtMostMs + 2300;
}

/** Whose lines the kernel's leading ACTIVE route uses. */
export function leadingIsps(world: World): readonly Isp[] {
  const first = defaultsIn(world.kernel.truth(), ACTIVE_TABLE)[0];
  return first === undefined ? [] : world.isps.all.filter((isp) => first.hops.some((hop) => hop.ifindex === isp.ifindex));
}
