/** What the kernel says of an uplink's line in one family: where it is, and why no frame can leave by it if none can. */
import type { Family, KernelFacts, UplinkPolicy } from '../model.js';
import { gatewayOf, globalAddresses, pathOf, type Memory } from './gateway.js';
import type { Line } from './health.js';
import { linkOf, nameOf } from './link.js';
import { sourceOf } from './source.js';

const UNKNOWN_WAY = { via: '', source: '' };

export function lineOf(uplink: UplinkPolicy, facts: KernelFacts, family: Family, learnt: Memory): Line {
  const link = linkOf(uplink, facts);
  if (link === undefined) {
    const what = uplink.match === undefined ? nameOf(uplink) : `with ${nameOf(uplink)}`;
    return { ifindex: 0, device: uplink.interface, address: '', addresses: [], source: '', gateway: '', severed: `there is no interface ${what}`, severedDomain: 'device' };
  }
  const device = link.name;
  const addresses = globalAddresses(link, facts, family);
  const way = pathOf(uplink, link, facts, family, learnt);
  const address = sourceOf(addresses, way ?? UNKNOWN_WAY);
  const line = {
    ifindex: link.index, device, address, gateway: way?.via ?? '', addresses, source: way?.source ?? '',
  };
  if (!link.adminUp) return { ...line, severed: `${device} is switched off (ip link set ${device} up)`, severedDomain: 'link' };
  if (!link.carrier) return { ...line, severed: `no carrier on ${device}`, severedDomain: 'link' };
  const kind = family === 6 ? 'IPv6 ' : '';
  if (address === '') return { ...line, severed: `${device} has no ${kind}address`, severedDomain: 'address' };
  if (way === undefined) return { ...line, severed: `no ${kind}gateway is known for ${device}`, severedDomain: 'gateway' };
  return { ...line, severed: '', severedDomain: 'none' };
}

/**
 * Is this line to be judged in this family at all? IPv4 always: an address may come late, and its absence is news. IPv6 where it is
 * written down, or where a provider gives it: many lines have none and never will.
 */
export function takesPart(uplink: UplinkPolicy, facts: KernelFacts, family: Family, learnt: Memory): boolean {
  if (family === 4 || typeof uplink.gateways[family] === 'object') return true;
  const link = linkOf(uplink, facts);
  return link !== undefined && globalAddresses(link, facts, family).length > 0 && gatewayOf(uplink, link, facts, family, learnt) !== undefined;
}
