/**
 * The house rules, as a test. Each rule is a function over the text of the tree; what it finds is named with file and line.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '..', '..');
const tracked = execFileSync('git', ['-C', root, 'ls-files', '--cached', '--others', '--exclude-standard'], { encoding: 'utf8' })
  .split('\n').filter((name) => name !== '' && existsSync(join(root, name)));
// This file spells out what it forbids.
const sources = tracked.filter((name) => /^(src|test|bench)\/.*\.ts$/.test(name) && name !== 'test/tidy.test.ts').map((name) => ({ name, text: readFileSync(join(root, name), 'utf8') }));
const product = sources.filter(({ name }) => name.startsWith('src/'));

/** model.ts is one list of nouns; tests may list many cases. */
const LINES_AT_MOST = { src: 320, test: 430 };

/** Who may import whom within src/. Keys are rooms; a room may always import itself and the ground floor: `model`, `ports`, `duration`. */
const MAP: Readonly<Record<string, readonly string[]>> = {
  'model': [],
  'ports': [],
  'duration': [],
  'clock': [],
  'core': [],
  'config': ['core/layout', 'core/classes', 'core/address', 'core/tuning'],
  'probes': ['libc'],
  'libc': [],
  'kernel': ['libc', 'core/layout', 'core/address', 'core/outer', 'core/stand-in'],
  'api': ['board', 'core/layout'],
  'cli': ['version'],
  'board': [],
  'lock': [],
  'log': [],
  'memory': [],
  'version': [],
  'daemon': ['core'],
  'questions': ['config/load', 'core'],
  'main': ['questions', 'core', 'config', 'probes', 'kernel', 'libc', 'api', 'board', 'lock', 'log', 'memory', 'version', 'clock', 'daemon'],
};

test('modules import along the map, and nobody else', () => {
  const found: string[] = [];
  for (const { name, text } of product) {
    const room = roomOf(name);
    const allowed = MAP[room];
    if (allowed === undefined) found.push(`${name}: the room "${room}" is not on the map`);
    for (const target of relativeImports(name, text)) {
      const to = roomOf(target);
      const path = target.replace(/^src\//, '').replace(/\.ts$/, '');
      if (to === room || to === 'model' || to === 'ports' || to === 'duration' || allowed?.some((entry) => path === entry || path.startsWith(`${entry}/`))) continue;
      found.push(`${name} imports ${target}`);
    }
  }
  assert.deepEqual(found, []);
});

test('each npm package is imported by one file of src, and is in package.json', () => {
  const users = new Map<string, string[]>();
  for (const { name, text } of product) {
    for (const [, specifier] of text.matchAll(/^(?:import|export)[^;]*? from '([^.'][^']*)'/gms)) {
      if (specifier!.startsWith('node:')) continue;
      users.set(specifier!, [...(users.get(specifier!) ?? []), name]);
    }
  }
  const { dependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { dependencies: Record<string, string> };
  assert.deepEqual([...users].filter(([, files]) => files.length > 1), []);
  assert.deepEqual([...users.keys()].sort(), Object.keys(dependencies).sort());
});

test('the core has no clock, no dice, no timers, no I/O and no await', () => {
  const bad = /\b(Date\b|performance\.|Math\.random|setTimeout|setInterval|setImmediate|queueMicrotask|await\b|async\b|process\.|console\.|from 'node:)/;
  assert.deepEqual(grep(product.filter(({ name }) => name.startsWith('src/core/') || name === 'src/model.ts'), bad), []);
});

test('timers stand in the clock of the daemon, in HTTP of either end and around child processes only', () => {
  const allowed = ['src/clock.ts', 'src/api/', 'src/cli/', 'src/kernel/spawn.ts', 'src/probes/exec', 'src/probes/http.ts'];
  assert.deepEqual(grep(product.filter(({ name }) => !allowed.some((place) => name.startsWith(place))), /\b(setTimeout|setInterval)\(/), []);
});

test('no shell strings: programs are started with argument arrays', () => {
  assert.deepEqual(grep(product, /(?<![.\w])(exec|execSync)\(|shell: *true/), []);
});

test('no rule is switched off and nothing is any', () => {
  assert.deepEqual(grep(sources, /eslint-disable|@ts-(ignore|nocheck|expect-error)|: any\b|\bas any\b|<any>/), []);
});

test('no catch without a decision, nothing left over', () => {
  assert.deepEqual(grep(sources, /catch *(\([^)]*\))? *\{ *\}|\.catch\(\(\) *=> *(\{ *\}|undefined|null)\)/), []);
  assert.deepEqual(grep(sources, /\b(TODO|FIXME|XXX|HACK)\b/), []);
});

test('a file opens by explaining itself and holds one idea', () => {
  assert.deepEqual(product.filter(({ text }) => !/^(#![^\n]*\n)?\/\*\*/.test(text)).map(({ name }) => name), []);
  assert.deepEqual(sources.filter(({ name, text }) => name !== 'src/model.ts' && text.split('\n').length > (name.startsWith('src/') ? LINES_AT_MOST.src : LINES_AT_MOST.test)).map(({ name, text }) => `${name}: ${text.split('\n').length} lines`), []);
});

test('no grab bags', () => {
  assert.deepEqual(sources.map(({ name }) => name).filter((name) => /(^|\/)(utils?|helpers?|common|misc|managers?|index)\.ts$/.test(name)), []);
});

test('nothing names a path of the machine it was written on', () => {
  const texts = tracked.filter((name) => name !== 'package-lock.json' && name !== 'test/tidy.test.ts').map((name) => ({ name, text: readFileSync(join(root, name), 'utf8') }));
  assert.deepEqual(grep(texts, /(^|[^a-zA-Z0-9_.])\/(work|farm|root)\//), []);
});

test('links in the documents lead somewhere', () => {
  const found: string[] = [];
  for (const name of tracked.filter((file) => file.endsWith('.md'))) {
    const text = readFileSync(join(root, name), 'utf8');
    for (const [, target] of text.matchAll(/\]\((?!https?:|#|mailto:)([^)#\s]+)/g)) {
      if (!existsSync(join(root, dirname(name), target!))) found.push(`${name}: ${target}`);
    }
  }
  assert.deepEqual(found, []);
});

function roomOf(name: string): string {
  return name.replace(/^src\//, '').split('/')[0]!.replace(/\.ts$/, '');
}

function relativeImports(name: string, text: string): readonly string[] {
  return [...text.matchAll(/(?:from|import\() ?'(\.[^']+)'/g)].map(([, path]) => relative(root, resolve(root, dirname(name), path!)).replace(/\.js$/, '.ts'));
}

function grep(files: readonly { readonly name: string; readonly text: string }[], pattern: RegExp): readonly string[] {
  return files.flatMap(({ name, text }) =>
    text.split('\n').flatMap((line, i) => (pattern.test(line.replace(/^\s*(\*|\/\/|\/\*\*).*/, '')) ? [`${name}:${i + 1}: ${line.trim()}`] : [])));
}
