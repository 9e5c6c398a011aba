/** Everything the core remembers. Owned by `step` and changed in place; structuredClone gives a snapshot to try things on. */
import type { Decision, ForgetOrder, HostReport, Instant, KernelFacts, Override, Policy, Route } from '../model.js';
import type { Learnt } from './gateway.js';
import { openHealth, type Health } from './health.js';
import { ACTIVE_TABLE } from './layout.js';

export interface State {
  policy: Policy;
  readonly startedAt: Instant;
  /** Decisions of this run count on from here. */
  readonly generationBefore: number;
  /** undefined until the kernel was read for the first time. */
  facts: KernelFacts | undefined;
  readonly health: Map<string, Health>;
  /** Gateways that nobody wrote into the config. */
  readonly learnt: Map<string, Learnt>;
  decision: Decision | undefined;
  /** Something that the wish is made of has changed since it was last held against the kernel. */
  dirty: boolean;
  /** When time alone may change the decision. */
  reviewAt: Instant | undefined;
  override: Override | undefined;
  /** Requests that wait for their effect to be read back from the kernel. */
  readonly waiting: number[];
  /** Connections to forget as soon as the kernel is proven to have something better. */
  readonly forgets: Map<string, ForgetOrder>;
  readonly repair: Repair;
  readonly looks: Looks;
  /** The last lines given to the prober, as text. */
  boundAs: string;
  hostAskedAs: string;
  hostAskedAt: Instant;
  hostAskAt: Instant;
  hostReport: HostReport | undefined;
  ready: boolean;
  steps: number;
  worstLatenessMs: number;
  worstLatenessAt: Instant;
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
  failures: readonly string[];
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
}

/** @param generationBefore above every generation of former runs, so that nobody who polls takes a new decision for an old one */
export function openState(policy: Policy, now: Instant, generationBefore = 0): State {
  return {
    policy, startedAt: now, generationBefore, facts: undefined, health: new Map(policy.uplinks.map((u) => [u.name, openHealth(u, now)])),
    learnt: new Map(), decision: undefined, dirty: true, reviewAt: undefined, override: undefined, waiting: [], forgets: new Map(),
    repair: { installedAs: '', inSync: false, inFlight: false, lastReadAt: undefined, applied: 0, repairs: 0, failures: [], triedAs: '', tries: 0, notBefore: now },
    looks: { nextLinkAt: now, quickUntil: now, nextReadAt: now },
    boundAs: '', hostAskedAs: '', hostAskedAt: now, hostAskAt: now, hostReport: undefined,
    ready: false, steps: 0, worstLatenessMs: 0, worstLatenessAt: now,
  };
}

/** Our default routes in ACTIVE by metric, as the kernel has them: the first steers. */
export function activeRoutes(state: State): readonly Route[] {
  const routes = (state.facts?.routes ?? []).filter((route) => route.table === ACTIVE_TABLE && route.destination === 'default');
  return routes.sort((a, b) => a.metric - b.metric);
}
