/** The prober as a part of a process: it lets it end, it does not hide its errors, it survives the garbage collector. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { openStage, type Ended } from './namespace.js';

const { play, close } = openStage('inside-life', ['--expose-gc']);
after(close);

/** Of a process that ended by itself. */
async function told(story: string): Promise<unknown> {
  const { stdout, stderr, how } = await play<Ended>(story);
  assert.equal(how, 0, stderr);
  return JSON.parse(stdout);
}

test('closed with probes in flight it reports nothing more, and the process ends by itself', async () => {
  const seen = await told('closed');
  assert.deepEqual(seen, { before: 1, after: 1 });
});

test('closed while it tells, it falls silent in the middle', async () => {
  assert.deepEqual(await play('closedByFact'), { told: 1 });
});

test('with nothing in flight it does not keep the process either', async () => {
  assert.deepEqual(await told('idle'), { first: 'reply', second: 'reply' });
});

test('the garbage collector leaves sessions and probes in flight alone', async () => {
  assert.deepEqual(await play('garbage'), { answered: 101 });
});

test('an exception of whoever takes the facts ends the process instead of passing for a socket error', async () => {
  const { how, stderr, stdout } = await play<Ended>('thrower');
  assert.equal(how, 1);
  assert.match(stderr, /a bug in the daemon/);
  assert.equal(stdout, '');
});

test('promises that are made on a fact run at once', async () => {
  assert.deepEqual(await play('promises'), ['the promise went on', 'the loop turned']);
});

test('without the right to raw sockets probes are lost, with advice', async () => {
  const advice = 'no probe socket: EPERM: Operation not permitted (raw ICMP needs root or CAP_NET_RAW)';
  assert.deepEqual(await told('openWithoutRights'), [advice, advice]);
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
