/**
 * HTTP for connections that are handed to it, as text of the wire: node's parser, and answers where there is no
 * request to answer.
 */
import { createServer, STATUS_CODES, type RequestListener, type Server } from 'node:http';
import type { Duplex } from 'node:stream';
import { brokenConnection } from './faults.js';

/** It listens nowhere, and time is kept by the connections. */
export function parserOnly(headerBytes: number, keepAliveTimeoutMs: number, handler: RequestListener): Server {
  const server = createServer(
    {
      maxHeaderSize: headerBytes,
      keepAliveTimeout: keepAliveTimeoutMs,
      // Else node answers with an empty 400 of its own; see the hook onRequest.
      requireHostHeader: false,
    },
    handler,
  );
  // An expectation that nobody knows may be ignored (RFC 9110, 10.1.1); node would answer with an empty 417.
  server.on('checkExpectation', handler);
  return server;
}

/** What came is not HTTP, or too much, or too slow: there is no request to answer, only a connection. */
export function endBrokenConnection(error: Error & { readonly code?: string }, socket: Duplex): void {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy();
    return;
  }
  const { status, headers, body } = brokenConnection(error.code ?? '', error.message);
  const lines = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}`, ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
    `content-length: ${Buffer.byteLength(String(body))}`, 'connection: close',
  ];
  socket.end(`${lines.join('\r\n')}\r\n\r\n${String(body)}`);
}

/** Of a request that did not come in time. */
export function endLateConnection(socket: Duplex): void {
  endBrokenConnection(Object.assign(new Error('too slow'), { code: 'ERR_HTTP_REQUEST_TIMEOUT' }), socket);
}
