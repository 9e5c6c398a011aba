/** What a page from elsewhere can make a browser in the LAN send, and what it gets. */
import assert from 'node:assert/strict';
import { hostname } from 'node:os';
import { test } from 'node:test';
import { strangeHost } from '../../src/api/browsers.js';
import { openWorld, serve } from './fixture.js';
import { ask, open } from './listening.js';

test('over TCP only names of this machine are answered, whatever is asked', async (t) => {
  const { port, socketPath } = await open(t);
  for (const host of [`localhost:${port}`, '127.0.0.1', '[::1]:9474', 'LOCALHOST', '192.0.2.1:80', 'localhost.', hostname()]) {
    assert.equal((await ask({ port }, 'GET', '/v1/status', undefined, { host })).status, 200, host);
  }
  for (const host of ['evil.example', `evil.example:${port}`, 'localhost.evil.example', '127.0.0.1.nip.example', '1.2.3.4.5', '[::1].evil.example', 'evil.example@localhost', 'localhost, evil.example']) {
    for (const [method, path] of [['GET', '/v1/status'], ['GET', '/healthz'], ['GET', '/nowhere'], ['PUT', '/v1/override'], ['OPTIONS', '/v1/status']] as const) {
      const answer = await ask({ port }, method, path, undefined, { host });
      assert.equal(answer.status, 421, `${method} ${path} of ${host}`);
      assert.equal(answer.headers['content-type'], 'application/problem+json');
      assert.match(answer.text, /urn:uplinkd:problem:wrong-host.*Use its address, localhost or /);
      assert.doesNotMatch(answer.text, /fibre/);
    }
  }
  assert.equal((await ask({ socketPath }, 'GET', '/v1/status', undefined, { host: 'uplinkd' })).status, 200, 'no browser reaches the unix socket');
});

test('the name of the machine may be written short, whole, or as mDNS has it', () => {
  const ours = (host: string, name: string) => strangeHost('tcp', host, name) === undefined;
  assert.deepEqual(['gw', 'gw:9474', 'gw.example.net', 'GW.local', 'gw.example.com', 'example.net'].map((host) => ours(host, 'gw.example.net')), [true, true, true, false, false, false]);
  assert.ok(ours('gw.local', 'gw'));
});

test('no page from elsewhere may read an answer', async (t) => {
  const { port } = await open(t);
  for (const method of ['GET', 'OPTIONS', 'PUT']) {
    const { headers } = await ask({ port }, method, '/v1/status', undefined, { 'origin': 'https://evil.example', 'access-control-request-method': 'PUT' });
    assert.deepEqual(Object.keys(headers).filter((name) => /^access-control-|^set-cookie/.test(name)), []);
  }
});

test('calls that change something want JSON, with a body or without', async (t) => {
  const { socketPath, world } = await open(t);
  const CHANGES = [['PUT', '/v1/override'], ['DELETE', '/v1/override'], ['POST', '/v1/override/confirm'], ['POST', '/v1/reload'], ['POST', '/v1/plan'], ['PUT', '/v1/uplinks/fibre/verdict'], ['DELETE', '/v1/uplinks/fibre/verdict']] as const;
  for (const [method, path] of CHANGES) {
    for (const headers of [
      { 'content-type': 'text/plain' }, { 'content-type': 'application/x-www-form-urlencoded' }, { 'content-type': 'application/jsonx' },
      { origin: 'https://evil.example' }, { 'sec-fetch-site': 'cross-site' },
    ]) {
      const answer = await ask({ socketPath }, method, path, undefined, headers);
      assert.equal(answer.status, 415, `${method} ${path} ${JSON.stringify(headers)}: ${answer.text}`);
    }
  }
  assert.deepEqual(world.asked, []);
  for (const headers of [{}, { 'content-type': 'application/json' }, { 'content-type': 'Application/JSON; charset=utf-8', 'origin': 'http://localhost' }]) {
    assert.equal((await ask({ socketPath }, 'DELETE', '/v1/override', undefined, headers)).status, 200, JSON.stringify(headers));
  }
  // By TCP, once somebody may change things there.
  const { app } = serve(openWorld(), { stranger: { by: 'token', door: 'tcp', mayChange: true } });
  assert.equal((await app.inject({ method: 'DELETE', url: '/v1/override' })).statusCode, 415);
  assert.equal((await app.inject({ method: 'DELETE', url: '/v1/override', headers: { 'content-type': 'application/json' } })).statusCode, 200);
});
