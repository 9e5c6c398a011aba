/**
 * ICMP echo by a raw socket of our own, for one device, one address, one way of asking (size, hops) and one random identifier.
 *
 *   ask ──► stamp ──► sendto, at once, with a secret of its own
 *   reply ◄── to this very probe? with its secret? from the very address we asked? ◄── the kernel's own filter (bpf.ts) ◄── device
 *   lost, passed ◄── an ICMP error about a probe of ours, which quotes its secret ◄┘
 *
 * Whoever knows the secret has seen the probe: an answer or an error of anybody else is nothing. Old routers quote no more of a probe than its
 * header (RFC 792); there identifier and sequence, 32 random bits, are all that can be held against it, and the core takes an error as an
 * explanation only, never as a reason to wait less.
 *
 * What is in flight is kept for GIVE_UP_MS, so late answers are told, and then forgotten without a word at the next probe: deadlines are the core's.
 * Whatever goes wrong with the socket itself ends it: whoever owns it makes a new one (slot.ts).
 */
import { randomFillSync, randomInt } from 'node:crypto';
import { closeDescriptor, setOption, setOptionBytes, SOL_SOCKET } from '../libc/sockets.js';
import { bindTo } from '../libc/inet.js';
import { deviceOf, inetAddress, openRawIcmp, receiver, sendTo, SOL_IP, SOL_IPV6, type Received } from '../libc/packet-socket.js';
import { addressOf, POINTER_BYTES, whenReady } from '../libc/library.js';
import type { Family, Instant, ProbeLine } from '../model.js';
import { echoFilter, FPROG_BYTES } from './bpf.js';
import { errorInWords, isSocketBroken } from './errno.js';
import { GIVE_UP_MS, type Asker, type Question } from './method.js';
import { addressBytes, addressText, canonical, checksum, ECHO_REPLY, ECHO_REQUEST, ERRORS, ICMP_HEADER, readIcmp, type IcmpMessage } from './packet.js';

export interface EchoOptions {
  /** The one device that probes leave by and answers come in by. */
  readonly line: ProbeLine;
  /** The one that is asked. */
  readonly address: string;
  /** ICMP identifier, 1..65535, random and distinct among all open sockets. */
  readonly identifier: number;
  /** Source address, '' = the kernel chooses one of the device. */
  readonly source: string;
  /** Of the whole IP packet, which nobody may fragment; 0 = small. */
  readonly sizeBytes: number;
  /** So many hops it may go, and whoever ends it there has answered; 0 = all the way. */
  readonly hops: number;
  now(): Instant;
  /** The socket broke and is closed; what was in flight was reported lost. */
  broke(error: string): void;
}

/** 10 probes/s × 10 s × 10 targets: whoever has more in flight is out of step, not out of luck. */
const IN_FLIGHT_AT_MOST = 1000;
/** Other sockets want their turn, too. */
const READ_AT_ONCE = 256;
const SECRET_BYTES = 16;
const IP_HEADER = { 4: 20, 6: 40 } as const;
/** Random bytes are drawn for so many probes at once: a draw costs the same for 16 bytes and for 4096. */
const SECRETS_AT_ONCE = 256;

interface Flight {
  readonly question: Question;
  readonly secret: Buffer;
  readonly sentAt: Instant;
  lost: boolean;
}

/** One buffer for all: a packet is read and done with before the next. */
let shared: Received | undefined;

/** @throws Error (`no probe socket: EPERM: ...`) when there can be no raw socket, or not on this device */
export function openEcho(options: EchoOptions): Asker {
  const { line, identifier, now } = options;
  const { family } = line;
  const fd = openPinned(options);
  const request = requestOf(family, options);
  const flights = new Map<number, Flight>();
  const peer = addressBytes(family, options.address);
  const peerText = canonical(family, options.address);
  const peerAddress = inetAddress(family, peer, isLinkLocal(family, peer) ? line.ifindex : 0);
  const received = (shared ??= receiver(2048));
  // What came before the filter stood takes the room of the first answers.
  while (received.receive(fd) >= 0);
  const sourceAt = family === 4 ? { bytes: received.bytes, offset: 12 } : { bytes: received.from, offset: 8 };
  let sequence = randomInt(0x10000);
  let open = true;

  const close = (): void => {
    if (!open) return;
    open = false;
    deaf();
    closeDescriptor(fd);
    flights.clear();
  };
  const fail = (errno: number): void => {
    const error = `the probe socket failed: ${errorInWords(errno)}`;
    const stranded = [...flights.values()].filter((flight) => !flight.lost);
    close();
    for (const flight of stranded) flight.question.lost(now(), 'prober', error);
    options.broke(error);
  };
  const deaf = whenReady(fd, 'readable', () => {
    const at = now();
    let count = 0;
    do {
      const length = received.receive(fd);
      if (length === -EAGAIN) return;
      if (length < 0) return fail(-length);
      hear(at, length);
    } while (open && flights.size > 0 && ++count < READ_AT_ONCE); // what else lies there is read at the next turn
  });

  function hear(at: Instant, length: number): void {
    const message = readIcmp(family, received.bytes, Math.min(length, received.bytes.length));
    if (message === undefined || message.identifier !== identifier) return;
    const flight = flights.get(message.sequence);
    if (flight === undefined) return;
    // ICMPv6 quotes all of a small packet (RFC 4443, 2.4).
    const isProof = message.kind === 'reply' || family === 6;
    if (!knows(flight.secret, received.bytes.subarray(message.dataAt, Math.min(length, received.bytes.length)), isProof)) return;
    if (message.kind === 'error') return wrong(at, flight, message);
    const { bytes, offset } = sourceAt;
    if (peer.compare(bytes, offset, offset + peer.length) !== 0) return;
    const missing = request.length - (length - (family === 4 ? IP_HEADER[4] : 0));
    if (options.sizeBytes > 0 && missing > 0) return lose(at, flight, 'answer', `${missing} of ${options.sizeBytes} bytes are missing in the answer`);
    answer(at, flight, message.sequence, hopLimitOf(family, received));
  }

  function wrong(at: Instant, flight: Flight, error: Extract<IcmpMessage, { kind: 'error' }>): void {
    if (error.destination !== peerText) return;
    if (options.hops > 0 && error.exceeded) return answer(at, flight, error.sequence);
    const says = addressText(family, sourceAt.bytes.subarray(sourceAt.offset, sourceAt.offset + peer.length));
    const known = error.mtu !== undefined && error.mtu > 0;
    lose(at, flight, 'unreachable', known ? `a router at ${says} passes ${error.mtu} bytes at most` : `${error.words}, says ${says}`);
  }

  function answer(at: Instant, flight: Flight, of: number, hopLimit?: number): void {
    flights.delete(of);
    flight.question.answered(at, at - flight.sentAt, '', hopLimit);
  }

  function lose(at: Instant, flight: Flight, cause: 'unreachable' | 'answer', error: string): void {
    if (flight.lost) return;
    flight.lost = true;
    flight.question.lost(at, cause, error);
  }

  return {
    ask(question) {
      const sentAt = now();
      if (!open) return question.lost(sentAt, 'prober', 'the probe socket is closed');
      forgetBefore(flights, sentAt - GIVE_UP_MS);
      if (flights.size >= IN_FLIGHT_AT_MOST) return question.lost(sentAt, 'prober', `not sent: ${flights.size} probes are in flight here already, none of them answered`);
      sequence = (sequence + 1) & 0xffff;
      const secret = drawSecret();
      request.writeUInt16BE(sequence, 6);
      secret.copy(request, ICMP_HEADER);
      // The kernel writes that of ICMPv6.
      if (family === 4) request.writeUInt16BE(checksum(request.fill(0, 2, 4)), 2);
      flights.set(sequence, { question, secret, sentAt, lost: false });
      const sent = sendTo(fd, request, request.length, peerAddress);
      if (sent >= 0) return;
      flights.delete(sequence);
      if (sent === -EMSGSIZE && options.sizeBytes > 0) return question.lost(now(), 'unreachable', tooBigHere(fd, options));
      const broken = isSocketBroken(sent);
      question.lost(now(), broken ? 'prober' : 'unsent', `could not be sent: ${errorInWords(sent)}`);
      if (broken) fail(-sent);
    },
    close,
  };
}

export function isLinkLocal(family: Family, address: Buffer): boolean {
  return family === 6 && address.readUInt16BE(0) >> 6 === 0xfe80 >> 6;
}

/** Before the first packet: only this device and this source, of ICMP only what a prober needs, and of that only what is ours. */
function openPinned(options: EchoOptions): number {
  const { line: { family, ifindex }, identifier, sizeBytes, hops, source } = options;
  const fd = openRawIcmp(family);
  const level = family === 4 ? SOL_IP : SOL_IPV6;
  const steps: readonly (() => number)[] = [
    () => fd,
    () => setOptionBytes(fd, SOL_SOCKET, SO_ATTACH_FILTER, echoFilter(family, identifier, addressOf).subarray(0, FPROG_BYTES)),
    () => setOptionBytes(fd, family === 4 ? SOL_RAW : IPPROTO_ICMPV6, family === 4 ? ICMP_FILTER : ICMPV6_FILTER, typesFilter(family)),
    // By index, not by name (SO_BINDTODEVICE): a name may by now belong to another device than the one the core knows.
    () => setOption(fd, SOL_SOCKET, SO_BINDTOIFINDEX, ifindex),
    () => (source === '' ? 0 : bindTo(fd, inetAddress(family, addressBytes(family, source), isLinkLocal(family, addressBytes(family, source)) ? ifindex : 0))),
    () => (hops === 0 ? 0 : setOption(fd, level, family === 4 ? IP_TTL : IPV6_UNICAST_HOPS, hops)),
    () => (family === 4 ? 0 : setOption(fd, SOL_IPV6, IPV6_RECVHOPLIMIT, 1)),
    () => (sizeBytes === 0 ? 0 : setOption(fd, level, family === 4 ? IP_MTU_DISCOVER : IPV6_MTU_DISCOVER, PMTUDISC_PROBE)),
  ];
  for (const step of steps) {
    const result = step();
    if (result >= 0) continue;
    if (fd >= 0) closeDescriptor(fd);
    throw new Error(`no probe socket: ${errorInWords(result, 'opening')}`);
  }
  return fd;
}

let secrets = Buffer.alloc(0);

/** What nobody can know who has not seen the probe. */
function drawSecret(): Buffer {
  if (secrets.length === 0) secrets = randomFillSync(Buffer.alloc(SECRETS_AT_ONCE * SECRET_BYTES));
  const secret = secrets.subarray(0, SECRET_BYTES);
  secrets = secrets.subarray(SECRET_BYTES);
  return secret;
}

/** @param whole all of it must be there; else as much as was quoted */
function knows(secret: Buffer, data: Buffer, whole: boolean): boolean {
  const present = Math.min(SECRET_BYTES, data.length);
  return (!whole || present === SECRET_BYTES) && secret.compare(data, 0, present, 0, present) === 0;
}

/** Whole, but for sequence, checksum and secret. */
function requestOf(family: Family, { identifier, sizeBytes }: EchoOptions): Buffer {
  const length = ICMP_HEADER + Math.max(SECRET_BYTES, sizeBytes - IP_HEADER[family] - ICMP_HEADER);
  const request = Buffer.alloc(length);
  request.writeUInt8(ECHO_REQUEST[family], 0);
  request.writeUInt16BE(identifier, 4);
  return request;
}

/** What the packet's time to live had left: its header is there in IPv4, a struct cmsghdr beside it tells that of IPv6 (RFC 3542, 6.3). */
function hopLimitOf(family: Family, { bytes, control, controlLength }: Received): number | undefined {
  if (family === 4) return bytes[8];
  const [level, type, hopLimit] = new Int32Array(control.buffer, control.byteOffset + POINTER_BYTES, 3);
  return controlLength() >= POINTER_BYTES + 12 && level === SOL_IPV6 && type === IPV6_HOPLIMIT ? hopLimit : undefined;
}

function typesFilter(family: Family): Buffer {
  const filter = Buffer.alloc(family === 4 ? 4 : 32, 0xff); // a set bit = stays in the kernel
  const words = new Uint32Array(filter.buffer, filter.byteOffset, filter.length / 4); // host byte order
  for (const type of [ECHO_REPLY[family], ...ERRORS[family]]) words[type >> 5] = (words[type >> 5] ?? 0) & ~(1 << (type & 31));
  return filter;
}

/** A map keeps the order of insertion: the oldest come first. */
function forgetBefore(flights: Map<number, Flight>, limit: number): void {
  for (const [sequence, flight] of flights) {
    if (flight.sentAt > limit) return;
    flights.delete(sequence);
  }
}

function tooBigHere(fd: number, { line, sizeBytes }: EchoOptions): string {
  const mtu = deviceOf(fd, line.interface)?.mtu;
  return mtu === undefined ? `${line.interface} does not pass ${sizeBytes} bytes` : `${line.interface} passes ${mtu} bytes at most, says its own MTU`;
}

const EAGAIN = 11;
const EMSGSIZE = 90;
// include/uapi/asm-generic/socket.h, linux/in.h, linux/in6.h, linux/icmp.h, linux/icmpv6.h
const SO_ATTACH_FILTER = 26;
const SO_BINDTOIFINDEX = 62;
const SOL_RAW = 255;
const ICMP_FILTER = 1;
const IPPROTO_ICMPV6 = 58;
const ICMPV6_FILTER = 1;
const IP_TTL = 2;
const IPV6_UNICAST_HOPS = 16;
const IPV6_RECVHOPLIMIT = 51;
const IPV6_HOPLIMIT = 52;
const IP_MTU_DISCOVER = 10;
const IPV6_MTU_DISCOVER = 23;
/** Forbids fragments, and takes no notice of what earlier errors said of the path: each probe finds out by itself. */
const PMTUDISC_PROBE = 3;
