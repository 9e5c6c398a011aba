/**
 * Routes as rtnetlink tells and takes them: struct rtmsg, RTA_*, struct rtnexthop (include/uapi/linux/rtnetlink.h).
 *
 * One hop is written flat (RTA_GATEWAY, RTA_OIF, its flags in rtm_flags), several as RTA_MULTIPATH; a hop's weight is
 * rtnh_hops + 1. `onlink` says: believe us that the gateway can be reached through the device. A gateway of the other family
 * (IPv4 through IPv6) is RTA_VIA. Table numbers are 32 bits wide in RTA_TABLE; the header's byte only serves those below 256.
 * A route that refuses has no hops; IPv6 says that it leads through lo, and IPv4 refuses to be told so.
 */
import type { Family, Hop, Route } from '../../model.js';
import { MAIN_TABLE } from '../../core/layout.js';
import { Attributes, align, type Glance, type Writer } from './codec.js';
import { KernelError } from './error.js';
import { AF_INET6, addressBits, afOf, familyOf, formatAddress, parseAddress, unspecified } from './inet.js';
import { readMetrics, writeMetrics } from './route-metrics.js';

export const RTM_NEWROUTE = 24;
export const RTM_DELROUTE = 25;
export const RTM_GETROUTE = 26;

const RTMSG_BYTES = 12;
const RTNEXTHOP_BYTES = 8;
const RTN_UNICAST = 1;
const RTN_UNREACHABLE = 7;
const REFUSALS: Readonly<Record<number, Route['refuses']>> = { 6: 'blackhole', 8: 'prohibit', 9: 'throw' };
/** The same in every namespace (LOOPBACK_IFINDEX, include/net/flow.h). */
const LOOPBACK = 1;
const RTM_F_CLONED = 0x200;
const RTNH_F_ONLINK = 4;
const RTA_DST = 1;
const RTA_OIF = 4;
const RTA_GATEWAY = 5;
const RTA_PRIORITY = 6;
const RTA_PREFSRC = 7;
const RTA_METRICS = 8;
const RTA_MULTIPATH = 9;
const RTA_TABLE = 15;
const RTA_VIA = 18;

/** What the header alone says: enough to pass over the many routes that are of no interest. */
export interface RouteHead {
  readonly prefixLength: number;
  readonly protocol: number;
  /** RT_TABLE_COMPAT (252) for tables above 255. */
  readonly tableByte: number;
}

/** @throws KernelError EBADMSG */
export function routeHead(body: Buffer): RouteHead {
  if (body.length < RTMSG_BYTES) throw new KernelError('EBADMSG', `a route message of ${body.length} bytes`);
  return { prefixLength: body.readUInt8(1), protocol: body.readUInt8(5), tableByte: body.readUInt8(4) };
}

/** Protocols of routes that people, DHCP clients and VPNs write by themselves (linux/rtnetlink.h): boot, static, ra, dhcp. */
export const BY_HAND: readonly number[] = [3, 4, 9, 16];

/** Networks of IPv6 as providers delegate them; a route that refuses one stands for what is left of it. */
const DELEGATED_LENGTHS = { least: 16, most: 64 };

/** A route in main, to somewhere, that somebody wrote by hand, by its header alone. Routing daemons have protocols of their own. */
export function isByHand(head: RouteHead): boolean {
  return head.prefixLength !== 0 && head.tableByte === MAIN_TABLE && BY_HAND.includes(head.protocol);
}

/** Defaults, and of those that were written by hand up to so many that lead somewhere, and as many that refuse what may be delegated. */
export function glanceAtForeign(atMost: number): Glance {
  const left = { leading: atMost, refusing: atMost };
  return (bytes, bodyAt) => {
    if (glanceAtDefault(bytes, bodyAt)) return true;
    if (!BY_HAND.includes(bytes[bodyAt + 5]!)) return false;
    if (bytes[bodyAt + 7] === RTN_UNICAST) return left.leading-- > 0;
    return bytes[bodyAt] === AF_INET6 && mayBeDelegated(bytes[bodyAt + 1]!) && refusesAll(bytes[bodyAt + 7]!) && left.refusing-- > 0;
  };
}

/** `throw` refuses nothing: the lookup goes on with the next rule. */
function refusesAll(type: number): boolean {
  return type === RTN_UNREACHABLE || (REFUSALS[type] !== undefined && REFUSALS[type] !== 'throw');
}

export function mayBeDelegated(prefixLength: number): boolean {
  return prefixLength >= DELEGATED_LENGTHS.least && prefixLength <= DELEGATED_LENGTHS.most;
}

/** Defaults alone; of 10,000 routes that takes a third of the time that decoding their heads does. */
export function glanceAtDefault(bytes: Buffer, bodyAt: number): boolean {
  return bytes[bodyAt + 1] === 0 || bodyAt + RTMSG_BYTES > bytes.length;
}

/** undefined for what the model leaves out: other types and families, cache entries, unicast routes without a device. @throws KernelError EBADMSG */
export function decodeRoute(body: Buffer): Route | undefined {
  const attributes = new Attributes(body, RTMSG_BYTES);
  const family = familyOf(body.readUInt8(0));
  const flags = body.readUInt32LE(8);
  const type = body.readUInt8(7);
  const refuses = REFUSALS[type];
  if (family === undefined || (flags & RTM_F_CLONED) !== 0) return undefined;
  if (type !== RTN_UNICAST && type !== RTN_UNREACHABLE && refuses === undefined) return undefined;
  const multipath = attributes.bytes(RTA_MULTIPATH);
  const hops = type !== RTN_UNICAST ? [] : multipath === undefined ? singleHop(attributes, flags) : decodeHops(multipath);
  if (hops.length === 0 && type === RTN_UNICAST) return undefined;
  const prefixLength = body.readUInt8(1);
  const destination = attributes.bytes(RTA_DST, unspecified(family).length) ?? unspecified(family);
  const source = attributes.bytes(RTA_PREFSRC);
  const metrics = readMetrics(attributes.nested(RTA_METRICS));
  return {
    family,
    table: attributes.u32(RTA_TABLE) ?? body.readUInt8(4),
    destination: prefixLength === 0 ? 'default' : `${readAddress(destination)}/${prefixLength}`,
    metric: attributes.u32(RTA_PRIORITY) ?? 0,
    protocol: body.readUInt8(5),
    scope: body.readUInt8(6),
    source: source === undefined ? '' : readAddress(source),
    hops,
    ...(metrics === '' ? {} : { metrics }),
    ...(refuses === undefined ? {} : { refuses }),
  };
}

/** The body of a RTM_NEWROUTE or RTM_DELROUTE. @throws RangeError for text that is no address */
export function writeRoute(out: Writer, route: Route): void {
  const [first, ...more] = route.hops;
  const [prefix = '', bits = ''] = route.destination.split('/');
  const prefixLength = route.destination === 'default' ? 0 : bits === '' ? addressBits(route.family) : Number(bits);
  out
    .u8(afOf(route.family))
    .u8(prefixLength)
    .u16(0)
    .u8(route.table < 256 ? route.table : 0)
    .u8(route.protocol)
    .u8(route.scope)
    .u8(first === undefined ? refusalType(route) : RTN_UNICAST)
    .u32(first !== undefined && more.length === 0 && first.onlink ? RTNH_F_ONLINK : 0);
  if (prefixLength > 0) out.attribute(RTA_DST, parseAddress(prefix));
  out.attributeU32(RTA_TABLE, route.table).attributeU32(RTA_PRIORITY, route.metric);
  if (route.source !== '') out.attribute(RTA_PREFSRC, parseAddress(route.source));
  if (route.metrics !== undefined) out.nested(RTA_METRICS, () => writeMetrics(out, route.metrics ?? ''));
  if (first === undefined) {
    // A delete in IPv6 does not look at the type: without its device it would take a unicast route as well.
    if (route.family === 6) out.attributeU32(RTA_OIF, LOOPBACK);
  } else if (more.length === 0) {
    writeGateway(out, route, first);
    out.attributeU32(RTA_OIF, first.ifindex);
  } else writeHops(out, route);
}

/** The body of a strict RTM_GETROUTE dump of all types. Protocol 0 = any; table 0 = all. */
export function writeRouteRequest(out: Writer, family: Family, filter: { readonly protocol: number; readonly table: number }): void {
  out.u32(afOf(family)).u8(0).u8(filter.protocol).u8(0).u8(0).u32(0);
  if (filter.table !== 0) out.attributeU32(RTA_TABLE, filter.table);
}

function refusalType({ refuses }: Route): number {
  const found = Object.entries(REFUSALS).find(([, kind]) => kind === refuses);
  return found === undefined ? RTN_UNREACHABLE : Number(found[0]);
}

function singleHop(attributes: Attributes, flags: number): Hop[] {
  const ifindex = attributes.u32(RTA_OIF);
  if (ifindex === undefined) return [];
  return [{ ifindex, via: readGateway(attributes), weight: 1, onlink: (flags & RTNH_F_ONLINK) !== 0 }];
}

function decodeHops(bytes: Buffer): Hop[] {
  const hops: Hop[] = [];
  let at = 0;
  while (bytes.length - at >= RTNEXTHOP_BYTES) {
    const length = bytes.readUInt16LE(at);
    if (length < RTNEXTHOP_BYTES || at + length > bytes.length) {
      throw new KernelError('EBADMSG', `a hop that says it has ${length} bytes, of ${bytes.length - at}`);
    }
    const hop = bytes.subarray(at, at + length);
    hops.push({
      ifindex: hop.readInt32LE(4),
      via: readGateway(new Attributes(hop, RTNEXTHOP_BYTES)),
      weight: hop.readUInt8(3) + 1,
      onlink: (hop.readUInt8(2) & RTNH_F_ONLINK) !== 0,
    });
    at += align(length);
  }
  return hops;
}

/** '' = directly through the device. */
function readGateway(attributes: Attributes): string {
  const gateway = attributes.bytes(RTA_GATEWAY) ?? attributes.bytes(RTA_VIA, 2)?.subarray(2);
  return gateway === undefined ? '' : readAddress(gateway);
}

function writeHops(out: Writer, route: Route): void {
  out.sized(RTA_MULTIPATH, () => {
    for (const hop of route.hops) {
      out.counted(() => {
        out
          .u8(hop.onlink ? RTNH_F_ONLINK : 0)
          .u8(hop.weight - 1)
          .u32(hop.ifindex);
        writeGateway(out, route, hop);
      });
    }
  });
}

function writeGateway(out: Writer, route: Route, hop: Hop): void {
  if (hop.via === '') return;
  const bytes = parseAddress(hop.via);
  const family = bytes.length === 4 ? 4 : 6;
  if (family === route.family) {
    out.attribute(RTA_GATEWAY, bytes);
    return;
  }
  const header = Buffer.alloc(2);
  header.writeUInt16LE(afOf(family), 0);
  out.attribute(RTA_VIA, Buffer.concat([header, bytes]));
}

function readAddress(bytes: Buffer): string {
  if (bytes.length !== 4 && bytes.length !== 16) throw new KernelError('EBADMSG', `an address of ${bytes.length} bytes in a route`);
  return formatAddress(bytes);
}
