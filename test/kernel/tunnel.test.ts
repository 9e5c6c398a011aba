/**
 * Tunnels as the kernel tells them: from bytes as its headers have them, and from devices where this kernel has them.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { after, before, test } from 'node:test';
import { examine } from '../../src/kernel/doctor/examine.js';
import { Writer } from '../../src/kernel/netlink/codec.js';
import { parseAddress } from '../../src/kernel/netlink/inet.js';
import { openRtnetlink, type Rtnetlink } from '../../src/kernel/netlink/rtnetlink.js';
import { decodeTunnel } from '../../src/kernel/netlink/tunnel.js';
import { decodeEndpoints, openWireguard } from '../../src/kernel/netlink/wireguard.js';
import type { Rule } from '../../src/model.js';
import { madeUp, only, question, uplink } from './doctor-ground.js';
import { inNamespaces, out } from './nat-ground.js';

function bytes(write: (out: Writer) => void): Buffer {
  const writer = new Writer(4096);
  write(writer);
  return Buffer.from(writer.bytes);
}

function link(kind: string, data: readonly (readonly [type: number, value: Buffer])[]): Buffer {
  return bytes((to) => {
    to.u32(0).u32(7).u32(0).u32(0);
    to.nested(18, () => {
      to.attributeText(1, kind);
      to.nested(2, () => data.forEach(([type, value]) => to.attribute(type, value)));
    });
  });
}

test('the far end is read from where each kind has it, and a group or "any" is none', () => {
  const [near, far] = [parseAddress('198.51.100.2'), parseAddress('192.0.2.77')];
  const told = { ifindex: 7, remotes: ['192.0.2.77'], local: '198.51.100.2' };
  const kinds = { ipip: [2, 3], sit: [2, 3], gre: [6, 7], gretap: [6, 7], vti: [4, 5] } as const;
  for (const [kind, [local, remote]] of Object.entries(kinds)) {
    assert.deepEqual(decodeTunnel(link(kind, [[local, near], [remote, far]])), { ...told, kind });
  }
  assert.deepEqual(decodeTunnel(link('vxlan', [[16, parseAddress('2001:db8::7')]]))?.remotes, ['2001:db8::7']);
  assert.deepEqual(decodeTunnel(link('vxlan', [[2, parseAddress('239.1.1.1')]]))?.remotes, []);
  const unknown = { ifindex: 7, remotes: [], local: '' };
  const any = Buffer.alloc(4);
  assert.deepEqual(decodeTunnel(link('gre', [[6, any], [7, any]])), { ...unknown, kind: 'gre' });
  assert.deepEqual(decodeTunnel(link('tun', [[3, Buffer.from([1])]])), { ...unknown, kind: 'tun' });
  for (const other of [link('tun', [[3, Buffer.from([2])]]), link('veth', []), link('constructor', [])]) {
    assert.equal(decodeTunnel(other), undefined);
  }
});

test('WireGuard: the endpoints of peers in either family; a peer without one has none', () => {
  const v4 = Buffer.from('0200ca6cc000024d0000000000000000', 'hex');
  const v6 = Buffer.concat([Buffer.from('0a00ca6c00000000', 'hex'), parseAddress('2001:db8::7'), Buffer.alloc(4)]);
  const peer = (to: Writer, endpoint?: Buffer): void => void to.nested(0, () => {
    to.attribute(1, Buffer.alloc(32, 9));
    if (endpoint !== undefined) to.attribute(4, endpoint);
  });
  const body = bytes((to) => {
    to.u32(0).attributeU32(1, 7).nested(8, () => {
      peer(to, v4);
      peer(to);
      peer(to, v6);
    });
  });
  assert.deepEqual(decodeEndpoints(body), ['192.0.2.77', '2001:db8::7']);
  assert.deepEqual(decodeEndpoints(bytes((to) => to.u32(0))), []);
});

test('the doctor names the far end of a tunnel, and warns of one whose far end nobody knows', async (t) => {
  const lines = (endpoints: readonly string[], priority = 1): Parameters<typeof question>[0] => ({
    policy: { uplinks: [uplink('vpn', 'wan0', 1, { priority, endpoints }), uplink('cable', 'wan1', 2)] },
    facts: { tunnels: [{ ifindex: 3, kind: 'tun', remotes: [], local: '' }] },
  });
  const found = async (more: Parameters<typeof question>[0]): ReturnType<typeof examine> =>
    examine(question(more), madeUp(t));
  const unknown = only(await found(lines([])), 'tunnels');
  assert.equal(unknown.level, 'warning');
  assert.match(unknown.remedy, /\n {2}vpn:\n {4}endpoint: ADDRESS\n/);
  assert.equal(only(await found(lines([], 3)), 'tunnels').level, 'note', 'nothing rides on the last one');
  const known = only(await found(lines(['192.0.2.77'])), 'tunnels');
  assert.equal(known.level, 'note');
  assert.match(known.text, /^wan0 \(uplink vpn\) is a tunnel to 192\.0\.2\.77: .* best uplink that is no tunnel/);
});

inNamespaces(import.meta.url, 'tunnels on Linux', () => {
  let netlink: Rtnetlink;
  before(() => {
    netlink = openRtnetlink();
  });
  after(() => netlink.close());

  test('devices are told with kind and far end, and no others', (t) => {
    const add = (...words: string[]): boolean => spawnSync('ip', ['link', 'add', ...words]).status === 0;
    const vxlan = 'name t1 index 71 type vxlan id 5 local 198.51.100.2 remote 192.0.2.77 dstport 4789';
    if (!add(...vxlan.split(' '))) return t.skip('this kernel has no VXLAN');
    add('name', 'v1', 'type', 'veth', 'peer', 'name', 'v2');
    const wished = [{ ifindex: 71, kind: 'vxlan', remotes: ['192.0.2.77'], local: '198.51.100.2' }];
    const gre = { ifindex: 72, kind: 'gre', remotes: ['192.0.2.78'], local: '' };
    if (add(...'name t2 index 72 type gre remote 192.0.2.78'.split(' '))) wished.push(gre);
    assert.deepEqual(netlink.listDevices().tunnels.filter(({ ifindex }) => ifindex > 70), wished);
  });

  test('WireGuard tells where its peers are, those of each device', (t) => {
    const peers = [
      ['wg7', '192.0.2.77:51820'], ['wg7', '[2001:db8::7]:51820'], ['wg7', ''], ['wg8', '192.0.2.78:1'],
    ] as const;
    for (const device of ['wg7', 'wg8']) {
      const { status } = spawnSync('ip', ['link', 'add', device, 'type', 'wireguard']);
      if (status !== 0) return t.skip('this kernel has no WireGuard');
    }
    for (const [i, [device, endpoint]] of peers.entries()) {
      const key = Buffer.alloc(32, i + 1).toString('base64');
      const { status } = spawnSync('wg', ['set', device, 'peer', key, ...(endpoint === '' ? [] : ['endpoint', endpoint])]);
      if (status !== 0) return t.skip('there is no wg');
    }
    const wireguard = openWireguard();
    const told = wireguard.withEndpoints(netlink.listDevices().tunnels, 0).filter(({ kind }) => kind === 'wireguard');
    wireguard.close();
    assert.deepEqual(told.map(({ remotes }) => remotes.toSorted()), [['192.0.2.77', '2001:db8::7'], ['192.0.2.78']]);
  });

  test('WireGuard that this kernel does not have has no endpoint, and the others keep theirs', () => {
    const wireguard = openWireguard();
    const asked = [
      { ifindex: 71, kind: 'wireguard', remotes: [], local: '' },
      { ifindex: 72, kind: 'gre', remotes: ['192.0.2.78'], local: '' },
    ];
    assert.deepEqual(wireguard.withEndpoints(asked, 0), asked);
    wireguard.close();
  });

  test('ip shows the rules for the packets of tunnels, and they are read back the same', () => {
    const rule: Rule = {
      family: 4, preference: 9570, protocol: 147, table: 9590, from: '', to: '192.0.2.77/32', own: true,
      outInterface: '', mark: 0, markMask: 0, suppressPrefixLength: -1,
    };
    const marked = { ...rule, preference: 9490, mark: 0x80, markMask: 0x3f80 };
    const rules = [marked, rule, { ...rule, family: 6 as const, to: '2001:db8::7/128' }];
    for (const each of rules) assert.equal(netlink.addRule(each), '');
    assert.deepEqual(netlink.listOurRules(), rules);
    const shown = out('ip', 'rule', 'show');
    assert.match(shown, /9490:\tfrom all to 192\.0\.2\.77 (iif lo )?fwmark 0x80\/0x3f80 (iif lo )?lookup 9590 /);
    assert.match(shown, /9570:\tfrom all to 192\.0\.2\.77 iif lo lookup 9590 proto 147/);
    for (const each of rules) assert.equal(netlink.deleteRule(each), '');
  });
});
