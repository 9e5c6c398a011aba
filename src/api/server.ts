/**
 * HTTP around the table of calls: two listeners, one fastify. Building and listening are apart, so tests can `inject`.
 *
 *   unix socket    may change things     who: the user at the other end, where the kernel tells
 *   loopback TCP   may read
 *
 * Which of the two a request came by is written down when its connection is accepted; a connection that is not in that book may read
 * only. Every error leaves as a problem document, those of the HTTP parser too. Everything is bounded: LIMITS.
 */
import { fastify, type FastifyError, type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import { createServer, STATUS_CODES, type RequestListener, type Server as HttpServer } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Board } from '../board.js';
import { userName } from './accounts.js';
import { problem, type Answer } from './answer.js';
import type { Ask, Desk, Questions } from './desk.js';
import { listenTcp, listenUnix } from './doors.js';
import type { Endpoint } from './endpoint.js';
import { BODY_BYTES, brokenConnection, brokenRequest, nowhere } from './faults.js';
import { openapiDocument } from './openapi.js';
import { inTurns, oneAtATime } from './patience.js';
import { ENDPOINTS } from './routes.js';
import { openWaiting } from './wait.js';
import { openCalendar, type Clock, type Identity } from './wire.js';

export const LIMITS = {
  bodyBytes: BODY_BYTES,
  headerBytes: 8 * 1024,
  headersTimeoutMs: 5_000,
  requestTimeoutMs: 10_000,
  keepAliveTimeoutMs: 30_000,
  /** How often a connection's time is looked at. */
  timeoutCheckMs: 2_500,
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

export interface Caller {
  readonly by: string;
  readonly mayChange: boolean;
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
  const callers = new WeakMap<Socket, Caller>();
  const waiting = openWaiting(options.board, limits.waiters);
  const desk: Desk = {
    board: options.board,
    ask: options.ask,
    questions: { ...options.questions, policies: oneAtATime(() => options.questions.policies()), doctor: oneAtATime(() => options.questions.doctor()) },
    inTurn: inTurns(limits.forecasts),
    askTimeoutMs: limits.askTimeoutMs,
    calendar: openCalendar(options.clock),
    waiting,
    identity: options.identity,
    openapi: openapiDocument(ENDPOINTS, options.identity.version),
  };
  const stranger = options.stranger ?? { by: 'stranger', mayChange: false };
  const callerOf = (request: FastifyRequest) => callers.get(request.raw.socket) ?? stranger;

  const httpServer = (handler: RequestListener) => {
    const server = createServer(
      {
        maxHeaderSize: limits.headerBytes,
        headersTimeout: limits.headersTimeoutMs,
        requestTimeout: limits.requestTimeoutMs,
        keepAliveTimeout: limits.keepAliveTimeoutMs,
        connectionsCheckingInterval: limits.timeoutCheckMs,
        // Else node answers with an empty 400 of its own; see the hook onRequest.
        requireHostHeader: false,
      },
      handler,
    );
    server.maxConnections = limits.connectionsPerListener;
    // An expectation that nobody knows may be ignored (RFC 9110, 10.1.1); node would answer with an empty 417.
    server.on('checkExpectation', handler);
    return server;
  };
  const servers: HttpServer[] = [];
  const app = fastify({
    bodyLimit: limits.bodyBytes,
    return503OnClosing: false,
    routerOptions: { maxParamLength: 64 },
    ajv: { customOptions: { coerceTypes: false, removeAdditional: false, useDefaults: false, allErrors: true, verbose: true } },
    frameworkErrors: (error, _request, reply) => void send(reply, brokenRequest(error, undefined)),
    clientErrorHandler: endBrokenConnection,
    serverFactory(handler) {
      const unix = httpServer(handler);
      unix.on('connection', (socket) => callers.set(socket, { by: unixCaller(socket, options.peerUid), mayChange: true }));
      const tcp = httpServer(handler);
      tcp.on('connection', (socket) => callers.set(socket, { by: `reader@${socket.remoteAddress ?? 'tcp'}`, mayChange: false }));
      tcp.on('clientError', endBrokenConnection);
      servers.push(unix, tcp);
      return unix;
    },
  });
  takeJsonOnly(app);
  app.addHook('onRequest', (request, reply, next) => {
    if (request.headers.host === undefined && request.raw.httpVersion === '1.1') send(reply, problem('malformed-request', 'The header "Host" is missing; HTTP/1.1 needs it (RFC 9112, 3.2).'));
    else if (request.is404) send(reply, nowhere(request.method, request.url, ENDPOINTS));
    else next();
  });
  app.setErrorHandler((error: FastifyError, request, reply) => {
    const answer = brokenRequest(error, ENDPOINTS.find((endpoint) => endpoint.path === request.routeOptions.url && endpoint.method === request.method));
    if (answer.status >= 500) options.log.error({ err: error, method: request.method, url: request.url }, 'a request could not be answered');
    return send(reply, answer);
  });
  for (const endpoint of ENDPOINTS) app.route(route(endpoint, desk, callerOf, options.socketPath));

  const [unix, tcp] = servers as [HttpServer, HttpServer];
  return { app, listen: () => open(app, unix, tcp, options), close: () => close(app, servers, waiting, limits.closeGraceMs) };
}

function route(endpoint: Endpoint, desk: Desk, callerOf: (request: FastifyRequest) => Caller, socketPath: string): Parameters<FastifyInstance['route']>[0] {
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
      if (endpoint.right === 'read' || callerOf(request).mayChange) next();
      else send(reply, problem('read-only', `Over TCP you may only read. Ask on the unix socket ${socketPath}, as root or a member of the group uplinkd: uplinkctl does so by itself, curl with --unix-socket ${socketPath}.`));
    },
    async handler(request, reply) {
      if (endpoint.body === undefined && !isEmpty(request.body)) {
        return send(reply, problem('malformed-request', `${endpoint.method} ${endpoint.path} takes no body. Leave it out.`));
      }
      const answer = await endpoint.handle(desk, {
        params: request.params as Record<string, string>,
        query: request.query,
        body: request.body,
        ifNoneMatch: request.headers['if-none-match'] ?? '',
        by: callerOf(request).by,
        onGone: (leave) => void reply.raw.once('close', leave),
      });
      return send(reply, answer);
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

async function open(app: FastifyInstance, unix: HttpServer, tcp: HttpServer, options: ServerOptions): Promise<number | undefined> {
  await app.ready();
  const shortcoming = await listenUnix(unix, options.socketPath);
  if (shortcoming !== '') options.log.warn({ socket: options.socketPath }, shortcoming);
  const port = options.tcp && (await listenTcp(tcp, options.tcp.host, options.tcp.port).catch(async (error: unknown) => {
    // Half open is not open: nobody closes what did not come to be.
    await new Promise((resolve) => unix.close(resolve));
    throw error;
  }));
  options.log.info({ socket: options.socketPath, tcp: options.tcp === undefined ? 'off' : `${options.tcp.host}:${port}` }, 'the API listens');
  return port;
}

async function close(app: FastifyInstance, servers: readonly HttpServer[], waiting: Desk['waiting'], graceMs: number): Promise<void> {
  waiting.stop();
  const listening = servers.filter((server) => server.listening);
  const closed = listening.map((server) => new Promise((resolve) => server.close(resolve)));
  const force = setTimeout(() => listening.forEach((server) => server.closeAllConnections()), graceMs);
  await Promise.all(closed);
  clearTimeout(force);
  await app.close();
}

function unixCaller(socket: Socket, peerUid: ServerOptions['peerUid']): string {
  const descriptor = descriptorOf(socket);
  const uid = descriptor === undefined ? undefined : peerUid?.(descriptor);
  return uid === undefined ? 'somebody@unix' : `${userName(uid)}@unix`;
}

/** Node keeps it in the handle of libuv, without a public name. */
export function descriptorOf(socket: Socket): number | undefined {
  const handle: unknown = Reflect.get(socket, '_handle');
  if (typeof handle !== 'object' || handle === null) return undefined;
  const descriptor: unknown = Reflect.get(handle, 'fd');
  return typeof descriptor === 'number' && descriptor >= 0 ? descriptor : undefined;
}

/** What came is not HTTP, or too much, or too slow: there is no request to answer, only a connection. */
function endBrokenConnection(error: Error & { readonly code?: string }, socket: Duplex): void {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy();
    return;
  }
  const { status, headers, body } = brokenConnection(error.code ?? '', error.message);
  const lines = [`HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}`, ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`), `content-length: ${Buffer.byteLength(String(body))}`, 'connection: close'];
  socket.end(`${lines.join('\r\n')}\r\n\r\n${String(body)}`);
}

function isEmpty(body: unknown): boolean {
  return body === undefined || body === null || (typeof body === 'object' && Object.keys(body).length === 0);
}
