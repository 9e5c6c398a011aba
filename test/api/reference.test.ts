/** docs/rest.md is made from the schemas. To write it anew: UPDATE_DOCS=1 node --test dist/test/api/reference.test.js */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { NAMED_SCHEMAS } from '../../src/api/documents.js';
import { restReference } from '../../src/api/reference.js';
import { ENDPOINTS } from '../../src/api/routes.js';
import { FAULT_MEANINGS } from '../../src/api/uplink-schemas.js';

const PAGE = new URL('../../../docs/rest.md', import.meta.url);

test('docs/rest.md is what the schemas say', () => {
  if (process.env['UPDATE_DOCS'] === '1') writeFileSync(PAGE, restReference());
  assert.equal(readFileSync(PAGE, 'utf8'), restReference(), 'run: UPDATE_DOCS=1 node --test dist/test/api/reference.test.js');
});

test('every link within the reference has its heading, and every call and document its chapter', () => {
  const page = restReference();
  const anchors = new Set([...page.matchAll(/^#+ (.+)$/gm)].map(([, heading]) => heading!.toLowerCase().replace(/[^a-z0-9 _-]/g, '').replaceAll(' ', '-')));
  for (const [, target] of page.matchAll(/\]\(#([^)]+)\)/g)) assert.ok(anchors.has(target!), `#${target!}`);
  assert.equal(anchors.size, [...page.matchAll(/^#+ /gm)].length, 'no two chapters share a name');
  assert.ok(anchors.size > ENDPOINTS.length + NAMED_SCHEMAS.length);
});

test('everything in the schemas is described', () => {
  const silent: string[] = [];
  for (const schema of NAMED_SCHEMAS) {
    for (const [name, member] of Object.entries(schema.properties as Record<string, { description?: string }>)) if ((member.description ?? '') === '') silent.push(`${schema.title}.${name}`);
  }
  assert.deepEqual(silent, []);
});

test('every word that an enumeration has is explained or explains itself, and null is not one', () => {
  const page = restReference();
  for (const domain of Object.keys(FAULT_MEANINGS)) assert.match(page, new RegExp(`the fault domain: .*\\\`${domain}\\\`: `), domain);
  assert.match(page, /`lastCause` \| `unsent`, `prober`, .*`failed` or null \|/);
});

test('what an answer requires and what it has are the same list', () => {
  for (const schema of NAMED_SCHEMAS) {
    if (['OverrideRequest', 'VerdictRequest', 'PlanRequest', 'Problem'].includes(schema.title)) continue;
    assert.deepEqual([...schema.required].sort(), Object.keys(schema.properties).sort(), schema.title);
  }
});
