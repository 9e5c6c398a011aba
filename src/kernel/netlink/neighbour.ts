/** Neighbours (ARP and ND) as rtnetlink tells them: struct ndmsg and NDA_* (include/uapi/linux/neighbour.h). */
import type { Family } from '../../model.js';
import { Attributes, type Writer } from './codec.js';
import { afOf, familyOf, formatAddress, unspecified } from './inet.js';
import { formatLinkAddress } from './link.js';

export const RTM_NEWNEIGH = 28;
export const RTM_GETNEIGH = 30;

const NDMSG_BYTES = 12;
const NDA_DST = 1;
const NDA_LLADDR = 2;

/** NUD_* of the kernel: one word for each bit of ndm_state. */
const STATES = {
  0x01: 'incomplete',
  0x02: 'reachable',
  0x04: 'stale',
  0x08: 'delay',
  0x10: 'probe',
  0x20: 'failed',
  0x40: 'noarp',
  0x80: 'permanent',
} as const;

export interface Neighbour {
  readonly family: Family;
  readonly ifindex: number;
  readonly address: string;
  /** `02:00:00:00:00:01`, '' while it is not known. */
  readonly mac: string;
  readonly state: 'none' | (typeof STATES)[keyof typeof STATES];
}

/** undefined for families that are not the internet's (bridge tables) and entries without an address. @throws KernelError EBADMSG */
export function decodeNeighbour(body: Buffer): Neighbour | undefined {
  const attributes = new Attributes(body, NDMSG_BYTES);
  const family = familyOf(body.readUInt8(0));
  if (family === undefined) return undefined;
  const bytes = unspecified(family).length;
  const address = attributes.bytes(NDA_DST, bytes);
  if (address === undefined) return undefined;
  const bits = body.readUInt16LE(8) as keyof typeof STATES;
  return {
    family,
    ifindex: body.readInt32LE(4),
    address: formatAddress(address.subarray(0, bytes)),
    mac: formatLinkAddress(attributes.bytes(NDA_LLADDR)),
    state: bits in STATES ? STATES[bits] : 'none',
  };
}

/** The body of a RTM_GETNEIGH dump of one family, all devices. */
export function writeNeighbourRequest(out: Writer, family: Family): void {
  out.u32(afOf(family)).u32(0).u32(0);
}
