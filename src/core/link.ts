/**
 * Which device an uplink is on now. By name, mostly; where names move (USB modems that come up in another order) by what does not: the
 * MAC address, the port it is plugged into.
 */
import type { KernelFacts, Link, UplinkPolicy } from '../model.js';

/** IFNAMSIZ without the NUL: what is longer can only be an alternative name. */
const NAME_BYTES_AT_MOST = 15;

type Finder = Pick<UplinkPolicy, 'interface' | 'match'>;

/** undefined = it is not there now. */
export function linkOf(uplink: Finder, facts: Pick<KernelFacts, 'links'>): Link | undefined {
  const { match } = uplink;
  if (match === undefined) return linkNamed(uplink.interface, facts);
  let found: Link | undefined;
  for (const link of facts.links) {
    if (match.path !== '' && link.path !== match.path) continue;
    if (match.mac !== '' && !hasMac(link, match.mac)) continue;
    // VLANs and bridges wear the MAC of the device below them, which was there first.
    if (found === undefined || link.index < found.index) found = link;
  }
  return found;
}

/** By its name, or by an alternative one. */
export function linkNamed(name: string, { links }: Pick<KernelFacts, 'links'>): Link | undefined {
  return links.find((link) => link.name === name) ?? links.find((link) => link.altNames.includes(name));
}

/** What the packet filter is to call a device that the config calls so; '' while that cannot be known. */
export function deviceCalled(name: string, facts: Pick<KernelFacts, 'links'> | undefined): string {
  const link = facts === undefined ? undefined : linkNamed(name, facts);
  return link?.name ?? (Buffer.byteLength(name) > NAME_BYTES_AT_MOST ? '' : name);
}

/** For people: `eth0`, or what is looked for. */
export function nameOf(uplink: Finder): string {
  const { match } = uplink;
  if (match === undefined) return uplink.interface;
  return [match.mac === '' ? '' : `MAC ${match.mac}`, match.path === '' ? '' : `path ${match.path}`].filter((part) => part !== '').join(' and ');
}

/** The burnt-in one counts where it is known: the other can be borrowed. */
function hasMac(link: Link, mac: string): boolean {
  return (link.permanentMac === '' ? link.mac : link.permanentMac) === mac || link.mac === mac;
}
