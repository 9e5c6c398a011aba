/**
 * Neighbour discovery for IPv6 (RFC 4861): a solicitation to the gateway's solicited-node group, answered by an advertisement that says it is an
 * answer, names the gateway as its target, and has come over no router (hop limit 255).
 *
 * A raw ICMPv6 socket bound to its device: the groups are of that link alone. The source is left to the kernel, which takes a link-local address of
 * this device: every device that speaks IPv6 has one.
 */
import { POINTER_BYTES } from '../libc/library.js';
import { inetAddress, openRawIcmp, SOL_IPV6, type Received } from '../libc/packet-socket.js';
import { closeDescriptor, setOption, setOptionBytes, SOL_SOCKET } from '../libc/sockets.js';
import type { ProbeLine } from '../model.js';
import { errorInWords } from './errno.js';
import type { NeighbourLink } from './neighbour.js';
import { addressBytes } from './packet.js';

const SOLICITATION = 135;
const ADVERTISEMENT = 136;
const SOLICITED = 0x40;
/** Type, code, checksum, flags, target; then options. */
const ADVERTISEMENT_BYTES = 24;
const SOLICITED_NODE = addressBytes(6, 'ff02::1:ff00:0');

/** @throws Error (`no socket for neighbour discovery: EPERM: ...`) */
export function openNdLink({ ifindex }: ProbeLine): NeighbourLink {
  const fd = openRawIcmp(6);
  const steps: readonly (() => number)[] = [
    () => fd,
    () => setOptionBytes(fd, IPPROTO_ICMPV6, ICMPV6_FILTER, advertisementsOnly()),
    () => setOption(fd, SOL_SOCKET, SO_BINDTOIFINDEX, ifindex),
    () => setOption(fd, SOL_IPV6, IPV6_MULTICAST_HOPS, 255),
    () => setOption(fd, SOL_IPV6, IPV6_MULTICAST_LOOP, 0),
    () => setOption(fd, SOL_IPV6, IPV6_RECVHOPLIMIT, 1),
  ];
  for (const step of steps) {
    const result = step();
    if (result >= 0) continue;
    if (fd >= 0) closeDescriptor(fd);
    throw new Error(`no socket for neighbour discovery: ${errorInWords(result, 'opening')}`);
  }
  return {
    fd,
    request(mac, address) {
      const bytes = Buffer.alloc(32); // the kernel writes the checksum
      bytes.writeUInt8(SOLICITATION, 0);
      address.copy(bytes, 8);
      bytes.set([1, 1], 24); // option: our own link-layer address, 8 bytes in all
      mac.copy(bytes, 26);
      const group = Buffer.from(SOLICITED_NODE);
      address.copy(group, 13, 13);
      return { bytes, to: inetAddress(6, group, ifindex) };
    },
    answererOf(received, length) {
      const { bytes } = received;
      if (length < ADVERTISEMENT_BYTES || bytes.readUInt16BE(0) !== ADVERTISEMENT << 8 || (bytes.readUInt8(4) & SOLICITED) === 0) return undefined;
      return hopLimitOf(received) === 255 ? bytes.subarray(8, 24) : undefined;
    },
  };
}

/** A set bit = stays in the kernel; words in host byte order (linux/icmpv6.h). */
function advertisementsOnly(): Buffer {
  const filter = Buffer.alloc(32, 0xff);
  const words = new Uint32Array(filter.buffer, filter.byteOffset, 8);
  words[ADVERTISEMENT >> 5] = ~(1 << (ADVERTISEMENT & 31)) >>> 0;
  return filter;
}

/** The only control message that we ordered: struct cmsghdr (a size_t and two ints), then an int. */
function hopLimitOf({ control, controlLength }: Received): number {
  const at = POINTER_BYTES + 8;
  if (controlLength() < at + 4) return 0;
  const [level, type] = new Int32Array(control.buffer, control.byteOffset + POINTER_BYTES, 2);
  return level === SOL_IPV6 && type === IPV6_HOPLIMIT ? (new Int32Array(control.buffer, control.byteOffset + at, 1)[0] ?? 0) : 0;
}

// include/uapi/asm-generic/socket.h, linux/in6.h, linux/icmpv6.h
const SO_BINDTOIFINDEX = 62;
const IPPROTO_ICMPV6 = 58;
const ICMPV6_FILTER = 1;
const IPV6_MULTICAST_HOPS = 18;
const IPV6_MULTICAST_LOOP = 19;
const IPV6_RECVHOPLIMIT = 51;
const IPV6_HOPLIMIT = 52;
