/**
 * Links, addresses, routes and rules in memory, refusing and forgetting as Linux does (dry.ts says what is kept). The words of the
 * refusals are the kernel's.
 */
import { MAIN_TABLE, OUR_PROTOCOL } from '../core/layout.js';
import type { Address, Hop, Link, Route, Rule } from '../model.js';
import { parseAddress, startsWith } from './netlink/inet.js';

export interface Table {
  readonly links: Map<number, Link>;
  addresses: Address[];
  /** Ours and everybody's. */
  routes: Route[];
  rules: Rule[];
}

export function addRoute(table: Table, wanted: Route): string {
  const route = asKept(wanted);
  const error = invalid(table, route);
  if (error !== '') return error;
  if (table.routes.some((other) => sameKey(other, route))) return EXISTS;
  table.routes.push(route);
  return '';
}

/** IPv6 has no such thing, and puts it behind. */
export function prependRoute(table: Table, wanted: Route): string {
  const route = asKept(wanted);
  const error = invalid(table, route);
  if (error !== '') return error;
  const at = table.routes.findIndex((other) => sameKey(other, route));
  if (at < 0 || route.family === 6) return addRoute(table, wanted);
  if (table.routes.some((other) => sameKey(other, route) && sameRest(other, route))) return EXISTS;
  table.routes.splice(at, 0, route);
  return '';
}

export function replaceRoute(table: Table, wanted: Route): string {
  const route = asKept(wanted);
  const error = invalid(table, route);
  if (error !== '') return error;
  const at = table.routes.findIndex((other) => sameKey(other, route));
  if (at < 0) table.routes.push(route);
  else table.routes[at] = route;
  return '';
}

export function deleteRoute(table: Table, wanted: Route): string {
  const route = asKept(wanted);
  const at = table.routes.findIndex((other) => sameKey(other, route) && sameRest(other, route));
  if (at < 0) return 'ESRCH: there is none such';
  table.routes.splice(at, 1);
  return '';
}

export function addRule(table: Table, rule: Rule): string {
  if (table.rules.some((other) => ruleText({ ...other, protocol: 0 }) === ruleText({ ...rule, protocol: 0 }))) return EXISTS;
  table.rules.push(rule);
  table.rules.sort((a, b) => a.preference - b.preference);
  return '';
}

export function deleteRule(table: Table, rule: Rule): string {
  const at = table.rules.findIndex((other) => ruleText(other) === ruleText(rule));
  if (at < 0) return 'ENOENT: there is none such';
  table.rules.splice(at, 1);
  return '';
}

/** A device went down: its routes and its IPv6 addresses go. */
export function linkDown(table: Table, ifindex: number): void {
  table.addresses = table.addresses.filter((address) => address.family === 4 || address.ifindex !== ifindex);
  dropDeadRoutes(table);
}

export function deleteLink(table: Table, ifindex: number): boolean {
  if (!table.links.delete(ifindex)) return false;
  table.addresses = table.addresses.filter((address) => address.ifindex !== ifindex);
  dropDeadRoutes(table);
  table.routes = table.routes.map((route) => (route.family === 6 ? withoutHops(route, ifindex) : route));
  return true;
}

/** Preferred lifetime 0, by us, or as long as it is valid. */
export function useAddress(table: Table, address: Address, inUse: boolean): string {
  const at = table.addresses.findIndex((other) => other.address === address.address && other.ifindex === address.ifindex);
  const found = table.addresses[at];
  if (found === undefined) return 'ENOENT: there is no such address';
  table.addresses[at] = { ...found, deprecated: !inUse, protocol: inUse ? 0 : OUR_PROTOCOL };
  return '';
}

export function deleteAddress(table: Table, address: Address): void {
  const onDevice = (other: Address): boolean => other.ifindex === address.ifindex && other.family === address.family;
  table.addresses = table.addresses.filter((other) => other.address !== address.address || !onDevice(other));
  if (address.family === 6) {
    table.routes = table.routes.map((route) => (route.family === 6 && route.source === address.address ? { ...route, source: '' } : route));
    return;
  }
  const last = !table.addresses.some(onDevice);
  table.routes = table.routes.filter(
    (route) =>
      !(route.table === MAIN_TABLE && route.source === address.address) &&
      !(last && route.family === 4 && route.hops.length > 0 && route.hops.every((hop) => hop.ifindex === address.ifindex)),
  );
}

const EXISTS = 'EEXIST: there is one already';

/** The metric that IPv6 gives to routes without one (IP6_RT_PRIO_USER), and scopes it does not have. */
function asKept(route: Route): Route {
  return route.family === 4 ? route : { ...route, scope: 0, metric: route.metric === 0 ? 1024 : route.metric };
}

/** What net/ipv4/fib_semantics.c and net/ipv6/route.c look at before they look for a place. */
function invalid(table: Table, route: Route): string {
  const words = WORDS[route.family];
  for (const hop of route.hops) {
    const link = table.links.get(hop.ifindex);
    if (link === undefined) return 'ENODEV: no such device';
    if (!link.adminUp) return 'ENETDOWN: Nexthop device is not up';
    if (hop.via === '') {
      if (route.family === 6 && route.hops.length > 1) return 'EINVAL: Device only routes can not be added for IPv6 using the multipath API.';
      continue;
    }
    if (table.addresses.some((address) => address.address === hop.via)) return words.ownGateway;
    if (!hop.onlink && !isLinkLocal(hop.via) && !reachable(table, route, hop)) return words.unreachable;
  }
  if (route.source !== '' && !table.addresses.some((address) => address.address === route.source)) return words.source;
  return '';
}

const WORDS = {
  4: { ownGateway: 'EINVAL: Nexthop has invalid gateway', unreachable: 'ENETUNREACH: Nexthop has invalid gateway', source: 'EINVAL: Invalid prefsrc address' },
  6: { ownGateway: 'EINVAL: Gateway can not be a local address', unreachable: 'EHOSTUNREACH: host is unreachable', source: 'EINVAL: Invalid source address' },
} as const;

function isLinkLocal(address: string): boolean {
  return within(address, 'fe80::', 10);
}

function reachable(table: Table, route: Route, hop: Hop): boolean {
  const onDevice = table.addresses.filter((address) => address.ifindex === hop.ifindex && address.family === route.family);
  if (onDevice.some((address) => address.peer === hop.via || within(hop.via, address.peer === '' ? address.address : address.peer, address.prefixLength))) return true;
  return table.routes.some((other) => {
    const [prefix = '', bits = ''] = other.destination.split('/');
    const direct = other.table === MAIN_TABLE && other.family === route.family && other.hops.some((h) => h.ifindex === hop.ifindex && h.via === '');
    return direct && other.destination !== 'default' && within(hop.via, prefix, Number(bits));
  });
}

/** A route with several hops stays while one of them is alive. */
function dropDeadRoutes(table: Table): void {
  table.routes = table.routes.filter((route) => route.hops.length === 0 || route.hops.some((hop) => table.links.get(hop.ifindex)?.adminUp === true));
}

/** IPv6 takes the hops of a deleted device out of a route with several; one that is left has no weight. */
function withoutHops(route: Route, ifindex: number): Route {
  const hops = route.hops.filter((hop) => hop.ifindex !== ifindex);
  if (hops.length === route.hops.length) return route;
  return { ...route, hops: hops.length > 1 ? hops : hops.map((hop) => ({ ...hop, weight: 1 })) };
}

/** The kernel's own key of a route. */
function sameKey(a: Route, b: Route): boolean {
  return a.family === b.family && a.table === b.table && a.destination === b.destination && a.metric === b.metric;
}

function sameRest(a: Route, b: Route): boolean {
  return a.protocol === b.protocol && a.scope === b.scope && a.source === b.source && a.refuses === b.refuses && hopsText(a.hops) === hopsText(b.hops);
}

function hopsText(hops: readonly Hop[]): string {
  return JSON.stringify(hops.map((hop) => [hop.ifindex, hop.via, hop.weight, hop.onlink]));
}

function ruleText(rule: Rule): string {
  const { family, preference, protocol, table, from, to = '', own = false, outInterface, mark, markMask } = rule;
  return JSON.stringify([
    family, preference, protocol, table, from, to, own, outInterface, mark, markMask, rule.suppressPrefixLength,
  ]);
}

/** Whether `text` lies in the prefix of so many bits around `network`. */
function within(text: string, network: string, bits: number): boolean {
  return startsWith(parseAddress(text), parseAddress(network), bits);
}
