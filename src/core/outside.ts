/** What others say of an uplink: witnesses with an expiry, one verdict each. */
import type { Effect, Event, Instant } from '../model.js';
import { takeOutside } from './judge.js';
import { news } from './news.js';
import type { State } from './state.js';
import { duration } from './words.js';

/** Of an uplink. Whoever sends another name each time pushes the oldest of them out. */
const WITNESSES_AT_MOST = 16;

export function absorbOutside(state: State, event: Extract<Event, { type: 'verdict' }>, effects: Effect[]): void {
  const { uplink, by, verdict, at: now, token } = event;
  if (!state.policy.uplinks.some((other) => other.name === uplink)) {
    effects.push({ type: 'answer', token, error: `there is no uplink ${uplink}` });
    return;
  }
  const former = state.outside.find((other) => other.uplink === uplink && other.by === by);
  const others = state.outside.filter((other) => other.uplink !== uplink || (by !== '' && other.by !== by));
  const withdrawn = others.length < state.outside.length;
  const same = others.filter((other) => other.uplink === uplink);
  const kept = others.filter((other) => other.uplink !== uplink || same.indexOf(other) > same.length - WITNESSES_AT_MOST);
  state.outside = verdict === undefined ? others : [...kept, verdict];
  // Said again in time, it is no news.
  const renewed = verdict !== undefined && former?.state === verdict.state && former.because === verdict.because;
  if (verdict !== undefined && !renewed) {
    const why = verdict.because === '' ? '' : `: ${verdict.because}`;
    news(effects, 'info', 'uplink', uplink, `${by} says for ${duration(verdict.until - now)} that ${uplink} is ${verdict.state}${why}`, { by, state: verdict.state });
  } else if (verdict === undefined && withdrawn) news(effects, 'info', 'uplink', uplink, `${by === '' ? 'nobody' : `${by} does not`} ${by === '' ? 'says' : 'say'} anything about ${uplink} any more`, { by });
  handOutside(state, now);
  state.waiting.push(token);
}

export function expireOutside(state: State, now: Instant): void {
  if (nextExpiry(state) > now) return;
  state.outside = state.outside.filter((verdict) => verdict.until > now);
  handOutside(state, now);
}

export function nextExpiry(state: State): number {
  return state.outside.reduce((next, { until }) => Math.min(next, until), Infinity);
}

/** To whom it concerns. */
export function handOutside(state: State, now: Instant): void {
  for (const plane of state.planes.values()) {
    for (const [name, health] of plane.health) takeOutside(health, state.outside.filter(({ uplink }) => uplink === name), now);
  }
}
