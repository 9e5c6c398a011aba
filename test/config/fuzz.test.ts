/**
 * Whatever is written, the answer is a config or problems, never an exception, and problems point into the text.
 * The seed stands in every message; FUZZ_SEED=N repeats a run.
 */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { compile } from '../../src/config/compile.js';
import { showProblem } from '../../src/config/load.js';
import { EXAMPLE } from '../../src/config/reference.js';

const PROFILES = new URL('../../../profiles/', import.meta.url);
const SEED = Number(process.env['FUZZ_SEED'] ?? Date.now() % 1_000_000);
/** Another seed each time: what one run leaves out the next one finds. */
const RUNS = 400;

const texts = [EXAMPLE, ...readdirSync(PROFILES).map((name) => readFileSync(new URL(name, PROFILES), 'utf8'))];
const profile = texts[1] ?? '';

/** Bits of YAML and of the schema that hurt most when they stand in the wrong place. */
const SPLINTERS = [
  '\n', ' ', '  ', '\t', ':', ': ', '- ', '[', ']', '{', '}', ',', '#', '"', "'", '|', '>', '&a ', '*a', '!x ', '%', '@', '`', '? ', '---\n', '...', '<<: ', '~', '\0', '\r', '\u2028', '\ud800',
  'uplinks', 'probe', 'targets', 'policies:', 'use: ', 'source: 10.0.0.0/8', 'fe80::1', 'prefix6: ', 'match: ', 'mss: 1400', 'icmp', 'tcp: ', 'dns: ', 'http: ', 'http://', '[::1]:', 'exec: /x', 'hop: 2', 'arp:', 'quality: ', 'damping: off', '20%', '5MB', 'gateway', 'none', 'auto', '0', '-1', '1e999', '0x', '300ms', 'profile: p\n', 'null', 'true', '__proto__', 'constructor: ', 'toString', '🛰',
];

function randomOf(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

function mutate(text: string, random: (below: number) => number): string {
  let result = text;
  for (let i = 1 + random(4); i > 0; i--) {
    const from = random(result.length + 1);
    const to = Math.min(result.length, from + random(3) * random(30));
    const put = random(3) === 0 ? result.slice(random(result.length), random(result.length)) : random(4) === 0 ? '' : (SPLINTERS[random(SPLINTERS.length)] ?? '');
    result = result.slice(0, from) + put + result.slice(to);
  }
  return result;
}

function judge(text: string, what: string): void {
  const show = (): string => `${what}:\n${JSON.stringify(text)}`;
  let loaded;
  try {
    loaded = compile({ file: 'c', text }, () => ({ file: 'p', text: profile }), new Map());
  } catch (error) {
    throw new Error(show(), { cause: error });
  }
  if ('config' in loaded) {
    assert.ok(loaded.config.policy.uplinks.length > 0, show());
    for (const uplink of loaded.config.policy.uplinks) assert.ok((uplink.interface === '') === (uplink.match !== undefined) && uplink.slot > 0 && uplink.probe.targets.length > 0, show());
    return;
  }
  assert.ok(loaded.problems.length > 0, show());
  const lines = text.split('\n').length;
  for (const problem of loaded.problems) {
    assert.ok(problem.line >= 1 && problem.column >= 1 && (problem.file === 'p' || problem.line <= lines), `${showProblem(problem)}\n${show()}`);
    assert.match(showProblem(problem), /^[cp]:\d+: [^\p{Cc}]+$/u, show());
    assert.doesNotMatch(problem.text, /undefined|NaN|\[object/, show());
  }
}

test(`random mutations of valid files never throw (FUZZ_SEED=${SEED})`, () => {
  const random = randomOf(SEED);
  for (let run = 0; run < RUNS; run++) judge(mutate(texts[random(texts.length)] ?? '', random), `FUZZ_SEED=${SEED}, run ${run}`);
});

test('every file cut off anywhere is answered', () => {
  for (const text of texts) for (let end = 0; end < text.length; end += 11) judge(text.slice(0, end), `cut at ${end}`);
});
