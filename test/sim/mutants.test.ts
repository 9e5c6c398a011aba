/**
 * Proves that each law of the simulation can fall: the compiled core is copied, broken in one place (mutants.ts), and played by a child
 * process until the law in question is broken. A law that survives its mutant watches nothing.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { MUTANTS, type Mutant } from './mutants.js';
import { DETERMINISTIC, LAWS } from './play.js';

const dist = fileURLToPath(new URL('../..', import.meta.url));
/** What the simulation is made of. */
const PARTS = ['src', join('test', 'core', 'fixture.js'), join('test', 'sim')];
const SEEDS = 24;

describe('each law falls when the core is broken', { concurrency: 3 }, () => {
  let room = '';
  before(() => {
    room = mkdtempSync(join(tmpdir(), 'uplinkd-mutants-'));
  });
  after(() => rmSync(room, { recursive: true, force: true }));

  MUTANTS.forEach((mutant, index) => {
    test(`${mutant.law}: ${mutant.slip}`, async () => {
      const broken = join(room, String(index));
      for (const part of PARTS) cpSync(join(dist, part), join(broken, part), { recursive: true, filter: (name) => !/\.(test\.js|map)$/.test(name) });
      writeFileSync(join(broken, 'package.json'), '{ "type": "module" }');
      const file = join(broken, 'src', 'core', mutant.file);
      const text = readFileSync(file, 'utf8');
      assert.equal(text.split(mutant.search).length - 1, 1, `${mutant.file} should hold this exactly once:\n${mutant.search}`);
      writeFileSync(file, text.replace(mutant.search, () => mutant.replacement));
      const told = await played(broken, mutant);
      assert.match(told, new RegExp(`^seed \\d+ .* ${mutant.law}: `, 'm'), `${SEEDS} seeds, and ${mutant.law} still stands\n${told}`);
    });
  });
});

test('every law has a mutant', () => {
  const proven = new Set(MUTANTS.map((mutant) => mutant.law));
  assert.deepEqual([...LAWS.map((law) => law.name), DETERMINISTIC].filter((name) => !proven.has(name)), []);
});

function played(room: string, { law, weather }: Mutant): Promise<string> {
  const args = [join(room, 'test', 'sim', 'main.js'), '1', String(SEEDS), '--law', law, '--weather', weather];
  return new Promise((resolve) => {
    execFile(process.execPath, args, { timeout: 60_000 }, (_error, stdout, stderr) => resolve(stdout + stderr));
  });
}
