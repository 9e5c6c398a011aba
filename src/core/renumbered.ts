/**
 * Prefixes that lead nowhere: the config names one and the provider delegates another by now, or the connections that
 * leave under it get nothing. The router's own address is of another network and goes on working, so probes see none of
 * that. What is found here is told in status, log and doctor.
 */
import type { Effect, Instant, UplinkName, UplinkPolicy } from '../model.js';
import type { Health } from './health.js';
import { getsNothing, type Suspicion } from './hollow.js';
import { news } from './news.js';
import { delegatedTo, LEARNT, overlap, translatedTo } from './prefix.js';
import type { State } from './state.js';

export interface PrefixProblem {
  readonly uplink: UplinkName;
  /**
   * `written`: the config names another one than is delegated. `unknown`: it is to be learnt, and none is known.
   * `small`: what is known is smaller than the LAN's. `unanswered`: connections under it get nothing.
   */
  readonly kind: 'written' | 'unknown' | 'small' | 'unanswered';
  /** What the LAN leaves as; '' = the line's own address. */
  readonly prefix: string;
  /** What is delegated now; '' = not known. */
  readonly delegated: string;
  readonly text: string;
}

type Ground = Pick<State, 'policy' | 'planes' | 'delegations'>;

export function prefixProblems(ground: Ground, now: Instant): readonly PrefixProblem[] {
  return [...ground.planes.get(6)?.health.values() ?? []].flatMap((health) => problemOf(health, ground, now) ?? []);
}

/** What is new is told; what is over is not told any more. */
export function tellPrefixes(state: State, now: Instant, effects: Effect[]): void {
  const problems = prefixProblems(state, now);
  for (const { uplink, kind, text } of problems) {
    const isKnown = state.prefixProblems.some((known) => known.text === text);
    if (!isKnown) news(effects, 'warn', 'uplink', uplink, text, { prefix: kind });
  }
  state.prefixProblems = problems;
}

/** Why connections may get nothing by a line whose targets answer; undefined = no prefix of the LAN's leaves by it. */
export function suspectPrefix(health: Health, { delegations }: Pick<State, 'delegations'>): Suspicion | undefined {
  const { policy, family } = health;
  const prefix = family === 6 ? prefixOf(policy, delegations) : '';
  if (prefix === '') return undefined;
  const instead = insteadOf(policy, delegations);
  const text = `; they leave as ${prefix}`;
  if (instead !== '') return { isLikely: true, text: `${text}, and the provider delegates ${instead} now` };
  return { isLikely: false, text: `${text}: does the provider still route that to us?` };
}

function problemOf(health: Health, { delegations }: Ground, now: Instant): PrefixProblem | undefined {
  const { name, policy, line } = health;
  const { kind } = policy.translate[6];
  if (policy.prefix6 === '' || (kind !== 'prefix' && kind !== 'none')) return undefined;
  const [delegated = ''] = delegatedTo(name, delegations);
  const prefix = prefixOf(policy, delegations);
  const problem = (of: PrefixProblem['kind'], text: string): PrefixProblem =>
    ({ uplink: name, kind: of, prefix, delegated, text: `${name} (IPv6): ${text}` });
  if (policy.prefix6 === LEARNT && prefix === '' && line.severed === '') {
    const meanwhile = kind === 'prefix' ? ', so the LAN goes out under the line\'s own address' : '';
    if (delegated === '') return problem('unknown', `no delegated prefix is known${meanwhile}`);
    return problem('small', `the provider delegates ${delegated}, which is smaller than \`lan.prefix6\`${meanwhile}`);
  }
  const instead = insteadOf(policy, delegations);
  if (instead !== '') {
    return problem('written', `the provider delegates ${instead}, and the config names another prefix6, ${prefix}: `
      + 'what the LAN sends under that gets no answers');
  }
  if (getsNothing(health, now)) {
    return problem('unanswered', `targets answer, and the LAN's connections get nothing; they leave as ${prefix}: `
      + 'does the provider still route that to us?');
  }
  return undefined;
}

/** '' = none is known. */
function prefixOf(policy: UplinkPolicy, delegations: State['delegations']): string {
  const { 6: wish } = policy.translate;
  if (wish.kind === 'prefix') return translatedTo(policy, wish.from, delegations);
  if (wish.kind !== 'none') return '';
  return policy.prefix6 === LEARNT ? delegatedTo(policy.name, delegations)[0] ?? '' : policy.prefix6;
}

/** What is delegated while the config names something else; '' = it does not, or nobody knows. */
function insteadOf({ name, prefix6 }: UplinkPolicy, delegations: State['delegations']): string {
  if (prefix6 === '' || prefix6 === LEARNT) return '';
  const delegated = delegatedTo(name, delegations);
  return delegated.some((prefix) => overlap(prefix, prefix6)) ? '' : delegated[0] ?? '';
}
