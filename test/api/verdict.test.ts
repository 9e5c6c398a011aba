/** PUT and DELETE /v1/uplinks/NAME/verdict by inject: what is asked of the daemon, what comes back, and everything that can be wrong. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ask, refused } from './asking.js';
import { cable, fibre, healthy, instant, openWorld, serve } from './fixture.js';

const FIBRE = '/v1/uplinks/fibre/verdict';

interface Told {
  readonly name: string;
  readonly outside: readonly object[];
}

test('a verdict is asked of the daemon with every default filled in, and the resulting status comes back', async () => {
  const world = openWorld();
  const answer = await ask(world, 'PUT', FIBRE, { body: { state: 'down', ttl: '30s' } });
  assert.equal(answer.status, 200, answer.text);
  assert.deepEqual(world.asked, [{ uplink: 'fibre', state: 'down', forMs: 30_000, by: 'test', because: '' }]);
  const status = answer.json();
  assert.equal(status['generation'], healthy.decision.generation, 'the whole status');
  assert.deepEqual((status['uplinks'] as Told[])[0]?.outside, [{ state: 'down', by: 'test', because: '', since: '2024-05-01T12:01:00.000Z', until: '2024-05-01T12:01:30.000Z' }]);
});

test('a verdict with everything said is passed on as said, and each witness has one', async () => {
  const world = openWorld();
  await ask(world, 'PUT', FIBRE, { body: { state: 'down', ttl: '1h30m', by: 'bgp-watch', because: 'session lost, überall' } });
  await ask(world, 'PUT', FIBRE, { body: { state: 'up', ttl: '24h', by: 'ada' } });
  const answer = await ask(world, 'PUT', FIBRE, { body: { state: 'up', ttl: '1s', by: 'bgp-watch', because: '' } });
  assert.deepEqual(world.asked, [
    { uplink: 'fibre', state: 'down', forMs: 5_400_000, by: 'bgp-watch', because: 'session lost, überall' },
    { uplink: 'fibre', state: 'up', forMs: 86_400_000, by: 'ada', because: '' },
    { uplink: 'fibre', state: 'up', forMs: 1_000, by: 'bgp-watch', because: '' },
  ]);
  assert.deepEqual((answer.json()['uplinks'] as { outside: { by: string }[] }[])[0]?.outside.map(({ by }) => by), ['ada', 'bgp-watch']);
});

test('a verdict is dropped by who said it, or all of an uplink at once', async () => {
  const world = openWorld();
  const said = (by: string) => ({ uplink: 'fibre', state: 'down' as const, by, because: '', since: instant(0), until: instant(90_000) });
  world.status = { ...healthy, uplinks: [{ ...fibre, outside: [said('ada'), said('bgp watch/2&x=1')] }, cable] };
  const one = await ask(world, 'DELETE', `${FIBRE}?by=bgp%20watch%2F2%26x%3D1`);
  assert.deepEqual((one.json()['uplinks'] as { outside: { by: string }[] }[])[0]?.outside.map(({ by }) => by), ['ada']);
  const all = await ask(world, 'DELETE', FIBRE);
  assert.deepEqual((all.json()['uplinks'] as Told[]).map(({ name, outside }) => [name, outside.length]), [['fibre', 0], ['cable', 1]]);
  assert.deepEqual(world.asked, [{ withdraw: 'fibre', by: 'bgp watch/2&x=1' }, { withdraw: 'fibre', by: '' }]);
});

test('an unknown uplink is 404, names those that exist and asks nothing of the daemon', async () => {
  const world = openWorld();
  for (const method of ['PUT', 'DELETE'] as const) {
    const body = method === 'PUT' ? { body: { state: 'down', ttl: '30s' } } : {};
    assert.match(await refused(world, 404, method, '/v1/uplinks/nosuch/verdict', body), /no uplink "nosuch".*fibre, cable/);
  }
  assert.deepEqual(world.asked, []);
});

test('what the daemon refuses is 409 with its reason, and a daemon that says nothing 504', async () => {
  const world = openWorld();
  world.error = 'sixteen others have a say about fibre already; drop one of them.';
  assert.equal(await refused(world, 409, 'PUT', FIBRE, { body: { state: 'up', ttl: '30s' } }), world.error);
  assert.equal(await refused(world, 409, 'DELETE', FIBRE), world.error);
  world.mute = true;
  const { app } = serve(world, { limits: { askTimeoutMs: 20 } });
  for (const request of [{ method: 'PUT' as const, url: FIBRE, payload: { state: 'down', ttl: '30s' } }, { method: 'DELETE' as const, url: FIBRE }]) assert.equal((await app.inject(request)).statusCode, 504);
});

test('who may only read may not say anything, and take nothing back', async () => {
  const world = openWorld();
  await refused(world, 403, 'PUT', FIBRE, { body: { state: 'down', ttl: '30s' }, mayChange: false });
  await refused(world, 403, 'DELETE', FIBRE, { mayChange: false });
  assert.deepEqual(world.asked, []);
});

const SAID = { state: 'down', ttl: '30s' };
const WRONG_BODIES: readonly [string, unknown, RegExp][] = [
  ['nothing in it', {}, /"state" is missing; the key "ttl" is missing/],
  ['no end', { state: 'down' }, /"ttl" is missing/],
  ['a list', [], /must be a JSON object; it takes state, ttl, by, because/],
  ['an unknown key', { ...SAID, reason: 'x' }, /unknown key "reason"; it takes state, ttl, by, because/],
  ['another state', { ...SAID, state: 'degraded' }, /"state" is "degraded"; it must be one of down, up/],
  ['no state', { ...SAID, state: null }, /"state" is null/],
  ['a number as ttl', { ...SAID, ttl: 30 }, /"ttl" is 30; it must be a duration such as/],
  ['a ttl without unit', { ...SAID, ttl: '30' }, /"ttl" is "30"; it must be a duration/],
  ['a ttl too short', { ...SAID, ttl: '999ms' }, /"ttl" is 999ms; it must be 1s to 24h/],
  ['a ttl of nothing', { ...SAID, ttl: '0s' }, /"ttl" is 0s; it must be 1s to 24h/],
  ['a ttl too long', { ...SAID, ttl: '24h1ms' }, /"ttl" is 24h1ms; it must be 1s to 24h/],
  ['nobody', { ...SAID, by: '' }, /"by" is ""; it must be a name of 1 to 64 printable characters/],
  ['a name too long', { ...SAID, by: 'x'.repeat(65) }, /"by" is "x+…"; it must be a name/],
  ['a name with a line feed', { ...SAID, by: 'a\nb' }, /"by" is .* printable/],
  ['a name that turns the text around', { ...SAID, by: 'a\u202eb' }, /"by" is .* printable/],
  ['a reason too long', { ...SAID, because: 'x'.repeat(201) }, /"because" is .* at most 200 printable/],
  ['a reason with an escape', { ...SAID, because: '\u001b[2J' }, /"because" is .* printable/],
];
for (const [what, body, detail] of WRONG_BODIES) {
  test(`a verdict with ${what} is 422 and says so`, async () => {
    const world = openWorld();
    assert.match(await refused(world, 422, 'PUT', FIBRE, { body }), detail);
    assert.deepEqual(world.asked, []);
  });
}

test('the longest names and reasons that are allowed are allowed', async () => {
  for (const more of [{ by: 'ü'.repeat(64) }, { by: ' ' }, { because: 'ü'.repeat(200) }, { because: '' }, { ttl: '1d' }, { ttl: '1s' }]) {
    assert.equal((await ask(openWorld(), 'PUT', FIBRE, { body: { ...SAID, ...more } })).status, 200, JSON.stringify(more));
  }
});

test('an empty name in the query drops nothing: a script whose variable is empty must not drop what others said', async () => {
  const world = openWorld();
  assert.match(await refused(world, 400, 'DELETE', `${FIBRE}?by=`), /"by" is ""; it must be a name of 1 to 64 printable characters/);
  assert.match(await refused(world, 400, 'DELETE', `${FIBRE}?by=a&by=b`), /given twice/);
  assert.match(await refused(world, 400, 'DELETE', `${FIBRE}?who=a`), /unknown parameter "who"; it takes by/);
  assert.match(await refused(world, 400, 'DELETE', FIBRE, { body: { by: 'a' } }), /takes no body/);
  assert.deepEqual(world.asked, []);
});
