/**
 * The world beyond the ports: for each uplink a cable, and in each family that it has a gateway, an upstream and an internet, each of which
 * can break, and a round trip that takes its time. It also keeps the truth that the laws are judged by: since when an uplink surely
 * lives in a family, or is surely dead.
 */
import { familyOf, isWithin } from '../../src/core/address.js';
import { ACTIVE_TABLE, MAIN_TABLE, PREFERENCE, tableOf } from '../../src/core/layout.js';
import type { Address, Family, Link, LostCause, ProbeLine, ProbeOrder, Route, Target, TrafficCount, UplinkPolicy } from '../../src/model.js';
import { addressOf, foreignDefault, linkLocal, linkOf, type LineName } from '../core/fixture.js';
import type { Agenda } from './agenda.js';
import type { Dice } from './dice.js';
import type { Process } from './process.js';
import type { ShakyKernel } from './shaky-kernel.js';

/** One uplink's device: what its families share. */
export interface Port {
  policy: UplinkPolicy;
  ifindex: number;
  readonly families: readonly Family[];
}

/** What is behind a port, in one family. */
export interface Isp {
  readonly port: Port;
  readonly family: Family;
  readonly policy: UplinkPolicy;
  readonly ifindex: number;
  rttMs: number;
  jitterMs: number;
  lossChance: number;
  /** The next probes are lost, so many of them. Too little to count as trouble. */
  swallow: number;
  gatewayUp: boolean;
  upstreamUp: boolean;
  readonly deadHosts: Set<string>;
  /** All that is asked beyond the gateway is silent, while the line is well. */
  mutedTargets: boolean;
  /** Who says from outside that it is down. */
  readonly condemnedBy: Map<string, object>;
  /** Pages are answered by somebody else. */
  portal: boolean;
  /** What connections of the LAN send by it, packets of 1000 bytes per second; each is answered where the line is well. */
  flowPerS: number;
  /** Of the groups of destinations that these go to, so many stand in the provider's own house, this side of what breaks upstream. */
  cached: number;
  /** A modem answers for the targets, and nothing is behind it: since then. */
  hollowSince: number | undefined;
  /** What they exchange with a box in the line's own network, packets per second: it goes on as long as the cable does. */
  nearPerS: number;
  readonly flow: { readonly groups: { sent: number; answered: number }[]; settledAt: number };
  /** When something about it last went wrong, or changed. */
  troubledAt: number;
  /** No answer takes longer to be missed; the adaptive timeout is within this while nothing was slowed down. */
  timeoutAtMostMs: number;
  aliveSince: number | undefined;
  deadSince: number | undefined;
  /** How many probes have left. */
  sent: number;
}

export interface Isps {
  readonly ports: readonly Port[];
  readonly all: readonly Isp[];
  /** In each of its families. */
  on(port: Port): readonly Isp[];
  /** Changes something and notes what that makes of the truth for these. */
  touch(isps: readonly Isp[], change: () => void): void;
  /** Our own prober cannot ask. */
  blind: boolean;
  /** What has passed so far. */
  count(): readonly TrafficCount[];
  /** What the packet filter was last told not to count. */
  near: readonly string[];
  bind(lines: readonly ProbeLine[]): void;
  send(order: ProbeOrder, process: Process): void;
}

const GROUPS = 8;
/** What is kept in the provider's own house is so much busier than the rest. */
const CACHED_TIMES = 6;

export function openIsps(ports: readonly Port[], kernel: ShakyKernel, agenda: Agenda, dice: Dice): Isps {
  let lines: readonly ProbeLine[] = [];
  const all = ports.flatMap((port) => port.families.map((family) => openIsp(port, family, agenda, dice)));

  function touch(isps: readonly Isp[], change: () => void): void {
    all.forEach((isp) => flowOn(isp, kernel, agenda.now, world.near));
    change();
    for (const isp of isps) {
      isp.troubledAt = agenda.now;
      const now = condition(isp, kernel);
      isp.aliveSince = now === 'alive' ? isp.aliveSince ?? agenda.now : undefined;
      isp.deadSince = now === 'dead' ? isp.deadSince ?? agenda.now : undefined;
    }
  }

  function send(order: ProbeOrder, process: Process): void {
    const { uplink, family, target, seq } = order;
    const isp = all.find((other) => other.policy.name === uplink && other.family === family)!;
    isp.sent++;
    const line = lines.find((other) => other.uplink === uplink && other.family === family);
    const link = kernel.truth().links.find((other) => other.index === line?.ifindex);
    const lost = (error: string, cause: LostCause = 'unsent'): void => process.arrive((daemon, at) => daemon.report({ type: 'lost', at, uplink, family, target: target.id, seq, cause, error }));
    if (world.blind) return lost('EMFILE: too many open files', 'prober');
    if (link === undefined || link.name !== isp.policy.interface) return lost('ENODEV: the device is gone');
    if (!link.adminUp) return lost('ENETDOWN: the device is down');
    const swallowed = isp.swallow > 0;
    if (swallowed) isp.swallow--;
    if (swallowed || (isp.lossChance > 0 && dice.chance(isp.lossChance)) || !isRouted(isp, kernel) || !answers(isp, order, kernel)) return;
    const sentAt = agenda.now;
    agenda.at(sentAt + isp.rttMs + isp.jitterMs * dice.between(-1, 1), () => {
      if (!answers(isp, order, kernel) || !lines.includes(line!)) return;
      if (target.kind === 'http' && isp.portal) return lost('redirected to http://login.example', 'portal');
      process.arrive((daemon, at) => daemon.report({ type: 'reply', at, uplink, family, target: target.id, seq, rttMs: at - sentAt }));
    });
  }

  const world: Isps = {
    ports, all, touch, send, blind: false, near: [],
    count() {
      all.forEach((isp) => flowOn(isp, kernel, agenda.now, world.near));
      return all.map(({ policy, family, flow }) => {
        const groups = flow.groups.map(({ sent, answered }) => ({ sent: Math.floor(sent), answered: Math.floor(answered) }));
        const [sentPackets, answeredPackets] = [groups.reduce((sum, { sent }) => sum + sent, 0), groups.reduce((sum, { answered }) => sum + answered, 0)];
        return { interface: policy.interface, family, sentPackets, sentBytes: 1000 * sentPackets, answeredPackets, answeredBytes: 1000 * answeredPackets, groups };
      });
    },
    on: (port) => all.filter((isp) => isp.port === port),
    bind(next) {
      // Lines that did not change keep their sockets, and what is in flight.
      lines = next.map((line) => lines.find((old) => JSON.stringify(old) === JSON.stringify(line)) ?? line);
    },
  };
  touch(all, () => undefined);
  return world;
}

function openIsp(port: Port, family: Family, agenda: Agenda, dice: Dice): Isp {
  const rttMs = dice.pick([1, 8, 30, 120, 300]);
  const jitterMs = rttMs * dice.pick([0, 0.05, 0.3]);
  return {
    port, family, rttMs, jitterMs, lossChance: 0, swallow: 0, gatewayUp: true, upstreamUp: true, deadHosts: new Set(), mutedTargets: false, condemnedBy: new Map(), portal: false, flowPerS: 0, cached: 0, hollowSince: undefined, nearPerS: 0, flow: { groups: Array.from({ length: GROUPS }, () => ({ sent: 0, answered: 0 })), settledAt: agenda.now }, troubledAt: agenda.now,
    timeoutAtMostMs: Math.min(port.policy.probe.timeoutMaxMs, 30 + 3 * (rttMs + jitterMs)), aliveSince: undefined, deadSince: undefined, sent: 0,
    get policy() { return port.policy; },
    get ifindex() { return port.ifindex; },
  };
}

/** What the kernel has of a line at the beginning, or when its device is made anew. */
export function lineParts({ policy, ifindex, families }: Port): { readonly link: Link; readonly addresses: readonly Address[] } {
  const name = policy.name as LineName;
  return { link: linkOf(name, { index: ifindex }), addresses: families.flatMap((family) => (family === 4 ? [addressOf(name, { ifindex })] : [linkLocal(name, ifindex), addressOf(name, { ifindex, family })])) };
}

/** The default that a DHCP client writes, or the kernel for a router advertisement; only lines with `gateway: auto` have one. */
export function leased({ policy, ifindex, family }: Isp): Route {
  const name = policy.name as LineName;
  const route = foreignDefault(name, 1000 + addressOf(name).ifindex, { family });
  return { ...route, hops: [{ ...route.hops[0]!, ifindex }] };
}

/** What it is asked beyond its gateway in its family. */
export function beyond({ policy, family }: Pick<Isp, 'policy' | 'family'>): readonly Target[] {
  return policy.probe.targets.filter((target) => target.host !== 'gateway' && familyOf(target.host) === family);
}

/** A probe is bound to its device: does any table that it may use know a way out there? */
function isRouted({ policy, ifindex, family }: Isp, kernel: ShakyKernel): boolean {
  const { routes, rules } = kernel.truth();
  const own = rules.some((rule) => rule.family === family && rule.preference === PREFERENCE.device && rule.outInterface === policy.interface);
  const tables = [...(own ? [tableOf(policy.slot)] : []), ACTIVE_TABLE, MAIN_TABLE];
  return routes.some((route) => route.family === family && tables.includes(route.table) && route.destination === 'default' && route.hops.some((hop) => hop.ifindex === ifindex));
}

function answers(isp: Isp, order: ProbeOrder, kernel: ShakyKernel): boolean {
  if (!kernel.isPlugged(isp.ifindex) || !isp.gatewayUp || !hasAddress(isp, kernel)) return false;
  if (isp.mutedTargets && order.target.host !== 'gateway') return false;
  return !isp.deadHosts.has(order.target.host === 'gateway' ? 'gateway' : order.address) && (order.target.host === 'gateway' || isp.upstreamUp);
}

function hasAddress({ ifindex, family }: Isp, kernel: ShakyKernel): boolean {
  return kernel.truth().addresses.some((address) => address.ifindex === ifindex && address.family === family && address.scope === 0);
}

/** `shaky`: neither surely the one nor the other. */
function condition(isp: Isp, kernel: ShakyKernel): 'alive' | 'dead' | 'shaky' {
  const link = kernel.truth().links.find((other) => other.index === isp.ifindex && other.name === isp.policy.interface);
  if (link?.adminUp !== true || !kernel.isPlugged(isp.ifindex) || !hasAddress(isp, kernel)) return 'dead';
  if (!isp.gatewayUp) return 'dead';
  if (isp.mutedTargets && isp.upstreamUp) return 'shaky';
  const targets = beyond(isp);
  if (targets.length > 0) {
    const answering = isp.upstreamUp ? targets.filter((target) => !isp.deadHosts.has(target.host)).length : 0;
    if (answering < Math.min(isp.policy.probe.quorum, targets.length)) return 'dead';
  }
  return isp.lossChance > 0 || isp.hollowSince !== undefined || isp.portal || isp.condemnedBy.size > 0 ? 'shaky' : 'alive';
}

/** Do connections of the LAN get their answers by it? */
export function carries(isp: Isp, kernel: ShakyKernel): boolean {
  return kernel.isPlugged(isp.ifindex) && isp.gatewayUp && isp.upstreamUp && isp.hollowSince === undefined && hasAddress(isp, kernel);
}

function flowOn(isp: Isp, kernel: ShakyKernel, now: number, near: readonly string[]): void {
  const seconds = (now - isp.flow.settledAt) / 1000;
  isp.flow.settledAt = now;
  const own = kernel.isPlugged(isp.ifindex) && hasAddress(isp, kernel);
  isp.flow.groups.forEach((group, i) => {
    const sent = (isp.flowPerS / GROUPS) * (i < isp.cached ? CACHED_TIMES : 1) * seconds;
    group.sent += sent;
    if (i < isp.cached ? own && isp.gatewayUp : carries(isp, kernel)) group.answered += sent * (1 - isp.lossChance) ** 2;
  });
  const box = kernel.truth().addresses.find((address) => address.ifindex === isp.ifindex && address.family === isp.family && address.scope === 0);
  if (isp.nearPerS === 0 || box === undefined || near.some((prefix) => isWithin(box.address, prefix))) return;
  isp.flow.groups[0]!.sent += isp.nearPerS * seconds;
  if (own) isp.flow.groups[0]!.answered += isp.nearPerS * seconds;
}
