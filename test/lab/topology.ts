/**
 * What the lab consists of, as data. `planTopology` fills in a wish and names every host, cable, device and address;
 * nothing here touches the system.
 *
 * A cable is a veth pair. Real NICs have ifindex = iflink, and the kernel rate-limits their link events (up to 1 s between two); a veth
 * pair escapes that unless both ends carry the same index, each in its own namespace: `indexEqual`. The rate limit is one for the whole
 * machine, so labs that run at the same time shift each other's phase.
 *
 * A tun line is a real point-to-point device on both ends, with a process of ours for a wire (tun.ts); it has no MAC and chooses its own ifindex.
 *
 * A line that is wished for in `lines` has a delay line (delay.ts) between its ISP and the internet, in the host `delays`.
 *
 * IPv6 is laid where it is wished for. Every ISP's gateway is then fe80::1, on all lines the same.
 */

import { PLAIN_LINE } from './delay.js';
import type { LineShape } from './delay.js';

export interface IspWish {
  /** At most 12 letters; it is the name of the host too. */
  readonly name: string;
  /** The network between the ISP and the router: `198.51.100.0/24`. */
  readonly prefix: string;
  /** The ISP's address in it. */
  readonly gateway: string;
  /** The router's address in it. */
  readonly router: string;
  /** Carrier-grade NAT: needed where two ISPs use the same prefix. Default false. */
  readonly nat?: boolean;
  /** Default `ethernet`. A `tun` line is point-to-point: no ARP, no gateway to be named. */
  readonly wire?: 'ethernet' | 'tun';
  /** `static` (default): the router has its addresses. `none`: it gets none, of either family, and DHCP or router advertisements may bring them. */
  readonly addresses?: 'static' | 'none';
}

export interface TopologyWish {
  /** A number takes the first of the stock (fibre, cable, lte, dsl). Default 3. */
  readonly isps?: number | readonly IspWish[];
  /** LANs, each with one client: `client`, `client2`, ... Default 1. */
  readonly lans?: number;
  /** Addresses of the internet, all served by the echo server. Default 192.0.2.10, 1.1.1.1, 9.9.9.9, 8.8.8.8. */
  readonly internet?: readonly string[];
  /** Unused ports of the router with a cable in: `spare0`, ... Default 1. */
  readonly spares?: number;
  /** A private network behind `vpn0` of the router, with the host `vpn` in it. Default true. */
  readonly vpn?: boolean;
  /** Same ifindex on both ends of every cable, as real NICs look to the kernel. Default false. */
  readonly indexEqual?: boolean;
  /** IPv6 on every line, in the LANs and in the internet. Default false: it costs time. */
  readonly ipv6?: boolean;
  /** ISPs, by name, that are far from the internet, and how far: `{ fibre: { rttMs: 40, jitterMs: 15 } }`. Only these can be given another shape later. Needs python3. */
  readonly lines?: Readonly<Record<string, Partial<LineShape>>>;
}

export interface CableEnd {
  readonly host: string;
  readonly device: string;
  readonly ifindex: number;
  readonly mac: string;
}

export interface Cable {
  readonly wire: 'ethernet' | 'tun';
  readonly near: CableEnd;
  readonly far: CableEnd;
}

/** IPv6 of a line. */
export interface Isp6 {
  /** Between ISP and router, /64: `2001:db8:101::/64`. */
  readonly prefix: string;
  /** Link-local. */
  readonly gateway: string;
  /** The ISP's global address in `prefix`. */
  readonly global: string;
  /** The router's, in `prefix`; '' where it gets none. */
  readonly router: string;
  /** The router's link-local one, made of its MAC (of a tun line: given). The ISP routes `delegated` by it. */
  readonly linkLocal: string;
  /** Routed to the router: `2001:db8:100::/56`. */
  readonly delegated: string;
  readonly core: { readonly isp: string; readonly internet: string };
}

export interface Isp {
  readonly name: string;
  /** The router's device on this line: `isp0`. */
  readonly device: string;
  readonly prefix: string;
  readonly prefixLength: number;
  readonly gateway: string;
  /** '' where it gets none. */
  readonly router: string;
  readonly nat: boolean;
  readonly six: Isp6 | undefined;
  /** Between ISP and internet; what the internet sees when the ISP translates. */
  readonly core: { readonly isp: string; readonly internet: string; readonly device: string };
  readonly cable: Cable;
  /** The devices in the host `delays` that the delay line connects. */
  readonly delay: { readonly near: string; readonly far: string; readonly shape: LineShape } | undefined;
}

export interface Lan {
  readonly client: string;
  readonly device: string;
  readonly prefix: string;
  readonly routerAddress: string;
  readonly clientAddress: string;
  /** A unique local prefix, /64. */
  readonly six: { readonly prefix: string; readonly routerAddress: string; readonly clientAddress: string } | undefined;
}

export interface Topology {
  readonly isps: readonly Isp[];
  readonly lans: readonly Lan[];
  /** Of both families, those of IPv4 first. */
  readonly internet: readonly string[];
  readonly spares: readonly string[];
  readonly vpn: { readonly device: string; readonly prefix: string; readonly routerAddress: string; readonly hostAddress: string } | undefined;
  readonly indexEqual: boolean;
  readonly ipv6: boolean;
  readonly hosts: readonly string[];
  readonly cables: readonly Cable[];
  /** Above every ifindex in use. */
  readonly nextIndex: number;
}

const STOCK: readonly IspWish[] = [
  { name: 'fibre', prefix: '198.51.100.0/24', gateway: '198.51.100.1', router: '198.51.100.2' },
  { name: 'cable', prefix: '203.0.113.0/24', gateway: '203.0.113.1', router: '203.0.113.2' },
  { name: 'lte', prefix: '100.64.0.0/24', gateway: '100.64.0.1', router: '100.64.0.2' },
  { name: 'dsl', prefix: '198.18.0.0/24', gateway: '198.18.0.1', router: '198.18.0.2' },
];

/** Two lines of one provider behind carrier-grade NAT: the same prefix and the same gateway address on both. */
export const TWIN_CGNAT: readonly IspWish[] = [
  { name: 'star1', prefix: '100.64.0.0/24', gateway: '100.64.0.1', router: '100.64.0.11', nat: true },
  { name: 'star2', prefix: '100.64.0.0/24', gateway: '100.64.0.1', router: '100.64.0.12', nat: true },
];

/** Addresses of the internet in a lab with IPv6. */
const INTERNET_6: readonly string[] = ['2001:db8:ffff::10', '2606:4700:4700::1111', '2620:fe::fe'];
/** The gateway of every line. */
const GATEWAY_6 = 'fe80::1';

/** The host in the middle of all delay lines. */
export const DELAYS = 'delays';
/** The distance between the indexes of a cable's two ends where they are to differ. */
const FAR_INDEX = 400;
const FIRST_INDEX = 101;

/** @throws RangeError for a wish that cannot work */
export function planTopology(wish: TopologyWish = {}): Topology {
  const indexEqual = wish.indexEqual ?? false;
  const cables: Cable[] = [];
  const ipv6 = wish.ipv6 ?? false;
  const lay = (near: [host: string, device: string], far: [host: string, device: string], wire: Cable['wire'] = 'ethernet'): Cable => {
    const cable = cableOf(FIRST_INDEX + cables.length, indexEqual, near, far, wire);
    cables.push(cable);
    return cable;
  };
  const wished = checkedIsps(wish.isps ?? 3);
  const stranger = Object.keys(wish.lines ?? {}).find((name) => !wished.some((isp) => isp.name === name));
  if (stranger !== undefined) throw new RangeError(`lines: there is no ISP "${stranger}"; there are ${wished.map((isp) => isp.name).join(', ')}`);
  const isps = wished.map((isp, n): Isp => {
    const wire = isp.wire ?? 'ethernet';
    const cable = lay(['router', `isp${n}`], [isp.name, 'line'], wire);
    const shape = wish.lines?.[isp.name];
    const delay = shape === undefined ? undefined : { near: `near${n}`, far: `far${n}`, shape: { ...PLAIN_LINE, ...shape } };
    if (delay !== undefined) lay([isp.name, 'core'], [DELAYS, delay.near]);
    const toInternet = lay(delay === undefined ? [isp.name, 'core'] : [DELAYS, delay.far], ['internet', `to-${isp.name}`]);
    return {
      name: isp.name, device: cable.near.device, prefix: isp.prefix, prefixLength: prefixLengthOf(isp.prefix), gateway: isp.gateway,
      router: isp.addresses === 'none' ? '' : isp.router, nat: isp.nat ?? false, six: ipv6 ? isp6(n, cable, isp.addresses ?? 'static') : undefined, core: { isp: `10.255.${n}.2`, internet: `10.255.${n}.1`, device: toInternet.far.device }, cable, delay,
    };
  });
  const lans = range(wish.lans ?? 1).map((n): Lan => {
    const client = n === 0 ? 'client' : `client${n + 1}`;
    lay(['router', `lan${n}`], [client, 'eth0']);
    const unique = `fd00:a:${n + 1}::`;
    return {
      client, device: `lan${n}`, prefix: `192.168.${n + 1}.0/24`, routerAddress: `192.168.${n + 1}.1`, clientAddress: `192.168.${n + 1}.10`,
      six: ipv6 ? { prefix: `${unique}/64`, routerAddress: `${unique}1`, clientAddress: `${unique}10` } : undefined,
    };
  });
  const spares = range(wish.spares ?? 1).map((n) => lay(['router', `spare${n}`], ['shed', `spare${n}`]).near.device);
  const vpn = wish.vpn ?? true
    ? { device: lay(['router', 'vpn0'], ['vpn', 'eth0']).near.device, prefix: '10.8.0.0/24', routerAddress: '10.8.0.1', hostAddress: '10.8.0.2' }
    : undefined;
  const hosts = [...new Set(['router', 'internet', ...cables.flatMap((cable) => [cable.near.host, cable.far.host])])];
  const internet = [...(wish.internet ?? ['192.0.2.10', '1.1.1.1', '9.9.9.9', '8.8.8.8']), ...(ipv6 ? INTERNET_6 : [])];
  return { isps, lans, internet, spares, vpn, indexEqual, ipv6, hosts, cables, nextIndex: FIRST_INDEX + cables.length };
}

/** A cable whose near end has this index. */
export function cableOf(ifindex: number, indexEqual: boolean, near: readonly [string, string], far: readonly [string, string], wire: Cable['wire'] = 'ethernet'): Cable {
  const byte = ifindex.toString(16).padStart(4, '0').replace(/(..)(..)/, '$1:$2');
  return {
    wire,
    near: { host: near[0], device: near[1], ifindex, mac: `02:00:00:0a:${byte}` },
    far: { host: far[0], device: far[1], ifindex: indexEqual ? ifindex : ifindex + FAR_INDEX, mac: `02:00:00:0b:${byte}` },
  };
}

function isp6(n: number, cable: Cable, addresses: 'static' | 'none'): Isp6 {
  const line = `2001:db8:${n + 1}01::`;
  return {
    prefix: `${line}/64`, gateway: GATEWAY_6, global: `${line}1`, router: addresses === 'static' ? `${line}2` : '', delegated: `2001:db8:${n + 1}00::/56`,
    linkLocal: cable.wire === 'tun' ? 'fe80::2' : linkLocalOf(cable.near.mac), core: { isp: `fd00:ff:${n}::2`, internet: `fd00:ff:${n}::1` },
  };
}

/** What the kernel makes of a MAC (RFC 4291, appendix A). */
function linkLocalOf(mac: string): string {
  const [first = 0, ...rest] = mac.split(':').map((byte) => parseInt(byte, 16));
  const bytes = [first ^ 2, ...rest.slice(0, 2), 0xff, 0xfe, ...rest.slice(2)];
  const groups = [0, 2, 4, 6].map((i) => (((bytes[i] ?? 0) << 8) | (bytes[i + 1] ?? 0)).toString(16));
  return `fe80::${groups.join(':')}`;
}

export function prefixLengthOf(prefix: string): number {
  const length = Number(prefix.split('/')[1]);
  if (!Number.isInteger(length) || length < 1 || length > 32) throw new RangeError(`"${prefix}" is not an IPv4 prefix; write it like 198.51.100.0/24`);
  return length;
}

function checkedIsps(wish: number | readonly IspWish[]): readonly IspWish[] {
  if (typeof wish === 'number' && wish > STOCK.length) throw new RangeError(`the stock has ${STOCK.length} ISPs, not ${wish}; describe them one by one`);
  const isps = typeof wish === 'number' ? STOCK.slice(0, wish) : wish;
  for (const isp of isps) {
    if (!/^[a-z][a-z0-9-]{0,11}$/.test(isp.name)) throw new RangeError(`"${isp.name}" cannot name an ISP: 1 to 12 of a-z, 0-9 and -`);
    if (isp.wire === 'tun' && isp.addresses === 'none') throw new RangeError(`${isp.name}: who would give addresses to a tun line?`);
    const twin = isps.find((other) => other !== isp && (other.name === isp.name || (other.prefix === isp.prefix && other.nat !== true)));
    if (twin !== undefined) throw new RangeError(`${isp.name} and ${twin.name} have the same name or prefix; ISPs of the same prefix both need nat: true`);
  }
  return isps;
}

function range(count: number): readonly number[] {
  return Array.from({ length: count }, (_, n) => n);
}
