/** What happened, in words for people: the same words in the log, the journal and the API. */
import type { Decision, Effect, Event, News } from '../model.js';
import type { Health } from './health.js';
import type { State } from './state.js';

export function tellVerdict(health: Health, effects: Effect[]): void {
  const { name, state, because, domain } = health;
  const level = state === 'up' || state === 'unknown' ? 'info' : 'warn';
  news(effects, level, 'uplink', name, `${name} is ${state}: ${because}`, { state, domain });
}

export function tellDecision(decision: Decision, effects: Effect[]): void {
  const order = decision.ranks.map((rank) => rank.members.map((m) => m.uplink).join('+')).join(' > ');
  const level = decision.rule === 'last-resort' ? 'warn' : 'info';
  news(effects, level, 'decision', '', `active: ${order === '' ? 'none' : order}; ${decision.because}`, {
    generation: decision.generation, order, rule: decision.rule,
  });
}

export function tellHost(state: State, event: Extract<Event, { type: 'host' }>, effects: Effect[]): void {
  const known = state.hostReport?.problems ?? [];
  for (const problem of event.report.problems) if (!known.includes(problem)) news(effects, 'warn', 'host', '', problem);
  if (event.report.natInSync && event.report.natBackend !== 'none' && state.hostReport?.natInSync !== true) {
    news(effects, 'info', 'host', '', `masquerade and marks stand (${event.report.natBackend})`);
  }
}

export function tellForgotten(event: Extract<Event, { type: 'forgotten' }>, effects: Effect[]): void {
  const { order, count, error } = event;
  const what = order.which === 'all' ? 'connections' : 'unanswered connections';
  if (error !== '') news(effects, 'error', 'flows', order.uplink, `could not forget the ${what} of ${order.uplink}: ${error}`);
  else news(effects, 'info', 'flows', order.uplink, `forgot ${count} ${what} of ${order.uplink}`, { count });
}

export function news(
  effects: Effect[], level: News['level'], kind: News['kind'], uplink: string, text: string, data: News['data'] = {},
): void {
  effects.push({ type: 'tell', news: { level, kind, uplink, text, data } });
}
