/**
 * How a packet reaches an address, asked of the kernel for one address at a time: by which device, and to whose hardware address.
 * The rule set of the kernel is followed as for a packet of the router itself that bears no mark. Kernels before 5.0 cannot be
 * asked for a single neighbour: then no hardware address is known. Source: net/ipv4/route.c, net/core/neighbour.c (neigh_get).
 */
import { Attributes, type Writer } from './codec.js';
import { AF_INET, AF_INET6 } from './inet.js';
import { RTM_GETLINK, decodeLink, writeLinkRequest } from './link.js';
import { RTM_GETNEIGH, RTM_NEWNEIGH } from './neighbour.js';
import { RTM_GETROUTE, RTM_NEWROUTE } from './route.js';
import type { NetlinkSocket } from './socket.js';

const RTMSG_BYTES = 12;
const RTNEXTHOP_BYTES = 8;
const NDMSG_BYTES = 12;
const RTM_F_FIB_MATCH = 0x2000;
const RTN_UNICAST = 1;
const RTN_LOCAL = 2;
const RTA_DST = 1;
const RTA_OIF = 4;
const RTA_GATEWAY = 5;
const RTA_MULTIPATH = 9;
const RTA_VIA = 18;
const NDA_DST = 1;
const NDA_LLADDR = 2;
const NUD_FAILED_OR_INCOMPLETE = 0x21;

export type Way =
  /** An address of this machine. */
  | { readonly kind: 'own' }
  /** By a default route, or not at all. */
  | { readonly kind: 'far' }
  /** `hardware` is empty on links that have no such addresses (tunnels), undefined where the neighbour's is not known. */
  | { readonly kind: 'near'; readonly ifindex: number; readonly hardware: Buffer | undefined };

/**
 * @param socket of NETLINK_ROUTE
 * @throws KernelError
 */
export function findWay(socket: NetlinkSocket, address: Buffer): Way {
  const answer = socket.ask(RTM_GETROUTE, (out) => writeQuestion(out, address));
  if (typeof answer === 'string' || answer.type !== RTM_NEWROUTE) return { kind: 'far' };
  const { body } = answer;
  const attributes = new Attributes(body, RTMSG_BYTES);
  if (body.readUInt8(7) === RTN_LOCAL) return { kind: 'own' };
  if (body.readUInt8(7) !== RTN_UNICAST || body.readUInt8(1) === 0) return { kind: 'far' };
  const multipath = attributes.bytes(RTA_MULTIPATH, RTNEXTHOP_BYTES);
  const ifindex = multipath?.readInt32LE(4) ?? attributes.i32(RTA_OIF);
  if (ifindex === undefined) return { kind: 'far' };
  const hop = multipath === undefined ? attributes : new Attributes(multipath.subarray(0, multipath.readUInt16LE(0)), RTNEXTHOP_BYTES);
  const gateway = hop.bytes(RTA_GATEWAY) ?? hop.bytes(RTA_VIA, 2)?.subarray(2) ?? address;
  return { kind: 'near', ifindex, hardware: hardwareOf(socket, ifindex, Buffer.from(gateway)) };
}

function writeQuestion(out: Writer, address: Buffer): void {
  out.u8(afOf(address)).u8(address.length * 8).u16(0).u32(0).u32(RTM_F_FIB_MATCH).attribute(RTA_DST, address);
}

function hardwareOf(socket: NetlinkSocket, ifindex: number, neighbour: Buffer): Buffer | undefined {
  const link = socket.ask(RTM_GETLINK, (out) => writeLinkRequest(out, ifindex));
  if (typeof link === 'string') return undefined;
  if (decodeLink(link.body)?.mac === '') return Buffer.alloc(0);
  const answer = socket.ask(RTM_GETNEIGH, (out) => out.u32(afOf(neighbour)).u32(ifindex).u32(0).attribute(NDA_DST, neighbour));
  if (typeof answer === 'string' || answer.type !== RTM_NEWNEIGH) return undefined;
  if ((answer.body.readUInt16LE(8) & NUD_FAILED_OR_INCOMPLETE) !== 0) return undefined;
  const hardware = new Attributes(answer.body, NDMSG_BYTES).bytes(NDA_LLADDR);
  return hardware === undefined ? undefined : Buffer.from(hardware);
}

function afOf(address: Buffer): number {
  return address.length === 4 ? AF_INET : AF_INET6;
}
