/**
 * The wish held against the kernel, and how often to insist.
 *
 * A plan for a wish that was installed before is a repair: somebody else changed what is ours. Plans for the same wish,
 * again and again, are damped, so that a quarrel with another program, or a change that the kernel refuses, costs little.
 * A new wish is never damped: a failover does not wait for a quarrel.
 */
import type { ChangeFailure, Effect, Instant, Verdict } from '../model.js';
import { desire } from './desire.js';
import { plan, showChange } from './plan.js';
import type { State } from './state.js';

const FREE_TRIES = 4;
/** At most as long as the kernel is left unread: a router without a default is worse than a quarrel. */
const BACKOFF_MS = { first: 1000, most: 5000 };
/** Quiet for so long ends a quarrel. */
const QUARREL_OVER_MS = 60_000;

/** @returns true when a plan was ordered and its outcome is still to come. */
export function reconcile(state: State, verdicts: ReadonlyMap<string, Verdict>, now: Instant, effects: Effect[]): boolean {
  const { repair } = state;
  const facts = state.facts!;
  // One plan at a time: until its outcome is read back, what is known of the kernel is from before it.
  if (repair.inFlight) return true;
  if (!state.dirty && (repair.inSync || now < repair.notBefore)) return false;
  state.dirty = false;
  const wish = desire(state.policy, facts, state.learnt, verdicts, state.decision);
  const { changes } = plan(wish, facts);
  repair.inSync = changes.length === 0;
  const wishAs = JSON.stringify(wish);
  if (changes.length === 0) {
    repair.installedAs = wishAs;
    repair.failures = [];
    return false;
  }
  if (repair.triedAs !== wishAs || now - repair.notBefore > QUARREL_OVER_MS) {
    repair.triedAs = wishAs;
    repair.tries = 0;
    repair.notBefore = now;
  }
  if (now < repair.notBefore) return false;
  repair.tries++;
  const backoffMs = repair.tries <= FREE_TRIES ? 0 : Math.min(BACKOFF_MS.most, BACKOFF_MS.first * 2 ** (repair.tries - FREE_TRIES - 1));
  repair.notBefore = (now + backoffMs) as Instant;
  repair.applied += changes.length;
  if (repair.installedAs === wishAs) {
    repair.repairs++;
    const shown = changes.map((change) => showChange(change, facts.links)).join('; ');
    tell(effects, 'warn', `putting back what somebody else changed: ${shown}`, changes.length);
  }
  repair.inFlight = true;
  effects.push({ type: 'apply', plan: { changes } });
  return true;
}

/** A plan was carried out. Deleting what is gone already is no failure. */
export function noteOutcome(state: State, failures: readonly ChangeFailure[], effects: Effect[]): void {
  state.repair.inFlight = false;
  const real = failures.filter((failure) => !(failure.change.op === 'delete' && /^(ESRCH|ENOENT|ENODEV)\b/.test(failure.error)));
  const texts = real.map((failure) => `${showChange(failure.change, state.facts?.links ?? [])}: ${failure.error}`);
  for (const text of texts) if (!state.repair.failures.includes(text)) tell(effects, 'error', `the kernel refused: ${text}`, 1);
  state.repair.failures = texts;
}

function tell(effects: Effect[], level: 'warn' | 'error', text: string, changes: number): void {
  effects.push({ type: 'tell', news: { level, kind: 'kernel', uplink: '', text, data: { changes } } });
}
