/** Connections that are forgotten: which, when, and when not after all. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { cutMarkOf, markOf } from '../../src/core/layout.js';
import type { FlowPolicy, ForgetOrder, Policy } from '../../src/model.js';
import { addressOf, at, dualFacts, factsOf, foreignDefault, linkOf, matchOf, policyOf, trafficPolicy, uplinkPolicy, type UplinkChoice } from './fixture.js';
import { openRouter, type Router, untilNext } from './router.js';

const TWO = policyOf([uplinkPolicy('fibre'), uplinkPolicy('cable')]);
const FACTS = factsOf(['fibre', 'cable']);
const CUT = cutMarkOf(TWO.markMask);

const settled = (policy: Policy = TWO, facts = FACTS): Router => openRouter(policy, facts).until(1500).fresh();
const orders = (router: Router): readonly ForgetOrder[] => router.effects.flatMap((effect) => (effect.type === 'forget' ? [effect.order] : []));
const unplug = (router: Router, name: 'fibre' | 'cable' | 'lte', carrier = false): Router => {
  router.kernel.outside.setLink(linkOf(name, { carrier }));
  return router;
};

/** `fibre all cut`, `lte all (tunnel)`, `fibre all but tunnel, voice` */
function shown(router: Router): readonly string[] {
  return orders(router).map(({ uplink, which, only, except, translatedTo, cutMark, family }) => [
    uplink, family === 6 ? 'IPv6' : '', which, only === undefined ? '' : `(${only.name})`, except.length === 0 ? '' : `but ${except.map(({ name }) => name).join(', ')}`,
    translatedTo, cutMark === 0 ? '' : 'cut',
  ].filter((word) => word !== '').join(' '));
}

/** Fibre died, cable leads, fibre is up again since about 3 s, and takes over when it has held, at about 34 s. */
function returning(policy: Policy, facts = FACTS): Router {
  const router = unplug(settled(policy, facts), 'fibre').until(2500);
  return unplug(router, 'fibre', true).until(32_000).fresh();
}

function untilFibreLeads(router: Router): Router {
  while (router.state.planes.get(4)!.decision!.ranks[0]!.members[0]!.uplink !== 'fibre') router.until(router.now + 1);
  return router;
}

test('left: silent, and what was never answered goes; dead, and all goes, and once more a second later', () => {
  const router = settled();
  router.alive.delete('fibre');
  assert.deepEqual(shown(router.until(3500)), ['fibre unanswered']);
  const [first] = orders(router);
  assert.deepEqual([first?.mark, first?.markMask, first?.family, first?.only, first?.except], [markOf(TWO.uplinks[0]!.slot, TWO.markMask), TWO.markMask, 4, undefined, []]);
  while (router.state.planes.get(4)!.health.get('fibre')!.state !== 'down') router.until(router.now + 1);
  const diedAt = router.now;
  assert.deepEqual(shown(router.fresh().until(diedAt + 990)), []);
  assert.deepEqual([shown(router.until(diedAt + 1010)), orders(router).map(({ cutMark }) => cutMark)], [['fibre all cut'], [CUT]]);
  assert.deepEqual(shown(router.fresh().until(60_000)), [], 'twice, and no more');
});

test('a cable that is cut: all, in the same turn', () => {
  assert.deepEqual(shown(unplug(settled(), 'fibre')), ['fibre all cut']);
});

test('left: never mind if it recovers before something better stands', () => {
  const router = untilNext(settled(), 'fibre');
  router.alive.clear();
  router.until(9000);
  assert.deepEqual(shown(router), []);
  router.alive.add('fibre');
  assert.deepEqual(shown(router.until(60_000)), ['cable all cut', 'cable all cut'], 'it answers again, so nothing is forgotten of it');
});

test('left: the sweep is dropped if it is up again by then', () => {
  const router = settled(policyOf([uplinkPolicy('fibre', { sensitivity: 'fast', intervalMs: 100 }), uplinkPolicy('cable')]));
  unplug(router, 'fibre');
  unplug(router, 'fibre', true).until(2400);
  assert.equal(router.state.planes.get(4)!.health.get('fibre')!.state, 'up');
  assert.deepEqual(shown(router.until(9000)), ['fibre all cut']);
});

test('who carries no translated connections is not told by reset: they may go on by another way', () => {
  const policy = policyOf([uplinkPolicy('fibre', { translate: { 4: { kind: 'none' } } }), uplinkPolicy('cable')]);
  assert.deepEqual(shown(unplug(settled(policy), 'fibre')), ['fibre all']);
});

test('keep: a better uplink that takes over moves nothing', () => {
  const router = returning(TWO).until(60_000);
  assert.equal(router.state.planes.get(4)!.decision!.ranks[0]!.members[0]!.uplink, 'fibre');
  assert.deepEqual(shown(router), []);
});

test('move: what is left after the drain time is cut, and swept', () => {
  const router = returning(policyOf(TWO.uplinks, { flows: 'move', drainMs: 10_000 }));
  untilFibreLeads(router);
  const tookOverAt = router.now;
  assert.deepEqual(shown(router.until(tookOverAt + 9990)), []);
  assert.deepEqual(shown(router.until(tookOverAt + 10_010)), ['cable all cut']);
  assert.deepEqual(shown(router.until(tookOverAt + 60_000)), ['cable all cut', 'cable all cut']);
});

test('move: never mind if it leads again before its drain is over', () => {
  const router = returning(policyOf(TWO.uplinks, { flows: 'move', drainMs: 10_000 })).until(35_000);
  unplug(router, 'fibre').fresh();
  assert.deepEqual(shown(router.until(60_000)).filter((text) => text.startsWith('cable')), []);
});

test('metered: cut as soon as something better leads, whatever the config says of others', () => {
  const router = returning(policyOf([uplinkPolicy('fibre'), uplinkPolicy('cable', { metered: true })]));
  untilFibreLeads(router);
  assert.deepEqual(shown(router), ['cable all cut'], 'in the same turn');
  assert.deepEqual(shown(router.until(60_000)), ['cable all cut', 'cable all cut']);
});

test('metered: silent just when it is left, it is cut when it recovers', () => {
  const router = returning(policyOf([uplinkPolicy('fibre'), uplinkPolicy('cable', { metered: true, sensitivity: 'calm' })])).until(32_500);
  router.alive.delete('cable');
  untilFibreLeads(router);
  assert.equal(router.state.planes.get(4)!.health.get('cable')!.state, 'suspect');
  router.until(router.now + 500).alive.add('cable');
  router.until(router.now + 3000);
  assert.equal(router.state.planes.get(4)!.health.get('cable')!.state, 'up');
  assert.deepEqual(shown(router), ['cable unanswered', 'cable all cut', 'cable all cut']);
});

const flow = (name: string, failback: FlowPolicy['failback'], port: number): FlowPolicy =>
  ({ name, match: matchOf({ protocol: 'udp', destinationPorts: [{ first: port, last: port }] }), origin: 'router', failback });

test('kinds of flows that are to move do so in their order, those that are to be kept are left out when all others go', () => {
  const flows = [flow('site-b', 'move', 51820), flow('voice', 'keep', 5060), flow('site-a', 'move', 51821)];
  const named = returning({ ...TWO, flows }).until(40_000);
  assert.deepEqual(shown(named), ['cable all (site-b) cut', 'cable all (site-a) cut', 'cable all (site-b) cut', 'cable all (site-a) cut']);
  assert.deepEqual(orders(named)[0]!.only, { name: 'site-b', match: flows[0]!.match, origin: 'router' });
  const metered = untilFibreLeads(returning({ ...policyOf([uplinkPolicy('fibre'), uplinkPolicy('cable', { metered: true })]), flows }));
  assert.deepEqual(shown(metered).slice(0, 3), ['cable all (site-b) cut', 'cable all (site-a) cut', 'cable all but voice cut']);
});

test('connections that a policy sends by a metered uplink on purpose stay there', () => {
  const policies = [trafficPolicy('tv', 'cable>fibre', { match: matchOf({ sources: ['192.168.1.9/32'] }) }), trafficPolicy('bulk', 'fibre>cable')];
  const router = untilFibreLeads(returning({ ...policyOf([uplinkPolicy('fibre'), uplinkPolicy('cable', { metered: true })]), policies }));
  assert.deepEqual(shown(router), ['cable all but tv cut']);
  assert.deepEqual(orders(router)[0]!.except, [{ name: 'tv', match: policies[0]!.match, origin: 'any' }]);
});

const AUTO: UplinkChoice = { gateway: 'auto' };
const LEASED = factsOf(['fibre', 'cable'], { foreignDefaults: [foreignDefault('fibre', 100)] });
const renumber = (router: Router, address: string): Router => {
  router.kernel.outside.deleteAddress(addressOf('fibre'));
  router.kernel.outside.addAddress(addressOf('fibre', { address }));
  return router;
};

test('renumbering: what bears the old address goes as soon as the line can be used again, whoever leads', () => {
  const router = settled(policyOf([uplinkPolicy('fibre', AUTO)]), LEASED);
  renumber(router, '198.51.100.77');
  assert.deepEqual(shown(router), [], 'no gateway is known for the new address yet');
  router.until(1600);
  router.kernel.outside.addRoute(foreignDefault('fibre', 100));
  assert.deepEqual(shown(router), ['fibre all 198.51.100.2 cut'], 'in the turn that hears of it');
  assert.deepEqual(shown(router.until(9000)), ['fibre all 198.51.100.2 cut', 'fibre all 198.51.100.2 cut']);
});

test('renumbering twice before the line can be used again: both old addresses go', () => {
  const router = settled(policyOf([uplinkPolicy('fibre', AUTO)]), LEASED);
  renumber(router, '198.51.100.77').until(1600);
  router.kernel.outside.deleteAddress(addressOf('fibre', { address: '198.51.100.77' }));
  router.kernel.outside.addAddress(addressOf('fibre', { address: '198.51.100.78' }));
  router.kernel.outside.addRoute(foreignDefault('fibre', 100));
  assert.deepEqual(shown(router), ['fibre all 198.51.100.2 cut', 'fibre all 198.51.100.77 cut']);
});

test('renumbering: an address that comes back was never away', () => {
  const router = settled(policyOf([uplinkPolicy('fibre', AUTO)]), LEASED);
  router.kernel.outside.deleteAddress(addressOf('fibre'));
  router.until(1700);
  router.kernel.outside.addAddress(addressOf('fibre'));
  router.kernel.outside.addRoute(foreignDefault('fibre', 100));
  assert.deepEqual(shown(router.until(9000)), []);
});

test('move: a named IPv4 flow of the router is led to the line that leads, where that translates and NAT stands', () => {
  type Changes = { readonly natInSync?: boolean; readonly policy?: Partial<Policy> };
  const ontos = (origin: FlowPolicy['origin'], changes: Changes = {}): readonly unknown[] => {
    const tunnel: FlowPolicy = { name: 'tunnel', match: matchOf({ protocol: 'udp' }), origin, failback: 'move' };
    const policy = { ...TWO, flows: [tunnel], ...changes.policy };
    const router = returning(policy);
    const { natInSync = true } = changes;
    const report = { natBackend: 'nftables', natInSync, natRepaired: false, sysctlsInSync: true, problems: [] } as const;
    router.give({ type: 'host', at: at(router.now), wish: router.state.hostWish!, report });
    const named = orders(untilFibreLeads(router).until(60_000)).filter(({ only }) => only !== undefined);
    return named.map(({ uplink, onto }) => [uplink, onto]);
  };
  const onto = { mark: markOf(TWO.uplinks[0]!.slot, TWO.markMask), address: addressOf('fibre').address };
  assert.deepEqual(ontos('router'), [['cable', onto], ['cable', onto]]);
  const nowhere = [['cable', undefined], ['cable', undefined]];
  assert.deepEqual(ontos('any'), nowhere);
  assert.deepEqual(ontos('router', { natInSync: false }), nowhere);
  const plain = uplinkPolicy('fibre', { translate: { 4: { kind: 'none' } } });
  assert.deepEqual(ontos('router', { policy: { uplinks: [plain, TWO.uplinks[1]!] } }), nowhere);
  const own = trafficPolicy('own', 'cable>fibre', { router: true });
  assert.deepEqual(ontos('router', { policy: { policies: [own] } }), nowhere);
});

test('renumbering in IPv6: the old address goes when it is taken away, not when it is only deprecated', () => {
  const policy = policyOf([uplinkPolicy('fibre'), uplinkPolicy('cable')]);
  const router = settled(policy, dualFacts(['fibre', 'cable']));
  const old = addressOf('fibre', { family: 6 });
  const next = { ...old, address: '2001:db8:8::2' };
  router.kernel.outside.addAddress(next);
  const { addresses } = router.kernel.readAll();
  router.give({ type: 'kernel', at: at(1500), facts: { addresses: addresses.map((address) => (address.address === old.address ? { ...address, deprecated: true } : address)) } });
  assert.deepEqual(shown(router.until(3000)), []);
  assert.equal(router.state.planes.get(6)!.health.get('fibre')!.line.address, '2001:db8:8::2');
  router.kernel.outside.deleteAddress(old);
  assert.deepEqual(shown(router), ['fibre IPv6 all 2001:db8:1::2 cut']);
  assert.deepEqual(shown(router.until(9000)), ['fibre IPv6 all 2001:db8:1::2 cut', 'fibre IPv6 all 2001:db8:1::2 cut']);
});

test('an uplink that the config has no more: all that bears its mark, in both families, and not if it is put back', () => {
  const only = policyOf([TWO.uplinks[1]!]);
  const router = settled().give({ type: 'policy', at: at(1500), policy: only, token: 0 });
  assert.deepEqual([shown(router), orders(router).map(({ family }) => family)], [['fibre all cut'], [undefined]]);
  assert.equal(shown(router.until(9000)).length, 2);
  const back = settled().give({ type: 'policy', at: at(1500), policy: only, token: 0 }).until(1800);
  back.give({ type: 'policy', at: at(1800), policy: TWO, token: 0 });
  assert.deepEqual(shown(back.until(9000)), ['fibre all cut'], 'what it carries now is not swept');
});

test('each family forgets its own', () => {
  const router = settled(policyOf([uplinkPolicy('fibre', { hosts: ['gateway', '1.1.1.1', '2606:4700:4700::1111'] }), uplinkPolicy('cable')]), dualFacts(['fibre', 'cable']));
  router.alive.delete('fibre');
  router.alive.add('fibre 4');
  assert.deepEqual(shown(router.until(9000)), ['fibre IPv6 unanswered', 'fibre IPv6 all cut', 'fibre IPv6 all cut']);
});
