/** When something is opened, and how often it is tried. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Instant } from '../../src/model.js';
import { isFailure, slot } from '../../src/probes/slot.js';

interface Thing {
  readonly serial: number;
  close(): void;
}

/** A slot whose opening fails while `wrong` says so, and a clock to turn. */
function fixture(): { readonly taken: ReturnType<typeof slot<Thing>>; readonly world: { now: number; wrong: string; opened: number; closed: number } } {
  const world = { now: 0, wrong: '', opened: 0, closed: 0 };
  const taken = slot<Thing>(() => {
    const serial = ++world.opened;
    if (world.wrong !== '') throw new Error(world.wrong);
    return { serial, close: () => void world.closed++ };
  }, () => world.now as Instant);
  return { taken, world };
}

const serialOf = (taken: object): unknown => ('serial' in taken ? taken.serial : undefined);

test('it is opened at the first need, and once', () => {
  const { taken, world } = fixture();
  assert.equal(world.opened, 0);
  assert.equal(serialOf(taken.take()), 1);
  assert.equal(serialOf(taken.take()), 1);
  taken.close();
  assert.equal(world.closed, 1);
});

test('what cannot be opened is tried once a second, and says each time why and whose fault it is', () => {
  const { taken, world } = fixture();
  world.wrong = 'no probe socket: EMFILE: Too many open files (raise LimitNOFILE)';
  for (const now of [0, 500, 999]) {
    world.now = now;
    const failure = taken.take();
    assert.ok(isFailure(failure));
    assert.deepEqual(failure, { failed: 'prober', error: world.wrong });
  }
  assert.equal(world.opened, 1);
  world.now = 1000;
  world.wrong = 'no probe socket: ENODEV: No such device (the interface was removed)';
  assert.deepEqual(taken.take(), { failed: 'unsent', error: world.wrong });
  world.now = 2000;
  world.wrong = '';
  assert.equal(serialOf(taken.take()), 3);
});

test('what broke is opened anew a second later, not before', () => {
  const { taken, world } = fixture();
  taken.take();
  taken.broke('the probe socket failed: EBADF: Bad file descriptor');
  world.now = 999;
  assert.deepEqual(taken.take(), { failed: 'prober', error: 'the probe socket failed: EBADF: Bad file descriptor' });
  world.now = 1000;
  assert.equal(serialOf(taken.take()), 2);
  assert.equal(world.closed, 0, 'what broke has closed itself');
});
