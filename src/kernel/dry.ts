/**
 * The same door with no kernel behind it: --dry-run, laptops, simulation, tests. A table in memory that refuses and forgets as
 * Linux does, as far as we use it:
 *
 *   - one route per table, destination and metric; add refuses (EEXIST), replace takes the place of whatever is there
 *   - a hop's device must exist (ENODEV) and be up (ENETDOWN), its gateway be reachable through it unless `onlink` (ENETUNREACH)
 *   - a device that goes down or away takes its IPv4 routes with it (no notice of each); going down also takes its IPv6 addresses
 *   - an address that goes takes the IPv4 routes in main (in no other table) that prefer it as source, the last one all IPv4 routes
 *     of its device
 *   - rules name devices by name, so they survive them
 *
 * `outside` is the hand of everybody else: it changes links, addresses and routes and tells the watcher at once. Whoever wants
 * notices late or lost puts a watcher of that kind in between. No timers, no clock. contract.test.ts holds it against the real one.
 */
import { MAIN_TABLE, OUR_PROTOCOL } from '../core/layout.js';
import type { Address, Change, KernelFacts, Link, Route, Rule } from '../model.js';
import { carryOut, type Kernel, type Watcher } from './door.js';
import { addRoute, addRule, deleteAddress, deleteLink, deleteRoute, deleteRule, linkDown, replaceRoute, type Table } from './dry-table.js';

export interface DryKernel extends Kernel {
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
    routes: [...seed.routes, ...seed.foreignDefaults],
    rules: [...seed.rules],
  };
  let watcher: Watcher | undefined;
  const readOurs = (): Pick<KernelFacts, 'routes' | 'rules'> => ({
    routes: table.routes.filter((route) => route.protocol === OUR_PROTOCOL),
    rules: table.rules.filter((rule) => rule.protocol === OUR_PROTOCOL),
  });
  return {
    readAll: () => ({ links: [...table.links.values()], addresses: [...table.addresses], ...readOurs(), foreignDefaults: table.routes.filter(isForeignDefault) }),
    readOurs,
    look: (ifindexes) => ({
      links: ifindexes.flatMap((ifindex) => table.links.get(ifindex) ?? []),
      gone: ifindexes.filter((ifindex) => !table.links.has(ifindex)),
    }),
    apply: (plan) => carryOut(plan, (change) => make(table, change)),
    watch: (tell) => {
      watcher = tell;
    },
    forget: () => Promise.resolve(0),
    host: () => Promise.resolve({ natBackend: 'none', natInSync: true, sysctlsInSync: true, problems: [] }),
    restore() {
      table.routes = table.routes.filter((route) => route.protocol !== OUR_PROTOCOL);
      table.rules = table.rules.filter((rule) => rule.protocol !== OUR_PROTOCOL);
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
    case 'replace':
      return replaceRoute(table, change.route);
    case 'delete':
      return deleteRoute(table, change.route);
  }
}

function openOutside(table: Table, watcher: () => Watcher | undefined): Outside {
  const routeChanged = (route: Route, error: string): string => {
    if (error === '' && route.protocol === OUR_PROTOCOL) watcher()?.again('ours');
    if (error === '' && isForeignDefault(route)) watcher()?.again('all');
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
      table.addresses.push(address);
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

function isForeignDefault(route: Route): boolean {
  return route.destination === 'default' && route.table === MAIN_TABLE && route.protocol !== OUR_PROTOCOL;
}
