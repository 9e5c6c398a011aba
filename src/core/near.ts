/**
 * What is no part of the internet beyond the lines, so that connections to it say nothing about it: addresses that nobody routes through the
 * internet, the networks that the lines are in, their gateways, and the targets themselves (their silence is what connections are to be held against).
 * What a LAN exchanges with its provider's own box or with a server beside it goes on when everything beyond is dead.
 */
import type { Family, KernelFacts, Policy } from '../model.js';
import { familyOf, prefixOf } from './address.js';
import type { Health } from './health.js';

/** IANA's registries of special-purpose addresses, as far as they can stand behind a line: private, shared by carriers (RFC 6598), link-local, multicast. */
const NEVER_BEYOND: readonly string[] = [
  '0.0.0.0/8', '10.0.0.0/8', '100.64.0.0/10', '127.0.0.0/8', '169.254.0.0/16', '172.16.0.0/12', '192.0.0.0/24', '192.168.0.0/16', '224.0.0.0/3',
  '::/16', 'fc00::/7', 'fe80::/9', 'ff00::/8',
];
/** A link has such a prefix, whatever length its address was given (RFC 4291). */
const LINK_PREFIX_LENGTH6 = 64;

/** Sorted, as CIDRs of both families. */
export function nearOf(policy: Policy, healths: Iterable<Health>, facts: Pick<KernelFacts, 'addresses'> | undefined): readonly string[] {
  const near = new Set(NEVER_BEYOND);
  const add = (address: string, length = lengthOf(familyOf(address))): void => void near.add(prefixOf(address, length));
  const devices = new Set<number>();
  for (const { line } of healths) {
    if (line.ifindex !== 0) devices.add(line.ifindex);
    if (line.gateway !== '') add(line.gateway);
  }
  for (const { ifindex, address, family, prefixLength, peer } of facts?.addresses ?? []) {
    if (!devices.has(ifindex) || prefixLength === 0) continue;
    if (peer !== '') add(peer);
    add(address, family === 6 ? Math.min(LINK_PREFIX_LENGTH6, prefixLength) : prefixLength);
  }
  for (const { probe } of policy.uplinks) {
    for (const target of probe.targets) if (isAddress(target.host)) add(target.host);
  }
  return [...near].sort();
}

function isAddress(host: string): boolean {
  return host.includes(':') || /^[\d.]+$/.test(host);
}

function lengthOf(family: Family): number {
  return family === 4 ? 32 : 128;
}
