/**
 * The endpoints of WireGuard's peers, which rtnetlink does not tell: WG_CMD_GET_DEVICE of the generic netlink family
 * `wireguard` (include/uapi/linux/wireguard.h, genetlink.h). Nothing is opened, and no module loaded, before there is
 * such a device. Keys come along in the answer; they are neither read nor kept.
 */
import type { Tunnel } from '../../model.js';
import { Attributes, eachAttribute } from './codec.js';
import { KernelError } from './error.js';
import { AF_INET, AF_INET6, formatAddress } from './inet.js';
import { NetlinkSocket } from './socket.js';

export interface Wireguard {
  /**
   * Fills in the remotes of those that are WireGuard's. Where the kernel does not tell, they stay empty. @param nowMs
   * monotonic
   */
  withEndpoints(tunnels: readonly Tunnel[], nowMs: number): readonly Tunnel[];
  close(): void;
}

const NETLINK_GENERIC = 16;
const GENLMSGHDR_BYTES = 4;
const GENL_ID_CTRL = 16;
const CTRL_CMD_GETFAMILY = 3;
const CTRL_ATTR_FAMILY_ID = 1;
const CTRL_ATTR_FAMILY_NAME = 2;
const WG_CMD_GET_DEVICE = 0;
const WGDEVICE_A_IFINDEX = 1;
const WGDEVICE_A_PEERS = 8;
const WGPEER_A_ENDPOINT = 4;
/** An uplink has a peer or two; a hub of hundreds is none, and shall not cost rules. */
const ENDPOINTS_AT_MOST = 16;
/** Peers move rarely, and everything is read anew many times a second while routes change. */
const KEPT_FOR_MS = 2000;

export function openWireguard(): Wireguard {
  const known = new Map<number, { readonly remotes: readonly string[]; readonly at: number }>();
  let socket: NetlinkSocket | undefined;
  let family: number | undefined;
  const read = (ifindex: number): readonly string[] => {
    const isKnown = family !== undefined;
    try {
      socket ??= new NetlinkSocket(NETLINK_GENERIC);
      family ??= familyId(socket);
      return family === undefined ? [] : endpointsOf(socket, family, ifindex);
    } catch (failure) {
      if (!(failure instanceof KernelError)) throw failure;
      // Gone meanwhile; or the module was loaded anew, and the family has another number.
      family = undefined;
      return isKnown ? read(ifindex) : [];
    }
  };
  return {
    withEndpoints(tunnels, nowMs) {
      const ours = tunnels.filter(({ kind }) => kind === 'wireguard');
      for (const ifindex of known.keys()) if (!ours.some((tunnel) => tunnel.ifindex === ifindex)) known.delete(ifindex);
      for (const { ifindex } of ours) {
        const readAt = known.get(ifindex)?.at ?? -Infinity;
        if (nowMs - readAt >= KEPT_FOR_MS) known.set(ifindex, { remotes: read(ifindex), at: nowMs });
      }
      return tunnels.map((tunnel) => ({ ...tunnel, remotes: known.get(tunnel.ifindex)?.remotes ?? tunnel.remotes }));
    },
    close: () => socket?.close(),
  };
}

/** undefined = the kernel has none of that name. */
function familyId(socket: NetlinkSocket): number | undefined {
  const answer = socket.ask(GENL_ID_CTRL, (out) =>
    out.u8(CTRL_CMD_GETFAMILY).u8(1).u16(0).attributeText(CTRL_ATTR_FAMILY_NAME, 'wireguard'));
  if (typeof answer === 'string') return undefined;
  return new Attributes(answer.body, GENLMSGHDR_BYTES).bytes(CTRL_ATTR_FAMILY_ID, 2)?.readUInt16LE(0);
}

function endpointsOf(socket: NetlinkSocket, family: number, ifindex: number): readonly string[] {
  const parts = socket.dump(
    family,
    (out) => out.u8(WG_CMD_GET_DEVICE).u8(1).u16(0).attributeU32(WGDEVICE_A_IFINDEX, ifindex),
    ({ body }) => decodeEndpoints(body),
  );
  return [...new Set(parts.flat())].slice(0, ENDPOINTS_AT_MOST);
}

/** Of one part of the answer: a device with many peers comes in several. @throws KernelError EBADMSG */
export function decodeEndpoints(body: Buffer): readonly string[] {
  const peers = new Attributes(body, GENLMSGHDR_BYTES).bytes(WGDEVICE_A_PEERS);
  const endpoints: string[] = [];
  if (peers === undefined) return endpoints;
  eachAttribute(peers, 0, (_, peer) => {
    const address = addressIn(new Attributes(peer, 0).bytes(WGPEER_A_ENDPOINT, 16));
    if (address !== '') endpoints.push(address);
  });
  return endpoints;
}

/** Of a struct sockaddr_in or sockaddr_in6. */
function addressIn(sockaddr: Buffer | undefined): string {
  const family = sockaddr?.readUInt16LE(0);
  if (sockaddr === undefined || (family === AF_INET6 && sockaddr.length < 24)) return '';
  if (family === AF_INET6) return formatAddress(sockaddr.subarray(8, 24));
  return family === AF_INET ? formatAddress(sockaddr.subarray(4, 8)) : '';
}
