/** What the kernel says of a line, and where its packets go next: written down, learnt, kept, followed; in each family. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { desire } from '../../src/core/desire.js';
import { learn, type Learnt } from '../../src/core/gateway.js';
import { ACTIVE_TABLE } from '../../src/core/layout.js';
import { lineOf, takesPart } from '../../src/core/line.js';
import type { Family, GatewayPolicy, KernelFacts, Policy } from '../../src/model.js';
import { addressOf, dualFacts, factsOf, foreignDefault, linkLocal, linkOf, policyOf, uplinkPolicy } from './fixture.js';
import { decided, groundOf, inTable as steering, NOTHING_LEARNT, wished } from './ground.js';

test('a line is severed for a reason that says what to do', () => {
  const severed = (changes: Partial<KernelFacts>, gateway?: 'auto'): string => lineOf(uplinkPolicy('fibre', gateway === undefined ? {} : { gateway }), factsOf(['fibre'], changes), 4, NOTHING_LEARNT).severed;
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
  assert.equal(lineOf(auto, facts, 4, NOTHING_LEARNT).gateway, '198.51.100.1');
});

test('gateway auto: remembered while the device keeps its address, whoever deletes the route that taught it', () => {
  const auto = uplinkPolicy('fibre', { gateway: 'auto' });
  const policy = policyOf([auto]);
  const taught = factsOf(['fibre'], { foreignDefaults: [foreignDefault('fibre', 100)] });
  const learnt = new Map<string, Learnt>();
  learn(learnt, policy, taught);
  const gatewayIn = (facts: KernelFacts): string => {
    learn(learnt, policy, facts);
    const line = lineOf(auto, facts, 4, learnt);
    return line.severed === '' ? line.gateway : line.severed;
  };
  assert.equal(gatewayIn(factsOf(['fibre'])), '198.51.100.1');
  assert.equal(gatewayIn(factsOf(['fibre'], { links: [linkOf('fibre', { index: 77 })], addresses: [addressOf('fibre', { ifindex: 77 })] })), '198.51.100.1', 'made anew');
  assert.equal(gatewayIn(factsOf(['fibre'], { addresses: [addressOf('fibre', { address: '10.9.8.7' })] })), 'no gateway is known for eth0', 'another network');
  assert.equal(gatewayIn(factsOf(['fibre'], { foreignDefaults: [foreignDefault('fibre', 100, { hops: [{ ifindex: 2, via: '198.51.100.254', weight: 1, onlink: false }] })] })), '198.51.100.254', 'the kernel is always right');
  const wish = desire({ ...groundOf(policy, factsOf(['fibre']), decided('fibre')), learnt });
  assert.deepEqual(steering(wish, ACTIVE_TABLE).map((route) => route.hops[0]!.via), ['198.51.100.254']);
});

test('gateway auto: the uplink\'s own table remembers it over a restart, for the address it was made for', () => {
  const policy = policyOf([uplinkPolicy('fibre', { gateway: 'auto' })]);
  const left = wished(policyOf([uplinkPolicy('fibre')]), factsOf(['fibre']), 'fibre').routes;
  const learnt = new Map<string, Learnt>();
  learn(learnt, policy, factsOf(['fibre'], { routes: left }));
  assert.deepEqual(learnt.get('fibre 4'), { address: '198.51.100.2', via: '198.51.100.1', source: '' });
  const other = new Map<string, Learnt>();
  learn(other, policy, factsOf(['fibre'], { routes: left, addresses: [addressOf('fibre', { address: '198.51.100.3' })] }));
  assert.equal(other.size, 0);
});

const AUTO = policyOf([uplinkPolicy('fibre', { gateway: 'auto' })]);
const via = (address: string, family: Family): Partial<ReturnType<typeof foreignDefault>> => ({ family, hops: [{ ifindex: 2, via: address, weight: 1, onlink: false }] });

/** The gateway in each of these facts, which come one after the other; else why there is none. */
function followed(policy: Policy, family: Family, story: readonly KernelFacts[]): readonly string[] {
  const learnt = new Map<string, Learnt>();
  return story.map((facts) => {
    learn(learnt, policy, facts);
    const line = lineOf(policy.uplinks[0]!, facts, family, learnt);
    return line.severed === '' ? line.gateway : line.severed;
  });
}

test('a gateway is learnt in each family for itself, kept when the route that taught it goes, and followed when it moves', () => {
  const six = (changes: Partial<KernelFacts> = {}): KernelFacts => dualFacts(['fibre'], ['fibre'], changes);
  const defaults = [foreignDefault('fibre', 100), foreignDefault('fibre', 1024, { family: 6 })];
  const story = [six({ foreignDefaults: defaults }), six({ foreignDefaults: [] }), six({ foreignDefaults: [foreignDefault('fibre', 100, via('fe80::99', 6))] })];
  assert.deepEqual(followed(AUTO, 6, story), ['fe80::1', 'fe80::1', 'fe80::99']);
  assert.deepEqual(followed(AUTO, 4, story), ['198.51.100.1', '198.51.100.1', '198.51.100.1'], 'the other family goes on');
});

test('IPv6: of two routers that advertise themselves the better one is taken', () => {
  const facts = dualFacts(['fibre'], ['fibre'], { foreignDefaults: [foreignDefault('fibre', 1024, via('fe80::2', 6)), foreignDefault('fibre', 512, via('fe80::3', 6)), foreignDefault('fibre', 5)] });
  assert.deepEqual(followed(AUTO, 6, [facts]), ['fe80::3']);
});

test('IPv6: a device that was off has no address, and its old gateway again with its old address', () => {
  const off = factsOf(['fibre'], { links: [linkOf('fibre', { adminUp: false, carrier: false })] });
  const nothing = factsOf(['fibre'], { addresses: [addressOf('fibre'), linkLocal('fibre')] });
  const other = dualFacts(['fibre'], [], { addresses: [addressOf('fibre', { family: 6, address: '2001:db8:77::2' })] });
  assert.deepEqual(followed(AUTO, 6, [dualFacts(['fibre']), off, nothing, dualFacts(['fibre'], ['fibre'], { foreignDefaults: [] }), other]), [
    'fe80::1', 'eth0 is switched off (ip link set eth0 up)', 'eth0 has no IPv6 address', 'fe80::1', 'no IPv6 gateway is known for eth0',
  ]);
});

test('IPv6: a renumbering keeps the line, the address that new connections may use is the line\'s', () => {
  const renumbered = dualFacts(['fibre'], ['fibre'], { addresses: [addressOf('fibre', { family: 6, deprecated: true }), addressOf('fibre', { family: 6, address: '2001:db8:8::2' })] });
  assert.equal(lineOf(AUTO.uplinks[0]!, renumbered, 6, NOTHING_LEARNT).address, '2001:db8:8::2');
  assert.equal(lineOf(AUTO.uplinks[0]!, dualFacts(['fibre']), 6, NOTHING_LEARNT).address, '2001:db8:1::2', 'and never the link-local one');
});

test('a default with several hops teaches each of its lines its own gateway', () => {
  const policy = policyOf([uplinkPolicy('fibre', { gateway: 'auto' }), uplinkPolicy('cable', { gateway: 'auto' })]);
  const hop = (ifindex: number, address: string) => ({ ifindex, via: address, weight: 1, onlink: false });
  const facts = factsOf(['fibre', 'cable'], { foreignDefaults: [foreignDefault('fibre', 10, { hops: [hop(2, '198.51.100.7'), hop(3, '203.0.113.7')] })] });
  assert.deepEqual(policy.uplinks.map((uplink) => lineOf(uplink, facts, 4, NOTHING_LEARNT).gateway), ['198.51.100.7', '203.0.113.7']);
});

test('two lines with one gateway, as two modems of one make have: each keeps its own device', () => {
  const policy = policyOf([uplinkPolicy('fibre', { gateway: 'auto' }), uplinkPolicy('cable', { gateway: 'auto' })]);
  const facts = dualFacts(['fibre', 'cable']);
  assert.deepEqual(policy.uplinks.map((uplink) => lineOf(uplink, facts, 6, NOTHING_LEARNT)).map(({ ifindex, gateway }) => [ifindex, gateway]), [[2, 'fe80::1'], [3, 'fe80::1']]);
  assert.deepEqual(steering(wished(policy, facts, 'fibre>cable', {}, 6), ACTIVE_TABLE).map((route) => [route.hops[0]!.ifindex, route.hops[0]!.via]), [[2, 'fe80::1'], [3, 'fe80::1']]);
});

test('who takes part: IPv4 always, IPv6 where it is written down or where the line has an address and a way out', () => {
  const takes = (facts: KernelFacts, gateway6: GatewayPolicy = 'auto', family: Family = 6): boolean =>
    takesPart(uplinkPolicy('fibre', { gateway6 }), facts, family, NOTHING_LEARNT);
  const alone = factsOf(['fibre'], { addresses: [addressOf('fibre', { family: 6 })] });
  assert.deepEqual([takes(factsOf([]), 'auto', 4), takes(factsOf(['fibre'], { addresses: [] }), 'auto', 4)], [true, true], 'IPv4');
  assert.deepEqual([takes(dualFacts(['fibre'])), takes(factsOf(['fibre'])), takes(alone), takes(dualFacts([], ['fibre']))], [true, false, false, false], 'auto');
  assert.equal(takes(factsOf(['fibre'], { addresses: [linkLocal('fibre')], foreignDefaults: [foreignDefault('fibre', 1024, { family: 6 })] })), false, 'every device has a link-local address');
  assert.deepEqual([takes(factsOf([]), { address: 'fe80::1' }), takes(factsOf(['fibre']), { address: 'fe80::1' })], [true, true], 'written down: its absence is news');
  assert.deepEqual([takes(alone, 'none'), takes(factsOf(['fibre']), 'none')], [true, false], 'point-to-point: an address is enough, and most have none');
});
