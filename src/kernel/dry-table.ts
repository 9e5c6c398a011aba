/**
 * Links, addresses, routes and rules in memory, refusing and forgetting as Linux does (dry.ts says what is kept). The words of the
 * refusals are the kernel's.
 */
import { MAIN_TABLE } from '../core/layout.js';
import type { Address, Hop, Link, Route, Rule } from '../model.js';
import { parseAddress } from './netlink/inet.js';

export interface Table {
  readonly links: Map<number, Link>;
  addresses: Address[];
  /** Ours and everybody's. */
  routes: Route[];
  rules: Rule[];
}

export function addRoute(table: Table, route: Route): string {
  const error = invalid(table, route);
  if (error !== '') return error;
  if (table.routes.some((other) => sameKey(other, route))) return EXISTS;
  table.routes.push(route);
  return '';
}

export function replaceRoute(table: Table, route: Route): string {
  const error = invalid(table, route);
  if (error !== '') return error;
  const at = table.routes.findIndex((other) => sameKey(other, route));
  if (at < 0) table.routes.push(route);
  else table.routes[at] = route;
  return '';
}

export function deleteRoute(table: Table, route: Route): string {
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
  return true;
}

export function deleteAddress(table: Table, address: Address): void {
  const onDevice = (other: Address): boolean => other.ifindex === address.ifindex && other.family === address.family;
  table.addresses = table.addresses.filter((other) => other.address !== address.address || !onDevice(other));
  if (address.family === 6) return;
  const last = !table.addresses.some(onDevice);
  table.routes = table.routes.filter(
    (route) =>
      !(route.table === MAIN_TABLE && route.source === address.address) &&
      !(last && route.family === 4 && route.hops.every((hop) => hop.ifindex === address.ifindex)),
  );
}

const EXISTS = 'EEXIST: there is one already';

/** What net/ipv4/fib_semantics.c looks at before it looks for a place. */
function invalid(table: Table, route: Route): string {
  for (const hop of route.hops) {
    const link = table.links.get(hop.ifindex);
    if (link === undefined) return 'ENODEV: no such device';
    if (!link.adminUp) return 'ENETDOWN: Nexthop device is not up';
    if (hop.via !== '' && !hop.onlink && !reachable(table, route, hop)) return 'ENETUNREACH: Nexthop has invalid gateway';
    if (hop.via !== '' && table.addresses.some((address) => address.address === hop.via)) return 'EINVAL: Nexthop has invalid gateway';
  }
  if (route.source !== '' && !table.addresses.some((address) => address.address === route.source)) return 'EINVAL: Invalid prefsrc address';
  return '';
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
  table.routes = table.routes.filter((route) => route.hops.some((hop) => table.links.get(hop.ifindex)?.adminUp === true));
}

/** The kernel's own key of a route. */
function sameKey(a: Route, b: Route): boolean {
  return a.family === b.family && a.table === b.table && a.destination === b.destination && a.metric === b.metric;
}

function sameRest(a: Route, b: Route): boolean {
  return a.protocol === b.protocol && a.scope === b.scope && a.source === b.source && hopsText(a.hops) === hopsText(b.hops);
}

function hopsText(hops: readonly Hop[]): string {
  return JSON.stringify(hops.map((hop) => [hop.ifindex, hop.via, hop.weight, hop.onlink]));
}

function ruleText(rule: Rule): string {
  return JSON.stringify([rule.family, rule.preference, rule.protocol, rule.table, rule.from, rule.outInterface, rule.mark, rule.markMask, rule.suppressPrefixLength]);
}

/** Whether `text` lies in the prefix of so many bits around `network`. */
function within(text: string, network: string, bits: number): boolean {
  const a = parseAddress(text);
  const b = parseAddress(network);
  if (a.length !== b.length) return false;
  for (let bit = 0; bit < bits; bit += 8) {
    const mask = bits - bit >= 8 ? 0xff : 0xff << (8 - (bits - bit));
    if ((((a[bit / 8] ?? 0) ^ (b[bit / 8] ?? 0)) & mask & 0xff) !== 0) return false;
  }
  return true;
}
