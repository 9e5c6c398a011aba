import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openBoard } from '../../src/board.js';
import { healthy, openWorld } from './fixture.js';

test('get judges at that moment and generation is the one of the decision', () => {
  const world = openWorld();
  assert.equal(world.board.get(), healthy);
  assert.equal(world.board.generation, 7);
  world.status = { ...healthy, decision: { ...healthy.decision, generation: 8 } };
  assert.equal(world.board.generation, 8);
});

test('each publish tells every listener that there is news, judges nothing, and tells nobody who has left', () => {
  let reads = 0;
  const board = openBoard(() => (reads++, { ...healthy }));
  const heard: string[] = [];
  board.publish();
  const leave = board.subscribe(() => void heard.push('first'));
  board.subscribe(() => void heard.push('second'));
  board.publish();
  assert.deepEqual(heard, ['first', 'second']);
  leave?.();
  leave?.();
  board.publish();
  assert.deepEqual(heard, ['first', 'second', 'second']);
  assert.equal(reads, 0, 'the daemon is between a decision and the kernel then');
});

test('a listener may leave, or make another leave, while it is told', () => {
  const board = openBoard(() => healthy);
  const heard: string[] = [];
  const leaveFirst = board.subscribe(() => {
    heard.push('first');
    leaveFirst?.();
    leaveSecond?.();
  });
  const leaveSecond = board.subscribe(() => void heard.push('second'));
  board.publish();
  board.publish();
  assert.deepEqual(heard, ['first']);
});

test('the same function may listen twice and each leaves for itself', () => {
  const board = openBoard(() => healthy);
  let told = 0;
  const listener = () => void told++;
  const leave = board.subscribe(listener);
  board.subscribe(listener);
  leave?.();
  board.publish();
  assert.equal(told, 1);
});

test('there is room for so many listeners and no more, until one leaves', () => {
  const board = openBoard(() => healthy, 2);
  const leave = board.subscribe(() => undefined);
  assert.ok(board.subscribe(() => undefined));
  assert.equal(board.subscribe(() => undefined), undefined);
  leave?.();
  assert.ok(board.subscribe(() => undefined));
});
