/**
 * DNS queries over UDP through one line: sends at once, hears the answer that belongs to the query, and nothing else.
 *
 *   query ──► an idle socket of that server, or a new one ──► random id ──► send
 *   heard ◄── id, name and type fit ◄── from the very server (the socket is connected, so the kernel sees to that)
 *
 * A socket carries one query at a time, and no more than 16: its source port is random, and a guess has to hit port and id. It is used again
 * because a carrier's NAT keeps each new port for minutes, and a customer has a thousand. It is not used again while a query on it is
 * unanswered: what a stale NAT entry swallows must not look like a dead line.
 *
 * An ICMP error is hearsay: whoever guesses a port can make one. It is told if what it quotes is our query, and the answer is awaited all the same.
 */
import { randomInt } from 'node:crypto';
import { whenReady } from '../libc/library.js';
import { closeDescriptor, receive, receiveError, send } from '../libc/sockets.js';
import type { Family, Instant, ProbeLine } from '../model.js';
import { queryName, readAnswer, writeQuery, type DnsAnswer, type DnsQuestion } from './dns-message.js';
import { GIVE_UP_MS } from './method.js';
import { lossByNetwork, lossBySending, openDatagram, type Endpoint, type Loss } from './pinned-socket.js';

export interface DnsQuery {
  readonly server: Endpoint;
  readonly name: string;
  /** A, or AAAA. */
  readonly family: Family;
  /** Once, or never. */
  heard(at: Instant, rttMs: number, answer: DnsAnswer): void;
  /** Once, or never; what came back as an error may be followed by the answer. */
  lost(at: Instant, loss: Loss): void;
}

export interface Querent {
  /** Sends now; `lost` may be called before this returns. */
  ask(query: DnsQuery): void;
  /** Idempotent. Nothing is told any more. */
  close(): void;
}

/** 10 queries/s × 10 s, and bursts: beyond that the oldest is let go, because the newest tells more. */
const IN_FLIGHT_AT_MOST = 128;
const QUERIES_PER_SOCKET = 16;
/** A flood must not hold up the loop: what is left is read in the next turn. */
const DATAGRAMS_PER_TURN = 16;
/** No EDNS: a server may send 512. What is longer is read as far as it fits. */
const DATAGRAM_BYTES = 1500;
const EAGAIN = 11;

interface QuerySocket {
  readonly fd: number;
  readonly key: string;
  unwatch: () => void;
  queries: number;
  sentAt: Instant;
  flight: Flight | undefined;
}

interface Flight {
  readonly query: DnsQuery;
  readonly question: DnsQuestion;
  readonly bytes: Buffer;
  isLost: boolean;
}

export function openQuerent(line: ProbeLine, now: () => Instant): Querent {
  /** All there are; in the order in which they last sent. */
  const sockets = new Set<QuerySocket>();
  const idle = new Map<string, QuerySocket>();
  const buffer = Buffer.alloc(DATAGRAM_BYTES);
  let open = true;

  const drop = (socket: QuerySocket): void => {
    if (!sockets.delete(socket)) return;
    if (idle.get(socket.key) === socket) idle.delete(socket.key);
    socket.unwatch();
    closeDescriptor(socket.fd);
  };

  const rest = (socket: QuerySocket): void => {
    socket.flight = undefined;
    if (socket.queries >= QUERIES_PER_SOCKET || idle.has(socket.key)) drop(socket);
    else idle.set(socket.key, socket);
  };

  const readError = (socket: QuerySocket, errno: number): void => {
    const quoted = receiveError(socket.fd, buffer);
    const isBroken = quoted < 0 && quoted !== -EAGAIN;
    const { flight } = socket;
    if (isBroken) drop(socket);
    if (flight === undefined || flight.isLost || !(isBroken || quotes(buffer.subarray(0, Math.max(0, quoted)), flight.bytes))) return;
    flight.isLost = true;
    flight.query.lost(now(), lossByNetwork(errno));
  };

  const read = (socket: QuerySocket): void => {
    for (let i = 0; i < DATAGRAMS_PER_TURN; i++) {
      const length = receive(socket.fd, buffer);
      if (length === -EAGAIN) return;
      const { flight } = socket;
      if (length < 0) {
        readError(socket, length);
        if (!sockets.has(socket)) return;
        continue;
      }
      const answer = flight === undefined ? undefined : readAnswer(buffer.subarray(0, Math.min(length, buffer.length)), flight.question);
      if (flight === undefined || answer === undefined) continue;
      const at = now();
      rest(socket);
      return flight.query.heard(at, at - socket.sentAt, answer);
    }
  };

  const socketFor = (server: Endpoint): QuerySocket | Loss => {
    const key = `${server.address} ${server.port} ${server.source ?? ''}`;
    const present = idle.get(key);
    if (present !== undefined) {
      idle.delete(key);
      sockets.delete(present);
      sockets.add(present);
      return present;
    }
    const opened = openDatagram(line, server);
    if (!('fd' in opened)) return opened;
    const socket: QuerySocket = { fd: opened.fd, key, unwatch: () => undefined, queries: 0, sentAt: now(), flight: undefined };
    socket.unwatch = whenReady(socket.fd, 'readable', () => read(socket));
    sockets.add(socket);
    return socket;
  };

  const letGo = (): void => {
    const tooOld = now() - GIVE_UP_MS;
    for (const socket of sockets) {
      if (sockets.size < IN_FLIGHT_AT_MOST && socket.sentAt >= tooOld) return;
      drop(socket);
    }
  };

  return {
    ask(query) {
      const name = queryName(query.name);
      if (!open) return query.lost(now(), { cause: 'prober', error: 'the prober was closed' });
      if (name === undefined) return query.lost(now(), { cause: 'unsent', error: `"${query.name}" is not a name that can be asked for` });
      letGo();
      const question = { id: randomInt(0x10000), name, family: query.family };
      const bytes = writeQuery(question);
      for (;;) {
        const socket = socketFor(query.server);
        if ('error' in socket) return query.lost(now(), socket);
        const isNew = socket.queries++ === 0;
        socket.sentAt = now();
        const sent = send(socket.fd, bytes, bytes.length);
        if (sent >= 0) {
          socket.flight = { query, question, bytes, isLost: false };
          return;
        }
        drop(socket);
        // An old one may hold an error about a former query, which it gives once, at whatever call comes next.
        if (isNew) return query.lost(now(), lossBySending(sent));
      }
    },
    close() {
      open = false;
      for (const socket of sockets) drop(socket);
    },
  };
}

/** A router may quote less than all of it, or nothing (RFC 792). */
function quotes(quoted: Buffer, sent: Buffer): boolean {
  const length = Math.min(quoted.length, sent.length);
  return quoted.compare(sent, 0, length, 0, length) === 0;
}
