/** What is shipped beside the code says the same as the code: numbers, options, paths, and what npm may run. */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { ACTIVE_TABLE, OUR_PROTOCOL, PREFERENCE_RANGE } from '../../src/core/layout.js';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
const MAN = join(ROOT, 'docs/man/uplinkd.8');

interface Lock {
  readonly packages: Readonly<Record<string, { readonly hasInstallScript?: boolean }>>;
}

interface Manifest {
  readonly bin: Readonly<Record<string, string>>;
  readonly files: readonly string[];
  readonly allowScripts: Readonly<Record<string, boolean>>;
}

const manifest = JSON.parse(text('package.json')) as Manifest;

function text(name: string): string {
  return readFileSync(join(ROOT, name), 'utf8');
}

function installed(program: string): boolean {
  return spawnSync(program, ['--version']).error === undefined;
}

test('the names for iproute2 and the manual page carry the numbers of the layout', () => {
  assert.equal(text('systemd/rt_protos.d/uplinkd.conf'), `${OUR_PROTOCOL}\tuplinkd\n`);
  assert.equal(text('systemd/rt_tables.d/uplinkd.conf'), `${ACTIVE_TABLE}\tuplinkd-active\n`);
  const words = text('docs/man/uplinkd.8').replace(/\s+/g, ' ');
  for (const said of [`protocol number ${OUR_PROTOCOL}.`, `preferences ${PREFERENCE_RANGE.first} and ${PREFERENCE_RANGE.last},`, `table ${ACTIVE_TABLE},`]) assert.ok(words.includes(said), said);
});

test('the manual page has the options, defaults and exit codes of the program, and no others', () => {
  const help = execFileSync(process.execPath, [join(ROOT, 'dist/bin/uplinkd.js'), '--help'], { encoding: 'utf8' });
  const page = readFileSync(MAN, 'utf8');
  const options = (found: string): readonly string[] => [...new Set(found.match(/--[a-z-]+/g))].sort();
  const written = page.replaceAll('Fl \\-', '--');
  assert.deepEqual(options(written), options(help));
  assert.deepEqual(options((written.match(/^\.It .*/gm) ?? []).join('\n')), options(help), 'each is described');
  for (const [path] of help.matchAll(/\/[a-z/.]+[a-z]/g)) assert.ok(page.includes(path), path);
  const section = /\.Sh EXIT STATUS\n(.*?)\n\.Sh/s.exec(page)?.[1] ?? '';
  assert.deepEqual(section.match(/(?<=\.It )\d+/g), /Exit codes: .*/.exec(help)?.[0].match(/\d+/g));
});

test('mandoc finds nothing wrong with the manual pages', { skip: !installed('mandoc') && 'mandoc is not installed' }, () => {
  const pages = ['docs/man/uplinkd.8', 'docs/man/uplinkctl.1'].map((name) => join(ROOT, name));
  const { stdout, status } = spawnSync('mandoc', ['-Tlint', '-Wwarning', ...pages], { encoding: 'utf8' });
  assert.deepEqual([stdout, status], ['', 0]);
});

test('systemd understands every line of the unit', { skip: !installed('systemd-analyze') && 'systemd is not installed' }, (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'uplinkd-unit-'));
  t.after(() => rmSync(dir, { recursive: true }));
  const unit = join(dir, 'uplinkd.service');
  // The program need not be installed for its unit to be read.
  writeFileSync(unit, text('systemd/uplinkd.service').replaceAll('=/usr/bin/uplinkd ', `=${process.execPath} `));
  const { stdout, stderr, status } = spawnSync('systemd-analyze', ['verify', '--man=no', unit], { encoding: 'utf8' });
  const ours = `${stdout}${stderr}`.split('\n').filter((line) => line.includes('uplinkd'));
  assert.deepEqual([ours, status], [[], 0]);
});

test('the programs of package.json are built, are executable and find node', () => {
  assert.deepEqual(Object.keys(manifest.bin), ['uplinkd', 'uplinkctl']);
  for (const [name, target] of Object.entries(manifest.bin)) {
    assert.ok(text(target).startsWith('#!/usr/bin/env node\n'), target);
    assert.equal(statSync(join(ROOT, target)).mode & 0o111, 0o111, target);
    assert.match(execFileSync(join(ROOT, target), ['--version'], { encoding: 'utf8' }), new RegExp(`^${name} \\d`));
  }
  for (const name of manifest.files) assert.ok(existsSync(join(ROOT, name)), name);
});

test('npm 12 and newer run the install scripts that we need, and those alone', () => {
  const { packages } = JSON.parse(text('package-lock.json')) as Lock;
  const scripted = Object.entries(packages).flatMap(([path, { hasInstallScript }]) => (hasInstallScript === true ? [path.replace(/^.*node_modules\//, '')] : []));
  assert.deepEqual(manifest.allowScripts, Object.fromEntries(scripted.sort().map((name) => [name, true])));
});

test('what the image is made of exists', () => {
  const kept = text('.dockerignore').split('\n').flatMap((line) => (line.startsWith('!') ? [line.slice(1)] : []));
  assert.ok(kept.includes('src') && kept.includes('package-lock.json'));
  for (const name of kept) assert.ok(existsSync(join(ROOT, name)), name);
});
