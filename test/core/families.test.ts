/** Two families, one machine: each is judged and decided for itself; policy, override, generation and kernel are one. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ACTIVE_TABLE, MAIN_TABLE } from '../../src/core/layout.js';
import { status } from '../../src/core/status.js';
import type { Decision, Family, KernelFacts, Policy } from '../../src/model.js';
import { addressOf, at, dualFacts, factsOf, foreignDefault, linkOf, policyOf, uplinkPolicy } from './fixture.js';
import { openRouter, type Router } from './router.js';

const HOSTS = ['gateway', '1.1.1.1', '9.9.9.9', '2606:4700:4700::1111'];
const TWO = policyOf([uplinkPolicy('fibre', { hosts: HOSTS }), uplinkPolicy('cable', { hosts: HOSTS })]);
const DUAL = dualFacts(['fibre', 'cable']);

const settled = (policy: Policy = TWO, facts: KernelFacts = DUAL): Router => openRouter(policy, facts).until(1500).fresh();
const decision = (router: Router, family: Family): Decision | undefined => router.state.planes.get(family)?.decision;
const order = (router: Router, family: Family): string => (decision(router, family)?.ranks ?? []).map((rank) => rank.members.map((m) => m.uplink).join('+')).join('>');
const devices = (router: Router, table: number, family: Family): readonly number[] => router.kernel.readOurs().routes
  .filter((route) => route.table === table && route.family === family).sort((a, b) => a.metric - b.metric).map((route) => route.hops[0]!.ifindex);

test('IPv6 upstream dies: IPv6 leaves the uplink, IPv4 does not', () => {
  const router = settled();
  assert.deepEqual([order(router, 4), order(router, 6)], ['fibre>cable', 'fibre>cable']);
  router.alive.delete('fibre');
  router.alive.add('fibre 4');
  router.until(6000);
  assert.deepEqual([order(router, 4), order(router, 6)], ['fibre>cable', 'cable']);
  assert.deepEqual([devices(router, ACTIVE_TABLE, 4), devices(router, ACTIVE_TABLE, 6), devices(router, MAIN_TABLE, 6)], [[2, 3], [3], [3]]);
  assert.ok(router.told().some((text) => text.startsWith('active (IPv6): cable; fibre is suspect')), router.told().join('\n'));
  assert.deepEqual(router.told().filter((text) => text.startsWith('active:')), []);
});

test('a cut cable moves both, in one step and one plan', () => {
  const router = settled();
  router.kernel.outside.setLink(linkOf('fibre', { carrier: false }));
  assert.deepEqual([order(router, 4), order(router, 6)], ['cable', 'cable']);
  assert.equal(router.effects.filter((effect) => effect.type === 'apply').length, 1);
});

test('a deleted device that shared the load: the kernel took its hop away by itself in IPv6, and refuses nothing of what is left to do', () => {
  const shared = policyOf([uplinkPolicy('fibre', { priority: 1 }), uplinkPolicy('cable', { priority: 1 })]);
  const router = settled(shared);
  assert.deepEqual([order(router, 4), order(router, 6)], ['fibre+cable', 'fibre+cable']);
  router.kernel.outside.deleteLink(3);
  assert.deepEqual(router.told().filter((text) => text.startsWith('the kernel refused')), []);
  assert.deepEqual([devices(router, ACTIVE_TABLE, 4), devices(router, ACTIVE_TABLE, 6), router.state.repair.inSync], [[2], [2], true]);
});

test('one generation for all: it grows with each change in any family, and never stands still or falls', () => {
  const router = settled();
  const generations = (): readonly number[] => [decision(router, 4)!.generation, decision(router, 6)!.generation, router.state.generation, status(router.state, at(router.now)).decision.generation];
  assert.deepEqual(generations(), [1, 2, 2, 2]);
  router.alive.delete('fibre');
  router.alive.add('fibre 4');
  router.until(6000);
  assert.deepEqual(generations(), [1, 3, 3, 3]);
  router.order({ uplink: 'cable' });
  assert.deepEqual(generations(), [4, 3, 4, 4], 'IPv6 was there already');
  router.order({ uplink: 'fibre', ifDead: 'obey' });
  assert.deepEqual(generations(), [5, 6, 6, 6]);
});

test('a restart counts on in both families from what former runs had reached', () => {
  const former = settled();
  const again = openRouter(TWO, former.kernel.readAll());
  assert.deepEqual([order(again, 4), order(again, 6)], ['fibre>cable', 'fibre>cable'], 'adopted');
  assert.deepEqual([decision(again, 4)?.generation, decision(again, 6)?.generation, again.state.generation], [1, 2, 2]);
  assert.deepEqual(again.effects.filter((effect) => effect.type === 'apply'), [], 'and nothing is to be done');
});

test('status tells of each family, and of the whole in the words of the first', () => {
  const router = settled();
  router.alive.delete('fibre');
  router.alive.add('fibre 4');
  router.until(9000);
  const told = status(router.state, at(9000));
  const [fibre] = told.uplinks;
  assert.deepEqual(fibre!.families.map(({ family, state, gateway, active, rank }) => [family, state, gateway, active, rank]), [[4, 'up', '198.51.100.1', true, 0], [6, 'down', 'fe80::1', false, undefined]]);
  assert.deepEqual([fibre!.state, fibre!.gateway, fibre!.active, fibre!.rank, fibre!.downs], ['up', '198.51.100.1', true, 0, 1]);
  assert.deepEqual(fibre!.addresses, ['198.51.100.2/24', '2001:db8:1::2/64']);
  assert.deepEqual(fibre!.targets.map(({ family, target, address }) => `${family} ${target} ${address}`), [
    '4 gateway 198.51.100.1', '4 icmp 1.1.1.1 1.1.1.1', '4 icmp 9.9.9.9 9.9.9.9', '6 gateway fe80::1', '6 icmp 2606:4700:4700::1111 2606:4700:4700::1111',
  ]);
  assert.deepEqual(told.active.map(({ family, name, gateway }) => [family, name, gateway]), [[4, 'fibre', '198.51.100.1'], [6, 'cable', 'fe80::1']]);
  assert.deepEqual(told.decisions.map(({ family, decision: { ranks } }) => [family, ranks[0]?.members[0]?.uplink]), [[4, 'fibre'], [6, 'cable']]);
  assert.equal(told.decision.since, decision(router, 4)?.since, 'since IPv4 has it');
});

test('a line without IPv4 is an IPv6 line: its verdict is told by that', () => {
  const facts = dualFacts(['fibre', 'cable'], ['fibre', 'cable'], { addresses: [addressOf('fibre', { family: 6 }), addressOf('cable'), addressOf('cable', { family: 6 })] });
  const router = settled(TWO, facts);
  const [fibre] = status(router.state, at(1500)).uplinks;
  assert.deepEqual([fibre!.state, fibre!.families.map(({ family }) => family), fibre!.active], ['up', [6, 4], true]);
  assert.deepEqual([order(router, 4), order(router, 6)], ['cable', 'fibre>cable']);
});

test('a family that no uplink has is left alone: no plane, no route, no rule, no sysctl but for its advertisements', () => {
  const router = settled(TWO, factsOf(['fibre', 'cable']));
  const { routes, rules } = router.kernel.readOurs();
  assert.deepEqual([router.state.planes.has(6), routes.filter((r) => r.family === 6), rules.filter((r) => r.family === 6)], [false, [], []]);
  assert.deepEqual(status(router.state, at(1500)).decisions.map(({ family }) => family), [4]);
});

test('IPv6 that comes late takes part from then on; its loss is news from then on', () => {
  const router = settled(TWO, factsOf(['fibre', 'cable']));
  router.kernel.outside.addAddress(addressOf('fibre', { family: 6 }));
  assert.equal(router.state.planes.has(6), false, 'an address, and no way out yet');
  router.kernel.outside.addRoute(foreignDefault('fibre', 1024, { family: 6, hops: [{ ifindex: 2, via: 'fe80::1', weight: 1, onlink: true }] }));
  router.until(2000);
  assert.deepEqual([order(router, 4), order(router, 6), devices(router, ACTIVE_TABLE, 6)], ['fibre>cable', 'fibre', [2]]);
  router.kernel.outside.deleteAddress(addressOf('fibre', { family: 6 }));
  router.until(2500);
  assert.equal(router.state.planes.get(6)!.health.get('fibre')!.because, 'eth0 has no IPv6 address');
  assert.deepEqual([order(router, 4), order(router, 6)], ['fibre>cable', '']);
});

test('an uplink that has IPv6 alone in it leaves with its uplink: nothing of ours stays', () => {
  const router = settled(TWO, dualFacts(['fibre', 'cable'], ['fibre']));
  router.give({ type: 'policy', at: at(1500), policy: policyOf([TWO.uplinks[1]!]), token: 0 });
  const { routes, rules } = router.kernel.readOurs();
  assert.deepEqual([router.state.planes.has(6), routes.filter((r) => r.family === 6), rules.filter((r) => r.family === 6)], [false, [], []]);
});

test('an order on an uplink without IPv6 leaves IPv6 to the automatic choice', () => {
  const router = settled(TWO, dualFacts(['fibre', 'cable'], ['fibre']));
  router.order({ uplink: 'cable' }, 7);
  assert.deepEqual([order(router, 4), order(router, 6)], ['cable>fibre', 'fibre']);
  assert.deepEqual([decision(router, 4)?.rule, decision(router, 6)?.rule], ['override', 'automatic']);
  assert.deepEqual(router.effects.filter((effect) => effect.type === 'answer'), [{ type: 'answer', token: 7, error: '' }]);
  router.give({ type: 'override', at: at(1500), by: 'noc', override: undefined, token: 8 });
  assert.deepEqual([order(router, 4), order(router, 6)], ['fibre>cable', 'fibre']);
});

test('an order on an uplink that is dead in one family is followed in the other', () => {
  const router = settled();
  router.alive.delete('cable');
  router.alive.add('cable 4');
  router.until(6000).order({ uplink: 'cable' }, 7);
  assert.deepEqual([order(router, 4), order(router, 6)], ['cable>fibre', 'fibre']);
  assert.deepEqual(router.effects.filter((effect) => effect.type === 'answer'), [{ type: 'answer', token: 7, error: '' }]);
});

test('an order on an uplink that is dead in all families is refused with the reason', () => {
  const router = settled();
  router.kernel.outside.setLink(linkOf('cable', { carrier: false }));
  router.order({ uplink: 'cable' }, 7);
  const [answer] = router.effects.filter((effect) => effect.type === 'answer');
  assert.equal(answer?.error, 'cable is down (no carrier on eth1): switching to it would cut you off; --if-dead obey insists');
});

test('the leader is in doubt in one family: the others are asked in that family', () => {
  const router = settled();
  router.alive.delete('fibre');
  router.alive.add('fibre 4');
  for (; router.state.planes.get(6)!.health.get('fibre')!.burst === undefined;) router.until(router.now + 1);
  const checked = ([4, 6] as const).map((family) => router.state.planes.get(family)!.health.get('cable')!.checkedAt !== undefined);
  assert.deepEqual(checked, [false, true]);
});

test('a line has a probe socket in each family that it takes part in', () => {
  const router = openRouter(TWO, dualFacts(['fibre', 'cable'], ['fibre']));
  const [bound] = router.effects.filter((effect) => effect.type === 'bind');
  assert.deepEqual(bound?.lines.map(({ uplink, family, source }) => [uplink, family, source]), [['fibre', 4, '198.51.100.2'], ['cable', 4, '203.0.113.2'], ['fibre', 6, '2001:db8:1::2']]);
});
