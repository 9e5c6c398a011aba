/**
 * TCP and UDP sockets that go through one line and no other: bound to its device by index and to its source address before anything is
 * sent, connected to whom they ask, and in words why not.
 *
 *   socket ──► SO_BINDTOIFINDEX ──► bind(source) ──► connect ──► writable: it stands, or SO_ERROR says why not
 *
 * There is nothing to fall back to: a socket that cannot be pinned is closed. What goes wrong before a packet leaves is either our own fault
 * (`prober`: no descriptors, no rights) or the kernel's word about the line (`unsent`: no route, no such address); what comes back later is the network's.
 */
import { getSystemErrorMap } from 'node:util';
import {
  bindTo, choosePortLate, connectionInfo, connectOutcome, connectTo, EINPROGRESS, giveUpAfter, hearErrors, openInet, pinToDevice, socketAddress, type InetKind,
} from '../libc/inet.js';
import { whenReady } from '../libc/library.js';
import { closeDescriptor } from '../libc/sockets.js';
import type { Instant, LostCause, ProbeLine } from '../model.js';
import { GIVE_UP_MS } from './method.js';

export interface Loss {
  readonly cause: LostCause;
  readonly error: string;
}

/** A loss has no descriptor any more. */
export type Opened = { readonly fd: number } | Loss;

export interface Endpoint {
  readonly address: string;
  readonly port: number;
  /** Our own address for this one, where it is another than the line's. */
  readonly source?: string | undefined;
}

/** Called at most once. Silence is not told. `fd` belongs to whoever is called. */
export interface Connecting {
  stands(fd: number): void;
  lost(loss: Loss): void;
  /** The kernel gave up: nobody answered. */
  silent(): void;
}

/** UDP, connected: the kernel passes on what comes from that address and port, and ICMP errors about it, and nothing else. */
export function openDatagram(line: ProbeLine, to: Endpoint): Opened {
  return open(line, to, 'datagram', (fd) => hearErrors(fd, line.family));
}

/**
 * TCP; calls back in the poll phase, or before this returns.
 * @param prepare sets further options; gives 0 or -errno
 * @returns what ends the attempt; does nothing once it was called back
 */
export function connectStream(line: ProbeLine, to: Endpoint, now: () => Instant, told: Connecting, prepare: (fd: number) => number = () => 0): () => void {
  const startedAt = now();
  const opened = open(line, to, 'stream', (fd) => firstOf(giveUpAfter(fd, GIVE_UP_MS), choosePortLate(fd), prepare(fd)));
  if (!('fd' in opened)) {
    told.lost(opened);
    return () => undefined;
  }
  const { fd } = opened;
  // An ICMP error from a neighbour that is faster than connect itself finds the socket in use: it is noted, and ends nothing.
  const early = connectOutcome(fd);
  if (early < 0) {
    told.lost(closing(fd, lossByNetwork(early)));
    return () => undefined;
  }
  let ended = false;
  const end = (): boolean => {
    if (ended) return false;
    ended = true;
    unwatch();
    return true;
  };
  const unwatch = whenReady(fd, 'writable', () => {
    if (!end()) return;
    const errno = connectOutcome(fd);
    if (errno === 0 && !stoodBySecondTry(fd, now() - startedAt)) return told.stands(fd);
    closeDescriptor(fd);
    if (errno === 0 || errno === -ETIMEDOUT) told.silent();
    else told.lost(lossByNetwork(errno));
  });
  return () => {
    if (end()) closeDescriptor(fd);
  };
}

/** What the network answered instead, by the errno that the kernel made of it (icmp(7); RFC 1122, 4.2.3.9). */
export function lossByNetwork(errno: number): Loss {
  const cause = REFUSED.has(-errno) ? 'refused' : 'unreachable';
  return { cause, error: inWords(errno) };
}

/** The kernel would not send. */
export function lossBySending(errno: number): Loss {
  return { cause: OUR_OWN.has(-errno) ? 'prober' : 'unsent', error: `could not be sent: ${inWords(errno)}` };
}

/** `ENETUNREACH: network is unreachable (the interface is down, or has no route)` */
export function inWords(errno: number): string {
  const [name, text] = getSystemErrorMap().get(errno) ?? [`errno ${-errno}`, 'the kernel gives no reason'];
  const advice = ADVICE[name];
  return `${name}: ${text}${advice === undefined ? '' : ` (${advice})`}`;
}

function open(line: ProbeLine, to: Endpoint, kind: InetKind, prepare: (fd: number) => number): Opened {
  const { family, ifindex } = line;
  const { source = line.source } = to;
  const remote = socketAddress(family, to.address, to.port, ifindex);
  if (remote === undefined) return { cause: 'unsent', error: `"${to.address}" is not an IPv${family} address` };
  const local = source === '' ? undefined : socketAddress(family, source, 0, ifindex);
  if (source !== '' && local === undefined) return { cause: 'unsent', error: `the source "${source}" is not an IPv${family} address` };
  const fd = openInet(family, kind);
  if (fd < 0) return { cause: 'prober', error: `no probe socket: ${inWords(fd)}` };
  const pinned = firstOf(pinToDevice(fd, ifindex), prepare(fd));
  if (pinned < 0) return closing(fd, { cause: 'prober', error: `no probe socket on ${line.interface}: ${inWords(pinned)}` });
  const bound = local === undefined ? 0 : bindTo(fd, local);
  if (bound < 0) return closing(fd, lossBySending(bound));
  const connected = connectTo(fd, remote);
  return connected < 0 && connected !== -EINPROGRESS ? closing(fd, lossBySending(connected)) : { fd };
}

/** The first that failed, else 0. */
function firstOf(...results: readonly number[]): number {
  return results.find((result) => result < 0) ?? 0;
}

function closing(fd: number, loss: Loss): Loss {
  closeDescriptor(fd);
  return loss;
}

/**
 * The kernel repeats a SYN after a second. An answer to the repetition says that the first was lost, and its time would be a second too long;
 * the kernel itself measured the right one (by timestamps, RFC 7323), or none, as Karn has it.
 */
function stoodBySecondTry(fd: number, elapsedMs: number): boolean {
  if (elapsedMs < SYN_REPEATED_AFTER_MS) return false;
  const info = connectionInfo(fd);
  return info !== undefined && info.repeats > 0 && info.rttMs < SYN_REPEATED_AFTER_MS;
}

/** RFC 6298, 2.1, less the coarseness of the kernel's timers. */
const SYN_REPEATED_AFTER_MS = 950;

/** ECONNREFUSED, ECONNRESET, EPIPE. */
const REFUSED: ReadonlySet<number> = new Set([111, 104, 32]);
const ETIMEDOUT = 110;
/** EMFILE, ENFILE, EADDRINUSE (no port left): nothing is said about the line. */
const OUR_OWN: ReadonlySet<number> = new Set([24, 23, 98]);

const ADVICE: Readonly<Record<string, string>> = {
  ENETUNREACH: 'no route there through this interface: it is down or has no address, or a router says so',
  EHOSTUNREACH: 'a router says so, or nobody answers ARP or neighbour discovery',
  EADDRNOTAVAIL: 'the interface does not have the address that the line is said to have',
  ENODEV: 'the interface was removed',
  ENETDOWN: 'the interface is down',
  EACCES: 'a broadcast address, a prohibit route, or a router forbids it',
  EPERM: 'a firewall on this machine dropped it, or CAP_NET_RAW is missing',
  EINVAL: 'an address that cannot be asked, or a blackhole route',
  EMFILE: 'raise LimitNOFILE',
  ENFILE: 'raise fs.file-max',
  ENOPROTOOPT: 'needs Linux 5.1 or newer',
  EAFNOSUPPORT: 'this kernel has no IPv6',
};
