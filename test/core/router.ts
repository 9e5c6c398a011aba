/**
 * The daemon on a dry kernel in virtual time, without any accident: uplinks named in `alive` answer after 8 ms. What goes wrong is what the test does.
 */
import { openState, type State } from '../../src/core/state.js';
import { openDaemon, type Observer } from '../../src/daemon.js';
import { openDryKernel, type DryKernel } from '../../src/kernel/dry.js';
import type { ChangeFailure, Effect, Event, KernelFacts, Override, Plan, Policy, TrafficCount } from '../../src/model.js';
import { openAlarm } from '../sim/process.js';
import { at } from './fixture.js';

export interface Router {
  readonly state: State;
  readonly kernel: DryKernel;
  now: number;
  /** Who answers: `fibre` in both families, `fibre 6` in that one alone. */
  readonly alive: Set<string>;
  /** In their order, since the last `fresh`. */
  readonly effects: readonly Effect[];
  /** Takes the place of the kernel for one plan: its refusals; undefined = the kernel does it. */
  instead: ((plan: Plan) => readonly ChangeFailure[]) | undefined;
  /** What the counters say; empty = nothing is counted. */
  counts: readonly TrafficCount[];
  give(event: Event): Router;
  until(ms: number): Router;
  /** Forgets the effects so far. */
  fresh(): Router;
  told(): readonly string[];
  order(changes: Partial<Override> & { readonly uplink: string }, token?: number): Router;
}

export function openRouter(policy: Policy, facts: KernelFacts, alive: readonly string[] = policy.uplinks.map((uplink) => uplink.name)): Router {
  const state = openState(policy, at(0));
  const kernel = openDryKernel(facts);
  let effects: Effect[] = [];
  let replies: Extract<Event, { type: 'reply' }>[] = [];
  const alarm = openAlarm(() => router.now);
  let turnedAt = 0;
  let steps = 0;

  const observer: Observer = {
    before() {
      if (router.now !== turnedAt) steps = 0;
      turnedAt = router.now;
      if (++steps > 500) throw new Error('the core runs hot: 500 steps at one instant');
    },
    after: (_event, output) => void effects.push(...output.effects),
    settled: () => undefined,
  };
  const router: Router = {
    state, kernel, now: 0, alive: new Set(alive), instead: undefined, counts: [],
    get effects() { return effects; },
    give(event) {
      daemon.take(event);
      return router;
    },
    until(ms) {
      for (;;) {
        const next = Math.min(alarm.dueAt, ...replies.map((reply) => reply.at));
        if (next > ms) break;
        router.now = Math.max(router.now, next);
        const due = replies.filter((reply) => reply.at <= router.now);
        replies = replies.filter((reply) => reply.at > router.now);
        due.forEach((reply) => router.give(reply));
        if (alarm.dueAt <= router.now) alarm.ring();
      }
      router.now = ms;
      return router;
    },
    fresh() {
      effects = [];
      return router;
    },
    told: () => effects.flatMap((effect) => (effect.type === 'tell' ? [effect.news.text] : [])),
    order(changes, token = 1) {
      const override: Override = { until: undefined, confirmBy: undefined, reason: '', by: 'noc', since: at(router.now), ifDead: 'fall-through', ...changes };
      return router.give({ type: 'override', at: at(router.now), by: 'noc', override, token });
    },
  };
  const daemon = openDaemon(state, {
    now: () => at(router.now), wall: () => router.now, clockSet: () => state.override, publish: () => undefined, tell: () => undefined, save: () => undefined, observer,
    timers: alarm.timers,
    prober: {
      bind: () => undefined,
      send({ uplink, family, target, seq }) {
        if (router.alive.has(uplink) || router.alive.has(`${uplink} ${family}`)) replies.push({ type: 'reply', at: at(router.now + 8), uplink, family, target: target.id, seq, rttMs: 8 });
      },
    },
    kernel: {
      ...kernel,
      apply: (plan) => (router.instead ?? kernel.apply)(plan),
      // What changes is read at once. The test itself gives what the host and the table of connections say.
      watch: (tell) => kernel.watch({ ...tell, again: (what) => void router.give({ type: 'kernel', at: at(router.now), facts: what === 'all' ? kernel.readAll() : kernel.readOurs() }) }),
      count: () => router.counts,
      host: () => new Promise(() => undefined),
      forget: () => new Promise(() => undefined),
    },
  });
  daemon.start();
  return router;
}

/** Up to the moment before this uplink is the next one to be asked. */
export function untilNext(router: Router, uplink: string): Router {
  const nextOf = (name: string): number => Math.min(...router.state.planes.get(4)!.health.get(name)!.records.map((record) => record.dueAt));
  const others = [...router.state.planes.get(4)!.health.keys()].filter((name) => name !== uplink);
  while (others.some((other) => nextOf(other) < nextOf(uplink))) router.until(router.now + 1);
  return router;
}
