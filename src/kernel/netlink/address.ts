/** Addresses as rtnetlink tells them: struct ifaddrmsg and IFA_* (include/uapi/linux/if_addr.h). */
import type { Address } from '../../model.js';
import { Attributes, type Writer } from './codec.js';
import { formatAddress, familyOf } from './inet.js';
import { KernelError } from './error.js';

export const RTM_NEWADDR = 20;
export const RTM_DELADDR = 21;
export const RTM_GETADDR = 22;

const IFADDRMSG_BYTES = 8;
const IFA_ADDRESS = 1;
const IFA_LOCAL = 2;

/**
 * On a point-to-point line IFA_LOCAL is our end and IFA_ADDRESS the other; elsewhere they are equal, and IPv6 leaves IFA_LOCAL out.
 * undefined for families that are not the internet's.
 * @throws KernelError EBADMSG
 */
export function decodeAddress(body: Buffer): Address | undefined {
  const attributes = new Attributes(body, IFADDRMSG_BYTES);
  const family = familyOf(body.readUInt8(0));
  if (family === undefined) return undefined;
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
  };
}

/** The body of a RTM_GETADDR for all devices and families. */
export function writeAddressRequest(out: Writer): void {
  out.u32(0).u32(0);
}
