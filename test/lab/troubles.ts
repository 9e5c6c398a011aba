/**
 * What may be wrong with a line that is neither cut nor dead, and with a single target on the internet. Each returns when the kernel has done it.
 *
 *   lossy             so many per cent of the round trips through this ISP get lost, half of them on the way up; its gateway answers always
 *   mtu               the ISP drops what is longer than so many bytes, both ways, and tells nobody (a black hole)
 *   dnsBroken         no DNS query gets through
 *   portal            a captive portal: whoever asks for a web page is sent to http://login.portal.lab/
 *   deadTarget        one address of the internet answers nothing
 *   rateLimitTarget   one address of the internet answers so many ICMP echo requests per second and no more
 *
 * They are nft tables of their own, in the ISP or in the internet, and so add up. `heal` of the ISP ends the first four, `healTarget` the last two. About
 * 30 ms each. IPv6 is concerned too unless a family is named.
 */
import { join, dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Family } from '../../src/model.js';
import type { Anchor, LabProcess } from './anchor.js';
import { stamped } from './ip-batch.js';
import type { Applied } from './ip-batch.js';
import type { Topology } from './topology.js';

/** Which packets. */
export interface TroubleOptions {
  /** Default: both. */
  readonly family?: Family;
}

export interface TargetOptions {
  /** Only as seen through this ISP. Default: from everywhere. */
  readonly isp?: string;
}

export interface Troubles {
  lossy(isp: string, percent: number, options?: TroubleOptions): Promise<Applied>;
  /** @param bytes of a whole IP packet */
  mtu(isp: string, bytes: number, options?: TroubleOptions): Promise<Applied>;
  dnsBroken(isp: string, options?: TroubleOptions): Promise<Applied>;
  /** DNS gets through always; everything else but web pages too, or (default) not. */
  portal(isp: string, options?: { readonly others?: 'blocked' | 'through' }): Promise<Applied>;
  /** A second verdict on the same target replaces the first. */
  deadTarget(target: string, options?: TargetOptions): Promise<Applied>;
  rateLimitTarget(target: string, perSecond: number, options?: TargetOptions): Promise<Applied>;
  healTarget(target: string): Promise<Applied>;
  /** Ends everything that befell this ISP; a part of `heal`. */
  endAll(isp: string): Promise<Applied>;
}

/** Where the portal listens in the ISP's box. */
const PORTAL_PORT = 8080;
const PORTAL_SERVER = join(dirname(fileURLToPath(import.meta.url)), 'portal-server.js');
/** What goes through the ISP's box. What is meant for the box itself, its gateway address or its portal, is let be. */
const FORWARD = 'type filter hook forward priority filter';

export function createTroubles(anchor: Anchor, topology: Topology, ip: (host: string, ...commands: readonly string[]) => Promise<Applied>): Troubles {
  /** Names of the tables that stand, by host. */
  const standing = new Map<string, Set<string>>();
  const portals = new Map<string, Promise<LabProcess>>();
  const strike = async (host: string, table: string, chains: string): Promise<Applied> => {
    if (!topology.hosts.includes(host)) throw new Error(`the lab has no ISP "${host}"; it has ${topology.isps.map((isp) => isp.name).join(', ')}`);
    const tables = standing.get(host) ?? new Set();
    standing.set(host, tables.add(table));
    return stamped(() => anchor.text(host, ['nft', '-f', '-'], `add table inet ${table}\ndelete table inet ${table}\ntable inet ${table} {\n${chains}\n}\n`));
  };
  const end = async (host: string, wanted: (table: string) => boolean): Promise<Applied> => {
    const tables = [...(standing.get(host) ?? [])].filter(wanted);
    if (tables.length === 0) return ip(host);
    for (const table of tables) standing.get(host)?.delete(table);
    return stamped(() => anchor.text(host, ['nft', '-f', '-'], tables.map((table) => `delete table inet ${table}\n`).join('')));
  };
  /** At the internet, where it arrives. */
  const target = async (address: string, { isp }: TargetOptions, rule: string): Promise<Applied> => {
    if (!topology.internet.includes(address)) throw new Error(`the internet has no ${address}; it has ${topology.internet.join(', ')}`);
    if (isp !== undefined && !topology.isps.some((one) => one.name === isp)) throw new Error(`the lab has no ISP "${isp}"`);
    const from = isp === undefined ? '' : `iifname "to-${isp}" `;
    return strike('internet', tableOf(address), `chain arrive { type filter hook prerouting priority raw; ${from}${address.includes(':') ? 'ip6' : 'ip'} daddr ${address} ${rule}; }`);
  };

  return {
    lossy: async (isp, percent, options) => {
      // lost on one way or on the other: 1 - (1 - p)^2
      const perMille = Math.round(1000 * (1 - Math.sqrt(1 - percent / 100)));
      return strike(isp, 'lossy', `chain f { ${FORWARD}; ${familyOf(options)}numgen random mod 1000 < ${perMille} drop; }`);
    },
    async mtu(isp, bytes, options) {
      // whole packets, or a train of small ones that travels as one would be taken for a long one
      const cut = topology.lans.map(async (lan) => ip(lan.client, 'link set eth0 gso_max_segs 1'));
      await Promise.all([...cut, ip('internet', `link set to-${isp} gso_max_segs 1`)]);
      return strike(isp, 'narrow', `chain f { ${FORWARD}; ${familyOf(options)}meta length > ${bytes} drop; }`);
    },
    dnsBroken: async (isp, options) => strike(isp, 'nodns', `chain f { ${FORWARD}; ${familyOf(options)}meta l4proto { tcp, udp } th dport 53 drop; }`),
    async portal(isp, { others = 'blocked' } = {}) {
      const server = portals.get(isp) ?? startPortal(anchor, isp);
      portals.set(isp, server);
      await server;
      const forward = `chain f { ${FORWARD}; iifname "line" oifname "core" meta l4proto { tcp, udp } th dport 53 accept; iifname "line" oifname "core" drop; }`;
      const redirect = `chain p { type nat hook prerouting priority dstnat; iifname "line" tcp dport 80 redirect to :${PORTAL_PORT}; }`;
      return strike(isp, 'portal', `${redirect}\n${others === 'blocked' ? forward : ''}`);
    },
    deadTarget: async (address, options = {}) => target(address, options, 'drop'),
    rateLimitTarget: async (address, perSecond, options = {}) => {
      const echo = address.includes(':') ? 'icmpv6' : 'icmp';
      return target(address, options, `${echo} type echo-request limit rate over ${perSecond}/second burst ${perSecond} packets drop`);
    },
    healTarget: async (address) => end('internet', (table) => table === tableOf(address)),
    endAll: async (isp) => end(isp, () => true),
  };
}

async function startPortal(anchor: Anchor, isp: string): Promise<LabProcess> {
  const server = await anchor.start(isp, [process.execPath, PORTAL_SERVER, String(PORTAL_PORT)]);
  const listening = new Promise<boolean>((resolve) => server.child.stdout?.once('data', () => resolve(true)));
  if (!(await Promise.race([listening, server.exited.then(() => false)]))) throw new Error(`${isp}: the portal did not start`);
  return server;
}

function familyOf({ family }: TroubleOptions = {}): string {
  return family === undefined ? '' : `meta nfproto ipv${family} `;
}

function tableOf(address: string): string {
  return `target-${address.replaceAll(/[.:]/g, '-')}`;
}
