/** Foreign routes in main that lead nowhere: ours stands before each of them as long as that is so, and no longer. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MAIN_TABLE } from '../../src/core/layout.js';
import { plan, showChange, showRoute } from '../../src/core/plan.js';
import { status } from '../../src/core/status.js';
import type { Family, Hop, KernelFacts, Route } from '../../src/model.js';
import { dualFacts, factsOf, foreignDefault, policyOf, uplinkPolicy } from './fixture.js';
import { wished, type States } from './ground.js';
import { openRouter, type Router } from './router.js';

const TWO = policyOf([uplinkPolicy('fibre'), uplinkPolicy('cable')]);
const hop = (ifindex: number, via: string): Hop => ({ ifindex, via, weight: 1, onlink: false });
const FIBRE = hop(2, '198.51.100.1');

function foreign(destination: string, metric: number, hops: readonly Hop[], changes: Partial<Route> = {}): Route {
  return { family: 4, table: MAIN_TABLE, destination, metric, protocol: 4, scope: 0, source: '', hops, ...changes };
}

function refusing(metric: number, changes: Partial<Route> = {}): Route {
  return foreign('default', metric, [], changes);
}

/** What stands in, as `ip` shows it. */
function standIns(facts: KernelFacts, ranks: string, states: States = {}, family: Family = 4): readonly string[] {
  return wished(TWO, facts, ranks, states, family).standIns.map((route) => showRoute(route, facts.links));
}

test('a default that refuses what we route has ours before it; one that does not, or that comes later, is left', () => {
  const before = (...defaults: readonly Route[]): readonly string[] => standIns(factsOf(['fibre', 'cable'], { foreignDefaults: defaults }), 'fibre>cable');
  const ours = (metric: string): readonly string[] => [`default via 198.51.100.1 dev eth0 table main proto 147${metric} onlink`];
  assert.deepEqual(before(refusing(0)), ours(''));
  assert.deepEqual(before(refusing(5, { refuses: 'blackhole' })), ours(' metric 5'));
  assert.deepEqual(before(refusing(29, { refuses: 'prohibit' })), ours(' metric 29'));
  assert.deepEqual(before(refusing(0, { refuses: 'throw' })), [], 'the lookup goes on with the next rule');
  assert.deepEqual(before(refusing(600)), [], 'ours comes first');
  assert.deepEqual(before(foreignDefault('fibre', 0), refusing(0)), [], 'the kernel takes the first of equal metrics');
  assert.deepEqual(before(refusing(0), foreignDefault('fibre', 0)), ours(''));
});

test('IPv6: ours stands at the next lower metric, and where there is none it is said', () => {
  const facts = (metric: number): KernelFacts => dualFacts(['fibre', 'cable'], ['fibre', 'cable'], { foreignDefaults: [...dualFacts(['fibre', 'cable']).foreignDefaults, refusing(metric, { family: 6 })] });
  assert.deepEqual(standIns(facts(5), 'fibre', {}, 6), ['default via fe80::1 dev eth0 table main proto 147 metric 4 onlink']);
  assert.deepEqual(standIns(facts(1), 'fibre', {}, 6), []);
  const policy = policyOf([uplinkPolicy('fibre')]);
  const router = openRouter(policy, facts(1)).until(3000);
  const { kernel } = status(router.state, router.state.startedAt);
  assert.equal(kernel.inSync, false);
  assert.match(kernel.failures.join(), /main holds "unreachable default metric 1" \(IPv6\).*refuses everything.*ip -6 route del unreachable default metric 1/);
  assert.equal(router.told().filter((text) => text.includes('unreachable default')).length, 1, 'told once');
});

test('a route through an uplink is followed until that uplink is silent, and not while it is the last one left', () => {
  const facts = factsOf(['fibre', 'cable'], { foreignRoutes: [foreign('9.9.9.9/32', 0, [FIBRE]), foreign('10.0.0.0/8', 100, [FIBRE])] });
  const moved = ['9.9.9.9/32 via 203.0.113.1 dev eth1 table main proto 147 onlink', '10.0.0.0/8 via 203.0.113.1 dev eth1 table main proto 147 metric 100 onlink'];
  assert.deepEqual(standIns(facts, 'cable', { fibre: 'down' }), moved);
  assert.deepEqual(standIns(facts, 'cable', { fibre: 'suspect' }), moved);
  for (const state of ['up', 'degraded', 'draining'] as const) assert.deepEqual(standIns(facts, 'cable', { fibre: state }), [], state);
  assert.deepEqual(standIns(facts, 'fibre', { fibre: 'down', cable: 'down' }), [], 'nobody is better');
  assert.deepEqual(standIns(facts, '', { fibre: 'down', cable: 'down' }), []);
});

test('what leads elsewhere, refuses on purpose, is on the link or has a living hop is left alone', () => {
  const left = (route: Route): readonly string[] => standIns(factsOf(['fibre', 'cable'], { foreignRoutes: [route] }), 'cable', { fibre: 'down' });
  assert.deepEqual(left(foreign('10.8.0.0/16', 0, [hop(9, '10.7.0.1')])), [], 'a VPN');
  assert.deepEqual(left(foreign('10.0.0.0/8', 0, [], { refuses: 'blackhole' })), [], 'private networks do not leak');
  assert.deepEqual(left(foreign('198.51.100.53/32', 0, [hop(2, '')])), [], 'on the link');
  assert.deepEqual(left(foreign('9.9.9.9/32', 0, [FIBRE, hop(3, '203.0.113.1')])), [], 'shared');
  const [first, second] = [foreign('9.9.9.9/32', 10, [hop(9, '10.7.0.1')]), foreign('9.9.9.9/32', 20, [FIBRE])];
  assert.deepEqual(standIns(factsOf(['fibre', 'cable'], { foreignRoutes: [second, first] }), 'cable', { fibre: 'down' }), [], 'the kernel does not take it');
});

test('a point-to-point line has no gateway, and a host route into it is followed and left in the same way', () => {
  const policy = policyOf([uplinkPolicy('fibre', { gateway: 'none' }), uplinkPolicy('cable')]);
  const facts = factsOf(['fibre', 'cable'], { foreignRoutes: [foreign('9.9.9.9/32', 0, [hop(2, '')], { scope: 253 })] });
  assert.deepEqual(wished(policy, facts, 'cable', { fibre: 'down' }).standIns.map(({ destination, hops }) => [destination, hops[0]!.ifindex]), [['9.9.9.9/32', 3]]);
});

test('a default of metric 0 through a silent uplink has ours before it, for those who read main alone', () => {
  const facts = factsOf(['fibre', 'cable'], { foreignDefaults: [foreignDefault('fibre', 0)] });
  assert.deepEqual(standIns(facts, 'cable', { fibre: 'down' }), ['default via 203.0.113.1 dev eth1 table main proto 147 onlink']);
  assert.deepEqual(standIns(facts, 'fibre>cable'), []);
  assert.deepEqual(standIns(facts, 'cable>fibre'), [], 'it works, if not the best');
});

test('new ones are put first, then the old ones go, and the mirror is left as it would be', () => {
  const facts = factsOf(['fibre', 'cable'], { foreignDefaults: [refusing(0)] });
  const before = wished(TWO, facts, 'fibre>cable');
  const after = wished(TWO, facts, 'cable>fibre');
  const words = plan({ ...after, rules: before.rules }, { routes: [...before.routes, ...before.standIns], rules: before.rules, addresses: [] }).changes
    .map((change) => showChange(change, facts.links)).filter((text) => text.includes('table main'));
  assert.deepEqual(words.map((text) => text.replace(/ table main proto 147| onlink|via \S+ /g, '')), [
    'ip route prepend default dev eth1', 'ip route add default dev eth1 metric 32', 'ip route del default dev eth0 metric 30', 'ip route del default dev eth1 metric 31',
    'ip route del default dev eth0', 'ip route add default dev eth1 metric 30', 'ip route add default dev eth0 metric 31', 'ip route del default dev eth1 metric 32',
  ]);
});

test('a kill switch in main, from the beginning or later: routed past, told once, and ours goes with it', () => {
  const router = openRouter(TWO, factsOf(['fibre', 'cable'])).until(3000).fresh();
  const killSwitch = refusing(0, { refuses: 'blackhole' });
  router.kernel.outside.addRoute(killSwitch);
  router.until(3100);
  assert.deepEqual(inMain(router, 0), [[2], []]);
  assert.match(router.told().join(), /main holds "blackhole default" \(IPv4\).*uplinkd routes past it, so it keeps nothing in/);
  router.alive.delete('fibre');
  router.until(9000);
  assert.deepEqual(inMain(router, 0), [[3], []], 'by who leads now');
  assert.equal(router.told().filter((text) => text.includes('blackhole')).length, 1);
  assert.ok(status(router.state, router.state.startedAt).kernel.inSync);
  router.kernel.outside.deleteRoute(killSwitch);
  router.until(9100);
  assert.deepEqual(inMain(router, 0), []);
});

test('a host route on a line that dies and lives again', () => {
  const toResolver = foreign('9.9.9.9/32', 0, [FIBRE], { protocol: 16 });
  const router = openRouter(TWO, factsOf(['fibre', 'cable'], { foreignRoutes: [toResolver] })).until(3000);
  const way = (): readonly number[] => router.kernel.readAll().routes.filter(({ destination }) => destination === '9.9.9.9/32').map(({ hops }) => hops[0]!.ifindex);
  assert.deepEqual(way(), []);
  router.alive.delete('fibre');
  router.until(9000);
  assert.deepEqual(way(), [3]);
  router.alive.add('fibre');
  router.until(60_000);
  assert.deepEqual(way(), []);
  assert.deepEqual(router.kernel.readAll().foreignRoutes, [toResolver]);
});

/** The devices of all defaults of that metric in main, in the kernel's order. */
function inMain({ kernel }: Router, metric: number): readonly (readonly number[])[] {
  const facts = kernel.readAll();
  const of = (routes: readonly Route[]): readonly Route[] => routes.filter((route) => route.family === 4 && route.table === MAIN_TABLE && route.metric === metric && route.destination === 'default');
  return [...of(facts.routes), ...of(facts.foreignDefaults)].map(({ hops }) => hops.map(({ ifindex }) => ifindex));
}
