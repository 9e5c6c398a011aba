/**
 * When the slow half (NAT, marks, firewall, sysctls) is asked for, and what its report lets happen: whoever waits for a new config is answered,
 * the tables of its former classes go, and uplinks that masquerade now knows may lead.
 */
import type { Effect, Event, HostWish, Instant, UplinkPolicy } from '../model.js';
import { desireHost, lanDevices } from './desire-host.js';
import { forgetAddress, forgetAstray } from './forgets.js';
import type { Health } from './health.js';
import { nearOf } from './near.js';
import { tellHost } from './news.js';
import { translatedTo } from './prefix.js';
import { allHealth, type State } from './state.js';

const EVERY_MS = 15_000;
const GATHER_MS = 20;
const APART_MS = 500;
/** Starting a program holds the loop up for some ms: not while an uplink is in doubt. */
const NOT_NOW_MS = 500;

/** At once when policy, devices or the networks around them have changed, else now and then. */
export function askHost(state: State, now: Instant, effects: Effect[]): void {
  const near = nearOf(state.policy, allHealth(state), state.facts);
  const prefixes = state.policy.uplinks.map((uplink) => translatedTo(uplink, lanPrefixOf(uplink), state.delegations));
  const devices = [...[...allHealth(state)].map(({ family, line }) => `${family} ${line.device} ${line.ifindex}`), ...near, ...lanDevices(state.policy, state.facts), ...prefixes].join();
  if (state.hostPolicy === state.policy && state.hostDevices === devices) {
    if (now < state.hostAskAt) return;
    if ([...allHealth(state)].some((health) => health.burst !== undefined || health.state === 'suspect')) {
      state.hostAskAt = (now + NOT_NOW_MS) as Instant;
      return;
    }
  }
  state.hostPolicy = state.policy;
  state.hostDevices = devices;
  state.hostAskedAt = now;
  state.hostAskAt = (now + EVERY_MS) as Instant;
  const wish = desireHost(state.policy, state.planes, { ...state, near });
  // The same wish is the same object, so that a report on it counts although somebody has made us look again meanwhile.
  if (JSON.stringify(wish) !== JSON.stringify(state.hostWish)) state.hostWish = wish;
  effects.push({ type: 'host', wish: state.hostWish ?? wish });
}

/** Gathered, and seldom enough that somebody who changes rules all the time costs us little. */
export function lookAtHostSoon(state: State, now: Instant): void {
  state.hostAskAt = Math.min(state.hostAskAt, Math.max(now + GATHER_MS, state.hostAskedAt + APART_MS)) as Instant;
}

export function absorbHost(state: State, event: Extract<Event, { type: 'host' }>, effects: Effect[]): void {
  tellHost(state, event, effects);
  state.hostReport = event.report;
  // What was begun before is translated as it was when it began.
  const translatedAs = event.report.natBackend === 'none' ? '' : JSON.stringify(event.wish.nat.lines.map((line) => [line.uplink, line.interface, line.translate]));
  if (translatedAs !== '' && (event.report.natRepaired || translatedAs !== state.translatedAs)) forgetAstray(state, event.at);
  state.translatedAs = translatedAs;
  if (event.report.natBackend !== 'none') notePrefixes(state, event.wish);
  const filtered = new Set(event.wish.nat.lines.map((line) => keyOf(line.uplink, line.interface)));
  const isNews = !state.ready || [...filtered].some((key) => state.filtered?.has(key) !== true);
  state.filtered = filtered;
  state.dirty ||= isNews;
  if (event.wish !== state.hostWish) return;
  state.waiting.push(...state.waitingForHost.splice(0));
  if (state.lingering.length === 0) return;
  state.lingering = [];
  state.dirty = true;
}

/** What goes on under a prefix that another one has taken the place of is not answered any more. */
function notePrefixes(state: State, { nat }: HostWish): void {
  const former = state.translatedTo;
  state.translatedTo = new Map(nat.lines.flatMap(({ uplink, translate: { 6: done } }) => (done.kind === 'prefix' ? [[uplink, done.to]] : [])));
  for (const health of state.planes.get(6)?.health.values() ?? []) {
    const old = former.get(health.name) ?? '';
    if (old === '' || old === state.translatedTo.get(health.name)) continue;
    forgetAddress(state, health, old);
    state.dirty = true;
  }
}

function lanPrefixOf({ translate: { 6: wish } }: UplinkPolicy): string {
  return wish.kind === 'prefix' ? wish.from : '';
}

/** Does masquerade stand on its device? Before the first report nobody knows, and nobody is kept waiting. */
export function isFiltered(state: State, health: Health): boolean {
  return state.filtered === undefined || state.filtered.has(keyOf(health.name, health.line.device));
}

function keyOf(uplink: string, device: string): string {
  return `${uplink} ${device}`;
}
