/** docs/config.md is made from the schema. To write it anew: UPDATE_DOCS=1 node --test dist/test/config/reference.test.js */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { compile } from '../../src/config/compile.js';
import type { Field } from '../../src/config/fields.js';
import { showProblem } from '../../src/config/load.js';
import { EXAMPLE, referenceText } from '../../src/config/reference.js';
import { percentText } from '../../src/config/quantities.js';
import { SCHEMA } from '../../src/config/schema.js';
import { DEFAULT_TARGETS } from '../../src/config/schema-probe.js';
import { targetsOf } from '../../src/config/targets.js';
import { writtenDuration } from '../../src/duration.js';
import { readValue } from '../../src/config/values.js';

const PAGE = new URL('../../../docs/config.md', import.meta.url);

test('docs/config.md says what the schema says', () => {
  if (process.env['UPDATE_DOCS'] === '1') writeFileSync(PAGE, referenceText());
  assert.equal(readFileSync(PAGE, 'utf8'), referenceText(), 'run: UPDATE_DOCS=1 node --test dist/test/config/reference.test.js');
});

test('the example in the reference is valid', () => {
  const loaded = compile({ file: 'example', text: EXAMPLE }, () => ({ wrong: 'no profile' }), new Map());
  assert.deepEqual('problems' in loaded ? loaded.problems.map(showProblem) : [], []);
});

test('the default list in the reference is the one in force', () => {
  const loaded = compile({ file: 'c', text: `uplinks: { a: { interface: eth0 } }\nprobe: { targets: ${SCHEMA.keys.probe.keys.targets.default} }` }, () => ({ wrong: 'no profile' }), new Map());
  assert.ok('config' in loaded);
  assert.deepEqual(loaded.config.policy.uplinks[0]?.probe.targets, targetsOf(DEFAULT_TARGETS, 1000));
});

test('every key is described, and every default passes its own bounds', () => {
  const visit = (field: Field, key: string): void => {
    if (key !== '') assert.match(field.about, /^[A-Z`].*\.$/s, `${key} has no description that is a sentence`);
    assert.ok(!field.about.includes('|'), `${key}: a bar breaks the table`);
    if (field.type === 'section') return Object.entries(field.keys).forEach(([name, below]) => visit(below, `${key}.${name}`));
    if (field.type === 'named') return visit(field.item, `${key}.NAME`);
    if (field.type === 'list') return visit(field.item, `${key}[]`);
    if (field.type === 'order') return;
    const standard = 'default' in field ? field.default : undefined;
    if (standard === undefined || typeof standard === 'object') return;
    const text = typeof standard !== 'number' ? String(standard) : field.type === 'duration' ? writtenDuration(standard) : field.type === 'percent' ? percentText(standard) : String(standard);
    assert.ok('value' in readValue(field, text), `${key}: ${text}`);
  };
  visit(SCHEMA, '');
});
