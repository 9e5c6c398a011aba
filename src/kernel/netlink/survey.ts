/**
 * What others have put into the kernel's routing beside us, for the doctor: their rules, of whatever action; their routes in tables of
 * ours; defaults in main that refuse. Asked for by hand, so it may dump everything.
 */
import { ACTIVE_TABLE, MAIN_TABLE, OUR_PROTOCOL, isClassTable } from '../../core/layout.js';
import type { Family, Route } from '../../model.js';
import { Attributes } from './codec.js';
import { familyOf, formatAddress, unspecified } from './inet.js';
import { decodeRoute, routeHead } from './route.js';

/** A policy rule that is not ours. */
export interface ForeignRule {
  readonly family: Family;
  readonly preference: number;
  readonly protocol: number;
  /** 0 where the action is not a lookup. */
  readonly table: number;
  /** CIDR or ''. */
  readonly from: string;
  readonly to: string;
  readonly inInterface: string;
  readonly outInterface: string;
  readonly mark: number;
  readonly markMask: number;
  /** `not`: fits what does not fit the selectors. */
  readonly inverted: boolean;
  readonly suppressPrefixLength: number;
  /** What it does instead of a lookup: `prohibit`, `blackhole`, `unreachable`, `goto 32766`; absent = it looks up. */
  readonly action?: string;
  /** Its other selectors, as `ip rule` shows them: ` uidrange 0-0 ipproto 6 dport 53`; absent = none. */
  readonly more?: string;
}

/** A route in main for half of the world or all of it that refuses instead of leading somewhere. */
export interface RefusingRoute {
  readonly family: Family;
  /** Absent = `default`. */
  readonly destination?: string;
  /** `blackhole`, `unreachable`, `prohibit`, `throw`. */
  readonly kind: string;
  readonly metric: number;
}

export interface Survey {
  readonly rules: readonly ForeignRule[];
  /** Foreign routes in tables of ours. */
  readonly routes: readonly Route[];
  readonly defaults: readonly RefusingRoute[];
}

const FIB_RULE_HDR_BYTES = 12;
const FIB_RULE_INVERT = 0x2;
const FR_ACT_TO_TBL = 1;
const FRA = {
  dst: 1, src: 2, iifname: 3, goto: 4, priority: 6, fwmark: 10, suppress: 14, table: 15, fwmask: 16, oifname: 17, l3mdev: 19, uids: 20, protocol: 21,
  ipProtocol: 22, sourcePorts: 23, destinationPorts: 24,
} as const;
/** fib_rule_hdr.action, linux/fib_rules.h */
const ACTIONS: Readonly<Record<number, string>> = { 2: 'goto', 3: 'nop', 6: 'blackhole', 7: 'unreachable', 8: 'prohibit' };
const RTMSG_BYTES = 12;
const RTA_PRIORITY = 6;
/** rtm_type, linux/rtnetlink.h */
const REFUSALS: Readonly<Record<number, string>> = { 6: 'blackhole', 7: 'unreachable', 8: 'prohibit', 9: 'throw' };

/** undefined for our own and for families that are not the internet's. @throws KernelError EBADMSG */
export function decodeForeignRule(body: Buffer): ForeignRule | undefined {
  const attributes = new Attributes(body, FIB_RULE_HDR_BYTES);
  const family = familyOf(body.readUInt8(0));
  const protocol = attributes.u8(FRA.protocol) ?? 0;
  if (family === undefined || protocol === OUR_PROTOCOL) return undefined;
  const prefix = (attribute: number, length: number): string => {
    const bytes = attributes.bytes(attribute, unspecified(family).length);
    return bytes === undefined ? '' : `${formatAddress(bytes.subarray(0, unspecified(family).length))}/${length}`;
  };
  const mark = attributes.u32(FRA.fwmark) ?? 0;
  const action = ACTIONS[body.readUInt8(7)];
  const more = otherSelectors(attributes, body.readUInt8(3));
  return {
    family, protocol, preference: attributes.u32(FRA.priority) ?? 0,
    table: body.readUInt8(7) === FR_ACT_TO_TBL ? attributes.u32(FRA.table) ?? body.readUInt8(4) : 0,
    from: prefix(FRA.src, body.readUInt8(2)), to: prefix(FRA.dst, body.readUInt8(1)),
    inInterface: attributes.text(FRA.iifname) ?? '', outInterface: attributes.text(FRA.oifname) ?? '',
    mark, markMask: attributes.u32(FRA.fwmask) ?? 0, inverted: (body.readUInt32LE(8) & FIB_RULE_INVERT) !== 0,
    suppressPrefixLength: attributes.i32(FRA.suppress) ?? -1,
    ...(action === undefined ? {} : { action: action === 'goto' ? `goto ${attributes.u32(FRA.goto) ?? 0}` : action }),
    ...(more === '' ? {} : { more }),
  };
}

/** Two numbers of 16 bits. */
function ports(bytes: Buffer | undefined, word: string): string {
  if (bytes === undefined) return '';
  const [first, last] = [bytes.readUInt16LE(0), bytes.readUInt16LE(2)];
  return ` ${word} ${first === last ? first : `${first}-${last}`}`;
}

function otherSelectors(attributes: Attributes, tos: number): string {
  const uids = attributes.bytes(FRA.uids, 8);
  const protocol = attributes.u8(FRA.ipProtocol);
  return [
    tos === 0 ? '' : ` tos 0x${tos.toString(16)}`, (attributes.u8(FRA.l3mdev) ?? 0) === 0 ? '' : ' lookup [l3mdev-table]',
    uids === undefined ? '' : ` uidrange ${uids.readUInt32LE(0)}-${uids.readUInt32LE(4)}`, protocol === undefined ? '' : ` ipproto ${protocol}`,
    ports(attributes.bytes(FRA.sourcePorts, 4), 'sport'), ports(attributes.bytes(FRA.destinationPorts, 4), 'dport'),
  ].join('');
}

/** A foreign route in one of our tables. @throws KernelError EBADMSG */
export function decodeIntruder(body: Buffer): Route | undefined {
  const { protocol, tableByte } = routeHead(body);
  // Tables above 255 do not fit into the header's byte.
  if (protocol === OUR_PROTOCOL || tableByte !== RT_TABLE_COMPAT) return undefined;
  const route = decodeRoute(body);
  return route !== undefined && route.table >= ACTIVE_TABLE && (route.table < ACTIVE_TABLE + 200 || isClassTable(route.table)) ? route : undefined;
}

const RT_TABLE_COMPAT = 252;

/** As far as kill switches go: halves of the world, and IPv6's global part (2000::/3). */
const WIDEST = 3;

export function glanceAtWide(bytes: Buffer, bodyAt: number): boolean {
  return bodyAt + RTMSG_BYTES > bytes.length || bytes[bodyAt + 1]! <= WIDEST;
}

/** @throws KernelError EBADMSG */
export function decodeRefusal(body: Buffer): RefusingRoute | undefined {
  const { prefixLength, protocol, tableByte } = routeHead(body);
  const family = familyOf(body.readUInt8(0));
  const kind = REFUSALS[body.readUInt8(7)];
  if (family === undefined || kind === undefined || prefixLength > WIDEST || tableByte !== MAIN_TABLE || protocol === OUR_PROTOCOL) return undefined;
  const destination = decodeRoute(body)?.destination ?? 'default';
  return { family, kind, metric: new Attributes(body, RTMSG_BYTES).u32(RTA_PRIORITY) ?? 0, ...(prefixLength === 0 ? {} : { destination }) };
}
