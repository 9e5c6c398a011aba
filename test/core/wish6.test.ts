/** What is wished of the kernel in IPv6, as the `ip` commands that would make it; and the addresses of a LAN whose provider is down. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { desire } from '../../src/core/desire.js';
import { desireHost } from '../../src/core/desire-host.js';
import { ACTIVE_TABLE, MAIN_TABLE, markOf, OUR_PROTOCOL, tableOf } from '../../src/core/layout.js';
import { plan, showChange } from '../../src/core/plan.js';
import type { Address, Family, KernelFacts, UplinkPolicy, Wish } from '../../src/model.js';
import { addressOf, dualFacts, foreignDefault, linkOf, policyOf, uplinkPolicy, type UplinkChoice } from './fixture.js';
import { decided, groundOf, inTable, NOTHING_LEARNT, planeOf, shown, wished, type States } from './ground.js';

const TWO = policyOf([uplinkPolicy('fibre'), uplinkPolicy('cable')]);
const FACTS = dualFacts(['fibre', 'cable']);
const [FIBRE, CABLE] = [tableOf(TWO.uplinks[0]!.slot), tableOf(TWO.uplinks[1]!.slot)];
const [FIBRE_MARK, CABLE_MARK] = TWO.uplinks.map((uplink) => `0x${markOf(uplink.slot, TWO.markMask).toString(16)}/0x3f80`);

test('two healthy uplinks in IPv6: as in IPv4, with the metric and the scope that the kernel gives them', () => {
  const wish = wished(TWO, FACTS, 'fibre>cable', {}, 6);
  assert.deepEqual(shown(wish, FACTS), [
    `2001:db8:1::/64 dev eth0 table ${FIBRE} proto 147 metric 1024 src 2001:db8:1::2`,
    `default via fe80::1 dev eth0 table ${FIBRE} proto 147 metric 1024 onlink`,
    `2001:db8:2::/64 dev eth1 table ${CABLE} proto 147 metric 1024 src 2001:db8:2::2`,
    `default via fe80::1 dev eth1 table ${CABLE} proto 147 metric 1024 onlink`,
    'default via fe80::1 dev eth0 table 9400 proto 147 metric 30 onlink',
    'default via fe80::1 dev eth0 table main proto 147 metric 30 onlink',
    'default via fe80::1 dev eth1 table 9400 proto 147 metric 31 onlink',
    'default via fe80::1 dev eth1 table main proto 147 metric 31 onlink',
    `pref 9410 oif eth0 lookup ${FIBRE} proto 147`,
    `pref 9500 fwmark ${FIBRE_MARK} lookup ${FIBRE} proto 147`,
    `pref 9550 from 2001:db8:1::2/128 lookup ${FIBRE} proto 147`,
    `pref 9410 oif eth1 lookup ${CABLE} proto 147`,
    `pref 9500 fwmark ${CABLE_MARK} lookup ${CABLE} proto 147`,
    `pref 9550 from 2001:db8:2::2/128 lookup ${CABLE} proto 147`,
    'pref 9450 lookup main suppress_prefixlength 0 proto 147',
    'pref 9600 lookup 9400 proto 147',
  ]);
  assert.deepEqual([...new Set([...wish.routes, ...wish.rules].map(({ family }) => family))], [6]);
  assert.deepEqual([...new Set(wish.routes.map(({ scope }) => scope))], [0], 'IPv6 knows no other');
});

test('a tunnel in IPv6 has no gateway, and its routes are of the scope of all', () => {
  const policy = policyOf([uplinkPolicy('fibre', { gateway6: 'none', interface: 'he6' })]);
  const facts = dualFacts([], ['fibre'], { links: [linkOf('fibre', { name: 'he6' })], foreignDefaults: [] });
  const { routes } = wished(policy, facts, 'fibre', {}, 6);
  assert.deepEqual(inTable({ routes }, ACTIVE_TABLE).map(({ scope, hops }) => [scope, hops[0]!.via, hops[0]!.onlink]), [[0, '', false]]);
});

test('metrics keep clear of the defaults of router advertisements in their own family', () => {
  const facts = { ...FACTS, foreignDefaults: [foreignDefault('fibre', 30, { family: 6 })] };
  const metrics = (family: Family): readonly number[] => inTable(wished(TWO, facts, 'fibre>cable', {}, family), MAIN_TABLE).map((route) => route.metric);
  assert.deepEqual([metrics(4), metrics(6)], [[30, 31], [130]], 'whose gateway nobody knows has no route');
});

test('both families stand side by side in one wish', () => {
  const planes = new Map(([4, 6] as const).map((family) => [family, planeOf(TWO, FACTS, family, decided(family === 4 ? 'fibre>cable' : 'cable'))]));
  const { routes } = desire({ policy: TWO, facts: FACTS, learnt: NOTHING_LEARNT, delegations: new Map(), planes, lingering: [] });
  assert.deepEqual(inTable({ routes }, ACTIVE_TABLE).map(({ family, metric, hops }) => [family, metric, hops[0]!.ifindex]), [[4, 30, 2], [4, 31, 3], [6, 30, 3]]);
});

test('IPv6 is forwarded where an uplink has it; before that each uplink is told to go on listening to its routers, unless it never did', () => {
  const planes = new Map(([4, 6] as const).map((family) => [family, planeOf(TWO, FACTS, family, undefined)]));
  const { sysctls } = desireHost(TWO, planes);
  const at = (path: string): number => sysctls.findIndex((wish) => wish.path === path);
  assert.deepEqual(sysctls[at('net/ipv6/conf/eth0/accept_ra')], { path: 'net/ipv6/conf/eth0/accept_ra', value: '2', unless: '0' });
  assert.ok(at('net/ipv6/conf/eth1/accept_ra') >= 0 && at('net/ipv6/conf/eth1/accept_ra') < at('net/ipv6/conf/all/forwarding'));
  assert.ok(at('net/ipv6/fib_multipath_hash_policy') >= 0 && at('net/ipv6/conf/eth0/ignore_routes_with_linkdown') >= 0);
  const given = policyOf([uplinkPolicy('fibre', { gateway6: { address: 'fe80::1' } })]);
  assert.ok(!desireHost(given, planes).sysctls.some(({ path }) => path === 'net/ipv6/conf/eth0/accept_ra'), 'a gateway that is written down needs none');
  assert.ok(!desireHost({ ...TWO, lanInterfaces: [] }, planes).sysctls.some(({ path }) => path === 'net/ipv6/conf/all/forwarding'));
});

// ------------------------------------------------------------------------------ LAN addresses of a routed prefix

const ROUTED: UplinkChoice = { prefix6: '2001:db8:f1b0::/48', translate: { 6: { kind: 'none' } } };
const LAN = { index: 10, name: 'lan0' };
const lanAddress = (address: string, changes: Partial<Address> = {}): Address => addressOf('fibre', { family: 6, ifindex: LAN.index, address, ...changes });
const OF_FIBRE = lanAddress('2001:db8:f1b0:1::1');
const OF_CABLE = lanAddress('2001:db8:cab:1::1');
const ULA = lanAddress('fd00:1::1');

function lanFacts(...lan: readonly Address[]): KernelFacts {
  const { links, addresses, ...rest } = dualFacts(['fibre', 'cable']);
  return { ...rest, links: [...links, linkOf('fibre', LAN)], addresses: [...addresses, lanAddress('fe80::1:1', { scope: 253 }), ...lan] };
}

function wishedOf(uplinks: readonly UplinkPolicy[], facts: KernelFacts, ranks: string, states: States): Wish {
  return desire(groundOf(policyOf(uplinks), facts, decided(ranks), states, 6));
}

const deprecated = (...args: Parameters<typeof wishedOf>): readonly string[] => wishedOf(...args).deprecated.map(({ address }) => address);

test('the LAN\'s addresses of a dead uplink\'s own prefix are to be used no more, and no others', () => {
  const uplinks = [uplinkPolicy('fibre', ROUTED), uplinkPolicy('cable')];
  const ofTheLine = addressOf('fibre', { family: 6, address: '2001:db8:f1b0::9' });
  const facts = lanFacts(OF_FIBRE, OF_CABLE, ULA, ofTheLine);
  assert.deepEqual(deprecated(uplinks, facts, 'cable', { fibre: 'down' }), ['2001:db8:f1b0:1::1']);
  assert.deepEqual(deprecated(uplinks, facts, 'fibre>cable', {}), [], 'it works');
  assert.deepEqual(deprecated(uplinks, facts, 'cable', { fibre: 'suspect' }), [], 'not for a hiccup');
  const ground = groundOf(policyOf(uplinks), facts, decided('cable>fibre'), { fibre: 'degraded' }, 6);
  assert.deepEqual(desire(ground).deprecated, [], 'nor for a line that works badly');
  ground.planes.get(6)!.health.get('fibre')!.domain = 'connections';
  assert.deepEqual(desire(ground).deprecated.map(({ address }) => address), ['2001:db8:f1b0:1::1'], 'its connections get nothing');
  assert.deepEqual(deprecated(uplinks, facts, 'fibre', { fibre: 'down', cable: 'down' }), [], 'nothing better is left');
  assert.deepEqual(deprecated(uplinks, facts, '', { fibre: 'down', cable: 'down' }), []);
});

test('where the prefix is translated, or none is written down, nothing is deprecated', () => {
  for (const choice of [{ ...ROUTED, translate: { 6: { kind: 'masquerade' } } }, { ...ROUTED, prefix6: '' }] satisfies readonly UplinkChoice[]) {
    assert.deepEqual(deprecated([uplinkPolicy('fibre', choice), uplinkPolicy('cable')], lanFacts(OF_FIBRE), 'cable', { fibre: 'down' }), []);
  }
});

test('packets from a routed prefix leave by the provider who routes it, and by no other', () => {
  const { rules } = wishedOf([uplinkPolicy('fibre', ROUTED), uplinkPolicy('cable')], lanFacts(OF_FIBRE), 'fibre>cable', {});
  assert.deepEqual(rules.filter((rule) => rule.from === ROUTED.prefix6).map(({ preference, table, family }) => [preference, table, family]), [[9550, FIBRE, 6]]);
});

test('an address is taken out of use and given back as the last of all changes; only if it was we who did it', () => {
  const none: Wish = { routes: [], rules: [], standIns: [], deprecated: [] };
  const told = (wish: Wish, ...addresses: readonly Address[]): readonly string[] => plan(wish, { routes: [], rules: [], addresses }).changes.map((change) => showChange(change, [linkOf('fibre', LAN)]));
  const ours = { ...OF_FIBRE, deprecated: true, protocol: OUR_PROTOCOL };
  assert.deepEqual(told({ ...none, deprecated: [OF_FIBRE] }, OF_FIBRE), ['ip -6 addr change 2001:db8:f1b0:1::1/64 dev lan0 preferred_lft 0']);
  assert.deepEqual(told({ ...none, deprecated: [ours] }, ours), [], 'done already');
  assert.deepEqual(told(none, ours), ['ip -6 addr change 2001:db8:f1b0:1::1/64 dev lan0 preferred_lft forever']);
  assert.deepEqual(told(none, { ...OF_FIBRE, deprecated: true }), [], 'somebody else deprecated it');
  const { changes } = plan({ ...wished(TWO, FACTS, 'fibre', {}, 6), deprecated: [OF_FIBRE] }, { routes: [], rules: [], addresses: [OF_FIBRE] });
  assert.equal(changes.at(-1)!.op, 'deprecate');
});
