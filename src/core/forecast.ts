/**
 * What would be done: the very same step, on a copy of the state. Nothing of it leaves the core.
 *
 * The kernel is taken to carry out the plan at once, so that what waits for its proof (connections to forget) shows too.
 */
import type { Change, Effect, Event, ForgetOrder, HostWish, Instant, Policy, UplinkName } from '../model.js';
import type { Decision, Family } from '../model.js';
import { desire } from './desire.js';
import { desireHost } from './desire-host.js';
import { OUR_PROTOCOL } from './layout.js';
import { nearOf } from './near.js';
import { step } from './step.js';
import { allHealth, type State } from './state.js';

export interface Forecast {
  readonly decisions: readonly { readonly family: Family; readonly decision: Decision }[];
  readonly changes: readonly Change[];
  readonly forgets: readonly ForgetOrder[];
  readonly host: HostWish;
}

/** This uplink's cable is cut now. */
export function whatIf(state: State, uplink: UplinkName, now: Instant): Forecast {
  const ifindexes = [...state.planes.values()].map((plane) => plane.health.get(uplink)?.line.ifindex);
  const links = (state.facts?.links ?? []).filter((link) => ifindexes.includes(link.index)).map((link) => ({ ...link, carrier: false }));
  return forecast(state, { type: 'links', at: now, told: true, links, gone: [] });
}

/** This config is in force now. New uplinks are yet to be asked, so that they carry nothing at first. */
export function whatPolicy(state: State, policy: Policy, now: Instant): Forecast {
  return forecast(state, { type: 'policy', at: now, policy, token: 0 });
}

/** Steps until nothing more follows; some steps at most, because a forecast is not worth an endless loop. */
const STEPS_AT_MOST = 8;

function forecast(state: State, first: Event): Forecast {
  const copy = structuredClone(state);
  copy.repair.inFlight = false;
  copy.repair.notBefore = first.at;
  const changes: Change[] = [];
  const forgets: ForgetOrder[] = [];
  let next: Event | undefined = first;
  for (let steps = 0; next !== undefined && steps < STEPS_AT_MOST; steps++) {
    const { effects } = step(copy, next);
    next = undefined;
    for (const effect of effects) next = follow(copy, effect, first.at, changes, forgets) ?? next;
    if (copy.lingering.length === 0) continue;
    // What lingers for a moment is gone in the end.
    copy.lingering = [];
    copy.dirty = true;
    next ??= { type: 'applied', at: first.at, failures: [], facts: {} };
  }
  const decisions = [...copy.planes.values()].flatMap(({ family, decision }) => (decision === undefined ? [] : [{ family, decision }]));
  return { decisions, changes, forgets, host: desireHost(copy.policy, copy.planes, { ...copy, near: nearOf(copy.policy, allHealth(copy), copy.facts) }) };
}

function follow(copy: State, effect: Effect, at: Instant, changes: Change[], forgets: ForgetOrder[]): Event | undefined {
  if (effect.type === 'forget') forgets.push(effect.order);
  if (effect.type !== 'apply' || copy.facts === undefined) return undefined;
  changes.push(...effect.plan.changes);
  const { routes, standIns, rules, deprecated } = desire({ ...copy, facts: copy.facts });
  const addresses = copy.facts.addresses.map((address) => {
    const isDeprecated = deprecated.some((other) => other.address === address.address && other.ifindex === address.ifindex);
    if (isDeprecated) return { ...address, deprecated: true, protocol: OUR_PROTOCOL };
    return address.protocol === OUR_PROTOCOL ? { ...address, deprecated: false } : address;
  });
  return { type: 'applied', at, failures: [], facts: { routes: [...routes, ...standIns], rules, addresses } };
}
