/**
 * Everything the core remembers. A family has a plane of its own: health and decision; the kernel and the policy are one. Owned by `step` and changed in place; structuredClone gives a snapshot to try things on.
 */
import type { Decision, Family, HostReport, HostWish, Instant, KernelFacts, OutsideVerdict, Override, Policy, Route } from '../model.js';
import type { PolicyClass } from './classes.js';
import type { PendingForget } from './forgets.js';
import type { Learnt } from './gateway.js';
import { openHealth, type Health } from './health.js';
import { ACTIVE_TABLE } from './layout.js';
import type { Delegation } from './prefix.js';
import type { PrefixProblem } from './renumbered.js';
import type { Refusal } from './stand-in.js';

export interface State {
  policy: Policy;
  readonly startedAt: Instant;
  /** Of the latest decision in any family, of former runs too. */
  generation: number;
  /** undefined until the kernel was read for the first time. */
  facts: KernelFacts | undefined;
  /** Without one for a family that no uplink has an address of. */
  readonly planes: Map<Family, Plane>;
  /** Gateways that nobody wrote into the config. */
  readonly learnt: Map<string, Learnt>;
  /** IPv6 prefixes that providers delegate to us now. */
  readonly delegations: Map<string, Delegation>;
  /** What is wrong with prefixes, as it was told last. */
  prefixProblems: readonly PrefixProblem[];
  /** Something that the wish is made of has changed since it was last held against the kernel. */
  dirty: boolean;
  override: Override | undefined;
  /** What others say of uplinks, until they expire. */
  outside: readonly OutsideVerdict[];
  /** Requests that wait for their effect to be read back from the kernel. */
  readonly waiting: number[];
  /** New configs: the packet filter has to follow too. */
  readonly waitingForHost: number[];
  /** Connections to forget as soon as the kernel is proven to have something better. */
  readonly forgets: Map<string, PendingForget>;
  /** When time alone may let one of them go; Infinity = none waits for that. */
  forgetAt: number;
  readonly repair: Repair;
  readonly looks: Looks;
  /** The last lines given to the prober, as text. */
  boundAs: string;
  /** What the slow half of the wish was last made of. */
  hostPolicy: Policy | undefined;
  hostDevices: string;
  hostWish: HostWish | undefined;
  /** The lines that the packet filter was last written for, as text; undefined = it has not been written yet. */
  filtered: ReadonlySet<string> | undefined;
  /** How NAT translates each line, as text; '' = it does not stand. */
  translatedAs: string;
  /** By uplink: the prefix that stands in place of the LAN's. */
  translatedTo: ReadonlyMap<string, string>;
  /** Classes of a former config: their tables stand until the packet filter gives their marks no more. */
  lingering: readonly PolicyClass[];
  hostAskedAt: Instant;
  hostAskAt: Instant;
  hostReport: HostReport | undefined;
  /** By uplink, the far ends of tunnels, as they were told. */
  readonly toldTunnels: Map<string, string>;
  /** When the core asked to be woken. */
  wakeAt: Instant;
  ready: boolean;
  steps: number;
  worstLatenessMs: number;
  worstLatenessAt: Instant;
}

/** One family's share of the judgement. */
export interface Plane {
  readonly family: Family;
  readonly openedAt: Instant;
  /** In the order of the config. */
  readonly health: Map<string, Health>;
  decision: Decision | undefined;
  /** When time alone may change the decision. */
  reviewAt: Instant | undefined;
}

/** How the kernel and the wish drift apart, so that a quarrel with somebody else does not run hot. */
export interface Repair {
  /** The wish that was read back as installed, as text; a plan for the same wish is a repair. */
  installedAs: string;
  inSync: boolean;
  /** A plan was given out, and its outcome has not been told yet. */
  inFlight: boolean;
  lastReadAt: Instant | undefined;
  applied: number;
  repairs: number;
  /** What was put back last, as text, and when. */
  repairedAs: string;
  repairedAt: Instant;
  /** The same of the packet filter. */
  filterRepairs: number;
  filterRepairedAt: Instant;
  failures: readonly string[];
  /** Foreign defaults in main that refuse. */
  refusals: readonly Refusal[];
  /** The last wish that a plan was made for, as text, how often in a row, and when it may be tried again. */
  triedAs: string;
  tries: number;
  notBefore: Instant;
}

/** When to look at the kernel without being told. */
export interface Looks {
  nextLinkAt: Instant;
  /** After any link event the kernel withholds further ones for a second: look often until then. */
  quickUntil: Instant;
  nextReadAt: Instant;
  /** When to ask what passed through the uplinks. */
  nextCountAt: number;
  /** What devices carried, with a count. */
  nextDeviceAt: number;
}

/** @param generationBefore above every generation of former runs, so that nobody who polls takes a new decision for an old one */
export function openState(policy: Policy, now: Instant, generationBefore = 0): State {
  return {
    policy, startedAt: now, generation: generationBefore, facts: undefined,
    planes: new Map([[4, openPlane(4, policy.uplinks.map((u) => openHealth(u, 4, now)), now)]]),
    learnt: new Map(), delegations: new Map(), prefixProblems: [], dirty: true, override: undefined, outside: [], waiting: [], waitingForHost: [], forgets: new Map(), forgetAt: Infinity,
    repair: { installedAs: '', inSync: false, inFlight: false, lastReadAt: undefined, applied: 0, repairs: 0, repairedAs: '', repairedAt: now, filterRepairs: 0, filterRepairedAt: now, failures: [], refusals: [], triedAs: '', tries: 0, notBefore: now },
    looks: { nextLinkAt: now, quickUntil: now, nextReadAt: now, nextCountAt: now, nextDeviceAt: now },
    boundAs: '', hostPolicy: undefined, hostDevices: '', hostWish: undefined, filtered: undefined, translatedAs: '', translatedTo: new Map(), lingering: [], hostAskedAt: now, hostAskAt: now, hostReport: undefined,
    toldTunnels: new Map(),
    wakeAt: Infinity as Instant, ready: false, steps: 0, worstLatenessMs: 0, worstLatenessAt: now,
  };
}

export function openPlane(family: Family, healths: readonly Health[], now: Instant): Plane {
  return { family, openedAt: now, health: new Map(healths.map((health) => [health.name, health])), decision: undefined, reviewAt: undefined };
}

/** Every uplink in every family that it has. */
export function* allHealth(state: State): Generator<Health, void, undefined> {
  for (const plane of state.planes.values()) yield* plane.health.values();
}

/** Our default routes in ACTIVE by metric, as the kernel has them: the first steers. */
export function activeRoutes(state: State, family: Family): readonly Route[] {
  const routes = (state.facts?.routes ?? []).filter((route) => route.family === family && route.table === ACTIVE_TABLE && route.destination === 'default');
  return routes.sort((a, b) => a.metric - b.metric);
}
