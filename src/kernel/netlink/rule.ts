/** Policy rules as rtnetlink tells and takes them: struct fib_rule_hdr and FRA_* (include/uapi/linux/fib_rules.h). */
import type { Family, Rule } from '../../model.js';
import { Attributes, type Writer } from './codec.js';
import { KernelError } from './error.js';
import { addressBits, afOf, familyOf, formatAddress, parseAddress, unspecified } from './inet.js';

export const RTM_NEWRULE = 32;
export const RTM_DELRULE = 33;
export const RTM_GETRULE = 34;

const FIB_RULE_HDR_BYTES = 12;
const FR_ACT_TO_TBL = 1;
const FRA_DST = 1;
const FRA_SRC = 2;
const FRA_IIFNAME = 3;
const LOOPBACK = 'lo';
const FRA_PRIORITY = 6;
const FRA_FWMARK = 10;
const FRA_SUPPRESS_PREFIXLEN = 14;
const FRA_TABLE = 15;
const FRA_FWMASK = 16;
const FRA_OIFNAME = 17;
const FRA_PROTOCOL = 21;

/** undefined for actions other than lookup and families that are not the internet's. @throws KernelError EBADMSG */
export function decodeRule(body: Buffer): Rule | undefined {
  const attributes = new Attributes(body, FIB_RULE_HDR_BYTES);
  const family = familyOf(body.readUInt8(0));
  if (family === undefined || body.readUInt8(7) !== FR_ACT_TO_TBL) return undefined;
  const bytes = unspecified(family).length;
  const prefix = (attribute: number, length: number): string => {
    const value = attributes.bytes(attribute, bytes);
    if (length > 0 && value === undefined) throw new KernelError('EBADMSG', 'a rule with a length and no prefix');
    return value === undefined ? '' : `${formatAddress(value.subarray(0, bytes))}/${length}`;
  };
  const to = prefix(FRA_DST, body.readUInt8(1));
  return {
    family,
    preference: attributes.u32(FRA_PRIORITY) ?? 0,
    protocol: attributes.u8(FRA_PROTOCOL) ?? 0,
    table: attributes.u32(FRA_TABLE) ?? body.readUInt8(4),
    from: prefix(FRA_SRC, body.readUInt8(2)),
    ...(to === '' ? {} : { to }),
    ...(attributes.text(FRA_IIFNAME) === LOOPBACK ? { own: true } : {}),
    outInterface: attributes.text(FRA_OIFNAME) ?? '',
    mark: attributes.u32(FRA_FWMARK) ?? 0,
    markMask: attributes.u32(FRA_FWMASK) ?? 0,
    suppressPrefixLength: attributes.i32(FRA_SUPPRESS_PREFIXLEN) ?? -1,
  };
}

/** The body of a RTM_NEWRULE or RTM_DELRULE. @throws RangeError for text that is no address */
export function writeRule(out: Writer, rule: Rule): void {
  const [source, destination] = [prefixIn(rule.family, rule.from), prefixIn(rule.family, rule.to ?? '')];
  out
    .u8(afOf(rule.family))
    .u8(destination.bits)
    .u8(source.bits)
    .u8(0)
    .u8(rule.table < 256 ? rule.table : 0)
    .u16(0)
    .u8(FR_ACT_TO_TBL)
    .u32(0);
  out.attributeU32(FRA_PRIORITY, rule.preference).attributeU32(FRA_TABLE, rule.table).attributeU8(FRA_PROTOCOL, rule.protocol);
  if (destination.address !== '') out.attribute(FRA_DST, parseAddress(destination.address));
  if (source.address !== '') out.attribute(FRA_SRC, parseAddress(source.address));
  if (rule.own === true) out.attributeText(FRA_IIFNAME, LOOPBACK);
  if (rule.outInterface !== '') out.attributeText(FRA_OIFNAME, rule.outInterface);
  if (rule.markMask !== 0) out.attributeU32(FRA_FWMARK, rule.mark).attributeU32(FRA_FWMASK, rule.markMask);
  if (rule.suppressPrefixLength >= 0) out.attributeU32(FRA_SUPPRESS_PREFIXLEN, rule.suppressPrefixLength);
}

/** The body of a RTM_GETRULE dump of both families. */
export function writeRuleRequest(out: Writer): void {
  out.u32(0).u32(0).u32(0);
}

function prefixIn(family: Family, text: string): { readonly address: string; readonly bits: number } {
  const [address = '', bits = ''] = text.split('/');
  return { address, bits: address === '' ? 0 : bits === '' ? addressBits(family) : Number(bits) };
}
