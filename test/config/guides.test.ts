/** The parts of configs that the guides show (those without `uplinks`; test/docs.test.ts loads the whole ones) are valid beside an uplink. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { compile } from '../../src/config/compile.js';
import { showProblem } from '../../src/config/load.js';

const GUIDES = new URL('../../../docs/guides/', import.meta.url);

function problemsOf(file: string, text: string): readonly string[] {
  const loaded = compile({ file, text }, () => ({ wrong: 'no profile' }), new Map());
  return 'problems' in loaded ? loaded.problems.map(showProblem) : [];
}

function examplesOf(name: string): readonly string[] {
  return [...readFileSync(new URL(name, GUIDES), 'utf8').matchAll(/^```yaml\n(.*?)^```$/gms)].map(([, yaml]) => yaml!);
}

test('every part of a config in the guides is valid', () => {
  let seen = 0;
  for (const name of readdirSync(GUIDES).filter((file) => file.endsWith('.md'))) {
    for (const yaml of examplesOf(name)) {
      if (!/^(probe|health):/m.test(yaml) || /^(uplinks|profile):/m.test(yaml)) continue;
      seen++;
      assert.deepEqual(problemsOf(name, `uplinks: { fibre: { interface: eth0 } }\n${yaml}`), [], yaml);
    }
  }
  assert.ok(seen > 0, 'a guide shows such a part');
});

test('the guide to probing shows each method, and every example of it is whole and valid', () => {
  const examples = examplesOf('probing.md');
  for (const yaml of examples) assert.deepEqual(problemsOf('probing.md', yaml), [], yaml);
  for (const method of ['icmp', 'arp', 'hop', 'tcp', 'dns', 'http', 'exec']) {
    assert.ok(examples.some((yaml) => new RegExp(`\\b${method}: `).test(yaml)), method);
  }
});
