/**
 * A law: one sentence that must hold in every world, and a way to watch it. Bounds are computed from the policy and from the truth of the
 * world, never from what the core believes.
 *
 * Every law is watched in each family that the world has, through a view of that family alone; those about no family in particular
 * are watched once.
 */
import type { Change, Decision, Effect, Event, Family, KernelFacts, Verdict } from '../../../src/model.js';
import { verdictOf } from '../../../src/core/verdict.js';
import { ACTIVE_TABLE } from '../../../src/core/layout.js';
import type { Isp } from '../isps.js';
import type { Weather } from '../weather.js';
import { defaultsIn, type World } from '../world.js';

/** The world as far as it is of one family. */
export interface View {
  readonly world: World;
  readonly family: Family;
  readonly isps: readonly Isp[];
  isp(name: string): Isp;
  readonly decision: Decision | undefined;
  verdicts(): ReadonlyMap<string, Verdict>;
}

export interface Turn {
  readonly event: Event;
  readonly effects: readonly Effect[];
  readonly wakeAt: number;
  /** In the family of the view. */
  readonly verdicts: ReadonlyMap<string, Verdict>;
}

/** Each answers '' or what was broken, in words. */
export interface Watch {
  /** Before the core sees an event. */
  before?(event: Event): string;
  turn?(turn: Turn): string;
  /** Nothing of what an event set off is left to be done at this instant. */
  settled?(): string;
  /** Around a single change that the kernel made for us. */
  change?(change: Change, before: KernelFacts, after: KernelFacts): string;
  /** Every 100 ms, whatever the daemon does. */
  tick?(): string;
  end?(): string;
}

export interface Law {
  readonly name: string;
  readonly says: string;
  /** About no family in particular. */
  readonly once?: true;
  watch(view: View, weather: Weather): Watch;
}

export function viewOf(world: World, family: Family): View {
  const isps = world.isps.all.filter((isp) => isp.family === family);
  return {
    world, family, isps,
    isp: (name) => isps.find((isp) => isp.policy.name === name)!,
    get decision() { return world.process.state.planes.get(family)?.decision; },
    verdicts() {
      const health = world.process.state.planes.get(family)?.health ?? new Map<string, never>();
      return new Map([...health].map(([name, each]) => [name, verdictOf(each)]));
    },
  };
}

/** Nobody lied, nobody meddled and we were not starved within that time. */
export function isOrdinary({ world }: Pick<View, 'world'>, withinMs: number): boolean {
  const since = world.agenda.now - withinMs;
  return world.kernel.dishonestAt < since && world.foreignAt < since && world.starvedAt < since;
}

/** How far apart the probes of one target are, at the most. */
function paceMs({ policy: { probe } }: Isp): number {
  if (probe.budgetBytes === undefined) return probe.intervalMs;
  // A day's budget, at some 120 bytes for each of its probes.
  return Math.max(probe.intervalMs, (120 * probe.targets.length * 86_400_000) / probe.budgetBytes);
}

/** From the moment an uplink dies until new flows leave it. */
export function detectMs({ world, isps }: View, isp: Isp): number {
  const { health } = isp.policy;
  const others = Math.max(...isps.map((other) => other.timeoutAtMostMs));
  const gapMs = 100;
  const unplugged = !world.kernel.isPlugged(isp.ifindex);
  if (unplugged) return 260;
  const misses = health.suspect.failures * paceMs(isp);
  // The others are asked when the burst begins; one that was asked in vain gets a burst of its own.
  return misses + 2 * isp.timeoutAtMostMs + health.suspect.burst * gapMs + 2 * others + health.suspect.burst * gapMs + patienceMs(isp) + Math.max(...isps.map(patienceMs)) + 60;
}

/** A silence may be a mere delay: a burst waits for so long. */
function patienceMs({ policy: { health }, timeoutAtMostMs }: Isp): number {
  return Math.min(1000, Math.max(health.down.afterMs / 8, Math.min(health.down.afterMs / 2, 1.2 * timeoutAtMostMs)));
}

/** From the moment an uplink is whole again until it is up. */
export function findMs(isp: Isp): number {
  const { health } = isp.policy;
  const lostNotice = 5000;
  return lostNotice + (health.up.successes + 1) * paceMs(isp) + isp.timeoutAtMostMs + 2300;
}

/** Whose lines the kernel's leading route in ACTIVE, or in the table of a class, uses. */
export function leadingIsps(view: View, table = ACTIVE_TABLE): readonly Isp[] {
  const first = defaultsIn(view.world.kernel.truth(), table, view.family)[0];
  return first === undefined ? [] : view.isps.filter((isp) => first.hops.some((hop) => hop.ifindex === isp.ifindex));
}
