/**
 * The whole wish for the kernel's routing, made from scratch each time from policy, facts, verdicts and decisions.
 *
 * layout.ts draws the rules and tables; here they are filled in. An uplink's own table and device rule always stand. Its mark and
 * source rules stand until it is down and something better is installed. ACTIVE and main hold one default per rank, a class of
 * policies those of its own order; stand-in.ts says what else is ours in main. A family without a plane has nothing of ours. Nothing here
 * depends on what was wished before.
 */
import type { Address, Decision, Family, Hop, KernelFacts, Policy, Rank, Route, Rule, UplinkPolicy, Wish } from '../model.js';
import { isWithin, prefixOf } from './address.js';
import { classesOf, type PolicyClass } from './classes.js';
import { globalAddresses, joined, pathOf, type Memory, type Path } from './gateway.js';
import {
  ACTIVE_TABLE, CLASS_METRIC, MAIN_TABLE, METRIC_BASES, OUR_PROTOCOL, OUTER_TABLE, PREFERENCE, RANKS_AT_MOST,
  classTableOf, markOf, tableOf,
} from './layout.js';
import type { Health } from './health.js';
import { isHollow } from './hollow.js';
import { linkNamed, linkOf } from './link.js';
import { outerRanks, outerRules, tunnelsAmong } from './outer.js';
import { routedPrefixes, type Delegations } from './prefix.js';
import { standInsFor, type SilentLines } from './stand-in.js';
import type { Plane } from './state.js';

const SCOPE_UNIVERSE = 0;
const SCOPE_LINK = 253;
/** The kernel takes 0 for this in IPv6, and says so when it is read back. */
const IPV6_METRIC = 1024;

/** A hop, and what is known of the path by it. */
interface WayOut {
  readonly hop: Hop;
  readonly path: Path;
}

/** What the wish is made of. */
export interface Ground {
  readonly policy: Policy;
  readonly facts: KernelFacts;
  /** Gateways for `auto` that the kernel does not show any more. */
  readonly learnt: Memory;
  /** IPv6 prefixes that providers delegate now. */
  readonly delegations: Delegations;
  readonly planes: ReadonlyMap<Family, Pick<Plane, 'health' | 'decision'>>;
  /** Of a former config, whose marks the packet filter may still give. */
  readonly lingering: readonly PolicyClass[];
}

export function desire(ground: Ground): Wish {
  const { policy } = ground;
  const routes: Route[] = [];
  const standIns: Route[] = [];
  const rules: Rule[] = [];
  const classes = standingClasses(ground);
  for (const [family, { decision, health }] of ground.planes) {
    for (const uplink of policy.uplinks) {
      if (!health.has(uplink.name)) continue;
      ownTable(routes, uplink, ground, family);
      uplinkRules(rules, uplink, ground, family, mayCarry(uplink, health.get(uplink.name)!.state === 'down', decision));
    }
    rules.push({ ...plainRule(family, PREFERENCE.main, MAIN_TABLE), suppressPrefixLength: 0 });
    for (const each of classes) rules.push({ ...plainRule(family, PREFERENCE.policy, classTableOf(each.slot)), mark: markOf(each.slot, policy.markMask), markMask: policy.markMask });
    rules.push(plainRule(family, PREFERENCE.active, ACTIVE_TABLE));
    if (decision !== undefined) inOrder(routes, ground, family, decision.ranks, [ACTIVE_TABLE, MAIN_TABLE], metricBase(ground.facts, family));
    for (const each of classes) classTable(routes, each, ground, family, decision);
    const outer = outerRules(policy, ground.facts, family, classes, (line) =>
      mayCarry(line, health.get(line.name)?.state === 'down', decision));
    rules.push(...outer);
    if (outer.length > 0 && decision !== undefined) {
      const ranks = outerRanks(policy, ground.facts, decision.ranks);
      inOrder(routes, ground, family, ranks, [OUTER_TABLE], CLASS_METRIC.first);
    }
    const lead = routes.find((route) => route.family === family && route.table === MAIN_TABLE);
    if (lead === undefined) continue;
    const below = belowTunnels(routes, ground, lead);
    standIns.push(...standInsFor(lead, ground.facts, silentLines(health.values(), decision), below));
  }
  return { routes, standIns, rules, deprecated: deprecated(ground) };
}

/** The first default beside `lead` that is by no tunnel; where there is none, the tunnel. */
function belowTunnels(routes: readonly Route[], { policy, facts }: Ground, lead: Route): Route {
  const devices = tunnelsAmong(policy, facts).map((uplink) => linkOf(uplink, facts)?.index);
  const isBelow = ({ family, table, hops }: Route): boolean =>
    family === lead.family && table === MAIN_TABLE && hops.every(({ ifindex }) => !devices.includes(ifindex));
  return routes.find(isBelow) ?? lead;
}

/** Of this config and of former ones; a slot belongs to the newest that has it. */
function standingClasses({ policy, lingering }: Ground): readonly PolicyClass[] {
  const bySlot = new Map<number, PolicyClass>();
  for (const each of [...classesOf(policy).all, ...lingering]) if (!bySlot.has(each.slot)) bySlot.set(each.slot, each);
  return [...bySlot.values()];
}

/** The uplinks by which a class's new connections go now, in order: those that have yet to hold after a death come last. */
export function classRanks({ order, otherwise }: Pick<PolicyClass, 'order' | 'otherwise'>, decision: Decision): readonly Rank[] {
  const trusted = (trust: Decision['fit'][number]['trust']): readonly Rank[] => order
    .map((rank) => ({ members: rank.members.filter((member) => decision.fit.some((fit) => fit.uplink === member.uplink && fit.trust === trust)) }))
    .filter((rank) => rank.members.length > 0);
  // What would be refused otherwise may as well go by an uplink that rests.
  return [...trusted('proven'), ...trusted('unproven'), ...(otherwise === 'block' ? trusted('resting') : [])];
}

/** The first metric of a range that holds no default of somebody else. */
export function metricBase(facts: KernelFacts, family: Family): number {
  const free = METRIC_BASES.find((base) =>
    !facts.foreignDefaults.some((r) => r.family === family && r.table === MAIN_TABLE && r.metric >= base - 2 && r.metric < base + RANKS_AT_MOST));
  return free ?? METRIC_BASES[0]!;
}

/** Default through the gateway, and the prefixes that are on the link: a socket bound to the device finds both here. */
function ownTable(routes: Route[], uplink: UplinkPolicy, ground: Ground, family: Family): void {
  const way = wayOut(uplink, ground, family, 1);
  if (way === undefined) return;
  const table = tableOf(uplink.slot);
  const metric = family === 6 ? IPV6_METRIC : 0;
  const link = linkOf(uplink, ground.facts)!;
  const seen = new Set<string>();
  for (const address of globalAddresses(link, ground.facts, family)) {
    const prefix = onLinkPrefix(address);
    if (prefix === '' || seen.has(prefix)) continue;
    seen.add(prefix);
    routes.push({
      family, table, destination: prefix, metric, protocol: OUR_PROTOCOL, scope: family === 6 ? SCOPE_UNIVERSE : SCOPE_LINK, source: address.address,
      hops: [{ ifindex: link.index, via: '', weight: 1, onlink: false }],
    });
  }
  routes.push(defaultRoute(family, table, metric, [way]));
}

function uplinkRules(rules: Rule[], uplink: UplinkPolicy, { policy, facts, delegations }: Ground, family: Family, carries: boolean): void {
  const table = tableOf(uplink.slot);
  const link = linkOf(uplink, facts);
  const device = link?.name ?? uplink.interface;
  if (device !== '') rules.push({ ...plainRule(family, PREFERENCE.device, table), outInterface: device });
  if (!carries) return;
  rules.push({ ...plainRule(family, PREFERENCE.mark, table), mark: markOf(uplink.slot, policy.markMask), markMask: policy.markMask });
  if (link === undefined) return;
  for (const address of new Set(globalAddresses(link, facts, family).map((a) => a.address))) {
    // An address that two lines share says nothing about the line.
    if (facts.addresses.some((a) => a.address === address && a.ifindex !== link.index)) continue;
    rules.push({ ...plainRule(family, PREFERENCE.source, table), from: `${address}/${family === 4 ? 32 : 128}` });
  }
  // Nobody else's provider takes packets from a prefix that this one routes to us.
  for (const prefix of family === 6 ? routedPrefixes(uplink, delegations) : []) rules.push({ ...plainRule(6, PREFERENCE.source, table), from: prefix });
}

/** Old flows and bound sockets keep to an uplink until it is down and somebody else is installed in its place. */
function mayCarry(uplink: UplinkPolicy, isDown: boolean, decision: Decision | undefined): boolean {
  if (!isDown || decision === undefined || decision.ranks.length === 0) return true;
  return decision.ranks.some((rank) => rank.members.some((member) => member.uplink === uplink.name));
}

/** Lines that new connections have left because nobody answers there. One that works badly, or ends its flows, is still followed. */
function silentLines(healths: Iterable<Health>, decision: Decision | undefined): SilentLines {
  const carries = (name: string): boolean => decision?.ranks.some((rank) => rank.members.some(({ uplink }) => uplink === name)) ?? false;
  const silent = [...healths].filter(({ name, state }) => (state === 'down' || state === 'suspect') && !carries(name));
  return new Map(silent.map(({ line }) => [line.ifindex, line.gateway]));
}

/** One default per rank, in each of these tables. @returns the first metric that is left */
function inOrder(routes: Route[], ground: Ground, family: Family, ranks: readonly Rank[], tables: readonly number[], first: number): void {
  let metric = first;
  for (const rank of ranks.slice(0, RANKS_AT_MOST)) {
    const ways = rank.members.flatMap((member): WayOut[] => {
      const uplink = ground.policy.uplinks.find((u) => u.name === member.uplink);
      const way = uplink === undefined ? undefined : wayOut(uplink, ground, family, rank.members.length === 1 ? 1 : member.weight);
      return way === undefined ? [] : [way];
    });
    if (ways.length === 0) continue;
    if (ways.length === 1) ways[0] = { ...ways[0]!, hop: { ...ways[0]!.hop, weight: 1 } };
    const shared = family === 6 && ways.length > 1 ? ways.map(({ hop, path }) => ({ hop: withNeighbour(hop), path })) : ways;
    for (const table of tables) routes.push(defaultRoute(family, table, metric, shared));
    metric++;
  }
}

/** IPv6 shares nothing among devices without a gateway. A point-to-point device sends whatever it is given to its other end, so any neighbour will do. */
function withNeighbour(hop: Hop): Hop {
  return hop.via === '' ? { ...hop, via: 'fe80::1', onlink: true } : hop;
}

/** An empty table lets packets fall through to ACTIVE; an unreachable route at its end does not. */
function classTable(routes: Route[], each: PolicyClass, ground: Ground, family: Family, decision: Decision | undefined): void {
  const table = classTableOf(each.slot);
  if (decision !== undefined) inOrder(routes, ground, family, classRanks(each, decision), [table], CLASS_METRIC.first);
  if (each.otherwise === 'block') routes.push({ ...defaultRoute(family, table, CLASS_METRIC.block, []), scope: SCOPE_UNIVERSE });
}

/** The kernel takes no route through a device that is switched off. */
function wayOut(uplink: UplinkPolicy, { facts, learnt }: Ground, family: Family, weight: number): WayOut | undefined {
  const link = linkOf(uplink, facts);
  const addresses = link === undefined ? [] : globalAddresses(link, facts, family);
  if (link === undefined || !link.adminUp || addresses.length === 0) return undefined;
  const path = pathOf(uplink, link, facts, family, learnt);
  if (path === undefined) return undefined;
  // The kernel refuses a source that it does not have.
  const known = addresses.some(({ address, deprecated }) => address === path.source && !deprecated) ? path : { ...path, source: '' };
  return { hop: { ifindex: link.index, via: path.via, weight, onlink: path.via !== '' }, path: known };
}

/** Where a provider routes a prefix to us that is used as it is: while that line is down, or gets no answers for it, hosts are not to use their addresses in it. */
function deprecated({ policy, facts, planes, delegations }: Ground): readonly Address[] {
  const plane = planes.get(6);
  const leaders = plane?.decision?.ranks[0]?.members ?? [];
  const lans = policy.lanInterfaces.map((name) => linkNamed(name, facts)?.index);
  const dead = policy.uplinks.filter(({ name }) => {
    const health = plane?.health.get(name);
    return health !== undefined && (health.state === 'down' || isHollow(health)) && leaders.length > 0 && !leaders.some((leader) => leader.uplink === name);
  }).flatMap((uplink) => routedPrefixes(uplink, delegations));
  return facts.addresses.filter((address) =>
    address.family === 6 && address.scope === 0 && lans.includes(address.ifindex) && dead.some((prefix) => isWithin(address.address, prefix)));
}

function defaultRoute(family: Family, table: number, metric: number, ways: readonly WayOut[]): Route {
  const hops = ways.map(({ hop }) => hop);
  const { source, metrics } = ways.length === 0 ? {} : joined(ways.map(({ path }) => path));
  const direct = family === 4 && hops.every((hop) => hop.via === '');
  return {
    family, table, destination: 'default', metric, protocol: OUR_PROTOCOL, scope: direct ? SCOPE_LINK : SCOPE_UNIVERSE, source: source ?? '', hops,
    ...(metrics === undefined ? {} : { metrics }),
  };
}

function plainRule(family: Family, preference: number, table: number): Rule {
  return { family, preference, protocol: OUR_PROTOCOL, table, from: '', outInterface: '', mark: 0, markMask: 0, suppressPrefixLength: -1 };
}

/** The prefix an address stands in, '' for a host address or a point-to-point line. */
function onLinkPrefix(address: Address): string {
  if (address.prefixLength === (address.family === 4 ? 32 : 128) || address.peer !== '') return '';
  return prefixOf(address.address, address.prefixLength);
}
