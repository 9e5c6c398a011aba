/**
 * Which uplinks carry new flows, in order, and why.
 *
 * Fit = up and rested; who leads already needs no rest. Where nobody is fit, who works badly (degraded) is. The fit are ordered by priority;
 * equal priorities form one rank and share the load. The leading rank changes only for a reason:
 *   - it is unfit and somebody else is surely better (an uplink in doubt is not: wait for its burst);
 *   - a more preferred uplink has held for its time (longer with each recent death);
 *   - the operator said so. The override is an input here, not a hand that reaches in.
 * With nothing better left the last choice stays: all uplinks silent at once is evidence about us or the targets.
 */
import type { Decision, Instant, Override, Policy, Proof, Rank, UplinkPolicy, Verdict } from '../model.js';
import { holdMs } from './damping.js';

/** A fresh start waits so long for the first answer of the more preferred uplinks. */
const SETTLE_MS = 2000;
/** One round of questions to suspects, and a little; for one that is down a round at its own pace, within bounds. */
const REGROUP_MS = 300;
const REGROUP_ROUND_AT_MOST_MS = 2000;

export interface Candidate {
  readonly policy: UplinkPolicy;
  readonly verdict: Verdict;
  /** Recent deaths and degradations, decayed. */
  readonly penalty: number;
  /** When it last came up from the dead, or recovered; a suspicion since then does not count. */
  readonly risenAt: Instant;
  /** When it last answered; Infinity where nothing is asked. */
  readonly answeredAt: Instant;
  /** What it needs before it takes the lead back, its time apart: to lose hardly anything, and to reach no less than who leads. */
  readonly lacks: Exclude<Proof, 'answer'>;
}

export interface Question {
  readonly now: Instant;
  readonly startedAt: Instant;
  readonly policy: Policy;
  readonly candidates: readonly Candidate[];
  readonly override: Override | undefined;
  readonly previous: Decision | undefined;
  /** Generations count on from here, those of other families included; default 0. */
  readonly generationBefore?: number;
}

/** The decision, and when time alone may change it. `decision` is undefined only while a fresh start settles. */
export interface Answer {
  readonly decision: Decision | undefined;
  readonly reviewAt: Instant | undefined;
}

export function decide(question: Question): Answer {
  const { previous, override, now } = question;
  const automatic = choose(question) ?? previous;
  const choice = override === undefined ? automatic : obey(question, override, automatic);
  if (choice === undefined) return { decision: previous, reviewAt: reviewAt(question) };
  const fit = fitness(question, choice.ranks[0]);
  const same = previous !== undefined && sameRank(previous.ranks[0], choice.ranks[0]);
  const sameRule = same && previous.rule === choice.rule && previous.order === (override?.uplink ?? '');
  // Why somebody leads is what made him lead; an order is explained by how it fares.
  const because = sameRule && choice.rule !== 'override' ? previous.because : choice.because;
  if (sameRule && because === previous.because && sameRanks(previous.ranks, choice.ranks) && sameFit(previous.fit, fit)) return { decision: previous, reviewAt: reviewAt(question) };
  const decision: Decision = {
    ranks: choice.ranks,
    generation: same ? previous.generation : Math.max(previous?.generation ?? 0, question.generationBefore ?? 0) + 1,
    since: same ? previous.since : now,
    because,
    rule: choice.rule,
    fit,
    order: override?.uplink ?? '',
  };
  return { decision, reviewAt: reviewAt(question) };
}

type Choice = Pick<Decision, 'ranks' | 'because' | 'rule'>;

/** The automatic choice; undefined = wait, change nothing yet. */
function choose(question: Question): Choice | undefined {
  const { candidates, previous, now, startedAt } = question;
  const led = leaders(question);
  const fit = fitAmong(candidates, led, now);
  const leading = led.filter((c) => fit.includes(c) || hasBenefitOfDoubt(c));
  const lost = led.filter((c) => !leading.includes(c));
  const sure = fit.filter((c) => !c.verdict.inDoubt);

  if (previous === undefined && now - startedAt < SETTLE_MS) {
    const best = Math.min(...fit.map((c) => c.policy.priority));
    if (fit.length === 0 || candidates.some((c) => c.verdict.state === 'unknown' && c.policy.priority <= best)) return undefined;
  }
  if (leading.length === 0 && now < regroupedAt(question, led)) return undefined;
  if (fit.length === 0) return leading.length > 0 ? undefined : nothingFit(question, led);
  // Silence is not certain, a cut cable is: leave a silent leader only for somebody who surely lives.
  if (sure.length === 0 && lost.some((c) => !c.verdict.severed)) return undefined;
  if (leading.length === 0) {
    const ranks = withPoor(inOrder(question, sure.length > 0 ? sure : fit, fit, []), candidates);
    return { ranks, because: lostBecause(question, lost, ranks), rule: 'automatic' };
  }
  const ranks = withPoor(inOrder(question, fit, fit, leading), candidates);
  return { ranks, because: wonBecause(question, lost, ranks), rule: 'automatic' };
}

/** Nothing is fit: take what only rests, else keep the last choice, else try anything that is not severed. */
function nothingFit(question: Question, led: readonly Candidate[]): Choice | undefined {
  const { candidates, previous } = question;
  const resting = candidates.filter((c) => c.verdict.state === 'up');
  const kept = led.filter((c) => !c.verdict.severed);
  if (resting.length > 0) {
    const sure = resting.filter((c) => !c.verdict.inDoubt);
    if (sure.length === 0 && kept.length > 0) return undefined;
    const ranks = inOrder(question, sure.length > 0 ? sure : resting, resting, []);
    return { ranks, because: `${namesIn(ranks[0], 'answers', 'answer')}, if not steadily; nothing better is left`, rule: 'automatic' };
  }
  const silent = candidates.filter((c) => !c.verdict.severed);
  if (previous !== undefined && kept.length > 0) {
    const others = previous.ranks.slice(1).filter((rank) => rank.members.every((m) => silent.some((c) => c.policy.name === m.uplink)));
    const condemned = silent.filter((c) => c.verdict.domain === 'outside');
    const all = condemned.length > 0 ? reasons(condemned) : silent.length > 1 ? 'all uplinks are silent, which may be us or the targets' : `${names(kept)} is silent`;
    return { ranks: [rankOf(kept), ...others], because: `${all}; ${names(kept)} ${kept.length === 1 ? 'stays' : 'stay'}, because nothing better is left`, rule: 'last-resort' };
  }
  if (silent.length > 0) {
    const ranks = inOrder(question, silent, silent, []);
    return { ranks, because: `no uplink answers; trying ${namesIn(ranks[0])}, the most preferred that is not cut off`, rule: 'last-resort' };
  }
  return { ranks: [], because: `every uplink is cut off: ${reasons(candidates)}`, rule: 'last-resort' };
}

/** For policies, which have orders of their own: whoever is fit, or whoever is not cut off while nobody is. */
function fitness(question: Question, leading: Rank | undefined): Decision['fit'] {
  const { candidates, now } = question;
  const led = candidates.filter((c) => leading?.members.some((member) => member.uplink === c.policy.name) === true);
  const fit = fitAmong(candidates, led, now);
  if (fit.length === 0) return candidates.filter((c) => !c.verdict.severed).map((c) => ({ uplink: c.policy.name, trust: 'proven' }));
  const usable = candidates.filter((c) => c.verdict.state === 'up' || c.verdict.state === 'degraded' || (c.verdict.state === 'unknown' && !c.verdict.severed));
  return usable.map((c) => {
    if (c.verdict.state === 'degraded' && !fit.includes(c)) return { uplink: c.policy.name, trust: 'unproven' };
    const isProven = led.includes(c) || now >= heldAt(question, c);
    return { uplink: c.policy.name, trust: !fit.includes(c) ? 'resting' : isProven ? 'proven' : 'unproven' };
  });
}

function sameFit(a: Decision['fit'], b: Decision['fit']): boolean {
  return a.length === b.length && a.every((one, i) => one.uplink === b[i]!.uplink && one.trust === b[i]!.trust);
}

/** The operator's choice before the automatic ones, under the rule he stated for its death. */
function obey(question: Question, override: Override, automatic: Choice | undefined): Choice | undefined {
  const chosen = question.candidates.find((c) => c.policy.name === override.uplink);
  const who = `${override.by} switched to ${override.uplink}${override.reason === '' ? '' : ` (${override.reason})`}`;
  if (chosen === undefined) return automatic;
  if (chosen.verdict.state !== 'down' && chosen.verdict.state !== 'suspect') {
    const rest = (automatic?.ranks ?? []).map((rank) => without(rank, override.uplink)).filter((rank) => rank.members.length > 0);
    return { ranks: [rankOf([chosen]), ...rest], because: who, rule: 'override' };
  }
  if (override.ifDead === 'obey') {
    return { ranks: [rankOf([chosen])], because: `${who}; it is ${chosen.verdict.state}, but the order is to obey`, rule: 'override' };
  }
  if (automatic === undefined || automatic === question.previous) return automatic;
  return { ...automatic, because: `${who}, but it is ${chosen.verdict.state}; ${automatic.because}` };
}

/**
 * Ranks by priority. Those who have not held their time stand behind the present leaders; those in doubt behind the sure
 * ones when the leaders are lost.
 */
function inOrder(question: Question, first: readonly Candidate[], all: readonly Candidate[], leading: readonly Candidate[]): readonly Rank[] {
  const leadPriority = leading.length === 0 ? -Infinity : Math.min(...leading.map((c) => c.policy.priority));
  const key = (c: Candidate): number => {
    if (leading.includes(c)) return c.policy.priority;
    if (!first.includes(c)) return 1e6 + c.policy.priority;
    const mayLead = leading.length === 0 || c.policy.priority > leadPriority || (c.verdict.state !== 'degraded' && hasHeld(question, c) && !c.verdict.inDoubt);
    return mayLead ? c.policy.priority : leadPriority + 0.5 + c.policy.priority / 1e4;
  };
  const byKey = new Map<number, Candidate[]>();
  for (const c of new Set([...leading, ...all])) byKey.set(key(c), [...(byKey.get(key(c)) ?? []), c]);
  return [...byKey.keys()].sort((a, b) => a - b).map((k) => rankOf(byKey.get(k)!));
}

/** Behind an operator's choice the others stand by priority alone. */
function hasHeld(question: Question, c: Candidate): boolean {
  const { override, previous, policy, now } = question;
  if (override !== undefined && previous?.rule === 'override') return true;
  // Ending an override is the operator's word to go back: `manual` failback does not hold against it.
  const automatic = policy.failback.mode === 'automatic' || previous?.rule === 'override';
  return automatic && now >= heldAt(question, c) && isProven(question, c);
}

/** Its time is over: what is it to show before it leads? One answer more, at least: it may have gone silent a moment ago. */
export function awaited(question: Question, c: Candidate): Proof {
  if (c.verdict.state !== 'up' || question.now < heldAt(question, c) || isProven(question, c)) return 'nothing';
  return c.lacks === 'nothing' ? 'answer' : c.lacks;
}

function isProven(question: Question, c: Candidate): boolean {
  return c.lacks === 'nothing' && c.answeredAt >= heldAt(question, c);
}

/** After silence everywhere the first answer does not win by a hair: the last choice gets this long to answer too. */
function regroupedAt(question: Question, led: readonly Candidate[]): Instant {
  const answers = question.candidates.filter((c) => c.verdict.state === 'up').map((c) => c.verdict.since);
  const silent = led.filter((c) => !c.verdict.severed);
  if (question.previous?.rule !== 'last-resort' || silent.length === 0 || answers.length === 0) return -Infinity as Instant;
  const rounds = silent.map((c) => (c.verdict.state === 'down' ? Math.min(REGROUP_ROUND_AT_MOST_MS, c.policy.probe.intervalMs) : 0));
  return (Math.min(...answers) + REGROUP_MS + Math.max(...rounds)) as Instant;
}

/** After a mere suspicion its rest is enough; after a death the hold counts from the first moment up, whatever was suspected since. */
function heldAt(question: Question, c: Candidate): Instant {
  return Math.max(c.risenAt + holdMs(question.policy, c.penalty), c.verdict.holdUntil ?? -Infinity) as Instant;
}

function reviewAt(question: Question): Instant | undefined {
  const { now, candidates, override, previous, startedAt } = question;
  const times: number[] = [];
  for (const c of candidates) {
    if (c.verdict.holdUntil !== undefined) times.push(c.verdict.holdUntil);
    if (c.verdict.state === 'up') times.push(heldAt(question, c));
  }
  if (override?.until !== undefined) times.push(override.until);
  if (override?.confirmBy !== undefined) times.push(override.confirmBy);
  if (previous === undefined) times.push(startedAt + SETTLE_MS);
  times.push(regroupedAt(question, leaders(question)));
  const next = Math.min(...times.filter((time) => time > now));
  return next === Infinity ? undefined : (next as Instant);
}

function leaders(question: Question): readonly Candidate[] {
  const members = question.previous?.ranks[0]?.members ?? [];
  return question.candidates.filter((c) => members.some((m) => m.uplink === c.policy.name));
}

function isFit(c: Candidate, led: readonly Candidate[], now: Instant): boolean {
  return c.verdict.state === 'up' && (led.includes(c) || c.verdict.holdUntil === undefined || c.verdict.holdUntil <= now);
}

/** Who works badly is fit only where nobody is. */
function fitAmong(candidates: readonly Candidate[], led: readonly Candidate[], now: Instant): readonly Candidate[] {
  const fit = candidates.filter((c) => isFit(c, led, now));
  return fit.length > 0 ? fit : candidates.filter((c) => c.verdict.state === 'degraded');
}

/** Behind all others, those that work badly. */
function withPoor(ranks: readonly Rank[], candidates: readonly Candidate[]): readonly Rank[] {
  const poor = candidates.filter((c) => c.verdict.state === 'degraded' && !ranks.some((rank) => rank.members.some((member) => member.uplink === c.policy.name)));
  return [...ranks, ...poor.toSorted((a, b) => a.policy.priority - b.policy.priority).map((c) => rankOf([c]))];
}

/** A leader that is being asked for the first time (a restart, a new address) keeps its place for the moment. */
function hasBenefitOfDoubt(c: Candidate): boolean {
  return c.verdict.state === 'unknown';
}

function lostBecause(question: Question, lost: readonly Candidate[], ranks: readonly Rank[]): string {
  const poor = question.candidates.some((c) => c.verdict.state === 'degraded' && ranks[0]?.members.some((member) => member.uplink === c.policy.name) === true);
  const standing = poor ? 'the best that is left' : lost.length === 0 ? 'up and preferred' : 'next';
  const next = `${namesIn(ranks[0], 'is', 'are')} ${standing}${priorityIn(question, ranks[0])}`;
  return lost.length === 0 ? next : `${reasons(lost)}; ${next}`;
}

function wonBecause(question: Question, lost: readonly Candidate[], ranks: readonly Rank[]): string {
  if (lost.length > 0) return `${reasons(lost)}; ${namesIn(ranks[0], 'carries', 'carry')} on`;
  if (sameRank(ranks[0], question.previous?.ranks[0])) return `${namesIn(ranks[0], 'is', 'are')} up${priorityIn(question, ranks[0])}`;
  return `${namesIn(ranks[0], 'is', 'are')} preferred${priorityIn(question, ranks[0])} and ${ranks[0]?.members.length === 1 ? 'has proved itself' : 'have proved themselves'}`;
}

function reasons(candidates: readonly Candidate[]): string {
  return candidates.map((c) => `${c.policy.name} is ${c.verdict.state}: ${c.verdict.because}`).join('; ');
}

function priorityIn(question: Question, rank: Rank | undefined): string {
  const member = question.candidates.find((c) => c.policy.name === rank?.members[0]?.uplink);
  return member === undefined ? '' : ` (priority ${member.policy.priority})`;
}

function names(candidates: readonly Candidate[]): string {
  return candidates.map((c) => c.policy.name).join(', ');
}

/** With the verb that fits their number, if one is given. */
function namesIn(rank: Rank | undefined, one = '', many = ''): string {
  if (rank === undefined) return 'none';
  return `${rank.members.map((m) => m.uplink).join(', ')} ${rank.members.length === 1 ? one : many}`.trimEnd();
}

function rankOf(candidates: readonly Candidate[]): Rank {
  return { members: candidates.map((c) => ({ uplink: c.policy.name, weight: c.policy.weight })) };
}

function without(rank: Rank, uplink: string): Rank {
  return { members: rank.members.filter((m) => m.uplink !== uplink) };
}

function sameRanks(a: readonly Rank[], b: readonly Rank[]): boolean {
  return a.length === b.length && a.every((rank, i) => sameRank(rank, b[i]));
}

function sameRank(a: Rank | undefined, b: Rank | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  return a.members.length === b.members.length
    && a.members.every((m) => b.members.some((n) => n.uplink === m.uplink && n.weight === m.weight));
}
