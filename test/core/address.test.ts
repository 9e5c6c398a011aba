/** Addresses as text: held against what `ip` writes, what the kernel door makes of the bytes, and the bits themselves. */
import assert from 'node:assert/strict';
import { isIP } from 'node:net';
import { test } from 'node:test';
import { familyOf, isLinkLocal, isWithin, prefixOf } from '../../src/core/address.js';
import { formatAddress, parseAddress } from '../../src/kernel/netlink/inet.js';
import { openDice, type Dice } from '../sim/dice.js';

test('the prefix that an address stands in, as `ip route` shows it', () => {
  const cases: readonly (readonly [string, number, string])[] = [
    ['198.51.100.2', 24, '198.51.100.0/24'], ['198.51.100.2', 32, '198.51.100.2/32'], ['198.51.100.2', 0, '0.0.0.0/0'],
    ['10.255.255.255', 9, '10.128.0.0/9'], ['192.168.77.201', 30, '192.168.77.200/30'], ['192.168.77.201', 31, '192.168.77.200/31'], ['172.31.200.9', 12, '172.16.0.0/12'],
    ['2001:db8:1::2', 64, '2001:db8:1::/64'], ['2001:db8:1::2', 128, '2001:db8:1::2/128'], ['2001:db8:ffff:abcd::1', 60, '2001:db8:ffff:abc0::/60'],
    ['2001:db8:ffff:abcd::1', 33, '2001:db8:8000::/33'], ['2001:db8::1', 0, '::/0'], ['::1', 128, '::1/128'], ['fe80::1', 10, 'fe80::/10'],
    ['fd00:0:0:1:2:3:4:5', 80, 'fd00:0:0:1:2::/80'],
  ];
  assert.deepEqual(cases.map(([address, length]) => prefixOf(address, length)), cases.map(([, , prefix]) => prefix));
});

test('IPv6 is written as RFC 5952 has it: the longest run of zeros is left out, the first of equal ones, and never a single group', () => {
  const written = (address: string): string => prefixOf(address, 128).replace('/128', '');
  assert.deepEqual(['2001:0db8:0:0:1:0:0:1', '2001:db8:0:0:0:0:2:1', '2001:db8:0:1:1:1:1:1', '1:0:0:2:0:0:0:3', '0:0:0:0:0:0:0:0', '1:2:3:4:5:6:7:0', '0:1:2:3:4:5:6:7', 'FE80::ABCD', '1:0:0:0:0:0:0:0'].map(written), [
    '2001:db8::1:0:0:1', '2001:db8::2:1', '2001:db8:0:1:1:1:1:1', '1:0:0:2::3', '::', '1:2:3:4:5:6:7:0', '0:1:2:3:4:5:6:7', 'fe80::abcd', '1::',
  ]);
});

test('any address: written as the kernel door writes it, and within the prefix that it stands in and no other', () => {
  const dice = openDice(20260301);
  for (let round = 0; round < 3000; round++) {
    const address = anyAddress(dice);
    const bits = familyOf(address) === 4 ? 32 : 128;
    const written = prefixOf(address, bits).split('/')[0]!;
    assert.equal(written, formatAddress(parseAddress(address)), address);
    const length = dice.whole(0, bits);
    const prefix = prefixOf(address, length);
    assert.notEqual(isIP(prefix.split('/')[0]!), 0, prefix);
    assert.equal(prefixOf(prefix.split('/')[0]!, length), prefix, 'a prefix is its own prefix');
    assert.ok(isWithin(address, prefix), `${address} in ${prefix}`);
    const other = anyAddress(dice);
    assert.equal(isWithin(other, prefix), familyOf(other) === familyOf(address) && bitsOf(other).slice(0, length) === bitsOf(address).slice(0, length), `${other} in ${prefix}`);
  }
});

test('an address of the other family is within no prefix, not even in that of everything', () => {
  assert.deepEqual([isWithin('1.2.3.4', '::/0'), isWithin('::1', '0.0.0.0/0'), isWithin('::1', '::/0'), isWithin('1.2.3.4', '0.0.0.0/0')], [false, false, true, true]);
});

test('link-local is fe80::/10, in either case', () => {
  assert.deepEqual(['fe80::1', 'FE80::1', 'febf::1', 'fec0::1', 'fe8::1', '2001:fe80::1', '169.254.1.1'].map(isLinkLocal), [true, true, true, false, false, false, false]);
});

/** Zeros are frequent, so that prefixes meet and runs have to be left out. */
function anyAddress(dice: Dice): string {
  if (dice.chance(0.3)) return Array.from({ length: 4 }, () => dice.pick([0, 10, 255, dice.whole(0, 255)])).join('.');
  const groups = Array.from({ length: 8 }, () => dice.pick(['0', '0', '0', 'ffff', dice.whole(1, 0xffff).toString(16)]));
  // `::ffff:1.2.3.4` is an IPv4 address in disguise, and none that a line has.
  return (/^(0:){4}/.test(groups.join(':')) ? ['2001', ...groups.slice(1)] : groups).join(':');
}

function bitsOf(address: string): string {
  if (familyOf(address) === 4) return address.split('.').map((byte) => Number(byte).toString(2).padStart(8, '0')).join('');
  return address.split(':').map((group) => parseInt(group, 16).toString(2).padStart(16, '0')).join('');
}
