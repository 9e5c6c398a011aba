/**
 * Does a running connection fit what an order says of it? The counterpart, for conntrack's tuples, of what the packet filter's
 * rules ask of first packets: source and destination are those of the packets that the beginner sends, before any translation.
 *
 * The router's own connections (origin `router`) fit in either direction: of a tunnel between two fixed ports it is mere chance
 * which end spoke first after the last pause, and with it which of the two is "source". Conditions are compiled once per order.
 */
import type { ForgetOrder, Match, PortRange } from '../model.js';
import type { Flow, Tuple } from './flow.js';
import { addressBits, parseAddress, startsWith } from './netlink/inet.js';

export type Kind = NonNullable<ForgetOrder['only']>;
export type Selection = Pick<ForgetOrder, 'translatedTo' | 'only' | 'except'>;
/** Is that an address of the router itself? */
export type IsOwn = (address: Buffer) => boolean;

/** undefined = every connection fits, and need not be looked at. @throws RangeError for an address or CIDR that is none */
export function compileSelection({ translatedTo, only, except }: Selection, isOwn: IsOwn): ((flow: Flow) => boolean) | undefined {
  if (translatedTo === '' && only === undefined && except.length === 0) return undefined;
  const fits = translatedTo === '' ? undefined : bears(compilePrefixes([translatedTo]));
  const wanted = only === undefined ? undefined : compileKind(only, isOwn);
  const unwanted = except.map((kind) => compileKind(kind, isOwn));
  return (flow) => fits?.(flow) !== false && wanted?.(flow) !== false && !unwanted.some((one) => one(flow));
}

/** Began at the router, or ends in it (what is passed on to others by a destination translation does not). */
export function isOfRouter({ original, reply }: Flow, isOwn: IsOwn): boolean {
  return isOwn(original.source) || isOwn(reply.source);
}

/** Began at such an address, was translated to it, or came in to it: when the address is gone, all of these are dead. */
function bears(isFormer: (address: Buffer) => boolean): (flow: Flow) => boolean {
  return ({ original, reply }) => isFormer(reply.destination) || isFormer(original.source) || isFormer(original.destination);
}

function compileKind({ match, origin }: Kind, isOwn: IsOwn): (flow: Flow) => boolean {
  const fits = compileMatch(match);
  switch (origin) {
    case 'any':
      return ({ original }) => fits(original);
    case 'router':
      return (flow) => isOfRouter(flow, isOwn) && (fits(flow.original) || fits(flow.reply));
  }
}

export function compileMatch(match: Match): (tuple: Tuple) => boolean {
  const { sources, destinations, protocol, sourcePorts, destinationPorts } = match;
  const fromThere = compilePrefixes(sources);
  const toThere = compilePrefixes(destinations);
  return (tuple) =>
    isProtocol(tuple, protocol) &&
    isAmong(tuple.sourcePort, sourcePorts) &&
    isAmong(tuple.destinationPort, destinationPorts) &&
    fromThere(tuple.source) &&
    toThere(tuple.destination);
}

function isProtocol(tuple: Tuple, protocol: Match['protocol']): boolean {
  switch (protocol) {
    case 'any':
      return true;
    case 'tcp':
      return tuple.protocol === 6;
    case 'udp':
      return tuple.protocol === 17;
    case 'icmp':
      return tuple.protocol === (tuple.source.length === 4 ? 1 : 58);
  }
}

function isAmong(port: number | undefined, ranges: readonly PortRange[]): boolean {
  return ranges.length === 0 || (port !== undefined && ranges.some(({ first, last }) => port >= first && port <= last));
}

/** Is an address in one of them? None = any is. @throws RangeError for a text that is no prefix */
export function compilePrefixes(texts: readonly string[]): (address: Buffer) => boolean {
  if (texts.length === 0) return () => true;
  const prefixes = texts.map((text) => {
    const [address = '', bits] = text.split('/');
    const bytes = parseAddress(address);
    return { bytes, bits: bits === undefined ? addressBits(bytes.length === 4 ? 4 : 6) : Number(bits) };
  });
  return (address) => prefixes.some((prefix) => startsWith(address, prefix.bytes, prefix.bits));
}
