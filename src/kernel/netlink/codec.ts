/**
 * Netlink's bytes: messages are a 16-byte header (length, type, flags, sequence, port) and a body; a body is a fixed struct
 * and attributes (length, type, value), which nest. Everything is aligned to 4 and in host order (little-endian: the only
 * machines Node runs on), except where netfilter says big-endian.
 *
 * `Writer` builds one request after another in one buffer; `messagesIn` and `Attributes` walk what came back. Lengths are
 * checked before anything is read: bytes that do not fit are a KernelError EBADMSG, never a crash. Attributes that nobody
 * asks for are skipped. Source: include/uapi/linux/netlink.h.
 */
import { KernelError } from './error.js';

export const NLM_F_REQUEST = 0x1;
export const NLM_F_MULTI = 0x2;
export const NLM_F_ACK = 0x4;
export const NLM_F_DUMP_INTR = 0x10;
export const NLM_F_DUMP = 0x300;
export const NLM_F_REPLACE = 0x100;
export const NLM_F_EXCL = 0x200;
export const NLM_F_CREATE = 0x400;
export const NLM_F_CAPPED = 0x100;
export const NLM_F_ACK_TLVS = 0x200;

export const NLMSG_ERROR = 2;
export const NLMSG_DONE = 3;
export const NLMSG_MIN_TYPE = 0x10;

export const HEADER_BYTES = 16;
const ATTRIBUTE_HEADER_BYTES = 4;
const NLA_TYPE_MASK = 0x3fff;
const NLA_F_NESTED = 0x8000;

export interface Message {
  readonly type: number;
  readonly flags: number;
  readonly sequence: number;
  /** Of the one that caused it; 0 = the kernel by itself. */
  readonly port: number;
  /** What follows the header. A view: valid until the buffer is read into again. */
  readonly body: Buffer;
}

/** Whether an object is of interest, by the first bytes of its body at `bodyAt`. It may lie beyond the bytes: then say yes. */
export type Glance = (bytes: Buffer, bodyAt: number) => boolean;

/**
 * @param glance spares most of the work for the thousands of a table that nobody wants. Objects alone are looked at in this way, and
 *        never those that say that the dump was interrupted
 * @throws KernelError EBADMSG for a message that is longer than the bytes, or shorter than its own header
 */
export function* messagesIn(bytes: Buffer, glance?: Glance): Generator<Message> {
  let at = 0;
  while (at < bytes.length) {
    if (bytes.length - at < HEADER_BYTES) throw new KernelError('EBADMSG', `${bytes.length - at} bytes left over where a message header was due`);
    const length = bytes.readUInt32LE(at);
    if (length < HEADER_BYTES || at + length > bytes.length) {
      throw new KernelError('EBADMSG', `a message that says it has ${length} bytes, of ${bytes.length - at}`);
    }
    const type = bytes.readUInt16LE(at + 4);
    const flags = bytes.readUInt16LE(at + 6);
    if (glance !== undefined && type >= NLMSG_MIN_TYPE && (flags & NLM_F_DUMP_INTR) === 0 && !glance(bytes, at + HEADER_BYTES)) {
      at += align(length);
      continue;
    }
    yield {
      type,
      flags,
      sequence: bytes.readUInt32LE(at + 8),
      port: bytes.readUInt32LE(at + 12),
      body: bytes.subarray(at + HEADER_BYTES, at + length),
    };
    at += align(length);
  }
}

/** In their order, those of one type as often as they come. @throws KernelError EBADMSG */
export function eachAttribute(body: Buffer, from: number, take: (type: number, value: Buffer) => void): void {
  for (let at = from; body.length - at >= ATTRIBUTE_HEADER_BYTES; ) {
    const length = body.readUInt16LE(at);
    if (length < ATTRIBUTE_HEADER_BYTES || at + length > body.length) {
      throw new KernelError('EBADMSG', `an attribute that says it has ${length} bytes, of ${body.length - at}`);
    }
    take(body.readUInt16LE(at + 2) & NLA_TYPE_MASK, body.subarray(at + ATTRIBUTE_HEADER_BYTES, at + length));
    at += align(length);
  }
}

/** The attributes of a body, by type; the last of a kind wins, as in the kernel. */
export class Attributes {
  private readonly values = new Map<number, Buffer>();

  /** @throws KernelError EBADMSG */
  constructor(body: Buffer, structBytes: number) {
    if (body.length < structBytes) throw new KernelError('EBADMSG', `a body of ${body.length} bytes where ${structBytes} were due`);
    eachAttribute(body, align(structBytes), (type, value) => this.values.set(type, value));
  }

  /** @throws KernelError EBADMSG when it is there and shorter than `atLeast` */
  bytes(type: number, atLeast = 0): Buffer | undefined {
    const value = this.values.get(type);
    if (value !== undefined && value.length < atLeast) {
      throw new KernelError('EBADMSG', `attribute ${type} has ${value.length} bytes where ${atLeast} were due`);
    }
    return value;
  }

  u8(type: number): number | undefined {
    return this.bytes(type, 1)?.readUInt8(0);
  }

  u32(type: number): number | undefined {
    return this.bytes(type, 4)?.readUInt32LE(0);
  }

  i32(type: number): number | undefined {
    return this.bytes(type, 4)?.readInt32LE(0);
  }

  u32be(type: number): number | undefined {
    return this.bytes(type, 4)?.readUInt32BE(0);
  }

  /** Text up to the first NUL. */
  text(type: number): string | undefined {
    const value = this.values.get(type);
    if (value === undefined) return undefined;
    const end = value.indexOf(0);
    return value.toString('utf8', 0, end < 0 ? value.length : end);
  }

  nested(type: number): Attributes | undefined {
    const value = this.values.get(type);
    return value === undefined ? undefined : new Attributes(value, 0);
  }
}

/** Builds requests in one buffer that is used again and again. */
export class Writer {
  private readonly buffer: Buffer;
  private length = 0;

  constructor(capacityBytes: number) {
    this.buffer = Buffer.alloc(capacityBytes);
  }

  /** The bytes written so far: a view, valid until `clear`. */
  get bytes(): Buffer {
    return this.buffer.subarray(0, this.length);
  }

  clear(): void {
    this.length = 0;
  }

  /** Appends a message whose body is what `body` writes. */
  message(type: number, flags: number, sequence: number, body: (out: this) => void): void {
    const at = this.length;
    this.u32(0).u16(type).u16(flags).u32(sequence).u32(0);
    body(this);
    this.buffer.writeUInt32LE(this.length - at, at);
  }

  u8(value: number): this {
    this.length = this.buffer.writeUInt8(value, this.length);
    return this;
  }

  u16(value: number): this {
    this.length = this.buffer.writeUInt16LE(value, this.length);
    return this;
  }

  u32(value: number): this {
    this.length = this.buffer.writeUInt32LE(value, this.length);
    return this;
  }

  attribute(type: number, value: Buffer): this {
    this.u16(ATTRIBUTE_HEADER_BYTES + value.length).u16(type);
    if (this.length + align(value.length) > this.buffer.length) throw new RangeError('the request is longer than its buffer');
    value.copy(this.buffer, this.length);
    this.buffer.fill(0, this.length + value.length, this.length + align(value.length));
    this.length += align(value.length);
    return this;
  }

  attributeU32(type: number, value: number): this {
    return this.u16(8).u16(type).u32(value);
  }

  attributeU32be(type: number, value: number): this {
    this.u16(8).u16(type);
    this.length = this.buffer.writeUInt32BE(value, this.length);
    return this;
  }

  attributeU8(type: number, value: number): this {
    return this.u16(5).u16(type).u32(value);
  }

  attributeText(type: number, value: string): this {
    return this.attribute(type, Buffer.from(`${value}\0`));
  }

  nested(type: number, write: () => void): this {
    return this.sized(type | NLA_F_NESTED, write);
  }

  /** A nested attribute whose content is there already, in bytes. */
  nestedBytes(type: number, value: Buffer): this {
    return this.attribute(type | NLA_F_NESTED, value);
  }

  /** For attributes that the kernel wants without the nested flag (RTA_MULTIPATH). */
  sized(type: number, write: () => void): this {
    const at = this.length;
    this.u16(0).u16(type);
    write();
    this.buffer.writeUInt16LE(this.length - at, at);
    return this;
  }

  /** A struct whose first two bytes are its own length, with what `write` appends (struct rtnexthop). */
  counted(write: () => void): this {
    const at = this.length;
    this.u16(0);
    write();
    this.buffer.writeUInt16LE(this.length - at, at);
    return this;
  }
}

export function align(length: number): number {
  return (length + 3) & ~3;
}
