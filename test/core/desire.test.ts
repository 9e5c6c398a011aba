/** The whole wish for the kernel, as the `ip` commands that would make it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { desire, desireHost, lineOf, metricBase, probeLines } from '../../src/core/desire.js';
import { learn, recall, type Learnt } from '../../src/core/gateway.js';
import { ACTIVE_TABLE, assignSlots, MAIN_TABLE, markOf, METRIC_BASES, OUR_PROTOCOL, tableOf } from '../../src/core/layout.js';
import { showRoute, showRule } from '../../src/core/plan.js';
import type { Decision, KernelFacts, Policy, Route, UplinkState, Verdict, Wish } from '../../src/model.js';
import { addressOf, at, factsOf, foreignDefault, linkOf, policyOf, uplinkPolicy } from './fixture.js';

const TWO = policyOf([uplinkPolicy('fibre'), uplinkPolicy('cable')]);
const NOTHING_LEARNT: ReadonlyMap<string, Learnt> = new Map();
const [FIBRE, CABLE] = [tableOf(TWO.uplinks[0]!.slot), tableOf(TWO.uplinks[1]!.slot)];
const [FIBRE_MARK, CABLE_MARK] = TWO.uplinks.map((uplink) => `0x${markOf(uplink.slot, TWO.markMask).toString(16)}/0x3f80`);

/** `fibre>cable`, `fibre+cable`. */
function decided(ranks: string): Decision {
  const rankOf = (names: string): Decision['ranks'][number] => ({ members: names.split('+').map((uplink) => ({ uplink, weight: uplink === 'fibre' ? 3 : 1 })) });
  return { ranks: ranks === '' ? [] : ranks.split('>').map(rankOf), generation: 1, since: at(0), because: 'a test', rule: 'automatic', order: '' };
}

function verdicts(states: Readonly<Record<string, UplinkState>>): ReadonlyMap<string, Verdict> {
  return new Map(Object.entries(states).map(([uplink, state]) => [uplink, { uplink, state, since: at(0), because: '', domain: 'none', severed: false, inDoubt: false, holdUntil: undefined }]));
}

function wished(policy: Policy, facts: KernelFacts, ranks: string | undefined, states: Readonly<Record<string, UplinkState>> = {}): Wish {
  return desire(policy, facts, NOTHING_LEARNT, verdicts(states), ranks === undefined ? undefined : decided(ranks));
}

function shown(wish: Wish, facts: KernelFacts): readonly string[] {
  return [...wish.routes.map((route) => showRoute(route, facts.links)), ...wish.rules.map(showRule)];
}

const steering = (wish: Wish, table: number): readonly Route[] => wish.routes.filter((route) => route.table === table);
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
  assert.equal(lineOf(policy.uplinks[0]!, facts).severed, '');
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

test('a line is severed for a reason that says what to do', () => {
  const severed = (changes: Partial<KernelFacts>, gateway?: 'auto'): string => lineOf(uplinkPolicy('fibre', gateway === undefined ? {} : { gateway }), factsOf(['fibre'], changes)).severed;
  assert.deepEqual([
    severed({}), severed({ links: [] }), severed({ links: [linkOf('fibre', { adminUp: false, carrier: false })] }), severed({ links: [linkOf('fibre', { carrier: false })] }),
    severed({ addresses: [] }), severed({}, 'auto'),
  ], [
    '', 'there is no interface eth0', 'eth0 is switched off (ip link set eth0 up)', 'no carrier on eth0', 'eth0 has no address', 'no gateway is known for eth0',
  ]);
});

test('gateway auto: learnt from the best default of somebody else through that device', () => {
  const auto = uplinkPolicy('fibre', { gateway: 'auto' });
  const via = (address: string) => ({ hops: [{ ifindex: 2, via: address, weight: 1, onlink: false }] });
  const facts = factsOf(['fibre', 'cable'], { foreignDefaults: [foreignDefault('cable', 5), foreignDefault('fibre', 200, via('198.51.100.9')), foreignDefault('fibre', 100)] });
  assert.equal(lineOf(auto, facts).gateway, '198.51.100.1');
});

test('gateway auto: remembered while the device keeps its address, whoever deletes the route that taught it', () => {
  const auto = uplinkPolicy('fibre', { gateway: 'auto' });
  const policy = policyOf([auto]);
  const taught = factsOf(['fibre'], { foreignDefaults: [foreignDefault('fibre', 100)] });
  const learnt = new Map<string, Learnt>();
  learn(learnt, policy, taught);
  const gatewayIn = (facts: KernelFacts): string => {
    learn(learnt, policy, facts);
    const line = lineOf(recall(learnt, auto, facts), facts);
    return line.severed === '' ? line.gateway : line.severed;
  };
  assert.equal(gatewayIn(factsOf(['fibre'])), '198.51.100.1');
  assert.equal(gatewayIn(factsOf(['fibre'], { links: [linkOf('fibre', { index: 77 })], addresses: [addressOf('fibre', { ifindex: 77 })] })), '198.51.100.1', 'made anew');
  assert.equal(gatewayIn(factsOf(['fibre'], { addresses: [addressOf('fibre', { address: '10.9.8.7' })] })), 'no gateway is known for eth0', 'another network');
  assert.equal(gatewayIn(factsOf(['fibre'], { foreignDefaults: [foreignDefault('fibre', 100, { hops: [{ ifindex: 2, via: '198.51.100.254', weight: 1, onlink: false }] })] })), '198.51.100.254', 'the kernel is always right');
  const wish = desire(policy, factsOf(['fibre']), learnt, new Map(), decided('fibre'));
  assert.deepEqual(steering(wish, ACTIVE_TABLE).map((route) => route.hops[0]!.via), ['198.51.100.254']);
});

test('gateway auto: the uplink\'s own table remembers it over a restart, for the address it was made for', () => {
  const policy = policyOf([uplinkPolicy('fibre', { gateway: 'auto' })]);
  const left = wished(policyOf([uplinkPolicy('fibre')]), factsOf(['fibre']), 'fibre').routes;
  const learnt = new Map<string, Learnt>();
  learn(learnt, policy, factsOf(['fibre'], { routes: left }));
  assert.deepEqual(learnt.get('fibre'), { address: '198.51.100.2', via: '198.51.100.1' });
  const other = new Map<string, Learnt>();
  learn(other, policy, factsOf(['fibre'], { routes: left, addresses: [addressOf('fibre', { address: '198.51.100.3' })] }));
  assert.equal(other.size, 0);
});

test('the host: NAT and marks for every uplink, forwarding only where there is a LAN', () => {
  const { nat, sysctls } = desireHost(TWO);
  assert.deepEqual(nat.lines.map((line) => [line.interface, line.mark.toString(16), line.masquerade]), [['eth0', FIBRE_MARK!.slice(2, -7), true], ['eth1', CABLE_MARK!.slice(2, -7), true]]);
  assert.equal(sysctls['net/ipv4/ip_forward'], '1');
  assert.equal(sysctls['net/ipv4/conf/eth0/ignore_routes_with_linkdown'], '1');
  assert.equal(desireHost({ ...TWO, lanInterfaces: [] }).sysctls['net/ipv4/ip_forward'], undefined);
});

test('probe lines name the device as it is now', () => {
  const lines = new Map([['fibre', lineOf(TWO.uplinks[0]!, factsOf(['fibre']))]]);
  assert.deepEqual(probeLines(TWO, lines), [
    { uplink: 'fibre', interface: 'eth0', ifindex: 2, source: '198.51.100.2' }, { uplink: 'cable', interface: 'eth1', ifindex: 0, source: '' },
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
  const many = assignSlots(Array.from({ length: 127 }, (_, i) => `uplink${i}`), new Map());
  assert.equal(new Set(many.values()).size, 127);
  assert.throws(() => assignSlots(Array.from({ length: 128 }, (_, i) => `uplink${i}`), new Map()), RangeError);
});

test('marks fill their mask from its lowest bit, wherever it lies', () => {
  assert.deepEqual([markOf(1, 0x3f80), markOf(127, 0x3f80), markOf(1, 0x7f), markOf(127, 0xfe000000), markOf(5, 0x7f000000)], [0x80, 0x3f80, 1, 0xfe000000, 0x5000000]);
});
