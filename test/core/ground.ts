/**
 * What a wish is made of, in words: `fibre>cable` is a decision in order of preference, `fibre+cable` shares (fibre weighs 3), and the
 * states say who is not up. Who is in a rank, or up, is fit and proven, unless a test says otherwise.
 */
import { desire, type Ground } from '../../src/core/desire.js';
import type { Learnt } from '../../src/core/gateway.js';
import { openHealth, type Health } from '../../src/core/health.js';
import { lineOf } from '../../src/core/line.js';
import { showRoute, showRule } from '../../src/core/plan.js';
import type { Decision, Family, KernelFacts, Policy, Route, UplinkState, Wish } from '../../src/model.js';
import { at } from './fixture.js';

export type States = Readonly<Record<string, UplinkState>>;

export const NOTHING_LEARNT: ReadonlyMap<string, Learnt> = new Map();

/** @param fit names; `lte?` is fit and not proven, `lte~` rests */
export function decided(ranks: string, fit: readonly string[] = ranks.split(/[>+]/)): Decision {
  const rankOf = (names: string): Decision['ranks'][number] => ({ members: names.split('+').map((uplink) => ({ uplink, weight: uplink === 'fibre' ? 3 : 1 })) });
  return {
    ranks: ranks === '' ? [] : ranks.split('>').map(rankOf), generation: 1, since: at(0), because: 'a test', rule: 'automatic', order: '',
    fit: fit.filter((name) => name !== '').map((name) => ({ uplink: name.replace(/[?~]/, ''), trust: name.endsWith('?') ? 'unproven' : name.endsWith('~') ? 'resting' : 'proven' })),
  };
}

export function planeOf(policy: Policy, facts: KernelFacts, family: Family, decision: Decision | undefined, states: States = {}): { health: Map<string, Health>; decision: Decision | undefined } {
  const healths = policy.uplinks.map((uplink) => ({ ...openHealth(uplink, family, at(0)), line: lineOf(uplink, facts, family, NOTHING_LEARNT), state: states[uplink.name] ?? 'up' }));
  return { health: new Map(healths.map((health) => [health.name, health])), decision };
}

/** In one family. */
export function groundOf(policy: Policy, facts: KernelFacts, decision: Decision | undefined, states: States = {}, family: Family = 4): Ground {
  return { policy, facts, learnt: NOTHING_LEARNT, delegations: new Map(), planes: new Map([[family, planeOf(policy, facts, family, decision, states)]]), lingering: [] };
}

export function wished(policy: Policy, facts: KernelFacts, ranks: string | undefined, states: States = {}, family: Family = 4): Wish {
  return desire(groundOf(policy, facts, ranks === undefined ? undefined : decided(ranks), states, family));
}

/** As the `ip` commands that would make it. */
export function shown(wish: Wish, facts: KernelFacts): readonly string[] {
  return [...wish.routes.map((route) => showRoute(route, facts.links)), ...wish.rules.map(showRule)];
}

export function inTable(wish: Pick<Wish, 'routes'>, table: number): readonly Route[] {
  return wish.routes.filter((route) => route.table === table);
}
