/**
 * Foreign hands in the router: what DHCP clients, other programs and people with a shell do to routes and packet filters behind the daemon's back.
 */
import type { Anchor } from './anchor.js';
import { stamped } from './ip-batch.js';
import type { Applied } from './ip-batch.js';
import type { Isp, Topology } from './topology.js';

export interface ForeignHands {
  /** A default route by a foreign hand in main. Default metric 0, protocol dhcp. */
  addForeignDefault(isp: string, options?: { readonly metric?: number; readonly protocol?: string }): Promise<Applied>;
  /** `defaults`: every default route in every table. `main`: `ip route flush table main`, connected routes too: the LAN is unreachable until `restoreConnected`. */
  flushRoutes(what?: 'defaults' | 'main'): Promise<Applied>;
  restoreConnected(): Promise<Applied>;
  /** `nft flush ruleset` in the router. */
  nftFlush(): Promise<Applied>;
  /** `iptables -t nat -F` in the router. */
  iptablesNatFlush(): Promise<Applied>;
}

export function createForeignHands(anchor: Anchor, topology: Topology, isps: () => readonly Isp[], ip: (host: string, ...commands: readonly string[]) => Promise<Applied>): ForeignHands {
  return {
    async addForeignDefault(name, options = {}) {
      const isp = isps().find((one) => one.name === name);
      if (isp === undefined) throw new Error(`the lab has no ISP "${name}"`);
      return ip('router', `route prepend default via ${isp.gateway} dev ${isp.device} metric ${options.metric ?? 0} proto ${options.protocol ?? 'dhcp'}`);
    },
    flushRoutes: async (what = 'defaults') =>
      stamped(() => anchor.text('router', ['ip', '-4', 'route', 'flush', 'table', ...(what === 'main' ? ['main'] : ['all', 'exact', '0.0.0.0/0'])])),
    restoreConnected: async () => ip('router', ...connectedRoutes(topology, isps())),
    nftFlush: async () => stamped(() => anchor.text('router', ['nft', 'flush', 'ruleset'])),
    iptablesNatFlush: async () => stamped(() => anchor.text('router', ['iptables', '-t', 'nat', '-F'])),
  };
}

function connectedRoutes(topology: Topology, isps: readonly Isp[]): readonly string[] {
  const networks = [
    ...topology.lans.map((lan) => ({ prefix: lan.prefix, device: lan.device, source: lan.routerAddress })),
    ...isps.map((isp) => ({ prefix: isp.prefix, device: isp.device, source: isp.router })),
    ...(topology.vpn === undefined ? [] : [{ prefix: topology.vpn.prefix, device: topology.vpn.device, source: topology.vpn.routerAddress }]),
  ];
  // append: two lines may share a prefix
  return networks.map(({ prefix, device, source }) => `route append ${prefix} dev ${device} proto kernel scope link src ${source}`);
}
