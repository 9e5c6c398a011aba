/**
 * The method `http`: GET over http or https, through one line, and the answer is held against what was expected (http-answer.ts).
 *
 *   look up the name, if there is one ──► connect (pinned) ──► [ TLS ] ──► GET ──► head, body as far as it matters ──► destroyed
 *                                        └────────────────── this is the RTT ──────────────────┘
 *
 * The look-up takes the same line (lookup.ts) and is not part of the RTT. Of several addresses one is used until it fails, then the next.
 * Each probe is a connection of its own: one that is kept open says nothing about new ones. Redirects are never followed.
 *
 * Silence is not told, with one exception: resolvers that do not answer. The target was not even asked then, and nobody but us knows why.
 */
import { request } from 'node:http';
import { isIP, Socket } from 'node:net';
import { connect as connectTls, createSecureContext, type SecureContext, type TLSSocket } from 'node:tls';
import { resetOnClose } from '../libc/inet.js';
import { closeDescriptor } from '../libc/sockets.js';
import type { HttpMethod, Instant, ProbeLine } from '../model.js';
import { readAnswer, type HttpVerdict } from './http-answer.js';
import { openLookup, type Lookup } from './lookup.js';
import { GIVE_UP_MS, type OpenAsker, type Question } from './method.js';
import { connectStream, lossByNetwork, type Loss } from './pinned-socket.js';

/** Beyond that the oldest is let go, because the newest tells more. */
const IN_FLIGHT_AT_MOST = 64;
/** Resolvers that are silent for so long are named. */
const LOOKUP_WITHIN_MS = 3000;

/** An address that keeps a probe waiting for so long is not used for the next one. */
const STUCK_AFTER_MS = 1000;

interface Flight {
  readonly question: Question;
  readonly target: HttpMethod;
  readonly url: URL;
  /** Name or address, without brackets. */
  readonly host: string;
  /** Ends whatever is going on now; replaced at each stage. */
  stop: () => void;
  limit: NodeJS.Timeout | undefined;
  /** undefined while the name is being looked up. */
  startedAt: Instant | undefined;
  /** Which of the addresses of `host` it uses; undefined where that was no choice. */
  choice: number | undefined;
}

/** What all flights of one line share. */
interface Ground {
  readonly line: ProbeLine;
  readonly now: () => Instant;
  readonly lookup: Lookup;
  readonly flights: Set<Flight>;
  /** By host: which of its addresses is in use. */
  readonly choices: Map<string, number>;
}

export const openHttp: OpenAsker = (line, now) => {
  const ground: Ground = { line, now, lookup: openLookup(line, now), flights: new Set(), choices: new Map() };
  let open = true;
  return {
    ask(question) {
      const { target, address } = question.order;
      if (!open) return question.lost(now(), 'prober', 'the prober was closed');
      if (target.kind !== 'http') return question.lost(now(), 'prober', `${target.id} is not asked by HTTP`);
      if (!URL.canParse(target.url)) return question.lost(now(), 'unsent', `"${target.url}" is not a URL`);
      if (ground.flights.size >= IN_FLIGHT_AT_MOST) for (const oldest of [...ground.flights].slice(0, 1)) land(ground, oldest);
      const url = new URL(target.url);
      const host = url.hostname.replace(/^\[|\]$/g, '');
      const flight: Flight = { question, target, url, host, stop: () => undefined, limit: undefined, startedAt: undefined, choice: undefined };
      ground.flights.add(flight);
      if (address !== '') connect(ground, flight, address);
      else if (isIP(host) !== 0) connect(ground, flight, host);
      else lookUp(ground, flight);
    },
    close() {
      open = false;
      for (const flight of ground.flights) land(ground, flight);
      ground.lookup.close();
    },
  };
};

function lookUp(ground: Ground, flight: Flight): void {
  const { host, target } = flight;
  let waiting = true;
  const failed = (error: string): void => {
    waiting = false;
    lose(ground, flight, { cause: 'dns', error: `${host} could not be looked up: ${error}` });
  };
  const found = (addresses: readonly string[]): void => {
    waiting = false;
    flight.choice = choose(ground, flight);
    connect(ground, flight, addresses[flight.choice % addresses.length] ?? '');
  };
  flight.limit = setTimeout(() => failed(ground.lookup.complaint(host)), LOOKUP_WITHIN_MS).unref();
  const takeBack = ground.lookup.find(host, target.resolvers, found, failed);
  if (waiting) flight.stop = takeBack;
}

function choose(ground: Ground, { host }: Flight): number {
  const current = ground.choices.get(host) ?? 0;
  const tooOld = ground.now() - STUCK_AFTER_MS;
  const isStuck = [...ground.flights].some((other) => other.host === host && other.choice === current && other.startedAt !== undefined && other.startedAt < tooOld);
  if (isStuck) ground.choices.set(host, current + 1);
  return isStuck ? current + 1 : current;
}

function connect(ground: Ground, flight: Flight, address: string): void {
  const { line, now } = ground;
  const port = Number(flight.url.port) || (flight.url.protocol === 'https:' ? 443 : 80);
  clearTimeout(flight.limit);
  flight.limit = setTimeout(() => land(ground, flight), GIVE_UP_MS).unref();
  flight.startedAt = now();
  const fail = (loss: Loss): void => {
    if (flight.choice !== undefined && ground.choices.get(flight.host) === flight.choice) ground.choices.set(flight.host, flight.choice + 1);
    lose(ground, flight, { ...loss, error: `${address} port ${port}: ${loss.error}` });
  };
  const told = {
    stands(fd: number) {
      // Not in here: a poll callback runs no microtasks, and Node's sockets need them.
      flight.stop = () => closeDescriptor(fd);
      setImmediate(() => {
        if (ground.flights.has(flight)) converse(ground, flight, fd, fail);
      });
    },
    lost: fail,
    silent: () => land(ground, flight),
  };
  const cancel = connectStream(line, { address, port, source: flight.question.order.source }, now, told, resetOnClose);
  if (ground.flights.has(flight)) flight.stop = cancel;
}

/** From here on the descriptor is Node's. */
function converse(ground: Ground, flight: Flight, fd: number, fail: (loss: Loss) => void): void {
  const { url, host, target } = flight;
  const socket = new Socket({ fd, readable: true, writable: true });
  flight.stop = () => socket.destroy();
  const servername = isIP(host) === 0 ? host : ''; // RFC 6066, 3: no addresses
  const secure = url.protocol === 'https:' ? connectTls({ socket, host, servername, ALPNProtocols: ['http/1.1'], secureContext: trust() }) : undefined;
  const query = request({
    createConnection: () => secure ?? socket,
    method: 'GET',
    path: `${url.pathname}${url.search}`,
    headers: { 'Host': url.host, 'User-Agent': 'uplinkd', 'Connection': 'close', 'Cache-Control': 'no-cache' },
  });
  flight.stop = () => {
    query.destroy();
    secure?.destroy();
    socket.destroy();
  };
  const broke = (cause: NodeJS.ErrnoException): void => {
    if (!ground.flights.has(flight)) return; // destroyed by ourselves, or told already
    const loss = lossBy(cause, host, secure);
    if (loss === undefined) land(ground, flight);
    else fail(loss);
  };
  const settle = (verdict: HttpVerdict | undefined): void => {
    if (verdict === undefined || !ground.flights.has(flight)) return;
    if (verdict.kind === 'bad') return lose(ground, flight, verdict);
    const at = ground.now();
    land(ground, flight);
    flight.question.answered(at, at - (flight.startedAt ?? at));
  };
  for (const emitter of [socket, secure, query]) emitter?.on('error', broke);
  query.on('close', () => broke(new Error(CUT_SHORT)));
  query.on('response', (response) => {
    const reader = readAnswer(target);
    response.on('error', broke);
    response.on('data', (chunk: Buffer) => settle(reader.body(chunk)));
    response.on('end', () => settle(reader.end()));
    settle(reader.head({ status: response.statusCode ?? 0, headers: response.headers }));
  });
  query.end();
}

function lose(ground: Ground, flight: Flight, { cause, error }: Loss): void {
  if (!ground.flights.has(flight)) return;
  land(ground, flight);
  flight.question.lost(ground.now(), cause, error);
}

/** The end of a flight, however it came. */
function land(ground: Ground, flight: Flight): void {
  ground.flights.delete(flight);
  clearTimeout(flight.limit);
  flight.stop();
}

/** undefined = silence: the kernel gave up. */
function lossBy(cause: NodeJS.ErrnoException, host: string, secure: TLSSocket | undefined): Loss | undefined {
  const { code = '', errno, message } = cause;
  if (code === 'ETIMEDOUT') return undefined;
  // Set to the reason by Node where the handshake was good and the certificate was not.
  if (secure?.authorizationError) return { cause: 'answer', error: `the certificate of ${host} is not to be trusted: ${message}` };
  if (code.startsWith('HPE_')) return { cause: 'answer', error: `what came back is not HTTP (${code})` };
  if (errno !== undefined && code !== 'EPROTO') return lossByNetwork(errno);
  if (code === 'ECONNRESET' || message === CUT_SHORT) return { cause: 'answer', error: CUT_SHORT };
  return { cause: 'answer', error: secure === undefined ? message : `TLS failed: ${message.trim()}` };
}

/** The certificates that Node trusts, read once (tens of milliseconds). */
function trust(): SecureContext {
  return (trusted ??= createSecureContext());
}

let trusted: SecureContext | undefined;
const CUT_SHORT = 'the connection was closed before the answer was complete';
