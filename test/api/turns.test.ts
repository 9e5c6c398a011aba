/** The API's share of the loop, and what it makes once for all. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { inTurns, openTurns } from '../../src/api/turns.js';
import { waitFor } from '../lab/wait.js';
import { healthy, openWorld, serve } from './fixture.js';

test('between two jobs the loop does everything else that is ready, and the unix socket comes first', async () => {
  const turns = openTurns();
  const seen: string[] = [];
  let loops = 0;
  const loop = () => {
    loops++;
    if (seen.length < 6) setImmediate(loop);
  };
  setImmediate(loop);
  for (const name of ['tcp 1', 'tcp 2', 'tcp 3']) turns.ask('tcp', () => seen.push(`${loops} ${name}`));
  for (const name of ['unix 1', 'unix 2', 'unix 3']) turns.ask('unix', () => seen.push(`${loops} ${name}`));
  await waitFor('all had their turn', () => seen.length, (count) => count === 6);
  assert.deepEqual(seen.map((one) => one.replace(/^[0-9]+ /, '')), ['unix 1', 'unix 2', 'unix 3', 'tcp 1', 'tcp 2', 'tcp 3']);
  assert.equal(new Set(seen.map((one) => one.split(' ')[0])).size, 6, `each in a turn of its own: ${seen.join(', ')}`);
});

test('what a job promised belongs to it: the next one comes after that, and after the rest that it costs', async () => {
  const turns = openTurns();
  const order: string[] = [];
  const ends: number[] = [];
  const work = async (name: string) => {
    for (let i = 0; i < 10; i++) await Promise.resolve();
    const from = performance.now();
    while (performance.now() < from + 5);
    ends.push(performance.now());
    order.push(`${name} is done`);
  };
  turns.ask('unix', () => void work('first'));
  turns.ask('unix', () => {
    order.push('second');
    ends.push(performance.now());
  });
  await waitFor('both are done', () => order.length, (count) => count === 2);
  assert.deepEqual(order, ['first is done', 'second']);
  assert.ok(ends[1]! - ends[0]! >= 14, `${ends[1]! - ends[0]!} ms of rest after 5 ms of work`);
});

test('those who ask for a forecast by TCP leave the places of the unix socket alone', async () => {
  const inTurn = inTurns(openTurns(), 2);
  const asked = [inTurn('tcp', () => 1), inTurn('tcp', () => 2), inTurn('tcp', () => 3), inTurn('unix', () => 4)];
  assert.deepEqual(asked.map((one) => one === undefined), [false, false, true, false]);
  assert.deepEqual(await Promise.all(asked.filter((one) => one !== undefined)), [1, 2, 4]);
  assert.equal(await inTurn('tcp', () => 5), 5, 'the places are given back');
});

test('the status is judged once for all readers, and anew when something changed or time has passed', async () => {
  const world = openWorld();
  let looks = 0;
  const { app } = serve(world, { board: { ...world.board, get: () => (looks++, world.board.get()) } });
  const read = async () => Promise.all(['/v1/status', '/v1/uplinks', '/metrics', '/v1/active', '/v1/uplinks/fibre', '/readyz', '/v1/status'].map((path) => app.inject(path)));
  const first = await read();
  await read();
  assert.equal(looks, 1);
  assert.equal(first[0]!.headers['content-type'], 'application/json; charset=utf-8');
  world.status = { ...healthy, decision: { ...healthy.decision, generation: 8 } };
  world.board.publish();
  assert.equal((await read())[0]!.json<{ generation: number }>().generation, 8);
  assert.equal(looks, 2);
  world.clock.nowMs += 60_000;
  await read();
  assert.equal(looks, 3);
  await app.inject({ method: 'PUT', url: '/v1/override', payload: { uplink: 'cable' } });
  assert.equal((await read())[0]!.json<{ override: { uplink: string } }>().override.uplink, 'cable', 'who made a change reads it');
});

test('news costs the daemon nothing in its turn, however many wait for it', async () => {
  const world = openWorld();
  let looks = 0;
  const { app } = serve(world, { board: { ...world.board, get: () => (looks++, world.board.get()) } });
  const polls = Array.from({ length: 30 }, () => app.inject('/v1/active?wait=60s&generation=7'));
  await waitFor('they wait', async () => (await app.inject('/healthz')).statusCode, (status) => status === 200);
  const before = looks;
  world.status = { ...healthy, decision: { ...healthy.decision, generation: 8 } };
  for (let i = 0; i < 100; i++) world.board.publish();
  assert.equal(looks, before, 'nothing is judged in the turn of the daemon');
  for (const answer of await Promise.all(polls)) assert.equal(answer.json<{ generation: number }>().generation, 8);
  assert.equal(looks, before + 1, 'and once for all thirty');
});
