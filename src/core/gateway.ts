/**
 * Where an uplink's packets go next when the config says `auto`: what the default routes of others say, and what they said.
 *
 * Whoever empties the main table, or switches a device off and on, takes the only trace of its gateway away, mostly without a
 * word and without bringing it back. The gateway itself has not moved for that. So it is remembered as long as the device
 * keeps the address it was learnt with; what the kernel shows now always wins.
 */
import type { Address, Family, KernelFacts, Link, Policy, Route, UplinkPolicy } from '../model.js';
import { FAMILIES, tableOf } from './layout.js';
import { linkOf } from './link.js';

export interface Learnt {
  /** The device's address at that time. */
  readonly address: string;
  /** '' for point-to-point lines. */
  readonly via: string;
}

/** By uplink and family. */
export type Memory = ReadonlyMap<string, Learnt>;

/** Takes note of the gateways that can be seen now. */
export function learn(learnt: Map<string, Learnt>, policy: Policy, facts: KernelFacts): void {
  for (const uplink of policy.uplinks) {
    const link = linkOf(uplink, facts);
    if (link === undefined) continue;
    for (const family of FAMILIES) {
      if (uplink.gateways[family] !== 'auto') continue;
      const address = globalAddresses(link, facts, family)[0]?.address;
      if (address === undefined) continue;
      const key = keyOf(uplink, family);
      const via = shownGateway(link, facts, family) ?? (learnt.has(key) ? undefined : leftByFormerRun(uplink, link, facts, family, address));
      if (via !== undefined) learnt.set(key, { address, via });
    }
  }
}

/** '' = none needed (point-to-point); undefined = not known. */
export function gatewayOf(uplink: UplinkPolicy, link: Link, facts: KernelFacts, family: Family, learnt: Memory): string | undefined {
  const wanted = uplink.gateways[family];
  if (wanted === 'none') return '';
  if (wanted !== 'auto') return wanted.address;
  const shown = shownGateway(link, facts, family);
  if (shown !== undefined) return shown;
  const known = learnt.get(keyOf(uplink, family));
  return known !== undefined && globalAddresses(link, facts, family).some((a) => a.address === known.address) ? known.via : undefined;
}

/** Those that new connections may use come first. */
export function globalAddresses(link: Link, facts: KernelFacts, family: Family): readonly Address[] {
  const all = facts.addresses.filter((a) => a.ifindex === link.index && a.family === family && a.scope === 0);
  return all.some((a) => a.deprecated) ? [...all.filter((a) => !a.deprecated), ...all.filter((a) => a.deprecated)] : all;
}

function keyOf(uplink: UplinkPolicy, family: Family): string {
  return `${uplink.name} ${family}`;
}

function shownGateway(link: Link, facts: KernelFacts, family: Family): string | undefined {
  let best: Route | undefined;
  for (const route of facts.foreignDefaults) {
    const through = route.family === family && route.hops.some((hop) => hop.ifindex === link.index);
    if (through && (best === undefined || route.metric < best.metric)) best = route;
  }
  return best?.hops.find((hop) => hop.ifindex === link.index)?.via;
}

/** The uplink's own table remembers over a restart; its link routes say for which address. */
function leftByFormerRun(uplink: UplinkPolicy, link: Link, facts: KernelFacts, family: Family, address: string): string | undefined {
  const own = facts.routes.filter((route) => route.family === family && route.table === tableOf(uplink.slot) && route.hops[0]?.ifindex === link.index);
  if (!own.some((route) => route.source === address)) return undefined;
  return own.find((route) => route.destination === 'default')?.hops[0]?.via;
}
