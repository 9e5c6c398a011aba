/**
 * The lab: a router with several ISPs, a LAN client and an internet, in private namespaces of this machine. As root or as anybody.
 *
 *                                internet   192.0.2.10  1.1.1.1  9.9.9.9  8.8.8.8, echo servers on all
 *                ┌──────────────────┼──────────────────┐        core: 10.255.N.1 ── 10.255.N.2
 *              fibre              cable               lte       ISPs: each drops sources that are not its own (BCP 38)
 *         198.51.100.1/24     203.0.113.1/24     100.64.0.1/24  `line` of the ISP
 *                │                  │                  │        the cables that faults cut
 *         198.51.100.2         203.0.113.2        100.64.0.2
 *              isp0               isp1               isp2
 *                └───────────────┐  │  ┌───────────────┘
 *             spare0 ─ shed      router      vpn0 10.8.0.1 ── 10.8.0.2 vpn
 *                                 lan0 192.168.1.1/24
 *                                   │
 *                                client 192.168.1.10
 *
 * With `ipv6: true` every line has 2001:db8:N01::/64 besides, the gateway fe80::1 and a delegated 2001:db8:N00::/56, N from 1; the LAN is fd00:a:1::/64,
 * the client fd00:a:1::10, the internet 2001:db8:ffff::10, 2606:4700:4700::1111 and 2620:fe::fe.
 *
 * The router has addresses and carrier, and nothing else: no default route, no forwarding, no NAT. That is the daemon's work, or `kernelAlone`'s.
 *
 *   const skip = await labUnavailable();
 *   test('a cut cable moves new flows', { skip }, () => withLab({ isps: 2 }, async (lab) => {
 *     const daemon = await lab.startDaemon({ config: lab.config({ health: { sensitivity: 'fast' } }) });
 *     await daemon.untilActive('fibre');
 *     const flow = await lab.stream({ kind: 'udp' });
 *     const fault = await lab.cutCable('fibre');
 *     const { outageMs, via } = await flow.outageAfter(fault);
 *     assert.ok(outageMs < 15 && (via['cable'] ?? 0) > 0, (await lab.view('router')).text);
 *   }));
 *
 * Where what is: faults.ts, troubles.ts and foreign.ts the verbs, delay.ts lines that are long, lossy or slow, services.ts what the internet offers, dhcp.ts
 * and advertise.ts addresses that are told, tun.ts point-to-point lines, stream.ts measured traffic, daemon.ts the daemon, view.ts the
 * kernel as text, wait.ts waits and the clock, topology.ts what can be wished for, anchor.ts how it is held and why it cannot leak.
 */
import { openAnchor } from './anchor.js';
import type { Anchor, LabProcess, RunResult } from './anchor.js';
import { createAdvertisers } from './advertise.js';
import type { Advertisers } from './advertise.js';
import { build, setSysctl } from './build.js';
import { startDaemon } from './daemon.js';
import type { Daemon, DaemonOptions } from './daemon.js';
import type { LineShape } from './delay.js';
import { createDhcp } from './dhcp.js';
import type { Dhcp } from './dhcp.js';
import { createFaults } from './faults.js';
import type { Faults, Hands } from './faults.js';
import { createForeignHands } from './foreign.js';
import type { ForeignHands } from './foreign.js';
import type { Family } from '../../src/model.js';
import { openIpBatch } from './ip-batch.js';
import type { Applied, IpBatch } from './ip-batch.js';
import { createServices } from './services.js';
import type { Services } from './services.js';
import { createStreams } from './stream.js';
import type { Streams } from './stream.js';
import { planTopology } from './topology.js';
import type { Isp, Topology, TopologyWish } from './topology.js';
import { createTroubles } from './troubles.js';
import type { Troubles } from './troubles.js';
import { viewKernel } from './view.js';
import type { KernelView } from './view.js';

export { labUnavailable } from './anchor.js';
export { TWIN_CGNAT } from './topology.js';
export { deadline, now, until, waitFor } from './wait.js';

export interface Lab extends Faults, Omit<Troubles, 'endAll'>, ForeignHands, Streams, Services, Dhcp, Advertisers {
  readonly topology: Topology;
  /** Process 1 of the lab as seen from outside: when it is gone, so is everything. */
  readonly anchorPid: number;
  /** Runs a command in a host to its end. A name of a missing program gives exit code 127. */
  run(host: string, argv: readonly string[], input?: string): Promise<RunResult>;
  /** The same; gives stdout. @throws Error with command and stderr unless the exit code is 0 */
  text(host: string, argv: readonly string[], input?: string): Promise<string>;
  /** Starts a command that goes on. */
  start(host: string, argv: readonly string[]): Promise<LabProcess>;
  /** `ip` commands in a host, in order, in less than 1 ms. @throws Error with what `ip` said */
  ip(host: string, ...commands: readonly string[]): Promise<Applied>;
  /** The same by `ip -6`: for rules, which are of IPv4 unless told, and for what names no address. */
  ip6(host: string, ...commands: readonly string[]): Promise<Applied>;
  /** @param files below /proc/sys of that host: `net/ipv4/ip_forward` */
  sysctl(host: string, value: string, ...files: readonly string[]): Promise<void>;
  /** A config that fits this topology: uplinks by their ISPs' names, priority in order, targets gateway, 1.1.1.1 and 9.9.9.9 (and those of IPv6). `more` replaces keys. */
  config(more?: Readonly<Record<string, unknown>>): Record<string, unknown>;
  startDaemon(options?: DaemonOptions): Promise<Daemon>;
  /** Another shape for a line that was wished for in `lines`. @throws Error for any other */
  shape(isp: string, change: Partial<LineShape>): Promise<Applied>;
  /** Default: IPv4. */
  view(host: string, family?: Family): Promise<KernelView>;
  /** How many packets this ISP dropped because their source was not its own. Default: of IPv4. */
  spoofed(isp: string, family?: Family): Promise<number>;
  /** The router without a daemon, as good as the kernel can be: forwarding, masquerading, one default route per ISP by metric, `ignore_routes_with_linkdown`. */
  kernelAlone(): Promise<void>;
  /** Ends every process of the lab; when it resolves, nothing is left. */
  close(): Promise<void>;
}

/** @throws Error where this user may make no namespaces (see `labUnavailable`), RangeError for a topology that cannot work */
export async function openLab(wish: TopologyWish = {}): Promise<Lab> {
  const topology = planTopology(wish);
  const anchor = await openAnchor();
  try {
    const { batches, wires, delays } = await build(anchor, topology);
    const hands = createHands(anchor, topology, batches);
    const { ip, ip6 } = hands;
    // The first fault is to be as quick as the others.
    if (topology.ipv6) await Promise.all(topology.isps.map(async (isp) => ip6(isp.name)));
    const troubles = createTroubles(anchor, topology, ip);
    const faults = createFaults(anchor, topology, { ...hands, wires, troubles });
    const sysctl: Lab['sysctl'] = async (host, value, ...files) => setSysctl(anchor, host, value, files);
    return {
      ...troubles,
      ...faults,
      ...createServices(anchor, topology),
      ...createForeignHands(anchor, topology, faults.isps, ip),
      ...createStreams(anchor, topology, faults.isps),
      ...createDhcp(anchor, faults.isp),
      ...createAdvertisers(anchor, topology, faults.isp),
      topology, ip, ip6, sysctl,
      anchorPid: anchor.pid,
      run: anchor.run,
      text: anchor.text,
      start: anchor.start,
      config: (more = {}) => ({ ...configFor(topology, faults.isps()), ...more }),
      startDaemon: async (options = {}) => startDaemon(anchor, options),
      async shape(isp, change) {
        const line = delays.get(isp);
        if (line === undefined) throw new Error(`${isp} has no delay line; openLab({ lines: { ${isp}: {} } }) gives it one`);
        return line.shape(change);
      },
      view: async (host, family = 4) => viewKernel(anchor, host, family),
      async spoofed(isp, family = 4) {
        const text = await anchor.text(isp, ['nft', 'list', 'counter', family === 4 ? 'ip' : 'ip6', 'lab', 'spoofed']);
        return Number(/packets (\d+)/.exec(text)?.[1]);
      },
      async kernelAlone() {
        const devices = faults.isps().map((isp) => isp.device);
        const files = (family: string): readonly string[] => devices.map((device) => `net/${family}/conf/${device}/ignore_routes_with_linkdown`);
        await sysctl('router', '1', 'net/ipv4/ip_forward', ...files('ipv4'), ...(topology.ipv6 ? ['net/ipv6/conf/all/forwarding', ...files('ipv6')] : []));
        await anchor.text('router', ['nft', '-f', '-'], (topology.ipv6 ? ['ip', 'ip6'] : ['ip']).map((family) => masqueradeAll(family, devices)).join(''));
        await ip('router', ...faults.isps().flatMap((isp, n) => defaultsOf(isp, 100 + n)));
      },
      close: anchor.close,
    };
  } catch (error) {
    await anchor.close();
    throw error;
  }
}

/** A lab for the time of one function, closed whatever comes. */
export async function withLab<T>(wish: TopologyWish, use: (lab: Lab) => Promise<T>): Promise<T> {
  const lab = await openLab(wish);
  try {
    return await use(lab);
  } finally {
    await lab.close();
  }
}

/** One `ip -batch` per host and family; those of IPv6 are opened when they are first wanted. */
function createHands(anchor: Anchor, topology: Topology, standing: ReadonlyMap<string, IpBatch>): Omit<Hands, 'wires' | 'troubles'> {
  const four = new Map([...standing].map(([host, batch]) => [host, Promise.resolve(batch)]));
  const six = new Map<string, Promise<IpBatch>>();
  const batchOf = async (batches: Map<string, Promise<IpBatch>>, family: Family, host: string): Promise<IpBatch> => {
    if (!topology.hosts.includes(host)) throw new Error(`the lab has no host "${host}"; it has ${topology.hosts.join(', ')}`);
    const batch = batches.get(host) ?? openIpBatch(anchor, host, family);
    batches.set(host, batch);
    return batch;
  };
  return {
    ip: async (host, ...commands) => (await batchOf(four, 4, host)).do(...commands),
    ip6: async (host, ...commands) => (await batchOf(six, 6, host)).do(...commands),
    async renewed(...hosts) {
      for (const host of hosts) {
        for (const batches of [four, six]) {
          (await batches.get(host))?.close();
          batches.delete(host);
        }
        await Promise.all([batchOf(four, 4, host), ...(topology.ipv6 ? [batchOf(six, 6, host)] : [])]);
      }
    },
  };
}

function configFor(topology: Topology, isps: readonly Isp[]): Record<string, unknown> {
  const targets6 = topology.ipv6 ? [{ icmp: '2606:4700:4700::1111' }, { icmp: '2620:fe::fe' }] : [];
  return {
    uplinks: Object.fromEntries(isps.map((isp, n) => [isp.name, { interface: isp.device, ...gatewaysOf(isp), priority: n + 1 }])),
    lan: { interfaces: topology.lans.map((lan) => lan.device) },
    probe: { targets: [{ icmp: 'gateway' }, { icmp: '1.1.1.1' }, { icmp: '9.9.9.9' }, ...targets6] },
  };
}

function gatewaysOf({ cable, gateway, six }: Isp): Record<string, string> {
  if (cable.wire === 'tun') return { gateway: 'none', ...(six === undefined ? {} : { gateway6: 'none' }) };
  return { gateway, ...(six === undefined ? {} : { gateway6: six.gateway }) };
}

function defaultsOf({ cable, device, gateway, six }: Isp, metric: number): readonly string[] {
  const via = (address: string): string => (cable.wire === 'tun' ? '' : ` via ${address}`);
  return [
    `route add default${via(gateway)} dev ${device}${cable.wire === 'tun' ? '' : ' onlink'} metric ${metric}`,
    // `ip` takes a default without a gateway for one of IPv4; this is the same in other words
    ...(six === undefined ? [] : [`route add ::/0${via(six.gateway)} dev ${device} metric ${metric}`]),
  ];
}

function masqueradeAll(family: string, devices: readonly string[]): string {
  return `table ${family} handmade { chain post { type nat hook postrouting priority srcnat; oifname { ${devices.join(', ')} } masquerade; }\n}\n`;
}
