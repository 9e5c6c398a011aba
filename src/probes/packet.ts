/**
 * Reads one ICMP message as a raw socket hands it over: an echo reply, or an error about an echo request that we sent.
 *
 *   IPv4 (raw(7))    the IP header comes first; RFC 792
 *   IPv6 (RFC 3542)  starts at the ICMPv6 header;  RFC 4443
 *
 * An error carries the head of the packet it is about: its destination, identifier and sequence say whose probe it was.
 * Whatever else comes, short or foreign, is `undefined`: packets from the network never throw.
 */
import { SocketAddress } from 'node:net';
import type { Family } from '../model.js';

export type IcmpMessage =
  | { readonly kind: 'reply'; readonly identifier: number; readonly sequence: number }
  | {
      readonly kind: 'error';
      readonly identifier: number;
      readonly sequence: number;
      /** Where the probe was going, in the notation of `canonical`. */
      readonly destination: string;
      /** `host unreachable (ICMP 3/1)` */
      readonly words: string;
    };

/** The types a prober needs, by family; everything else stays in the kernel (redirects, foreign echo requests, ...). */
export const ECHO_REPLY = { 4: 0, 6: 129 } as const;
export const ERRORS = { 4: [3, 11], 6: [1, 3] } as const;

/** ICMP header: type, code, checksum, identifier, sequence; an error has four unused bytes in place of the last two. */
const ICMP_HEADER = 8;

/** @param packet what recvfrom gave on a raw ICMP socket of this family */
export function readIcmp(family: Family, packet: Buffer): IcmpMessage | undefined {
  const start = family === 4 ? headerLength4(packet, 0) : 0;
  if (start === undefined || packet.length < start + ICMP_HEADER) return undefined;
  const type = packet.readUInt8(start);
  if (type === ECHO_REPLY[family]) return { kind: 'reply', ...echoAt(packet, start) };
  const errors: readonly number[] = ERRORS[family];
  return errors.includes(type) ? readError(family, packet, start) : undefined;
}

/** The one notation of an address that raw-socket uses too: IPv6 compressed, lower case, without a zone. */
export function canonical(family: Family, address: string): string {
  const bare = address.split('%', 1)[0] ?? address;
  return new SocketAddress({ address: bare, family: family === 4 ? 'ipv4' : 'ipv6' }).address;
}

function readError(family: Family, packet: Buffer, start: number): IcmpMessage | undefined {
  const inner = start + ICMP_HEADER;
  const innerHeader = family === 4 ? headerLength4(packet, inner) : 40;
  if (innerHeader === undefined || packet.length < inner + innerHeader + ICMP_HEADER) return undefined;
  return {
    kind: 'error',
    ...echoAt(packet, inner + innerHeader),
    destination: family === 4 ? packet.subarray(inner + 16, inner + 20).join('.') : address6(packet.subarray(inner + 24, inner + 40)),
    words: wordsFor(family, packet.readUInt8(start), packet.readUInt8(start + 1)),
  };
}

/** Length of the IPv4 header that begins at `offset`. */
function headerLength4(packet: Buffer, offset: number): number | undefined {
  const first = packet[offset];
  if (first === undefined || first >> 4 !== 4) return undefined;
  const length = (first & 0xf) * 4;
  return length >= 20 && packet.length >= offset + length ? length : undefined;
}

function echoAt(packet: Buffer, offset: number): { readonly identifier: number; readonly sequence: number } {
  return { identifier: packet.readUInt16BE(offset + 4), sequence: packet.readUInt16BE(offset + 6) };
}

function address6(bytes: Buffer): string {
  const groups = Array.from({ length: 8 }, (_, i) => bytes.readUInt16BE(2 * i).toString(16));
  return canonical(6, groups.join(':'));
}

/** IANA's names of the codes that an echo request can meet. */
const UNREACHABLE: Readonly<Record<Family, Readonly<Record<number, string>>>> = {
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
  const [unreachable] = ERRORS[family];
  const words = type === unreachable ? (UNREACHABLE[family][code] ?? 'destination unreachable') : 'time exceeded on the way (a routing loop?)';
  return `${words} (ICMP${family === 6 ? 'v6' : ''} ${type}/${code})`;
}
