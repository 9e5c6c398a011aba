/**
 * The C library's calls for TCP and UDP sockets that are pinned to a device, which Node cannot make (its API knows no SO_BINDTODEVICE).
 *
 * All sockets are non-blocking and close-on-exec. As in sockets.ts a call that fails gives -errno, as the kernel does, and nothing throws.
 */
import type { Family } from '../model.js';
import { libc, orErrno, type Call } from './library.js';
import { setOption, setOptionBytes, SOL_SOCKET } from './sockets.js';

export type InetKind = 'stream' | 'datagram';

/** What the kernel knows of a TCP connection (struct tcp_info, linux/tcp.h). */
export interface ConnectionInfo {
  /** As the kernel measured it; 0 = not measured. */
  readonly rttMs: number;
  /** Segments that were sent more than once. */
  readonly repeats: number;
}

/** @returns the descriptor or -errno */
export function openInet(family: Family, kind: InetKind): number {
  return orErrno(cSocket(family === 4 ? AF_INET : AF_INET6, (kind === 'stream' ? SOCK_STREAM : SOCK_DGRAM) | CLOEXEC_NONBLOCK, 0));
}

/** To the device with this index alone, both ways (SO_BINDTOIFINDEX, Linux 5.1). By index: a name may belong to another device by now. @returns 0 or -errno */
export function pinToDevice(fd: number, ifindex: number): number {
  return setOption(fd, SOL_SOCKET, SO_BINDTOIFINDEX, ifindex);
}

/** The options of a stream that is to end in a reset as soon as it is closed: nothing lingers in TIME_WAIT, here or in a NAT on the way. @returns 0 or -errno */
export function resetOnClose(fd: number): number {
  const linger = Buffer.alloc(8);
  linger.writeInt32LE(1, 0);
  return setOptionBytes(fd, SOL_SOCKET, SO_LINGER, linger);
}

/** How long the kernel goes on with a stream that gets no answer, before it ends it by ETIMEDOUT. @returns 0 or -errno */
export function giveUpAfter(fd: number, ms: number): number {
  return setOption(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, ms);
}

/** A datagram socket hears of every ICMP error about what it sent, not of a closed port alone (IP_RECVERR, ip(7)). @returns 0 or -errno */
export function hearErrors(fd: number, family: Family): number {
  return family === 4 ? setOption(fd, IPPROTO_IP, IP_RECVERR, 1) : setOption(fd, IPPROTO_IPV6, IPV6_RECVERR, 1);
}

/** The source port is chosen when the stream is connected, so that it needs to be unique for that destination only. @returns 0 or -errno */
export function choosePortLate(fd: number): number {
  return setOption(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);
}

/**
 * struct sockaddr_in or sockaddr_in6. The scope counts for link-local addresses alone.
 * @returns undefined where `address` is none of this family; a zone in it (`%eth0`) is passed over
 */
export function socketAddress(family: Family, address: string, port: number, ifindex: number): Buffer | undefined {
  const bytes = Buffer.alloc(family === 4 ? SOCKADDR_IN_BYTES : SOCKADDR_IN6_BYTES);
  const at = family === 4 ? 4 : 8;
  if (cInetPton(family === 4 ? AF_INET : AF_INET6, address.split('%', 1)[0] ?? '', bytes.subarray(at)) !== 1) return undefined;
  bytes.writeUInt16LE(family === 4 ? AF_INET : AF_INET6, 0);
  bytes.writeUInt16BE(port, 2);
  if (family === 6 && bytes[8] === 0xfe && (bytes[9]! & 0xc0) === 0x80) bytes.writeUInt32LE(ifindex, 24);
  return bytes;
}

/** @returns 0 or -errno */
export function bindTo(fd: number, address: Buffer): number {
  return orErrno(cBind(fd, address, address.length));
}

/** @returns 0 or -errno; -EINPROGRESS: it is on its way, and the descriptor becomes writable when it stands or failed */
export function connectTo(fd: number, address: Buffer): number {
  return orErrno(cConnect(fd, address, address.length));
}

/** What became of a connect that was on its way. @returns 0 or -errno */
export function connectOutcome(fd: number): number {
  const value = Buffer.alloc(4);
  const result = getOption(fd, SOL_SOCKET, SO_ERROR, value);
  return result < 0 ? result : -value.readInt32LE(0);
}

/** undefined where the kernel does not tell. */
export function connectionInfo(fd: number): ConnectionInfo | undefined {
  const value = Buffer.alloc(TCP_INFO_BYTES);
  if (getOption(fd, IPPROTO_TCP, TCP_INFO, value) < 0) return undefined;
  return { rttMs: value.readUInt32LE(68) / 1000, repeats: value.readUInt32LE(100) };
}

function getOption(fd: number, level: number, option: number, value: Buffer): number {
  const length = Buffer.alloc(4);
  length.writeUInt32LE(value.length, 0);
  return orErrno(cGetsockopt(fd, level, option, value, length));
}

export const EINPROGRESS = 115;

// include/uapi/asm-generic/socket.h, linux/in.h, linux/in6.h, linux/tcp.h
const AF_INET = 2;
const AF_INET6 = 10;
const SOCK_STREAM = 1;
const SOCK_DGRAM = 2;
const CLOEXEC_NONBLOCK = 0o2000000 | 0o4000;
const SO_ERROR = 4;
const SO_LINGER = 13;
const SO_BINDTOIFINDEX = 62;
const IPPROTO_IP = 0;
const IP_RECVERR = 11;
const IP_BIND_ADDRESS_NO_PORT = 24;
const IPPROTO_IPV6 = 41;
const IPV6_RECVERR = 25;
const IPPROTO_TCP = 6;
const TCP_INFO = 11;
const TCP_USER_TIMEOUT = 18;
const SOCKADDR_IN_BYTES = 16;
const SOCKADDR_IN6_BYTES = 28;
/** Up to tcpi_total_retrans. */
const TCP_INFO_BYTES = 104;

type WithAddress = Call<(fd: number, address: Buffer, length: number) => number>;
const cSocket = libc.func('int socket(int domain, int type, int protocol)') as Call<(domain: number, type: number, protocol: number) => number>;
const cBind = libc.func('int bind(int fd, const void *address, uint32_t length)') as WithAddress;
const cConnect = libc.func('int connect(int fd, const void *address, uint32_t length)') as WithAddress;
const cInetPton = libc.func('int inet_pton(int family, const char *text, void *bytes)') as Call<(family: number, text: string, bytes: Buffer) => number>;
const cGetsockopt = libc.func('int getsockopt(int fd, int level, int option, void *value, void *length)') as Call<
  (fd: number, level: number, option: number, value: Buffer, length: Buffer) => number
>;
