/**
 * Reads one ICMP message as a raw socket hands it over: an echo reply, or an error about an echo request that we sent.
 *
 *   IPv4 (raw(7))    the IP header comes first; RFC 792
 *   IPv6 (RFC 3542)  starts at the ICMPv6 header;  RFC 4443
 *
 * An error carries the head of the packet it is about: its destination, identifier and sequence say whose probe it was, and its data, as far as it
 * is quoted, that whoever says so has seen it.
 * Whatever else comes, short or foreign, is `undefined`: packets from the network never throw.
 */
import { SocketAddress } from 'node:net';
import type { Family } from '../model.js';

export type IcmpMessage =
  | { readonly kind: 'reply'; readonly identifier: number; readonly sequence: number; /** Where the echoed data begin in the packet. */ readonly dataAt: number }
  | {
      readonly kind: 'error';
      readonly identifier: number;
      readonly sequence: number;
      /** Where the quoted data of the probe begin; RFC 792 lets a router quote none of them. */
      readonly dataAt: number;
      /** Where the probe was going, in the notation of `canonical`. */
      readonly destination: string;
      /** Its hops were used up (code 0): there is a router exactly so far away. */
      readonly exceeded: boolean;
      /** It was too big for the next link, which passes so many bytes; 0: too big, and no word of what passes. undefined: some other error. */
      readonly mtu: number | undefined;
      /** `host unreachable (ICMP 3/1)` */
      readonly words: string;
    };

/** The types a prober needs, by family; everything else stays in the kernel (redirects, foreign echo requests, ...). */
export const ECHO_REQUEST = { 4: 8, 6: 128 } as const;
export const ECHO_REPLY = { 4: 0, 6: 129 } as const;
const UNREACHABLE = { 4: 3, 6: 1 } as const;
const TIME_EXCEEDED = { 4: 11, 6: 3 } as const;
/** RFC 4443 3.2; in IPv4 it is a code of "unreachable" (RFC 1191). */
const TOO_BIG_6 = 2;
const FRAGMENTATION_NEEDED_4 = 4;
export const ERRORS = { 4: [UNREACHABLE[4], TIME_EXCEEDED[4]], 6: [UNREACHABLE[6], TOO_BIG_6, TIME_EXCEEDED[6]] } as const;

/** ICMP header: type, code, checksum, identifier, sequence; an error has four unused bytes in place of the last two. */
export const ICMP_HEADER = 8;

/** @param packet what a raw ICMP socket of this family gave, in its first `length` bytes */
export function readIcmp(family: Family, packet: Buffer, length = packet.length): IcmpMessage | undefined {
  const start = family === 4 ? headerLength4(packet, 0) : 0;
  if (start === undefined || length < start + ICMP_HEADER) return undefined;
  const type = packet.readUInt8(start);
  if (type === ECHO_REPLY[family]) return { kind: 'reply', ...echoAt(packet, start) };
  const errors: readonly number[] = ERRORS[family];
  return errors.includes(type) ? readError(family, packet.subarray(0, length), start) : undefined;
}

/** One notation for each address: IPv6 compressed, lower case, without a zone. */
export function canonical(family: Family, address: string): string {
  const bare = address.split('%', 1)[0] ?? address;
  return new SocketAddress({ address: bare, family: family === 4 ? 'ipv4' : 'ipv6' }).address;
}

/** An address as it stands in a packet: 4 or 16 bytes, network byte order. @param address one that isIP accepts */
export function addressBytes(family: Family, address: string): Buffer {
  const text = canonical(family, address);
  if (family === 4) return Buffer.from(text.split('.').map(Number));
  const [head = '', tail] = text.split('::');
  const before = groupsOf(head);
  const after = tail === undefined ? [] : groupsOf(tail);
  const bytes = Buffer.alloc(16);
  for (const [i, group] of before.entries()) bytes.writeUInt16BE(group, 2 * i);
  for (const [i, group] of after.entries()) bytes.writeUInt16BE(group, 16 - 2 * (after.length - i));
  return bytes;
}

export function addressText(family: Family, bytes: Buffer): string {
  return family === 4 ? bytes.join('.') : address6(bytes);
}

/** RFC 1071, of an even number of bytes. */
export function checksum(bytes: Buffer): number {
  let sum = 0;
  for (let i = 0; i + 1 < bytes.length; i += 2) sum += bytes.readUInt16BE(i);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

function groupsOf(text: string): readonly number[] {
  return text === '' ? [] : text.split(':').flatMap((group) => {
    if (!group.includes('.')) return [parseInt(group, 16)];
    const [a = 0, b = 0, c = 0, d = 0] = group.split('.').map(Number);
    return [a * 256 + b, c * 256 + d];
  });
}

function readError(family: Family, packet: Buffer, start: number): IcmpMessage | undefined {
  const inner = start + ICMP_HEADER;
  const innerHeader = family === 4 ? headerLength4(packet, inner) : 40;
  if (innerHeader === undefined || packet.length < inner + innerHeader + ICMP_HEADER) return undefined;
  const [type, code] = [packet.readUInt8(start), packet.readUInt8(start + 1)];
  const mtu = mtuIn(family, type, code, packet.subarray(start));
  return {
    kind: 'error',
    ...echoAt(packet, inner + innerHeader),
    destination: addressText(family, family === 4 ? packet.subarray(inner + 16, inner + 20) : packet.subarray(inner + 24, inner + 40)),
    exceeded: type === TIME_EXCEEDED[family] && code === 0,
    mtu,
    words: mtu === undefined ? wordsFor(family, type, code) : `too big, and not to be fragmented (ICMP${family === 6 ? 'v6' : ''} ${type}/${code})`,
  };
}

/** RFC 1191, 4: the low half of the word that is otherwise unused; RFC 4443, 3.2: all of it. */
function mtuIn(family: Family, type: number, code: number, icmp: Buffer): number | undefined {
  if (family === 4) return type === UNREACHABLE[4] && code === FRAGMENTATION_NEEDED_4 ? icmp.readUInt16BE(6) : undefined;
  return type === TOO_BIG_6 ? icmp.readUInt32BE(4) : undefined;
}

/** Length of the IPv4 header that begins at `offset`. */
function headerLength4(packet: Buffer, offset: number): number | undefined {
  const first = packet[offset];
  if (first === undefined || first >> 4 !== 4) return undefined;
  const length = (first & 0xf) * 4;
  return length >= 20 && packet.length >= offset + length ? length : undefined;
}

function echoAt(packet: Buffer, offset: number): { readonly identifier: number; readonly sequence: number; readonly dataAt: number } {
  return { identifier: packet.readUInt16BE(offset + 4), sequence: packet.readUInt16BE(offset + 6), dataAt: offset + ICMP_HEADER };
}

function address6(bytes: Buffer): string {
  const groups = Array.from({ length: 8 }, (_, i) => bytes.readUInt16BE(2 * i).toString(16));
  return canonical(6, groups.join(':'));
}

/** IANA's names of the codes that an echo request can meet. */
const CODES: Readonly<Record<Family, Readonly<Record<number, string>>>> = {
  4: {
    0: 'network unreachable',
    1: 'host unreachable',
    2: 'protocol unreachable',
    3: 'port unreachable',
    9: 'network administratively prohibited',
    10: 'host administratively prohibited',
    13: 'communication administratively prohibited',
  },
  6: {
    0: 'no route to destination',
    1: 'communication administratively prohibited',
    3: 'address unreachable',
    4: 'port unreachable',
    5: 'source address failed the ingress policy',
    6: 'route rejected',
  },
};

function wordsFor(family: Family, type: number, code: number): string {
  const words = type === UNREACHABLE[family] ? (CODES[family][code] ?? 'destination unreachable') : 'time exceeded on the way (a routing loop?)';
  return `${words} (ICMP${family === 6 ? 'v6' : ''} ${type}/${code})`;
}
