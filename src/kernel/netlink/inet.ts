/**
 * Internet addresses between text and network bytes, as the kernel and `ip` write them (RFC 5952 for IPv6).
 * Zones (`fe80::1%eth0`) are not part of an address here: the device stands beside it.
 */
import { isIPv4, isIPv6 } from 'node:net';
import type { Family } from '../../model.js';

/** Address families of the kernel (AF_INET, AF_INET6). */
export const AF_INET = 2;
export const AF_INET6 = 10;

export function afOf(family: Family): number {
  return family === 4 ? AF_INET : AF_INET6;
}

/** undefined for any other address family: a message of no interest. */
export function familyOf(af: number): Family | undefined {
  if (af === AF_INET) return 4;
  return af === AF_INET6 ? 6 : undefined;
}

export function addressBits(family: Family): number {
  return family === 4 ? 32 : 128;
}

/** @throws RangeError for bytes that are not 4 or 16 long */
export function formatAddress(bytes: Buffer): string {
  if (bytes.length === 4) return `${bytes[0]}.${bytes[1]}.${bytes[2]}.${bytes[3]}`;
  if (bytes.length === 16) return formatIPv6(bytes);
  throw new RangeError(`an address of ${bytes.length} bytes; 4 or 16 are possible`);
}

/** @throws RangeError for text that is not an address */
export function parseAddress(text: string): Buffer {
  if (isIPv4(text)) return Buffer.from(text.split('.').map(Number));
  if (isIPv6(text) && !text.includes('%')) return parseIPv6(text);
  throw new RangeError(`"${text}" is not an IP address`);
}

/** Are the leading bits the same? Never, between the families. */
export function startsWith(address: Buffer, prefix: Buffer, bits: number): boolean {
  if (address.length !== prefix.length) return false;
  const whole = bits >> 3;
  if (address.compare(prefix, 0, whole, 0, whole) !== 0) return false;
  const rest = bits & 7;
  return rest === 0 || (address[whole]! ^ prefix[whole]!) >> (8 - rest) === 0;
}

/** The unspecified address, for prefixes whose bytes the kernel leaves out. */
export function unspecified(family: Family): Buffer {
  return Buffer.alloc(family === 4 ? 4 : 16);
}

function formatIPv6(bytes: Buffer): string {
  const groups = Array.from({ length: 8 }, (_, i) => bytes.readUInt16BE(2 * i));
  if (groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff) return `::ffff:${formatAddress(bytes.subarray(12))}`;
  const gap = longestZeroRun(groups);
  const hex = groups.map((group) => group.toString(16));
  if (gap.length < 2) return hex.join(':');
  return `${hex.slice(0, gap.start).join(':')}::${hex.slice(gap.start + gap.length).join(':')}`;
}

function longestZeroRun(groups: readonly number[]): { start: number; length: number } {
  let best = { start: 0, length: 0 };
  for (let start = 0; start < groups.length; start++) {
    let length = 0;
    while (groups[start + length] === 0) length++;
    if (length > best.length) best = { start, length };
  }
  return best;
}

/** `text` has been checked by isIPv6. */
function parseIPv6(text: string): Buffer {
  const lastColon = text.lastIndexOf(':');
  const tail = text.slice(lastColon + 1);
  if (tail.includes('.')) {
    const v4 = parseAddress(tail);
    return parseIPv6(`${text.slice(0, lastColon + 1)}${v4.readUInt16BE(0).toString(16)}:${v4.readUInt16BE(2).toString(16)}`);
  }
  const [head = '', rest] = text.split('::');
  const before = head === '' ? [] : head.split(':');
  const after = rest === undefined || rest === '' ? [] : rest.split(':');
  const bytes = Buffer.alloc(16);
  before.forEach((group, i) => bytes.writeUInt16BE(parseInt(group, 16), 2 * i));
  after.forEach((group, i) => bytes.writeUInt16BE(parseInt(group, 16), 16 - 2 * (after.length - i)));
  return bytes;
}
