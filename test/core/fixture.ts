/**
 * Small worlds for the core's tests: policies with the presets that people really run, and kernel facts that fit them.
 *
 *   fibre  eth0 (index 2)  198.51.100.2/24  gateway 198.51.100.1
 *   cable  eth1 (index 3)  203.0.113.2/24   gateway 203.0.113.1
 *   lte    eth2 (index 4)  192.0.2.2/24     gateway 192.0.2.1
 */
import { PRESETS, type Sensitivity } from '../../src/config/schema.js';
import { assignSlots, DEFAULT_MARK_MASK, MAIN_TABLE } from '../../src/core/layout.js';
import type { Address, Instant, KernelFacts, Link, Policy, Route, Target, UplinkPolicy } from '../../src/model.js';

export const LINES = [
  { name: 'fibre', interface: 'eth0', ifindex: 2, address: '198.51.100.2', gateway: '198.51.100.1' },
  { name: 'cable', interface: 'eth1', ifindex: 3, address: '203.0.113.2', gateway: '203.0.113.1' },
  { name: 'lte', interface: 'eth2', ifindex: 4, address: '192.0.2.2', gateway: '192.0.2.1' },
  { name: 'radio', interface: 'eth3', ifindex: 5, address: '100.64.0.2', gateway: '100.64.0.1' },
] as const;

export type LineName = (typeof LINES)[number]['name'];

export interface UplinkChoice {
  readonly sensitivity?: Sensitivity;
  readonly priority?: number;
  readonly weight?: number;
  readonly gateway?: UplinkPolicy['gateway'];
  readonly interface?: string;
  readonly hosts?: readonly string[];
  readonly quorum?: number;
  readonly intervalMs?: number;
  readonly timeoutMs?: number | 'auto';
  readonly timeoutMaxMs?: number;
  readonly burst?: number;
}

export const at = (ms: number): Instant => ms as Instant;

export function targetsOf(hosts: readonly string[]): readonly Target[] {
  return hosts.map((host) => ({ kind: 'icmp', id: host === 'gateway' ? 'gateway' : `icmp ${host}`, host }));
}

export function uplinkPolicy(name: LineName, choice: UplinkChoice = {}): UplinkPolicy {
  const line = LINES.find((l) => l.name === name)!;
  const preset = PRESETS[choice.sensitivity ?? 'balanced'];
  return {
    name, slot: assignSlots(LINES.map((l) => l.name), new Map()).get(name)!, interface: choice.interface ?? line.interface,
    gateway: choice.gateway ?? { address: line.gateway }, priority: choice.priority ?? 1 + LINES.indexOf(line), weight: choice.weight ?? 1,
    metered: false, masquerade: true,
    probe: {
      intervalMs: choice.intervalMs ?? preset.intervalMs, timeoutMs: choice.timeoutMs ?? 'auto', timeoutMinMs: 20,
      timeoutMaxMs: choice.timeoutMaxMs ?? 2000, targets: targetsOf(choice.hosts ?? ['gateway', '1.1.1.1', '9.9.9.9']), quorum: choice.quorum ?? 1,
    },
    health: {
      suspect: { failures: preset.failures, burst: choice.burst ?? preset.burst }, down: { afterMs: preset.afterMs }, up: { successes: preset.successes },
    },
  };
}

export function policyOf(uplinks: readonly UplinkPolicy[], failback: Partial<Policy['failback']> = {}): Policy {
  return {
    uplinks, lanInterfaces: ['lan0'], failback: { mode: 'automatic', holdMs: 30_000, ...failback },
    nat: { backend: 'auto' }, forwarding: { firewall: 'auto' }, stop: 'keep', markMask: DEFAULT_MARK_MASK,
  };
}

export function linkOf(name: LineName, changes: Partial<Link> = {}): Link {
  const line = LINES.find((l) => l.name === name)!;
  return { index: line.ifindex, name: line.interface, adminUp: true, carrier: true, mtu: 1500, mac: '', ...changes };
}

export function addressOf(name: LineName, changes: Partial<Address> = {}): Address {
  const line = LINES.find((l) => l.name === name)!;
  return { family: 4, ifindex: line.ifindex, address: line.address, prefixLength: 24, peer: '', scope: 0, ...changes };
}

/** A default route of somebody else in main, as a DHCP client leaves it. */
export function foreignDefault(name: LineName, metric: number, changes: Partial<Route> = {}): Route {
  const line = LINES.find((l) => l.name === name)!;
  return {
    family: 4, table: MAIN_TABLE, destination: 'default', metric, protocol: 16, scope: 0, source: '',
    hops: [{ ifindex: line.ifindex, via: line.gateway, weight: 1, onlink: false }], ...changes,
  };
}

/** A kernel in which these lines stand and nothing of ours does yet. */
export function factsOf(names: readonly LineName[], changes: Partial<KernelFacts> = {}): KernelFacts {
  return { links: names.map((name) => linkOf(name)), addresses: names.map((name) => addressOf(name)), routes: [], rules: [], foreignDefaults: [], ...changes };
}
