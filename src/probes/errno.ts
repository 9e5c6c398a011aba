/**
 * What a failed socket call means to a prober: the errno's name (people search for it) with the advice that fits, and the one distinction
 * it needs: did the network refuse the probe, or is the socket itself unusable?
 *
 * A failure is an errno (a number of either sign), or an Error whose text names one (`no probe socket: EPERM: ...`).
 */
import { getSystemErrorName } from 'node:util';
import type { LostCause } from '../model.js';

/** `ENETUNREACH: Network is unreachable (the interface is down or has no address)`; an unknown text stays as it is. */
export function errorInWords(cause: unknown, doing: 'opening' | 'sending' = 'sending'): string {
  const known = find(cause);
  if (known === undefined) return typeof cause === 'number' ? nameOf(cause) : textOf(cause);
  const advice = (doing === 'opening' ? known.openingAdvice : undefined) ?? known.advice;
  return `${known.name}: ${known.text}${advice === '' ? '' : ` (${advice})`}`;
}

/** True for what is known to be the socket's own: it is to be replaced. Whatever else the kernel says when it will not send is said of the line. */
export function isSocketBroken(cause: unknown): boolean {
  return find(cause)?.network === false;
}

/** Whose fault is it that a socket cannot be opened? The network's where the device or the address is not there. */
export function causeOfOpening(cause: unknown): LostCause {
  return find(cause)?.missing === true ? 'unsent' : 'prober';
}

function find(cause: unknown): Errno | undefined {
  const name = typeof cause === 'number' ? nameOf(cause) : /\b(E[A-Z0-9]+): /.exec(textOf(cause))?.[1];
  return ERRNOS.find((errno) => errno.name === name);
}

function nameOf(errno: number): string {
  return getSystemErrorName(-Math.abs(errno));
}

function textOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}

interface Errno {
  readonly name: string;
  /** strerror(3). */
  readonly text: string;
  readonly advice: string;
  /** Where it means something else while a socket is being opened. */
  readonly openingAdvice?: string;
  /** What sendto says of routes, devices, firewalls and queues: the next probe may use the same socket. */
  readonly network: boolean;
  /** While a socket is being opened: the device or the address is not there. */
  readonly missing?: true;
}

const ERRNOS: readonly Errno[] = [
  { name: 'ENETUNREACH', text: 'Network is unreachable', advice: 'the interface is down or has lost its address', network: true },
  { name: 'EHOSTUNREACH', text: 'No route to host', advice: 'nobody answers ARP or neighbour discovery', network: true },
  { name: 'ENETDOWN', text: 'Network is down', advice: 'the interface is down', network: true, missing: true },
  { name: 'ENODEV', text: 'No such device', advice: 'the interface was removed', network: true, missing: true },
  { name: 'ENXIO', text: 'No such device or address', advice: 'the interface was removed', network: true, missing: true },
  { name: 'EADDRNOTAVAIL', text: 'Cannot assign requested address', advice: 'the interface has no such address (yet)', network: true, missing: true },
  { name: 'ENOBUFS', text: 'No buffer space available', advice: 'the queue of the interface is full', network: true },
  { name: 'ENOMEM', text: 'Cannot allocate memory', advice: '', network: true },
  { name: 'EAGAIN', text: 'Resource temporarily unavailable', advice: 'the send buffer is full: nothing leaves the interface', network: true },
  { name: 'EACCES', text: 'Permission denied', advice: 'a broadcast address, or a prohibit route', network: true },
  { name: 'EDESTADDRREQ', text: 'Destination address required', advice: 'the tunnel knows no peer for it', network: true },
  { name: 'ENOKEY', text: 'Required key not available', advice: 'the tunnel has no key for it', network: true },
  { name: 'EPERM', text: 'Operation not permitted', advice: 'a firewall on this machine dropped it', openingAdvice: 'raw ICMP needs root or CAP_NET_RAW', network: true },
  { name: 'EINVAL', text: 'Invalid argument', advice: 'an address that cannot be asked or is not ours any more, or a blackhole route', network: true },
  { name: 'EMSGSIZE', text: 'Message too long', advice: 'larger than the MTU of the interface', network: true },
  { name: 'EBADF', text: 'Bad file descriptor', advice: '', network: false },
  { name: 'ENOTSOCK', text: 'Socket operation on non-socket', advice: '', network: false },
  { name: 'EMFILE', text: 'Too many open files', advice: 'raise LimitNOFILE', network: false },
  { name: 'ENFILE', text: 'Too many open files in system', advice: 'raise fs.file-max', network: false },
  { name: 'EAFNOSUPPORT', text: 'Address family not supported by protocol', advice: 'this kernel has no IPv6', network: false },
  { name: 'ENOPROTOOPT', text: 'Protocol not available', advice: 'needs Linux 5.1 or newer', network: false },
];
