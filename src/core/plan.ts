/**
 * The ordered changes from what the kernel has to what we wish. Add, then switch, then delete.
 *
 *   1 own tables       what flows and probes of each uplink need
 *   2 ACTIVE           the switch itself; then OUTER and the tables of policies, which steer too
 *   3 rules            new ones
 *   4 main             what stands in for foreign routes that lead nowhere, and the mirror
 *   5 rules, tables    what nobody needs any more
 *   6 addresses        of the LAN that are to be used no more, or again
 *
 * A table that steers never stands empty between two changes: where a metric must change hands, a bridge (the new best
 * route at a metric below all others) is raised first, and nothing is deleted if it could not be raised.
 */
import type { Change, KernelFacts, Link, Plan, Route, Rule, Wish } from '../model.js';
import { ACTIVE_TABLE, MAIN_TABLE, OUR_PROTOCOL, OUTER_TABLE, isClassTable } from './layout.js';

/** What the kernel has of ours. */
type Standing = Pick<KernelFacts, 'routes' | 'rules' | 'addresses'>;

export function plan(wish: Wish, have: Standing): Plan {
  const changes: Change[] = [];
  const steers = ({ table }: Route): boolean =>
    [ACTIVE_TABLE, MAIN_TABLE, OUTER_TABLE].includes(table) || isClassTable(table);
  const oldRules = without(have.rules, wish.rules, ruleKey);
  const newRules = without(wish.rules, have.rules, ruleKey).sort((a, b) => a.preference - b.preference);

  const ownWish = wish.routes.filter((route) => !steers(route));
  const ownHave = have.routes.filter((route) => !steers(route));
  for (const route of without(ownWish, ownHave, routeKey)) changes.push({ op: 'replace', route });

  switchTable(changes, ACTIVE_TABLE, wish, have);
  switchTable(changes, OUTER_TABLE, wish, have);
  const classes = new Set([...wish.routes, ...have.routes].map((route) => route.table).filter(isClassTable));
  for (const table of classes) switchTable(changes, table, wish, have);
  for (const rule of newRules) changes.push({ op: 'add', rule });
  switchMain(changes, wish, have);
  for (const rule of oldRules) changes.push({ op: 'delete', rule });
  for (const route of without(ownHave, ownWish, slotKey)) changes.push({ op: 'delete', route });
  switchAddresses(changes, wish, have);
  return { changes };
}

/** Only what we took out of use is given back. */
function switchAddresses(changes: Change[], wish: Wish, have: Standing): void {
  for (const address of wish.deprecated) if (!address.deprecated) changes.push({ op: 'deprecate', address });
  for (const address of have.addresses) {
    const ours = address.deprecated && address.protocol === OUR_PROTOCOL;
    if (ours && !wish.deprecated.some((other) => other.address === address.address && other.ifindex === address.ifindex)) changes.push({ op: 'prefer', address });
  }
}

/** The change as the `ip` command that would make it. `links` gives the devices their names. */
export function showChange(change: Change, links: readonly Link[]): string {
  const ip = (family: number): string => (family === 6 ? 'ip -6' : 'ip');
  if ('rule' in change) return `${ip(change.rule.family)} rule ${change.op === 'add' ? 'add' : 'del'} ${showRule(change.rule)}`;
  if ('route' in change) return `${ip(change.route.family)} route ${change.op === 'delete' ? 'del' : change.op} ${showRoute(change.route, links)}`;
  const { address, prefixLength, ifindex } = change.address;
  return `ip -6 addr change ${address}/${prefixLength} dev ${nameIn(links, ifindex)} preferred_lft ${change.op === 'prefer' ? 'forever' : '0'}`;
}

export function showRoute(route: Route, links: readonly Link[]): string {
  const hop = (h: Route['hops'][number]): string => `${h.via === '' ? '' : `via ${h.via} `}dev ${nameIn(links, h.ifindex)}`;
  const one = route.hops.length === 1;
  const hops = route.hops.length === 0 ? '' : one ? hop(route.hops[0]!) : route.hops.map((h) => `nexthop ${hop(h)} weight ${h.weight}${h.onlink ? ' onlink' : ''}`).join(' ');
  return [
    route.hops.length === 0 ? `${route.refuses ?? 'unreachable'} ${route.destination}` : route.destination, hops, `table ${route.table === MAIN_TABLE ? 'main' : route.table}`, `proto ${route.protocol}`,
    route.metric === 0 ? '' : `metric ${route.metric}`, route.source === '' ? '' : `src ${route.source}`, one && route.hops[0]!.onlink ? 'onlink' : '',
    route.metrics ?? '',
  ].filter((word) => word !== '').join(' ');
}

export function showRule(rule: Rule): string {
  return [
    `pref ${rule.preference}`, rule.from === '' ? '' : `from ${rule.from}`,
    rule.to === undefined ? '' : `to ${rule.to}`, rule.own === true ? 'iif lo' : '',
    rule.outInterface === '' ? '' : `oif ${rule.outInterface}`,
    rule.markMask === 0 ? '' : `fwmark 0x${rule.mark.toString(16)}/0x${rule.markMask.toString(16)}`,
    `lookup ${rule.table === MAIN_TABLE ? 'main' : rule.table}`,
    rule.suppressPrefixLength < 0 ? '' : `suppress_prefixlength ${rule.suppressPrefixLength}`, `proto ${rule.protocol}`,
  ].filter((word) => word !== '').join(' ');
}

function nameIn(links: readonly Link[], ifindex: number): string {
  return links.find((link) => link.index === ifindex)?.name ?? `if${ifindex}`;
}

/**
 * Those that stand in: in IPv4 they share their place with foreign routes, so that new ones come first and then old ones go; in IPv6 the place is
 * ours alone, and what is there already is replaced.
 */
function switchMain(changes: Change[], wish: Wish, have: Standing): void {
  const inMain = have.routes.filter((route) => route.table === MAIN_TABLE);
  const kept = new Set(wish.standIns.map(standInKey));
  const places = new Set(inMain.map(slotKey));
  for (const route of without(wish.standIns, inMain, routeKey)) changes.push({ op: route.family === 4 ? 'prepend' : places.has(slotKey(route)) ? 'replace' : 'add', route });
  const left = inMain.filter((route) => !kept.has(standInKey(route)));
  switchTable(changes, MAIN_TABLE, wish, { ...have, routes: left.filter((route) => route.destination === 'default') });
  for (const route of left) if (route.destination !== 'default') changes.push({ op: 'delete', route });
}

function standInKey(route: Route): string {
  return route.family === 4 ? routeKey(route) : slotKey(route);
}

function switchTable(changes: Change[], table: number, wish: Wish, have: Standing): void {
  for (const family of [4, 6] as const) {
    const mine = (route: Route): boolean => route.table === table && route.family === family;
    const wanted = wish.routes.filter(mine);
    const present = have.routes.filter(mine);
    const old = without(present, wanted, routeKey);
    const fresh = without(wanted, present, routeKey).sort((a, b) => a.metric - b.metric);
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

function without<T>(these: readonly T[], those: readonly T[], keyOf: (item: T) => string): T[] {
  const keys = new Set(those.map(keyOf));
  return these.filter((item) => !keys.has(keyOf(item)));
}

/** The kernel's own key of a route: there can be one for it. */
function slotKey(route: Route): string {
  return `${route.family} ${route.table} ${route.destination} ${route.metric}`;
}

/** Everything about it; the order of hops means nothing. */
function routeKey(route: Route): string {
  const hops = route.hops.map((hop) => `${hop.ifindex} ${hop.via} ${hop.weight} ${hop.onlink}`);
  return `${slotKey(route)} ${route.protocol} ${route.scope} ${route.source} ${route.metrics ?? ''} ${route.refuses ?? ''} ${hops.length > 1 ? hops.sort().join() : hops.join()}`;
}

function ruleKey(rule: Rule): string {
  const { family, preference, protocol, table, from, to = '', own = false, outInterface, mark, markMask } = rule;
  return [
    family, preference, protocol, table, from, to, own, outInterface, mark, markMask, rule.suppressPrefixLength,
  ].join(' ');
}
