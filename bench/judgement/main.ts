/**
 * `npm run bench:judgement`: our rules and models of the peers' on the same seeded storms, scored by the truth; then single questions with their bars.
 *
 * --storms N (default 100), --from SEED (default 1)   which storms
 * --sensitivity balanced                              ours with this one alone (may be repeated): quicker
 * --storms 0                                          the single questions alone;  --no-questions leaves them out
 * --seed N [--tell]                                   one storm; narrated
 *
 * Runs on all cores. Exits with 1 when a law was broken, a bar was missed, or a peer is as good in outage or false failovers.
 */
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { Worker } from 'node:worker_threads';
import type { Sensitivity } from './ours.js';
import { contestants, play, type Breach, type Played } from './play.js';
import { addScores, NO_SCORE, type Score } from './score.js';
import { QUESTIONS, type Answer } from './special.js';
import { legendOf, tableOf, verdictsOf, type Entry } from './table.js';
import { narrate } from './tell.js';
import type { Job, Outcome } from './worker.js';

const SENSITIVITIES: readonly Sensitivity[] = ['balanced', 'fast', 'calm'];
const BREACHES_SHOWN = 20;

const { values } = parseArgs({
  options: {
    'storms': { type: 'string', default: '100' }, 'from': { type: 'string', default: '1' }, 'sensitivity': { type: 'string', multiple: true, default: [...SENSITIVITIES] },
    'no-questions': { type: 'boolean', default: false }, 'seed': { type: 'string' }, 'tell': { type: 'boolean', default: false },
  },
});
const sensitivities = SENSITIVITIES.filter((sensitivity) => values.sensitivity.includes(sensitivity));

if (values.seed !== undefined) {
  const seed = whole('--seed', values.seed);
  if (values.tell) narrate(seed, sensitivities, (line) => console.log(line));
  report([play(seed, sensitivities)]);
} else {
  const begunAt = performance.now();
  const from = whole('--from', values.from);
  const storms = whole('--storms', values.storms);
  const questions = values['no-questions'] ? [] : QUESTIONS.map((_, question): Job => ({ question }));
  // The long ones first.
  const outcomes = await workOff([...questions, ...Array.from({ length: storms }, (_, i): Job => ({ seed: from + i, sensitivities }))]);
  const played = outcomes.flatMap((outcome) => ('played' in outcome ? [outcome.played] : [])).sort((a, b) => a.seed - b.seed);
  const answers = outcomes.flatMap((outcome) => ('answers' in outcome ? [outcome] : [])).sort((a, b) => a.question - b.question).flatMap((outcome) => outcome.answers);
  if (storms > 0) {
    const days = (played.reduce((sum, { scores }) => sum + scores[0]!.simulatedMs, 0) / 86_400_000).toFixed(1);
    console.log(`${storms} storms (seeds ${from} to ${from + storms - 1}), ${days} simulated days for each contestant, in ${((performance.now() - begunAt) / 1000).toFixed(0)} s\n`);
    report(played);
  }
  answer(answers);
}

function whole(option: string, text: string): number {
  const number = Number(text);
  if (!Number.isInteger(number) || number < 0) throw new Error(`${option} ${text}: say a whole number`);
  return number;
}

async function workOff(jobs: readonly Job[]): Promise<readonly Outcome[]> {
  const outcomes: Outcome[] = [];
  let next = 0;
  const one = async (): Promise<void> => new Promise((resolve, reject) => {
    const worker = new Worker(new URL('worker.js', import.meta.url));
    const give = (): void => {
      const job = jobs[next++];
      if (job !== undefined) worker.postMessage(job);
      else void worker.terminate().then(() => resolve());
    };
    worker.on('message', (outcome: Outcome) => {
      outcomes.push(outcome);
      give();
    });
    worker.on('error', reject);
    give();
  });
  await Promise.all(Array.from({ length: Math.min(jobs.length, availableParallelism()) }, one));
  return outcomes;
}

function report(played: readonly Played[]): void {
  const sums = contestants(sensitivities).map((_, i) => played.reduce<Score>((sum, { scores }) => addScores(sum, scores[i]!), NO_SCORE));
  const entries: readonly Entry[] = contestants(sensitivities).map(({ name, about, isPeer }, i) => ({ name, about, isPeer, score: sums[i]! }));
  console.log(`${tableOf(entries)}\n\n${legendOf(entries)}`);
  console.log('');
  for (const { text, better } of verdictsOf(entries)) {
    console.log(text);
    if (!better) process.exitCode = 1;
  }
  const breaches = played.flatMap((one) => one.breaches);
  console.log(breaches.length === 0 ? '\nevery law held' : `\nlaws were broken ${breaches.length} times`);
  for (const breach of breaches.slice(0, BREACHES_SHOWN)) console.log(said(breach));
  if (breaches.length > 0) process.exitCode = 1;
}

function said({ seed, contestant, law, atMs, what }: Breach): string {
  return `seed ${seed}, ${contestant}, at ${(atMs / 1000).toFixed(1)} s: ${law}: ${what}`;
}

function answer(answers: readonly Answer[]): void {
  if (answers.length === 0) return;
  console.log('');
  const width = Math.max(...answers.map(({ what }) => what.length));
  for (const { what, figure, bar, within } of answers) console.log(`${what.padEnd(width)}  ${figure.padStart(6)}  bar ${bar}: ${within ? 'met' : 'MISSED'}`);
  if (answers.some(({ within }) => !within)) process.exitCode = 1;
}
