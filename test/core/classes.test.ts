/** Policies by the way they go: classes, their marks, their tables, and what stands in them when uplinks die. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { classesOf } from '../../src/core/classes.js';
import { classRanks, desire } from '../../src/core/desire.js';
import { desireHost } from '../../src/core/desire-host.js';
import { classTableOf, DEFAULT_MARK_MASK, isClassTable, markOf, PREFERENCE } from '../../src/core/layout.js';
import { showRoute } from '../../src/core/plan.js';
import { policyStatus } from '../../src/core/status.js';
import type { Decision, Family, Policy, TrafficPolicy } from '../../src/model.js';
import { openDice } from '../sim/dice.js';
import { at, dualFacts, factsOf, LINES, linkOf, matchOf, policyOf, trafficPolicy, uplinkPolicy } from './fixture.js';
import { decided, groundOf, inTable } from './ground.js';
import { openRouter, type Router } from './router.js';

const THREE = policyOf([uplinkPolicy('fibre'), uplinkPolicy('cable'), uplinkPolicy('lte')]);
const FACTS = factsOf(['fibre', 'cable', 'lte']);
const withPolicies = (...policies: readonly TrafficPolicy[]): Policy => ({ ...THREE, policies });

function slotOf(policy: Policy, name: string): number {
  return classesOf(policy).of.get(name)!.slot;
}

/** The devices of a policy's class in order; `block` at the end. */
function way(routes: Parameters<typeof inTable>[0]['routes'], policy: Policy, name: string, family: Family = 4): string {
  const mine = inTable({ routes }, classTableOf(slotOf(policy, name))).filter((route) => route.family === family).sort((a, b) => a.metric - b.metric);
  const nameOf = (ifindex: number): string => LINES.find((line) => line.ifindex === ifindex)!.name;
  return mine.map((route) => (route.hops.length === 0 ? 'block' : route.hops.map((hop) => `${nameOf(hop.ifindex)}${hop.weight === 1 ? '' : `*${hop.weight}`}`).join('+'))).join('>');
}

function standing(router: Router, name: string, family: Family = 4): string {
  return way(router.kernel.readOurs().routes, router.state.policy, name, family);
}

test('policies with the same order and the same end are one class, whatever else they say', () => {
  const policy = withPolicies(
    trafficPolicy('tv', 'cable>lte', { match: matchOf({ sources: ['192.168.1.0/24'] }) }), trafficPolicy('games', 'cable>lte', { router: true }),
    trafficPolicy('bank', 'cable>lte', { otherwise: 'block' }), trafficPolicy('backup', 'lte>cable'), trafficPolicy('bulk', 'cable*3+lte'), trafficPolicy('half', 'cable*2+lte'),
  );
  const { all, of } = classesOf(policy);
  assert.equal(of.get('tv'), of.get('games'));
  assert.equal(all.length, 5);
  assert.equal(new Set(all.map(({ slot }) => slot)).size, 5);
});

test('a sticky policy has a class for each of its uplinks, which comes first there', () => {
  const policy = withPolicies(trafficPolicy('bank', 'fibre*2+cable>lte', { stickyMs: 60_000, otherwise: 'block' }));
  const shown = [...classesOf(policy).sticky.get('bank')!].map(([uplink, { order, otherwise }]) => `${uplink}: ${order.map((rank) => rank.members.map((m) => `${m.uplink}*${m.weight}`).join('+')).join('>')} ${otherwise}`);
  assert.deepEqual(shown, ['fibre: fibre*1>cable*1>lte*1 block', 'cable: cable*1>fibre*2>lte*1 block', 'lte: lte*1>fibre*2+cable*1 block']);
  const health = groundOf(policy, FACTS, undefined).planes.get(4)!.health;
  const [told] = desireHost(policy, new Map([[4, { health }]])).nat.policies;
  const classes = classesOf(policy);
  const markIn = (slot: number): number => markOf(slot, policy.markMask);
  assert.deepEqual(told?.sticky, { forMs: 60_000, marks: ['fibre', 'cable', 'lte'].map((uplink, i) => ({ interface: `eth${i}`, mark: markIn(classes.sticky.get('bank')!.get(uplink)!.slot) })) });
  assert.equal(told.classMark, markIn(classes.of.get('bank')!.slot));
});

test('an order that prefers its first uplink anyway needs no class of its own for that', () => {
  const { of, sticky } = classesOf(withPolicies(trafficPolicy('bank', 'fibre>cable', { stickyMs: 1000 })));
  assert.equal(sticky.get('bank')!.get('fibre'), of.get('bank'));
});

test('no class has the mark of an uplink, of another class, or of connections that were cut', () => {
  const dice = openDice(20260401);
  for (let round = 0; round < 200; round++) {
    const policy = withPolicies(...anyPolicies(dice, dice.whole(1, 60)));
    const slots = [...policy.uplinks.map((uplink) => uplink.slot), ...classesOf(policy).all.map(({ slot }) => slot)];
    assert.equal(new Set(slots).size, slots.length);
    assert.ok(slots.every((slot) => slot >= 1 && slot <= 126), slots.join());
  }
});

test('a class keeps its slot when another is written below it, and mostly when one comes or goes above it', () => {
  const dice = openDice(20260402);
  let [kept, all] = [0, 0];
  for (let round = 0; round < 200; round++) {
    const policies = anyPolicies(dice, 12);
    const [first, ...rest] = policies;
    const before = withPolicies(...rest);
    for (const { name } of rest) assert.equal(slotOf(withPolicies(...rest, first!), name), slotOf(before, name), 'below');
    for (const { name } of rest) {
      all++;
      if (slotOf(withPolicies(first!, ...rest), name) === slotOf(before, name)) kept++;
    }
  }
  assert.ok(kept / all > 0.95, `${kept} of ${all} kept their slot`);
});

test('a mark mask that has no room for all of them is refused with the figures', () => {
  const uplinks = Array.from({ length: 100 }, (_, i) => ({ ...THREE.uplinks[0]!, name: `u${i}`, slot: i + 1 }));
  const orders = (count: number): readonly TrafficPolicy[] => Array.from({ length: count }, (_, i) => trafficPolicy(`p${i}`, `u${i}>u99`));
  assert.equal(classesOf({ uplinks, policies: orders(26), markMask: DEFAULT_MARK_MASK }).all.length, 26);
  assert.throws(() => classesOf({ uplinks, policies: orders(27), markMask: DEFAULT_MARK_MASK }), {
    name: 'RangeError', message: '100 uplinks and 27 different orders of uplinks in policies need more marks than the 126 that kernel.markMask has room for',
  });
  const many = classesOf({ uplinks, policies: orders(90), markMask: 0xff80 });
  assert.equal(new Set(many.all.map(({ slot }) => markOf(slot, 0xff80))).size, 90, 'a wider mask has room');
});

test('a class goes by its own order among the fit; who has yet to prove himself comes last', () => {
  const { order } = trafficPolicy('tv', 'lte*2+cable>fibre');
  const ranked = (otherwise: TrafficPolicy['otherwise'], fit: readonly string[]): string => classRanks({ order, otherwise }, decided('fibre', fit)).map((rank) => rank.members.map((m) => `${m.uplink}*${m.weight}`).join('+')).join('>');
  const ranks = (...fit: readonly string[]): string => ranked('fall-through', fit);
  assert.equal(ranks('fibre', 'cable', 'lte'), 'lte*2+cable*1>fibre*1');
  assert.deepEqual([ranks('fibre', 'lte~'), ranks('lte~'), ranked('block', ['fibre', 'lte~', 'cable?']), ranked('block', ['lte~'])], ['fibre*1', '', 'fibre*1>cable*1>lte*2', 'lte*2'], 'who rests is better than nothing');
  assert.equal(ranks('fibre', 'cable', 'lte?'), 'cable*1>fibre*1>lte*2');
  assert.equal(ranks('fibre?', 'cable?', 'lte?'), 'lte*2+cable*1>fibre*1');
  assert.equal(ranks('fibre'), 'fibre*1');
  assert.equal(ranks(), '');
});

test('the table of a class: its ranks by metric, shared by weight; at its end packets fall through, or are refused', () => {
  const policy = withPolicies(trafficPolicy('bulk', 'cable*3+lte>fibre'), trafficPolicy('bank', 'cable>lte', { otherwise: 'block' }));
  const shown = (name: string, fit: readonly string[]): readonly string[] => {
    const { routes } = desire(groundOf(policy, FACTS, decided('fibre', fit)));
    return inTable({ routes }, classTableOf(slotOf(policy, name))).map((route) => showRoute(route, FACTS.links).replace(/ table \d+ proto 147/, ''));
  };
  assert.deepEqual(shown('bulk', ['fibre', 'cable', 'lte']), [
    'default nexthop via 203.0.113.1 dev eth1 weight 3 onlink nexthop via 192.0.2.1 dev eth2 weight 1 onlink metric 30', 'default via 198.51.100.1 dev eth0 metric 31 onlink',
  ]);
  assert.deepEqual(shown('bulk', []), [], 'an empty table: the next rule is ACTIVE\'s');
  assert.deepEqual(shown('bank', ['fibre', 'lte']), ['default via 192.0.2.1 dev eth2 metric 30 onlink', 'unreachable default metric 1000']);
  assert.deepEqual(shown('bank', ['fibre']), ['unreachable default metric 1000']);
});

test('the rule of a class comes after those of running flows and before ACTIVE, in each family that there is', () => {
  const policy = withPolicies(trafficPolicy('tv', 'cable'));
  const { rules } = desire({ ...groundOf(policy, dualFacts(['fibre', 'cable', 'lte']), decided('fibre')), planes: new Map(([4, 6] as const).map((family) => [family, { health: new Map(), decision: undefined }])) });
  const mine = rules.filter((rule) => isClassTable(rule.table));
  assert.deepEqual(mine.map(({ family, preference, mark, markMask }) => [family, preference, mark, markMask]), [4, 6].map((family) => [family, PREFERENCE.policy, markOf(slotOf(policy, 'tv'), 0x3f80), 0x3f80]));
  assert.ok(PREFERENCE.mark < PREFERENCE.policy && PREFERENCE.policy < PREFERENCE.source && PREFERENCE.source < PREFERENCE.active);
});

test('uplinks die and come back: each policy goes by the best of its own order, whoever leads', () => {
  const policy = withPolicies(trafficPolicy('tv', 'cable>lte'), trafficPolicy('bank', 'cable>lte', { otherwise: 'block' }), trafficPolicy('lone', 'lte'));
  const router = openRouter(policy, FACTS).until(1500);
  const ways = (): readonly string[] => ['tv', 'bank', 'lone'].map((name) => standing(router, name));
  assert.deepEqual(ways(), ['cable>lte', 'cable>lte>block', 'lte']);
  router.kernel.outside.setLink(linkOf('cable', { carrier: false }));
  assert.deepEqual(ways(), ['lte', 'lte>block', 'lte'], 'in the step that hears of it, though fibre leads as before');
  assert.equal(router.state.planes.get(4)?.decision?.generation, 1);
  router.kernel.outside.setLink(linkOf('lte', { carrier: false }));
  assert.deepEqual(ways(), ['', 'block', '']);
  assert.deepEqual(policyStatus(router.state).map(({ policy: { name }, active }) => [name, active]), ['tv', 'bank', 'lone'].map((name) => [name, [{ family: 4, uplinks: [] }]]));
  router.kernel.outside.setLink(linkOf('cable'));
  router.kernel.outside.setLink(linkOf('lte'));
  router.until(9000);
  assert.deepEqual(ways(), ['cable>lte', 'cable>lte>block', 'lte'], 'none of them has held, so the order counts');
  assert.deepEqual(policyStatus(router.state)[0]!.active, [{ family: 4, uplinks: ['cable'] }]);
});

test('who came back from the dead takes a policy\'s connections from another only when he has held', () => {
  const router = openRouter(withPolicies(trafficPolicy('tv', 'cable>lte')), FACTS).until(1500);
  router.kernel.outside.setLink(linkOf('cable', { carrier: false }));
  router.until(3000);
  router.kernel.outside.setLink(linkOf('cable'));
  assert.equal(standing(router.until(20_000), 'tv'), 'lte>cable');
  assert.equal(standing(router.until(40_000), 'tv'), 'cable>lte');
});

test('a silent uplink is left by its policies, too; when all are silent each keeps the best that is not cut off', () => {
  const router = openRouter(withPolicies(trafficPolicy('tv', 'cable>lte')), FACTS).until(1500);
  router.alive.delete('cable');
  assert.equal(standing(router.until(5000), 'tv'), 'lte');
  router.alive.clear();
  assert.equal(standing(router.until(15_000), 'tv'), 'cable>lte', 'which may be us or the targets');
});

test('a policy that blocks does so from the first moment, before anybody has answered', () => {
  const router = openRouter(withPolicies(trafficPolicy('bank', 'cable', { otherwise: 'block' }), trafficPolicy('tv', 'cable')), FACTS, []);
  assert.deepEqual([standing(router, 'bank'), standing(router, 'tv')], ['block', '']);
  assert.equal(router.kernel.readOurs().rules.filter((rule) => rule.preference === PREFERENCE.policy).length, 2);
});

test('each family has a table of its own for a class, by its own health', () => {
  const policy = withPolicies(trafficPolicy('tv', 'cable>lte', { otherwise: 'block' }));
  const router = openRouter(policy, dualFacts(['fibre', 'cable', 'lte'], ['fibre', 'lte'])).until(1500);
  assert.deepEqual([standing(router, 'tv', 4), standing(router, 'tv', 6)], ['cable>lte>block', 'lte>block']);
  router.alive.delete('lte');
  router.alive.add('lte 4');
  router.until(6000);
  assert.deepEqual([standing(router, 'tv', 4), standing(router, 'tv', 6)], ['cable>lte>block', 'block']);
});

test('a reload that gives a class another mark: the old one leads on until the packet filter gives it no more', () => {
  const before = withPolicies(trafficPolicy('bank', 'cable', { otherwise: 'block' }));
  const after = withPolicies(trafficPolicy('bank', 'lte', { otherwise: 'block' }));
  const router = openRouter(before, FACTS).until(1500).give({ type: 'policy', at: at(1500), policy: after, token: 0 });
  const stands = (policy: Policy): string => way(router.kernel.readOurs().routes, policy, 'bank');
  assert.notEqual(slotOf(before, 'bank'), slotOf(after, 'bank'));
  assert.deepEqual([stands(before), stands(after)], ['cable>block', 'lte>block']);
  router.until(1600).give({ type: 'host', at: at(1600), wish: router.state.hostWish!, report: { natBackend: 'nftables', natInSync: true, natRepaired: false, sysctlsInSync: true, problems: [] } });
  assert.deepEqual([stands(before), stands(after)], ['', 'lte>block']);
});

function anyPolicies(dice: ReturnType<typeof openDice>, count: number): readonly TrafficPolicy[] {
  return Array.from({ length: count }, (_, i) => {
    const names = ['fibre', 'cable', 'lte'].filter(() => dice.chance(0.7)).sort(() => dice.next() - 0.5);
    return trafficPolicy(`p${i}`, (names.length === 0 ? ['lte'] : names).map((name) => `${name}*${dice.whole(1, 4)}`).join(dice.pick(['>', '+'])), { otherwise: dice.pick(['block', 'fall-through']) });
  });
}

test('the decision says who is fit, and who has proved himself; whoever is made to lead has', () => {
  const router = openRouter(THREE, FACTS).until(1500);
  const fit = (): Decision['fit'] => router.state.planes.get(4)!.decision!.fit;
  assert.deepEqual(fit(), [{ uplink: 'fibre', trust: 'proven' }, { uplink: 'cable', trust: 'proven' }, { uplink: 'lte', trust: 'proven' }]);
  router.kernel.outside.setLink(linkOf('cable', { carrier: false }));
  router.kernel.outside.setLink(linkOf('cable'));
  router.until(8000);
  assert.deepEqual(fit()[1], { uplink: 'cable', trust: 'unproven' });
  router.kernel.outside.setLink(linkOf('lte', { carrier: false }));
  router.kernel.outside.setLink(linkOf('fibre', { carrier: false }));
  assert.deepEqual(fit(), [{ uplink: 'cable', trust: 'proven' }], 'in the very decision that makes it lead');
});

test('after a restart a policy goes where it went before: who led one in the kernel has nothing to prove', () => {
  const policy = withPolicies(trafficPolicy('tv', 'cable>fibre'));
  const former = openRouter(policy, FACTS).until(1500);
  const went = (router: Router): string => way(router.kernel.readOurs().routes, policy, 'tv');
  assert.equal(went(former).split(' ')[0], 'cable>fibre');
  const again = openRouter(policy, former.kernel.readAll()).until(500);
  assert.equal(went(again), went(former));
  assert.deepEqual(again.state.planes.get(4)?.decision?.fit.map(({ uplink, trust }) => `${uplink} ${trust}`), ['fibre proven', 'cable proven', 'lte unproven']);
});
