/** Reading files: the shipped profiles, and everything that a disk can answer instead of a config. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { loadConfig, showProblem } from '../../src/config/load.js';

const PROFILES = fileURLToPath(new URL('../../../profiles', import.meta.url));
const dir = mkdtempSync(join(tmpdir(), 'uplinkd-config-'));
after(() => rmSync(dir, { recursive: true }));

function write(name: string, content: string | Uint8Array): string {
  const file = join(dir, name);
  writeFileSync(file, content);
  return file;
}

/** The problems as printed, with the test's own folder left out. */
function problemsOf(file: string, profilesDir = PROFILES): readonly string[] {
  const loaded = loadConfig(file, { profilesDir, slots: new Map() });
  return 'config' in loaded ? [] : loaded.problems.map((problem) => showProblem(problem).replaceAll(`${dir}/`, '').replaceAll(PROFILES, 'PROFILES'));
}

test('every shipped profile is a complete valid config, by itself and by name', () => {
  const names = readdirSync(PROFILES).filter((name) => name.endsWith('.yaml')).map((name) => name.slice(0, -5));
  for (const name of ['dual-isp', 'dual-stack', 'lab', 'load-balance', 'lte-backup', 'three-nic']) assert.ok(names.includes(name), name);
  for (const name of names) {
    const file = join(PROFILES, `${name}.yaml`);
    assert.deepEqual(problemsOf(file), [], name);
    const byName = loadConfig(write('by-name.yaml', `profile: ${name}\n`), { profilesDir: PROFILES, slots: new Map() });
    const byFile = loadConfig(file, { profilesDir: PROFILES, slots: new Map() });
    assert.ok('config' in byName && 'config' in byFile);
    assert.deepEqual(byName.config.policy, byFile.config.policy, name);
    assert.deepEqual(byName.config.files, [join(dir, 'by-name.yaml'), file]);
    assert.ok(byFile.config.policy.uplinks.length >= 2 && byFile.config.policy.lanInterfaces.length === 1, name);
  }
});

test('the lab profile fits the lab', () => {
  const loaded = loadConfig(join(PROFILES, 'lab.yaml'), { profilesDir: PROFILES, slots: new Map() });
  assert.ok('config' in loaded);
  assert.deepEqual(loaded.config.policy.uplinks.map(({ name, interface: device }) => [name, device]), [['fibre', 'isp0'], ['cable', 'isp1'], ['lte', 'isp2']]);
  assert.deepEqual(loaded.config.policy.lanInterfaces, ['lan0']);
});

test('a profile that does not exist is answered with the ones that do', () => {
  assert.deepEqual(problemsOf(write('a.yaml', 'profile: dual-ips\n')), ['a.yaml:1: profile: there is no profile `dual-ips` in PROFILES: did you mean `dual-isp`?']);
  assert.match(problemsOf(write('b.yaml', 'profile: nonsense\n')).join('\n'), /^b\.yaml:1: profile: there is no profile `nonsense` in PROFILES: there are `dual-isp`, .* and `three-nic`$/);
  assert.deepEqual(problemsOf(write('c.yaml', 'profile: nonsense\n'), join(dir, 'nowhere')), ['c.yaml:1: profile: there is no profile `nonsense` in nowhere: there is none at all']);
  assert.deepEqual(problemsOf(write('d.yaml', 'profile: ../../etc/passwd\n')), [
    'd.yaml:1: profile: `../../etc/passwd` is not the name of a profile: write the name alone, such as `dual-isp`, without folder and `.yaml`',
  ]);
  mkdirSync(join(dir, 'odd/folder.yaml'), { recursive: true });
  assert.deepEqual(problemsOf(write('e.yaml', 'profile: folder\n'), join(dir, 'odd')), ['e.yaml:1: profile: the profile `folder` cannot be used: odd/folder.yaml: this is a directory: name the file in it']);
});

test('a file that is not there, or is no file, says so', () => {
  const missing = 'there is no such file: write one (the profiles are complete examples), or name another with `--config FILE`';
  assert.deepEqual(problemsOf(join(dir, 'missing.yaml')), [`missing.yaml: ${missing}`]);
  assert.deepEqual(problemsOf(join(write('plain', 'x'), 'below')), [`plain/below: ${missing}`]);
  assert.deepEqual(problemsOf(dir), [`${dir}: this is a directory: name the file in it`]);
  assert.deepEqual(problemsOf('/dev/zero'), ['/dev/zero: this is a device or a pipe: name an ordinary file']);
  symlinkSync('loop', join(dir, 'loop'));
  assert.deepEqual(problemsOf(join(dir, 'loop')), ['loop: the symbolic links go round in a circle: name the file itself']);
  assert.deepEqual(problemsOf(join(dir, 'x'.repeat(300))), [`${'x'.repeat(300)}: the file cannot be read (ENAMETOOLONG)`]);
});

test('a named pipe does not hold us', () => {
  execFileSync('mkfifo', [join(dir, 'pipe')]);
  assert.deepEqual(problemsOf(join(dir, 'pipe')), ['pipe: this is a device or a pipe: name an ordinary file']);
});

test('a file that this user may not read says so', (t) => {
  const file = write('secret.yaml', 'uplinks: { a: { interface: eth0 } }\n');
  chmodSync(dir, 0o755);
  chmodSync(file, 0o000);
  const root = process.geteuid?.() === 0;
  try {
    if (root) process.seteuid?.(65_534);
    assert.deepEqual(problemsOf(file), ['secret.yaml: this user may not read the file: start as root, or change its owner or mode']);
  } catch (error) {
    // Debian's Node refuses every seteuid as long as libuv may use io_uring (CVE-2024-22017).
    if (!(error instanceof Error && 'code' in error && error.code === 'ERR_INVALID_STATE')) throw error;
    t.skip('this Node does not put root aside');
  } finally {
    if (process.geteuid?.() !== 0 && root) process.seteuid?.(0);
  }
});

test('more than 1 MiB is no config, 1 MiB is', () => {
  const text = 'uplinks: { a: { interface: eth0 } }\n';
  assert.deepEqual(problemsOf(write('full.yaml', text + '#'.repeat(1024 * 1024 - text.length))), []);
  assert.deepEqual(problemsOf(write('over.yaml', text + '#'.repeat(1024 * 1024 - text.length + 1))), ['over.yaml: the file has 1048577 bytes, and a config has 1 MiB at most: is it the right one?']);
});

test('text that is not UTF-8 is told with its line; a byte order mark does not matter', () => {
  assert.deepEqual(problemsOf(write('latin1.yaml', Buffer.from('uplinks: { a: { interface: eth0 } }\n# caf\xe9\n', 'latin1'))), ['latin1.yaml:2: this is not UTF-8 text: save the file in UTF-8']);
  const bom = loadConfig(write('bom.yaml', '\ufeffuplink: { a: { interface: eth0 } }\n'), { profilesDir: PROFILES, slots: new Map() });
  assert.deepEqual('problems' in bom && bom.problems.map(({ column, key }) => [column, key]), [[1, 'uplink']]);
  assert.deepEqual(problemsOf(write('empty.yaml', '')), ['empty.yaml:1: the file is empty: a config needs at least `uplinks:` with a name and its `interface`']);
});
