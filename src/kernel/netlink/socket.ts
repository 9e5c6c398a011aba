/**
 * A netlink socket for requests. Netlink answers inside send: the reply is in the socket's buffer when the call returns, so a
 * request is send + receive, synchronous, a few microseconds, and nothing can come between two requests.
 *
 * A change is answered by one NLMSG_ERROR (errno 0 = done) that carries the kernel's own words (extended ack). A dump comes in
 * parts, each made while it is received, and ends with NLMSG_DONE; one that the kernel marks as interrupted (something changed
 * meanwhile) is repeated, so that what is returned was true at some instant. After a lost or unreadable answer the socket is
 * replaced, because the rest of that answer may still be in it. Source: net/netlink/af_netlink.c.
 */
import { readAcks, readPart, refusal, type Decode } from './answer.js';
import { NLMSG_ERROR, NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, Writer, messagesIn, type Glance, type Message } from './codec.js';
import { KernelError, errnoName } from './error.js';
import { SOL_NETLINK, SOL_SOCKET, SO_RCVBUF, SO_RCVBUFFORCE, bindNetlink, closeDescriptor, netlinkPort, openNetlink, receive, send, setOption } from '../../libc/sockets.js';

export const NETLINK_ROUTE = 0;
export const NETLINK_NETFILTER = 12;

const NETLINK_CAP_ACK = 10;
const NETLINK_EXT_ACK = 11;
const NETLINK_GET_STRICT_CHK = 12;

/** The kernel makes parts of at most 32 KiB and single answers of at most 64 KiB. */
export const RECEIVE_BYTES = 128 * 1024;
export const REQUEST_BYTES = 64 * 1024;
/** Refusals of a batch wait here until they are read. */
const SOCKET_BUFFER_BYTES = 4 * 1024 * 1024;
/** A dump of few objects comes in one part and cannot be interrupted; one that was so often is of a table in constant change. */
const DUMP_ATTEMPTS = 6;
/** Of one answer. A full Internet table comes in some 3000 parts. */
export const PARTS_AT_MOST = 100_000;

export type Write = (out: Writer) => void;

export class NetlinkSocket {
  private fd: number;
  private portId: number;
  private sequence = 0;
  private readonly request = new Writer(REQUEST_BYTES);
  private readonly answer = Buffer.alloc(RECEIVE_BYTES);

  /** @throws KernelError when such a socket cannot be had */
  constructor(private readonly protocol: number) {
    this.fd = openForRequests(protocol);
    this.portId = netlinkPort(this.fd);
  }

  /** What the kernel tells others because of our requests carries this number. It is another one after the socket was replaced. */
  get port(): number {
    return this.portId;
  }

  /**
   * One change. @returns '' when done, else `ENETUNREACH: Nexthop has invalid gateway` (errno name and the kernel's own words)
   * @throws KernelError when the request cannot be sent; RangeError when `write` refuses what it is to write
   */
  change(type: number, flags: number, write: Write): string {
    const errors = [''];
    const first = this.begin(type, flags | NLM_F_REQUEST | NLM_F_ACK, write);
    this.send();
    for (let part = 0; part < PARTS_AT_MOST; part++) {
      const bytes = this.receive();
      if (typeof bytes === 'string') {
        this.replace();
        return `${bytes}: the kernel's answer was lost; reading back shows whether the change was made`;
      }
      if (readAcks(bytes, first, errors)) return errors[0] ?? '';
    }
    throw this.lost('EBADMSG');
  }

  /**
   * A question with one answer. @returns the answer (a view), or the refusal as `change` gives it
   * @throws KernelError when the request cannot be sent or its answer was lost
   */
  ask(type: number, write: Write): Message | string {
    const sequence = this.begin(type, NLM_F_REQUEST, write);
    this.send();
    for (let part = 0; part < PARTS_AT_MOST; part++) {
      const bytes = this.receive();
      if (typeof bytes === 'string') throw this.lost(bytes);
      for (const message of messagesIn(bytes)) {
        if (message.sequence === sequence) return message.type === NLMSG_ERROR ? refusal(message) : message;
      }
    }
    throw this.lost('EBADMSG');
  }

  /**
   * Everything of one kind, true at one instant. What `glance` refuses is not decoded.
   * @throws KernelError when the socket fails, when the kernel refuses (`ENOENT: FIB table does not exist`), or EINTR when six
   *         dumps in a row were interrupted by changes
   */
  dump<T>(type: number, write: Write, decode: Decode<T>, glance?: Glance): T[] {
    for (let attempt = 0; attempt < DUMP_ATTEMPTS; attempt++) {
      const found = this.dumpOnce(type, write, decode, glance);
      if (found !== 'interrupted') return found;
    }
    throw new KernelError('EINTR', `a dump (netlink message ${type}) was interrupted by changes ${DUMP_ATTEMPTS} times`);
  }

  close(): void {
    closeDescriptor(this.fd);
  }

  private dumpOnce<T>(type: number, write: Write, decode: Decode<T>, glance?: Glance): T[] | 'interrupted' {
    const sequence = this.begin(type, NLM_F_REQUEST | NLM_F_DUMP, write);
    this.send();
    const all: T[] = [];
    let interrupted = false;
    try {
      for (let i = 0; i < PARTS_AT_MOST; i++) {
        const bytes = this.receive();
        if (bytes === 'ENOBUFS') {
          this.replace();
          return 'interrupted';
        }
        if (typeof bytes === 'string') throw new KernelError(bytes, 'a netlink dump broke off');
        const part = readPart(bytes, sequence, decode, glance);
        for (const object of part.found) all.push(object);
        interrupted ||= part.interrupted;
        if (part.last) return interrupted ? 'interrupted' : all;
      }
      throw new KernelError('EBADMSG', 'a netlink dump without end');
    } catch (error) {
      this.replace();
      throw error;
    }
  }

  private begin(type: number, flags: number, write: Write): number {
    this.sequence = (this.sequence + 1) >>> 0;
    this.request.clear();
    this.request.message(type, flags, this.sequence, write);
    return this.sequence;
  }

  private send(): void {
    const bytes = this.request.bytes;
    const sent = send(this.fd, bytes, bytes.length);
    if (sent !== bytes.length) throw new KernelError(errnoName(-sent), 'a netlink request could not be sent');
  }

  /** One datagram, as a view; or the errno's name. */
  private receive(): Buffer | string {
    const length = receive(this.fd, this.answer);
    if (length < 0) return errnoName(-length);
    return length > this.answer.length ? 'EMSGSIZE' : this.answer.subarray(0, length);
  }

  private lost(code: string): KernelError {
    this.replace();
    return new KernelError(code, 'the answer to a netlink request was lost');
  }

  private replace(): void {
    closeDescriptor(this.fd);
    this.fd = openForRequests(this.protocol);
    this.portId = netlinkPort(this.fd);
  }
}

/**
 * A descriptor with everything set that requests want. Kernels before 4.20 refuse options that they do not know: then errors have
 * no words and dumps are not filtered, and both are provided for.
 * @throws KernelError
 */
export function openForRequests(protocol: number): number {
  const fd = openNetlink(protocol);
  if (fd < 0) throw new KernelError(errnoName(-fd), `no netlink socket (protocol ${protocol}) could be opened`);
  const bound = bindNetlink(fd, 0);
  if (bound < 0) {
    closeDescriptor(fd);
    throw new KernelError(errnoName(-bound), 'a netlink socket could not be bound');
  }
  enlargeReceiveBuffer(fd, SOCKET_BUFFER_BYTES);
  for (const option of [NETLINK_EXT_ACK, NETLINK_CAP_ACK, NETLINK_GET_STRICT_CHK]) setOption(fd, SOL_NETLINK, option, 1);
  return fd;
}

/** Beyond net.core.rmem_max where we may, as far as it goes where we may not. */
export function enlargeReceiveBuffer(fd: number, bytes: number): void {
  if (setOption(fd, SOL_SOCKET, SO_RCVBUFFORCE, bytes) < 0) setOption(fd, SOL_SOCKET, SO_RCVBUF, bytes);
}
