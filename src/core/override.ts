/** The operator's order: taken, confirmed, ended. What it does to the choice stands in decide.ts. */
import type { Effect, Event, Instant, Override } from '../model.js';
import { news } from './news.js';
import { allHealth, type State } from './state.js';
import { duration } from './words.js';

export function absorbOverride(state: State, event: Extract<Event, { type: 'override' }>, effects: Effect[]): void {
  const wanted = event.override;
  const inFamilies = wanted === undefined ? [] : [...allHealth(state)].filter((health) => health.name === wanted.uplink);
  const health = inFamilies[0];
  if (wanted !== undefined && health === undefined) {
    effects.push({ type: 'answer', token: event.token, error: `there is no uplink ${wanted.uplink}` });
    return;
  }
  if (wanted !== undefined && wanted.ifDead === 'fall-through' && health !== undefined && inFamilies.every((each) => each.state === 'down')) {
    effects.push({
      type: 'answer', token: event.token,
      error: `${wanted.uplink} is down (${health.because}): switching to it would cut you off; --if-dead obey insists`,
    });
    return;
  }
  const former = state.override;
  state.override = wanted;
  state.waiting.push(event.token);
  effects.push({ type: 'save', override: wanted });
  if (wanted !== undefined) {
    const reason = wanted.reason === '' ? '' : `: ${wanted.reason}`;
    const until = wanted.until === undefined ? 'until further notice' : `for ${duration(wanted.until - event.at)}`;
    news(effects, 'info', 'override', wanted.uplink, `${wanted.by} switched to ${wanted.uplink} ${until}${reason}`);
  } else if (former !== undefined) news(effects, 'info', 'override', former.uplink, `${event.by} dropped the override on ${former.uplink}; back to automatic`);
}

export function absorbConfirm(state: State, event: Extract<Event, { type: 'confirm' }>, effects: Effect[]): void {
  if (state.override?.confirmBy === undefined) {
    effects.push({ type: 'answer', token: event.token, error: state.override === undefined ? 'no override is set' : 'the override needs no confirmation' });
    return;
  }
  state.override = { ...state.override, confirmBy: undefined };
  state.waiting.push(event.token);
  effects.push({ type: 'save', override: state.override });
  news(effects, 'info', 'override', state.override.uplink, `${event.by} confirmed the override on ${state.override.uplink}`);
}

/** The same order as before, with its times as they are now; none any more = it is over. */
export function absorbClock(state: State, event: Extract<Event, { type: 'clock' }>): void {
  if (state.override === undefined) return;
  const { since, until, confirmBy } = event.override ?? { ...state.override, until: event.at };
  state.override = { ...state.override, since, until, confirmBy };
  state.dirty = true;
}

export function expireOverride(state: State, now: Instant, effects: Effect[]): void {
  const override = state.override;
  if (override === undefined) return;
  if (!state.policy.uplinks.some((uplink) => uplink.name === override.uplink)) return end(state, override, 'the config has no such uplink any more', effects);
  const expired = override.until !== undefined && override.until <= now;
  const unconfirmed = override.confirmBy !== undefined && override.confirmBy <= now;
  if (!expired && !unconfirmed) return;
  end(state, override, expired ? 'its time is over' : 'it was not confirmed in time', effects);
}

function end(state: State, override: Override, why: string, effects: Effect[]): void {
  state.override = undefined;
  effects.push({ type: 'save', override: undefined });
  news(effects, 'info', 'override', override.uplink, `the override on ${override.uplink} ended: ${why}; back to automatic`);
}
