/** The listeners, on real sockets. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, statSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { groupId, userName } from '../../src/api/accounts.js';
import { isLoopback } from '../../src/api/doors.js';
import type { ServerOptions } from '../../src/api/server.js';
import { settled } from './asking.js';
import { openWorld, serve } from './fixture.js';
import { ask, open, runDir, talk } from './listening.js';

async function refusesToListen(t: TestContext, options: Partial<ServerOptions>, why: RegExp): Promise<void> {
  const server = serve(openWorld(), options);
  t.after(() => server.close());
  await assert.rejects(server.listen(), why);
}

test('the unix socket may change things and is closed to others from birth', async (t) => {
  const { socketPath, world } = await open(t);
  assert.equal(statSync(socketPath).mode & 0o777, 0o660);
  assert.equal((await ask({ socketPath }, 'PUT', '/v1/override', '{"uplink":"cable"}')).status, 200);
  assert.equal(world.asked.length, 1);
});

test('loopback TCP reads everything and changes nothing', async (t) => {
  const { port, world, socketPath } = await open(t);
  assert.equal((await ask({ port }, 'GET', '/v1/status')).status, 200);
  const answer = await ask({ port }, 'PUT', '/v1/override', '{"uplink":"cable"}');
  assert.equal(answer.status, 403);
  assert.equal(answer.headers['content-type'], 'application/problem+json');
  assert.ok(answer.text.includes(socketPath));
  assert.deepEqual(world.asked, []);
});

test('who came by no listener of ours may only read', async (t) => {
  const world = openWorld();
  const server = serve(world, { stranger: { by: 'x', mayChange: false }, socketPath: join(runDir(t), 's') });
  assert.equal((await server.app.inject({ method: 'DELETE', url: '/v1/override' })).statusCode, 403);
});

test('an order tells who gave it, where the kernel tells who that is', async (t) => {
  const { socketPath, world } = await open(t, { peerUid: (descriptor) => (descriptor > 2 ? 0 : undefined) });
  await ask({ socketPath }, 'DELETE', '/v1/override');
  assert.deepEqual(world.asked, [{ clear: 'root@unix' }]);
  const blind = await open(t);
  await ask({ socketPath: blind.socketPath }, 'DELETE', '/v1/override');
  assert.deepEqual(blind.world.asked, [{ clear: 'somebody@unix' }]);
});

test('the socket file of a killed run is taken over', async (t) => {
  const socketPath = join(runDir(t), 'uplinkd.sock');
  const dead = spawn(process.execPath, ['-e', `require('net').createServer().listen(${JSON.stringify(socketPath)}, () => console.log('up')); setInterval(() => {}, 1e6)`], { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(dead.stdout, 'data');
  dead.kill('SIGKILL');
  await once(dead, 'exit');
  assert.ok(existsSync(socketPath));
  await open(t, { socketPath });
  assert.equal((await ask({ socketPath }, 'GET', '/healthz')).status, 200);
  assert.equal(statSync(socketPath).mode & 0o777, 0o660);
});

test('beside a running uplinkd a second one is refused, and the first goes on', async (t) => {
  const { socketPath } = await open(t);
  await refusesToListen(t, { socketPath }, /another uplinkd is running: it answers on .*uplinkd\.sock/);
  assert.equal((await ask({ socketPath }, 'GET', '/healthz')).status, 200);
});

test('a file that is no socket is not removed', async (t) => {
  const socketPath = join(runDir(t), 'uplinkd.sock');
  writeFileSync(socketPath, 'precious');
  await refusesToListen(t, { socketPath }, /is not a socket/);
  assert.ok(existsSync(socketPath));
});

test('a path that unix(7) cannot take is refused in words', async (t) => {
  const dir = join(runDir(t), 'x'.repeat(100));
  mkdirSync(dir);
  await refusesToListen(t, { socketPath: join(dir, 'uplinkd.sock') }, /longer than 107 bytes/);
});

test('a run directory that is not there is made', async (t) => {
  const socketPath = join(runDir(t), 'a', 'b', 'uplinkd.sock');
  await open(t, { socketPath });
  assert.ok(existsSync(socketPath));
});

test('only loopback is served over TCP, and a taken port is named', async (t) => {
  assert.deepEqual(['127.0.0.1', '127.8.8.8', '::1', '0.0.0.0', '::', '10.0.0.1', 'localhost', '127.evil.example'].map(isLoopback), [true, true, true, false, false, false, false, false]);
  const socketPath = join(runDir(t), 's');
  await refusesToListen(t, { socketPath, tcp: { host: '0.0.0.0', port: 0 } }, /only loopback/);
  assert.equal(existsSync(socketPath), false, 'the unix socket is closed again');
  const { port } = await open(t);
  await refusesToListen(t, { socketPath: join(runDir(t), 's'), tcp: { host: '127.0.0.1', port } }, new RegExp(`127\\.0\\.0\\.1 port ${port}: another program listens there`));
});

test('closing removes the socket file, ends idle connections and answers who waits', async (t) => {
  const { server, socketPath } = await open(t);
  const idle = connect({ path: socketPath });
  await once(idle, 'connect');
  const poll = ask({ socketPath }, 'GET', '/v1/active?wait=300s&generation=7');
  await settled();
  await server.close();
  assert.equal((await poll).status, 200);
  assert.equal(existsSync(socketPath), false);
  idle.destroy();
});

test('a client that hangs up gives its room among the waiters back', async (t) => {
  const { socketPath } = await open(t, { limits: { waiters: 1 } });
  const first = connect({ path: socketPath });
  first.write('GET /v1/active?wait=300s&generation=7 HTTP/1.1\r\nHost: localhost\r\n\r\n');
  await settled();
  assert.equal((await ask({ socketPath }, 'GET', '/v1/active?wait=10ms&generation=7')).status, 503);
  first.destroy();
  await settled();
  assert.equal((await ask({ socketPath }, 'GET', '/v1/active?wait=10ms&generation=7')).status, 200);
});

for (const [what, sent, status] of [
  ['no HTTP', 'what?\r\n\r\n', 400],
  ['another version', 'GET / HTTP/9.9\r\n\r\n', 400],
  ['no Host', 'GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n', 400],
  ['two lengths', 'PUT /v1/override HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n', 400],
  ['a length and chunks', 'PUT /v1/override HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n', 400],
  ['headers too large', `GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Long: ${'x'.repeat(9000)}\r\n\r\n`, 431],
  ['an empty Host', 'GET /nowhere HTTP/1.1\r\nHost:\r\nConnection: close\r\n\r\n', 404],
  ['an expectation', 'GET /nowhere HTTP/1.1\r\nHost: localhost\r\nExpect: wonders\r\nConnection: close\r\n\r\n', 404],
  ['an unusual method', 'PROPFIND /v1/status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n', 405],
  ['an unusual method nowhere', 'PROPFIND / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n', 404],
] as const) {
  test(`a request with ${what} is a problem document too`, async (t) => {
    const { port, socketPath } = await open(t);
    for (const to of [{ port, host: '127.0.0.1' }, { path: socketPath }]) {
      const text = await talk(connect(to), sent);
      assert.match(text, new RegExp(`^HTTP/1\\.1 ${status} `));
      assert.match(text, /content-type: application\/problem\+json\r\n/i);
      assert.equal((JSON.parse(text.slice(text.indexOf('\r\n\r\n'))) as { status: number }).status, status);
    }
  });
}

test('a request that does not come is not waited for', async (t) => {
  const { socketPath } = await open(t, { limits: { headersTimeoutMs: 150, requestTimeoutMs: 300, timeoutCheckMs: 50 } });
  const patient = await open(t, { limits: { headersTimeoutMs: 150, requestTimeoutMs: 60_000, timeoutCheckMs: 50 } });
  assert.match(await talk(connect({ path: patient.socketPath }), 'GET /healthz HTTP/1.1\r\nHost:'), /^HTTP\/1\.1 408 .*too-slow/s);
  assert.match(await talk(connect({ path: socketPath }), 'PUT /v1/override HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 20\r\n\r\n{'), /^HTTP\/1\.1 408 /);
  // A connection that says nothing is closed.
  await talk(connect({ path: socketPath }), '');
});

test('users and groups have the names of passwd and group, or a number', (t) => {
  const dir = runDir(t);
  writeFileSync(join(dir, 'passwd'), 'root:x:0:0::/root:/bin/sh\nada:x:1000:1000::/:/bin/sh\n');
  writeFileSync(join(dir, 'group'), 'root:x:0:\nuplinkd:x:990:ada\nbroken:x::\n');
  assert.equal(userName(1000, join(dir, 'passwd')), 'ada');
  assert.equal(userName(1001, join(dir, 'passwd')), 'uid 1001');
  assert.equal(userName(0, join(dir, 'absent')), 'uid 0');
  assert.deepEqual(['uplinkd', 'nosuch', 'broken'].map((name) => groupId(name, join(dir, 'group'))), [990, undefined, undefined]);
});
