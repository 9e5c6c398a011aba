/**
 * Makes the local ends of connections that were cut find out at once.
 *
 * A connection that was cut bears the cut mark, and the packet filter answers whoever sends on it by a TCP reset. But a client that
 * only receives (a download, a stream, a chat) never sends, and would wait for hours. So it is provoked: it is sent a segment as if
 * from the far end that lies outside its window, and every TCP answers such a segment by an ACK (RFC 9293, 3.10.7.4); that ACK runs
 * into the packet filter, and the reset it gets back fits exactly, because it is made from the ACK's own numbers.
 *
 *   local end in the LAN    two bare ACKs, half the sequence space apart, so that at most one can lie within the window. The second
 *                           has timestamps: BSD passes over segments without where they were agreed on, and Linux (6.14 on) over old
 *                           ones with. Without data neither can do harm. Linux answers one of them per connection and 500 ms
 *                           (tcp_invalid_ratelimit); the limit per host is for challenge ACKs, and these are none.
 *   begun by the router     the socket is ended (SOCK_DESTROY)
 *   anything else           left: it learns when it sends
 *
 * The segments go past netfilter: conntrack never sees them. How far the client is, is asked of the kernel once per address.
 */
import type { Flow } from './flow.js';
import { AsideSocket } from './netlink/aside.js';
import { KernelError } from './netlink/error.js';
import { PacketSender, type Packet } from './netlink/packet-sender.js';
import { NETLINK_ROUTE, NetlinkSocket } from './netlink/socket.js';
import { findWay, type Way } from './netlink/way.js';
import { bareAck, type Ends } from './segment.js';
import { NETLINK_SOCK_DIAG, destroyTcpSockets } from './sock-destroy.js';

export interface Told {
  /** Ends in the LAN that were provoked. */
  readonly provoked: number;
  /** Sockets of the router that were ended. */
  readonly ended: number;
}

export interface Teller {
  /**
   * Tells the local ends of TCP connections that bear the cut mark already. What cannot be told is passed over.
   * @throws KernelError when a netlink socket fails
   */
  tell(flows: readonly Flow[]): Promise<Told>;
  close(): void;
}

/** Connections that are told per teller: a second's work at most. Those beyond learn when they send. */
const TOLD_AT_MOST = 20_000;
/** Connections per turn of the event loop: less than a millisecond even if each is of another client. */
const SLICE = 32;
/** Where the sequence space is entered is of no importance: one of two points so far apart is outside of any window. */
const SEQUENCES = [0x1000_0000, 0x9000_0000] as const;

/** @throws KernelError when netlink cannot be had */
export function openTeller(): Teller {
  const routes = new NetlinkSocket(NETLINK_ROUTE);
  const packets = openPackets();
  const ways = new Map<string, Way>();
  let sockets: AsideSocket | undefined;
  let left = TOLD_AT_MOST;

  const wayTo = (address: Buffer): Way => {
    const key = address.toString('latin1');
    const known = ways.get(key);
    if (known !== undefined) return known;
    const way = findWay(routes, address);
    ways.set(key, way);
    return way;
  };

  const tellSlice = async (flows: readonly Flow[]): Promise<Told> => {
    const segments: Packet[] = [];
    const own: Ends[] = [];
    for (const { near, far } of flows.flatMap((flow) => localEnds(flow, wayTo))) {
      const way = wayTo(near.address);
      if (way.kind === 'own') own.push({ near, far });
      else if (way.kind === 'near' && way.hardware !== undefined) segments.push(...provocation({ near, far }, way.ifindex, way.hardware));
    }
    const taken = segments.length === 0 || packets === undefined ? 0 : await packets.send(segments);
    if (own.length === 0) return { provoked: taken / SEQUENCES.length, ended: 0 };
    sockets ??= new AsideSocket(NETLINK_SOCK_DIAG);
    return { provoked: taken / SEQUENCES.length, ended: await destroyTcpSockets(sockets, own) };
  };

  return {
    async tell(flows) {
      const all = { provoked: 0, ended: 0 };
      const due = flows.slice(0, left);
      left -= due.length;
      for (let at = 0; at < due.length; at += SLICE) {
        const { provoked, ended } = await tellSlice(due.slice(at, at + SLICE));
        all.provoked += provoked;
        all.ended += ended;
      }
      return all;
    },
    close() {
      routes.close();
      packets?.close();
      sockets?.close();
    },
  };
}

/**
 * The end that lies on our side, as its own packets have it. Who was translated shows it. Where nobody was, the routes do; a far end
 * may be a neighbour too, on the uplink's own network: then both are asked, and nothing is lost by it.
 */
function localEnds({ original, reply }: Flow, wayTo: (address: Buffer) => Way): readonly Ends[] {
  const beginner = endsOf(original.source, original.sourcePort, original.destination, original.destinationPort);
  const answerer = endsOf(reply.source, reply.sourcePort, reply.destination, reply.destinationPort);
  if (!original.source.equals(reply.destination) || original.sourcePort !== reply.destinationPort) return beginner;
  if (wayTo(original.source).kind === 'own') return beginner;
  if (!original.destination.equals(reply.source) || original.destinationPort !== reply.sourcePort) return answerer;
  return [...beginner, ...answerer].filter(({ near }) => wayTo(near.address).kind === 'near');
}

function endsOf(near: Buffer, nearPort: number | undefined, far: Buffer, farPort: number | undefined): readonly Ends[] {
  if (nearPort === undefined || farPort === undefined) return [];
  return [{ near: { address: near, port: nearPort }, far: { address: far, port: farPort } }];
}

function provocation(ends: Ends, ifindex: number, hardware: Buffer): readonly Packet[] {
  return SEQUENCES.map((sequence, i) => ({ ifindex, hardware, bytes: bareAck(ends, sequence, i === 1) }));
}

/** undefined where packet sockets are not to be had: whoever only receives then learns nothing, and all else goes on. */
function openPackets(): PacketSender | undefined {
  try {
    return new PacketSender();
  } catch (error) {
    if (error instanceof KernelError) return undefined;
    throw error;
  }
}
