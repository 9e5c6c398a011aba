/**
 * The C library's socket calls.
 *
 * Calls are synchronous and non-blocking (MSG_DONTWAIT): netlink answers inside send, so a reply is there when send returns.
 * A call that fails gives -errno, as the kernel does; nothing here throws.
 */
import { inThread, libc, orErrno, type Call } from './library.js';

const AF_NETLINK = 16;
export const SOL_SOCKET = 1;
const SO_SNDBUF = 7;
export const SO_RCVBUF = 8;
export const SO_RCVBUFFORCE = 33;
const SO_PEERCRED = 17;
export const SOL_NETLINK = 270;

const AF_PACKET = 17;
const SOCK_RAW_CLOEXEC_NONBLOCK = 3 | 0o2000000 | 0o4000;
const SOCK_DGRAM_CLOEXEC_NONBLOCK = 2 | 0o2000000 | 0o4000;
const MSG_DONTWAIT = 0x40;
const MSG_TRUNC = 0x20;
const MSG_ERRQUEUE = 0x2000;

const cSocket = libc.func('int socket(int domain, int type, int protocol)') as (domain: number, type: number, protocol: number) => number;
const cBind = libc.func('int bind(int fd, const void *address, uint32_t length)') as (fd: number, address: Buffer, length: number) => number;
const cGetsockname = libc.func('int getsockname(int fd, void *address, void *length)') as (fd: number, address: Buffer, length: Buffer) => number;
const cSetsockopt = libc.func('int setsockopt(int fd, int level, int option, const void *value, uint32_t length)') as (
  fd: number,
  level: number,
  option: number,
  value: Buffer,
  length: number,
) => number;
const cGetsockopt = libc.func('int getsockopt(int fd, int level, int option, void *value, void *length)') as (
  fd: number,
  level: number,
  option: number,
  value: Buffer,
  length: Buffer,
) => number;
type Transfer = Call<(fd: number, bytes: Buffer, length: number, flags: number) => number>;
const cSend = libc.func('intptr_t send(int fd, const void *bytes, size_t length, int flags)') as Transfer;
const cRecv = libc.func('intptr_t recv(int fd, void *bytes, size_t length, int flags)') as Transfer;
const cSendmmsg = libc.func('int sendmmsg(int fd, void *messages, uint32_t count, int flags)') as Call<(fd: number, messages: Buffer, count: number, flags: number) => number>;
const cClose = libc.func('int close(int fd)') as (fd: number) => number;

/** A raw netlink socket, close-on-exec and non-blocking. @returns the descriptor or -errno */
export function openNetlink(protocol: number): number {
  return orErrno(cSocket(AF_NETLINK, SOCK_RAW_CLOEXEC_NONBLOCK, protocol));
}

/** Binds to a port the kernel chooses and to the groups of the bit mask. @returns 0 or -errno */
export function bindNetlink(fd: number, groups: number): number {
  const address = Buffer.alloc(SOCKADDR_NL_BYTES);
  address.writeUInt16LE(AF_NETLINK, 0);
  address.writeUInt32LE(groups >>> 0, 8);
  return orErrno(cBind(fd, address, address.length));
}

/** The port the kernel gave us: its messages to and because of us carry it. @returns the port or -errno */
export function netlinkPort(fd: number): number {
  const address = Buffer.alloc(SOCKADDR_NL_BYTES);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(address.length, 0);
  const result = orErrno(cGetsockname(fd, address, length));
  return result < 0 ? result : address.readUInt32LE(4);
}

/** Sets an option whose value is an int. @returns 0 or -errno */
export function setOption(fd: number, level: number, option: number, value: number): number {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32LE(value, 0);
  return orErrno(cSetsockopt(fd, level, option, bytes, bytes.length));
}

/** Sets an option whose value is a struct. @returns 0 or -errno */
export function setOptionBytes(fd: number, level: number, option: number, value: Buffer): number {
  return orErrno(cSetsockopt(fd, level, option, value, value.length));
}

/** The user at the other end of a connected unix socket (SO_PEERCRED, unix(7)); undefined where the kernel does not tell. */
export function peerUid(fd: number): number | undefined {
  const credentials = Buffer.alloc(12);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(credentials.length, 0);
  const result = cGetsockopt(fd, SOL_SOCKET, SO_PEERCRED, credentials, length);
  return result < 0 ? undefined : credentials.readUInt32LE(4);
}

/**
 * How much the kernel keeps for a peer that does not read: of a listening TCP socket, for all that it accepts. By
 * itself Linux lets it grow to megabytes (tcp_wmem). The kernel doubles the number and counts its own overhead in it
 * (socket(7)). @returns 0 or -errno
 */
export function boundSendBuffer(fd: number, bytes: number): number {
  return setOption(fd, SOL_SOCKET, SO_SNDBUF, bytes);
}

/** Sends the first `length` bytes. @returns bytes sent or -errno */
export function send(fd: number, bytes: Buffer, length: number): number {
  return orErrno(cSend(fd, bytes, length, MSG_DONTWAIT));
}

/** One message block into `bytes`. @returns its true length (more than `bytes` holds: it was cut), or -errno */
export function receive(fd: number, bytes: Buffer): number {
  return orErrno(cRecv(fd, bytes, bytes.length, MSG_DONTWAIT | MSG_TRUNC));
}

/**
 * The packet that an ICMP error of the socket's queue is about (`hearErrors`), as far as the error quotes it; whoever leaves it there is woken for ever.
 * @returns how long it is, or -errno
 */
export function receiveError(fd: number, bytes: Buffer): number {
  return orErrno(cRecv(fd, bytes, bytes.length, MSG_DONTWAIT | MSG_ERRQUEUE));
}

/** `send` in a thread of libuv's pool. */
export function sendAside(fd: number, bytes: Buffer, length: number): Promise<number> {
  return inThread((done) => cSend.async(fd, bytes, length, MSG_DONTWAIT, done));
}

/** `receive` in a thread of libuv's pool. `bytes` belongs to the call until it is done. */
export function receiveAside(fd: number, bytes: Buffer): Promise<number> {
  return inThread((done) => cRecv.async(fd, bytes, bytes.length, MSG_DONTWAIT | MSG_TRUNC, done));
}

/** A packet socket that sends and hears nothing (protocol 0); the kernel writes the link's header. @returns the descriptor or -errno */
export function openPacketSender(): number {
  return orErrno(cSocket(AF_PACKET, SOCK_DGRAM_CLOEXEC_NONBLOCK, 0));
}

/** sendmmsg in a thread of libuv's pool: ends at the first message that is refused. `messages` is an array of struct mmsghdr. @returns how many were sent, or -errno if none was */
export function sendManyAside(fd: number, messages: Buffer, count: number): Promise<number> {
  return inThread((done) => cSendmmsg.async(fd, messages, count, MSG_DONTWAIT, done));
}

export function closeDescriptor(fd: number): number {
  return orErrno(cClose(fd));
}

const SOCKADDR_NL_BYTES = 12;
