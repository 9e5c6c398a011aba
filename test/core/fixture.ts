/**
 * Small worlds for the core's tests: policies with the presets that people really run, and kernel facts that fit them.
 *
 *   fibre  eth0 (index 2)  198.51.100.2/24  gateway 198.51.100.1   2001:db8:1::2/64  gateway fe80::1
 *   cable  eth1 (index 3)  203.0.113.2/24   gateway 203.0.113.1    2001:db8:2::2/64  gateway fe80::1
 *   lte    eth2 (index 4)  192.0.2.2/24     gateway 192.0.2.1      2001:db8:3::2/64  gateway fe80::3
 *   radio  eth3 (index 5)  100.64.0.2/24    gateway 100.64.0.1     2001:db8:4::2/64  gateway fe80::4
 *
 * IPv6 is in the facts only where a test asks for it (`dualFacts`), with the defaults that router advertisements leave.
 */
import { PRESETS, type Sensitivity } from '../../src/config/schema.js';
import { familyOf } from '../../src/core/address.js';
import { assignSlots, DEFAULT_MARK_MASK, MAIN_TABLE } from '../../src/core/layout.js';
import type { Address, Change, Family, GatewayPolicy, Instant, KernelFacts, Link, Match, Policy, QualityPolicy, Route, Target, TrafficPolicy, Translation, UplinkPolicy } from '../../src/model.js';

export const LINES = [
  { name: 'fibre', interface: 'eth0', ifindex: 2, address: '198.51.100.2', gateway: '198.51.100.1', address6: '2001:db8:1::2', gateway6: 'fe80::1' },
  { name: 'cable', interface: 'eth1', ifindex: 3, address: '203.0.113.2', gateway: '203.0.113.1', address6: '2001:db8:2::2', gateway6: 'fe80::1' },
  { name: 'lte', interface: 'eth2', ifindex: 4, address: '192.0.2.2', gateway: '192.0.2.1', address6: '2001:db8:3::2', gateway6: 'fe80::3' },
  { name: 'radio', interface: 'eth3', ifindex: 5, address: '100.64.0.2', gateway: '100.64.0.1', address6: '2001:db8:4::2', gateway6: 'fe80::4' },
] as const;

export type LineName = (typeof LINES)[number]['name'];

export interface UplinkChoice {
  readonly sensitivity?: Sensitivity;
  readonly priority?: number;
  readonly weight?: number;
  readonly gateway?: GatewayPolicy;
  /** Default `auto`, as most routers are advertised. */
  readonly gateway6?: GatewayPolicy;
  readonly interface?: string;
  readonly match?: UplinkPolicy['match'];
  readonly metered?: boolean;
  readonly translate?: Partial<Record<Family, Translation>>;
  readonly prefix6?: string;
  readonly hosts?: readonly string[];
  readonly quorum?: number;
  readonly intervalMs?: number;
  readonly timeoutMs?: number | 'auto';
  readonly timeoutMaxMs?: number;
  readonly burst?: number;
}

export const at = (ms: number): Instant => ms as Instant;

export function targetsOf(hosts: readonly string[]): readonly Target[] {
  return hosts.map((host) => ({
    kind: 'icmp', id: host === 'gateway' ? 'gateway' : `icmp ${host}`, host, families: host === 'gateway' ? [4, 6] : [familyOf(host)], intervalMs: undefined, sizeBytes: 0,
  }));
}

/** As the config's defaults are. */
export const QUALITY: QualityPolicy = {
  lossPercent: { down: 20, up: 5 }, latencyMs: { down: 500, up: 300 }, jitterMs: { down: Infinity, up: Infinity }, windowMs: 30_000,
};

export function uplinkPolicy(name: LineName, choice: UplinkChoice = {}): UplinkPolicy {
  const line = LINES.find((l) => l.name === name)!;
  const preset = PRESETS[choice.sensitivity ?? 'balanced'];
  return {
    name, slot: assignSlots(LINES.map((l) => l.name), new Map()).get(name)!, interface: choice.interface ?? line.interface,
    match: choice.match, gateways: { 4: choice.gateway ?? { address: line.gateway }, 6: choice.gateway6 ?? 'auto' },
    priority: choice.priority ?? 1 + LINES.indexOf(line), weight: choice.weight ?? 1, metered: choice.metered ?? false,
    translate: { 4: { kind: 'masquerade' }, 6: { kind: 'masquerade' }, ...choice.translate }, prefix6: choice.prefix6 ?? '', mss: 'auto',
    probe: {
      intervalMs: choice.intervalMs ?? preset.intervalMs, timeoutMs: choice.timeoutMs ?? 'auto', timeoutMinMs: 20,
      timeoutMaxMs: choice.timeoutMaxMs ?? 2000, targets: targetsOf(choice.hosts ?? ['gateway', '1.1.1.1', '9.9.9.9']), quorum: choice.quorum ?? 1, rotate: 0, budgetBytes: undefined, passive: true,
    },
    health: {
      suspect: { failures: preset.failures, burst: choice.burst ?? preset.burst }, down: { afterMs: preset.afterMs }, up: { successes: preset.successes },
      quality: QUALITY, damping: { halfLifeMs: 300_000, suppress: 3, reuse: 1 },
    },
  };
}

export function policyOf(uplinks: readonly UplinkPolicy[], failback: Partial<Policy['failback']> = {}): Policy {
  return {
    uplinks, policies: [], flows: [], lanInterfaces: ['lan0'], routed: [],
    failback: { mode: 'automatic', holdMs: 30_000, flows: 'keep', drainMs: 60_000, ...failback },
    nat: { backend: 'auto' }, forwarding: { firewall: 'auto' }, stop: 'keep', markMask: DEFAULT_MARK_MASK,
  };
}

/** `cable>lte`, `fibre*3+cable>lte`; everything fits it unless `changes` say otherwise. */
export function trafficPolicy(name: string, order: string, changes: Partial<TrafficPolicy> = {}): TrafficPolicy {
  const ranks = order.split('>').map((rank) => ({
    members: rank.split('+').map((member) => ({ uplink: member.split('*')[0]!, weight: Number(member.split('*')[1] ?? 1) })),
  }));
  return { name, match: matchOf(), mark: undefined, set: undefined, order: ranks, otherwise: 'fall-through', stickyMs: undefined, router: false, ...changes };
}

export function matchOf(changes: Partial<Match> = {}): Match {
  return { sources: [], destinations: [], protocol: 'any', sourcePorts: [], destinationPorts: [], ...changes };
}

export function linkOf(name: LineName, changes: Partial<Link> = {}): Link {
  const line = LINES.find((l) => l.name === name)!;
  return { index: line.ifindex, name: line.interface, adminUp: true, carrier: true, mtu: 1500, mac: '', permanentMac: '', path: '', altNames: [], ...changes };
}

export function addressOf(name: LineName, changes: Partial<Address> = {}): Address {
  const line = LINES.find((l) => l.name === name)!;
  const own = changes.family === 6 ? { address: line.address6, prefixLength: 64 } : { address: line.address, prefixLength: 24 };
  return { family: 4, ifindex: line.ifindex, ...own, peer: '', scope: 0, deprecated: false, protocol: 0, ...changes };
}

/** The address that an IPv6 device gives itself. */
export function linkLocal(name: LineName, ifindex = linkOf(name).index): Address {
  return addressOf(name, { family: 6, ifindex, address: `fe80::${ifindex}:2`, scope: 253 });
}

/** A default route of somebody else in main, as a DHCP client leaves it, or in IPv6 the kernel itself for a router that advertises itself. */
export function foreignDefault(name: LineName, metric: number, changes: Partial<Route> = {}): Route {
  const line = LINES.find((l) => l.name === name)!;
  const six = changes.family === 6;
  return {
    family: 4, table: MAIN_TABLE, destination: 'default', metric, protocol: six ? 9 : 16, scope: 0, source: '',
    hops: [{ ifindex: line.ifindex, via: six ? line.gateway6 : line.gateway, weight: 1, onlink: false }], ...changes,
  };
}

/** A kernel in which these lines stand and nothing of ours does yet. */
export function factsOf(names: readonly LineName[], changes: Partial<KernelFacts> = {}): KernelFacts {
  return { links: names.map((name) => linkOf(name)), addresses: names.map((name) => addressOf(name)), routes: [], rules: [], foreignDefaults: [], foreignRoutes: [], ...changes };
}

/** The same with IPv6 on the lines named in `six`: an address, and the default of a router advertisement. */
export function dualFacts(names: readonly LineName[], six: readonly LineName[] = names, changes: Partial<KernelFacts> = {}): KernelFacts {
  return factsOf(names, {
    addresses: [...names.map((name) => addressOf(name)), ...six.flatMap((name) => [linkLocal(name), addressOf(name, { family: 6 })])],
    foreignDefaults: six.map((name, i) => foreignDefault(name, 1024 + i, { family: 6 })), ...changes,
  });
}

/** A change by itself, without what it waits for in its plan. */
export function bare(change: Change): Change {
  if ('rule' in change) return { op: change.op, rule: change.rule };
  return 'route' in change ? { op: change.op, route: change.route } : { op: change.op, address: change.address };
}
