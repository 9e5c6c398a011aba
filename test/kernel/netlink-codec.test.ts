/** The codec against bytes that `ip` sent and received, and against bytes that nobody should send. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Route, Rule } from '../../src/model.js';
import { decodeAddress, decodeLife, writeAddressUse } from '../../src/kernel/netlink/address.js';
import { readAcks, readPart, refusal } from '../../src/kernel/netlink/answer.js';
import { Attributes, NLMSG_MIN_TYPE, Writer, messagesIn, type Message } from '../../src/kernel/netlink/codec.js';
import { KernelError } from '../../src/kernel/netlink/error.js';
import { formatAddress, parseAddress } from '../../src/kernel/netlink/inet.js';
import { decodeLink } from '../../src/kernel/netlink/link.js';
import { decodeNeighbour } from '../../src/kernel/netlink/neighbour.js';
import { decodeRoute, glanceAtDefault, routeHead, writeRoute } from '../../src/kernel/netlink/route.js';
import { decodeRule, writeRule } from '../../src/kernel/netlink/rule.js';
import { asked, told, type Captured } from './captured.js';

const WAN1 = 11;
const WAN2 = 21;

const onlink: Route = {
  family: 4, table: 9400, destination: 'default', metric: 30, protocol: 147, scope: 0, source: '',
  hops: [{ ifindex: WAN1, via: '10.0.1.1', weight: 1, onlink: true }],
};
const routes: Readonly<Record<string, Route>> = {
  routeOnlink: onlink,
  routeMultipath: { ...onlink, metric: 31, hops: [{ ifindex: WAN1, via: '10.0.1.1', weight: 3, onlink: true }, { ifindex: WAN2, via: '10.0.2.1', weight: 1, onlink: true }] },
  routeLink: {
    ...onlink, table: 9401, destination: '192.0.2.0/24', metric: 7, scope: 253, source: '10.0.2.2',
    hops: [{ ifindex: WAN2, via: '', weight: 1, onlink: false }],
  },
  route6Onlink: { ...onlink, family: 6, hops: [{ ifindex: WAN1, via: 'fe80::1', weight: 1, onlink: true }] },
  route6Multipath: {
    ...onlink, family: 6, destination: '2001:db8::/32', metric: 31, source: 'fd00:1::2',
    hops: [{ ifindex: WAN1, via: 'fd00:1::1', weight: 3, onlink: false }, { ifindex: WAN2, via: 'fd00:2::1', weight: 1, onlink: false }],
  },
};
const noRule: Rule = { family: 4, preference: 0, protocol: 147, table: 9401, from: '', outInterface: '', mark: 0, markMask: 0, suppressPrefixLength: -1 };
const rules: Readonly<Record<string, Rule>> = {
  ruleDevice: { ...noRule, preference: 9410, outInterface: 'wan1' },
  ruleMain: { ...noRule, preference: 9450, table: 254, suppressPrefixLength: 0 },
  ruleMark: { ...noRule, preference: 9500, mark: 0x80, markMask: 0x3f80 },
  ruleSource: { ...noRule, preference: 9550, from: '10.0.1.2/32' },
  rule6Source: { ...noRule, family: 6, preference: 9550, from: 'fd00:1::/64' },
};

for (const [name, route] of Object.entries(routes)) {
  const { command, bytes } = asked[name as keyof typeof asked];
  test(`we ask for a route as ip does: ${command}`, () => {
    assert.deepEqual(decodeRoute(onlyMessage(bytes).body), route);
    sameRequest(bytes, written((out) => writeRoute(out, route)), 12);
  });
}

for (const [name, rule] of Object.entries(rules)) {
  const { command, bytes } = asked[name as keyof typeof asked];
  test(`we ask for a rule as ip does: ${command}`, () => {
    assert.deepEqual(decodeRule(onlyMessage(bytes).body), rule);
    sameRequest(bytes, written((out) => writeRule(out, rule)), 12);
  });
}

test('what is written is read back the same, whatever it is', () => {
  const bits = 32;
  const variants: Route[] = [
    { ...onlink, hops: [{ ifindex: 0x7fffffff, via: 'fd00:1::1', weight: 1, onlink: true }] },
    { ...onlink, table: 254, metric: 0xffffffff },
    { ...onlink, table: 0xfffffffe, destination: `10.1.2.3/${bits}`, source: '255.255.255.255' },
    { ...onlink, hops: Array.from({ length: 64 }, (_, i) => ({ ifindex: i + 1, via: i % 2 === 0 ? '' : `10.0.0.${i}`, weight: i * 4 + 1, onlink: i % 3 === 0 })) },
  ];
  for (const route of variants) assert.deepEqual(decodeRoute(onlyMessage(written((out) => writeRoute(out, route))).body), route);
  for (const family of [4, 6] as const) {
    const refuse: Route = { ...onlink, family, hops: [] };
    assert.deepEqual(decodeRoute(onlyMessage(written((out) => writeRoute(out, refuse))).body), refuse);
  }
  const rule: Rule = { ...noRule, preference: 0xffffffff, table: 0xfffffffe, from: '10.0.0.0/8', outInterface: 'fifteen-letters', mark: 0xffffff80, markMask: 0xffffffff, suppressPrefixLength: 32 };
  assert.deepEqual(decodeRule(onlyMessage(written((out) => writeRule(out, rule))).body), rule);
});

test('the kernel’s routes are read: dumps of both families, several in one block', () => {
  assert.deepEqual(all(told.routes, (message) => decodeRoute(message.body)), [routes['routeOnlink'], routes['routeMultipath']]);
  assert.deepEqual(all(told.routes6, (message) => decodeRoute(message.body)), [
    routes['route6Multipath'],
    routes['route6Onlink'],
    { ...routes['route6Onlink'], metric: 33, hops: [{ ifindex: WAN1, via: 'fd00:1::1', weight: 1, onlink: false }] },
  ]);
  assert.deepEqual(all(told.routesOfOther, (message) => decodeRoute(message.body)), [routes['routeLink']]);
  assert.deepEqual(routeHead(onlyMessage(asked.routeLink.bytes).body), { prefixLength: 24, protocol: 147, tableByte: 0 });
});

test('the kernel’s rules are read, its own among them', () => {
  const kernels = { ...noRule, protocol: 2 };
  assert.deepEqual(all(told.rules, (message) => decodeRule(message.body)), [
    { ...kernels, table: 255 },
    rules['ruleDevice'],
    rules['ruleMain'],
    rules['ruleMark'],
    rules['ruleSource'],
    { ...kernels, table: 254, preference: 32766 },
    { ...kernels, table: 253, preference: 32767 },
  ]);
  assert.deepEqual(all(told.rules6, (message) => decodeRule(message.body))[1], rules['rule6Source']);
});

test('addresses are read: our end, the other end of a point-to-point line', () => {
  const found = all(told.addresses, (message) => decodeAddress(message.body));
  assert.deepEqual(found[0], { family: 4, ifindex: WAN1, address: '10.0.1.2', prefixLength: 24, peer: '', scope: 0, deprecated: false, protocol: 0 });
  assert.deepEqual(found[1], { family: 6, ifindex: WAN1, address: 'fd00:1::2', prefixLength: 64, peer: '', scope: 0, deprecated: false, protocol: 0 });
  assert.equal(found.length, 2, 'the link-local one was still tentative');
  assert.deepEqual(all(told.addressesOfPeer, (message) => decodeAddress(message.body))[0], {
    family: 4, ifindex: WAN2, address: '10.0.2.2', prefixLength: 32, peer: '10.0.2.1', scope: 0, deprecated: false, protocol: 0,
  });
});

test('addresses that nobody may use are not listed, and others say whether they are to be used, and who said so', () => {
  const address = (flags: number): Buffer => onlyMessage(written((out) => out.u8(10).u8(64).u8(flags & 0xff).u8(0).u32(WAN1).attribute(1, parseAddress('2001:db8::1')).attributeU32(8, flags).attributeU8(11, 147))).body;
  assert.equal(decodeAddress(address(0x40)), undefined, 'tentative');
  assert.equal(decodeAddress(address(0x08)), undefined, 'duplicate');
  assert.deepEqual([decodeAddress(address(0x80))?.deprecated, decodeAddress(address(0x80))?.expires], [false, undefined]);
  assert.equal(decodeAddress(address(0x100))?.expires, true, 'it has a lifetime');
  assert.deepEqual(decodeAddress(address(0x20 | 0x80 | 0x100)), { family: 6, ifindex: WAN1, address: '2001:db8::1', prefixLength: 64, peer: '', scope: 0, deprecated: true, protocol: 147 });
});

test('an address is taken out of use and given back without touching what else it is', () => {
  const body = onlyMessage(written((out) => {
    const life = Buffer.alloc(16);
    life.writeUInt32LE(500, 0);
    life.writeUInt32LE(1000, 4);
    out.u8(10).u8(64).u8(0x80).u8(0).u32(WAN1).attribute(1, parseAddress('2001:db8::1')).attribute(6, life).attributeU32(8, 0x80 | 0x100 | 0x200 | 0x800).attributeU32(9, 77);
  })).body;
  const life = decodeLife(body);
  assert.deepEqual(life, { flags: 0x300, validS: 1000, routeMetric: 77 });
  const address = decodeAddress(body);
  assert.ok(address !== undefined);
  for (const [inUse, preferredS] of [[false, 0], [true, 1000]] as const) {
    const asked = new Attributes(onlyMessage(written((out) => writeAddressUse(out, address, life, inUse, 147))).body, 8);
    assert.deepEqual([asked.bytes(6)?.readUInt32LE(0), asked.bytes(6)?.readUInt32LE(4), asked.u32(8), asked.u32(9), asked.u8(11)], [preferredS, 1000, 0x300, 77, 147]);
  }
});

test('a burnt-in hardware address is read beside the one in use', () => {
  const body = onlyMessage(written((out) => out.u32(0).u32(WAN1).u32(1).u32(0).attributeText(3, 'wan1').attributeU32(4, 1500).attribute(1, Buffer.from('020000000011', 'hex')).attribute(54, Buffer.from('0050b6000001', 'hex')))).body;
  const link = decodeLink(body);
  assert.deepEqual([link?.mac, link?.permanentMac], ['02:00:00:00:00:11', '00:50:b6:00:00:01']);
});

test('links are read, with and without carrier', () => {
  assert.deepEqual(decodeLink(onlyMessage(told.link.bytes).body), { index: WAN1, name: 'wan1', adminUp: true, carrier: true, mtu: 1500, mac: '02:00:00:00:00:11', permanentMac: '', path: '', altNames: [] });
  assert.deepEqual(decodeLink(onlyMessage(told.linkWithoutCarrier.bytes).body), { index: WAN2, name: 'wan2', adminUp: true, carrier: false, mtu: 1500, mac: '02:00:00:00:00:21', permanentMac: '', path: '', altNames: [] });
  assert.equal(decodeLink(onlyMessage(told.linkDeleted.bytes).body)?.index, WAN2);
});

test('a port that leaves its bridge is no device that goes', () => {
  assert.equal(decodeLink(onlyMessage(told.bridgePort.bytes).body), undefined);
  assert.equal(decodeLink(onlyMessage(told.bridgePortGone.bytes).body), undefined);
});

test('a link message without its facts (wireless events) is passed over', () => {
  const event = written((out) => out.u32(0).u32(WAN1).u32(1).u32(0).attributeText(3, 'wan1'));
  assert.equal(decodeLink(onlyMessage(event).body), undefined);
});

test('neighbours are read with their state', () => {
  const found = all(told.neighbours, (message) => decodeNeighbour(message.body));
  assert.deepEqual(found.find((neighbour) => neighbour.address === '10.0.1.1'), { family: 4, ifindex: WAN1, address: '10.0.1.1', mac: '02:00:00:00:00:12', state: 'permanent' });
  assert.equal(found.find((neighbour) => neighbour.address === '10.0.1.9')?.state, 'failed');
});

test('a refusal says the errno and the kernel’s own words, where it has some', () => {
  assert.equal(refusal(onlyMessage(told.refusedWithWords.bytes)), 'ENETUNREACH: Nexthop has invalid gateway');
  assert.equal(refusal(onlyMessage(told.refused.bytes)), 'EEXIST: there is one already');
  assert.equal(refusal(onlyMessage(told.acknowledged.bytes)), '');
});

test('answers to other requests are passed over', () => {
  const { bytes } = told.refused;
  const { sequence } = onlyMessage(bytes);
  const errors = ['', ''];
  assert.equal(readAcks(bytes, sequence + 1, errors), false);
  assert.deepEqual(errors, ['', '']);
  assert.equal(readAcks(bytes, sequence - 1, errors), true);
  assert.deepEqual(errors, ['', 'EEXIST: there is one already']);
  const other = readPart(told.routes.bytes, onlyMessageSequence(told.routes.bytes) + 1, (message) => decodeRoute(message.body));
  assert.deepEqual(other, { found: [], interrupted: false, last: false });
});

test('a dump that the kernel marks as interrupted is known as such', () => {
  const bytes = Buffer.from(told.routes.bytes);
  const sequence = onlyMessageSequence(bytes);
  assert.equal(readPart(bytes, sequence, () => undefined).interrupted, false);
  bytes.writeUInt16LE(bytes.readUInt16LE(6) | 0x10, 6);
  assert.equal(readPart(bytes, sequence, () => undefined).interrupted, true);
});

test('a glance passes over objects, but not over the end of a dump, nor over an object that says it was interrupted', () => {
  const bytes = Buffer.from(told.rules.bytes);
  const sequence = onlyMessageSequence(bytes);
  const part = (): unknown => readPart(bytes, sequence, ({ type }) => type, (block, bodyAt) => block[bodyAt + 2] === 32);
  assert.deepEqual(part(), { found: [32], interrupted: false, last: true }, 'the one rule with a source');
  bytes.writeUInt16LE(bytes.readUInt16LE(6) | 0x10, 6);
  assert.deepEqual(part(), { found: [32, 32], interrupted: true, last: true });
  assert.deepEqual(all(told.routes, (message) => decodeRoute(message.body)).length, [...messagesIn(told.routes.bytes, glanceAtDefault)].length);
  assert.equal([...messagesIn(told.routesOfOther.bytes, glanceAtDefault)].length, 0);
});

test('truncated or scrambled bytes are a KernelError and nothing else', () => {
  const decoders = [decodeRoute, decodeRule, decodeLink, decodeAddress, decodeNeighbour, (body: Buffer) => new Attributes(body, 4)];
  let refused = 0;
  for (const { bytes } of Object.values(told).flatMap((captured: Captured) => mutilated(captured.bytes))) {
    try {
      for (const message of messagesIn(bytes)) {
        refusal(message);
        for (const decode of decoders) decode(message.body);
      }
    } catch (error) {
      assert.ok(error instanceof KernelError, String(error));
      assert.equal(error.code, 'EBADMSG');
      refused++;
    }
  }
  assert.ok(refused > 1000);
});

test('a length that leads out of the message is refused', () => {
  const attribute = Buffer.from('0c000100aabbccdd', 'hex');
  assert.throws(() => new Attributes(attribute, 0), /EBADMSG: an attribute that says it has 12 bytes, of 8/);
  assert.throws(() => [...messagesIn(told.routes.bytes.subarray(0, 40))], /EBADMSG: a message that says it has 60 bytes, of 40/);
  assert.throws(() => new Attributes(Buffer.from('06000100aabb0000', 'hex'), 0).u32(1), /EBADMSG: attribute 1 has 2 bytes where 4 were due/);
});

test('text that is no address is refused before it is sent', () => {
  assert.throws(() => written((out) => writeRoute(out, { ...onlink, source: '10.0.0' })), /"10.0.0" is not an IP address/);
  assert.throws(() => parseAddress('fe80::1%eth0'), /is not an IP address/);
});

test('addresses are written as ip writes them', () => {
  const pairs = [
    ['0.0.0.0', '0.0.0.0'], ['255.1.2.3', '255.1.2.3'], ['::', '::'], ['::1', '::1'], ['fe80::', 'fe80::'], ['2001:DB8::1', '2001:db8::1'],
    ['2001:db8:0:0:1:0:0:1', '2001:db8::1:0:0:1'], ['1:0:2:0:3:0:4:0', '1:0:2:0:3:0:4:0'], ['1:2:3:4:5:6:7:0', '1:2:3:4:5:6:7:0'],
    ['::ffff:10.0.0.1', '::ffff:10.0.0.1'], ['64:ff9b::192.0.2.1', '64:ff9b::c000:201'], ['0:0:1::', '0:0:1::'], ['1::8', '1::8'], ['::2:3:4:5:6:7:8', '0:2:3:4:5:6:7:8'],
  ] as const;
  for (const [text, canonical] of pairs) assert.equal(formatAddress(parseAddress(text)), canonical);
  assert.throws(() => formatAddress(Buffer.alloc(5)), RangeError);
});

function written(body: (out: Writer) => void): Buffer {
  const out = new Writer(8192);
  out.message(0, 0, 1, body);
  return out.bytes;
}

function all<T>(captured: Captured, decode: (message: Message) => T | undefined): T[] {
  return [...messagesIn(captured.bytes)].flatMap((message) => (message.type < NLMSG_MIN_TYPE ? [] : (decode(message) ?? [])));
}

function onlyMessage(bytes: Buffer): Message {
  const [message, ...more] = messagesIn(bytes);
  assert.ok(message !== undefined && more.length === 0);
  return message;
}

function onlyMessageSequence(bytes: Buffer): number {
  return bytes.readUInt32LE(8);
}

/** The same struct, and every attribute that ip sends, byte for byte. (ip leaves out FRA_TABLE below 256, and says ::/0 in full.) */
function sameRequest(theirs: Buffer, ours: Buffer, structBytes: number): void {
  const [their, our] = [theirs, ours].map((bytes) => onlyMessage(bytes).body);
  assert.ok(their !== undefined && our !== undefined);
  assert.equal(our.subarray(0, structBytes).toString('hex'), their.subarray(0, structBytes).toString('hex'));
  const [theirAttributes, ourAttributes] = [their, our].map((body) => new Attributes(body, structBytes));
  for (let type = 1; type < 64; type++) {
    const value = theirAttributes?.bytes(type);
    if (value === undefined || value.every((byte) => byte === 0 && type === 1)) continue;
    assert.equal(ourAttributes?.bytes(type)?.toString('hex'), value.toString('hex'), `attribute ${type}`);
  }
}

/** Cut at every fourth byte, and with each length field near the front made too large, too small or zero. */
function mutilated(bytes: Buffer): { readonly bytes: Buffer }[] {
  const cut = Array.from({ length: Math.ceil(bytes.length / 4) }, (_, i) => ({ bytes: bytes.subarray(0, 4 * i + 2) }));
  const bent = [0, 1, 3, 5, 0xff, 0xffff].flatMap((length) =>
    Array.from({ length: Math.min(64, bytes.length / 4) }, (_, i) => {
      const copy = Buffer.from(bytes);
      copy.writeUInt16LE(length, 4 * i);
      return { bytes: copy };
    }),
  );
  return [...cut, ...bent];
}
