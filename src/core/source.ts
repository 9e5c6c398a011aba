/**
 * The address that the kernel gives to a packet that leaves by a line, for what has to know it beforehand: probes are bound to it, because a socket
 * that is not may get that of another uplink, or of the same one for another purpose (the modem's management network, a ULA).
 *
 *   on the link       the address whose network the destination is in, as the connected route has it
 *   the route's own   its preferred source (`src`), where the default that the gateway was learnt from has one
 *   IPv4              the first address in the gateway's network, else the first (inet_select_addr in net/ipv4/devinet.c)
 *   IPv6              RFC 6724, section 5, among the line's own: rule 3 not deprecated, 6 the same label, 8 the longest common prefix; then the newest,
 *                     which the kernel lists first
 */
import type { Address } from '../model.js';
import { bitsOf, familyOf, isWithin } from './address.js';

/** Where the internet is, as far as labels go: an address of label 1. */
const ANYWHERE = { 4: '', 6: '2000::' } as const;

/** How a line's packets go to whatever is not on the link. */
export interface Way {
  /** '' for point-to-point lines. */
  readonly via: string;
  /** Preferred source of that route, '' = it has none. */
  readonly source: string;
}

/**
 * @param addresses of one family and line, in the kernel's order, those that new connections may use first
 * @param destination '' = somewhere in the internet
 * @returns '' where there is no address
 */
export function sourceOf(addresses: readonly Address[], way: Way, destination = ''): string {
  const first = addresses[0];
  if (first === undefined) return '';
  const near = destination === '' ? undefined : addresses.find((address) => covers(address, destination));
  const own = way.source === '' ? undefined : addresses.find(({ address }) => address === way.source);
  const chosen = near ?? own ?? (first.family === 4 ? source4(addresses, way.via) : source6(addresses, destination === '' ? ANYWHERE[6] : destination));
  return (chosen ?? first).address;
}

function source4(addresses: readonly Address[], via: string): Address | undefined {
  return via === '' ? undefined : addresses.find((address) => covers(address, via));
}

function source6(addresses: readonly Address[], destination: string): Address | undefined {
  const wanted = labelOf(destination);
  let best: { readonly address: Address; readonly score: readonly number[] } | undefined;
  for (const address of addresses) {
    const score = [Number(!address.deprecated), Number(labelOf(address.address) === wanted), common(address, destination)];
    if (best === undefined || isMore(score, best.score)) best = { address, score };
  }
  return best?.address;
}

/** Is it in the network that this address stands in, or the other end? */
function covers({ address, peer, prefixLength }: Address, other: string): boolean {
  return familyOf(address) === familyOf(other) && isWithin(other, `${peer === '' ? address : peer}/${prefixLength}`);
}

/** RFC 6724, 2.1 and 2.2: no more than the prefix counts, because beyond it addresses are alike by chance. */
function common({ address, prefixLength }: Address, destination: string): number {
  if (destination === ANYWHERE[6]) return 0;
  const [one, other] = [bitsOf(address), bitsOf(destination)];
  let length = 0;
  while (length < prefixLength && one[length] === other[length]) length++;
  return length;
}

/** The policy table of RFC 6724, 2.1, as far as addresses of scope global are concerned. */
const LABELS: readonly (readonly [prefix: string, label: number])[] = [['fc00::/7', 13], ['2002::/16', 2], ['2001::/32', 5], ['3ffe::/16', 12], ['fec0::/10', 11]];

function labelOf(address: string): number {
  return LABELS.find(([prefix]) => isWithin(address, prefix))?.[1] ?? 1;
}

function isMore(score: readonly number[], than: readonly number[]): boolean {
  const at = score.findIndex((value, i) => value !== than[i]);
  return at >= 0 && score[at]! > than[at]!;
}
