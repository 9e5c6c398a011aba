/** The prober as a part of a process: it lets it end, it does not hide its errors, it survives the garbage collector. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { inside, runInside } from './namespace.js';

test('closed with probes in flight it reports nothing more, and the process ends by itself', async () => {
  const seen = await inside<{ before: number; after: number }>('inside-life', 'closed');
  assert.deepEqual(seen, { before: 1, after: 1 });
});

test('closed while it tells, it falls silent in the middle', async () => {
  assert.deepEqual(await inside('inside-life', 'closedByFact'), { told: 1 });
});

test('with nothing in flight it does not keep the process either', async () => {
  assert.deepEqual(await inside('inside-life', 'idle'), { first: 'reply', second: 'reply' });
});

test('the garbage collector leaves sessions and probes in flight alone', async () => {
  assert.deepEqual(await inside('inside-life', 'garbage', ['--expose-gc']), { answered: 101 });
});

test('an exception of whoever takes the facts ends the process instead of passing for a socket error', async () => {
  const { how, stderr, stdout } = await runInside('inside-life', 'thrower');
  assert.equal(how, 1);
  assert.match(stderr, /a bug in the daemon/);
  assert.equal(stdout, '');
});

test('promises that are made on a fact run at once', async () => {
  assert.deepEqual(await inside('inside-life', 'promises'), ['the promise went on', 'the loop turned']);
});

test('without the right to raw sockets probes are lost, with advice', async () => {
  const advice = 'no probe socket: EPERM: Operation not permitted (raw ICMP needs root or CAP_NET_RAW)';
  assert.deepEqual(await inside('inside-life', 'unprivileged'), [advice, advice]);
});

test('a worker thread is refused in words', async () => {
  const module = JSON.stringify(new URL('../../src/probes/prober.js', import.meta.url).href);
  const worker = new Worker(
    `import(${module}).then(({ openProber }) => openProber({ report() {}, now: () => 0 })).then(() => 'opened', (error) => error.message)
      .then((said) => require('node:worker_threads').parentPort.postMessage(said));`,
    { eval: true },
  );
  const [said] = (await once(worker, 'message')) as [string];
  assert.match(said, /^The prober runs in the main thread only/);
});
