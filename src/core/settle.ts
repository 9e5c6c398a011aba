/**
 * What waits for a proof by read-back: connections to forget, requests to answer. Only a better route that the kernel shows lets
 * connections go, only what the kernel shows answers a request.
 */
import type { Effect, Rank } from '../model.js';
import { markOf } from './layout.js';
import { news, tellVerdict } from './news.js';
import { activeRoutes, type State } from './state.js';

/** A verdict that changed state asks for a new wish, and its flows may have to be forgotten. */
export function noteVerdicts(state: State, effects: Effect[]): void {
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

export function settle(state: State, effects: Effect[]): void {
  const wanted = state.decision?.ranks[0];
  // An uplink that the kernel takes no route for, ordered all the same, is in force when there is nothing left to change.
  const installed = wanted === undefined || state.repair.inSync || leads(state, wanted);
  const better = installed && (wanted?.members.some((m) => state.health.get(m.uplink)?.state === 'up') ?? false);
  for (const [uplink, order] of state.forgets) {
    const verdict = state.health.get(uplink)?.state;
    if (verdict !== 'suspect' && verdict !== 'down') state.forgets.delete(uplink);
    else if (better && hasLeft(state, uplink)) {
      state.forgets.delete(uplink);
      effects.push({ type: 'forget', order });
    }
  }
  const refusals = state.repair.failures.join('; ');
  const why = refusals === '' ? 'the kernel does not show the routes that it was given' : `the kernel refused: ${refusals}`;
  const error = `your order is noted and tried again, but ${why}`;
  for (const token of state.waiting.splice(0)) effects.push({ type: 'answer', token, error: installed ? '' : error });
  // Ready to carry a LAN, that is: its packets would leave untranslated before.
  if (state.ready || state.decision === undefined || state.hostReport === undefined || !installed) return;
  state.ready = true;
  news(effects, 'info', 'controller', '', 'ready: the first decision and NAT stand in the kernel');
}

/** Does the kernel's first ACTIVE route lead through exactly these uplinks? */
function leads(state: State, rank: Rank): boolean {
  const first = activeRoutes(state)[0];
  if (first === undefined) return false;
  const names = first.hops.map((hop) => state.facts?.links.find((link) => link.index === hop.ifindex)?.name);
  const wanted = rank.members.map((m) => interfaceOf(state, m.uplink));
  return names.length === wanted.length && names.every((name) => wanted.includes(name));
}

/** Is it gone from the decision, and from the table that steers as the kernel has it? */
function hasLeft(state: State, uplink: string): boolean {
  if (state.decision?.ranks.some((rank) => rank.members.some((m) => m.uplink === uplink)) ?? true) return false;
  const ifindex = state.facts?.links.find((link) => link.name === interfaceOf(state, uplink))?.index;
  return !activeRoutes(state).some((route) => route.hops.some((hop) => hop.ifindex === ifindex));
}

function interfaceOf(state: State, uplink: string): string | undefined {
  return state.policy.uplinks.find((u) => u.name === uplink)?.interface;
}
