/** Policy rules as rtnetlink tells and takes them: struct fib_rule_hdr and FRA_* (include/uapi/linux/fib_rules.h). */
import type { Rule } from '../../model.js';
import { Attributes, type Writer } from './codec.js';
import { KernelError } from './error.js';
import { addressBits, afOf, familyOf, formatAddress, parseAddress, unspecified } from './inet.js';

export const RTM_NEWRULE = 32;
export const RTM_DELRULE = 33;
export const RTM_GETRULE = 34;

const FIB_RULE_HDR_BYTES = 12;
const FR_ACT_TO_TBL = 1;
const FRA_SRC = 2;
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
  const sourceLength = body.readUInt8(2);
  const bytes = unspecified(family).length;
  const source = attributes.bytes(FRA_SRC, bytes);
  if (sourceLength > 0 && source === undefined) throw new KernelError('EBADMSG', 'a rule with a source length and no source');
  return {
    family,
    preference: attributes.u32(FRA_PRIORITY) ?? 0,
    protocol: attributes.u8(FRA_PROTOCOL) ?? 0,
    table: attributes.u32(FRA_TABLE) ?? body.readUInt8(4),
    from: source === undefined ? '' : `${formatAddress(source.subarray(0, bytes))}/${sourceLength}`,
    outInterface: attributes.text(FRA_OIFNAME) ?? '',
    mark: attributes.u32(FRA_FWMARK) ?? 0,
    markMask: attributes.u32(FRA_FWMASK) ?? 0,
    suppressPrefixLength: attributes.i32(FRA_SUPPRESS_PREFIXLEN) ?? -1,
  };
}

/** The body of a RTM_NEWRULE or RTM_DELRULE. @throws RangeError for text that is no address */
export function writeRule(out: Writer, rule: Rule): void {
  const [prefix = '', bits = ''] = rule.from.split('/');
  const sourceLength = rule.from === '' ? 0 : bits === '' ? addressBits(rule.family) : Number(bits);
  out
    .u8(afOf(rule.family))
    .u8(0)
    .u8(sourceLength)
    .u8(0)
    .u8(rule.table < 256 ? rule.table : 0)
    .u16(0)
    .u8(FR_ACT_TO_TBL)
    .u32(0);
  out.attributeU32(FRA_PRIORITY, rule.preference).attributeU32(FRA_TABLE, rule.table).attributeU8(FRA_PROTOCOL, rule.protocol);
  if (rule.from !== '') out.attribute(FRA_SRC, parseAddress(prefix));
  if (rule.outInterface !== '') out.attributeText(FRA_OIFNAME, rule.outInterface);
  if (rule.markMask !== 0) out.attributeU32(FRA_FWMARK, rule.mark).attributeU32(FRA_FWMASK, rule.markMask);
  if (rule.suppressPrefixLength >= 0) out.attributeU32(FRA_SUPPRESS_PREFIXLEN, rule.suppressPrefixLength);
}

/** The body of a RTM_GETRULE dump of both families. */
export function writeRuleRequest(out: Writer): void {
  out.u32(0).u32(0).u32(0);
}
