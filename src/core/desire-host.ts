/** The slow half of the wish: NAT, marks, firewall, sysctls. It stands ready for every uplink, up or not: a switch never touches it. */
import type { Address, HostWish, KernelFacts, NatLine, NatPolicy, Policy, ProbeLine, SysctlWish, TrafficPolicy, Translation, UplinkName, UplinkPolicy } from '../model.js';
import { isWithin } from './address.js';
import { classesOf, type Classes } from './classes.js';
import type { Health, Line } from './health.js';
import { cutMarkOf, markOf } from './layout.js';
import { deviceCalled } from './link.js';
import { translatedTo, type Delegations } from './prefix.js';
import { sourceOf } from './source.js';
import type { Plane } from './state.js';

/** What is known beside the policy. `near`: what does not count (near.ts). */
export interface HostGround {
  readonly near?: readonly string[];
  readonly facts?: Pick<KernelFacts, 'links'> | undefined;
  readonly delegations?: Delegations;
}

const NOTHING_DELEGATED: Delegations = new Map();

type Planes = ReadonlyMap<number, Pick<Plane, 'health'>>;

export function desireHost(policy: Policy, planes: Planes, { near = [], facts, delegations = NOTHING_DELEGATED }: HostGround = {}): HostWish {
  const devices = devicesOf(policy, planes, facts);
  const lines = policy.uplinks.flatMap((uplink): NatLine[] => {
    const device = devices.get(uplink.name) ?? '';
    return device === '' ? [] : [{ uplink: uplink.name, interface: device, mark: markOf(uplink.slot, policy.markMask), translate: translations(uplink, planes, delegations), mss: uplink.mss }];
  });
  lines.sort((a, b) => (a.interface < b.interface ? -1 : 1));
  const classes = classesOf(policy);
  return {
    nat: {
      backend: policy.nat.backend, markMask: policy.markMask, lines, lanInterfaces: lanDevices(policy, facts), firewall: policy.forwarding.firewall,
      policies: policy.policies.map((each) => natPolicy(each, classes, devices, policy.markMask)), routed: policy.routed, cutMark: cutMarkOf(policy.markMask),
      counting: isCounting(policy), near: isCounting(policy) ? near : [],
    },
    sysctls: sysctls(policy, planes, devices),
  };
}

export function probeLines(healths: Iterable<Health>, mask: number): readonly ProbeLine[] {
  return [...healths].map(({ name, family, line, policy }) => ({
    uplink: name, family, interface: line.device, ifindex: line.ifindex, source: line.address, gateway: line.gateway, mark: markOf(policy.slot, mask),
  }));
}

function translations(uplink: UplinkPolicy, planes: Planes, delegations: Delegations): NatLine['translate'] {
  const { name, translate } = uplink;
  return {
    4: translation(translate[4], planes.get(4)?.health.get(name)?.line),
    6: translation(ofNow(uplink, translate[6], delegations), planes.get(6)?.health.get(name)?.line),
  };
}

/** As long as no prefix is known that could stand in place of the LAN's, its hosts go out under the line's own address. */
function ofNow(uplink: UplinkPolicy, wanted: Translation, delegations: Delegations): Translation {
  if (wanted.kind !== 'prefix') return wanted;
  const to = translatedTo(uplink, wanted.from, delegations);
  return to === '' ? { kind: 'masquerade' } : { ...wanted, to };
}

/** The kernel's masquerading takes no notice of the source that a route asks for: where the two differ it is written down. */
function translation(wanted: Translation, line: Line | undefined): Translation {
  if (wanted.kind !== 'masquerade' || line === undefined || line.source === '' || line.source !== line.address) return wanted;
  return sourceOf(line.addresses, { via: line.gateway, source: '' }) === line.source ? wanted : { kind: 'address', address: line.source };
}

export function lanDevices(policy: Policy, facts: Pick<KernelFacts, 'links'> | undefined): readonly string[] {
  return policy.lanInterfaces.map((name) => deviceCalled(name, facts)).filter((name) => name !== '');
}

/** Only what the LAN sends through is counted, so without one there is nothing to count. */
export function isCounting(policy: Policy): boolean {
  return policy.lanInterfaces.length > 0 && policy.uplinks.some((uplink) => uplink.probe.passive);
}

/** A device that is away is known by the name in the config, if there is one. */
function devicesOf(policy: Policy, planes: Planes, facts: Pick<KernelFacts, 'links'> | undefined): ReadonlyMap<UplinkName, string> {
  return new Map(policy.uplinks.map((uplink) => [uplink.name, deviceCalled(planes.get(4)?.health.get(uplink.name)?.line.device || uplink.interface, facts)]));
}

function natPolicy(policy: TrafficPolicy, classes: Classes, devices: ReadonlyMap<UplinkName, string>, mask: number): NatPolicy {
  const { name, match, mark, set, router, stickyMs } = policy;
  const preferring = classes.sticky.get(name);
  const marks = [...(preferring ?? [])].flatMap(([uplink, { slot }]) => {
    const device = devices.get(uplink) ?? '';
    return device === '' ? [] : [{ interface: device, mark: markOf(slot, mask) }];
  });
  return {
    name, match, mark, set, router, classMark: markOf(classes.of.get(name)!.slot, mask),
    sticky: stickyMs === undefined ? undefined : { forMs: stickyMs, marks },
  };
}

/** IPv6 is forwarded where an uplink has it. Before that, each uplink is told to go on listening to its routers, which forwarding ends otherwise. */
function sysctls(policy: Policy, planes: Planes, devices: ReadonlyMap<UplinkName, string>): readonly SysctlWish[] {
  const wishes: SysctlWish[] = [];
  const routes = policy.lanInterfaces.length > 0;
  const hasIPv6 = planes.has(6);
  for (const uplink of policy.uplinks) {
    const device = devices.get(uplink.name) ?? '';
    if (device === '') continue;
    if (uplink.gateways[6] === 'auto') wishes.push({ path: `net/ipv6/conf/${device}/accept_ra`, value: '2', unless: '0' });
    wishes.push({ path: `net/ipv4/conf/${device}/rp_filter`, value: '2' }, { path: `net/ipv4/conf/${device}/ignore_routes_with_linkdown`, value: '1' });
    if (hasIPv6) wishes.push({ path: `net/ipv6/conf/${device}/ignore_routes_with_linkdown`, value: '1' });
  }
  for (const device of inOneSegment(policy, planes)) {
    wishes.push({ path: `net/ipv4/conf/${device}/arp_ignore`, value: '1', unless: '2' }, { path: `net/ipv4/conf/${device}/arp_announce`, value: '2' });
  }
  wishes.push({ path: 'net/ipv4/fib_multipath_hash_policy', value: '1' });
  if (hasIPv6) wishes.push({ path: 'net/ipv6/fib_multipath_hash_policy', value: '1' });
  if (routes) wishes.push({ path: 'net/ipv4/ip_forward', value: '1' });
  if (routes && hasIPv6) wishes.push({ path: 'net/ipv6/conf/all/forwarding', value: '1' });
  return wishes;
}

/**
 * Devices of uplinks that share an IPv4 network, and so perhaps a segment. There Linux answers on each for the addresses of all (ARP flux), and what
 * is sent to one line comes in by another. IPv6 answers for a device's own addresses only.
 */
function inOneSegment(policy: Policy, planes: Planes): readonly string[] {
  const lines = policy.uplinks.flatMap(({ name }) => planes.get(4)?.health.get(name)?.line ?? []).filter(({ ifindex }) => ifindex > 0);
  const shares = (one: Line, other: Line): boolean => one.ifindex !== other.ifindex
    && one.addresses.some((a) => other.addresses.some((b) => isOnLink(a, b.address) || isOnLink(b, a.address)));
  return [...new Set(lines.filter((one) => lines.some((other) => shares(one, other))).map(({ device }) => device))];
}

function isOnLink({ address, prefixLength, peer }: Address, other: string): boolean {
  return peer === '' && prefixLength < 32 && isWithin(other, `${address}/${prefixLength}`);
}
