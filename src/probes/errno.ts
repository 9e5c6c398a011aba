/**
 * raw-socket throws strerror's text and nothing else. Here the errno comes back (people search for the name), with the advice
 * that fits a prober, and the one distinction it needs: did the network refuse the probe, or is the socket itself unusable?
 */

/** `ENETUNREACH: Network is unreachable (the interface is down or has no address)`; an unknown text stays as it is. */
export function errorInWords(cause: unknown, doing: 'opening' | 'sending' = 'sending'): string {
  const text = textOf(cause);
  const known = find(text);
  if (known === undefined) return text;
  const advice = (doing === 'opening' ? known.openingAdvice : undefined) ?? known.advice;
  return `${known.name}: ${text}${advice === '' ? '' : ` (${advice})`}`;
}

/** True for whatever is not known to come from the network: a socket that says so is to be replaced. */
export function isSocketBroken(cause: unknown): boolean {
  return find(textOf(cause))?.network !== true;
}

function textOf(cause: unknown): string {
  if (cause === undefined) return 'epoll reports an error on it'; // raw-socket forgets to pass the error on
  return cause instanceof Error ? cause.message : String(cause);
}

function find(text: string): (typeof ERRNOS)[number] | undefined {
  return ERRNOS.find((errno) => errno.texts.includes(text));
}

interface Errno {
  readonly name: string;
  /** strerror(3) of glibc, and of musl where it differs. */
  readonly texts: readonly string[];
  readonly advice: string;
  /** Where it means something else while a socket is being opened. */
  readonly openingAdvice?: string;
  /** What sendto says of routes, devices, firewalls and queues: the next probe may use the same socket. */
  readonly network: boolean;
}

const ERRNOS: readonly Errno[] = [
  { name: 'ENETUNREACH', texts: ['Network is unreachable', 'Network unreachable'], advice: 'the interface is down or has no address', network: true },
  { name: 'EHOSTUNREACH', texts: ['No route to host', 'Host is unreachable'], advice: 'nobody answers ARP or neighbour discovery', network: true },
  { name: 'ENETDOWN', texts: ['Network is down'], advice: 'the interface is down', network: true },
  { name: 'ENODEV', texts: ['No such device'], advice: 'the interface was removed', network: true },
  { name: 'ENXIO', texts: ['No such device or address'], advice: 'the interface was removed', network: true },
  { name: 'EADDRNOTAVAIL', texts: ['Cannot assign requested address', 'Address not available'], advice: 'the interface has no address of this family', network: true },
  { name: 'ENOBUFS', texts: ['No buffer space available'], advice: 'the queue of the interface is full', network: true },
  { name: 'ENOMEM', texts: ['Cannot allocate memory', 'Out of memory'], advice: '', network: true },
  { name: 'EAGAIN', texts: ['Resource temporarily unavailable'], advice: 'the send buffer is full: nothing leaves the interface', network: true },
  { name: 'EACCES', texts: ['Permission denied'], advice: 'a broadcast address, or a prohibit route', network: true },
  { name: 'EPERM', texts: ['Operation not permitted'], advice: 'a firewall on this machine dropped it', openingAdvice: 'raw ICMP needs root or CAP_NET_RAW', network: true },
  { name: 'EINVAL', texts: ['Invalid argument'], advice: 'an address that cannot be asked, or a blackhole route', network: true },
  { name: 'EMSGSIZE', texts: ['Message too long', 'Message too large'], advice: 'the MTU of the interface is tiny', network: true },
  { name: 'EBADF', texts: ['Bad file descriptor'], advice: '', network: false },
  { name: 'ENOTSOCK', texts: ['Socket operation on non-socket', 'Not a socket'], advice: '', network: false },
  { name: 'EMFILE', texts: ['Too many open files', 'No file descriptors available'], advice: 'raise LimitNOFILE', network: false },
  { name: 'ENFILE', texts: ['Too many open files in system'], advice: 'raise fs.file-max', network: false },
  { name: 'EAFNOSUPPORT', texts: ['Address family not supported by protocol', 'Address family not supported by protocol family'], advice: 'this kernel has no IPv6', network: false },
  { name: 'ENOPROTOOPT', texts: ['Protocol not available'], advice: 'needs Linux 5.1 or newer', network: false },
];
