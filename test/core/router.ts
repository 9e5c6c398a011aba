/**
 * The whole core on a dry kernel in virtual time, without any accident: effects are carried out as src/daemon.ts does it, uplinks named in
 * `alive` answer after 8 ms. What goes wrong is what the test does.
 */
import { step } from '../../src/core/step.js';
import { openState, type State } from '../../src/core/state.js';
import { openDryKernel, type DryKernel } from '../../src/kernel/dry.js';
import type { ChangeFailure, Effect, Event, KernelFacts, Override, Plan, Policy } from '../../src/model.js';
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
  wakeAt: number;
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
  const inbox: Event[] = [];
  let effects: Effect[] = [];
  let replies: Extract<Event, { type: 'reply' }>[] = [];
  let turning = false;
  let turnedAt = 0;
  let steps = 0;

  function carryOut(effect: Effect): void {
    effects.push(effect);
    switch (effect.type) {
      case 'apply': {
        const failures = (router.instead ?? kernel.apply)(effect.plan);
        const facts = effect.plan.changes.some((change) => 'address' in change) ? kernel.readAll() : kernel.readOurs();
        router.give({ type: 'applied', at: at(router.now), failures, facts });
        break;
      }
      case 'read':
        router.give({ type: 'kernel', at: at(router.now), facts: effect.what === 'all' ? kernel.readAll() : kernel.readOurs() });
        break;
      case 'look':
        router.give({ type: 'links', at: at(router.now), told: false, ...kernel.look(effect.ifindexes) });
        break;
      case 'probe': {
        const { uplink, family, target, seq } = effect.order;
        if (router.alive.has(uplink) || router.alive.has(`${uplink} ${family}`)) replies.push({ type: 'reply', at: at(router.now + 8), uplink, family, target: target.id, seq, rttMs: 8 });
        break;
      }
      case 'bind':
      case 'count':
      case 'host':
      case 'forget':
      case 'save':
      case 'answer':
      case 'tell':
        break;
    }
  }

  const router: Router = {
    state, kernel, now: 0, alive: new Set(alive), instead: undefined, wakeAt: 0,
    get effects() { return effects; },
    give(event) {
      inbox.push(event);
      if (turning) return router;
      turning = true;
      if (router.now !== turnedAt) steps = 0;
      turnedAt = router.now;
      for (let next = inbox.shift(); next !== undefined; next = inbox.shift()) {
        if (++steps > 500) throw new Error('the core runs hot: 500 steps at one instant');
        const output = step(state, next);
        router.wakeAt = output.wakeAt;
        output.effects.forEach(carryOut);
      }
      turning = false;
      return router;
    },
    until(ms) {
      for (;;) {
        const next = Math.min(router.wakeAt, ...replies.map((reply) => reply.at));
        if (next > ms) break;
        router.now = Math.max(router.now, next);
        const due = replies.filter((reply) => reply.at <= router.now);
        replies = replies.filter((reply) => reply.at > router.now);
        due.forEach((reply) => router.give(reply));
        if (router.wakeAt <= router.now) router.give({ type: 'wake', at: at(router.now), lateMs: 0 });
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
  kernel.watch({
    links: (links, gone) => void router.give({ type: 'links', at: at(router.now), told: true, links, gone }),
    again: (what) => void router.give({ type: 'kernel', at: at(router.now), facts: what === 'all' ? kernel.readAll() : kernel.readOurs() }),
  });
  return router.give({ type: 'kernel', at: at(0), facts: kernel.readAll() });
}

/** Up to the moment before this uplink is the next one to be asked. */
export function untilNext(router: Router, uplink: string): Router {
  const nextOf = (name: string): number => Math.min(...router.state.planes.get(4)!.health.get(name)!.records.map((record) => record.dueAt));
  const others = [...router.state.planes.get(4)!.health.keys()].filter((name) => name !== uplink);
  while (others.some((other) => nextOf(other) < nextOf(uplink))) router.until(router.now + 1);
  return router;
}
