/** Conditional requests and long polls of /v1/active. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Override } from '../../src/model.js';
import { settled } from './asking.js';
import { healthy, instant, openWorld, serve, type World } from './fixture.js';

const someOverride: Override = { uplink: 'fibre', until: undefined, confirmBy: undefined, reason: '', by: 'test', since: instant(60_000), ifDead: 'obey' };

function change(world: World, part: { generation?: number; because?: string; override?: Override } = {}): void {
  const { override, ...decision } = part;
  world.status = { ...world.status, override, decision: { ...world.status.decision, ...decision } };
  world.board.publish();
}

test('an unchanged document is 304 to who knows its ETag, also among others and as a weak one', async () => {
  const world = openWorld();
  const { app } = serve(world);
  const etag = String((await app.inject('/v1/active')).headers['etag']);
  for (const known of [etag, `W/${etag}`, `"x", ${etag}`, '*']) {
    const answer = await app.inject({ url: '/v1/active', headers: { 'if-none-match': known } });
    assert.equal(answer.statusCode, 304, known);
    assert.equal(answer.body, '');
    assert.equal(answer.headers['etag'], etag);
    assert.equal(answer.headers['cache-control'], 'no-cache');
  }
  assert.equal((await app.inject({ url: '/v1/active', headers: { 'if-none-match': '"x"' } })).statusCode, 200);
});

test('time that passes changes no ETag; a generation, a reason, an override and a restart do', async () => {
  const world = openWorld();
  const { app } = serve(world);
  const etagNow = async (server = app) => String((await server.inject('/v1/active')).headers['etag']);
  const first = await etagNow();
  world.clock.nowMs += 86_400_000;
  world.clock.wallOffsetMs += 3;
  assert.equal(await etagNow(), first);
  world.clock.wallOffsetMs -= 3;
  const seen = new Set([first]);
  change(world, { because: 'another reason' });
  seen.add(await etagNow());
  change(world, { override: someOverride });
  seen.add(await etagNow());
  change(world, { generation: 8 });
  seen.add(await etagNow());
  assert.equal(seen.size, 4);
  seen.add(await etagNow(serve(world, { identity: { version: '0.1.0', boot: 'b2' } }).app));
  assert.equal(seen.size, 5);
});

test('a long poll answers at once to who knows another generation, a former or a later one', async () => {
  const { app } = serve(openWorld());
  for (const generation of [6, 8, 0]) {
    const answer = await app.inject(`/v1/active?wait=60s&generation=${generation}`);
    assert.equal(answer.json<{ generation: number }>().generation, 7);
  }
});

test('a long poll is answered when the generation changes, and not by other news', async () => {
  const world = openWorld();
  const { app } = serve(world);
  let done = false;
  const poll = app.inject('/v1/active?wait=60s&generation=7').then((answer) => ((done = true), answer));
  await settled();
  change(world, { because: 'only another reason' });
  await settled();
  assert.equal(done, false);
  change(world, { generation: 8 });
  assert.equal((await poll).json<{ generation: number }>().generation, 8);
});

test('a long poll by ETag is answered by any change of the document, and at once by another boot', async () => {
  const world = openWorld();
  const { app } = serve(world);
  const etag = String((await app.inject('/v1/active')).headers['etag']);
  const poll = app.inject({ url: '/v1/active?wait=60s', headers: { 'if-none-match': etag } });
  await settled();
  change(world, { override: someOverride });
  assert.equal((await poll).statusCode, 200);
  const afterRestart = await app.inject({ url: '/v1/active?wait=60s&generation=7', headers: { 'if-none-match': etag.replace('b1', 'b0') } });
  assert.equal(afterRestart.statusCode, 200, 'the same generation, of a former boot');
});

test('a long poll that knows nothing waits for the next change', async () => {
  const world = openWorld();
  const { app } = serve(world);
  const poll = app.inject('/v1/active?wait=60s');
  await settled();
  change(world, { because: 'another reason' });
  assert.equal((await poll).json<{ because: string }>().because, 'another reason');
});

test('a long poll ends with the time it gave: 200 with the same, or 304 to an ETag', async () => {
  const { app } = serve(openWorld());
  const begun = Date.now();
  const answer = await app.inject('/v1/active?wait=60ms&generation=7');
  assert.ok(Date.now() - begun >= 55);
  assert.equal(answer.statusCode, 200);
  const known = await app.inject({ url: '/v1/active?wait=20ms&generation=7', headers: { 'if-none-match': String(answer.headers['etag']) } });
  assert.equal(known.statusCode, 304);
  assert.equal((await app.inject('/v1/active?wait=0s&generation=7')).statusCode, 200);
});

test('so many may wait and no more; who is refused is told when to come again; the room is given back', async () => {
  const world = openWorld();
  const { app } = serve(world, { limits: { waiters: 2 } });
  const polls = [1, 2].map(() => app.inject('/v1/active?wait=60s&generation=7'));
  await settled();
  const third = await app.inject('/v1/active?wait=60s&generation=7');
  assert.equal(third.statusCode, 503);
  assert.equal(third.headers['retry-after'], '5');
  assert.equal(third.headers['content-type'], 'application/problem+json');
  assert.equal((await app.inject('/v1/active')).statusCode, 200, 'who does not wait is answered');
  change(world, { generation: 8 });
  await Promise.all(polls);
  assert.equal((await app.inject('/v1/active?wait=10ms&generation=8')).statusCode, 200);
});

test('all long polls together are one listener of the board, and none when nobody waits', async () => {
  const world = openWorld();
  let listeners = 0;
  const { app } = serve(world, {
    board: {
      ...world.board,
      subscribe(listener) {
        listeners++;
        const leave = world.board.subscribe(listener);
        return () => (listeners--, leave?.());
      },
    },
  });
  const before = listeners;
  const polls = [1, 2, 3].map(() => app.inject('/v1/active?wait=60s&generation=7'));
  await settled();
  assert.equal(listeners, before + 1);
  change(world, { generation: 8 });
  await Promise.all(polls);
  assert.equal(listeners, before);
});

test('closing the server answers who waits', async () => {
  const world = openWorld();
  world.status = healthy;
  const server = serve(world);
  const poll = server.app.inject('/v1/active?wait=60s&generation=7');
  await settled();
  await server.close();
  assert.equal((await poll).statusCode, 200);
});
