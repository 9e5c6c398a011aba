/**
 * The door to Linux: netlink for everything a switch depends on (synchronous, microseconds, no process is spawned), conntrack
 * in small parts, and the slow half (NAT, counters, sysctls) as given.
 */
import { OUR_PROTOCOL } from '../core/layout.js';
import type { Change, KernelFacts, Link } from '../model.js';
import { forget } from './conntrack.js';
import { openDevicePaths } from './device-path.js';
import type { HostDoor } from '../ports.js';
import { carryOut, type Door } from './door.js';
import { openRtnetlink, type Rtnetlink } from './netlink/rtnetlink.js';
import { watch } from './netlink/watch.js';
import { openWireguard } from './netlink/wireguard.js';

/** @throws KernelError when netlink cannot be had */
export function openKernel(hostDoor: HostDoor): Door {
  const netlink = openRtnetlink();
  const paths = openDevicePaths();
  const wireguard = openWireguard();
  let endWatch: (() => void) | undefined;
  return {
    readAll() {
      const { links, tunnels } = netlink.listDevices();
      return {
        links: paths.placedAll(links),
        addresses: netlink.listAddresses(),
        ...readOurs(netlink),
        ...netlink.listForeign(),
        tunnels: wireguard.withEndpoints(tunnels, performance.now()),
      };
    },
    readOurs: () => readOurs(netlink),
    survey: () => netlink.survey(),
    look(ifindexes) {
      const links: Link[] = [];
      const gone: number[] = [];
      for (const ifindex of ifindexes) {
        const link = netlink.getLink(ifindex);
        if (link === undefined) gone.push(ifindex);
        else links.push(paths.placed(link));
      }
      return { links, gone };
    },
    apply: (plan) => carryOut(plan, (change) => make(netlink, change)),
    watch(tell) {
      endWatch?.();
      endWatch = watch({ links: (links, gone) => tell.links(links.map((link) => paths.placed(link)), gone), again: (what) => tell.again(what), ruleset: () => tell.ruleset?.() }, () => netlink.port);
    },
    forget,
    host: (wish) => hostDoor.host(wish),
    preview: (wish) => hostDoor.preview(wish),
    counters: () => hostDoor.counters(),
    count: (devices) => hostDoor.count(devices),
    async restore() {
      const failures = removeOurs(netlink);
      await hostDoor.restore().catch((failure: unknown) => failures.push(failure instanceof Error ? failure.message : String(failure)));
      if (failures.length > 0) throw new Error(failures.join('; '));
    },
    close() {
      endWatch?.();
      endWatch = undefined;
      netlink.close();
      wireguard.close();
      hostDoor.close();
    },
  };
}

function readOurs(netlink: Rtnetlink): Pick<KernelFacts, 'routes' | 'rules'> {
  return { routes: netlink.listRoutes({ protocol: OUR_PROTOCOL, table: 0 }), rules: netlink.listOurRules() };
}

function make(netlink: Rtnetlink, change: Change): string {
  if ('rule' in change) return change.op === 'add' ? netlink.addRule(change.rule) : netlink.deleteRule(change.rule);
  switch (change.op) {
    case 'add':
      return netlink.addRoute(change.route);
    case 'prepend':
      return netlink.prependRoute(change.route);
    case 'replace':
      return netlink.replaceRoute(change.route);
    case 'delete':
      return netlink.deleteRoute(change.route);
    case 'deprecate':
    case 'prefer':
      return netlink.useAddress(change.address, change.op === 'prefer');
  }
}

/** Rules first: while they stand they may lead into tables that are emptied. */
function removeOurs(netlink: Rtnetlink): string[] {
  const { routes, rules } = readOurs(netlink);
  const failures: string[] = [];
  for (const rule of rules) {
    const error = netlink.deleteRule(rule);
    if (error !== '') failures.push(`rule ${rule.preference} could not be removed: ${error}`);
  }
  for (const route of routes) {
    const error = netlink.deleteRoute(route);
    if (error !== '') failures.push(`route ${route.destination} in table ${route.table} could not be removed: ${error}`);
  }
  for (const address of netlink.listAddresses().filter((each) => each.deprecated && each.protocol === OUR_PROTOCOL)) {
    const error = netlink.useAddress(address, true);
    if (error !== '') failures.push(`address ${address.address} could not be given back to use: ${error}`);
  }
  return failures;
}
