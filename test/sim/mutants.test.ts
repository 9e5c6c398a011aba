/**
 * Proves that each law of the simulation can fall: the compiled core is copied, broken in one place (mutants.ts), and played by a child
 * process until the law in question is broken. A law that survives its mutant watches nothing. The same for tests of the core
 * (mutants-of-tests.ts): the test in question must fail.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { MUTANTS, type Mutant, type Slip } from './mutants.js';
import { TEST_MUTANTS } from './mutants-of-tests.js';
import { DETERMINISTIC, LAWS } from './play.js';

const dist = fileURLToPath(new URL('../..', import.meta.url));
/** What the simulation is made of. */
const PARTS = ['src', join('test', 'core'), join('test', 'sim')];
const SEEDS = 24;

describe('each law falls when the core is broken', { concurrency: 3 }, () => {
  let room = '';
  before(() => {
    room = mkdtempSync(join(tmpdir(), 'uplinkd-mutants-'));
  });
  after(() => rmSync(room, { recursive: true, force: true }));

  MUTANTS.forEach((mutant, index) => {
    test(`${mutant.law}: ${mutant.slip}`, async () => {
      const broken = breakIn(join(room, String(index)), mutant);
      const told = await played(broken, mutant);
      assert.match(told, new RegExp(`^seed \\d+ .* ${mutant.law}: `, 'm'), `${mutant.seeds ?? SEEDS} seeds, and ${mutant.law} still stands\n${told}`);
    });
  });
});

describe('each test of asking and judging fails when its rule is broken', { concurrency: 3 }, () => {
  let room = '';
  before(() => {
    room = mkdtempSync(join(tmpdir(), 'uplinkd-mutants-'));
  });
  after(() => rmSync(room, { recursive: true, force: true }));

  TEST_MUTANTS.forEach((mutant, index) => {
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
    execFile(process.execPath, ['--test', '--test-reporter', 'tap', '--test-name-pattern', only, file], { timeout: 60_000, env }, (_error, stdout, stderr) => resolve(stdout + stderr));
  });
}

function played(room: string, { law, weather, seeds }: Mutant): Promise<string> {
  const args = [join(room, 'test', 'sim', 'main.js'), '1', String(seeds ?? SEEDS), '--law', law, '--weather', weather];
  return new Promise((resolve) => {
    execFile(process.execPath, args, { timeout: 60_000 }, (_error, stdout, stderr) => resolve(stdout + stderr));
  });
}
