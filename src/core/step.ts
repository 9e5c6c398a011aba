/**
 * One turn of the core: an event goes in, effects come out, and the instant at which to be woken.
 *
 *   absorb    the event becomes facts          absorb.ts, override.ts
 *   judge     facts become verdicts            judge.ts
 *   decide    verdicts become a decision       decide.ts
 *   reconcile the wish is held against the kernel; the difference is a plan    desire.ts, plan.ts
 *   settle    what waited for a proof by read-back: connections to forget, requests to answer    settle.ts
 *
 * Same state, same event, same output. No clock, no dice, no await. Effects are carried out in their order.
 */
import type { Effect, Event, Instant, ProbeOrder, Verdict } from '../model.js';
import { absorbFacts, absorbLinks, refit } from './absorb.js';
import { check } from './ask.js';
import { decide } from './decide.js';
import { desireHost, probeLines } from './desire.js';
import { downLevel, pass, takeLost, takeReply, verdictOf } from './judge.js';
import { lookAround } from './look.js';
import { tellDecision, tellForgotten, tellHost } from './news.js';
import { absorbConfirm, absorbOverride, expireOverride } from './override.js';
import { noteOutcome, reconcile } from './reconcile.js';
import { noteVerdicts, settle } from './settle.js';
import type { State } from './state.js';

export interface Output {
  readonly effects: readonly Effect[];
  /** Wake the core then, at the latest. May lie in the past: then we are late, and the wake event has to say by how much. */
  readonly wakeAt: Instant;
}

const HOST_EVERY_MS = 15_000;
const HOST_GATHER_MS = 20;
const HOST_APART_MS = 500;
/** Starting a program holds the loop up for some ms: not while an uplink is in doubt. */
const HOST_NOT_NOW_MS = 500;

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
  if (event.type === 'applied') noteOutcome(state, event.failures, effects);
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
    case 'applied':
      absorbFacts(state, event.facts, event.at);
      break;
    case 'links':
      absorbLinks(state, event, effects);
      break;
    case 'host':
      tellHost(state, event, effects);
      state.hostReport = event.report;
      state.dirty ||= !state.ready;
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

function askAndJudge(state: State, event: Extract<Event, { type: 'wake' }>, effects: Effect[]): void {
  const orders: ProbeOrder[] = [];
  const leading = state.decision?.ranks[0]?.members ?? [];
  let doubt = false;
  for (const [name, health] of state.health) {
    if (health.nextPassAt > event.at || !pass(health, event.at, event.lateMs, orders)) continue;
    doubt ||= leading.some((member) => member.uplink === name);
  }
  // Before the leader is left, the others are asked whether they live.
  if (doubt) for (const health of state.health.values()) check(health, event.at, orders);
  for (const order of orders) effects.push({ type: 'probe', order });
}

function choose(state: State, now: Instant, effects: Effect[]): void {
  const candidates = [...state.health.values()].map((health) => ({
    policy: health.policy, verdict: verdictOf(health), downLevel: downLevel(health, now), risenAt: health.risenAt,
  }));
  const { decision, reviewAt } = decide({
    now, startedAt: state.startedAt, policy: state.policy, candidates, override: state.override, previous: state.decision,
    generationBefore: state.generationBefore,
  });
  state.reviewAt = reviewAt;
  if (decision === undefined || decision === state.decision) return;
  const told = state.decision;
  state.decision = decision;
  state.dirty = true;
  if (told?.generation !== decision.generation || told.rule !== decision.rule || told.because !== decision.because) tellDecision(decision, effects);
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
  if (askedAs === state.hostAskedAs) {
    if (now < state.hostAskAt) return;
    if ([...state.health.values()].some((health) => health.burst !== undefined || health.state === 'suspect')) {
      state.hostAskAt = (now + HOST_NOT_NOW_MS) as Instant;
      return;
    }
  }
  state.hostAskedAs = askedAs;
  state.hostAskedAt = now;
  state.hostAskAt = (now + HOST_EVERY_MS) as Instant;
  effects.push({ type: 'host', wish });
}

function wakeAt(state: State, now: Instant): Instant {
  let next: number = Math.min(state.looks.nextReadAt, state.looks.nextLinkAt, state.hostAskAt, state.reviewAt ?? Infinity);
  for (const health of state.health.values()) next = Math.min(next, health.nextPassAt);
  if (!state.repair.inSync && state.repair.notBefore > now) next = Math.min(next, state.repair.notBefore);
  return next as Instant;
}

function noteLateness(state: State, lateMs: number, now: Instant): void {
  if (lateMs < state.worstLatenessMs && now - state.worstLatenessAt < 60_000) return;
  state.worstLatenessMs = lateMs;
  state.worstLatenessAt = now;
}
