/**
 * Sockets that carry single packets made by hand: raw ICMP of either family, and AF_PACKET for what has no IP at all (packet(7), raw(7)).
 *
 * Everything is synchronous and non-blocking. A call that fails gives -errno, as the kernel does; nothing here throws. Addresses are
 * struct sockaddr_in, sockaddr_in6 and sockaddr_ll as bytes, made once and used for many packets.
 */
import type { Family } from '../model.js';
import { addressOf, libc, orErrno, POINTER_BYTES } from './library.js';

export const SOL_IP = 0;
export const SOL_IPV6 = 41;
export const ETH_P_ARP = 0x0806;
/** linux/if_arp.h */
export const ARPHRD_ETHER = 1;

const AF = { 4: 2, 6: 10 } as const;
const AF_PACKET = 17;
const IPPROTO_ICMP = { 4: 1, 6: 58 } as const;
const SOCK_DGRAM = 2;
const SOCK_RAW = 3;
const CLOEXEC_NONBLOCK = 0o2000000 | 0o4000;
const MSG_DONTWAIT = 0x40;
const MSG_TRUNC = 0x20;
// linux/sockios.h, linux/if.h
const SIOCGIFFLAGS = 0x8913n;
const SIOCGIFMTU = 0x8921n;
const SIOCGIFHWADDR = 0x8927n;
const IFF_NOARP = 0x80;
const IFNAME_BYTES = 16;

const cSocket = libc.func('int socket(int domain, int type, int protocol)') as (domain: number, type: number, protocol: number) => number;
const cSendto = libc.func('intptr_t sendto(int fd, const void *bytes, size_t length, int flags, const void *address, uint32_t size)') as (
  fd: number, bytes: Buffer, length: number, flags: number, address: Buffer, size: number,
) => number;
const cRecvmsg = libc.func('intptr_t recvmsg(int fd, void *message, int flags)') as (fd: number, message: Buffer, flags: number) => number;
const cIoctl = libc.func('int ioctl(int fd, unsigned long request, void *argument)') as (fd: number, request: bigint, argument: Buffer) => number;

/** Hears nothing but ICMP of its family; IPv4 packets come with their IP header. @returns the descriptor or -errno */
export function openRawIcmp(family: Family): number {
  return orErrno(cSocket(AF[family], SOCK_RAW | CLOEXEC_NONBLOCK, IPPROTO_ICMP[family]));
}

/** Hears nothing until it is bound to a protocol and a device (`linkAddress`); the kernel writes and takes off the link's header. @returns the descriptor or -errno */
export function openPacketSocket(): number {
  return orErrno(cSocket(AF_PACKET, SOCK_DGRAM | CLOEXEC_NONBLOCK, 0));
}

/** Sends the first `length` bytes now. @returns bytes sent or -errno */
export function sendTo(fd: number, bytes: Buffer, length: number, address: Buffer): number {
  return orErrno(cSendto(fd, bytes, length, MSG_DONTWAIT, address, address.length));
}

/** struct sockaddr_in or sockaddr_in6. @param scope the device of a link-local address, else 0 */
export function inetAddress(family: Family, address: Buffer, scope: number): Buffer {
  const bytes = Buffer.alloc(family === 4 ? 16 : 28);
  new Uint16Array(bytes.buffer, bytes.byteOffset, 1)[0] = AF[family];
  address.copy(bytes, family === 4 ? 4 : 8);
  if (family === 6) new Uint32Array(bytes.buffer, bytes.byteOffset + 24, 1)[0] = scope;
  return bytes;
}

/** struct sockaddr_ll. @param mac whom to send to; empty where it is bound to */
export function linkAddress(protocol: number, ifindex: number, mac: Buffer): Buffer {
  const bytes = Buffer.alloc(20);
  new Uint16Array(bytes.buffer, bytes.byteOffset, 1)[0] = AF_PACKET;
  bytes.writeUInt16BE(protocol, 2);
  new Int32Array(bytes.buffer, bytes.byteOffset + 4, 1)[0] = ifindex;
  bytes.writeUInt8(mac.length, 11);
  mac.copy(bytes, 12);
  return bytes;
}

/** What came in, and from whom. Its buffers are used again by the next call. */
export interface Received {
  readonly bytes: Buffer;
  /** struct sockaddr of the sender. */
  readonly from: Buffer;
  /** Control messages (cmsg(3)): the first `controlLength()` bytes. */
  readonly control: Buffer;
  controlLength(): number;
  /** Takes one packet. @returns its true length (more than `bytes` holds: it was cut), or -errno */
  receive(fd: number): number;
}

/** recvmsg with everything that it writes to, prepared once (struct msghdr, recv(2)). */
export function receiver(capacity: number): Received {
  const bytes = Buffer.alloc(capacity);
  const from = Buffer.alloc(28);
  const control = Buffer.alloc(128);
  const vector = words([addressOf(bytes), BigInt(capacity)]);
  const message = words([addressOf(from), 0n, addressOf(vector), 1n, addressOf(control), 0n, 0n]);
  const fromLength = new Uint32Array(message.buffer, message.byteOffset + POINTER_BYTES, 1);
  const controlLength = new Uint32Array(message.buffer, message.byteOffset + 5 * POINTER_BYTES, 1);
  const held = { message, vector }; // the kernel goes through pointers that the collector does not see
  return {
    bytes, from, control,
    controlLength: () => controlLength[0] ?? 0,
    receive(fd) {
      fromLength[0] = from.length;
      controlLength[0] = control.length;
      return orErrno(cRecvmsg(fd, held.message, MSG_DONTWAIT | MSG_TRUNC));
    },
  };
}

/** What the kernel says of a device by name, asked through any socket; undefined: there is none of that name. */
export function deviceOf(fd: number, name: string): { readonly kind: number; readonly mac: Buffer; readonly mtu: number; readonly arp: boolean } | undefined {
  const asked = (request: bigint): Buffer | undefined => {
    const answer = Buffer.alloc(40); // struct ifreq
    answer.write(name.slice(0, IFNAME_BYTES - 1));
    return cIoctl(fd, request, answer) < 0 ? undefined : answer.subarray(IFNAME_BYTES);
  };
  const [flags, mtu, hardware] = [asked(SIOCGIFFLAGS), asked(SIOCGIFMTU), asked(SIOCGIFHWADDR)];
  if (flags === undefined || mtu === undefined || hardware === undefined) return undefined;
  return { kind: native16(hardware), mac: hardware.subarray(2, 8), mtu: native32(mtu), arp: (native16(flags) & IFF_NOARP) === 0 };
}

/** size_t and pointers side by side, as a struct has them. */
function words(values: readonly bigint[]): Buffer {
  const bytes = Buffer.alloc(values.length * POINTER_BYTES);
  if (POINTER_BYTES === 8) new BigUint64Array(bytes.buffer, bytes.byteOffset, values.length).set(values);
  else new Uint32Array(bytes.buffer, bytes.byteOffset, values.length).set(values.map(Number));
  return bytes;
}

/** Host byte order. */
function native16(bytes: Buffer): number {
  return new Uint16Array(bytes.buffer, bytes.byteOffset, 1)[0] ?? 0;
}

function native32(bytes: Buffer): number {
  return new Uint32Array(bytes.buffer, bytes.byteOffset, 1)[0] ?? 0;
}
