/**
 * Prefixes as packet filters write them: host bits cleared, none twice, none within another one (nft refuses sets whose
 * elements overlap, or merges them, depending on its version).
 */
import type { Family } from '../../model.js';
import { addressBits, formatAddress, parseAddress, startsWith } from '../netlink/inet.js';

export interface Prefix {
  readonly family: Family;
  /** The network's bytes. */
  readonly bytes: Buffer;
  readonly length: number;
}

/** @param text CIDR, or a bare address; undefined = neither */
export function prefixOf(text: string): Prefix | undefined {
  const [address = '', lengthText, more] = text.split('/');
  const bytes = bytesOf(address);
  if (bytes === undefined || more !== undefined) return undefined;
  const family: Family = bytes.length === 4 ? 4 : 6;
  if (lengthText !== undefined && !/^\d{1,3}$/.test(lengthText)) return undefined;
  const length = lengthText === undefined ? addressBits(family) : Number(lengthText);
  if (length > addressBits(family)) return undefined;
  return { family, bytes: bytes.map((byte, i) => byte & maskByte(length - 8 * i)) as Buffer, length };
}

/** Those of one family, sorted, as `address/length`. Texts that are no prefix are left out. */
export function reduced(cidrs: readonly string[], family: Family): readonly string[] {
  const prefixes = cidrs.flatMap((text) => prefixOf(text) ?? []).filter((prefix) => prefix.family === family);
  const outermost = prefixes.filter((prefix, i) => !prefixes.some((other, j) => i !== j && covers(other, prefix) && !(covers(prefix, other) && i < j)));
  return outermost.sort((a, b) => Buffer.compare(a.bytes, b.bytes)).map(({ bytes, length }) => `${formatAddress(bytes)}/${length}`);
}

function covers(outer: Prefix, inner: Prefix): boolean {
  return outer.length <= inner.length && startsWith(inner.bytes, outer.bytes, outer.length);
}

/** The leading `bits` of a byte, which may be fewer than 0 or more than 8. */
function maskByte(bits: number): number {
  return (0xff00 >> Math.min(8, Math.max(0, bits))) & 0xff;
}

function bytesOf(address: string): Buffer | undefined {
  try {
    return parseAddress(address);
  } catch (failure) {
    if (failure instanceof RangeError) return undefined;
    throw failure;
  }
}
