/** The whole wish for the kernel, as the `ip` commands that would make it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { metricBase } from '../../src/core/desire.js';
import { desireHost, probeLines } from '../../src/core/desire-host.js';
import { ACTIVE_TABLE, assignSlots, DEFAULT_MARK_MASK, MAIN_TABLE, markOf, METRIC_BASES, OUR_PROTOCOL, tableOf } from '../../src/core/layout.js';
import { lineOf } from '../../src/core/line.js';
import { showRoute } from '../../src/core/plan.js';
import type { KernelFacts, Wish } from '../../src/model.js';
import { addressOf, factsOf, foreignDefault, linkOf, policyOf, uplinkPolicy } from './fixture.js';
import { inTable as steering, NOTHING_LEARNT, planeOf, shown, wished } from './ground.js';

const TWO = policyOf([uplinkPolicy('fibre'), uplinkPolicy('cable')]);
const [FIBRE, CABLE] = [tableOf(TWO.uplinks[0]!.slot), tableOf(TWO.uplinks[1]!.slot)];
const [FIBRE_MARK, CABLE_MARK] = TWO.uplinks.map((uplink) => `0x${markOf(uplink.slot, TWO.markMask).toString(16)}/0x3f80`);

const preferences = (wish: Wish, uplink: 'fibre' | 'cable'): readonly number[] => wish.rules.filter((rule) => rule.table === (uplink === 'fibre' ? FIBRE : CABLE)).map((rule) => rule.preference);

test('two healthy uplinks: own tables, rules in their order, ACTIVE and its mirror', () => {
  const facts = factsOf(['fibre', 'cable']);
  assert.deepEqual(shown(wished(TWO, facts, 'fibre>cable'), facts), [
    `198.51.100.0/24 dev eth0 table ${FIBRE} proto 147 src 198.51.100.2`,
    `default via 198.51.100.1 dev eth0 table ${FIBRE} proto 147 onlink`,
    `203.0.113.0/24 dev eth1 table ${CABLE} proto 147 src 203.0.113.2`,
    `default via 203.0.113.1 dev eth1 table ${CABLE} proto 147 onlink`,
    'default via 198.51.100.1 dev eth0 table 9400 proto 147 metric 30 onlink',
    'default via 198.51.100.1 dev eth0 table main proto 147 metric 30 onlink',
    'default via 203.0.113.1 dev eth1 table 9400 proto 147 metric 31 onlink',
    'default via 203.0.113.1 dev eth1 table main proto 147 metric 31 onlink',
    `pref 9410 oif eth0 lookup ${FIBRE} proto 147`,
    `pref 9500 fwmark ${FIBRE_MARK} lookup ${FIBRE} proto 147`,
    `pref 9550 from 198.51.100.2/32 lookup ${FIBRE} proto 147`,
    `pref 9410 oif eth1 lookup ${CABLE} proto 147`,
    `pref 9500 fwmark ${CABLE_MARK} lookup ${CABLE} proto 147`,
    `pref 9550 from 203.0.113.2/32 lookup ${CABLE} proto 147`,
    'pref 9450 lookup main suppress_prefixlength 0 proto 147',
    'pref 9600 lookup 9400 proto 147',
  ]);
});

test('equal priorities are one multipath route by weight; alone in its rank a weight means nothing', () => {
  const facts = factsOf(['fibre', 'cable']);
  const shared = steering(wished(TWO, facts, 'fibre+cable'), ACTIVE_TABLE).map((route) => showRoute(route, facts.links));
  assert.deepEqual(shared, ['default nexthop via 198.51.100.1 dev eth0 weight 3 onlink nexthop via 203.0.113.1 dev eth1 weight 1 onlink table 9400 proto 147 metric 30']);
  const alone = steering(wished(TWO, { ...facts, links: [linkOf('fibre'), linkOf('cable', { adminUp: false })] }, 'fibre+cable'), ACTIVE_TABLE);
  assert.deepEqual(alone.map((route) => [route.metric, route.hops.map((hop) => hop.weight)]), [[30, [1]]]);
});

test('before the first decision nothing steers, but everything stands ready', () => {
  const wish = wished(TWO, factsOf(['fibre', 'cable']), undefined);
  assert.deepEqual([...steering(wish, ACTIVE_TABLE), ...steering(wish, MAIN_TABLE)], []);
  assert.equal(wish.rules.length, 8);
});

test('a suspect keeps its rules, a dead uplink keeps its device rule alone, once something better is installed', () => {
  const facts = factsOf(['fibre', 'cable']);
  assert.deepEqual(preferences(wished(TWO, facts, 'cable', { fibre: 'suspect', cable: 'up' }), 'fibre'), [9410, 9500, 9550]);
  assert.deepEqual(preferences(wished(TWO, facts, 'cable', { fibre: 'down', cable: 'up' }), 'fibre'), [9410]);
  assert.deepEqual(preferences(wished(TWO, facts, 'fibre>cable', { fibre: 'down', cable: 'down' }), 'fibre'), [9410, 9500, 9550], 'nothing better is left');
  assert.deepEqual(preferences(wished(TWO, facts, '', { fibre: 'down', cable: 'down' }), 'fibre'), [9410, 9500, 9550], 'all are cut off');
  assert.deepEqual(preferences(wished(TWO, { ...facts, links: [linkOf('cable')] }, 'cable', { fibre: 'down', cable: 'up' }), 'fibre'), [9410], 'rules name devices, so they outlive them');
});

test('two uplinks with the same address: it says nothing about the line, so no rule takes it for one', () => {
  const same = { address: '192.168.1.2' };
  const facts = factsOf([], { links: [linkOf('fibre'), linkOf('cable')], addresses: [addressOf('fibre', same), addressOf('cable', same)] });
  const wish = wished(TWO, facts, 'fibre>cable');
  assert.deepEqual([preferences(wish, 'fibre'), preferences(wish, 'cable')], [[9410, 9500], [9410, 9500]]);
});

test('two uplinks with the same gateway address are told apart by their device', () => {
  const policy = policyOf([uplinkPolicy('fibre', { gateway: { address: '100.64.0.1' } }), uplinkPolicy('cable', { gateway: { address: '100.64.0.1' } })]);
  const facts = factsOf(['fibre', 'cable']);
  assert.deepEqual(steering(wished(policy, facts, 'fibre>cable'), ACTIVE_TABLE).map((route) => route.hops.map((hop) => [hop.via, hop.ifindex])), [[['100.64.0.1', 2]], [['100.64.0.1', 3]]]);
});

test('an address that stands twice on its device has one rule, and a prefix one route', () => {
  const facts = factsOf(['cable'], { links: [linkOf('fibre'), linkOf('cable')], addresses: [addressOf('fibre'), addressOf('fibre', { prefixLength: 32 }), addressOf('fibre', { address: '198.51.100.9' })] });
  const wish = wished(TWO, facts, 'fibre');
  assert.deepEqual(wish.rules.filter((rule) => rule.from !== '').map((rule) => rule.from), ['198.51.100.2/32', '198.51.100.9/32']);
  assert.deepEqual(steering(wish, FIBRE).map((route) => route.destination), ['198.51.100.0/24', 'default']);
});

test('a point-to-point line has no gateway, and its routes are those of a link', () => {
  const policy = policyOf([uplinkPolicy('fibre', { gateway: 'none', interface: 'ppp0' })]);
  const facts = factsOf([], { links: [linkOf('fibre', { name: 'ppp0' })], addresses: [addressOf('fibre', { prefixLength: 32, peer: '10.0.0.1' })] });
  const wish = wished(policy, facts, 'fibre');
  assert.deepEqual(wish.routes.map((route) => showRoute(route, facts.links)), [
    `default dev ppp0 table ${FIBRE} proto 147`, 'default dev ppp0 table 9400 proto 147 metric 30', 'default dev ppp0 table main proto 147 metric 30',
  ]);
  assert.deepEqual(wish.routes.map((route) => route.scope), [253, 253, 253]);
  assert.equal(lineOf(policy.uplinks[0]!, facts, 4, NOTHING_LEARNT).severed, '');
});

test('no route is asked for through a device that is off, has no address, or is gone', () => {
  for (const changes of [{ links: [linkOf('fibre', { adminUp: false })] }, { addresses: [] }, { links: [] }, { addresses: [addressOf('fibre', { scope: 253 })] }]) {
    assert.deepEqual(wished(policyOf([uplinkPolicy('fibre')]), factsOf(['fibre'], changes), 'fibre').routes, []);
  }
});

test('metrics keep clear of foreign defaults, and of the bridge below them', () => {
  const base = (...metrics: readonly number[]): number => metricBase(factsOf(['fibre'], { foreignDefaults: metrics.map((metric) => foreignDefault('fibre', metric)) }), 4);
  assert.deepEqual([base(), base(0), base(27), base(94), base(600)], [30, 30, 30, 30, 30]);
  assert.deepEqual([base(28), base(29), base(30), base(93), base(100, 100)], [130, 130, 130, 130, 30]);
  assert.deepEqual([base(30, 130), base(31, 140, 233)], [230, 330]);
  assert.equal(base(...METRIC_BASES), 30, 'all taken: the kernel will refuse, and say so');
  const facts = factsOf(['fibre', 'cable'], { foreignDefaults: [foreignDefault('fibre', 30)] });
  assert.deepEqual(steering(wished(TWO, facts, 'fibre>cable'), MAIN_TABLE).map((route) => route.metric), [130, 131]);
});

test('everything wished carries our protocol, and nothing depends on the order of the config', () => {
  const facts = factsOf(['fibre', 'cable']);
  const wish = wished(TWO, facts, 'fibre>cable');
  assert.deepEqual([...new Set([...wish.routes, ...wish.rules].map((item) => item.protocol))], [OUR_PROTOCOL]);
  const turned = wished({ ...TWO, uplinks: [...TWO.uplinks].reverse() }, facts, 'fibre>cable');
  assert.deepEqual(shown(turned, facts).toSorted(), shown(wish, facts).toSorted());
});

const planes = (facts: KernelFacts) => new Map([[4, planeOf(TWO, facts, 4, undefined)]]);

test('the host: NAT and marks for every uplink, forwarding only where there is a LAN', () => {
  const { nat, sysctls } = desireHost(TWO, planes(factsOf(['fibre', 'cable'])));
  assert.deepEqual(nat.lines.map((line) => [line.interface, line.mark.toString(16), line.translate[4].kind]), [['eth0', FIBRE_MARK!.slice(2, -7), 'masquerade'], ['eth1', CABLE_MARK!.slice(2, -7), 'masquerade']]);
  const value = (path: string, policy = TWO): string | undefined => desireHost(policy, planes(factsOf(['fibre', 'cable']))).sysctls.find((wish) => wish.path === path)?.value;
  assert.deepEqual([value('net/ipv4/ip_forward'), value('net/ipv4/conf/eth0/ignore_routes_with_linkdown')], ['1', '1']);
  assert.equal(value('net/ipv4/ip_forward', { ...TWO, lanInterfaces: [] }), undefined);
  assert.deepEqual(sysctls.filter(({ path }) => path.startsWith('net/ipv6') && !path.endsWith('accept_ra')), [], 'IPv6 is left alone where no uplink has it');
});

test('lines in one network: each port answers ARP for its own address alone; lines in different ones are left as they are', () => {
  const arp = (...addresses: readonly ReturnType<typeof addressOf>[]): readonly string[] => desireHost(TWO, planes(factsOf(['fibre', 'cable'], { addresses })))
    .sysctls.filter(({ path }) => path.includes('/arp_')).map(({ path, value }) => `${path.split('/').slice(3).join(' ')} ${value}`);
  const [fibre, cable, shared] = [addressOf('fibre'), addressOf('cable'), addressOf('cable', { address: '198.51.100.3' })];
  const both = ['eth0 arp_ignore 1', 'eth0 arp_announce 2', 'eth1 arp_ignore 1', 'eth1 arp_announce 2'];
  assert.deepEqual([arp(fibre, cable), arp(fibre, shared), arp(fibre, cable, shared), arp(fibre, { ...shared, prefixLength: 32 })], [[], both, both, both]);
});

test('probe lines name the device as it is now', () => {
  const { health } = planeOf(TWO, factsOf(['fibre']), 4, undefined);
  assert.deepEqual(probeLines(health.values(), DEFAULT_MARK_MASK), [
    { uplink: 'fibre', family: 4, interface: 'eth0', ifindex: 2, source: '198.51.100.2', gateway: '198.51.100.1', mark: markOf(health.get('fibre')!.policy.slot, DEFAULT_MARK_MASK) }, { uplink: 'cable', family: 4, interface: 'eth1', ifindex: 0, source: '', gateway: '', mark: markOf(health.get('cable')!.policy.slot, DEFAULT_MARK_MASK) },
  ]);
});

test('slots: the one it had, else one made of the name, never of the position', () => {
  const names = ['fibre', 'cable', 'lte'];
  const first = assignSlots(names, new Map());
  assert.deepEqual(assignSlots([...names].reverse(), new Map()), new Map([...first].sort(([a], [b]) => (a < b ? 1 : -1))), 'the order of the config changes nothing');
  assert.deepEqual(assignSlots(['lte'], first).get('lte'), first.get('lte'));
  const taken = new Map([['old', first.get('fibre')!]]);
  assert.equal(assignSlots(['old', 'fibre'], taken).get('old'), first.get('fibre'));
  assert.notEqual(assignSlots(['old', 'fibre'], taken).get('fibre'), first.get('fibre'));
  const many = assignSlots(Array.from({ length: 126 }, (_, i) => `uplink${i}`), new Map());
  assert.equal(new Set(many.values()).size, 126);
  assert.throws(() => assignSlots(Array.from({ length: 127 }, (_, i) => `uplink${i}`), new Map()), RangeError);
});

test('marks fill their mask from its lowest bit, wherever it lies', () => {
  assert.deepEqual([markOf(1, 0x3f80), markOf(127, 0x3f80), markOf(1, 0x7f), markOf(127, 0xfe000000), markOf(5, 0x7f000000)], [0x80, 0x3f80, 1, 0xfe000000, 0x5000000]);
});
