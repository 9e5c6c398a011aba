/**
 * Decisions told as text: what happened, an arrow, and the whole decision that came of it (`=` when it stays, `wait` while there is none).
 * Who is fit for policies is not told.
 *
 *   0      fibre up             -> fibre [automatic] fibre is up and preferred (priority 1)
 *   5.0    fibre severed        -> cable [automatic] fibre is down: no carrier; cable is next (priority 2)
 *
 * Words: up, suspect, down, degraded, unknown, severed, doubt, sure, rests N (up, but new flows stay away for N s), suppressed N (comes last for N s, in
 * whatever state), died N (so many deaths lately);
 * `order NAME [obey] [for N] [confirm N]`, `auto`, `-` (time passes). Several are separated by commas.
 */
import assert from 'node:assert/strict';
import { isDeepStrictEqual } from 'node:util';
import { decide, type Candidate } from '../../src/core/decide.js';
import type { Decision, Override, Policy, Verdict } from '../../src/model.js';
import { at } from './fixture.js';

interface Told {
  verdict: Verdict;
  risenAt: number;
  penalty: number;
}

export function story(policy: Policy, text: string, previous?: Decision): void {
  const lines = text.split('\n').map((line) => line.trim()).filter((line) => line !== '');
  const uplinks = new Map(policy.uplinks.map((uplink) => [uplink.name, newcomer(uplink.name)]));
  let decision = previous;
  let override: Override | undefined;
  const told = lines.map((line) => {
    const [what = ''] = line.split(' -> ');
    const [when = '0', ...words] = what.trim().split(/\s+/);
    const now = Number(when) * 1000;
    for (const clause of words.join(' ').split(', ')) {
      const uplink = uplinks.get(clause.split(' ')[0]!);
      if (uplink !== undefined) Object.assign(uplink, changed(uplink, clause.split(' ').slice(1), now));
      else if (clause === 'auto') override = undefined;
      else if (clause.startsWith('order ')) override = ordered(clause.split(' ').slice(1), now);
      else assert.equal(clause, '-', `not understood: ${clause}`);
    }
    const candidates: readonly Candidate[] = policy.uplinks.map((one) => {
      const { verdict, risenAt, penalty } = uplinks.get(one.name)!;
      return { policy: one, verdict, risenAt: at(risenAt), penalty, answeredAt: at(Infinity), lacks: 'nothing' };
    });
    const answer = decide({ now: at(now), startedAt: at(0), policy, candidates, override, previous: decision });
    const same = answer.decision === decision || isDeepStrictEqual({ ...answer.decision, fit: [] }, { ...decision, fit: [] });
    decision = answer.decision;
    return `${what.trimEnd()} -> ${same ? (decision === undefined ? 'wait' : '=') : shown(decision!)}`;
  });
  assert.equal(squeezed(told), squeezed(lines));
}

function newcomer(name: string): Told {
  const verdict: Verdict = { uplink: name, state: 'unknown', since: at(0), because: 'not judged yet', domain: 'none', evidence: [], severed: false, inDoubt: false, holdUntil: undefined };
  return { verdict, risenAt: 0, penalty: 0 };
}

function changed(told: Told, [word = '', number = '0']: readonly string[], now: number): Partial<Told> {
  const { verdict } = told;
  const next = (changes: Partial<Verdict>): Verdict => ({ ...verdict, inDoubt: false, severed: false, holdUntil: undefined, since: at(now), ...changes });
  const rises = verdict.state === 'suspect' ? {} : { risenAt: now };
  switch (word) {
    case 'up': return { verdict: next({ state: 'up', because: 'it answered' }), ...rises };
    case 'rests': return { verdict: next({ state: 'up', because: 'it answers again', holdUntil: at(now + Number(number) * 1000) }), ...rises };
    case 'suspect': return { verdict: next({ state: 'suspect', because: 'silence' }) };
    case 'down': return { verdict: next({ state: 'down', because: 'long silence' }) };
    case 'unknown': return { verdict: next({ state: 'unknown', because: 'asking anew' }) };
    case 'severed': return { verdict: next({ state: 'down', because: 'no carrier', severed: true }) };
    case 'doubt': return { verdict: { ...verdict, inDoubt: true } };
    case 'sure': return { verdict: { ...verdict, inDoubt: false } };
    case 'degraded': return { verdict: next({ state: 'degraded', because: 'loss' }) };
    case 'suppressed': return { verdict: { ...verdict, holdUntil: at(now + Number(number) * 1000) } };
    case 'died': return { penalty: Number(number) };
    default: throw new Error(`not understood: ${word}`);
  }
}

function ordered([uplink = '', ...rest]: readonly string[], now: number): Override {
  const seconds = (word: string): ReturnType<typeof at> | undefined => (rest.includes(word) ? at(now + Number(rest[rest.indexOf(word) + 1]) * 1000) : undefined);
  return {
    uplink, until: seconds('for'), confirmBy: seconds('confirm'), reason: '', by: 'noc', since: at(now), ifDead: rest.includes('obey') ? 'obey' : 'fall-through',
  };
}

function shown(decision: Decision): string {
  const ranks = decision.ranks.map((rank) => rank.members.map((m) => (m.weight === 1 ? m.uplink : `${m.uplink}*${m.weight}`)).join('+'));
  return `${ranks.length === 0 ? 'none' : ranks.join(' > ')} [${decision.rule}] ${decision.because}`;
}

function squeezed(lines: readonly string[]): string {
  return lines.map((line) => line.replace(/\s+/g, ' ')).join('\n');
}
