/**
 * From the topology to standing hosts. Everything a host needs is text for one `ip -batch`, all hosts at once; only files of /proc/sys
 * and nft rules need programs of their own. Also the pieces that faults build anew: a cable, an ISP's rules.
 *
 * An ISP: `line` towards the router, `core` towards the internet. Its table `lab` drops what comes up the line from a source that is not
 * its own (BCP 38), translates where asked to, and has an empty chain for losses. Its rule for local addresses is moved from preference 0 to
 * 100, so that a fault can put `iif line blackhole` before it (then not even ARP is answered) or behind it (then the gateway still answers).
 */
import type { Anchor } from './anchor.js';
import { openIpBatch } from './ip-batch.js';
import type { IpBatch } from './ip-batch.js';
import type { Cable, Isp, Topology } from './topology.js';

export const RULE_BEFORE_LOCAL = 50;
export const RULE_LOCAL = 100;
export const RULE_BEHIND_LOCAL = 150;

/** Makes and connects all hosts; when it resolves, every cable has carrier. */
export async function build(anchor: Anchor, topology: Topology): Promise<ReadonlyMap<string, IpBatch>> {
  const make = [...topology.hosts.map((host) => `netns add ${host}`), ...topology.cables.flatMap(layCable)];
  await anchor.text('', ['ip', '-batch', '-'], `${make.join('\n')}\n`);
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
    ...isps.map((name) => setSysctl(anchor, name, '1', ['net/ipv4/ip_forward'])),
    ...topology.isps.map((isp) => anchor.text(isp.name, ['nft', '-f', '-'], ispRules(isp))),
    // A machine whose own default is a strict rp_filter hands it down to new namespaces.
    ...['router', 'internet', ...isps].map((host) => setSysctl(anchor, host, '0', looseFiles(host, topology))),
  ]);
  return batches;
}

/** `ip -batch` lines that make a cable; both ends are down and without address. */
export function layCable(cable: Cable): readonly string[] {
  const { near, far } = cable;
  return [
    `link add name ${near.device} index ${near.ifindex} address ${near.mac} netns ${near.host} type veth ` +
      `peer name ${far.device} index ${far.ifindex} address ${far.mac} netns ${far.host}`,
  ];
}

/** The nft rules of an ISP, as a replacement of what was there. */
export function ispRules(isp: Isp): string {
  const nat = isp.nat ? 'chain nat { type nat hook postrouting priority srcnat; oifname "core" masquerade; }' : '';
  return `
add table ip lab
delete table ip lab
table ip lab {
  counter spoofed { }
  chain bcp38 { type filter hook prerouting priority raw; iifname "line" ip saddr != { ${isp.prefix}, 0.0.0.0 } counter name spoofed drop; }
  chain loss { type filter hook prerouting priority raw + 1; }
  ${nat}
}
`;
}

/** What the internet must know to answer this ISP's customers. */
export function returnRoutes(isp: Isp): readonly string[] {
  return isp.nat ? [] : [`route replace ${isp.prefix} via ${isp.core.isp}`];
}

/** @param files below /proc/sys */
export async function setSysctl(anchor: Anchor, host: string, value: string, files: readonly string[]): Promise<void> {
  await anchor.text(host, ['tee', ...files.map((file) => `/proc/sys/${file}`)], value);
}

function addressing(host: string, topology: Topology): readonly string[] {
  const isp = topology.isps.find((candidate) => candidate.name === host);
  if (isp !== undefined) return ispAddressing(isp);
  const lan = topology.lans.find((candidate) => candidate.client === host);
  if (lan !== undefined) return [...up('eth0', `${lan.clientAddress}/24`), `route add default via ${lan.routerAddress}`];
  switch (host) {
    case 'internet':
      return [
        ...topology.internet.map((address) => `addr add ${address}/32 dev lo`),
        ...topology.isps.flatMap((each) => [...up(each.core.device, `${each.core.internet}/30`), ...returnRoutes(each)]),
      ];
    case 'router':
      return [
        ...topology.lans.flatMap((each) => up(each.device, `${each.routerAddress}/24`)),
        ...topology.isps.flatMap((each) => up(each.device, `${each.router}/${each.prefixLength}`)),
        ...topology.spares.map((spare) => `link set ${spare} up`),
        ...(topology.vpn === undefined ? [] : up(topology.vpn.device, `${topology.vpn.routerAddress}/24`)),
      ];
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
    ...up('line', `${isp.gateway}/${isp.prefixLength}`),
    ...up('core', `${isp.core.isp}/30`),
    `route add default via ${isp.core.internet}`,
    `rule add pref ${RULE_LOCAL} lookup local`,
    'rule del pref 0',
  ];
}

function up(device: string, address: string): readonly string[] {
  return [`addr add ${address} dev ${device}`, `link set ${device} up`];
}

function looseFiles(host: string, topology: Topology): readonly string[] {
  const devices = topology.cables.flatMap((cable) => [cable.near, cable.far]).filter((end) => end.host === host);
  return ['all', 'default', ...devices.map((end) => end.device)].map((device) => `net/ipv4/conf/${device}/rp_filter`);
}
