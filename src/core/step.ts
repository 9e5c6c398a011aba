/**
 * One turn of the core: an event goes in, effects come out, and the instant at which to be woken.
 *
 *   absorb    the event becomes facts          absorb.ts, override.ts, outside.ts
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
import { correlate, reachesLess } from './correlate.js';
import { penaltyOf } from './damping.js';
import { awaited, decide, type Candidate, type Question } from './decide.js';
import { classesOf } from './classes.js';
import { probeLines } from './desire-host.js';
import { forgetMoved, nextForgetAt, reviseMoved } from './forgets.js';
import type { Health } from './health.js';
import { absorbHost, askHost, isFiltered, lookAtHostSoon } from './host.js';
import { pass, takeLost, takeReply, takeTraffic } from './judge.js';
import { countAnew, countSeldom, lookAround } from './look.js';
import { tellDecision, tellForgotten, tellTunnels } from './news.js';
import { absorbOutside, expireOutside, nextExpiry } from './outside.js';
import { absorbClock, absorbConfirm, absorbOverride, expireOverride } from './override.js';
import { weighConnections } from './hollow.js';
import { isClean } from './quality.js';
import { noteOutcome, reconcile } from './reconcile.js';
import { suspectPrefix, tellPrefixes } from './renumbered.js';
import { noteVerdicts, settle } from './settle.js';
import { allHealth, type Plane, type State } from './state.js';
import { verdictOf } from './verdict.js';
import { lastAnswerAt } from './witness.js';

export interface Output {
  readonly effects: readonly Effect[];
  /** Wake the core then, at the latest. May lie in the past: then we are late, and the wake event has to say by how much. */
  readonly wakeAt: Instant;
}

export function step(state: State, event: Event): Output {
  const effects: Effect[] = [];
  const now = event.at;
  state.steps++;
  absorb(state, event, effects);
  expireOutside(state, now);
  if (state.facts !== undefined) {
    if (event.type === 'wake') askAndJudge(state, event, effects);
    if (hasWork(state, event)) decideAndReconcile(state, event, effects);
    if (mayTellPrefixes(event)) tellPrefixes(state, now, effects);
  }
  lookAround(state, now, effects);
  state.wakeAt = wakeAt(state, now);
  return { effects, wakeAt: state.wakeAt };
}

/** Those that prefixes, or the judgement of connections, may have changed with. */
function mayTellPrefixes({ type }: Event): boolean {
  return type === 'wake' || type === 'kernel' || type === 'policy';
}

/** Most events are answers that change nothing: they end here. */
function hasWork(state: State, event: Event): boolean {
  if (state.dirty || state.waiting.length > 0 || !state.repair.inSync || event.type === 'applied') return true;
  if (event.at >= Math.min(state.hostAskAt, state.forgetAt)) return true;
  for (const plane of state.planes.values()) {
    if (event.at >= (plane.reviewAt ?? Infinity)) return true;
    for (const health of plane.health.values()) if (health.changed) return true;
  }
  return false;
}

function decideAndReconcile(state: State, event: Event, effects: Effect[]): void {
  const now = event.at;
  for (const plane of state.planes.values()) correlate(plane, now);
  noteVerdicts(state, effects);
  tellTunnels(state, effects);
  expireOverride(state, now, effects);
  for (const plane of state.planes.values()) choose(state, plane, now, effects);
  if (event.type === 'applied') noteOutcome(state, event.failures, effects);
  const applying = reconcile(state, now, effects);
  if (!applying) settle(state, now, effects);
  state.forgetAt = nextForgetAt(state, now);
  bindProbes(state, effects);
  askHost(state, now, effects);
}

function absorb(state: State, event: Event, effects: Effect[]): void {
  switch (event.type) {
    case 'policy': {
      const former = state.policy.uplinks;
      state.lingering = [...classesOf(state.policy).all, ...state.lingering];
      state.policy = event.policy;
      state.dirty = true;
      if (event.token !== 0) state.waitingForHost.push(event.token);
      reviseMoved(state);
      refit(state, former, event.at);
      countAnew(state, event.at);
      break;
    }
    case 'kernel':
    case 'applied':
      absorbFacts(state, event.facts, event.at);
      break;
    case 'links':
      absorbLinks(state, event, effects);
      break;
    case 'host':
      absorbHost(state, event, effects);
      break;
    case 'ruleset':
      lookAtHostSoon(state, event.at);
      break;
    case 'reply': {
      const health = state.planes.get(event.family)?.health.get(event.uplink);
      if (health !== undefined) takeReply(health, event.target, event.seq, event.at, event.rttMs, event.at - state.wakeAt, event.unpinned, event.hopLimit);
      break;
    }
    case 'lost': {
      const health = state.planes.get(event.family)?.health.get(event.uplink);
      if (health !== undefined) takeLost(health, event.target, event.seq, event.at, event.cause, event.error);
      break;
    }
    case 'traffic':
      if (event.counts.length === 0) countSeldom(state, event.at);
      for (const health of allHealth(state)) {
        const counted = event.counts.find((each) => each.interface === health.line.device && each.family === health.family);
        if (counted !== undefined) takeTraffic(health, counted, event.at);
      }
      break;
    case 'verdict':
      absorbOutside(state, event, effects);
      break;
    case 'override':
      absorbOverride(state, event, effects);
      break;
    case 'clock':
      absorbClock(state, event);
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
  for (const { health, decision } of state.planes.values()) {
    const leading = decision?.ranks[0]?.members ?? [];
    let doubt = false;
    for (const [name, each] of health) {
      if (each.nextPassAt > event.at || !pass(each, event.at, event.lateMs, orders)) continue;
      doubt ||= leading.some((member) => member.uplink === name);
    }
    // Before the leader is left, the others are asked whether they live.
    if (doubt) for (const each of health.values()) check(each, event.at, orders);
  }
  for (const { health } of state.planes.values()) weighConnections(health.values(), event.at, (each) => suspectPrefix(each, state));
  for (const order of orders) effects.push({ type: 'probe', order });
}

function choose(state: State, plane: Plane, now: Instant, effects: Effect[]): void {
  const candidates = [...plane.health.values()].map((health): Candidate => ({
    policy: health.policy, verdict: verdictFor(state, plane, health), penalty: penaltyOf(health, now), risenAt: health.risenAt, answeredAt: lastAnswerAt(health),
    lacks: !isClean(health, now) ? 'less loss' : reachesLess(health, plane, now) ? 'targets' : 'nothing',
  }));
  const question: Question = {
    now, startedAt: plane.openedAt, policy: state.policy, candidates, override: state.override, previous: plane.decision,
    generationBefore: state.generation,
  };
  const { decision, reviewAt } = decide(question);
  for (const candidate of candidates) plane.health.get(candidate.policy.name)!.awaits = awaited(question, candidate);
  plane.reviewAt = reviewAt;
  if (decision === undefined || decision === plane.decision) return;
  const told = plane.decision;
  plane.decision = decision;
  for (const health of plane.health.values()) health.leads = decision.ranks[0]?.members.some((member) => member.uplink === health.name) ?? false;
  state.generation = Math.max(state.generation, decision.generation);
  state.dirty = true;
  if (told?.generation !== decision.generation) forgetMoved(state, plane, told?.ranks[0], now);
  if (told?.generation !== decision.generation || told.rule !== decision.rule || told.because !== decision.because) tellDecision(decision, plane.family, effects);
}

/** Whoever answers before masquerade stands on his device is taken for one who does not: what leaves untranslated is lost. Who leads goes on. */
function verdictFor(state: State, { decision }: Plane, health: Health): Verdict {
  const verdict = verdictOf(health);
  if (verdict.state !== 'up' && verdict.state !== 'degraded' && verdict.state !== 'unknown') return verdict;
  if (isFiltered(state, health)) return verdict;
  const leads = decision?.ranks[0]?.members.some((member) => member.uplink === health.name) ?? false;
  return { ...verdict, state: leads ? 'unknown' : 'down', because: 'its NAT rules are not installed' };
}

function bindProbes(state: State, effects: Effect[]): void {
  const lines = probeLines(allHealth(state), state.policy.markMask);
  const boundAs = JSON.stringify(lines);
  if (boundAs === state.boundAs) return;
  state.boundAs = boundAs;
  // Before any probe of this turn.
  effects.unshift({ type: 'bind', lines });
}

function wakeAt(state: State, now: Instant): Instant {
  let next: number = Math.min(state.looks.nextReadAt, state.looks.nextLinkAt, state.hostAskAt, state.forgetAt, state.looks.nextCountAt, nextExpiry(state));
  for (const plane of state.planes.values()) {
    next = Math.min(next, plane.reviewAt ?? Infinity);
    for (const health of plane.health.values()) next = Math.min(next, health.nextPassAt);
  }
  if (!state.repair.inSync && state.repair.notBefore > now) next = Math.min(next, state.repair.notBefore);
  return next as Instant;
}

function noteLateness(state: State, lateMs: number, now: Instant): void {
  if (lateMs < state.worstLatenessMs && now - state.worstLatenessAt < 60_000) return;
  state.worstLatenessMs = lateMs;
  state.worstLatenessAt = now;
}
