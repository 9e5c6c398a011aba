/**
 * One turn of the core: an event goes in, effects come out, and the instant at which to be woken.
 *
 *   absorb    the event becomes facts
 *   judge     facts become verdicts            judge.ts
 *   decide    verdicts become a decision       decide.ts
 *   reconcile the wish is held against the kernel; the difference is a plan    desire.ts, plan.ts
 *   settle    what waited for a proof by read-back: connections to forget, requests to answer
 *
 * Same state, same event, same output. No clock, no dice, no await. Effects are carried out in their order.
 */
import type { Effect, Event, Instant, KernelFacts, Link, ProbeOrder, Rank, Route, Verdict } from '../model.js';
import { decide } from './decide.js';
import { check } from './ask.js';
import { desireHost, lineOf, probeLines } from './desire.js';
import { openHealth, type Health } from './health.js';
import { downLevel, noteLine, pass, takeLost, takeReply, verdictOf } from './judge.js';
import { ACTIVE_TABLE, markOf } from './layout.js';
import { news, tellDecision, tellForgotten, tellHost, tellVerdict } from './news.js';
import { noteFailures, reconcile } from './reconcile.js';
import type { State } from './state.js';
import { duration } from './words.js';

export interface Output {
  readonly effects: readonly Effect[];
  /** Wake the core then, at the latest. */
  readonly wakeAt: Instant;
}

const LOOK_QUICK_MS = 10;
const LOOK_IDLE_MS = 100;
const QUICK_FOR_MS = 1000;
const READ_EVERY_MS = 5000;
const HOST_EVERY_MS = 15_000;
const HOST_GATHER_MS = 20;
const HOST_APART_MS = 500;

export function step(state: State, event: Event): Output {
  const effects: Effect[] = [];
  const now = event.at;
  state.steps++;
  absorb(state, event, effects);
  if (state.facts !== undefined) {
    if (event.type === 'wake') askAndJudge(state, event, effects);
    if (hasWork(state, event)) decideAndReconcile(state, event, effects);
  }
  lookAround(state, now, effects);
  return { effects, wakeAt: wakeAt(state, now) };
}

/** Most events are answers that change nothing: they end here. */
function hasWork(state: State, event: Event): boolean {
  if (state.dirty || state.waiting.length > 0 || !state.repair.inSync || event.type === 'applied') return true;
  if (event.at >= Math.min(state.reviewAt ?? Infinity, state.hostAskAt)) return true;
  for (const health of state.health.values()) if (health.changed) return true;
  return false;
}

function decideAndReconcile(state: State, event: Event, effects: Effect[]): void {
  const now = event.at;
  noteVerdicts(state, effects);
  expireOverride(state, now, effects);
  choose(state, now, effects);
  if (event.type === 'applied') noteFailures(state, event.failures, effects);
  const applying = reconcile(state, verdicts(state), now, effects);
  if (!applying) settle(state, effects);
  bindAndHost(state, now, effects);
}

export function verdicts(state: State): ReadonlyMap<string, Verdict> {
  return new Map([...state.health].map(([name, health]) => [name, verdictOf(health)]));
}

function absorb(state: State, event: Event, effects: Effect[]): void {
  switch (event.type) {
    case 'policy':
      state.policy = event.policy;
      state.dirty = true;
      refit(state, event.at);
      break;
    case 'kernel':
      absorbFacts(state, event.facts, event.at);
      break;
    case 'applied':
      absorbFacts(state, event.facts, event.at);
      break;
    case 'links':
      absorbLinks(state, event, effects);
      break;
    case 'host':
      tellHost(state, event, effects);
      state.hostReport = event.report;
      break;
    case 'ruleset':
      // Gathered, and seldom enough that somebody who changes rules all the time costs us little.
      state.hostAskAt = Math.min(state.hostAskAt, Math.max(event.at + HOST_GATHER_MS, state.hostAskedAt + HOST_APART_MS)) as Instant;
      break;
    case 'reply': {
      const health = state.health.get(event.uplink);
      if (health !== undefined) takeReply(health, event.target, event.seq, event.at, event.rttMs);
      break;
    }
    case 'lost': {
      const health = state.health.get(event.uplink);
      if (health !== undefined) takeLost(health, event.target, event.seq, event.at, event.error);
      break;
    }
    case 'override':
      absorbOverride(state, event, effects);
      break;
    case 'confirm':
      absorbConfirm(state, event, effects);
      break;
    case 'forgotten':
      tellForgotten(event, effects);
      break;
    case 'wake':
      noteLateness(state, event.lateMs, event.at);
      break;
  }
}

function absorbFacts(state: State, facts: Partial<KernelFacts>, now: Instant): void {
  const base = state.facts ?? { links: [], addresses: [], routes: [], rules: [], foreignDefaults: [] };
  if (state.facts === undefined && facts.links === undefined) return;
  if (state.facts !== undefined && facts.links !== undefined && linksDiffer(state.facts.links, facts.links)) quicken(state, now);
  const first = state.facts === undefined;
  state.facts = { ...base, ...facts };
  state.dirty = true;
  if (facts.routes !== undefined) state.repair.lastReadAt = now;
  if (first) adopt(state, now);
  for (const health of state.health.values()) noteLine(health, lineOf(health.policy, state.facts), now);
}

function absorbLinks(state: State, event: Extract<Event, { type: 'links' }>, effects: Effect[]): void {
  const { links, gone, told, at: now } = event;
  const facts = state.facts;
  if (facts === undefined) return;
  if (told) quicken(state, now);
  const kept = facts.links.filter((link) => !gone.includes(link.index) && !links.some((told) => told.index === link.index));
  const next = [...kept, ...links];
  if (!linksDiffer(facts.links, next)) return;
  quicken(state, now);
  // Switching a device off or on, deleting or making it changes addresses and routes, mostly without a word.
  const remade = next.length !== facts.links.length
    || next.some((link) => facts.links.find((l) => l.index === link.index)?.adminUp !== link.adminUp);
  if (remade) effects.push({ type: 'read', what: 'all' });
  state.facts = { ...facts, links: next };
  state.dirty = true;
  for (const health of state.health.values()) noteLine(health, lineOf(health.policy, state.facts), now);
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
  state.decision = { ranks, generation: 1, since: now, because: 'found in the kernel, as a former run left it', rule: 'adopted' };
}

/** Our routes in ACTIVE by metric, as the kernel has them. */
function activeRoutes(state: State): readonly Route[] {
  const routes = (state.facts?.routes ?? []).filter((route) => route.table === ACTIVE_TABLE && route.destination === 'default');
  return routes.sort((a, b) => a.metric - b.metric);
}

function refit(state: State, now: Instant): void {
  for (const name of state.health.keys()) if (!state.policy.uplinks.some((u) => u.name === name)) state.health.delete(name);
  for (const uplink of state.policy.uplinks) {
    const health = state.health.get(uplink.name);
    const same = health !== undefined && JSON.stringify(health.policy) === JSON.stringify(uplink);
    if (same) continue;
    const fresh = openHealth(uplink, now);
    state.health.set(uplink.name, fresh);
    if (state.facts !== undefined) noteLine(fresh, lineOf(uplink, state.facts), now);
  }
}

function askAndJudge(state: State, event: Extract<Event, { type: 'wake' }>, effects: Effect[]): void {
  const orders: ProbeOrder[] = [];
  let doubt: Health | undefined;
  for (const health of state.health.values()) {
    if (health.nextPassAt <= event.at && pass(health, event.at, event.lateMs, orders)) doubt = health;
  }
  // Before one is left, the others are asked whether they live.
  if (doubt !== undefined) for (const health of state.health.values()) check(health, event.at, orders);
  for (const order of orders) effects.push({ type: 'probe', order });
}

function absorbOverride(state: State, event: Extract<Event, { type: 'override' }>, effects: Effect[]): void {
  const wanted = event.override;
  const health = wanted === undefined ? undefined : state.health.get(wanted.uplink);
  if (wanted !== undefined && health === undefined) {
    effects.push({ type: 'answer', token: event.token, error: `there is no uplink ${wanted.uplink}` });
    return;
  }
  if (wanted !== undefined && wanted.ifDead === 'fall-through' && health?.state === 'down') {
    effects.push({
      type: 'answer', token: event.token,
      error: `${wanted.uplink} is down (${health.because}): switching to it would cut you off; --if-dead obey insists`,
    });
    return;
  }
  const former = state.override;
  state.override = wanted;
  state.waiting.push(event.token);
  effects.push({ type: 'save', override: wanted });
  if (wanted !== undefined) {
    const reason = wanted.reason === '' ? '' : `: ${wanted.reason}`;
    const until = wanted.until === undefined ? 'until further notice' : `for ${duration(wanted.until - event.at)}`;
    news(effects, 'info', 'override', wanted.uplink, `${wanted.by} switched to ${wanted.uplink} ${until}${reason}`);
  } else if (former !== undefined) news(effects, 'info', 'override', former.uplink, `the override on ${former.uplink} was dropped; back to automatic`);
}

function absorbConfirm(state: State, event: Extract<Event, { type: 'confirm' }>, effects: Effect[]): void {
  if (state.override?.confirmBy === undefined) {
    effects.push({ type: 'answer', token: event.token, error: state.override === undefined ? 'no override is set' : 'the override needs no confirmation' });
    return;
  }
  state.override = { ...state.override, confirmBy: undefined };
  state.waiting.push(event.token);
  effects.push({ type: 'save', override: state.override });
  news(effects, 'info', 'override', state.override.uplink, `the override on ${state.override.uplink} was confirmed`);
}

/** A verdict that changed state asks for a new wish, and its flows may have to be forgotten. */
function noteVerdicts(state: State, effects: Effect[]): void {
  for (const [uplink, health] of state.health) {
    if (!health.changed) continue;
    health.changed = false;
    if (health.state !== health.toldState) {
      state.dirty = true;
      const which = health.state === 'down' ? 'all' : 'unanswered';
      const order = { uplink, mark: markOf(health.policy.slot, state.policy.markMask), markMask: state.policy.markMask, which } as const;
      if (health.state === 'suspect' || health.state === 'down') state.forgets.set(uplink, order);
    }
    if (health.state === health.toldState && health.because === health.toldBecause) continue;
    health.toldState = health.state;
    health.toldBecause = health.because;
    tellVerdict(health, effects);
  }
}

function expireOverride(state: State, now: Instant, effects: Effect[]): void {
  const override = state.override;
  if (override === undefined) return;
  const expired = override.until !== undefined && override.until <= now;
  const unconfirmed = override.confirmBy !== undefined && override.confirmBy <= now;
  if (!expired && !unconfirmed) return;
  state.override = undefined;
  effects.push({ type: 'save', override: undefined });
  const why = expired ? 'its time is over' : 'it was not confirmed in time';
  news(effects, 'info', 'override', override.uplink, `the override on ${override.uplink} ended: ${why}; back to automatic`);
}

function choose(state: State, now: Instant, effects: Effect[]): void {
  const candidates = [...state.health.values()].map((health) => ({ policy: health.policy, verdict: verdictOf(health), downLevel: downLevel(health, now) }));
  const { decision, reviewAt } = decide({
    now, startedAt: state.startedAt, policy: state.policy, candidates, override: state.override, previous: state.decision,
  });
  state.reviewAt = reviewAt;
  if (decision === undefined || decision === state.decision) return;
  const told = state.decision;
  state.decision = decision;
  state.dirty = true;
  if (told === undefined || told.generation !== decision.generation || told.rule !== decision.rule) tellDecision(decision, effects);
}

/** What waited for the kernel: only a proven better route lets connections go, only a read-back answers a request. */
function settle(state: State, effects: Effect[]): void {
  const wanted = state.decision?.ranks[0];
  const proven = wanted !== undefined && state.decision?.rule !== 'last-resort' && leads(state, wanted);
  for (const [uplink, order] of state.forgets) {
    const verdict = state.health.get(uplink)?.state;
    const left = !(state.decision?.ranks.some((rank) => rank.members.some((m) => m.uplink === uplink)) ?? true);
    if (verdict !== 'suspect' && verdict !== 'down') state.forgets.delete(uplink);
    else if (proven && left) {
      state.forgets.delete(uplink);
      effects.push({ type: 'forget', order });
    }
  }
  const installed = wanted === undefined || leads(state, wanted);
  const error = installed ? '' : `the kernel refused: ${state.repair.failures.join('; ')}`;
  for (const token of state.waiting.splice(0)) effects.push({ type: 'answer', token, error });
  if (state.ready || state.decision === undefined || !installed) return;
  state.ready = true;
  news(effects, 'info', 'controller', '', 'ready: the first decision stands in the kernel');
}

/** Does the kernel's first ACTIVE route lead through exactly these uplinks? */
function leads(state: State, rank: Rank): boolean {
  const first = activeRoutes(state)[0];
  if (first === undefined) return false;
  const names = first.hops.map((hop) => state.facts?.links.find((link) => link.index === hop.ifindex)?.name);
  const wanted = rank.members.map((m) => state.policy.uplinks.find((u) => u.name === m.uplink)?.interface);
  return names.length === wanted.length && names.every((name) => wanted.includes(name));
}

function bindAndHost(state: State, now: Instant, effects: Effect[]): void {
  const lines = probeLines(state.policy, new Map([...state.health].map(([name, health]) => [name, health.line])));
  const boundAs = JSON.stringify(lines);
  if (boundAs !== state.boundAs) {
    state.boundAs = boundAs;
    // Before any probe of this turn.
    effects.unshift({ type: 'bind', lines });
  }
  const wish = desireHost(state.policy);
  const askedAs = JSON.stringify([wish, lines.map((line) => line.ifindex)]);
  if (askedAs === state.hostAskedAs && now < state.hostAskAt) return;
  state.hostAskedAs = askedAs;
  state.hostAskedAt = now;
  state.hostAskAt = (now + HOST_EVERY_MS) as Instant;
  effects.push({ type: 'host', wish });
}

function lookAround(state: State, now: Instant, effects: Effect[]): void {
  const { looks } = state;
  if (looks.nextReadAt <= now) {
    looks.nextReadAt = (now + READ_EVERY_MS) as Instant;
    effects.push({ type: 'read', what: 'all' });
  }
  if (looks.nextLinkAt > now || state.facts === undefined) return;
  const ifindexes = [...state.health.values()].flatMap((health) => (health.line.ifindex === 0 ? [] : [health.line.ifindex]));
  looks.nextLinkAt = (now + (now < looks.quickUntil ? LOOK_QUICK_MS : LOOK_IDLE_MS)) as Instant;
  if (ifindexes.length > 0) effects.push({ type: 'look', ifindexes });
}

function quicken(state: State, now: Instant): void {
  state.looks.quickUntil = (now + QUICK_FOR_MS) as Instant;
  state.looks.nextLinkAt = Math.min(state.looks.nextLinkAt, now + LOOK_QUICK_MS) as Instant;
}

function wakeAt(state: State, now: Instant): Instant {
  let next: number = Math.min(state.looks.nextReadAt, state.looks.nextLinkAt, state.hostAskAt, state.reviewAt ?? Infinity);
  for (const health of state.health.values()) next = Math.min(next, health.nextPassAt);
  if (!state.repair.inSync && state.repair.notBefore > now) next = Math.min(next, state.repair.notBefore);
  return Math.max(now, next) as Instant;
}

function linksDiffer(a: readonly Link[], b: readonly Link[]): boolean {
  return a.length !== b.length || a.some((link) => {
    const other = b.find((l) => l.index === link.index);
    return other === undefined || other.carrier !== link.carrier || other.adminUp !== link.adminUp || other.name !== link.name;
  });
}

function noteLateness(state: State, lateMs: number, now: Instant): void {
  if (lateMs < state.worstLatenessMs && now - state.worstLatenessAt < 60_000) return;
  state.worstLatenessMs = lateMs;
  state.worstLatenessAt = now;
}
