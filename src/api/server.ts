/**
 * HTTP around the table of calls: two doors, one fastify. Building and listening are apart, so tests can `inject`.
 *
 *   unix socket    may change things     who: the user at the other end, where the kernel tells
 *   loopback TCP   may read
 *
 *   door ──► hall ──► connection ──one request at a time, in its turn──► parser ──► fastify ──► the table
 *
 * Which of the two a request came by is written down when its connection is accepted; a connection that is not in that book may read
 * only. Every error leaves as a problem document, those of the HTTP parser too. Everything is bounded, for each door
 * apart: LIMITS.
 */
import { fastify, type FastifyError, type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import type { Server as HttpServer } from 'node:http';
import { createServer as createListener, type Server as Listener, type Socket } from 'node:net';
import { hostname } from 'node:os';
import type { Duplex } from 'node:stream';
import type { Board } from '../board.js';
import { problem, type Answer } from './answer.js';
import { strangeHost, strangeType } from './browsers.js';
import { descriptorOf, tcpCaller, unixCaller, type Caller } from './callers.js';
import type { Ask, Questions } from '../ports.js';
import type { Desk } from './desk.js';
import { keepUnix, listenTcp } from './doors.js';
import type { Endpoint } from './endpoint.js';
import { BODY_BYTES, brokenRequest, nowhere } from './faults.js';
import { openHall, type Hall } from './hall.js';
import { openapiDocument } from './openapi.js';
import { endBrokenConnection, endLateConnection, parserOnly } from './parser.js';
import { oneAtATime } from './patience.js';
import { ENDPOINTS } from './routes.js';
import { openSnapshots } from './snapshot.js';
import { inTurns, openTurns, type Door } from './turns.js';
import { openWaiting } from './wait.js';
import { openCalendar, type Clock, type Identity } from './wire.js';

export { descriptorOf };

export const LIMITS = {
  bodyBytes: BODY_BYTES,
  headerBytes: 8 * 1024,
  headersTimeoutMs: 5_000,
  requestTimeoutMs: 10_000,
  keepAliveTimeoutMs: 30_000,
  /** An answer that is not taken is a client that does not read. */
  takeTimeoutMs: 30_000,
  /** So much of an answer the kernel takes before its client has. */
  sendBufferBytes: 64 * 1024,
  /** After our end of a connection, so long its client has to close the other. */
  lingerMs: 1_000,
  /** How often a connection's time is looked at, and whether the socket file is still there. */
  timeoutCheckMs: 1_000,
  connectionsPerListener: 64,
  waiters: 32,
  forecasts: 8,
  askTimeoutMs: 10_000,
  /** What is still being answered when the server closes has so long. */
  closeGraceMs: 500,
} as const;

export interface Log {
  info(data: object, text: string): void;
  warn(data: object, text: string): void;
  error(data: object, text: string): void;
}

export interface ServerOptions {
  readonly board: Board;
  readonly ask: Ask;
  readonly questions: Questions;
  readonly log: Log;
  readonly clock: Clock;
  readonly identity: Identity;
  readonly socketPath: string;
  /** Loopback TCP; undefined = unix socket only. Port 0: any. */
  readonly tcp?: { readonly host: string; readonly port: number } | undefined;
  /** Bounds what the kernel keeps unsent for each connection of a listening TCP socket, by its file descriptor. */
  readonly boundSendBuffer?: (descriptor: number, bytes: number) => number;
  /** The user at the other end of an accepted unix socket (SO_PEERCRED, unix(7)) by its file descriptor. */
  readonly peerUid?: (descriptor: number) => number | undefined;
  /** Who asks where no listener of ours was passed (inject). Default: somebody who may read. */
  readonly stranger?: Caller;
  readonly limits?: { readonly [K in keyof typeof LIMITS]?: number };
}

export interface Server {
  readonly app: FastifyInstance;
  /**
   * @returns the TCP port, undefined without TCP
   * @throws Error for people, when an address cannot be had
   */
  listen(): Promise<number | undefined>;
  /** Answers who waits, closes the listeners, removes the socket file. */
  close(): Promise<void>;
}

export function buildServer(options: ServerOptions): Server {
  const limits = { ...LIMITS, ...options.limits };
  const callers = new WeakMap<Duplex, Caller>();
  const turns = openTurns();
  const snapshots = openSnapshots(options.board, options.clock, openCalendar(options.clock));
  const waiting = openWaiting(options.board, snapshots.now, turns, limits.waiters);
  const desk: Desk = {
    now: snapshots.now,
    ask: options.ask,
    questions: { ...options.questions, policies: oneAtATime(() => options.questions.policies()), doctor: oneAtATime(() => options.questions.doctor()) },
    inTurn: inTurns(turns, limits.forecasts),
    askTimeoutMs: limits.askTimeoutMs,
    waiting,
    identity: options.identity,
    openapi: Buffer.from(JSON.stringify(openapiDocument(ENDPOINTS, options.identity.version))),
  };
  const stranger = options.stranger ?? { by: 'stranger', mayChange: false };
  const callerOf = (request: FastifyRequest) => callers.get(request.raw.socket) ?? stranger;

  const servers: HttpServer[] = [];
  const app = fastify({
    bodyLimit: limits.bodyBytes,
    return503OnClosing: false,
    routerOptions: { maxParamLength: 64 },
    ajv: { customOptions: { coerceTypes: false, removeAdditional: false, useDefaults: false, allErrors: true, verbose: true } },
    frameworkErrors: (error, _request, reply) => void send(reply, brokenRequest(error, undefined)),
    clientErrorHandler: endBrokenConnection,
    serverFactory(handler) {
      const server = parserOnly(limits.headerBytes, limits.keepAliveTimeoutMs, (request, response) => {
        halls.find((hall) => hall.took(request, response));
        handler(request, response);
      });
      servers.push(server);
      return server;
    },
  });
  takeJsonOnly(app);
  app.addHook('onRequest', (request, reply, next) => {
    const strange = strangeHost(callerOf(request).door ?? 'tcp', request.headers.host, hostname());
    if (request.headers.host === undefined && request.raw.httpVersion === '1.1') {
      send(reply, problem('malformed-request', 'The header "Host" is missing; HTTP/1.1 needs it (RFC 9112, 3.2).'));
    } else if (strange !== undefined) send(reply, strange);
    else if (request.is404) send(reply, nowhere(request.method, request.url, ENDPOINTS));
    else next();
  });
  app.setErrorHandler((error: FastifyError, request, reply) => {
    const answer = brokenRequest(error, ENDPOINTS.find((endpoint) => endpoint.path === request.routeOptions.url && endpoint.method === request.method));
    if (answer.status >= 500) options.log.error({ err: error, method: request.method, url: request.url }, 'a request could not be answered');
    return send(reply, answer);
  });
  for (const endpoint of ENDPOINTS) app.route(route(endpoint, desk, callerOf, options.socketPath));

  const [parser] = servers as [HttpServer];
  const hall = (door: Door) => openHall({
    door, turns, limits, atMost: limits.connectionsPerListener, checkEveryMs: limits.timeoutCheckMs,
    serve: (stream) => parser.emit('connection', stream),
    tooSlow: endLateConnection,
  });
  const halls = [hall('unix'), hall('tcp')] as const;
  const sockets = { allowHalfOpen: true, noDelay: true } as const;
  const letIn = (through: Hall, callerAt: (socket: Socket) => Caller) => createListener(sockets, (socket) => {
    const connection = through.admit(socket);
    if (connection !== undefined) callers.set(connection.stream, callerAt(socket));
  });
  const doors = {
    unix: () => letIn(halls[0], (socket) => unixCaller(socket, options.peerUid)),
    tcp: () => letIn(halls[1], tcpCaller),
  };
  let closeDoors = (): void => undefined;
  return {
    app,
    async listen() {
      await app.ready();
      const { port, close } = await open(doors, options, limits);
      closeDoors = close;
      return port;
    },
    async close() {
      waiting.stop();
      snapshots.close();
      closeDoors();
      await Promise.all(halls.map((one) => one.close(limits.closeGraceMs)));
      await app.close();
    },
  };
}

function route(endpoint: Endpoint, desk: Desk, callerOf: (request: FastifyRequest) => Caller, socketPath: string): Parameters<FastifyInstance['route']>[0] {
  const handle = (request: FastifyRequest, reply: FastifyReply): Answer | Promise<Answer> => {
    const caller = callerOf(request);
    return endpoint.handle(desk, {
      params: request.params as Record<string, string>,
      query: request.query,
      body: request.body,
      ifNoneMatch: request.headers['if-none-match'] ?? '',
      // Only who changes something is asked for his name: to find it a file is read.
      get by() {
        return caller.by;
      },
      door: caller.door ?? 'tcp',
      onGone: (leave) => void reply.raw.once('close', leave),
    });
  };
  const written = (request: FastifyRequest, reply: FastifyReply): Answer => {
    const answer = handle(request, reply) as Answer;
    const { body } = answer;
    if (typeof body === 'string') return { ...answer, body: Buffer.from(body) };
    if (Buffer.isBuffer(body)) return answer;
    const headers = { 'content-type': 'application/json; charset=utf-8', ...answer.headers };
    return { ...answer, headers, body: Buffer.from(String(reply.serialize(body))) };
  };
  return {
    method: endpoint.method,
    url: endpoint.path,
    ...(endpoint.bodyBytesAtMost === undefined ? {} : { bodyLimit: endpoint.bodyBytesAtMost }),
    schema: {
      querystring: endpoint.query,
      ...(endpoint.body === undefined ? {} : { body: endpoint.body }),
      ...(typeof endpoint.answer === 'string' ? {} : { response: { 200: endpoint.answer } }),
    },
    onRequest(request, reply, next) {
      const caller = callerOf(request);
      if (endpoint.right === 'read') return next();
      if (!caller.mayChange) {
        send(reply, problem('read-only', `Over TCP you may only read. Ask on the unix socket ${socketPath}, as root or a member of the group uplinkd: uplinkctl does so by itself, curl with --unix-socket ${socketPath}.`));
        return;
      }
      const strange = strangeType(caller.door ?? 'tcp', request.headers);
      if (strange === undefined) next();
      else send(reply, strange);
    },
    // Without a promise where there is none: what is ready is sent in the turn of the API that took the request.
    handler(request, reply) {
      if (endpoint.body === undefined && !isEmpty(request.body)) {
        return send(reply, problem('malformed-request', `${endpoint.method} ${endpoint.path} takes no body. Leave it out.`));
      }
      const isShared = endpoint.shared === true;
      const answer = isShared ? desk.now().once(endpoint.path, () => written(request, reply)) : handle(request, reply);
      return answer instanceof Promise ? answer.then((late) => send(reply, late)) : send(reply, answer);
    },
  };
}

function send(reply: FastifyReply, answer: Answer): FastifyReply {
  reply.code(answer.status).header('cache-control', 'no-store').header('x-content-type-options', 'nosniff').headers(answer.headers);
  // A text is ready: fastify would add a charset to its type, which application/problem+json does not have.
  return typeof answer.body === 'string' ? reply.serializer(String).send(answer.body) : reply.send(answer.body);
}

/** JSON and nothing else; an empty body is no body, whatever its type claims. */
function takeJsonOnly(app: FastifyInstance): void {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('application/json', { parseAs: 'string' }, (_request, body, done) => {
    try {
      done(null, body === '' ? undefined : JSON.parse(String(body)));
    } catch (error) {
      done(Object.assign(new Error(`The body is not JSON: ${error instanceof Error ? error.message : String(error)}.`), { statusCode: 400 }));
    }
  });
}

/** @returns the TCP port, and what closes both doors */
async function open(
  doors: Readonly<Record<Door, () => Listener>>, options: ServerOptions,
  limits: { readonly timeoutCheckMs: number; readonly sendBufferBytes: number },
): Promise<{ readonly port: number | undefined; readonly close: () => void }> {
  const { log, socketPath, tcp } = options;
  const tell = (text: string): void => log.warn({ socket: socketPath }, text);
  const unixDoor = await keepUnix({ path: socketPath, lookEveryMs: limits.timeoutCheckMs, open: doors.unix, tell });
  const tcpDoor = doors.tcp();
  const tellTcp = (text: string): void => log.warn({}, text);
  const port = tcp && (await listenTcp(tcpDoor, tcp.host, tcp.port, tellTcp).catch((error: unknown) => {
    // Half open is not open: nobody closes what did not come to be.
    unixDoor.close();
    throw error;
  }));
  const descriptor = descriptorOf(tcpDoor);
  if (descriptor !== undefined) options.boundSendBuffer?.(descriptor, limits.sendBufferBytes);
  log.info({ socket: socketPath, tcp: tcp === undefined ? 'off' : `${tcp.host}:${port}` }, 'the API listens');
  return {
    port,
    close() {
      unixDoor.close();
      tcpDoor.close();
    },
  };
}

function isEmpty(body: unknown): boolean {
  return body === undefined || body === null || (typeof body === 'object' && Object.keys(body).length === 0);
}
