/**
 * Where an uplink's packets go next when the config says `auto`: what the default routes of others say, and what they said.
 *
 * Whoever empties the main table, or switches a device off and on, takes the only trace of its gateway away, mostly without a
 * word and without bringing it back. The gateway itself has not moved for that. So it is remembered as long as the device
 * keeps the address it was learnt with; what the kernel shows now always wins.
 */
import type { Address, Family, KernelFacts, Link, Policy, Route, UplinkName, UplinkPolicy } from '../model.js';
import { tableOf } from './layout.js';

export interface Learnt {
  /** The device's address at that time. */
  readonly address: string;
  /** '' for point-to-point lines. */
  readonly via: string;
}

/** '' = none needed (point-to-point); undefined = not known. */
export function gatewayOf(uplink: UplinkPolicy, link: Link, facts: KernelFacts, family: Family): string | undefined {
  if (uplink.gateway === 'none') return '';
  if (uplink.gateway !== 'auto') return uplink.gateway.address;
  let best: Route | undefined;
  for (const route of facts.foreignDefaults) {
    const through = route.family === family && route.hops.some((hop) => hop.ifindex === link.index);
    if (through && (best === undefined || route.metric < best.metric)) best = route;
  }
  return best?.hops.find((hop) => hop.ifindex === link.index)?.via;
}

/** Takes note of the gateways that can be seen now. */
export function learn(learnt: Map<UplinkName, Learnt>, policy: Policy, facts: KernelFacts): void {
  for (const uplink of policy.uplinks) {
    const link = facts.links.find((l) => l.name === uplink.interface);
    if (uplink.gateway !== 'auto' || link === undefined) continue;
    const address = globalAddresses(link, facts, 4)[0]?.address;
    if (address === undefined) continue;
    const via = gatewayOf(uplink, link, facts, 4) ?? (learnt.has(uplink.name) ? undefined : leftByFormerRun(uplink, link, facts, address));
    if (via !== undefined) learnt.set(uplink.name, { address, via });
  }
}

/** The uplink with its gateway filled in where only memory has it. */
export function recall(learnt: ReadonlyMap<UplinkName, Learnt>, uplink: UplinkPolicy, facts: KernelFacts): UplinkPolicy {
  const known = learnt.get(uplink.name);
  const link = facts.links.find((l) => l.name === uplink.interface);
  if (uplink.gateway !== 'auto' || known === undefined || link === undefined) return uplink;
  if (gatewayOf(uplink, link, facts, 4) !== undefined) return uplink;
  if (!globalAddresses(link, facts, 4).some((a) => a.address === known.address)) return uplink;
  return { ...uplink, gateway: known.via === '' ? 'none' : { address: known.via } };
}

export function globalAddresses(link: Link, facts: KernelFacts, family: Family): readonly Address[] {
  return facts.addresses.filter((a) => a.ifindex === link.index && a.family === family && a.scope === 0);
}

/** The uplink's own table remembers over a restart; its link routes say for which address. */
function leftByFormerRun(uplink: UplinkPolicy, link: Link, facts: KernelFacts, address: string): string | undefined {
  const own = facts.routes.filter((route) => route.table === tableOf(uplink.slot) && route.hops[0]?.ifindex === link.index);
  if (!own.some((route) => route.source === address)) return undefined;
  return own.find((route) => route.destination === 'default')?.hops[0]?.via;
}
