/**
 * ARP for IPv4 over Ethernet (RFC 826): who has the gateway's address, asked of everybody on the link, as the kernel would.
 *
 * A packet socket has no route and no rule that could lead elsewhere: it is bound to its device. The kernel's filter lets in nothing but answers
 * to our own address, so the chatter of a large segment costs nothing.
 */
import { addressOf } from '../libc/library.js';
import { bindTo } from '../libc/inet.js';
import { ETH_P_ARP, linkAddress, openPacketSocket } from '../libc/packet-socket.js';
import { closeDescriptor, setOptionBytes, SOL_SOCKET } from '../libc/sockets.js';
import type { ProbeLine } from '../model.js';
import { arpFilter, FPROG_BYTES } from './bpf.js';
import { errorInWords } from './errno.js';
import type { NeighbourLink } from './neighbour.js';
import { addressBytes } from './packet.js';

const BROADCAST = Buffer.alloc(6, 0xff);
const PACKET_BYTES = 28;
/** Ethernet, IPv4, their lengths; then the operation. */
const HEADER = Buffer.from([0, 1, 8, 0, 6, 4]);
const REQUEST = 1;
const REPLY = 2;
/** In the first byte of a MAC address: of a group, which nobody is. */
const GROUP = 1;
const SO_ATTACH_FILTER = 26;

/** @throws Error (`no ARP socket: EPERM: ...`) */
export function openArpLink({ ifindex, source }: ProbeLine): NeighbourLink {
  // RFC 5227: whoever has no address yet asks as 0.0.0.0.
  const own = source === '' ? Buffer.alloc(4) : addressBytes(4, source);
  const fd = openPacketSocket();
  const steps: readonly (() => number)[] = [
    () => fd,
    () => setOptionBytes(fd, SOL_SOCKET, SO_ATTACH_FILTER, arpFilter(own, addressOf).subarray(0, FPROG_BYTES)),
    () => bindTo(fd, linkAddress(ETH_P_ARP, ifindex, Buffer.alloc(0))),
  ];
  for (const step of steps) {
    const result = step();
    if (result >= 0) continue;
    if (fd >= 0) closeDescriptor(fd);
    throw new Error(`no ARP socket: ${errorInWords(result, 'opening')}`);
  }
  const everybody = linkAddress(ETH_P_ARP, ifindex, BROADCAST);
  const asker = Buffer.alloc(6);
  return {
    fd,
    request(mac, address) {
      mac.copy(asker);
      const bytes = Buffer.alloc(PACKET_BYTES);
      HEADER.copy(bytes);
      bytes.writeUInt16BE(REQUEST, 6);
      mac.copy(bytes, 8);
      own.copy(bytes, 14);
      address.copy(bytes, 24);
      return { bytes, to: everybody };
    },
    answererOf({ bytes }, length) {
      if (length < PACKET_BYTES || !bytes.subarray(0, 6).equals(HEADER) || bytes.readUInt16BE(6) !== REPLY) return undefined;
      const isToUs = bytes.subarray(18, 24).equals(asker) && bytes.subarray(24, 28).equals(own);
      // A switch that sends our own question back has not answered it.
      const isOfOther = (bytes.readUInt8(8) & GROUP) === 0 && !bytes.subarray(8, 14).equals(asker);
      return isToUs && isOfOther ? bytes.subarray(14, 18) : undefined;
    },
  };
}
