/**
 * A connection as conntrack names it: two tuples, the packets of its beginner (`original`) and those that answer (`reply`).
 * Where nothing is translated the one is the other reversed; a source translation shows as a reply to somebody else than the
 * beginner, a destination translation as a reply from somebody else than the one who was asked. Addresses and ports are kept
 * as bytes: there may be 200,000 of these. Source: include/uapi/linux/netfilter/nfnetlink_conntrack.h.
 */
import type { Family } from '../model.js';
import { AttributeIndex } from './netlink/attribute-index.js';
import {
  CTA_IP_V4_DST, CTA_IP_V4_SRC, CTA_IP_V6_DST, CTA_IP_V6_SRC, CTA_PROTO_DST_PORT, CTA_PROTO_NUM, CTA_PROTO_SRC_PORT,
  CTA_TUPLE_IP, CTA_TUPLE_PROTO,
} from './netlink/ctnetlink.js';
import { KernelError } from './netlink/error.js';

export const IPPROTO_TCP = 6;

/** The packets of one direction. */
export interface Tuple {
  /** Of the internet: 6 TCP, 17 UDP, ... */
  readonly protocol: number;
  /** In network order, 4 or 16 bytes. */
  readonly source: Buffer;
  readonly destination: Buffer;
  /** undefined for protocols without ports. */
  readonly sourcePort: number | undefined;
  readonly destinationPort: number | undefined;
}

export interface Flow {
  readonly family: Family;
  readonly original: Tuple;
  readonly reply: Tuple;
}

/** Reads connections one after the other out of indexed messages. */
export class FlowReader {
  private readonly parts = new AttributeIndex();
  private readonly detail = new AttributeIndex();

  /**
   * @param original type of the attribute that is the one tuple, `reply` of the other
   * @returns undefined where one of them is missing
   * @throws KernelError EBADMSG
   */
  read(message: AttributeIndex, original: number, reply: number): Flow | undefined {
    if (!message.has(original) || !message.has(reply)) return undefined;
    const there = this.readTuple(message, original);
    return { family: there.source.length === 4 ? 4 : 6, original: there, reply: this.readTuple(message, reply) };
  }

  private readTuple(message: AttributeIndex, type: number): Tuple {
    const ip = this.detail.readNested(this.parts.readNested(message, type), CTA_TUPLE_IP);
    const source = ip.copy(CTA_IP_V4_SRC, 4) ?? ip.copy(CTA_IP_V6_SRC, 16);
    const destination = ip.copy(CTA_IP_V4_DST, 4) ?? ip.copy(CTA_IP_V6_DST, 16);
    const proto = this.detail.readNested(this.parts, CTA_TUPLE_PROTO);
    const protocol = proto.u8(CTA_PROTO_NUM);
    if (source === undefined || destination?.length !== source.length || protocol === undefined) throw new KernelError('EBADMSG', 'a connection whose ends are not told');
    return { protocol, source, destination, sourcePort: proto.u16be(CTA_PROTO_SRC_PORT), destinationPort: proto.u16be(CTA_PROTO_DST_PORT) };
  }
}
