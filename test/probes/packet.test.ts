/** The pure parts: reading ICMP, words for errors, the shape of the filter. */
import assert from 'node:assert/strict';
import { constants } from 'node:os';
import { test } from 'node:test';
import type { ProbeReport, Prober } from '../../src/ports.js';
import type { Instant } from '../../src/model.js';
import { echoFilter, FPROG_BYTES } from '../../src/probes/bpf.js';
import { causeOfOpening, errorInWords, isSocketBroken } from '../../src/probes/errno.js';
import { addressBytes, addressText, canonical, checksum, readIcmp } from '../../src/probes/packet.js';
import { openProber } from '../../src/probes/prober.js';

const hex = (text: string): Buffer => Buffer.from(text.replace(/\s/g, ''), 'hex');
const ip4 = (options = ''): string => `4${(5 + options.length / 8).toString(16)}00 0054 0000 4000 4001 0000 c0000201 c0000202 ${options}`;
const echo = '0800 0000 1234 0007';
const IP6 = '60000000 0010 3a40 20010db8000000000000000000000002 20010db8000100000000000000000009';

test('an echo reply is read, with and without IP options', () => {
  const reply = { kind: 'reply', identifier: 0x1234, sequence: 7, dataAt: 28 };
  assert.deepEqual(readIcmp(4, hex(`${ip4()} 0000 0000 1234 0007`)), reply);
  assert.deepEqual(readIcmp(4, hex(`${ip4('0101010107000000')} 0000 0000 1234 0007`)), { ...reply, dataAt: 36 });
  assert.deepEqual(readIcmp(6, hex('8100 0000 1234 0007')), { ...reply, dataAt: 8 });
});

test('an error is read through to the probe it is about', () => {
  assert.deepEqual(readIcmp(4, hex(`${ip4()} 0b00 0000 00000000 ${ip4('01010101')} ${echo}`)), {
    kind: 'error',
    identifier: 0x1234,
    sequence: 7,
    dataAt: 60,
    destination: '192.0.2.2',
    exceeded: true,
    mtu: undefined,
    words: 'time exceeded on the way (a routing loop?) (ICMP 11/0)',
  });
  assert.deepEqual(readIcmp(6, hex(`0103 0000 00000000 ${IP6} 8000 0000 1234 0007`)), {
    kind: 'error',
    identifier: 0x1234,
    sequence: 7,
    dataAt: 56,
    destination: '2001:db8:1::9',
    exceeded: false,
    mtu: undefined,
    words: 'address unreachable (ICMPv6 1/3)',
  });
});

test('redirects, requests and everything too short are nothing, and never an exception', () => {
  assert.equal(readIcmp(4, hex(`${ip4()} 0501 0000 c000024d ${ip4()} ${echo}`)), undefined);
  assert.equal(readIcmp(4, hex(`${ip4()} ${echo}`)), undefined);
  const whole = { 4: hex(`${ip4()} 0301 0000 00000000 ${ip4('01010101')} ${echo}`), 6: hex(`0103 0000 00000000 ${IP6} 8000 0000 1234 0007`) };
  for (const family of [4, 6] as const) for (let length = 0; length < whole[family].length; length++) assert.equal(readIcmp(family, whole[family].subarray(0, length)), undefined);
  for (let first = 0; first < 256; first++) {
    const packet = Buffer.from(whole[4]);
    for (const at of [0, 28]) {
      packet[at] = first;
      readIcmp(4, packet);
    }
  }
});

test('an error says how much the next link passes, if the router tells', () => {
  const mtuOf = (family: 4 | 6, packet: string): unknown => {
    const message = readIcmp(family, hex(packet));
    return message?.kind === 'error' ? message.mtu : message;
  };
  assert.equal(mtuOf(4, `${ip4()} 0304 0000 00000578 ${ip4()} ${echo}`), 1400);
  assert.equal(mtuOf(4, `${ip4()} 0304 0000 00000000 ${ip4()} ${echo}`), 0);
  assert.equal(mtuOf(6, `0200 0000 00000500 ${IP6} 8000 0000 1234 0007`), 1280);
});

test('an address becomes bytes and a text again', () => {
  for (const text of ['::', '::1', 'fe80::1', '2001:db8::', '2001:db8:1:2:3:4:5:6', 'ff02::1:ff00:0', '::ffff:192.0.2.1']) assert.equal(addressText(6, addressBytes(6, text)), text);
  assert.equal(addressBytes(6, 'fe80::1%eth0').toString('hex'), 'fe800000000000000000000000000001');
  assert.equal(addressText(4, addressBytes(4, '192.0.2.1')), '192.0.2.1');
});

test('a sum is that of RFC 1071', () => {
  const bytes = hex('0001 f203 f4f5 f6f7');
  assert.equal(checksum(bytes), ~0xddf2 & 0xffff);
});

test('addresses have one notation', () => {
  assert.equal(canonical(6, '2001:DB8:0:0::1'), '2001:db8::1');
  assert.equal(canonical(6, 'fe80::1%eth0'), 'fe80::1');
  assert.equal(canonical(4, '192.0.2.1'), '192.0.2.1');
});

test('errors of the socket calls get their name back and say whose they are', () => {
  const { ENOBUFS, EBADF, EPERM, EXDEV } = constants.errno;
  for (const errno of [ENOBUFS, -ENOBUFS]) assert.equal(errorInWords(errno), 'ENOBUFS: No buffer space available (the queue of the interface is full)');
  assert.equal(errorInWords(EBADF), 'EBADF: Bad file descriptor');
  assert.equal(errorInWords(EXDEV), 'EXDEV');
  assert.match(errorInWords(EPERM), /firewall/);
  assert.match(errorInWords(EPERM, 'opening'), /CAP_NET_RAW/);
  assert.equal(isSocketBroken(-ENOBUFS), false);
  assert.equal(isSocketBroken(EBADF), true);
  assert.equal(isSocketBroken(EXDEV), false, 'what nobody knows is said of the line, or it would be up for ever');
  assert.match(errorInWords(constants.errno.EDESTADDRREQ), /tunnel/);
});

test('a socket that cannot be opened is our own fault, but for a device or an address that is not there', () => {
  assert.equal(causeOfOpening(new Error('no probe socket: ENODEV: No such device (the interface was removed)')), 'unsent');
  assert.equal(causeOfOpening(new Error('no probe socket: EPERM: Operation not permitted (raw ICMP needs root or CAP_NET_RAW)')), 'prober');
  assert.equal(causeOfOpening(new Error('something new')), 'prober');
});

test('the filter is one piece of memory that points into itself', () => {
  const bytes = echoFilter(4, 0x1234, () => 0x1000n);
  assert.equal(bytes.readUInt16LE(0), (bytes.length - FPROG_BYTES) / 8);
  assert.equal(bytes.readBigUInt64LE(8), 0x1000n + BigInt(FPROG_BYTES));
});

test('the prober fits the daemon', () => {
  const open: (options: { report(fact: ProbeReport): void; now(): Instant }) => Prober = openProber;
  assert.equal(open.length, 1);
});
