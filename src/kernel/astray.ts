/**
 * Connections that leave an uplink untranslated under a source that does not belong there. NAT looks at the first packet of a connection, so
 * one that began before NAT stood keeps its source for as long as somebody sends, and nobody can answer it.
 *
 * A source belongs to an uplink if it came in by one (answers to strangers leave so), if it is in a routed prefix, or if it is the router's
 * own, unless it is that of another uplink. All others are inside: the kernel's way to them is by a device that is no uplink.
 */
import type { ForgetOrder } from '../model.js';
import type { Flow } from './flow.js';
import { compilePrefixes } from './flow-match.js';
import { parseAddress } from './netlink/inet.js';
import { openRtnetlink } from './netlink/rtnetlink.js';
import { NETLINK_ROUTE, NetlinkSocket } from './netlink/socket.js';
import { findWay } from './netlink/way.js';

export interface Astray {
  fits(flow: Flow): boolean;
  close(): void;
}

/** @throws KernelError when netlink cannot be had; RangeError for a prefix that is none */
export function openAstray({ uplink, uplinks, routed }: NonNullable<ForgetOrder['astray']>): Astray {
  const isRouted = routed.length === 0 ? (): boolean => false : compilePrefixes(routed);
  const own = ownAddresses();
  const socket = new NetlinkSocket(NETLINK_ROUTE);
  /** A table may hold thousands of connections of one source. */
  const known = new Map<string, boolean>();
  const belongs = (source: Buffer): boolean => {
    if (isRouted(source)) return true;
    const device = own.get(source.toString('latin1'));
    if (device !== undefined) return device === uplink || !uplinks.includes(device);
    const way = findWay(socket, source);
    return way.kind !== 'near' || uplinks.includes(way.ifindex);
  };
  return {
    fits({ original, reply }) {
      if (!reply.destination.equals(original.source)) return false;
      const key = original.source.toString('latin1');
      const before = known.get(key);
      if (before !== undefined) return before;
      const fits = !belongs(original.source);
      known.set(key, fits);
      return fits;
    },
    close: () => socket.close(),
  };
}

/** The device of each. */
function ownAddresses(): ReadonlyMap<string, number> {
  const netlink = openRtnetlink();
  try {
    return new Map(netlink.listAddresses().map(({ address, ifindex }) => [parseAddress(address).toString('latin1'), ifindex]));
  } finally {
    netlink.close();
  }
}
