/** What the documents show is run: every config in them is loaded, every command in them is one that there is. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { ENDPOINTS } from '../src/api/routes.js';
import { loadConfig, showProblem } from '../src/config/load.js';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '..', '..');
const documents = execFileSync('git', ['-C', root, 'ls-files', '--cached', '--others', '--exclude-standard', '*.md'], { encoding: 'utf8' })
  .split('\n').filter((name) => name !== '').map((name) => ({ name, text: readFileSync(join(root, name), 'utf8') }));
const scripts = Object.keys((JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { scripts: object }).scripts);

test('every whole config in the documents is valid', (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'uplinkd-docs-'));
  t.after(() => rmSync(dir, { recursive: true }));
  const file = join(dir, 'example.yaml');
  let seen = 0;
  for (const { name, text } of documents) {
    for (const [, yaml] of text.matchAll(/^```yaml\n(.*?)^```$/gms)) {
      if (!/^(uplinks|profile):/m.test(yaml!)) continue;
      seen++;
      writeFileSync(file, yaml!);
      const loaded = loadConfig(file, { profilesDir: join(root, 'profiles'), slots: new Map() });
      assert.deepEqual('problems' in loaded ? loaded.problems.map(showProblem) : [], [], `in ${name}:\n${yaml}`);
    }
  }
  assert.ok(seen > 0, 'the README shows a config');
});

test('every npm script and every uplinkctl verb in the documents is one that there is', () => {
  const help = execFileSync(process.execPath, [join(root, 'dist/bin/uplinkctl.js'), '--help'], { encoding: 'utf8' });
  for (const { name, text } of documents) {
    if (name === 'CHANGELOG.md') continue;
    for (const [, script] of text.matchAll(/\bnpm run ([a-z-]+)/g)) assert.ok(scripts.includes(script!), `${name}: npm run ${script}`);
    for (const [, verb] of text.matchAll(/^ {4}uplinkctl ([a-z-]+)/gm)) assert.match(help, new RegExp(`^ +${verb}\\b`, 'm'), `${name}: uplinkctl ${verb}`);
    for (const [, verb] of text.matchAll(/^ {4}uplinkd ([a-z-]+)/gm)) assert.ok(['run', 'check'].includes(verb!), `${name}: uplinkd ${verb}`);
  }
});

test('every REST call in the documents is one that there is', () => {
  const paths = ENDPOINTS.map(({ path }) => new RegExp(`^${path.replace(/:[a-z]+/g, '[^/]+')}$`));
  let seen = 0;
  for (const { name, text } of documents) {
    for (const [, path] of text.matchAll(/(?<![\w.])(\/v1\/[A-Za-z0-9/-]*[A-Za-z0-9])/g)) {
      seen++;
      assert.ok(paths.some((known) => known.test(path!)), `${name}: ${path}`);
    }
  }
  assert.ok(seen > ENDPOINTS.length, 'docs/rest.md has each of them');
});

test('the examples of the manual of uplinkctl are commands that there are, and its exit codes are those of the program', () => {
  const help = execFileSync(process.execPath, [join(root, 'dist/bin/uplinkctl.js'), '--help'], { encoding: 'utf8' });
  const page = readFileSync(join(root, 'docs/man/uplinkctl.1'), 'utf8');
  const verbs = [...page.matchAll(/^\.Dl [#$] uplinkctl ([a-z-]+)/gm)].map(([, verb]) => verb!);
  assert.ok(verbs.length > 0);
  for (const verb of verbs) assert.match(help, new RegExp(`^ +${verb}\\b`, 'm'));
  const [codes] = /(?<=\.Sh EXIT STATUS\n).*?(?=\n\.El)/s.exec(page) ?? [''];
  assert.deepEqual(codes.match(/(?<=^\.It )\d+/gm), /Exit codes: (.*\n)*?\n/.exec(help)?.[0].match(/\d+/g));
});
