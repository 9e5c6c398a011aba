/** Lines as people have them: modems that swap names, two families, prefixes, sizes. What is written, what it means, what is told. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compile } from '../../src/config/compile.js';
import { showProblem } from '../../src/config/load.js';
import type { Policy, UplinkPolicy } from '../../src/model.js';

function load(text: string, profile = ''): Policy | string {
  const loaded = compile({ file: 'c', text }, () => ({ file: 'p', text: profile }), new Map());
  return 'config' in loaded ? loaded.config.policy : loaded.problems.map((problem) => showProblem(problem).replace(/^c:/, '')).join('\n');
}

/** The only uplink of such keys. */
function lineOf(keys: string, rest = ''): UplinkPolicy {
  const policy = load(`uplinks: { a: { interface: eth0, ${keys} } }\n${rest}`);
  if (typeof policy === 'string') throw new Error(policy);
  return policy.uplinks[0]!;
}

function told(keys: string, rest = ''): string {
  const answer = load(`uplinks: { a: { interface: eth0, ${keys} } }\n${rest}`);
  return typeof answer === 'string' ? answer.replace(/^1: uplinks\.a\./gm, '') : 'none';
}

function cases(table: readonly (readonly [written: string, told: string])[], answer: (written: string) => string): void {
  for (const [written, expected] of table) assert.equal(answer(written), expected, `for ${JSON.stringify(written)}`);
}

test('a device whose name moves is found by its MAC address, its place, or both', () => {
  const found = (match: string): unknown => {
    const policy = load(`uplinks: { lte: { match: { ${match} } } }`);
    return typeof policy === 'string' ? policy.replace('1: uplinks.lte.', '') : [policy.uplinks[0]?.interface, policy.uplinks[0]?.match];
  };
  assert.deepEqual(found('mac: 02:00:00:00:00:0a'), ['', { mac: '02:00:00:00:00:0a', path: '' }]);
  assert.deepEqual(found('path: pci-0000:00:14.0-usb-0:2:1.0'), ['', { mac: '', path: 'pci-0000:00:14.0-usb-0:2:1.0' }]);
  assert.deepEqual(found('mac: 02:00:00:00:00:0a, path: platform-fd500000.pcie'), ['', { mac: '02:00:00:00:00:0a', path: 'platform-fd500000.pcie' }]);
  assert.equal(found(''), 'match: nothing is written here: write `mac` or `path`');
  assert.equal(found('mac: 02-00-00-00-00-0A'), 'match.mac: `02-00-00-00-00-0A` is not written as Linux does: write `02:00:00:00:00:0a`');
  assert.deepEqual(found('mac: 02:00:00:00:00:0A'), ['', { mac: '02:00:00:00:00:0a', path: '' }]);
  assert.equal(found('mac: 02:00:00:00:00'), 'match.mac: `02:00:00:00:00` is not a MAC address: write six pairs of hexadecimal digits, such as `02:00:00:00:00:01`');
  assert.equal(found('mac: ff:ff:ff:ff:ff:ff'), 'match.mac: `ff:ff:ff:ff:ff:ff` belongs to no device: write the one that `ip link` shows for it');
  assert.equal(found('path: pci-*'), 'match.path: `pci-*` is a pattern, and one device is meant: write the whole path, `udevadm info -q property -p /sys/class/net/NAME` shows it as ID_PATH');
  assert.equal(found('path: ID_PATH=pci-1'), 'match.path: write `pci-1`, without `ID_PATH=`');
  assert.equal(found('name: wwan0'), 'match.name: `name` is not known here; known are `mac` and `path`');
});

test('a device is named in one way', () => {
  assert.equal(told('match: { mac: 02:00:00:00:00:01 }'), 'match: `match` stands beside `interface`: write one of the two');
  assert.equal(load('uplinks:\n  a: { match: { path: usb-1 } }\n  b: { match: { path: usb-1 } }\n'),
    '3: uplinks.b.match: `usb-1` is the device of uplink `a` already (line 2): each uplink needs one of its own, for two providers on one port a VLAN each');
  const profile = 'uplinks: { lte: { interface: wwan0, priority: 7 } }';
  const policy = load('profile: p\nuplinks: { lte: { match: { path: usb-1 } } }', profile);
  assert.ok(typeof policy !== 'string');
  assert.deepEqual([policy.uplinks[0]?.interface, policy.uplinks[0]?.match?.path, policy.uplinks[0]?.priority], ['', 'usb-1', 7]);
});

test('the gateway of IPv6 is one host, mostly link-local and without its device', () => {
  const gateway = (text: string): string => told(`gateway6: '${text}'`).replace('gateway6: ', '');
  assert.deepEqual(lineOf('gateway6: FE80:0::1').gateways[6], { address: 'fe80::1' });
  cases([
    ['auto', 'none'], ['none', 'none'], ['2001:db8::1', 'none'],
    ['fe80::1%eth0', '`fe80::1%eth0` names a device: write `fe80::1`, the uplink\'s own device is meant'],
    ['198.51.100.1', '`198.51.100.1` is an IPv4 address: write it as `gateway`, and here an IPv6 address, `auto` or `none`'],
    ['::', '`::` is no host\'s address and cannot be a gateway'],
    ['ff02::2', '`ff02::2` is a multicast address and cannot be a gateway'],
    ['::ffff:192.0.2.1', '`::ffff:192.0.2.1` is an IPv4 address in the clothes of IPv6 (::ffff:0:0/96) and cannot be a gateway'],
    ['2001:db8::/64', '`2001:db8::/64` is a network, a gateway is one host: write its address without `/64`'],
    ['2001:db8', '`2001:db8` is not an IPv6 address: it needs eight groups of hexadecimal digits, or `::` for one run of zeros, such as `2001:db8::1`'],
    ['ra', 'write `auto`, not `ra`: it learns the gateway however it is told'],
  ], gateway);
});

test('a target may be of either family, and is known by one spelling', () => {
  const probe = (text: string): string => told('weight: 1', `probe: { targets: [${text}] }`).replace('2: probe.targets', '');
  assert.deepEqual(lineOf('probe: { targets: [icmp: 2620:FE:0::fe] }').probe.targets, [
    { id: 'icmp 2620:fe::fe', families: [6], intervalMs: undefined, kind: 'icmp', host: '2620:fe::fe', sizeBytes: 0 },
  ]);
  cases([
    ['icmp: gateway, icmp: 2620:fe::fe', 'none'],
    ['icmp: 2620:fe::fe, icmp: 2620:fe:0::fe', '[1].icmp: `icmp 2620:fe::fe` is asked twice, first on line 2: take one away, the answers would count as one'],
    ['icmp: fe80::1', '[0].icmp: `fe80::1` is a link-local address (fe80::/10) and cannot be a target'],
  ], probe);
});

test('IPv6 is translated by prefix where both are written, else as IPv4 is', () => {
  const lan = 'lan: { prefix6: fd00:1::/48 }';
  const both = 'prefix6: 2001:db8:1::/48';
  const kinds = (keys: string, rest = ''): unknown => { const { translate } = lineOf(keys, rest); return [translate[4], translate[6]]; };
  const prefix = { kind: 'prefix', from: 'fd00:1::/48', to: '2001:db8:1::/48' };
  assert.deepEqual(kinds(both, lan), [{ kind: 'masquerade' }, prefix]);
  assert.deepEqual(kinds(`${both}, masquerade: false`, lan), [{ kind: 'none' }, prefix]);
  assert.deepEqual(kinds(`${both}, masquerade6: false`, lan), [{ kind: 'masquerade' }, { kind: 'none' }]);
  assert.deepEqual(kinds(`${both}, masquerade6: true`, lan), [{ kind: 'masquerade' }, { kind: 'masquerade' }]);
  assert.deepEqual(kinds(both), [{ kind: 'masquerade' }, { kind: 'masquerade' }]);
  assert.deepEqual(kinds('masquerade: false'), [{ kind: 'none' }, { kind: 'none' }]);
  assert.deepEqual(kinds('masquerade: 203.0.113.9'), [{ kind: 'address', address: '203.0.113.9' }, { kind: 'masquerade' }]);
  assert.deepEqual(kinds('masquerade6: 2001:db8::9'), [{ kind: 'masquerade' }, { kind: 'address', address: '2001:db8::9' }]);
  assert.equal(lineOf(both).prefix6, '2001:db8:1::/48');
  assert.deepEqual([kinds('prefix6: auto', lan), lineOf('prefix6: auto').prefix6], [[{ kind: 'masquerade' }, { ...prefix, to: '' }], 'auto'], 'learnt');
  assert.deepEqual(kinds('prefix6: auto, masquerade6: false', lan), [{ kind: 'masquerade' }, { kind: 'none' }]);
});

test('prefixes that do not fit each other are told with what to write', () => {
  const lan = 'lan: { prefix6: fd00:1::/48 }';
  assert.equal(told('masquerade6: prefix'), 'masquerade6: a prefix can be put in place of another only where both are known: write `prefix6` of `a` (what the provider routes to us) and `lan.prefix6` (the LAN\'s own)');
  assert.match(told('prefix6: auto, masquerade6: prefix'), /^masquerade6: .*write `lan\.prefix6`/);
  assert.equal(told('masquerade6: prefix', lan), 'masquerade6: a prefix can be put in place of another only where both are known: write `prefix6` of `a` (what the provider routes to us)');
  assert.equal(told('prefix6: 2001:db8:1::/56', lan), 'prefix6: a prefix is put in place of one of the same length, and `2001:db8:1::/56` and `lan.prefix6` `fd00:1::/48` differ: write a `/56` of the LAN\'s, or `masquerade6: true`');
  assert.equal(told('prefix6: fd00:1::/48', lan), 'prefix6: `fd00:1::/48` is `lan.prefix6` too, so there is nothing to translate: write `masquerade6: false`, or the LAN\'s own prefix there');
  cases([
    ['2001:db8:1::', '`2001:db8:1::` has no length: write one such as `2001:db8:1::/48`'],
    ['2001:db8:1::5/48', '`2001:db8:1::5/48` is a host and not the beginning of a network: write `2001:db8:1::/48` for the network, or `2001:db8:1::5` for the host'],
    ['192.0.2.0/24', '`192.0.2.0/24` is IPv4, and a prefix of IPv6 is wanted: write one such as `2001:db8:1::/48`'],
    ['fe80::/64', '`fe80::/64` is a link-local address (fe80::/10) and numbers no hosts: write one such as `2001:db8:1::/48`'],
    ['2001:db8::1/128', '`/128` is too small a network: `/16` to `/126` are possible'],
    ['2001:db8::/129', '`/129` is not a prefix length of IPv6: it goes from `/0` to `/128`'],
    ['learnt', '`learnt` is not an IPv6 prefix: write one such as `2001:db8:1::/48`'],
  ], (text) => told(`prefix6: '${text}'`).replace('prefix6: ', ''));
});

test('the far end of a tunnel is an address or a few', () => {
  assert.deepEqual(lineOf('endpoint: 192.0.2.77').endpoints, ['192.0.2.77']);
  assert.deepEqual(lineOf('endpoint: [192.0.2.77, 2001:db8::7]').endpoints, ['192.0.2.77', '2001:db8::7']);
  assert.equal(lineOf('priority: 1').endpoints, undefined);
  assert.match(told('remote: 192.0.2.77'), /endpoint/);
  assert.match(told('endpoint: vpn.example.com'), /^endpoint: /);
});

test('an MTU stands for an MSS, which may be written too', () => {
  assert.deepEqual(['mtu: 1492', 'mtu: auto', 'mss: off', 'mss: 1300', 'mtu: 1492, mss: auto', 'mtu: 1500, mss: 1400'].map((keys) => lineOf(keys).mss), [1452, 'auto', 'off', 1300, 'auto', 1400]);
  assert.equal(told('mtu: 1492, mss: 1460'), 'mss: 1460 bytes and 40 of headers are more than `mtu: 1492`: write `mss: 1452` or less, or take it away');
  assert.equal(told('mtu: 500'), 'mtu: `500` is too small: write `auto` or a whole number from 576 to 9216');
  assert.equal(told('mss: clamp'), 'mss: `clamp` is not `auto`, `off` or a whole number from 500 to 9176');
});

test('a drain deadline needs flows that move', () => {
  const drain = (failback: string, profile = ''): string => { const answer = load(`${profile === '' ? '' : 'profile: p\n'}uplinks: { a: { interface: eth0 } }\nfailback: { ${failback} }`, profile); return typeof answer === 'string' ? answer : 'none'; };
  assert.equal(drain('flows: move, drainDeadline: 0s'), 'none');
  assert.equal(drain('drainDeadline: 5m'), '2: failback.drainDeadline: running connections stay until they end, so there is no deadline: write `flows: move` beside it, or take it away');
  assert.equal(drain('flows: keep', 'failback: { flows: move, drainDeadline: 5m }'), 'none', 'the deadline of a profile is no slip of who keeps the flows');
});
