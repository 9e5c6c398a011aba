/**
 * `npm run bench:judgement`: our rules and models of the peers' on the same seeded storms, scored by the truth.
 *
 * --storms N (default 300) and --from SEED (default 1) choose the storms; --seed N --tell narrates one of them. Runs on all cores.
 */
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { Worker } from 'node:worker_threads';
import { PEERS } from './peers/all.js';
import { CONTESTANTS, play, type Breach, type Played } from './play.js';
import { addScores, NO_SCORE, type Score } from './score.js';
import { legendOf, tableOf, type Entry } from './table.js';
import { narrate } from './tell.js';

const { values } = parseArgs({ options: { storms: { type: 'string', default: '300' }, from: { type: 'string', default: '1' }, seed: { type: 'string' }, tell: { type: 'boolean', default: false } } });

if (values.seed !== undefined) {
  const seed = whole('--seed', values.seed);
  if (values.tell) narrate(seed, (line) => console.log(line));
  report([play(seed)]);
} else {
  const begunAt = performance.now();
  const from = whole('--from', values.from);
  const played = await playAll(from, whole('--storms', values.storms));
  const days = (played.reduce((sum, { scores }) => sum + scores[0]!.simulatedMs, 0) / 86_400_000).toFixed(1);
  console.log(`${played.length} storms (seeds ${from} to ${from + played.length - 1}), ${days} simulated days for each, in ${((performance.now() - begunAt) / 1000).toFixed(0)} s\n`);
  report(played);
}

function whole(option: string, text: string): number {
  const number = Number(text);
  if (!Number.isInteger(number) || number < 1) throw new Error(`${option} ${text}: say a whole number, 1 or more`);
  return number;
}

/** In the order of the seeds, whoever was done first. */
async function playAll(from: number, count: number): Promise<readonly Played[]> {
  const played: Played[] = [];
  let next = from;
  const work = async (): Promise<void> => new Promise((resolve, reject) => {
    const worker = new Worker(new URL('worker.js', import.meta.url));
    const give = (): void => {
      if (next < from + count) worker.postMessage(next++);
      else void worker.terminate().then(() => resolve());
    };
    worker.on('message', (one: Played) => {
      played.push(one);
      give();
    });
    worker.on('error', reject);
    give();
  });
  await Promise.all(Array.from({ length: Math.min(count, availableParallelism()) }, work));
  return played.sort((a, b) => a.seed - b.seed);
}

function report(played: readonly Played[]): void {
  const sums = CONTESTANTS.map((_, i) => played.reduce<Score>((sum, { scores }) => addScores(sum, scores[i]!), NO_SCORE));
  const entries: readonly Entry[] = CONTESTANTS.map(({ name, about }, i) => ({ name, about, isPeer: PEERS.some((peer) => peer.name === name), score: sums[i]! }));
  console.log(`${tableOf(entries)}\n\n${legendOf(entries)}`);
  const breaches = played.flatMap((one) => one.breaches);
  for (const breach of breaches) console.log(said(breach));
  if (breaches.length > 0) process.exitCode = 1;
}

function said({ seed, contestant, law, atMs, what }: Breach): string {
  return `seed ${seed}, ${contestant}, at ${(atMs / 1000).toFixed(1)} s: ${law}: ${what}`;
}
