/**
 * The same door with no kernel behind it: --dry-run, laptops, simulation, tests. A table in memory that refuses and forgets as
 * Linux does, as far as we use it:
 *
 *   - one route per table, destination and metric; add refuses (EEXIST), replace takes the place of whatever is there. In IPv4 prepend puts one
 *     more before it
 *   - a hop's device must exist (ENODEV) and be up (ENETDOWN), its gateway be reachable through it unless `onlink` or link-local
 *   - IPv6 knows no scopes and no metric 0 (1024 is meant), and shares no load over hops without a gateway
 *   - a device that goes down or away takes its routes with it (no notice of each) but those that have another hop alive; going down
 *     also takes its IPv6 addresses. A deleted one leaves the IPv6 routes it shared; in IPv4 its hop stays, dead
 *   - IPv4: an address that goes takes the routes in main (in no other table) that prefer it as source, the last one all routes of its
 *     device. IPv6: routes stay, without their preferred source
 *   - rules name devices by name, so they survive them
 *
 * `outside` is the hand of everybody else: it changes links, addresses and routes and tells the watcher at once. Whoever wants
 * notices late or lost puts a watcher of that kind in between. No timers, no clock. contract.test.ts holds it against the real one.
 */
import { MAIN_TABLE, OUR_PROTOCOL } from '../core/layout.js';
import type { Address, Change, KernelFacts, Link, Route, Rule } from '../model.js';
import { BY_HAND, mayBeDelegated } from './netlink/route.js';
import type { Watcher } from '../ports.js';
import { carryOut, type Door } from './door.js';
import { addRoute, addRule, deleteAddress, deleteLink, deleteRoute, deleteRule, linkDown, prependRoute, replaceRoute, useAddress, type Table } from './dry-table.js';

export interface DryKernel extends Door {
  readonly outside: Outside;
}

/** Each tells the watcher what the kernel would tell. */
export interface Outside {
  /** Makes the device, or changes it. */
  setLink(link: Link): void;
  deleteLink(ifindex: number): void;
  addAddress(address: Address): void;
  deleteAddress(address: Address): void;
  /** As `ip route add`: refuses as the kernel does. Any protocol, ours too. */
  addRoute(route: Route): string;
  deleteRoute(route: Route): string;
  /** Any protocol, ours too. */
  addRule(rule: Rule): string;
  deleteRule(rule: Rule): string;
}

export function openDryKernel(seed: KernelFacts): DryKernel {
  const table: Table = {
    links: new Map(seed.links.map((link) => [link.index, link])),
    addresses: [...seed.addresses],
    routes: [...seed.routes, ...seed.foreignDefaults, ...seed.foreignRoutes],
    rules: [...seed.rules],
  };
  let watcher: Watcher | undefined;
  const readOurs = (): Pick<KernelFacts, 'routes' | 'rules'> => ({
    routes: table.routes.filter((route) => route.protocol === OUR_PROTOCOL),
    rules: table.rules.filter((rule) => rule.protocol === OUR_PROTOCOL),
  });
  return {
    readAll: () => ({
      links: [...table.links.values()], addresses: [...table.addresses], ...readOurs(),
      ...(seed.tunnels === undefined ? {} : { tunnels: seed.tunnels }),
      foreignDefaults: table.routes.filter((route) => isForeign(route) && route.destination === 'default'),
      foreignRoutes: table.routes.filter((route) => isForeign(route) && route.destination !== 'default'),
    }),
    readOurs,
    look: (ifindexes) => ({
      links: ifindexes.flatMap((ifindex) => table.links.get(ifindex) ?? []),
      gone: ifindexes.filter((ifindex) => !table.links.has(ifindex)),
    }),
    apply(plan) {
      const failures = carryOut(plan, (change) => make(table, change));
      if (plan.changes.some((change) => 'address' in change)) watcher?.again('all');
      return failures;
    },
    watch: (tell) => {
      watcher = tell;
    },
    forget: () => Promise.resolve(0),
    host: () => Promise.resolve({ natBackend: 'none', natInSync: true, natRepaired: false, sysctlsInSync: true, problems: [] }),
    survey: () => ({ rules: [], routes: [], defaults: [] }),
    preview: () => Promise.resolve({ filter: [], sysctls: [] }),
    counters: () => Promise.resolve([]),
    count: () => [],
    restore() {
      table.routes = table.routes.filter((route) => route.protocol !== OUR_PROTOCOL);
      table.rules = table.rules.filter((rule) => rule.protocol !== OUR_PROTOCOL);
      for (const address of table.addresses) if (address.deprecated && address.protocol === OUR_PROTOCOL) useAddress(table, address, true);
      return Promise.resolve();
    },
    close: () => {
      watcher = undefined;
    },
    outside: openOutside(table, () => watcher),
  };
}

function make(table: Table, change: Change): string {
  if ('rule' in change) return change.op === 'add' ? addRule(table, change.rule) : deleteRule(table, change.rule);
  switch (change.op) {
    case 'add':
      return addRoute(table, change.route);
    case 'prepend':
      return prependRoute(table, change.route);
    case 'replace':
      return replaceRoute(table, change.route);
    case 'delete':
      return deleteRoute(table, change.route);
    case 'deprecate':
    case 'prefer':
      return useAddress(table, change.address, change.op === 'prefer');
  }
}

function openOutside(table: Table, watcher: () => Watcher | undefined): Outside {
  const routeChanged = (route: Route, error: string): string => {
    if (error === '' && route.protocol === OUR_PROTOCOL) watcher()?.again('ours');
    if (error === '' && isForeign(route)) watcher()?.again('all');
    return error;
  };
  const ruleChanged = (error: string): string => {
    if (error === '') watcher()?.again('ours');
    return error;
  };
  return {
    setLink(link) {
      table.links.set(link.index, link);
      if (!link.adminUp) linkDown(table, link.index);
      watcher()?.links([link], []);
      if (!link.adminUp) watcher()?.again('all');
    },
    deleteLink(ifindex) {
      if (!deleteLink(table, ifindex)) return;
      watcher()?.links([], [ifindex]);
      watcher()?.again('all');
    },
    addAddress(address) {
      // The kernel lists the newest of IPv6 first, of IPv4 last.
      if (address.family === 6) table.addresses.unshift(address);
      else table.addresses.push(address);
      watcher()?.again('all');
    },
    deleteAddress(address) {
      deleteAddress(table, address);
      watcher()?.again('all');
    },
    addRoute: (route) => routeChanged(route, addRoute(table, route)),
    deleteRoute: (route) => routeChanged(route, deleteRoute(table, route)),
    addRule: (rule) => ruleChanged(addRule(table, rule)),
    deleteRule: (rule) => ruleChanged(deleteRule(table, rule)),
  };
}

/** One that matters to us. */
function isForeign({ family, table, protocol, destination, hops, refuses }: Route): boolean {
  if (table !== MAIN_TABLE || protocol === OUR_PROTOCOL) return false;
  if (destination === 'default') return true;
  const isDelegated = family === 6 && refuses !== 'throw' && mayBeDelegated(Number(destination.split('/')[1]));
  return (hops.length > 0 || isDelegated) && BY_HAND.includes(protocol);
}
