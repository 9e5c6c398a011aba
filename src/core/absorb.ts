/**
 * What the kernel told becomes facts, and facts become lines: the parts of the kernel that were read replace what was known of
 * them, single links replace themselves, and every uplink's line is looked at again.
 */
import type { Effect, Event, Family, Instant, KernelFacts, Link, Rank, Route, UplinkPolicy } from '../model.js';
import { forgetAddress, forgetRemoved } from './forgets.js';
import { learn } from './gateway.js';
import { openHealth, type Health, type Line } from './health.js';
import { noteLine } from './judge.js';
import { FAMILIES, isClassTable } from './layout.js';
import { lineOf, takesPart } from './line.js';
import { linkOf } from './link.js';
import { quicken } from './look.js';
import { handOutside } from './outside.js';
import { learnPrefixes } from './prefix.js';
import { activeRoutes, allHealth, openPlane, type Plane, type State } from './state.js';

export function absorbFacts(state: State, facts: Partial<KernelFacts>, now: Instant): void {
  const base = state.facts ?? { links: [], addresses: [], routes: [], rules: [], foreignDefaults: [], foreignRoutes: [] };
  if (state.facts === undefined && facts.links === undefined) return;
  if (state.facts !== undefined && facts.links !== undefined && linksDiffer(state.facts.links, facts.links)) quicken(state, now);
  const first = state.facts === undefined;
  state.facts = { ...base, ...facts };
  state.dirty = true;
  if (facts.routes !== undefined) state.repair.lastReadAt = now;
  learn(state.learnt, state.policy, state.facts);
  learnPrefixes(state.delegations, state.policy, state.facts, now);
  openPlanes(state, state.facts, now);
  if (first) for (const plane of state.planes.values()) adopt(state, plane, state.facts, now);
  for (const health of allHealth(state)) lookAtLine(state, health, state.facts, now, base);
}

/** Who has an address in a family for the first time takes part in it from now on, whatever becomes of the address. */
function openPlanes(state: State, facts: KernelFacts, now: Instant): void {
  for (const family of FAMILIES) {
    for (const uplink of state.policy.uplinks) {
      const plane = state.planes.get(family);
      if (plane?.health.has(uplink.name) === true || !takesPart(uplink, facts, family, state.learnt)) continue;
      const health = openHealth(uplink, family, now);
      health.outside = state.outside.filter((verdict) => verdict.uplink === uplink.name);
      if (plane === undefined) state.planes.set(family, openPlane(family, [health], now));
      else plane.health.set(uplink.name, health);
    }
  }
}

export function absorbLinks(state: State, event: Extract<Event, { type: 'links' }>, effects: Effect[]): void {
  const { links, gone, told, at: now } = event;
  const facts = state.facts;
  if (facts === undefined) return;
  if (told) quicken(state, now);
  // Asked for many times a second, and mostly as it was: the whole list is touched only when something changed.
  const known = (index: number): Link | undefined => facts.links.find((link) => link.index === index);
  if (links.every((link) => sameLink(known(link.index), link)) && gone.every((index) => known(index) === undefined)) return;
  const kept = facts.links.filter((link) => !gone.includes(link.index) && !links.some((newer) => newer.index === link.index));
  const next = [...kept, ...links];
  quicken(state, now);
  // Switching a device off or on, deleting or making it changes addresses and routes, mostly without a word.
  const remade = next.length !== facts.links.length
    || links.some((link) => known(link.index)?.adminUp !== link.adminUp);
  if (remade) effects.push({ type: 'read', what: 'all' });
  state.facts = { ...facts, links: next, routes: gone.length === 0 ? facts.routes : facts.routes.flatMap((route) => withoutDevices(route, gone)) };
  state.dirty = true;
  for (const health of allHealth(state)) lookAtLine(state, health, state.facts, now);
}

/** A new policy. What is known of an uplink stays known, unless it is to be asked otherwise or elsewhere. */
export function refit(state: State, former: readonly UplinkPolicy[], now: Instant): void {
  const { uplinks } = state.policy;
  const facts = state.facts;
  for (const gone of former) if (!uplinks.some((uplink) => uplink.name === gone.name)) forgetRemoved(state, gone);
  if (facts !== undefined) {
    learn(state.learnt, state.policy, facts);
    learnPrefixes(state.delegations, state.policy, facts, now);
  }
  const formerLines = new Map<Health, Line>();
  for (const plane of state.planes.values()) {
    const before = new Map(plane.health);
    plane.health.clear();
    for (const uplink of uplinks) {
      const health = before.get(uplink.name);
      if (health === undefined) {
        if (plane.family === 4) plane.health.set(uplink.name, openHealth(uplink, 4, now));
      } else if (askedAs(health, health.policy) === askedAs(health, uplink)) {
        health.policy = uplink;
        plane.health.set(uplink.name, health);
      } else {
        const anew = openHealth(uplink, plane.family, now, health);
        plane.health.set(uplink.name, anew);
        formerLines.set(anew, health.line);
      }
    }
    if (plane.health.size > 0 || plane.family === 4) continue;
    state.planes.delete(plane.family);
    // What was active in this family is not any more.
    if ((plane.decision?.ranks.length ?? 0) > 0) state.generation++;
  }
  if (facts === undefined) return;
  openPlanes(state, facts, now);
  for (const health of allHealth(state)) lookAtLine(state, health, facts, now, facts, formerLines.get(health));
  handOutside(state, now);
}

function askedAs({ family }: Health, { interface: device, match, gateways, slot, probe, health }: UplinkPolicy): string {
  return JSON.stringify([device, match, gateways[family], slot, probe, health]);
}

/** An address that the line has no more is missed, be it the one in use or one that new connections had left already. */
function lookAtLine(state: State, health: Health, facts: KernelFacts, now: Instant, before = facts, former = health.line): void {
  const had = addressesIn(before, health.family, former);
  noteLine(health, lineOf(health.policy, facts, health.family, state.learnt), now);
  const has = addressesIn(facts, health.family, health.line);
  for (const address of had) if (!has.includes(address)) forgetAddress(state, health, address);
}

/** Of the device that the line is on. */
function addressesIn({ addresses }: KernelFacts, family: Family, line: Line): readonly string[] {
  return addresses.filter((address) => address.ifindex === line.ifindex && address.family === family && address.scope === 0).map(({ address }) => address);
}

/** What a former run left in the kernel is the first decision. */
function adopt(state: State, plane: Plane, facts: KernelFacts, now: Instant): void {
  const ranks: Rank[] = [];
  for (const route of activeRoutes(state, plane.family)) {
    const members = route.hops.flatMap((hop) => {
      const uplink = state.policy.uplinks.find((u) => linkOf(u, facts)?.index === hop.ifindex);
      return uplink === undefined || ranks.some((rank) => rank.members.some((m) => m.uplink === uplink.name)) ? [] : [{ uplink: uplink.name, weight: uplink.weight }];
    });
    if (members.length > 0) ranks.push({ members });
  }
  if (ranks.length === 0) return;
  for (const [name, health] of plane.health) health.mustProve = !ranks[0]!.members.some((m) => m.uplink === name) && !ledPolicies(facts, plane.family, linkOf(health.policy, facts));
  plane.decision = {
    ranks, generation: ++state.generation, since: now, because: 'found in the kernel, as a former run left it', rule: 'adopted', order: state.override?.uplink ?? '',
    fit: ranks.flatMap((rank) => rank.members.map(({ uplink }) => ({ uplink, trust: 'proven' as const }))),
  };
}

/** What the kernel leaves of a route when devices are deleted: IPv6 takes out their hops, IPv4 keeps the route while any hop lives. */
function withoutDevices(route: Route, gone: readonly number[]): readonly Route[] {
  const hops = route.hops.filter((hop) => !gone.includes(hop.ifindex));
  if (hops.length === route.hops.length) return [route];
  if (hops.length === 0) return [];
  return [route.family === 4 ? route : { ...route, hops: hops.length === 1 ? [{ ...hops[0]!, weight: 1 }] : hops }];
}

/** A former run let policies prefer it to others: it had nothing left to prove. */
function ledPolicies(facts: KernelFacts, family: Family, link: Link | undefined): boolean {
  const tables = new Map<number, Route[]>();
  for (const route of facts.routes) {
    if (route.family === family && isClassTable(route.table) && route.hops.length > 0) tables.set(route.table, [...(tables.get(route.table) ?? []), route]);
  }
  return [...tables.values()].some((routes) => {
    const first = routes.reduce((a, b) => (a.metric <= b.metric ? a : b));
    return routes.length > 1 && first.hops.some((hop) => hop.ifindex === link?.index);
  });
}

function linksDiffer(a: readonly Link[], b: readonly Link[]): boolean {
  const before = new Map(a.map((link) => [link.index, link]));
  return a.length !== b.length || b.some((link) => !sameLink(before.get(link.index), link));
}

/** The same in all that matters here. */
function sameLink(a: Link | undefined, b: Link): boolean {
  return a !== undefined && a.carrier === b.carrier && a.adminUp === b.adminUp && a.name === b.name && a.mac === b.mac && a.path === b.path && a.altNames.join() === b.altNames.join();
}
