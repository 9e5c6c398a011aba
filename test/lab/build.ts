/**
 * From the topology to standing hosts. Everything a host needs is text for one `ip -batch`, all hosts at once; only files of /proc/sys
 * and nft rules need programs of their own. Also the pieces that faults build anew: a cable, an ISP's rules.
 *
 * An ISP: `line` towards the router, `core` towards the internet. Its table `lab` drops what comes up the line from a source that is not
 * its own (BCP 38), translates where asked to, and has an empty chain for losses. Its rule for local addresses is moved from preference 0 to
 * 100, so that a fault can put `iif line blackhole` before it (then not even ARP is answered) or behind it (then the gateway still answers).
 * All of that for each family. Duplicate address detection is off, because it only takes time here.
 */
import type { Anchor } from './anchor.js';
import { openDelayLine } from './delay.js';
import type { DelayLine } from './delay.js';
import { openIpBatch } from './ip-batch.js';
import type { IpBatch } from './ip-batch.js';
import { DELAYS } from './topology.js';
import type { Cable, Isp, Lan, Topology } from './topology.js';
import { openWire } from './tun.js';
import type { Wire } from './tun.js';

export const RULE_BEFORE_LOCAL = 50;
export const RULE_LOCAL = 100;
export const RULE_BEHIND_LOCAL = 150;

export interface Standing {
  readonly batches: ReadonlyMap<string, IpBatch>;
  /** The wires of tun lines, by ISP. */
  readonly wires: ReadonlyMap<string, Wire>;
  /** By ISP. */
  readonly delays: ReadonlyMap<string, DelayLine>;
}

/** Makes and connects all hosts; when it resolves, every cable has carrier. */
export async function build(anchor: Anchor, topology: Topology): Promise<Standing> {
  const make = [...topology.hosts.map((host) => `netns add ${host}`), ...topology.cables.flatMap(layCable)];
  await anchor.text('', ['ip', '-batch', '-'], `${make.join('\n')}\n`);
  const tuns = topology.isps.filter((isp) => isp.cable.wire === 'tun');
  const wires = new Map(await Promise.all(tuns.map(async (isp): Promise<[string, Wire]> => [isp.name, await openWire(anchor, isp.cable)])));
  if (topology.ipv6) await Promise.all(topology.hosts.map(async (host) => setSysctl(anchor, host, '0', deviceFiles(host, topology, 'ipv6', 'accept_dad'))));
  const batches = new Map<string, IpBatch>();
  await Promise.all(
    topology.hosts.map(async (host) => {
      const batch = await openIpBatch(anchor, host);
      batches.set(host, batch);
      await batch.do('link set lo up', ...addressing(host, topology));
    }),
  );
  const isps = topology.isps.map((isp) => isp.name);
  await Promise.all([
    ...isps.map((name) => setSysctl(anchor, name, '1', ['net/ipv4/ip_forward', ...(topology.ipv6 ? ['net/ipv6/conf/all/forwarding'] : [])])),
    ...topology.isps.map((isp) => anchor.text(isp.name, ['nft', '-f', '-'], ispRules(isp))),
    // A machine whose own default is a strict rp_filter hands it down to new namespaces.
    ...['router', 'internet', ...isps].map((host) => setSysctl(anchor, host, '0', deviceFiles(host, topology, 'ipv4', 'rp_filter'))),
    ...(topology.ipv6 ? isps.map(async (name) => anchor.text(name, ['ip', '-6', '-batch', '-'], `rule add pref ${RULE_LOCAL} lookup local\nrule del pref 0\n`)) : []),
  ]);
  const delays = new Map<string, DelayLine>();
  await Promise.all(topology.isps.map(async ({ name, delay }) => {
    if (delay !== undefined) delays.set(name, await openDelayLine(anchor, DELAYS, delay.near, delay.far, delay.shape));
  }));
  return { batches, wires, delays };
}

/** `ip -batch` lines that make a cable; both ends are down and without address. A tun line is a matter of its wire. */
export function layCable(cable: Cable): readonly string[] {
  const { near, far } = cable;
  if (cable.wire === 'tun') return [];
  return [
    `link add name ${near.device} index ${near.ifindex} address ${near.mac} netns ${near.host} type veth ` +
      `peer name ${far.device} index ${far.ifindex} address ${far.mac} netns ${far.host}`,
  ];
}

/** The nft rules of an ISP, as a replacement of what was there. */
export function ispRules(isp: Isp): string {
  const nat = isp.nat ? 'chain nat { type nat hook postrouting priority srcnat; oifname "core" masquerade; }' : '';
  const four = ispTable('ip', `ip saddr != { ${isp.prefix}, 0.0.0.0 }`, nat);
  // fe80::/10 and :: are those of neighbour discovery, which never go further.
  return isp.six === undefined ? four : four + ispTable('ip6', `ip6 saddr != { ${isp.six.prefix}, ${isp.six.delegated}, fe80::/10, :: }`, '');
}

function ispTable(family: 'ip' | 'ip6', spoofed: string, nat: string): string {
  return `
add table ${family} lab
delete table ${family} lab
table ${family} lab {
  counter spoofed { }
  chain bcp38 { type filter hook prerouting priority raw; iifname "line" ${spoofed} counter name spoofed drop; }
  chain loss { type filter hook prerouting priority raw + 1; }
  ${nat}
}
`;
}

/** What the internet must know to answer this ISP's customers. */
export function returnRoutes(isp: Isp): readonly string[] {
  const four = isp.nat ? [] : [`route replace ${isp.prefix} via ${isp.core.isp}`];
  const { six } = isp;
  return six === undefined ? four : [...four, ...[six.prefix, six.delegated].map((prefix) => `route replace ${prefix} via ${six.core.isp}`)];
}

/** The ISP's end of a line, which is down. Everything of IPv6 goes when a device goes down, and must be said again. */
export function ispLine(isp: Isp): readonly string[] {
  const { cable, six } = isp;
  const four = cable.wire === 'tun' ? [`addr replace ${isp.gateway} peer ${isp.router} dev line`] : [`addr replace ${isp.gateway}/${isp.prefixLength} dev line`];
  if (six === undefined) return [...four, 'link set line up'];
  const delegation = cable.wire === 'tun' ? 'dev line' : `via ${six.linkLocal} dev line`;
  return [
    ...four, 'link set line addrgenmode none', 'link set line up', `addr replace ${six.gateway}/64 dev line nodad`, `addr replace ${six.global}/64 dev line nodad`,
    `route replace ${six.delegated} ${delegation}`,
  ];
}

/** The router's end of a line, which is down. */
export function routerLine(isp: Isp): readonly string[] {
  const { device, six, cable } = isp;
  const tun = cable.wire === 'tun';
  return [
    ...(isp.router === '' ? [] : [tun ? `addr add ${isp.router} peer ${isp.gateway} dev ${device}` : `addr add ${isp.router}/${isp.prefixLength} dev ${device}`]),
    ...(tun && six !== undefined ? [`link set ${device} addrgenmode none`] : []),
    `link set ${device} up`,
    ...(tun && six !== undefined ? [`addr add ${six.linkLocal}/64 dev ${device} nodad`] : []),
    ...(six === undefined || six.router === '' ? [] : [`addr add ${six.router}/64 dev ${device} nodad`]),
  ];
}

/** @param files below /proc/sys */
export async function setSysctl(anchor: Anchor, host: string, value: string, files: readonly string[]): Promise<void> {
  await anchor.text(host, ['tee', ...files.map((file) => `/proc/sys/${file}`)], value);
}

function addressing(host: string, topology: Topology): readonly string[] {
  const isp = topology.isps.find((candidate) => candidate.name === host);
  if (isp !== undefined) return ispAddressing(isp);
  const lan = topology.lans.find((candidate) => candidate.client === host);
  if (lan !== undefined) return lanAddressing(lan);
  switch (host) {
    case 'internet':
      return [
        ...topology.internet.map((address) => `addr add ${address}/${address.includes(':') ? '128' : '32'} dev lo`),
        ...topology.isps.flatMap((each) => [
          ...up(each.core.device, `${each.core.internet}/30`, sixOf(each.six?.core.internet, 126)), ...returnRoutes(each), ...singly(each, each.core.device),
        ]),
      ];
    case 'router':
      return [
        ...topology.lans.flatMap((each) => up(each.device, `${each.routerAddress}/24`, sixOf(each.six?.routerAddress, 64))),
        ...topology.isps.flatMap(routerLine),
        ...topology.spares.map((spare) => `link set ${spare} up`),
        ...(topology.vpn === undefined ? [] : up(topology.vpn.device, `${topology.vpn.routerAddress}/24`)),
      ];
    case DELAYS:
      return topology.isps.flatMap(({ delay }) => (delay === undefined ? [] : [delay.near, delay.far].flatMap((device) => [`link set ${device} addrgenmode none`, `link set ${device} up`])));
    case 'shed':
      return topology.spares.map((spare) => `link set ${spare} up`);
    case 'vpn':
      return topology.vpn === undefined ? [] : [...up('eth0', `${topology.vpn.hostAddress}/24`), `route add default via ${topology.vpn.routerAddress}`];
    default:
      throw new Error(`no part of the topology says what ${host} is`);
  }
}

function ispAddressing(isp: Isp): readonly string[] {
  return [
    ...ispLine(isp),
    ...up('core', `${isp.core.isp}/30`, sixOf(isp.six?.core.isp, 126)),
    ...singly(isp, 'core'),
    `route add default via ${isp.core.internet}`,
    ...(isp.six === undefined ? [] : [`route add default via ${isp.six.core.internet}`]),
    `rule add pref ${RULE_LOCAL} lookup local`,
    'rule del pref 0',
  ];
}

/** What enters a delay line is cut into packets before. */
function singly({ delay }: Isp, device: string): readonly string[] {
  return delay === undefined ? [] : [`link set ${device} gso_max_segs 1`];
}

function lanAddressing(lan: Lan): readonly string[] {
  const four = [...up('eth0', `${lan.clientAddress}/24`, sixOf(lan.six?.clientAddress, 64)), `route add default via ${lan.routerAddress}`];
  return lan.six === undefined ? four : [...four, `route add default via ${lan.six.routerAddress}`];
}

function sixOf(address: string | undefined, length: number): string {
  return address === undefined ? '' : `${address}/${length}`;
}

/** @param six address of IPv6, '' = none */
function up(device: string, address: string, six = ''): readonly string[] {
  return [`addr add ${address} dev ${device}`, ...(six === '' ? [] : [`addr add ${six} dev ${device} nodad`]), `link set ${device} up`];
}

function deviceFiles(host: string, topology: Topology, family: 'ipv4' | 'ipv6', key: string): readonly string[] {
  const devices = topology.cables.flatMap((cable) => [cable.near, cable.far]).filter((end) => end.host === host);
  return ['all', 'default', ...devices.map((end) => end.device)].map((device) => `net/${family}/conf/${device}/${key}`);
}
