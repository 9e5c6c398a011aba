/**
 * Where an uplink's packets go next when the config says `auto`, and what is known of the path there (MTU, source address, ...): what
 * the default routes of others say, and what they said.
 *
 * Whoever empties the main table, or switches a device off and on, takes the only trace of its gateway away, mostly without a
 * word and without bringing it back. The gateway itself has not moved for that. So it is remembered as long as the device
 * keeps the address it was learnt with; what the kernel shows now always wins.
 */
import type { Address, Family, KernelFacts, Link, Policy, Route, UplinkPolicy } from '../model.js';
import { FAMILIES, tableOf } from './layout.js';
import { linkOf } from './link.js';
import { sourceOf, type Way } from './source.js';

export interface Path extends Way {
  /** As in Route; absent = none. */
  readonly metrics?: string;
}

export interface Learnt extends Path {
  /** The line's address at that time. */
  readonly address: string;
}

/** By uplink and family. */
export type Memory = ReadonlyMap<string, Learnt>;

/** Takes note of the paths that can be seen now. */
export function learn(learnt: Map<string, Learnt>, policy: Policy, facts: KernelFacts): void {
  for (const uplink of policy.uplinks) {
    const link = linkOf(uplink, facts);
    if (link === undefined) continue;
    for (const family of FAMILIES) {
      const addresses = globalAddresses(link, facts, family);
      if (addresses.length === 0) continue;
      const key = keyOf(uplink, family);
      const path = shownPath(uplink, link, facts, family) ?? (learnt.has(key) ? undefined : leftByFormerRun(uplink, link, facts, family));
      if (path !== undefined) learnt.set(key, { ...path, address: sourceOf(addresses, path) });
    }
  }
}

/** '' = none needed (point-to-point); undefined = not known. */
export function gatewayOf(uplink: UplinkPolicy, link: Link, facts: KernelFacts, family: Family, learnt: Memory): string | undefined {
  return pathOf(uplink, link, facts, family, learnt)?.via;
}

/** undefined = no gateway is known. */
export function pathOf(uplink: UplinkPolicy, link: Link, facts: KernelFacts, family: Family, learnt: Memory): Path | undefined {
  const wanted = writtenDown(uplink, family);
  const path = shownPath(uplink, link, facts, family) ?? remembered(uplink, link, facts, family, learnt);
  return wanted === undefined || path?.via === wanted ? path : { via: wanted, source: '' };
}

/** Of a route that leads by several paths, which has but one of each: the smallest packets pass everywhere, the rest is left to the devices. */
export function joined(paths: readonly Path[]): Omit<Path, 'via'> {
  if (paths.length === 1) return paths[0]!;
  const sizes = ['mtu', 'advmss'].flatMap((name) => {
    const values = paths.flatMap(({ metrics }) => new RegExp(`(?:^| )${name} (\\d+)`).exec(metrics ?? '')?.[1] ?? []);
    return values.length === 0 ? [] : [`${name} ${Math.min(...values.map(Number))}`];
  });
  return { source: '', ...(sizes.length === 0 ? {} : { metrics: sizes.join(' ') }) };
}

/** Those that new connections may use come first. */
export function globalAddresses(link: Link, facts: KernelFacts, family: Family): readonly Address[] {
  const all = facts.addresses.filter((a) => a.ifindex === link.index && a.family === family && a.scope === 0);
  return all.some((a) => a.deprecated) ? [...all.filter((a) => !a.deprecated), ...all.filter((a) => a.deprecated)] : all;
}

function keyOf(uplink: UplinkPolicy, family: Family): string {
  return `${uplink.name} ${family}`;
}

/** '' = point-to-point; undefined = is to be learnt. */
function writtenDown(uplink: UplinkPolicy, family: Family): string | undefined {
  const wanted = uplink.gateways[family];
  return wanted === 'auto' ? undefined : wanted === 'none' ? '' : wanted.address;
}

/** By the gateway that is written down, if one is. */
function shownPath(uplink: UplinkPolicy, link: Link, facts: KernelFacts, family: Family): Path | undefined {
  const wanted = writtenDown(uplink, family);
  let best: { readonly route: Route; readonly via: string } | undefined;
  for (const route of facts.foreignDefaults) {
    const hop = route.family === family ? route.hops.find((one) => one.ifindex === link.index) : undefined;
    if (hop === undefined || (wanted !== undefined && hop.via !== wanted)) continue;
    if (best === undefined || route.metric < best.route.metric) best = { route, via: hop.via };
  }
  return best === undefined ? undefined : pathBy(best.route, best.via);
}

/** A route that is shared has one source for all its hops, which would be wrong for all but one. */
function pathBy({ metrics, source, hops }: Route, via: string): Path {
  return { via, source: hops.length === 1 ? source : '', ...(metrics === undefined ? {} : { metrics }) };
}

/** As long as the device keeps the address. */
function remembered(uplink: UplinkPolicy, link: Link, facts: KernelFacts, family: Family, learnt: Memory): Path | undefined {
  const known = learnt.get(keyOf(uplink, family));
  return known !== undefined && globalAddresses(link, facts, family).some((a) => a.address === known.address) ? known : undefined;
}

/** The uplink's own table remembers over a restart; its link routes say for which address. */
function leftByFormerRun(uplink: UplinkPolicy, link: Link, facts: KernelFacts, family: Family): Path | undefined {
  const own = facts.routes.filter((route) => route.family === family && route.table === tableOf(uplink.slot) && route.hops[0]?.ifindex === link.index);
  const left = own.find((route) => route.destination === 'default');
  if (left === undefined) return undefined;
  const path = pathBy(left, left.hops[0]!.via);
  const address = sourceOf(globalAddresses(link, facts, family), path);
  return own.some((route) => route.source === address) ? path : undefined;
}
