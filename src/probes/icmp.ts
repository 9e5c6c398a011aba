/**
 * ICMP echo through one device: a net-ping session with a gate around its raw socket.
 *
 *   order ──► pingHost ──► [ gate: learn the sequence, stamp ] ──► sendto, at once
 *   reply ◄── net-ping ◄── [ gate: stamp; ours? from the very address we asked? ] ◄── kernel filter ◄── device
 *   lost  ◄── [ gate: an ICMP error about a probe of ours ] ◄┘
 *
 * net-ping alone matches by identifier and sequence, whoever answers; it lets a redirect end a probe; it reads IPv6 errors
 * wrongly. So the gate hands it nothing but the right echo replies. net-ping builds the packets, keeps what is in flight
 * (10 s, so late answers are told) and then forgets it without a word: deadlines are the core's business.
 *
 * A session lives for one (device, family). After an error or a close it must not be touched again (raw-socket would open a new
 * socket that is bound to nothing): whoever owns it makes a new one.
 */
import { createSession, NetworkProtocol, RequestTimedOutError, type RawSocket, type Session } from 'net-ping';
import type { Family, Instant } from '../model.js';
import { echoFilter, FPROG_BYTES } from './bpf.js';
import { errorInWords, isSocketBroken } from './errno.js';
import { canonical, ECHO_REPLY, ERRORS, readIcmp } from './packet.js';

/** One probe in flight and who wants to hear of it. Either may be called later than the other, each at most once. */
export interface Echo {
  readonly address: string;
  answered(at: Instant, rttMs: number): void;
  /** Not sent, or an ICMP error came back. A right answer may still follow. */
  lost(at: Instant, error: string): void;
}

export interface IcmpSession {
  /** Sends now; `lost` may be called before this returns. */
  ask(echo: Echo): void;
  /** Idempotent. What is in flight is forgotten. */
  close(): void;
}

export interface IcmpOptions {
  readonly family: Family;
  /** The one device that probes leave by and answers come in by. */
  readonly ifindex: number;
  /** ICMP identifier, 1..65534, distinct among all open sessions. */
  readonly identifier: number;
  now(): Instant;
  /** Where these bytes lie in memory. Without it the kernel filters by type only, not by identifier (bpf.ts says what that costs). */
  readonly addressOf?: ((bytes: Buffer) => bigint) | undefined;
  /** The socket broke; the session has closed itself, and what was in flight was reported lost. */
  failed(error: string): void;
}

/** How long an answer may take and still be told. Beyond every sensible `probe.timeout`. */
const ANSWER_WITHIN_MS = 10_000;
/** 10 probes/s × 10 s × 10 targets: whoever has more in flight is out of step, not out of luck. */
const IN_FLIGHT_AT_MOST = 1000;

interface Flight {
  readonly echo: Echo;
  /** Canonical notation. */
  readonly address: string;
  sequence: number | undefined;
  sentAt: Instant;
  answeredAt: Instant | undefined;
  lost: boolean;
}

/** @throws Error (`EPERM: ...`) when there can be no raw socket, or not on this device */
export function openIcmpSession(options: IcmpOptions): IcmpSession {
  const { family, now } = options;
  const session = openPinned(options);
  const socket = session.getSocket();
  const flights = new Map<number, Flight>();
  let departing: Flight | undefined;
  let open = true;

  const close = (): void => {
    if (!open) return;
    open = false;
    session.close();
    flights.clear();
  };
  const fail = (cause: Error | undefined): void => {
    if (!open) return;
    const error = `the probe socket failed: ${errorInWords(cause)}`;
    const stranded = [...flights.values()].filter((flight) => !flight.lost);
    close();
    for (const flight of stranded) flight.echo.lost(now(), error);
    options.failed(error);
  };

  session.on('error', fail);
  gateIn(socket, options, flights);
  gateOut(socket, (sequence) => {
    if (departing === undefined) return;
    departing.sequence = sequence;
    flights.set(sequence, departing);
  });

  return {
    ask(echo) {
      if (!open) return echo.lost(now(), 'the probe socket is closed');
      if (flights.size >= IN_FLIGHT_AT_MOST) return echo.lost(now(), `not sent: ${flights.size} probes are in flight here already, none of them answered`);
      const flight: Flight = { echo, address: canonical(family, echo.address), sequence: undefined, sentAt: now(), answeredAt: undefined, lost: false };
      departing = flight;
      session.pingHost(echo.address, (error) => {
        if (flight.sequence !== undefined) flights.delete(flight.sequence);
        if (!open) return; // net-ping flushes what is in flight when it is closed
        conclude(flight, error, now);
        if (error !== null && !(error instanceof RequestTimedOutError) && isSocketBroken(error)) fail(error);
      });
      departing = undefined;
      flight.sentAt = now();
      // raw-socket would wait for "writable", and serves that only when nothing is readable: a flood would hold back our probes.
      socket.onSendReady();
      if (open) socket.pauseSend();
    },
    close,
  };
}

function openPinned(options: IcmpOptions): Session {
  let session: Session | undefined;
  try {
    session = createSession({
      networkProtocol: options.family === 4 ? NetworkProtocol.IPv4 : NetworkProtocol.IPv6,
      sessionId: options.identifier,
      retries: 0, // a repeat would count its round trip from the first send
      timeout: ANSWER_WITHIN_MS,
    });
    pinAndFilter(session.getSocket(), options);
    return session;
  } catch (cause) {
    session?.close();
    throw new Error(`no probe socket: ${errorInWords(cause, 'opening')}`, { cause });
  }
}

/** Before the first send: only this device, of ICMP only what a prober needs, and of that only what is ours. */
function pinAndFilter(socket: RawSocket, { family, ifindex, identifier, addressOf }: IcmpOptions): void {
  // By index, not by name (SO_BINDTODEVICE): a name may by now belong to another device than the one the core knows.
  socket.setOption(SOL_SOCKET, SO_BINDTOIFINDEX, ifindex);
  const filter = family === 4 ? Buffer.alloc(4, 0xff) : Buffer.alloc(32, 0xff); // a set bit = stays in the kernel
  const words = new Uint32Array(filter.buffer, filter.byteOffset, filter.length / 4); // host byte order
  for (const type of [ECHO_REPLY[family], ...ERRORS[family]]) words[type >> 5] = (words[type >> 5] ?? 0) & ~(1 << (type & 31));
  if (family === 4) socket.setOption(SOL_RAW, ICMP_FILTER, filter, filter.length);
  else socket.setOption(IPPROTO_ICMPV6, ICMPV6_FILTER, filter, filter.length);
  if (addressOf === undefined) return;
  socket.setOption(SOL_SOCKET, SO_ATTACH_FILTER, echoFilter(family, identifier, addressOf), FPROG_BYTES);
}

// include/uapi/asm-generic/socket.h, linux/socket.h, linux/icmp.h, linux/icmpv6.h
const SOL_SOCKET = 1;
const SO_ATTACH_FILTER = 26;
const SO_BINDTOIFINDEX = 62;
const SOL_RAW = 255;
const ICMP_FILTER = 1;
const IPPROTO_ICMPV6 = 58;
const ICMPV6_FILTER = 1;

/** Tells the sequence that net-ping gave to the packet it is sending; pingHost keeps it to itself. */
function gateOut(socket: RawSocket, departs: (sequence: number) => void): void {
  const send = socket.send.bind(socket);
  socket.send = (buffer, offset, length, address, before, after) => {
    departs(buffer.readUInt16BE(offset + 6));
    return send(buffer, offset, length, address, before, after);
  };
}

function gateIn(socket: RawSocket, { family, identifier, now }: IcmpOptions, flights: ReadonlyMap<number, Flight>): void {
  const netPing = socket.listeners('message');
  socket.removeAllListeners('message');
  socket.on('message', (packet: Buffer, source: string) => {
    const at = now();
    const message = readIcmp(family, packet);
    if (message === undefined || message.identifier !== identifier) return;
    const flight = flights.get(message.sequence);
    if (flight === undefined) return;
    if (message.kind === 'reply') {
      if (source !== flight.address) return;
      flight.answeredAt = at;
      for (const listener of netPing) Reflect.apply(listener, socket, [packet, source]);
    } else if (message.destination === flight.address && !flight.lost) {
      flight.lost = true;
      flight.echo.lost(at, `${message.words}, says ${source}`);
    }
  });
}

/** net-ping is done with the probe: answered, not sent, or silent for ANSWER_WITHIN_MS. */
function conclude(flight: Flight, error: Error | null, now: () => Instant): void {
  if (error instanceof RequestTimedOutError) return;
  if (error !== null) flight.echo.lost(now(), `could not be sent: ${errorInWords(error)}`);
  else if (flight.answeredAt !== undefined) flight.echo.answered(flight.answeredAt, flight.answeredAt - flight.sentAt);
}
