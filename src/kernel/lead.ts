/**
 * Leads datagram flows of the router itself to another line, where forgetting alone would not: a socket whose source
 * address is fixed (WireGuard takes the one that its peer wrote to last) goes on where that address leads, and the next
 * packet of the far end makes the entry anew, with the mark of the line that is left. So two entries take its place:
 *
 *   going     what the router sends from the old address leaves by the new line, translated to its address
 *   coming    what still arrives at the old address is let in, belongs to no line, and is answered by `going`
 *
 *   router A:p ── going ──► B:r ──new line──► peer P:q
 *   router A:p ◄─ coming ── A:p ◄─old line── peer P:q
 *
 * A peer that roams answers to B. WireGuard sees the answer arrive by another device than A's route has, lets go of A, and
 * sends from B under its own port by itself, which is why `going` takes another one. That is so in IPv4 alone. No packet
 * prolongs the two: whoever does not answer to B (a NAT that knows A alone), or keeps A, is back on the old line when they end.
 * Source: send4 in drivers/net/wireguard/socket.c, ctnetlink_new_conntrack in net/netfilter/nf_conntrack_netlink.c.
 */
import type { ForgetOrder, LeadOnto } from '../model.js';
import type { Flow, Tuple } from './flow.js';
import { compileMatch, type IsOwn } from './flow-match.js';
import type { Change } from './netlink/aside.js';
import { NLM_F_CREATE, NLM_F_EXCL, type Writer } from './netlink/codec.js';
import * as ct from './netlink/ctnetlink.js';
import { AF_INET, parseAddress } from './netlink/inet.js';

interface Wish {
  readonly onto: LeadOnto | undefined;
  readonly only: ForgetOrder['only'];
}

const UDP = 17;
/** A tunnel that is idle says something every 25 s, as its keepalives do. */
const LED_S = 35;
/** Queries begin anew by themselves; a lease belongs to its line. */
const NEVER_LED = [53, 67];
/** Two halves of net.ipv4.ip_local_port_range: a flow gets a port of the half that its own port is not in. */
const PORTS = { low: [32_768, 46_883], high: [46_884, 60_999] } as const;

/**
 * What the router sends of a flow that is to be led, whichever end began; undefined = not to be led. Untranslated, from
 * another address than the new line's, and of the kind in question as seen from here: a tunnel's other end, which
 * can be dialled, and no client behind a NAT of its own.
 */
export function compileLed({ onto, only }: Wish, isOwn: IsOwn): (flow: Flow) => Tuple | undefined {
  if (onto === undefined || only === undefined) return () => undefined;
  const address = parseAddress(onto.address);
  const fits = compileMatch(only.match);
  return ({ original, reply }) => {
    const there = isOwn(original.source) ? original : reply;
    const { protocol, source, destinationPort = 0 } = there;
    if (protocol !== UDP || source.length !== 4 || !isOwn(source) || source.equals(address)) return undefined;
    return fits(there) && !NEVER_LED.includes(destinationPort) && isReverse(original, reply) ? there : undefined;
  };
}

/** In this order: what stands in their places goes, twice; then come `going` and `coming`. */
export function leadingChanges(there: Tuple, onto: LeadOnto, zone: number | undefined): readonly Change[] {
  const back = reversed(there);
  const seen = ct.IPS_SEEN_REPLY | ct.IPS_ASSURED;
  const rest = (out: Writer, bits: number): void => {
    out.attributeU32be(ct.CTA_STATUS, ct.IPS_CONFIRMED | ct.IPS_FIXED_TIMEOUT | bits);
    out.attributeU32be(ct.CTA_TIMEOUT, LED_S).attributeU32be(ct.CTA_MARK, onto.mark);
    writeZone(out, zone);
  };
  const creating = (write: Change['write']): Change => ({
    type: ct.IPCTNL_MSG_CT_NEW, flags: NLM_F_CREATE | NLM_F_EXCL, write,
  });
  return [
    removal(there, zone),
    removal(back, zone),
    creating((out) => {
      writeEnds(out, there, back);
      writeSource(out, parseAddress(onto.address), (there.sourcePort ?? 0) < PORTS.high[0] ? PORTS.high : PORTS.low);
      rest(out, 0);
    }),
    // Nobody sends from 0.0.0.0: what the router sends is never taken for its answer.
    creating((out) => {
      writeEnds(out, back, { ...there, source: Buffer.alloc(4) });
      rest(out, seen);
    }),
  ];
}

/** Of the entry that began so, if there is one. */
function removal(original: Tuple, zone: number | undefined): Change {
  const write = (out: Writer): void => {
    out.u8(AF_INET).u8(0).u16(0);
    writeTuple(out, ct.CTA_TUPLE_ORIG, original);
    writeZone(out, zone);
  };
  return { type: ct.IPCTNL_MSG_CT_DELETE, flags: 0, write };
}

export function writeZone(out: Writer, zone: number | undefined): void {
  if (zone !== undefined) out.attribute(ct.CTA_ZONE, twoBytes(zone));
}

function reversed({ protocol, source, destination, sourcePort, destinationPort }: Tuple): Tuple {
  return { protocol, source: destination, destination: source, sourcePort: destinationPort, destinationPort: sourcePort };
}

function isReverse(one: Tuple, other: Tuple): boolean {
  const { source, destination, sourcePort, destinationPort } = reversed(one);
  const sameHosts = source.equals(other.source) && destination.equals(other.destination);
  return sameHosts && sourcePort === other.sourcePort && destinationPort === other.destinationPort;
}

function writeEnds(out: Writer, original: Tuple, reply: Tuple): void {
  out.u8(AF_INET).u8(0).u16(0);
  writeTuple(out, ct.CTA_TUPLE_ORIG, original);
  writeTuple(out, ct.CTA_TUPLE_REPLY, reply);
}

function writeTuple(out: Writer, type: number, tuple: Tuple): void {
  const { protocol, source, destination, sourcePort = 0, destinationPort = 0 } = tuple;
  out.nested(type, () => {
    out.nested(ct.CTA_TUPLE_IP, () => out.attribute(ct.CTA_IP_V4_SRC, source).attribute(ct.CTA_IP_V4_DST, destination));
    out.nested(ct.CTA_TUPLE_PROTO, () => {
      out.attributeU8(ct.CTA_PROTO_NUM, protocol).attribute(ct.CTA_PROTO_SRC_PORT, twoBytes(sourcePort));
      out.attribute(ct.CTA_PROTO_DST_PORT, twoBytes(destinationPort));
    });
  });
}

function writeSource(out: Writer, address: Buffer, [first, last]: readonly [number, number]): void {
  out.nested(ct.CTA_NAT_SRC, () => {
    out.attribute(ct.CTA_NAT_V4_MINIP, address).attribute(ct.CTA_NAT_V4_MAXIP, address);
    out.nested(ct.CTA_NAT_PROTO, () => {
      out.attribute(ct.CTA_PROTONAT_PORT_MIN, twoBytes(first)).attribute(ct.CTA_PROTONAT_PORT_MAX, twoBytes(last));
    });
  });
}

function twoBytes(value: number): Buffer {
  return Buffer.of(value >> 8, value & 0xff);
}
