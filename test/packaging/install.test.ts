/** The two scripts that people run first: systemd/install.sh into a folder, and .ci/prepare where something is missing. */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));

function folder(t: TestContext): string {
  const dir = mkdtempSync(join(tmpdir(), 'uplinkd-packaging-'));
  t.after(() => rmSync(dir, { recursive: true }));
  return dir;
}

test('install.sh puts a tree that runs by itself in the place of an older one', (t) => {
  const to = folder(t);
  mkdirSync(join(to, 'usr/lib/uplinkd/dist/src'), { recursive: true });
  mkdirSync(join(to, 'etc/uplinkd'), { recursive: true });
  writeFileSync(join(to, 'usr/lib/uplinkd/dist/src/former.js'), '');
  writeFileSync(join(to, 'etc/uplinkd/uplinkd.yaml'), 'mine: 1\n');
  execFileSync('sh', [join(ROOT, 'systemd/install.sh')], { env: { ...process.env, DESTDIR: to }, stdio: ['ignore', 'ignore', 'pipe'] });

  for (const name of ['uplinkd', 'uplinkctl']) assert.match(execFileSync(join(to, 'usr/bin', name), ['--version'], { encoding: 'utf8' }), new RegExp(`^${name} \\d`));
  const profile = join(to, 'usr/lib/uplinkd/profiles/dual-isp.yaml');
  assert.match(execFileSync(join(to, 'usr/bin/uplinkd'), ['check', '--config', profile], { encoding: 'utf8' }), /valid, 2 uplinks/);
  assert.deepEqual(readdirSync(join(to, 'usr/lib')), ['uplinkd'], 'nothing is left beside it');
  assert.deepEqual(['typescript', 'former'].map((name) => existsSync(join(to, 'usr/lib/uplinkd', name === 'former' ? 'dist/src/former.js' : `node_modules/${name}`))), [false, false]);
  assert.equal(readFileSync(join(to, 'etc/uplinkd/uplinkd.yaml'), 'utf8'), 'mine: 1\n');

  const shipped = readdirSync(join(ROOT, 'systemd'), { recursive: true, encoding: 'utf8' }).filter((name) => /\.(conf|service)$/.test(name));
  const folders = ['etc', 'usr/share/doc'].map((name) => join(to, name));
  const placed = new Map(folders.flatMap((dir) => readdirSync(dir, { recursive: true, encoding: 'utf8' }).map((name) => [join(dir, name), statSync(join(dir, name))] as const)));
  for (const name of shipped) {
    const place = [...placed].find(([path, stat]) => stat.isFile() && path.endsWith(`/${name.replace('uplinkd.service.d/', '')}`));
    assert.ok(place !== undefined, `${name} is installed nowhere`);
    // What gives more rights is only laid ready.
    assert.equal(place[0].includes('/usr/share/doc/'), name.includes('service.d/'), name);
    assert.equal(place[1].mode & 0o777, 0o644, name);
    assert.equal(readFileSync(place[0], 'utf8'), readFileSync(join(ROOT, 'systemd', name), 'utf8'));
  }
});

/** Runs .ci/prepare with these programs alone to be found; `id` and `node` say what they are told. */
function prepare(t: TestContext, says: { readonly id: string; readonly node: string }): { readonly status: number | null; readonly lines: readonly string[] } {
  const dir = folder(t);
  for (const name of ['sh', 'dirname', 'cut']) symlinkSync(execFileSync('sh', ['-c', 'command -v "$1"', 'sh', name], { encoding: 'utf8' }).trim(), join(dir, name));
  for (const [name, answer] of Object.entries(says)) writeFileSync(join(dir, name), `#!/bin/sh\necho '${answer}'\n`, { mode: 0o755 });
  const { status, stdout, stderr } = spawnSync('/bin/sh', [join(ROOT, '.ci/prepare')], { env: { PATH: dir }, encoding: 'utf8' });
  return { status, lines: `${stdout}${stderr}`.trimEnd().split('\n') };
}

test('prepare gives who is not root the one line to type, each package once', (t) => {
  const { status, lines } = prepare(t, { id: '1000', node: '20' });
  assert.equal(status, 1);
  assert.equal(lines.length, 2, lines.join('\n'));
  assert.equal(lines[0], 'uplinkd needs these programs; type as root:');
  const [, named = ''] = /^ {2}apt-get update && apt-get install -y --no-install-recommends (.*)$/.exec(lines[1] ?? '') ?? [];
  const packages = named.split(' ');
  for (const name of ['python3', 'util-linux']) assert.ok(packages.includes(name), `${name} in ${named}`);
  assert.equal(new Set(packages).size, packages.length, named);
});

test('prepare refuses a Node that is too old before anything else', (t) => {
  const { status, lines } = prepare(t, { id: '0', node: '18' });
  assert.equal(status, 1);
  assert.match(lines.join('\n'), /^uplinkd needs Node 20 or newer; this is .*docs\/guides\/install\.md/);
});
