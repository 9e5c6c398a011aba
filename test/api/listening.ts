/** The API on real sockets, and those who ask there. */
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { request as httpRequest, type IncomingHttpHeaders, type OutgoingHttpHeaders } from 'node:http';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import type { Server, ServerOptions } from '../../src/api/server.js';
import { openWorld, serve } from './fixture.js';

export function runDir(t: TestContext): string {
  const dir = mkdtempSync(join(tmpdir(), 'uplinkd-'));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

/** @param prepare sees the server before it listens */
export async function open(
  t: TestContext, more: Partial<ServerOptions> = {}, prepare: (server: Server) => void = () => undefined,
): Promise<{ server: Server; socketPath: string; port: number; world: ReturnType<typeof openWorld> }> {
  const world = openWorld();
  const socketPath = more.socketPath ?? join(runDir(t), 'uplinkd.sock');
  const server = serve(world, { tcp: { host: '127.0.0.1', port: 0 }, stranger: { by: 'stranger', mayChange: false }, ...more, socketPath });
  prepare(server);
  const port = await server.listen();
  t.after(() => server.close());
  return { server, socketPath, port: port ?? 0, world };
}

export function ask(
  to: { socketPath: string } | { port: number }, method: string, path: string, body?: string, headers: OutgoingHttpHeaders = {},
): Promise<{ status: number; headers: IncomingHttpHeaders; text: string }> {
  return new Promise((resolve, reject) => {
    const all = { ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...headers };
    const request = httpRequest({ ...to, host: '127.0.0.1', method, path, headers: all, agent: false }, (answer) => {
      let text = '';
      answer.on('data', (part: Buffer) => (text += part.toString()));
      answer.on('end', () => resolve({ status: answer.statusCode ?? 0, headers: answer.headers, text }));
    });
    request.on('error', reject);
    request.end(body);
  });
}

/** Everything that comes until the other end closes. */
export async function talk(socket: Socket, sent: string): Promise<string> {
  let text = '';
  socket.on('data', (part) => (text += part.toString()));
  socket.on('error', () => undefined);
  socket.write(sent);
  await once(socket, 'close');
  return text;
}
