/**
 * What the kernel told becomes facts, and facts become lines: the parts of the kernel that were read replace what was known of
 * them, single links replace themselves, and every uplink's line is looked at again.
 */
import type { Effect, Event, Instant, KernelFacts, Link, Rank, UplinkPolicy } from '../model.js';
import { lineOf } from './desire.js';
import { learn, recall } from './gateway.js';
import { openHealth, type Health } from './health.js';
import { noteLine } from './judge.js';
import { quicken } from './look.js';
import { activeRoutes, type State } from './state.js';

export function absorbFacts(state: State, facts: Partial<KernelFacts>, now: Instant): void {
  const base = state.facts ?? { links: [], addresses: [], routes: [], rules: [], foreignDefaults: [] };
  if (state.facts === undefined && facts.links === undefined) return;
  if (state.facts !== undefined && facts.links !== undefined && linksDiffer(state.facts.links, facts.links)) quicken(state, now);
  const first = state.facts === undefined;
  state.facts = { ...base, ...facts };
  state.dirty = true;
  if (facts.routes !== undefined) state.repair.lastReadAt = now;
  if (first) adopt(state, now);
  learn(state.learnt, state.policy, state.facts);
  for (const health of state.health.values()) lookAtLine(state, health, state.facts, now);
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
  state.facts = { ...facts, links: next };
  state.dirty = true;
  for (const health of state.health.values()) lookAtLine(state, health, state.facts, now);
}

/** A new policy. What is known of an uplink stays known, unless it is to be asked otherwise or elsewhere. */
export function refit(state: State, now: Instant): void {
  for (const name of state.health.keys()) if (!state.policy.uplinks.some((u) => u.name === name)) state.health.delete(name);
  if (state.facts !== undefined) learn(state.learnt, state.policy, state.facts);
  for (const uplink of state.policy.uplinks) {
    const health = state.health.get(uplink.name);
    if (health !== undefined && askedAs(health.policy) === askedAs(uplink)) health.policy = uplink;
    else {
      const fresh = openHealth(uplink, now, health);
      state.health.set(uplink.name, fresh);
      if (state.facts !== undefined) lookAtLine(state, fresh, state.facts, now);
    }
  }
}

function askedAs({ interface: device, gateway, slot, probe, health }: UplinkPolicy): string {
  return JSON.stringify([device, gateway, slot, probe, health]);
}

function lookAtLine(state: State, health: Health, facts: KernelFacts, now: Instant): void {
  noteLine(health, lineOf(recall(state.learnt, health.policy, facts), facts), now);
}

/** What a former run left in the kernel is the first decision. */
function adopt(state: State, now: Instant): void {
  const ranks: Rank[] = [];
  for (const route of activeRoutes(state)) {
    const members = route.hops.flatMap((hop) => {
      const name = state.facts!.links.find((link) => link.index === hop.ifindex)?.name;
      const uplink = state.policy.uplinks.find((u) => u.interface === name);
      return uplink === undefined || ranks.some((rank) => rank.members.some((m) => m.uplink === uplink.name)) ? [] : [{ uplink: uplink.name, weight: uplink.weight }];
    });
    if (members.length > 0) ranks.push({ members });
  }
  if (ranks.length === 0) return;
  for (const [name, health] of state.health) health.mustProve = !ranks[0]!.members.some((m) => m.uplink === name);
  state.decision = { ranks, generation: state.generationBefore + 1, since: now, because: 'found in the kernel, as a former run left it', rule: 'adopted', order: state.override?.uplink ?? '' };
}

function linksDiffer(a: readonly Link[], b: readonly Link[]): boolean {
  const before = new Map(a.map((link) => [link.index, link]));
  return a.length !== b.length || b.some((link) => !sameLink(before.get(link.index), link));
}

/** The same in all that matters here. */
function sameLink(a: Link | undefined, b: Link): boolean {
  return a !== undefined && a.carrier === b.carrier && a.adminUp === b.adminUp && a.name === b.name;
}
