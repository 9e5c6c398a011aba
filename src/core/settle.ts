/**
 * What waits for a proof by read-back: connections to forget, requests to answer. Only a better route that the kernel shows lets
 * connections go, only what the kernel shows answers a request.
 */
import type { Effect, Family, Instant } from '../model.js';
import { forgetLeft, settleForgets } from './forgets.js';
import { news, tellVerdict } from './news.js';
import { activeRoutes, allHealth, type Plane, type State } from './state.js';

/** A verdict that changed state asks for a new wish, and its flows may have to be forgotten. */
export function noteVerdicts(state: State, effects: Effect[]): void {
  for (const health of allHealth(state)) {
    if (!health.changed) continue;
    health.changed = false;
    if (health.state !== health.toldState) {
      state.dirty = true;
      forgetLeft(state, health);
    }
    if (health.state === health.toldState && health.because === health.toldBecause) continue;
    health.toldState = health.state;
    health.toldBecause = health.because;
    tellVerdict(health, effects);
  }
}

export function settle(state: State, now: Instant, effects: Effect[]): void {
  const installed = new Map<Family, boolean>();
  for (const plane of state.planes.values()) installed.set(plane.family, isInstalled(state, plane));
  settleForgets(state, now, installed, effects);
  const all = [...installed.values()].every(Boolean);
  const refusals = state.repair.failures.join('; ');
  const why = refusals === '' ? 'the kernel does not show the routes that it was given' : `the kernel refused: ${refusals}`;
  const error = `your order is noted and tried again, but ${why}`;
  for (const token of state.waiting.splice(0)) effects.push({ type: 'answer', token, error: all ? '' : error });
  // Ready to carry a LAN, that is: its packets would leave untranslated before.
  if (state.ready || state.planes.get(4)?.decision === undefined || state.hostReport === undefined || !all) return;
  state.ready = true;
  news(effects, 'info', 'controller', '', 'ready: the first decision and NAT stand in the kernel');
}

/** An uplink that the kernel takes no route for, ordered all the same, is in force when there is nothing left to change. */
function isInstalled(state: State, plane: Plane): boolean {
  const wanted = plane.decision?.ranks[0];
  if (wanted === undefined || state.repair.inSync) return true;
  const first = activeRoutes(state, plane.family)[0];
  const members = wanted.members.map((member) => plane.health.get(member.uplink)?.line.ifindex);
  return first !== undefined && first.hops.length === members.length && first.hops.every((hop) => members.includes(hop.ifindex));
}
