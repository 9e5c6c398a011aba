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
}

/** A default route in main that refuses instead of leading somewhere. */
export interface RefusingDefault {
  readonly family: Family;
  /** `blackhole`, `unreachable`, `prohibit`, `throw`. */
  readonly kind: string;
  readonly metric: number;
}

export interface Survey {
  readonly rules: readonly ForeignRule[];
  /** Foreign routes in tables of ours. */
  readonly routes: readonly Route[];
  readonly defaults: readonly RefusingDefault[];
}

const FIB_RULE_HDR_BYTES = 12;
const FIB_RULE_INVERT = 0x2;
const FR_ACT_TO_TBL = 1;
const FRA = { dst: 1, src: 2, iifname: 3, priority: 6, fwmark: 10, suppress: 14, table: 15, fwmask: 16, oifname: 17, protocol: 21 } as const;
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
  return {
    family, protocol, preference: attributes.u32(FRA.priority) ?? 0,
    table: body.readUInt8(7) === FR_ACT_TO_TBL ? attributes.u32(FRA.table) ?? body.readUInt8(4) : 0,
    from: prefix(FRA.src, body.readUInt8(2)), to: prefix(FRA.dst, body.readUInt8(1)),
    inInterface: attributes.text(FRA.iifname) ?? '', outInterface: attributes.text(FRA.oifname) ?? '',
    mark, markMask: attributes.u32(FRA.fwmask) ?? 0, inverted: (body.readUInt32LE(8) & FIB_RULE_INVERT) !== 0,
    suppressPrefixLength: attributes.i32(FRA.suppress) ?? -1,
  };
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

/** @throws KernelError EBADMSG */
export function decodeRefusal(body: Buffer): RefusingDefault | undefined {
  const { prefixLength, protocol, tableByte } = routeHead(body);
  const family = familyOf(body.readUInt8(0));
  const kind = REFUSALS[body.readUInt8(7)];
  if (family === undefined || kind === undefined || prefixLength !== 0 || tableByte !== MAIN_TABLE || protocol === OUR_PROTOCOL) return undefined;
  return { family, kind, metric: new Attributes(body, RTMSG_BYTES).u32(RTA_PRIORITY) ?? 0 };
}
