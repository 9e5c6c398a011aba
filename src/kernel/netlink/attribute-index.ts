/**
 * Where the attributes of a message lie, for those who read hundreds of thousands of messages: one index is used again for each, and
 * nothing is allocated but what is copied out. (`Attributes` makes a view of every attribute: convenient, and with 200,000
 * connections a gigabyte of garbage, whose collection holds the event loop.) Lengths are checked as there; attributes nested too.
 */
import { align } from './codec.js';
import { KernelError } from './error.js';

const ATTRIBUTE_HEADER_BYTES = 4;
const NLA_TYPE_MASK = 0x3fff;
/** Types beyond are skipped. */
const TYPES = 64;

export class AttributeIndex {
  private bytes: Buffer = Buffer.alloc(0);
  private readonly starts = new Uint32Array(TYPES);
  private readonly ends = new Uint32Array(TYPES);

  /** Reads anew, from an offset to another. @throws KernelError EBADMSG */
  read(bytes: Buffer, from: number, to = bytes.length): this {
    this.bytes = bytes;
    this.starts.fill(0);
    for (let at = from; to - at >= ATTRIBUTE_HEADER_BYTES; ) {
      const length = bytes.readUInt16LE(at);
      if (length < ATTRIBUTE_HEADER_BYTES || at + length > to) throw new KernelError('EBADMSG', `an attribute that says it has ${length} bytes, of ${to - at}`);
      const type = bytes.readUInt16LE(at + 2) & NLA_TYPE_MASK;
      if (type < TYPES) {
        this.starts[type] = at + ATTRIBUTE_HEADER_BYTES;
        this.ends[type] = at + length;
      }
      at += align(length);
    }
    return this;
  }

  /** What is nested in an attribute of another index; nothing where that is absent. @throws KernelError EBADMSG */
  readNested(outer: AttributeIndex, type: number): this {
    const start = outer.starts[type]!;
    return this.read(outer.bytes, start, start === 0 ? 0 : outer.ends[type]);
  }

  has(type: number): boolean {
    return this.starts[type] !== 0;
  }

  u8(type: number): number | undefined {
    return this.has(type) ? this.bytes.readUInt8(this.startOf(type, 1)) : undefined;
  }

  u16be(type: number): number | undefined {
    return this.has(type) ? this.bytes.readUInt16BE(this.startOf(type, 2)) : undefined;
  }

  u32be(type: number): number | undefined {
    return this.has(type) ? this.bytes.readUInt32BE(this.startOf(type, 4)) : undefined;
  }

  /** Exact up to 2^53. */
  u64be(type: number): number | undefined {
    if (!this.has(type)) return undefined;
    const at = this.startOf(type, 8);
    return this.bytes.readUInt32BE(at) * 0x1_0000_0000 + this.bytes.readUInt32BE(at + 4);
  }

  /** Of ASCII letters; the NUL at its end is left out. */
  ascii(type: number): string | undefined {
    return this.has(type) ? this.bytes.toString('latin1', this.startOf(type, 1), this.ends[type]! - 1) : undefined;
  }

  /** Stays valid when the message is gone. @throws KernelError EBADMSG when it is shorter than `atLeast` */
  copy(type: number, atLeast = 0): Buffer | undefined {
    return this.has(type) ? Buffer.from(this.bytes.subarray(this.startOf(type, atLeast), this.ends[type])) : undefined;
  }

  private startOf(type: number, atLeast: number): number {
    const start = this.starts[type]!;
    const end = this.ends[type]!;
    if (end - start < atLeast) throw new KernelError('EBADMSG', `attribute ${type} has ${end - start} bytes where ${atLeast} were due`);
    return start;
  }
}
