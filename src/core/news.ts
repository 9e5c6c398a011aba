/** What happened, in words for people: the same words in the log, the journal and the API. */
import type { Decision, Effect, Event, Family, ForgetOrder, Instant, News } from '../model.js';
import type { Health } from './health.js';
import { tunnelOf } from './outer.js';
import type { State } from './state.js';

/** Quiet for so long ends a quarrel. */
export const QUARREL_OVER_MS = 60_000;

export function tellVerdict(health: Health, effects: Effect[]): void {
  const { name, state, because, domain, family } = health;
  const level = state === 'up' || state === 'unknown' ? 'info' : 'warn';
  news(effects, level, 'uplink', name, `${name}${inWords(family)} is ${state}: ${because}`, { state, domain, family });
}

/** Each uplink that is a tunnel, once, and again when its far end moves. */
export function tellTunnels(state: State, effects: Effect[]): void {
  const { facts, policy: { uplinks }, toldTunnels } = state;
  if (facts === undefined) return;
  for (const uplink of uplinks) {
    const remotes = tunnelOf(uplink, facts)?.remotes.join(', ');
    // A device that is away for a moment comes back as what it was.
    if (remotes === undefined || toldTunnels.get(uplink.name) === remotes) continue;
    toldTunnels.set(uplink.name, remotes);
    news(effects, 'info', 'uplink', uplink.name, remotes === ''
      ? `${uplink.name} is a tunnel whose far end is not known: while it leads, its own packets may go into it; `
        + 'if so, write `endpoint`'
      : `${uplink.name} is a tunnel to ${remotes}: its own packets go by the uplinks that are no tunnels`);
  }
}

export function tellDecision(decision: Decision, family: Family, effects: Effect[]): void {
  const order = decision.ranks.map((rank) => rank.members.map((m) => m.uplink).join('+')).join(' > ');
  const level = decision.rule === 'last-resort' ? 'warn' : 'info';
  news(effects, level, 'decision', '', `active${inWords(family)}: ${order === '' ? 'none' : order}; ${decision.because}`, {
    generation: decision.generation, order, rule: decision.rule, family,
  });
}

export function tellHost(state: State, event: Extract<Event, { type: 'host' }>, effects: Effect[]): void {
  const known = state.hostReport?.problems ?? [];
  for (const problem of event.report.problems) if (!known.includes(problem)) news(effects, 'warn', 'host', '', problem);
  if (event.report.natRepaired) noteFilterRepair(state, event.at, effects);
  if (event.report.natInSync && event.report.natBackend !== 'none' && state.hostReport?.natInSync !== true) {
    news(effects, 'info', 'host', '', `masquerade and marks stand (${event.report.natBackend})`);
  }
}

export function tellForgotten(event: Extract<Event, { type: 'forgotten' }>, effects: Effect[]): void {
  const { order, count, error } = event;
  // A second sweep mostly finds nothing, and says nothing then.
  if (error === '' && count === 0) return;
  if (error !== '') news(effects, 'error', 'flows', order.uplink, `could not forget the ${connectionsIn(order)}: ${error}`);
  else news(effects, 'info', 'flows', order.uplink, `forgot ${count} ${connectionsIn(order)}`, { count });
}

/** Counted each time, told once in a quarrel. Whoever tells it may find out who it was. */
function noteFilterRepair(state: State, now: Instant, effects: Effect[]): void {
  const { repair } = state;
  const quiet = repair.filterRepairs === 0 || now - repair.filterRepairedAt > QUARREL_OVER_MS;
  repair.repairs++;
  repair.filterRepairs++;
  repair.filterRepairedAt = now;
  if (quiet) news(effects, 'warn', 'host', '', 'putting back NAT and firewall rules that somebody else changed', { repaired: 'filter' });
}

/** `forget the unanswered connections of fibre` */
export function showForget(order: ForgetOrder): string {
  return `forget the ${connectionsIn(order)}${order.cutMark === 0 ? '' : '; TCP is told by a reset'}`;
}

function connectionsIn(order: ForgetOrder): string {
  const { which, uplink, only, except, translatedTo, astray, family } = order;
  const what = `${which === 'all' ? '' : 'unanswered '}connections of ${uplink}${family === undefined ? '' : inWords(family)}`;
  const from = translatedTo === '' ? '' : ` under its former ${translatedTo.includes('/') ? 'prefix' : 'address'} ${translatedTo}`;
  const kinds = only !== undefined ? ` of the kind ${only.name}` : except.length > 0 ? `, except ${except.map((kind) => kind.name).join(', ')}` : '';
  return what + from + (astray === undefined ? kinds : ' that are older than NAT and leave under an address that does not belong there');
}

/** IPv4 goes without saying. */
function inWords(family: Family): string {
  return family === 6 ? ' (IPv6)' : '';
}

export function news(
  effects: Effect[], level: News['level'], kind: News['kind'], uplink: string, text: string, data: News['data'] = {},
): void {
  effects.push({ type: 'tell', news: { level, kind, uplink, text, data } });
}
