/** Addresses as rtnetlink tells them: struct ifaddrmsg and IFA_* (include/uapi/linux/if_addr.h). */
import type { Address } from '../../model.js';
import { Attributes, type Writer } from './codec.js';
import { afOf, formatAddress, familyOf, parseAddress } from './inet.js';
import { KernelError } from './error.js';

export const RTM_NEWADDR = 20;
export const RTM_DELADDR = 21;
export const RTM_GETADDR = 22;

const IFADDRMSG_BYTES = 8;
const IFA_ADDRESS = 1;
const IFA_LOCAL = 2;
const IFA_CACHEINFO = 6;
const IFA_FLAGS = 8;
const IFA_RT_PRIORITY = 9;
const IFA_PROTO = 11;
const IFA_F_DADFAILED = 0x08;
const IFA_F_DEPRECATED = 0x20;
const IFA_F_TENTATIVE = 0x40;
const IFA_F_PERMANENT = 0x80;
/** Those that a replacement takes as new and so has to repeat: nodad, home address, managetempaddr, noprefixroute, mcautojoin. */
const IFA_F_KEPT = 0x02 | 0x10 | 0x100 | 0x200 | 0x400;
const FOREVER_S = 0xffffffff;

/**
 * On a point-to-point line IFA_LOCAL is our end and IFA_ADDRESS the other; elsewhere they are equal, and IPv6 leaves IFA_LOCAL out.
 * undefined for families that are not the internet's, and for addresses that nobody may use: tentative ones, and duplicates.
 * @throws KernelError EBADMSG
 */
export function decodeAddress(body: Buffer): Address | undefined {
  const attributes = new Attributes(body, IFADDRMSG_BYTES);
  const family = familyOf(body.readUInt8(0));
  if (family === undefined) return undefined;
  const flags = attributes.u32(IFA_FLAGS) ?? body.readUInt8(2);
  if ((flags & (IFA_F_TENTATIVE | IFA_F_DADFAILED)) !== 0) return undefined;
  const bytes = family === 4 ? 4 : 16;
  const far = attributes.bytes(IFA_ADDRESS, bytes);
  const own = attributes.bytes(IFA_LOCAL, bytes) ?? far;
  if (own === undefined) throw new KernelError('EBADMSG', 'an address message without an address');
  return {
    family,
    ifindex: body.readUInt32LE(4),
    address: formatAddress(own.subarray(0, bytes)),
    prefixLength: body.readUInt8(1),
    peer: far === undefined || far.equals(own) ? '' : formatAddress(far.subarray(0, bytes)),
    scope: body.readUInt8(3),
    deprecated: (flags & IFA_F_DEPRECATED) !== 0,
    protocol: attributes.u8(IFA_PROTO) ?? 0,
    ...(family === 6 && (flags & IFA_F_PERMANENT) === 0 ? { expires: true } : {}),
  };
}

/** How long an address lasts, and what else a replacement has to repeat of it. */
export interface AddressLife {
  readonly flags: number;
  /** Seconds; 0xffffffff = for ever. */
  readonly validS: number;
  /** Metric of the route to its prefix; 0 = the kernel's own. */
  readonly routeMetric: number;
}

/** @throws KernelError EBADMSG */
export function decodeLife(body: Buffer): AddressLife {
  const attributes = new Attributes(body, IFADDRMSG_BYTES);
  return {
    flags: (attributes.u32(IFA_FLAGS) ?? body.readUInt8(2)) & IFA_F_KEPT,
    validS: attributes.bytes(IFA_CACHEINFO, 16)?.readUInt32LE(4) ?? FOREVER_S,
    routeMetric: attributes.u32(IFA_RT_PRIORITY) ?? 0,
  };
}

/**
 * The body of a RTM_NEWADDR that replaces an address by itself with another preferred lifetime (0, or as long as it is valid).
 * Kernels before 5.18 have no IFA_PROTO and pass over it. Source: net/ipv6/addrconf.c, inet6_addr_modify.
 * @throws RangeError for text that is no address
 */
export function writeAddressUse(out: Writer, address: Address, { flags, validS, routeMetric }: AddressLife, inUse: boolean, protocol: number): void {
  const life = Buffer.alloc(16); // struct ifa_cacheinfo
  life.writeUInt32LE(inUse ? validS : 0, 0);
  life.writeUInt32LE(validS, 4);
  out.u8(afOf(address.family)).u8(address.prefixLength).u8(0).u8(address.scope).u32(address.ifindex);
  out.attribute(IFA_LOCAL, parseAddress(address.address)).attribute(IFA_ADDRESS, parseAddress(address.peer === '' ? address.address : address.peer));
  out.attributeU32(IFA_FLAGS, flags).attribute(IFA_CACHEINFO, life).attributeU8(IFA_PROTO, protocol);
  if (routeMetric !== 0) out.attributeU32(IFA_RT_PRIORITY, routeMetric);
}

/** The body of a RTM_GETADDR for all devices and families. */
export function writeAddressRequest(out: Writer): void {
  out.u32(0).u32(0);
}
