/** What is no part of the internet beyond the lines. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isWithin } from '../../src/core/address.js';
import { openHealth } from '../../src/core/health.js';
import { nearOf } from '../../src/core/near.js';
import { addressOf, at, linkOf, policyOf, uplinkPolicy } from './fixture.js';

const policy = policyOf([uplinkPolicy('fibre', { hosts: ['gateway', '1.1.1.1', '2620:fe::fe'] })]);
const isNear = (near: readonly string[], address: string): boolean => near.some((prefix) => isWithin(address, prefix));

test('the network of the line, its gateway, its targets, and what nobody routes through the internet; and nothing else', () => {
  const health = openHealth(policy.uplinks[0]!, 4, at(0));
  health.line = { ifindex: linkOf('fibre').index, device: 'eth0', address: '198.51.100.2', addresses: [], source: '', gateway: '192.0.2.254', severed: '', severedDomain: 'none' };
  const addresses = [
    addressOf('fibre', { address: '198.51.100.2', prefixLength: 26 }),
    addressOf('fibre', { family: 6, address: '2001:db8:7::5', prefixLength: 128 }),
    addressOf('cable', { address: '203.0.113.2', prefixLength: 24 }),
  ];
  const near = nearOf(policy, [health], { addresses });
  for (const address of ['198.51.100.63', '192.0.2.254', '1.1.1.1', '2001:db8:7::9', '2620:fe::fe']) assert.ok(isNear(near, address), address);
  for (const address of ['10.1.2.3', '100.64.0.1', '169.254.1.1', '172.31.0.1', '192.168.1.1', '224.0.0.251', '255.255.255.255', 'fd00::1', 'fe80::1', 'ff02::1', '::1']) assert.ok(isNear(near, address), address);
  for (const address of ['198.51.100.64', '8.8.8.8', '100.128.0.1', '172.32.0.1', '203.0.113.9', '192.0.2.1', '2001:db8:8::1', '64:ff9b::808:808']) assert.ok(!isNear(near, address), address);
});

test('a length of nought is no network: everything would be near', () => {
  const health = openHealth(policy.uplinks[0]!, 4, at(0));
  health.line = { ...health.line, ifindex: linkOf('fibre').index };
  assert.ok(!isNear(nearOf(policy, [health], { addresses: [addressOf('fibre', { prefixLength: 0 })] }), '8.8.8.8'));
});
