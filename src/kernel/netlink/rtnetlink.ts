/**
 * What we ask of the kernel's routing (rtnetlink), as typed verbs. Each is synchronous and takes microseconds.
 *
 * Reading filters in the kernel where it can (strict dumps: our protocol, one table) and again here, because kernels before
 * 4.20 ignore the filter. A change that the kernel refuses is data: '' or `EEXIST: there is one already`. Only a failing socket
 * throws (KernelError).
 */
import type { Address, Family, KernelFacts, Link, Route, Rule, Tunnel } from '../../model.js';
import { MAIN_TABLE, OUR_PROTOCOL } from '../../core/layout.js';
import { RTM_GETADDR, RTM_NEWADDR, decodeAddress, decodeLife, writeAddressRequest, writeAddressUse } from './address.js';
import { NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, type Glance } from './codec.js';
import { KernelError } from './error.js';
import { RTM_GETLINK, RTM_NEWLINK, decodeBridge, decodeLink, writeLinkRequest } from './link.js';
import { RTM_GETNEIGH, RTM_NEWNEIGH, decodeNeighbour, writeNeighbourRequest, type Neighbour } from './neighbour.js';
import { RTM_DELROUTE, RTM_GETROUTE, RTM_NEWROUTE, decodeRoute, glanceAtForeign, isByHand, routeHead, writeRoute, writeRouteRequest, type RouteHead } from './route.js';
import { RTM_DELRULE, RTM_GETRULE, RTM_NEWRULE, decodeRule, writeRule, writeRuleRequest } from './rule.js';
import { NETLINK_ROUTE, NetlinkSocket } from './socket.js';
import { decodeForeignRule, decodeIntruder, decodeRefusal, glanceAtWide, type Survey } from './survey.js';
import { decodeTunnel } from './tunnel.js';

export interface Rtnetlink {
  listLinks(): Link[];
  /** Asks for one device, which makes a kernel ≥ 6.8 look at its carrier at once. undefined = there is no such device. */
  getLink(ifindex: number): Link | undefined;
  /** Names of the devices that are bridges. */
  listBridges(): string[];
  /** All links, and those of them that are tunnels, by one dump. Without the endpoints of WireGuard (wireguard.ts). */
  listDevices(): { readonly links: Link[]; readonly tunnels: Tunnel[] };
  listAddresses(): Address[];
  listNeighbours(): Neighbour[];
  /** Routes of both families. protocol 0 = any, table 0 = all. */
  listRoutes(filter: { readonly protocol: number; readonly table: number }): Route[];
  /** Routes in main that are not ours: defaults, and those to somewhere that were written by hand. */
  listForeign(): Pick<KernelFacts, 'foreignDefaults' | 'foreignRoutes'>;
  /** Rules that carry our protocol number. (The kernel never marks a dump of rules as interrupted; up to some 500 rules come in one part, and are whole.) */
  listOurRules(): Rule[];
  /** What others have put beside us. Dumps everything. */
  survey(): Survey;
  /** Refuses (EEXIST) where table, destination and metric are taken, by whomever. */
  addRoute(route: Route): string;
  /** IPv4: before whatever has the same table, destination and metric, of which it takes nothing away. */
  prependRoute(route: Route): string;
  /** Takes the place of the route with the same table, destination and metric, WHOSEVER it is: only for tables that are ours alone. */
  replaceRoute(route: Route): string;
  /** Only the very route: table, destination, metric, protocol, scope, source and hops. */
  deleteRoute(route: Route): string;
  /**
   * Takes an address out of use for new connections (preferred lifetime 0), marked as done by us, or gives it back for as long as it is
   * valid. Its other properties stay. Kernels before 5.18 do not keep the mark: it reads as protocol 0 there.
   */
  useAddress(address: Address, inUse: boolean): string;
  addRule(rule: Rule): string;
  deleteRule(rule: Rule): string;
  /** Notifications that come of our own changes carry this port. */
  readonly port: number;
  close(): void;
}

/** @throws KernelError when there is no netlink socket to be had */
export function openRtnetlink(): Rtnetlink {
  const socket = new NetlinkSocket(NETLINK_ROUTE);
  return {
    listLinks: () => dumpLinks(socket, decodeLink),
    getLink: (ifindex) => getLink(socket, ifindex),
    listBridges: () => dumpLinks(socket, decodeBridge),
    listDevices() {
      const both = dumpLinks(socket, (body) => ({ link: decodeLink(body), tunnel: decodeTunnel(body) }));
      return { links: both.flatMap(({ link }) => link ?? []), tunnels: both.flatMap(({ tunnel }) => tunnel ?? []) };
    },
    listAddresses: () => socket.dump(RTM_GETADDR, writeAddressRequest, ({ type, body }) => (type === RTM_NEWADDR ? decodeAddress(body) : undefined)),
    listNeighbours: () =>
      BOTH.flatMap((family) =>
        socket.dump(
          RTM_GETNEIGH,
          (out) => writeNeighbourRequest(out, family),
          ({ type, body }) => (type === RTM_NEWNEIGH ? ofFamily(family, decodeNeighbour(body)) : undefined),
        ),
      ),
    listRoutes: (filter) =>
      dumpRoutes(socket, filter, decodeRoute).filter(
        (route) => (filter.table === 0 || route.table === filter.table) && (filter.protocol === 0 || route.protocol === filter.protocol),
      ),
    listForeign() {
      const found = dumpRoutes(socket, { protocol: 0, table: MAIN_TABLE }, (body) => (isForeign(routeHead(body)) ? decodeRoute(body) : undefined), glanceAtForeign(BY_HAND_AT_MOST));
      const isDefault = ({ destination }: Route): boolean => destination === 'default';
      return { foreignDefaults: found.filter(isDefault), foreignRoutes: found.filter((route) => !isDefault(route)) };
    },
    listOurRules: () =>
      socket
        .dump(RTM_GETRULE, writeRuleRequest, ({ type, body }) => (type === RTM_NEWRULE ? decodeRule(body) : undefined))
        .filter((rule) => rule.protocol === OUR_PROTOCOL),
    survey: () => ({
      rules: socket.dump(RTM_GETRULE, writeRuleRequest, ({ type, body }) => (type === RTM_NEWRULE ? decodeForeignRule(body) : undefined)),
      routes: dumpRoutes(socket, ANY_ROUTE, decodeIntruder),
      defaults: dumpRoutes(socket, ANY_ROUTE, decodeRefusal, glanceAtWide),
    }),
    addRoute: (route) => socket.change(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, (out) => writeRoute(out, route)),
    prependRoute: (route) => socket.change(RTM_NEWROUTE, NLM_F_CREATE, (out) => writeRoute(out, route)),
    replaceRoute: (route) => socket.change(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, (out) => writeRoute(out, route)),
    deleteRoute: (route) => socket.change(RTM_DELROUTE, 0, (out) => writeRoute(out, route)),
    useAddress(address, inUse) {
      const found = socket.dump(RTM_GETADDR, writeAddressRequest, ({ type, body }) => {
        const other = type === RTM_NEWADDR ? decodeAddress(body) : undefined;
        return other?.address === address.address && other.ifindex === address.ifindex ? decodeLife(body) : undefined;
      });
      const [life] = found;
      if (life === undefined) return 'ENOENT: there is no such address';
      return socket.change(RTM_NEWADDR, NLM_F_REPLACE, (out) => writeAddressUse(out, address, life, inUse, inUse ? 0 : OUR_PROTOCOL));
    },
    addRule: (rule) => socket.change(RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, (out) => writeRule(out, rule)),
    deleteRule: (rule) => socket.change(RTM_DELRULE, 0, (out) => writeRule(out, rule)),
    get port() {
      return socket.port;
    },
    close: () => socket.close(),
  };
}

/** A default route in main that is not ours, by its header alone. */
function isForeignDefault(head: RouteHead): boolean {
  return head.prefixLength === 0 && head.tableByte === MAIN_TABLE && head.protocol !== OUR_PROTOCOL;
}

/** A route in main of others that matters to us, by its header alone. */
export function isForeign(head: RouteHead): boolean {
  return isForeignDefault(head) || isByHand(head);
}

const BOTH: readonly Family[] = [4, 6];
/** Who loads a country's prefixes as static routes has thousands: reading them all would hold the loop. */
const BY_HAND_AT_MOST = 512;

/** @param decode undefined = not wanted */
function dumpLinks<T>(socket: NetlinkSocket, decode: (body: Buffer) => T | undefined): T[] {
  return socket.dump(
    RTM_GETLINK,
    (out) => writeLinkRequest(out, 0),
    ({ type, body }) => (type === RTM_NEWLINK ? decode(body) : undefined),
  );
}

function getLink(socket: NetlinkSocket, ifindex: number): Link | undefined {
  const answer = socket.ask(RTM_GETLINK, (out) => writeLinkRequest(out, ifindex));
  if (typeof answer !== 'string') return decodeLink(answer.body);
  if (answer.startsWith('ENODEV')) return undefined;
  throw new KernelError(answer.split(':')[0] ?? '', `device ${ifindex} could not be asked for: ${answer}`);
}

interface RouteFilter {
  readonly protocol: number;
  readonly table: number;
}

const ANY_ROUTE: RouteFilter = { protocol: 0, table: 0 };

/** One family at a time: a table that does not exist is an error then, and means that there are none. */
function dumpRoutes<T extends { readonly family: Family }>(socket: NetlinkSocket, filter: RouteFilter, decode: (body: Buffer) => T | undefined, glance?: Glance): T[] {
  return BOTH.flatMap((family) => {
    try {
      return socket.dump(
        RTM_GETROUTE,
        (out) => writeRouteRequest(out, family, filter),
        ({ type, body }) => (type === RTM_NEWROUTE ? ofFamily(family, decode(body)) : undefined),
        glance,
      );
    } catch (error) {
      if (error instanceof KernelError && error.code === 'ENOENT') return [];
      throw error;
    }
  });
}

/** A kernel without IPv6 answers a question for its routes with everything it has. */
function ofFamily<T extends { readonly family: Family }>(family: Family, object: T | undefined): T | undefined {
  return object?.family === family ? object : undefined;
}
