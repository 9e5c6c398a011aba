/**
 * The world beyond the ports: for each uplink a cable, a gateway, an upstream and an internet, each of which can break, and a round
 * trip that takes its time. It also keeps the truth that the laws are judged by: since when an uplink surely lives, or is surely dead.
 */
import type { Address, Link, ProbeLine, ProbeOrder, UplinkPolicy } from '../../src/model.js';
import { ACTIVE_TABLE, MAIN_TABLE, PREFERENCE, tableOf } from '../../src/core/layout.js';
import { addressOf, foreignDefault, linkOf, type LineName } from '../core/fixture.js';
import type { Agenda } from './agenda.js';
import type { Dice } from './dice.js';
import type { Loop } from './loop.js';
import type { ShakyKernel } from './shaky-kernel.js';

export interface Isp {
  policy: UplinkPolicy;
  ifindex: number;
  rttMs: number;
  jitterMs: number;
  lossChance: number;
  /** The next probes are lost, so many of them. Too little to count as trouble. */
  swallow: number;
  gatewayUp: boolean;
  upstreamUp: boolean;
  readonly deadHosts: Set<string>;
  /** When something about it last went wrong, or changed. */
  troubledAt: number;
  /** No answer takes longer to be missed; the adaptive timeout is within this while nothing was slowed down. */
  timeoutAtMostMs: number;
  aliveSince: number | undefined;
  deadSince: number | undefined;
}

export interface Isps {
  readonly all: readonly Isp[];
  get(name: string): Isp;
  /** Changes something and notes what that makes of the truth. */
  touch(isp: Isp, change: () => void): void;
  bind(lines: readonly ProbeLine[]): void;
  send(order: ProbeOrder, loop: Loop): void;
  /** How many probes have left, per uplink. */
  readonly sent: ReadonlyMap<string, number>;
}

export function openIsps(uplinks: readonly UplinkPolicy[], kernel: ShakyKernel, agenda: Agenda, dice: Dice): Isps {
  let lines: readonly ProbeLine[] = [];
  const sent = new Map<string, number>();
  const all = uplinks.map((policy): Isp => ({
    policy, ifindex: linkOf(policy.name as LineName).index, rttMs: dice.pick([1, 8, 30, 120, 300]), jitterMs: 0, lossChance: 0, swallow: 0,
    gatewayUp: true, upstreamUp: true, deadHosts: new Set(), troubledAt: agenda.now, timeoutAtMostMs: 0, aliveSince: undefined, deadSince: undefined,
  }));
  for (const isp of all) {
    isp.jitterMs = isp.rttMs * dice.pick([0, 0.05, 0.3]);
    isp.timeoutAtMostMs = Math.min(isp.policy.probe.timeoutMaxMs, 30 + 3 * (isp.rttMs + isp.jitterMs));
  }

  function touch(isp: Isp, change: () => void): void {
    change();
    isp.troubledAt = agenda.now;
    const now = condition(isp, kernel);
    isp.aliveSince = now === 'alive' ? isp.aliveSince ?? agenda.now : undefined;
    isp.deadSince = now === 'dead' ? isp.deadSince ?? agenda.now : undefined;
  }

  function send(order: ProbeOrder, loop: Loop): void {
    const { uplink, target, seq } = order;
    sent.set(uplink, (sent.get(uplink) ?? 0) + 1);
    const isp = all.find((other) => other.policy.name === uplink)!;
    const line = lines.find((other) => other.uplink === uplink);
    const link = kernel.truth().links.find((other) => other.index === line?.ifindex);
    const lost = (error: string): void => loop.arrive((at) => ({ type: 'lost', at, uplink, target, seq, error }));
    if (link === undefined || link.name !== isp.policy.interface) return lost('ENODEV: the device is gone');
    if (!link.adminUp) return lost('ENETDOWN: the device is down');
    const swallowed = isp.swallow > 0;
    if (swallowed) isp.swallow--;
    if (swallowed || (isp.lossChance > 0 && dice.chance(isp.lossChance)) || !isRouted(isp, kernel) || !answers(isp, order, kernel)) return;
    const sentAt = agenda.now;
    agenda.at(sentAt + isp.rttMs + isp.jitterMs * dice.between(-1, 1), () => {
      if (!answers(isp, order, kernel) || !lines.includes(line!)) return;
      loop.arrive((at) => ({ type: 'reply', at, uplink, target, seq, rttMs: at - sentAt }));
    });
  }

  for (const isp of all) touch(isp, () => undefined);
  return {
    all, touch, send, sent,
    get: (name) => all.find((isp) => isp.policy.name === name)!,
    bind(next) {
      // Lines that did not change keep their sockets, and what is in flight.
      lines = next.map((line) => lines.find((old) => JSON.stringify(old) === JSON.stringify(line)) ?? line);
    },
  };
}

/** What the kernel has of a line at the beginning, or when its device is made anew. */
export function lineParts(isp: Pick<Isp, 'policy' | 'ifindex'>): { readonly link: Link; readonly address: Address } {
  const name = isp.policy.name as LineName;
  return { link: linkOf(name, { index: isp.ifindex }), address: addressOf(name, { ifindex: isp.ifindex }) };
}

/** The default that a DHCP client writes; only lines with `gateway: auto` have such a client. */
export function leased(isp: Isp): ReturnType<typeof foreignDefault> {
  const name = isp.policy.name as LineName;
  const route = foreignDefault(name, 1000 + addressOf(name).ifindex);
  return { ...route, hops: [{ ...route.hops[0]!, ifindex: isp.ifindex }] };
}

/** A probe is bound to its device: does any table that it may use know a way out there? */
function isRouted(isp: Isp, kernel: ShakyKernel): boolean {
  const { routes, rules } = kernel.truth();
  const own = rules.some((rule) => rule.preference === PREFERENCE.device && rule.outInterface === isp.policy.interface);
  const tables = [...(own ? [tableOf(isp.policy.slot)] : []), ACTIVE_TABLE, MAIN_TABLE];
  return routes.some((route) => tables.includes(route.table) && route.destination === 'default' && route.hops.some((hop) => hop.ifindex === isp.ifindex));
}

function answers(isp: Isp, order: ProbeOrder, kernel: ShakyKernel): boolean {
  if (!kernel.isPlugged(isp.ifindex) || !isp.gatewayUp || !kernel.truth().addresses.some((a) => a.ifindex === isp.ifindex)) return false;
  return !isp.deadHosts.has(order.target === 'gateway' ? 'gateway' : order.address) && (order.target === 'gateway' || isp.upstreamUp);
}

/** `shaky`: neither surely the one nor the other. */
function condition(isp: Isp, kernel: ShakyKernel): 'alive' | 'dead' | 'shaky' {
  const { links, addresses } = kernel.truth();
  const link = links.find((other) => other.index === isp.ifindex && other.name === isp.policy.interface);
  if (link?.adminUp !== true || !kernel.isPlugged(isp.ifindex) || !addresses.some((a) => a.ifindex === isp.ifindex)) return 'dead';
  if (!isp.gatewayUp) return 'dead';
  const beyond = isp.policy.probe.targets.filter((target) => target.host !== 'gateway');
  if (beyond.length > 0) {
    const answering = isp.upstreamUp ? beyond.filter((target) => !isp.deadHosts.has(target.host)).length : 0;
    if (answering < Math.min(isp.policy.probe.quorum, beyond.length)) return 'dead';
  }
  return isp.lossChance > 0 ? 'shaky' : 'alive';
}
