/** Clients that would keep the daemon from its work, or others from asking: each on real sockets. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { test, type TestContext } from 'node:test';
import type { Server } from '../../src/api/server.js';
import { boundSendBuffer } from '../../src/libc/sockets.js';
import { waitFor } from '../lab/wait.js';
import { ask, open } from './listening.js';

const GET = (path: string) => `GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`;

/** What is in flight, for each connection: the most at once, how many were begun, what was unsent when one began. */
interface Flight {
  readonly stream: Duplex;
  now: number;
  most: number;
  begun: number;
  unsentBytes: number;
}

function watchFlights(flights: Flight[]): (server: Server) => void {
  return ({ app }) => {
    app.addHook('onRequest', (request, _reply, next) => {
      const stream: Duplex = request.raw.socket;
      let flight = flights.find((one) => one.stream === stream);
      if (flight === undefined) flights.push((flight = { stream, now: 0, most: 0, begun: 0, unsentBytes: 0 }));
      flight.begun++;
      flight.most = Math.max(flight.most, ++flight.now);
      flight.unsentBytes = Math.max(flight.unsentBytes, stream.writableLength);
      next();
    });
    app.addHook('onResponse', (request, _reply, next) => {
      const flight = flights.find((one) => one.stream === request.raw.socket);
      if (flight !== undefined) flight.now--;
      next();
    });
  };
}

/** A client that does not close its end when we close ours. */
function stubborn(t: TestContext, to: { port: number; host: string } | { path: string }): Socket {
  const socket = connect({ ...to, allowHalfOpen: true });
  socket.on('error', () => undefined);
  t.after(() => socket.destroy());
  return socket;
}

/** Both ends of it are closed by the server: who still writes there is told so. */
async function isClosed(socket: Socket): Promise<boolean> {
  if (socket.readyState !== 'writeOnly' && !socket.destroyed) return false;
  if (!socket.destroyed) socket.write('\r\n');
  await new Promise((resolve) => setImmediate(resolve));
  return socket.destroyed;
}

test('requests that are sent all at once are answered one after the other, in order, and all of them', async (t) => {
  const flights: Flight[] = [];
  const { port, socketPath } = await open(t, {}, watchFlights(flights));
  for (const to of [{ port, host: '127.0.0.1' }, { path: socketPath }]) {
    const paths = Array.from({ length: 300 }, (_, i) => (i % 3 === 0 ? '/openapi.json' : i % 3 === 1 ? '/v1/uplinks/fibre' : `/nowhere${i}`));
    const socket = connect(to);
    let text = '';
    socket.on('data', (part) => (text += part.toString()));
    // A body between them, one that nobody reads, and a request in pieces.
    const body = 'x'.repeat(3000);
    socket.write(`${paths.map(GET).join('')}POST /nowhere HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${body.length}\r\n\r\n${body}${GET('/healthz').slice(0, 20)}`);
    socket.write(`${GET('/healthz').slice(20)}POST /nowhere HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\na\nb\nc\r\n0\r\n\r\nGET /last HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`);
    await once(socket, 'close');
    const statuses = [...text.matchAll(/HTTP\/1\.1 ([0-9]{3}) [A-Za-z ]+\r\n/g)].map(([, status]) => Number(status));
    assert.deepEqual(statuses, [...paths.map((path) => (path.startsWith('/nowhere') ? 404 : 200)), 404, 200, 404, 404]);
    const nowhere = [...text.matchAll(/at \\"\/(nowhere[0-9]+|last)\\"/g)].map(([, name]) => name);
    assert.deepEqual(nowhere, [...paths.filter((path) => path.startsWith('/nowhere')).map((path) => path.slice(1)), 'last']);
  }
  // The hook does not see those that end at a path that is not there.
  assert.deepEqual(flights.map(({ most, begun }) => ({ most, begun })), [{ most: 1, begun: 201 }, { most: 1, begun: 201 }]);
});

test('who never reads has one answer that waits for him, and is closed', async (t) => {
  const flights: Flight[] = [];
  const { port, socketPath } = await open(t, { boundSendBuffer, limits: { takeTimeoutMs: 400, timeoutCheckMs: 50 } }, watchFlights(flights));
  const longest = (await ask({ port }, 'GET', '/openapi.json')).text.length + 1000;
  flights.length = 0;
  for (const to of [{ port, host: '127.0.0.1' }, { path: socketPath }]) {
    const deaf = stubborn(t, to);
    deaf.pause();
    deaf.write(GET('/openapi.json').repeat(1500));
    const flight = await waitFor('an answer is not taken', () => flights.find(({ stream }) => stream.writableLength > 0), (found) => found !== undefined);
    for (let i = 0; i < 20; i++) {
      assert.equal((await ask({ port }, 'GET', '/healthz')).status, 200, 'others are answered');
      assert.ok(flight!.stream.writableLength <= longest, `${flight!.stream.writableLength} bytes`);
    }
    assert.equal(flight!.unsentBytes, 0, 'an answer is begun when the one before it has left');
    assert.equal(flight!.most, 1);
    await waitFor('the client that does not read is closed', () => flight!.stream.destroyed, (destroyed) => destroyed);
    // What the kernels of both ends keep, and no more.
    assert.ok(flight!.begun * longest < 1_000_000, `${flight!.begun} answers were made for nobody`);
    flights.length = 0;
  }
});

test('one connection holds one of the places of those who wait', async (t) => {
  const { port, world } = await open(t, { limits: { waiters: 2 } });
  const greedy = stubborn(t, { port, host: '127.0.0.1' });
  greedy.write(GET('/v1/active?wait=60s&generation=7').repeat(10));
  // The second place is free: this one waits its time out, and is not turned away.
  for (let i = 0; i < 3; i++) assert.equal((await ask({ port }, 'GET', '/v1/active?wait=20ms&generation=7')).status, 200);
  let text = '';
  greedy.on('data', (part: Buffer) => (text += part.toString()));
  world.status = { ...world.status, decision: { ...world.status.decision, generation: 8 } };
  world.board.publish();
  await waitFor('all ten are answered', () => text.match(/"generation":8/g)?.length ?? 0, (count) => count === 10);
});

test('those who wait by TCP leave the places of the unix socket alone, and the other way round', async (t) => {
  const { port, socketPath, world } = await open(t, { limits: { waiters: 2 } });
  for (const [mine, others] of [[{ port }, { socketPath }], [{ socketPath }, { port }]] as const) {
    const { generation } = world.status.decision;
    const polls = [1, 2].map(() => ask(mine, 'GET', `/v1/active?wait=60s&generation=${generation}`));
    await waitFor('the places are taken', async () => (await ask(mine, 'GET', `/v1/active?wait=5ms&generation=${generation}`)).status, (status) => status === 503);
    const waits = ask(others, 'GET', `/v1/active?wait=60s&generation=${generation}`);
    assert.equal((await ask(others, 'GET', `/v1/active?wait=5ms&generation=${generation}`)).status, 200);
    world.status = { ...world.status, decision: { ...world.status.decision, generation: generation + 1 } };
    world.board.publish();
    for (const answer of await Promise.all([...polls, waits])) assert.equal(answer.status, 200);
  }
});

for (const [what, sent, heard] of [
  ['sends nothing', '', /^$/],
  ['never ends its headers', 'GET /healthz HTTP/1.1\r\nHost:', /^HTTP\/1\.1 408 /],
  ['never sends its body', 'PUT /v1/override HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{', /^HTTP\/1\.1 (408|403) /],
  ['asks nothing more', GET('/healthz'), /^HTTP\/1\.1 200 /],
  ['talks on after our end', `what?\r\n\r\n${GET('/healthz')}`, /^HTTP\/1\.1 400 /],
] as const) {
  test(`a client that ${what} is closed, whether it closes its own end or not`, async (t) => {
    const { port, socketPath } = await open(t, {
      limits: { headersTimeoutMs: 100, requestTimeoutMs: 200, keepAliveTimeoutMs: 100, lingerMs: 100, timeoutCheckMs: 20 },
    });
    for (const to of [{ port, host: '127.0.0.1' }, { path: socketPath }]) {
      const socket = stubborn(t, to);
      let text = '';
      socket.on('data', (part: Buffer) => (text += part.toString()));
      socket.write(sent);
      await waitFor('both ends are closed', () => isClosed(socket), (closed) => closed);
      assert.match(text, heard);
    }
  });
}

test('who is silent makes room for who asks, and who is being answered keeps his', async (t) => {
  const flights: Flight[] = [];
  const { socketPath, world } = await open(t, { limits: { connectionsPerListener: 3 } }, watchFlights(flights));
  const silent: Socket[] = [];
  for (let i = 0; i < 3; i++) {
    silent.push(stubborn(t, { path: socketPath }));
    await once(silent[i]!, 'connect');
  }
  // One of the three asks, and waits.
  silent[0]!.write(GET('/v1/active?wait=60s&generation=7'));
  await waitFor('it waits', () => flights.length, (count) => count === 1);
  for (let i = 0; i < 4; i++) assert.equal((await ask({ socketPath }, 'GET', '/healthz')).status, 200);
  await waitFor('the one that was silent longest is closed', () => isClosed(silent[1]!), (closed) => closed);
  let text = '';
  silent[0]!.on('data', (part: Buffer) => (text += part.toString()));
  world.status = { ...world.status, decision: { ...world.status.decision, generation: 8 } };
  world.board.publish();
  await waitFor('the one that waits is answered', () => text, (answer) => /^HTTP\/1\.1 200 /.test(answer));
});

test('where all are being answered the next one is turned away, and the room is given back', async (t) => {
  const flights: Flight[] = [];
  const { socketPath, world } = await open(t, { limits: { connectionsPerListener: 2 } }, watchFlights(flights));
  const polls = [1, 2].map(() => ask({ socketPath }, 'GET', '/v1/active?wait=60s&generation=7'));
  await waitFor('both wait', () => flights.length, (count) => count === 2);
  await assert.rejects(ask({ socketPath }, 'GET', '/healthz'));
  world.status = { ...world.status, decision: { ...world.status.decision, generation: 8 } };
  world.board.publish();
  for (const answer of await Promise.all(polls)) assert.equal(answer.status, 200);
  assert.equal((await ask({ socketPath }, 'GET', '/healthz')).status, 200);
});

test('sixty-four that send nothing leave room for the operator, at once', async (t) => {
  const { socketPath } = await open(t);
  const silent = Array.from({ length: 64 }, () => stubborn(t, { path: socketPath }));
  await Promise.all(silent.map((socket) => once(socket, 'connect')));
  assert.equal((await ask({ socketPath }, 'PUT', '/v1/override', '{"uplink":"cable"}')).status, 200);
});
