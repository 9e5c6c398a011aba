/**
 * The ordered changes from what the kernel has to what we wish. Add, then switch, then delete.
 *
 *   1 own tables       what flows and probes of each uplink need
 *   2 ACTIVE           the switch itself
 *   3 rules            new ones
 *   4 main             the mirror
 *   5 rules, tables    what nobody needs any more
 *
 * A table that steers never stands empty between two changes: where a metric must change hands, a bridge (the new best
 * route at a metric below all others) is raised first, and nothing is deleted if it could not be raised.
 */
import type { Change, Link, Plan, Route, Rule, Wish } from '../model.js';
import { ACTIVE_TABLE, MAIN_TABLE } from './layout.js';

export function plan(wish: Wish, have: Wish): Plan {
  const changes: Change[] = [];
  const steers = (route: Route): boolean => route.table === ACTIVE_TABLE || route.table === MAIN_TABLE;
  const oldRules = without(have.rules, wish.rules, sameRule);
  const newRules = without(wish.rules, have.rules, sameRule).sort((a, b) => a.preference - b.preference);

  const ownWish = wish.routes.filter((route) => !steers(route));
  const ownHave = have.routes.filter((route) => !steers(route));
  for (const route of without(ownWish, ownHave, sameRoute)) changes.push({ op: 'replace', route });

  switchTable(changes, ACTIVE_TABLE, wish, have);
  for (const rule of newRules) changes.push({ op: 'add', rule });
  switchTable(changes, MAIN_TABLE, wish, have);
  for (const rule of oldRules) changes.push({ op: 'delete', rule });
  for (const route of without(ownHave, ownWish, sameRoute)) {
    if (!ownWish.some((wanted) => sameSlot(wanted, route))) changes.push({ op: 'delete', route });
  }
  return { changes };
}

/** The change as the `ip` command that would make it. `links` gives the devices their names. */
export function showChange(change: Change, links: readonly Link[]): string {
  return 'rule' in change ? `ip rule ${change.op} ${showRule(change.rule)}` : `ip route ${change.op} ${showRoute(change.route, links)}`;
}

export function showRoute(route: Route, links: readonly Link[]): string {
  const name = (ifindex: number): string => links.find((link) => link.index === ifindex)?.name ?? `if${ifindex}`;
  const hop = (h: Route['hops'][number]): string => `${h.via === '' ? '' : `via ${h.via} `}dev ${name(h.ifindex)}`;
  const one = route.hops.length === 1;
  const hops = one ? hop(route.hops[0]!) : route.hops.map((h) => `nexthop ${hop(h)} weight ${h.weight}${h.onlink ? ' onlink' : ''}`).join(' ');
  return [
    route.destination, hops, `table ${route.table === MAIN_TABLE ? 'main' : route.table}`, `proto ${route.protocol}`,
    route.metric === 0 ? '' : `metric ${route.metric}`, route.source === '' ? '' : `src ${route.source}`, one && route.hops[0]!.onlink ? 'onlink' : '',
  ].filter((word) => word !== '').join(' ');
}

export function showRule(rule: Rule): string {
  return [
    `pref ${rule.preference}`, rule.from === '' ? '' : `from ${rule.from}`, rule.outInterface === '' ? '' : `oif ${rule.outInterface}`,
    rule.markMask === 0 ? '' : `fwmark 0x${rule.mark.toString(16)}/0x${rule.markMask.toString(16)}`,
    `lookup ${rule.table === MAIN_TABLE ? 'main' : rule.table}`,
    rule.suppressPrefixLength < 0 ? '' : `suppress_prefixlength ${rule.suppressPrefixLength}`, `proto ${rule.protocol}`,
  ].filter((word) => word !== '').join(' ');
}

export function sameRoute(a: Route, b: Route): boolean {
  return sameSlot(a, b) && a.protocol === b.protocol && a.scope === b.scope && a.source === b.source && sameHops(a, b);
}

function switchTable(changes: Change[], table: number, wish: Wish, have: Wish): void {
  for (const family of [4, 6] as const) {
    const mine = (route: Route): boolean => route.table === table && route.family === family;
    const wanted = wish.routes.filter(mine);
    const present = have.routes.filter(mine);
    const old = without(present, wanted, sameRoute);
    const fresh = without(wanted, present, sameRoute).sort((a, b) => a.metric - b.metric);
    if (fresh.some((route) => old.some((gone) => gone.metric === route.metric))) bridge(changes, wanted, present, old, fresh);
    else {
      const first = changes.length;
      for (const route of fresh) changes.push({ op: 'add', route });
      // The best new route must stand before an old one goes.
      const needs = fresh.length > 0 && fresh[0]!.metric === Math.min(...wanted.map((r) => r.metric)) ? { needs: first } : {};
      for (const route of old) changes.push({ op: 'delete', route, ...needs });
    }
  }
}

function bridge(changes: Change[], wanted: readonly Route[], present: readonly Route[], old: readonly Route[], fresh: readonly Route[]): void {
  const best = wanted.reduce((a, b) => (a.metric <= b.metric ? a : b));
  let metric = Math.min(best.metric, ...present.map((route) => route.metric)) - 1;
  if (metric < 1) metric = Math.max(...wanted.map((r) => r.metric), ...present.map((r) => r.metric)) + 1;
  const span: Route = { ...best, metric };
  const raised = changes.length;
  changes.push({ op: 'add', route: span });
  for (const route of old) changes.push({ op: 'delete', route, needs: raised });
  const bestAt = changes.length + fresh.findIndex((route) => route.metric === best.metric);
  for (const route of fresh) changes.push({ op: 'add', route, needs: raised });
  changes.push({ op: 'delete', route: span, ...(fresh.includes(best) ? { needs: bestAt } : { needs: raised }) });
}

function without<T>(these: readonly T[], those: readonly T[], same: (a: T, b: T) => boolean): T[] {
  return these.filter((item) => !those.some((other) => same(item, other)));
}

/** The kernel's own key of a route: there can be one unicast route for it. */
function sameSlot(a: Route, b: Route): boolean {
  return a.table === b.table && a.destination === b.destination && a.metric === b.metric && a.family === b.family;
}

function sameHops(a: Route, b: Route): boolean {
  return a.hops.length === b.hops.length
    && a.hops.every((hop) => b.hops.some((other) =>
      other.ifindex === hop.ifindex && other.via === hop.via && other.weight === hop.weight && other.onlink === hop.onlink));
}

function sameRule(a: Rule, b: Rule): boolean {
  return a.preference === b.preference && a.table === b.table && a.from === b.from && a.outInterface === b.outInterface
    && a.mark === b.mark && a.markMask === b.markMask && a.suppressPrefixLength === b.suppressPrefixLength
    && a.family === b.family && a.protocol === b.protocol;
}
