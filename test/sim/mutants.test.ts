/**
 * Proves that each law of the simulation can fall: the compiled core is copied, broken in one place (mutants.ts), and played by a worker
 * until the law in question is broken. A law that survives its mutant watches nothing. The same for tests of the core
 * (mutants-of-tests.ts): the test in question must fail.
 *
 * A mutant names the seed that felled its law when it was written: it is played first, and mostly alone. Where the core has changed so much that
 * this seed no longer does, all seeds are played, and the run says which one does now. One run takes a twelfth of the mutants (turns.ts).
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { deadline } from '../lab/wait.js';
import { turnsOf } from '../turns.js';
import { MUTANTS, type Mutant, type Slip } from './mutants.js';
import { TEST_MUTANTS } from './mutants-of-tests.js';
import { DETERMINISTIC, LAWS } from './play.js';

const dist = fileURLToPath(new URL('../..', import.meta.url));
/** What the simulation is made of. */
const PARTS = ['src', join('test', 'core'), join('test', 'sim')];
const SEEDS = 24;
/** Other test files run beside this one: one core is theirs. */
const AT_ONCE = Math.max(1, availableParallelism() - 1);
const LONGEST_MS = 120_000;
const TURNS = 12;
const parts = turnsOf(TURNS);

describe('each law falls when the core is broken', { concurrency: AT_ONCE }, () => {
  let room = '';
  before(() => {
    room = mkdtempSync(join(tmpdir(), 'uplinkd-mutants-'));
  });
  after(() => rmSync(room, { recursive: true, force: true }));

  MUTANTS.forEach((mutant, index) => {
    if (!parts.includes(index % TURNS)) return;
    test(`${mutant.law}: ${mutant.slip}`, async (t) => {
      const broken = breakIn(join(room, String(index)), mutant);
      const falls = new RegExp(`^seed (\\d+) .* ${mutant.law}: `, 'm');
      if (falls.test(await played(broken, mutant, mutant.seed, mutant.seed))) return;
      const told = await played(broken, mutant, 1, mutant.seeds ?? SEEDS);
      assert.match(told, falls, `${mutant.seeds ?? SEEDS} seeds, and ${mutant.law} still stands\n${told}`);
      t.diagnostic(`seed ${String(falls.exec(told)?.[1])} fells it now, not ${mutant.seed}`);
    });
  });
});

describe('each test of asking and judging fails when its rule is broken', { concurrency: AT_ONCE }, () => {
  let room = '';
  before(() => {
    room = mkdtempSync(join(tmpdir(), 'uplinkd-mutants-'));
  });
  after(() => rmSync(room, { recursive: true, force: true }));

  TEST_MUTANTS.forEach((mutant, index) => {
    if (!parts.includes(index % TURNS)) return;
    test(`${mutant.test}: ${mutant.slip}`, async () => {
      const broken = breakIn(join(room, String(index)), mutant);
      const name = join('test', 'core', `${mutant.test}.test.js`);
      cpSync(join(dist, name), join(broken, name));
      const told = await ran(join(broken, name), mutant.only);
      assert.match(told, /^# tests [1-9]/m, told);
      assert.match(told, /^# fail [1-9]/m, `the tests of ${mutant.test} that are named /${mutant.only}/ do not notice`);
    });
  });
});

test('every law has a mutant', () => {
  const proven = new Set(MUTANTS.map((mutant) => mutant.law));
  assert.deepEqual([...LAWS.map((law) => law.name), DETERMINISTIC].filter((name) => !proven.has(name)), []);
});

/** @returns a copy of the compiled core and the simulation, with the slip in it */
function breakIn(room: string, { file, search, replacement }: Slip): string {
  for (const part of PARTS) cpSync(join(dist, part), join(room, part), { recursive: true, filter: (name) => !/\.(test\.js|map)$/.test(name) });
  writeFileSync(join(room, 'package.json'), '{ "type": "module" }');
  const path = join(room, 'src', 'core', file);
  const text = readFileSync(path, 'utf8');
  assert.equal(text.split(search).length - 1, 1, `${file} should hold this exactly once:\n${search}`);
  writeFileSync(path, text.replace(search, () => replacement));
  return room;
}

function ran(file: string, only: string): Promise<string> {
  // Else it takes itself for a part of this test.
  const env = { ...process.env, NODE_TEST_CONTEXT: undefined };
  return new Promise((resolve) => {
    execFile(process.execPath, ['--test-reporter', 'tap', '--test-name-pattern', only, file], { timeout: deadline(LONGEST_MS), env }, (_error, stdout, stderr) => resolve(stdout + stderr));
  });
}

/** What the broken copy says of these seeds. */
async function played(room: string, { law, weather }: Mutant, from: number, to: number): Promise<string> {
  const argv = [String(from), String(to), '--law', law, '--weather', weather];
  const worker = new Worker(join(room, 'test', 'sim', 'main.js'), { argv, stdout: true, stderr: true });
  const tooLong = setTimeout(() => void worker.terminate(), deadline(LONGEST_MS));
  let told = '';
  for (const stream of [worker.stdout, worker.stderr]) stream.on('data', (chunk: Buffer) => (told += chunk.toString()));
  return new Promise((resolve) => {
    worker.once('error', (error) => (told += String(error)));
    worker.once('exit', () => {
      clearTimeout(tooLong);
      resolve(told);
    });
  });
}
