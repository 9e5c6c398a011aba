/** Several addresses on one line: which of them probes, routes and NAT use, and that one more costs a healthy line nothing. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { desireHost } from '../../src/core/desire-host.js';
import { MAIN_TABLE } from '../../src/core/layout.js';
import type { Address, KernelFacts, Route } from '../../src/model.js';
import { addressOf, at, dualFacts, factsOf, foreignDefault, linkLocal, policyOf, uplinkPolicy } from './fixture.js';
import { openRouter, type Router } from './router.js';

const MODEM = addressOf('fibre', { address: '192.168.100.2' });
const OWN = addressOf('fibre');
const SECOND = addressOf('fibre', { address: '198.51.100.77' });
const ULA = addressOf('fibre', { family: 6, address: 'fd00:1:2:3::2' });
const OWN6 = addressOf('fibre', { family: 6 });
const HOSTS = ['gateway', '1.1.1.1', '192.168.100.1', '2606:4700:4700::1111'];
const ONE = policyOf([uplinkPolicy('fibre', { hosts: HOSTS })]);
const AUTO = policyOf([uplinkPolicy('fibre', { gateway: 'auto', hosts: HOSTS })]);

const settled = (facts: KernelFacts, policy = ONE): Router => openRouter(policy, facts).until(1500).fresh();
const source = (router: Router, family: 4 | 6): string => router.state.planes.get(family)!.health.get('fibre')!.line.address;
/** By target, the source that its last probe was ordered from where it is not the line's. */
const sources = (router: Router): Readonly<Record<string, string | undefined>> =>
  Object.fromEntries(router.effects.flatMap((effect) => (effect.type === 'probe' ? [[`${effect.order.target.id} ${effect.order.family}`, effect.order.source]] : [])));

test('the modem\'s management address before the line\'s own: probes bear the one in the gateway\'s network, and the modem is asked from the other', () => {
  const router = settled(factsOf(['fibre'], { addresses: [MODEM, OWN] })).until(4000);
  assert.equal(source(router, 4), OWN.address);
  assert.deepEqual(sources(router), { 'gateway 4': undefined, 'icmp 1.1.1.1 4': undefined, 'icmp 192.168.100.1 4': MODEM.address });
});

test('IPv6: a ULA that came last is not for the internet, a deprecated address for nothing', () => {
  const six = (...addresses: readonly Address[]): string => source(settled(dualFacts(['fibre'], ['fibre'], { addresses: [OWN, linkLocal('fibre'), ...addresses] })), 6);
  const newer = addressOf('fibre', { family: 6, address: '2001:db8:999::2' });
  assert.deepEqual([six(ULA, OWN6), six(OWN6, ULA), six({ ...newer, deprecated: true }, OWN6), six(newer, OWN6)], [OWN6.address, OWN6.address, OWN6.address, newer.address]);
});

test('the source that the route asks for is that of probes, of our routes and of what is masqueraded', () => {
  const shown = foreignDefault('fibre', 100, { source: SECOND.address });
  const router = settled(factsOf(['fibre'], { addresses: [OWN, SECOND], foreignDefaults: [shown] }), AUTO);
  const routes = (): readonly Route[] => router.kernel.readOurs().routes.filter((route) => route.destination === 'default');
  assert.equal(source(router, 4), SECOND.address);
  assert.ok(routes().some((route) => route.table === MAIN_TABLE));
  assert.deepEqual([...new Set(routes().map((route) => route.source))], [SECOND.address]);
  const translate = (): unknown => desireHost(AUTO, router.state.planes).nat.lines[0]!.translate[4];
  assert.deepEqual(translate(), { kind: 'address', address: SECOND.address });
  router.kernel.outside.deleteRoute(shown);
  router.kernel.outside.addRoute({ ...shown, source: '' });
  router.kernel.outside.deleteAddress(SECOND);
  router.until(router.now + 100);
  assert.deepEqual([source(router, 4), [...new Set(routes().map((route) => route.source))], translate()], [OWN.address, [''], { kind: 'masquerade' }]);
});

for (const [what, newer] of [['a ULA', ULA], ['another prefix', addressOf('fibre', { family: 6, address: '2001:db8:999::2' })]] as const) {
  test(`a healthy line gets ${what}: it stays up, and what is known of it stays known`, () => {
    const facts = dualFacts(['fibre']);
    const router = settled(facts).until(10_000).fresh();
    const health = router.state.planes.get(6)!.health.get('fibre')!;
    const [received, since] = [health.records[0]!.received, health.since];
    router.kernel.outside.addAddress(newer);
    router.until(router.now + 3000);
    assert.deepEqual([health.state, health.since, health.suspicions], ['up', since, 0]);
    assert.ok(health.records[0]!.received > received);
    assert.deepEqual(router.told(), []);
  });
}

test('the address that the line had is gone: what another one can do is asked anew', () => {
  const facts = dualFacts(['fibre']);
  const router = settled(facts).fresh();
  const renumbered = facts.addresses.map((address) => (address.address === OWN6.address ? { ...address, address: '2001:db8:999::2' } : address));
  router.give({ type: 'kernel', at: at(router.now), facts: { addresses: renumbered } });
  assert.ok(router.told().some((text) => text.includes('address or gateway changed')), router.told().join('\n'));
});

test('the management network alone keeps no gateway in mind', () => {
  const taught = factsOf(['fibre'], { addresses: [MODEM, OWN], foreignDefaults: [foreignDefault('fibre', 100)] });
  const router = settled(taught, AUTO);
  router.give({ type: 'kernel', at: at(router.now), facts: { addresses: [MODEM], foreignDefaults: [] } });
  assert.equal(router.state.planes.get(4)!.health.get('fibre')!.line.severed, 'no gateway is known for eth0');
});
