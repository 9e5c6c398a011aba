/** Every call by inject: what it answers, and everything that can be wrong with a request. */
import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { test } from 'node:test';
import { ask, refused } from './asking.js';
import { cable, fibre, healthy, openWorld, serve } from './fixture.js';

test('active tells the uplink, since when, why, and that nobody overrode it', async () => {
  const answer = await ask(openWorld(), 'GET', '/v1/active');
  assert.equal(answer.status, 200);
  assert.match(String(answer.headers['etag']), /^"b1-7-[0-9a-f]+"$/);
  assert.deepEqual(answer.json(), {
    generation: 7,
    active: [{ name: 'fibre', interface: 'eth0', gateway: '198.51.100.1', family: 4, weight: 1 }],
    since: '2024-05-01T12:00:01.000Z',
    because: 'fibre has the best priority',
    override: null,
  });
});

test('active is an empty list when nothing is left, and a point-to-point uplink has no gateway', async () => {
  const world = openWorld();
  world.status = { ...healthy, active: [] };
  assert.deepEqual((await ask(world, 'GET', '/v1/active')).json()['active'], []);
  world.status = { ...healthy, active: [{ name: 'dsl', interface: 'ppp0', gateway: '', family: 4, weight: 1 }] };
  assert.deepEqual((await ask(world, 'GET', '/v1/active')).json()['active'], [{ name: 'dsl', interface: 'ppp0', gateway: null, family: 4, weight: 1 }]);
});

test('status is one document with every uplink, target, the kernel, the host and the daemon', async () => {
  const { json } = await ask(openWorld(), 'GET', '/v1/status');
  const [well, ill] = [
    {
      evidence: [{ witness: 'line', name: 'eth0', says: 'alive', text: 'it has a carrier' }, { witness: 'target', name: 'gateway', says: 'alive', text: 'answered 1 s ago' }],
      quality: { lossPercent: 1.25, latencyMs: 12.346, jitterMs: 0.5, busy: false }, damping: { penalty: 0.25, suppressedUntil: null, holdMs: 30_000, awaits: 'nothing' },
      traffic: { sentPacketsPerSecond: 120, answeredPacketsPerSecond: 96.5, sentBytesPerSecond: 30_000, answeredBytesPerSecond: 90_000, progressing: true },
    },
    {
      evidence: [
        { witness: 'target', name: 'gateway', says: 'alive', text: 'answered 1 s ago' }, { witness: 'target', name: 'icmp 1.1.1.1', says: 'silent', text: 'no answer for 58 s' },
        { witness: 'outside', name: 'bgp-watch', says: 'silent', text: 'the session is lost' },
      ],
      quality: { lossPercent: 100, latencyMs: null, jitterMs: null, busy: true }, damping: { penalty: 3.5, suppressedUntil: '2024-05-01T12:04:13.000Z', holdMs: 120_000, awaits: 'less loss' }, traffic: null,
    },
  ];
  const gateway = {
    family: 4, target: 'gateway', kind: 'icmp', address: '198.51.100.1', answering: true, rttMs: 4.219, jitterMs: 0.5, lossPercent: 0, timeoutMs: 300, lastReplyAt: '2024-05-01T12:00:59.000Z', lastError: '', lastCause: null, sent: 60, received: 60,
  };
  assert.deepEqual(json(), {
    at: '2024-05-01T12:01:00.000Z',
    generation: 7,
    active: [{ name: 'fibre', interface: 'eth0', gateway: '198.51.100.1', family: 4, weight: 1 }],
    since: '2024-05-01T12:00:01.000Z',
    because: 'fibre has the best priority',
    rule: 'automatic',
    override: null,
    decisions: [{ family: 4, order: [['fibre']], rule: 'automatic', because: 'fibre has the best priority', since: '2024-05-01T12:00:01.000Z', generation: 7 }],
    uplinks: [
      {
        name: 'fibre', state: 'up', since: '2024-05-01T12:00:01.000Z', because: 'all 2 targets answer', domain: 'none', active: true, rank: 0, interface: 'eth0', ifindex: 2, addresses: ['198.51.100.7/24'], gateway: '198.51.100.1',
        carrier: true, priority: 1, weight: 1, metered: false, severed: false, inDoubt: false, holdUntil: null, mark: '0x80', table: 9401, suspicions: 2, downs: 1, targets: [gateway], ...well,
        probeBytes: { spent: 1_234_568, budget: null }, outside: [],
        families: [{ family: 4, state: 'up', since: '2024-05-01T12:00:01.000Z', because: 'all 2 targets answer', domain: 'none', gateway: '198.51.100.1', active: true, rank: 0, severed: false, inDoubt: false, holdUntil: null, ...well }],
      },
      {
        name: 'cable', state: 'down', since: '2024-05-01T12:00:02.000Z', because: 'upstream is silent since 12:00:02', domain: 'upstream', active: false, rank: null, interface: 'eth1', ifindex: null, addresses: [], gateway: null,
        carrier: false, priority: 2, weight: 3, metered: true, severed: false, inDoubt: false, holdUntil: '2024-05-01T12:01:10.000Z', mark: '0x100', table: 9402, suspicions: 0, downs: 0, ...ill,
        probeBytes: { spent: 4_000_000, budget: 5_000_000 },
        outside: [{ state: 'down', by: 'bgp-watch', because: 'the session is lost', since: '2024-05-01T12:00:50.000Z', until: '2024-05-01T12:01:20.000Z' }],
        families: [{ family: 4, state: 'down', since: '2024-05-01T12:00:02.000Z', because: 'upstream is silent since 12:00:02', domain: 'upstream', gateway: null, active: false, rank: null, severed: false, inDoubt: false, holdUntil: '2024-05-01T12:01:10.000Z', ...ill }],
        targets: [
          gateway,
          { family: 4, target: 'icmp 1.1.1.1', kind: 'icmp', address: '1.1.1.1', answering: false, rttMs: null, jitterMs: null, lossPercent: 100, timeoutMs: 1000, lastReplyAt: null, lastError: 'no answer', lastCause: 'unreachable', sent: 60, received: 0 },
        ],
      },
    ],
    kernel: { inSync: true, lastReadAt: '2024-05-01T12:00:59.500Z', failures: [], repairs: 3, applied: 42 },
    host: { natBackend: 'nftables', natInSync: true, sysctlsInSync: false, problems: ['net/ipv4/ip_forward is read only'] },
    controller: { version: '0.1.0', boot: 'b1', startedAt: '2024-05-01T12:00:00.000Z', ready: true, worstLatenessMs: 1.5, steps: 1234 },
  });
});

test('status before anything is known has nulls and no holes', async () => {
  const world = openWorld();
  world.status = { ...healthy, active: [], uplinks: [], host: undefined, kernel: { ...healthy.kernel, lastReadAt: undefined } };
  const status = (await ask(world, 'GET', '/v1/status')).json();
  assert.equal(status['host'], null);
  assert.deepEqual(status['uplinks'], []);
  assert.equal((status['kernel'] as { lastReadAt: unknown }).lastReadAt, null);
});

test('uplinks and one uplink are parts of the status', async () => {
  const world = openWorld();
  const { uplinks } = (await ask(world, 'GET', '/v1/status')).json();
  assert.deepEqual((await ask(world, 'GET', '/v1/uplinks')).json(), { uplinks });
  assert.deepEqual((await ask(world, 'GET', '/v1/uplinks/cable')).json(), (uplinks as unknown[])[1]);
});

test('an unknown uplink in the path is 404 and the problem lists those that exist', async () => {
  assert.match(await refused(openWorld(), 404, 'GET', '/v1/uplinks/nosuch'), /no uplink "nosuch".*fibre, cable/);
  assert.deepEqual((await ask(openWorld(), 'GET', '/v1/uplinks/nosuch')).json()['uplinks'], ['fibre', 'cable']);
});

test('a wall clock that is set right moves the times shown and not their distances', async () => {
  const world = openWorld();
  const { app } = serve(world);
  const since = async () => (await app.inject('/v1/active')).json<{ since: string }>().since;
  assert.equal(await since(), '2024-05-01T12:00:01.000Z');
  world.clock.wallOffsetMs += 40;
  assert.equal(await since(), '2024-05-01T12:00:01.000Z', 'a wandering clock does not change what an event reads');
  world.clock.wallOffsetMs += 3_600_000;
  assert.equal(await since(), '2024-05-01T13:00:01.040Z');
});

test('an override is asked of the daemon with every default filled in, and the resulting status comes back', async () => {
  const world = openWorld();
  const answer = await ask(world, 'PUT', '/v1/override', { body: { uplink: 'cable' } });
  assert.equal(answer.status, 200);
  assert.deepEqual(world.asked, [{ uplink: 'cable', forMs: undefined, reason: '', ifDead: 'fall-through', confirmMs: undefined, by: 'test' }]);
  const status = answer.json();
  assert.equal((status['active'] as { name: string }[])[0]?.name, 'cable');
  assert.deepEqual(status['override'], { uplink: 'cable', until: null, confirmBy: null, reason: '', by: 'test', since: '2024-05-01T12:01:00.000Z', ifDead: 'fall-through' });
});

test('an override with everything said is passed on as said', async () => {
  const world = openWorld();
  const answer = await ask(world, 'PUT', '/v1/override', { body: { uplink: 'cable', for: '1h30m', reason: 'fibre works, überall', ifDead: 'obey', confirm: '60s' } });
  assert.equal(answer.status, 200);
  assert.deepEqual(world.asked, [{ uplink: 'cable', forMs: 5_400_000, reason: 'fibre works, überall', ifDead: 'obey', confirmMs: 60_000, by: 'test' }]);
  assert.deepEqual(answer.json()['override'], {
    uplink: 'cable', until: '2024-05-01T13:31:00.000Z', confirmBy: '2024-05-01T12:02:00.000Z', reason: 'fibre works, überall', by: 'test', since: '2024-05-01T12:01:00.000Z', ifDead: 'obey',
  });
});

test('confirming and dropping an override answer the resulting status, with or without a declared empty body', async () => {
  const world = openWorld();
  await ask(world, 'PUT', '/v1/override', { body: { uplink: 'cable', confirm: '60s' } });
  const confirmed = await ask(world, 'POST', '/v1/override/confirm', { raw: '', headers: { 'content-type': 'application/json' } });
  assert.equal((confirmed.json()['override'] as { confirmBy: unknown }).confirmBy, null);
  const dropped = await ask(world, 'DELETE', '/v1/override', { body: {} });
  assert.equal(dropped.json()['override'], null);
  assert.deepEqual(world.asked.slice(1), [{ confirm: 'test' }, { clear: 'test' }]);
});

test('what the daemon refuses is 409 with its reason', async () => {
  const world = openWorld();
  world.error = 'cable has no gateway yet; plug it in, or give `gateway` in the config.';
  assert.equal(await refused(world, 409, 'PUT', '/v1/override', { body: { uplink: 'cable' } }), world.error);
  assert.equal(await refused(world, 409, 'POST', '/v1/override/confirm'), world.error);
  assert.equal(await refused(world, 409, 'DELETE', '/v1/override'), world.error);
});

test('a daemon that does not answer is 504 and says that nobody knows', async () => {
  const world = openWorld();
  world.mute = true;
  const { app } = serve(world, { limits: { askTimeoutMs: 20 } });
  const answer = await app.inject({ method: 'PUT', url: '/v1/override', payload: { uplink: 'cable' } });
  assert.equal(answer.statusCode, 504);
  assert.match(answer.json<{ detail: string }>().detail, /may or may not/);
});

test('an override of an unknown uplink is 422, names those that exist and asks nothing of the daemon', async () => {
  const world = openWorld();
  assert.match(await refused(world, 422, 'PUT', '/v1/override', { body: { uplink: 'nosuch' } }), /"nosuch".*fibre, cable/);
  assert.deepEqual(world.asked, []);
});

const WRONG_BODIES: readonly [string, unknown, RegExp][] = [
  ['no body', undefined, /must be a JSON object; it takes uplink, for, reason, ifDead, confirm/],
  ['a list', [], /must be a JSON object/],
  ['a text', 'cable', /must be a JSON object/],
  ['null', null, /must be a JSON object/],
  ['nothing in it', {}, /"uplink" is missing/],
  ['an unknown key', { uplink: 'cable', fro: '2h' }, /unknown key "fro"; it takes uplink, for/],
  ['a poisoned key', JSON.parse('{"uplink":"cable","__proto__":{"for":"2h"}}'), /unknown key "__proto__"/],
  ['a key that objects have anyway', { uplink: 'cable', constructor: {} }, /unknown key "constructor"/],
  ['an uplink that is no text', { uplink: 5 }, /"uplink" is 5; it must be name of an uplink/],
  ['an empty uplink', { uplink: '' }, /"uplink" is ""/],
  ['a number as duration', { uplink: 'cable', for: 7200 }, /"for" is 7200; it must be a duration such as/],
  ['null as duration', { uplink: 'cable', for: null }, /"for" is null; it must be a duration/],
  ['a duration without unit', { uplink: 'cable', for: '2' }, /"for" is "2"; it must be a duration/],
  ['an empty duration', { uplink: 'cable', for: '' }, /"for" is ""; it must be a duration/],
  ['a negative duration', { uplink: 'cable', for: '-2h' }, /"for" is "-2h"/],
  ['a duration too short', { uplink: 'cable', for: '999ms' }, /"for" is 999ms; it must be 1s to 30d/],
  ['a duration too long', { uplink: 'cable', for: '721h' }, /"for" is 721h; it must be 1s to 30d/],
  ['a confirmation too soon', { uplink: 'cable', confirm: '4s' }, /"confirm" is 4s; it must be 5s to 1h/],
  ['a confirmation too late', { uplink: 'cable', confirm: '61m' }, /"confirm" is 61m; it must be 5s to 1h/],
  ['a reason too long', { uplink: 'cable', reason: 'x'.repeat(201) }, /at most 200 printable characters/],
  ['a reason with a line feed', { uplink: 'cable', reason: 'a\nb' }, /printable/],
  ['a reason with an escape', { uplink: 'cable', reason: '\u001b[2J' }, /printable/],
  ['a reason that turns the text around', { uplink: 'cable', reason: 'a\u202eb' }, /printable/],
  ['another way to die', { uplink: 'cable', ifDead: 'panic' }, /"ifDead" is "panic"; it must be one of fall-through, obey/],
];
for (const [what, body, detail] of WRONG_BODIES) {
  test(`a body with ${what} is 422 and says so`, async () => {
    const world = openWorld();
    const raw = body === undefined ? {} : { raw: JSON.stringify(body) };
    assert.match(await refused(world, 422, 'PUT', '/v1/override', { ...raw, headers: { 'content-type': 'application/json' } }), detail);
    assert.deepEqual(world.asked, []);
  });
}

test('the longest and the shortest that is allowed is allowed', async () => {
  const world = openWorld();
  for (const body of [{ for: '1s' }, { for: '30d' }, { for: '720h' }, { confirm: '5s' }, { confirm: '1h' }, { reason: 'ü'.repeat(200) }, { reason: '' }]) {
    assert.equal((await ask(world, 'PUT', '/v1/override', { body: { uplink: 'cable', ...body } })).status, 200, JSON.stringify(body));
  }
});

test('several faults of one body are all told, but not thousands', async () => {
  const two = (await ask(openWorld(), 'PUT', '/v1/override', { body: { for: 'x', confirm: 'y' } })).json();
  assert.deepEqual((two['errors'] as { pointer: string }[]).map((error) => error.pointer).sort(), ['/confirm', '/for', '/uplink']);
  const keys = Object.fromEntries(Array.from({ length: 1500 }, (_, i) => [`k${i}`, 0]));
  const many = await ask(openWorld(), 'PUT', '/v1/override', { body: { uplink: 'cable', ...keys } });
  assert.equal(many.status, 422);
  assert.ok(many.text.length < 4000, `${many.text.length} bytes`);
  assert.match(many.text, /and 1492 more/);
});

test('a body that is no JSON is 400 and says where', async () => {
  assert.match(await refused(openWorld(), 400, 'PUT', '/v1/override', { raw: '{"uplink":' }), /The body is not JSON: /);
});

test('a body of another type is 415, and so is one without a type', async () => {
  for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'application/jsonx', 'nonsense']) {
    assert.match(await refused(openWorld(), 415, 'PUT', '/v1/override', { raw: '{"uplink":"cable"}', headers: { 'content-type': type } }), /Content-Type: application\/json/);
  }
});

test('JSON with a charset is JSON', async () => {
  assert.equal((await ask(openWorld(), 'PUT', '/v1/override', { body: { uplink: 'cable' }, headers: { 'content-type': 'application/json; charset=utf-8' } })).status, 200);
});

test('a body larger than 16 KiB is 413', async () => {
  assert.match(await refused(openWorld(), 413, 'PUT', '/v1/override', { raw: JSON.stringify({ uplink: 'cable', reason: 'x'.repeat(16 * 1024) }) }), /16 KiB/);
});

test('a body where none is taken is 400', async () => {
  assert.match(await refused(openWorld(), 400, 'DELETE', '/v1/override', { body: { uplink: 'cable' } }), /takes no body/);
  assert.match(await refused(openWorld(), 400, 'POST', '/v1/override/confirm', { body: [1] }), /takes no body/);
});

test('a path that does not exist is 404 and names those that do', async () => {
  for (const path of ['/', '/v1', '/v1/', '/v1/status/', '/v2/status', '/V1/status', '/v1/uplinks/fibre/x']) {
    assert.match(await refused(openWorld(), 404, 'GET', path), /There is: \/v1\/active, .*\/v1\/uplinks\/NAME/);
  }
  assert.match(await refused(openWorld(), 404, 'PUT', '/nowhere', { raw: 'x', headers: { 'content-type': 'text/plain' } }), /nothing at "\/nowhere"/);
});

test('a method that a path does not know is 405 with Allow, whatever body comes with it', async () => {
  for (const [method, path, allow] of [
    ['POST', '/v1/active', 'GET, HEAD'],
    ['PATCH', '/v1/override', 'PUT, DELETE'],
    ['GET', '/v1/override', 'PUT, DELETE'],
    ['GET', '/v1/override/confirm', 'POST'],
    ['GET', '/v1/uplinks/fibre/verdict', 'PUT, DELETE'],
    ['DELETE', '/v1/uplinks/fibre', 'GET, HEAD'],
    ['OPTIONS', '/metrics', 'GET, HEAD'],
  ] as const) {
    const answer = await ask(openWorld(), method, path, method === 'GET' ? {} : { raw: '{', headers: { 'content-type': 'text/plain' } });
    assert.equal(answer.status, 405, `${method} ${path}: ${answer.text}`);
    assert.equal(answer.headers['allow'], allow);
    assert.equal(answer.headers['content-type'], 'application/problem+json');
  }
});

test('HEAD answers as GET without the body', async () => {
  const answer = await ask(openWorld(), 'HEAD', '/v1/active');
  assert.equal(answer.status, 200);
  assert.equal(answer.text, '');
});

const WRONG_QUERIES: readonly [string, RegExp][] = [
  ['/v1/active?wiat=30s', /unknown parameter "wiat"; it takes wait, generation/],
  ['/v1/active?wait=30', /"wait" is "30"; it must be a duration/],
  ['/v1/active?wait=6m', /wait=6m is too long: at most 5m/],
  ['/v1/active?wait=1s&wait=2s', /"wait" is a list \(or given twice\)/],
  ['/v1/active?generation=x', /"generation" is "x"; it must be the generation you know/],
  ['/v1/active?generation=-1', /"generation" is "-1"/],
  ['/v1/active?generation=', /"generation" is ""/],
  ['/v1/status?verbose=1', /unknown parameter "verbose"; it takes none/],
  ['/metrics?x=1', /it takes none/],
  ['/v1/uplinks/fibre?x=1', /it takes none/],
];
for (const [url, detail] of WRONG_QUERIES) {
  test(`the query of ${url} is 400 and says why`, async () => assert.match(await refused(openWorld(), 400, 'GET', url), detail));
}

test('a path that is no URL is 400, a name that is far too long 414', async () => {
  assert.match(await refused(openWorld(), 400, 'GET', '/v1/uplinks/%zz'), /not a valid URL/);
  assert.match(await refused(openWorld(), 414, 'GET', `/v1/uplinks/${'x'.repeat(100)}`), /64 characters/);
});

test('who may only read is told so before anything else is looked at, and what to do', async () => {
  for (const [method, path] of [['PUT', '/v1/override'], ['DELETE', '/v1/override'], ['POST', '/v1/override/confirm'], ['PUT', '/v1/uplinks/fibre/verdict'], ['DELETE', '/v1/uplinks/fibre/verdict']] as const) {
    const world = openWorld();
    assert.match(await refused(world, 403, method, path, { raw: '{', headers: { 'content-type': 'text/plain' }, mayChange: false }), /unix socket \/run\/uplinkd\/uplinkd\.sock/);
    assert.deepEqual(world.asked, []);
  }
  assert.equal((await ask(openWorld(), 'GET', '/v1/status', { mayChange: false })).status, 200);
});

test('readyz is 503 until the first decision is in force, healthz is always well', async () => {
  const world = openWorld();
  assert.deepEqual((await ask(world, 'GET', '/readyz')).json(), { ready: true });
  world.status = { ...healthy, controller: { ...healthy.controller, ready: false } };
  assert.match(await refused(world, 503, 'GET', '/readyz'), /first decision/);
  assert.deepEqual((await ask(world, 'GET', '/healthz')).json(), { status: 'ok' });
});

test('a mistake of the daemon is a problem document too, goes to the log, and does not tell its insides', async () => {
  const logged: string[] = [];
  const world = openWorld();
  const { app } = serve(world, {
    board: { ...world.board, get: () => { throw new Error('secret inside'); } },
    log: { info: () => undefined, warn: () => undefined, error: (_data, text) => void logged.push(text) },
  });
  const answer = await app.inject('/v1/status');
  assert.equal(answer.statusCode, 500);
  assert.equal(answer.headers['content-type'], 'application/problem+json');
  assert.doesNotMatch(answer.body, /secret/);
  assert.deepEqual(logged, ['a request could not be answered']);
});

test('no answer may be stored by a cache', async () => {
  for (const url of ['/v1/status', '/v1/uplinks/fibre', '/nowhere', '/metrics']) {
    assert.equal((await ask(openWorld(), 'GET', url)).headers['cache-control'], 'no-store', url);
  }
});

test('openapi describes every call and leaves no reference open', async () => {
  const document = (await ask(openWorld(), 'GET', '/openapi.json')).json();
  assert.match(String(document['openapi']), /^3\.1\./);
  const paths = document['paths'] as Record<string, Record<string, unknown>>;
  assert.deepEqual(Object.keys(paths).sort(), ['/healthz', '/metrics', '/openapi.json', '/readyz', '/v1/active', '/v1/doctor', '/v1/override', '/v1/override/confirm', '/v1/plan', '/v1/policies', '/v1/reload', '/v1/status', '/v1/uplinks', '/v1/uplinks/{name}', '/v1/uplinks/{name}/verdict', '/v1/what-if']);
  for (const path of ['/v1/override', '/v1/uplinks/{name}/verdict']) assert.deepEqual(Object.keys(paths[path] ?? {}), ['put', 'delete'], path);
  assert.match(JSON.stringify(paths['/v1/uplinks/{name}/verdict']), /"name":"name","in":"path","required":true.*"name":"by","in":"query","required":false/);
  assert.match(JSON.stringify([paths['/v1/what-if'], paths['/v1/active']]), /"name":"down","in":"query","required":true.*"name":"wait","in":"query","required":false/);
  const { schemas } = document['components'] as { schemas: Record<string, unknown> };
  const references = [...JSON.stringify(document).matchAll(/"\$ref":"#\/components\/schemas\/([A-Za-z]+)"/g)].map((match) => match[1] ?? '');
  assert.ok(references.length > 10);
  for (const name of references) assert.ok(name in schemas, name);
  for (const name of Object.keys(schemas)) assert.ok(references.includes(name), `${name} is used nowhere`);
  const ids = [...JSON.stringify(document).matchAll(/"operationId":"([^"]+)"/g)].map((match) => match[1]);
  assert.equal(new Set(ids).size, ids.length);
});

test('bodies of chance never make the daemon fail, and ask of it only what is valid', async () => {
  const seed = Number(process.env['SEED'] ?? randomInt(2 ** 31));
  const chance = mulberry(seed);
  const world = openWorld();
  const { app } = serve(world);
  const pick = <T>(items: readonly T[]) => items[Math.floor(chance() * items.length)] as T;
  const value = (depth: number): unknown => pick<() => unknown>([
    () => pick(['cable', 'fibre', '2h', '', '\u0000', '💥', '1'.repeat(40), '__proto__', 'obey', '5s', '0.5h']), () => Math.floor((chance() - 0.5) * 1e9), () => chance() * 1e300, () => null, () => true,
    () => (depth > 3 ? 0 : Array.from({ length: Math.floor(chance() * 4) }, () => value(depth + 1))), () => (depth > 3 ? {} : Object.fromEntries([[pick(['uplink', 'for', 'x', 'constructor']), value(depth + 1)]])),
  ])();
  for (let round = 0; round < 1500; round++) {
    const keys = ['uplink', 'for', 'reason', 'ifDead', 'confirm', 'extra'].filter(() => chance() < 0.4);
    const likely: Record<string, unknown> = { uplink: 'cable', for: '2h', reason: 'why', ifDead: 'obey', confirm: '60s' };
    let payload = JSON.stringify(Object.fromEntries(keys.map((key) => [key, chance() < 0.6 ? likely[key] : value(0)])));
    if (chance() < 0.3) payload = payload.slice(0, Math.floor(chance() * payload.length));
    if (chance() < 0.2) payload = payload.replace(pick([...payload]), pick(['"', '\\', '{', '\u0000', 'é']));
    const asked = world.asked.length;
    const answer = await app.inject({ method: 'PUT', url: '/v1/override', headers: { 'content-type': 'application/json' }, payload });
    assert.ok([200, 400, 422].includes(answer.statusCode), `SEED=${seed} ${payload}: ${answer.statusCode} ${answer.body}`);
    assert.equal(world.asked.length - asked, answer.statusCode === 200 ? 1 : 0, `SEED=${seed} ${payload}`);
    if (answer.statusCode !== 200) assert.equal(answer.headers['content-type'], 'application/problem+json');
  }
  assert.ok(world.asked.length > 10, `SEED=${seed}: some were valid`);
  for (const order of world.asked as { uplink: string; forMs?: number; confirmMs?: number }[]) {
    assert.ok([fibre.uplink, cable.uplink].includes(order.uplink), `SEED=${seed}`);
    assert.ok(order.forMs === undefined || (order.forMs >= 1000 && order.forMs <= 30 * 86_400_000), `SEED=${seed}`);
    assert.ok(order.confirmMs === undefined || (order.confirmMs >= 5000 && order.confirmMs <= 3_600_000), `SEED=${seed}`);
  }
});

/** A small seeded generator, 0 to 1. */
function mulberry(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
