/**
 * The wish held against the kernel, and how often to insist.
 *
 * A plan for a wish that was installed before is a repair: somebody else changed what is ours. It is told once in a quarrel, and
 * counted. Plans for the same wish, again and again, are damped, so that a quarrel with another program, or a change that the
 * kernel refuses, costs little. A new wish is never damped: a failover does not wait for a quarrel.
 */
import type { Change, ChangeFailure, Effect, Instant } from '../model.js';
import { desire } from './desire.js';
import { QUARREL_OVER_MS } from './news.js';
import { plan, showChange } from './plan.js';
import { refusalsIn, type Refusal } from './stand-in.js';
import type { State } from './state.js';

const FREE_TRIES = 4;
/** At most as long as the kernel is left unread: a router without a default is worse than a quarrel. */
const BACKOFF_MS = { first: 1000, most: 5000 };
/** Of what was put back, in one line of the log. */
const SHOWN_AT_MOST = 20;

/** @returns true when a plan was ordered and its outcome is still to come. */
export function reconcile(state: State, now: Instant, effects: Effect[]): boolean {
  const { repair } = state;
  const facts = state.facts!;
  // One plan at a time: until its outcome is read back, what is known of the kernel is from before it.
  if (repair.inFlight) return true;
  if (!state.dirty && (repair.inSync || now < repair.notBefore)) return false;
  state.dirty = false;
  const wish = desire({ ...state, facts });
  const { changes } = plan(wish, facts);
  noteRefusals(state, refusalsIn(facts, wish.routes), effects);
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
  if (repair.installedAs === wishAs) noteRepair(state, changes, now, effects);
  repair.inFlight = true;
  effects.push({ type: 'apply', plan: { changes } });
  return true;
}

function noteRefusals(state: State, refusals: readonly Refusal[], effects: Effect[]): void {
  for (const { text, isPassed } of refusals) {
    if (!state.repair.refusals.some((known) => known.text === text)) tell(effects, isPassed ? 'warn' : 'error', text, 0);
  }
  state.repair.refusals = refusals;
}

function noteRepair(state: State, changes: readonly Change[], now: Instant, effects: Effect[]): void {
  const { repair } = state;
  const shown = changes.slice(0, SHOWN_AT_MOST).map((change) => showChange(change, state.facts!.links)).join('; ');
  const news = repair.repairedAs !== shown || now - repair.repairedAt > QUARREL_OVER_MS;
  repair.repairs++;
  repair.repairedAs = shown;
  repair.repairedAt = now;
  if (!news) return;
  const more = changes.length > SHOWN_AT_MOST ? ` and ${changes.length - SHOWN_AT_MOST} more` : '';
  const what = changes.some((change) => 'route' in change) ? 'routes' : 'rules';
  tell(effects, 'warn', `putting back what somebody else changed: ${shown}${more}`, changes.length, what);
}

/** A plan was carried out. Deleting what is gone already is no failure. */
export function noteOutcome(state: State, failures: readonly ChangeFailure[], effects: Effect[]): void {
  state.repair.inFlight = false;
  const real = failures.filter((failure) => !(failure.change.op === 'delete' && /^(ESRCH|ENOENT|ENODEV)\b/.test(failure.error)));
  const texts = real.map((failure) => `${showChange(failure.change, state.facts?.links ?? [])}: ${failure.error}`);
  for (const text of texts) if (!state.repair.failures.includes(text)) tell(effects, 'error', `the kernel refused: ${text}`, 1);
  state.repair.failures = texts;
}

/** @param repaired what was put back; whoever tells it may find out who it was */
function tell(effects: Effect[], level: 'warn' | 'error', text: string, changes: number, repaired: 'routes' | 'rules' | '' = ''): void {
  effects.push({ type: 'tell', news: { level, kind: 'kernel', uplink: '', text, data: repaired === '' ? { changes } : { changes, repaired } } });
}
