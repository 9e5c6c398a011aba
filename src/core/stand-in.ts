/**
 * Routes of ours in main that stand in for foreign ones which lead nowhere.
 *
 * Main is asked before the tables that steer (layout.ts), so that connected, VPN and static routes win; only what it finds by a
 * default is passed over. Two kinds of foreign routes break that:
 *
 *   - a default that refuses (unreachable, blackhole, prohibit) ends the lookup with its error, and nothing is forwarded any more.
 *     (`throw` and a default over lo do no harm.)
 *   - a route through an uplink (to a resolver, a tunnel's far end: networkd's RoutesToDNS, OpenVPN, DHCP option 121), or a default
 *     that programs follow which read main alone, keeps its traffic on that line when it is dead.
 *
 * Each of them gets a route of ours to the same destination by the leading uplink put before it, and keeps its own place: in IPv4 at
 * the same metric but first (`ip route prepend`), in IPv6 at the next lower metric. It goes when the line answers again, or when
 * the foreign route goes. Docs: decision 19.
 */
import type { Family, KernelFacts, Route } from '../model.js';
import { FAMILIES, MAIN_TABLE } from './layout.js';

/** By ifindex, the gateway of the line ('' = point-to-point). */
export type SilentLines = ReadonlyMap<number, string>;

/** Who has more such routes runs a routing daemon in all but name; each costs a change at the moment of a switch. */
const STAND_INS_AT_MOST = 128;

/**
 * @param lead our first default in main
 * @param below the first that is by no tunnel: a host route to a tunnel's far end (OpenVPN makes one) must not lead
 *        into the tunnel
 */
export function standInsFor(lead: Route, facts: KernelFacts, silent: SilentLines, below = lead): readonly Route[] {
  const routes: Route[] = [];
  for (const route of firstOfEach(facts, lead.family)) {
    const isDefault = route.destination === 'default';
    if (isDefault && route.metric >= lead.metric) continue;
    if (!leadsInto(route, silent) && !(isDefault && refuses(route))) continue;
    const metric = placeBefore(route);
    if (metric === undefined || routes.length >= STAND_INS_AT_MOST) continue;
    routes.push({ ...(isDefault ? lead : below), destination: route.destination, metric });
  }
  return routes;
}

/** A foreign default that refuses, in words, and whether packets get past it. */
export interface Refusal {
  readonly text: string;
  readonly isPassed: boolean;
}

/** Those that would refuse what we route. @param routes ours */
export function refusalsIn(facts: KernelFacts, routes: readonly Route[]): readonly Refusal[] {
  return FAMILIES.flatMap((family) => {
    const lead = routes.find((route) => route.family === family && route.table === MAIN_TABLE);
    const first = firstOfEach(facts, family).find(({ destination }) => destination === 'default');
    if (lead === undefined || first === undefined || first.metric >= lead.metric || !refuses(first)) return [];
    return [refusal(first)];
  });
}

function refusal(route: Route): Refusal {
  const what = `${route.refuses ?? 'unreachable'} default${route.metric === 0 ? '' : ` metric ${route.metric}`}`;
  const remove = `ip -${route.family} route del ${what}`;
  return placeBefore(route) === undefined
    ? { isPassed: false, text: `main holds "${what}" (IPv${route.family}), which somebody else made: it refuses everything that uplinkd routes; remove it (${remove}), or give it a higher metric` }
    : { isPassed: true, text: `main holds "${what}" (IPv${route.family}), which somebody else made: uplinkd routes past it, so it keeps nothing in; if that is not meant, drop traffic in the packet filter instead, else remove it (${remove})` };
}

/** What the kernel would take, for each destination. Of equal metrics it takes the first. */
function firstOfEach({ foreignDefaults, foreignRoutes }: KernelFacts, family: Family): readonly Route[] {
  const first = new Map<string, Route>();
  for (const route of [...foreignDefaults, ...foreignRoutes]) {
    if (route.family !== family) continue;
    const known = first.get(route.destination);
    if (known === undefined || route.metric < known.metric) first.set(route.destination, route);
  }
  return [...first.values()];
}

/** `throw` goes on with the next rule. */
function refuses({ hops, refuses: kind }: Route): boolean {
  return hops.length === 0 && kind !== 'throw';
}

/** By every hop, and beyond the line itself: what is on the link is found nowhere else. */
function leadsInto({ hops }: Route, silent: SilentLines): boolean {
  return hops.length > 0 && hops.every(({ ifindex, via }) => via !== '' ? silent.has(ifindex) : silent.get(ifindex) === '');
}

/** The metric at which ours comes before it; undefined = there is none. IPv6 has none below 1. */
function placeBefore({ family, metric }: Route): number | undefined {
  if (family === 4) return metric;
  return metric > 1 ? metric - 1 : undefined;
}
