/** The contract of docs/guides/exec.md, line by line, with real programs on the loopback device. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync, readdirSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { PROGRAM_PATH } from '../../src/probes/exec-confine.js';
import { ask, groupsOf, isAlive, LIMIT_MS, LOOPBACK, openAsker, openDirectory, said, until, type Answer } from './exec-asking.js';

const dir = openDirectory();
const asker = openAsker();
const unpinned = asker.unpinned === '' ? false : `programs cannot be pinned here: ${asker.unpinned}`;
after(() => {
  asker.close();
  dir.close();
});

test('it gets its arguments as they are, the environment of the contract, no input, and neither our descriptors nor our session', async () => {
  const looker = dir.script('looker', [
    '#!/bin/sh', 'cd -P . && out=$1/seen', 'shift', 'for a in "$@"; do printf "[%s]" "$a"; done >$out.args', 'tr "\\0" "\\n" </proc/$$/environ >$out.env',
    'readlink /proc/$$/cwd >$out.cwd', 'wc -c >$out.stdin', 'for f in /proc/$$/fd/*; do readlink $f; done >$out.fds', 'cut -d" " -f1,5,6 /proc/$$/stat >$out.stat', '',
  ].join('\n'));
  const args = ['$(id)', 'a b', '"', "'; rm -rf x", '', '*', '--'];
  assert.deepEqual(said(await ask(asker, looker, [dir.path, ...args])), 'answered');
  assert.equal(dir.read('seen.args'), args.map((arg) => `[${arg}]`).join(''));
  // A bash as /bin/sh adds `_`.
  assert.deepEqual(dir.read('seen.env').split('\n').filter((row) => row !== '' && !row.startsWith('_=')).sort(), [
    `LANG=C`, `PATH=${PROGRAM_PATH}`, 'UPLINKD_FAMILY=4', 'UPLINKD_GATEWAY=192.0.2.1', 'UPLINKD_INTERFACE=lo', 'UPLINKD_MARK=0x1a0000',
    `UPLINKD_PINNED=${unpinned === false ? 'cgroup' : 'no'}`, 'UPLINKD_SOURCE=127.0.0.1', 'UPLINKD_UPLINK=fibre',
  ]);
  assert.equal(dir.read('seen.cwd'), '/\n');
  assert.equal(dir.read('seen.stdin').trim(), '0');
  const open = dir.read('seen.fds').trim().split('\n').map((to) => to.replace(/\[\d+\]/, '')).filter((to) => !to.startsWith(dir.path));
  assert.deepEqual([...new Set(open)], ['/dev/null', 'pipe:'], 'beside what the shell itself has opened');
  const [pid, group, session] = dir.read('seen.stat').trim().split(' ');
  assert.deepEqual([group, session], [pid, pid]);
});

test('exit code 0 is an answer after its running time; another code or a signal is a no, with the first lines of what it printed', async () => {
  const { what, rttMs } = await ask(asker, '/bin/sleep', ['0.2']);
  assert.equal(what, 'answered');
  assert.ok(rttMs >= 200, `${rttMs} ms`);
  const script = dir.script('my-check', '#!/bin/sh\ncase $1 in\nwords) echo no route >&2; exit 2;;\nfour) printf "\\033[31mone\\r\\n\\n two  2\\nthree\\nfour\\n" >/dev/stderr; exit 1;;\n'
    + 'killed) echo going; kill -SEGV $$;;\n*) exit $1;;\nesac\n');
  assert.equal(said(await ask(asker, script, ['words'])), 'failed my-check: exit 2: no route');
  assert.equal(said(await ask(asker, script, ['four'])), 'failed my-check: exit 1: [31mone / two 2 / three');
  assert.equal(said(await ask(asker, script, ['killed'])), 'failed my-check: ended by SIGSEGV: going');
  for (const code of ['1', '125', '126', '127', '255']) assert.equal(said(await ask(asker, script, [code])), `failed my-check: exit ${code}`);
});

test('of its output 4 KiB are kept and 300 characters shown; a flood is ended', async () => {
  const { error } = await ask(asker, '/bin/sh', ['-c', 'head -c 60000 /dev/zero | tr "\\0" x; exit 1']);
  assert.match(error, /^sh: exit 1: x{300}( \(it ran|$)/);
  assert.equal(said(await ask(asker, '/bin/sh', ['-c', 'yes'])), 'failed sh: printed more than 1 MiB and was killed: y / y / y');
});

test('one that cannot be started says nothing about the line, and what to do', async () => {
  assert.match(said(await ask(asker, `${dir.path}/none`)), /^prober there is no program .*none \(ENOENT\): install it/);
  assert.match(said(await ask(asker, dir.script('plain', 'x', 0o644))), /^prober .*plain cannot be executed \(EACCES\): type chmod 755/);
  assert.match(said(await ask(asker, dir.script('lonely', '#!/no/such/interpreter\n'))), /^prober .*lonely cannot be executed as .*interpreter of its #! line/);
  assert.match(said(await ask(asker, dir.path)), /^prober .* cannot be executed as .*mode 755/);
  assert.match(said(await ask(asker, 'true')), /^prober true is not a whole path/);
});

test('at its limit it is killed with its children', async () => {
  const parent = dir.script('parent', '#!/bin/sh\necho $$ >$1/parent.pid\nsleep 600 & echo $! >$1/child.pid\necho waiting for godot\nwait\n');
  assert.equal(said(await ask(asker, parent, [dir.path], LIMIT_MS)), `failed parent: killed after ${LIMIT_MS / 1000} s: waiting for godot`);
  for (const name of ['parent.pid', 'child.pid']) assert.ok(await until(() => !isAlive(pidIn(name))), name);
});

test('children that made a session of their own are killed, too', { skip: unpinned }, async () => {
  const parent = dir.script('escaper', '#!/bin/sh\nsetsid sh -c "echo \\$\\$ >$1/escaped.pid; sleep 600" >/dev/null 2>&1 &\nwhile [ ! -s $1/escaped.pid ]; do sleep 0.01; done\n[ $2 = stay ] && sleep 600\nexit 0\n');
  assert.equal((await ask(asker, parent, [dir.path, 'stay'], LIMIT_MS)).what, 'failed');
  assert.ok(await until(() => !isAlive(pidIn('escaped.pid'))), 'at the limit');
  dir.script('escaped.pid', '', 0o666);
  assert.equal((await ask(asker, parent, [dir.path, 'leave'])).what, 'answered');
  assert.ok(await until(() => !isAlive(pidIn('escaped.pid'))), 'after the program has ended');
});

test('slower than its interval it is not started twice: who asks meanwhile gets the same result, a no at its limit and not before', async () => {
  const slow = dir.script('slow', '#!/bin/sh\necho run >>$1/runs\nwhile [ ! -e $1/go ]; do sleep 0.02; done\nexit $2\n');
  const first = ask(asker, slow, [dir.path, '0']);
  await until(() => dir.read('runs') !== '');
  const others = [ask(asker, slow, [dir.path, '0']), ask(asker, slow, [dir.path, '0'])];
  dir.script('go', '');
  const [a, b, c] = await Promise.all([first, ...others]) as [Answer, Answer, Answer];
  assert.deepEqual([a.what, b.what, c.what], ['answered', 'answered', 'answered']);
  assert.equal(b.rttMs, a.rttMs);
  assert.equal(dir.read('runs'), 'run\n');
  assert.equal((await ask(asker, slow, [dir.path, '0'])).what, 'answered');
  assert.equal(dir.read('runs'), 'run\nrun\n', 'and started again after it has ended');
  const late = ask(asker, '/bin/sleep', ['7'], 400);
  await sleep(300);
  assert.deepEqual((await Promise.all([late, ask(asker, '/bin/sleep', ['7'], 400)])).map(said), Array(2).fill('failed sleep: killed after 0.4 s'));
});

test('eight run at a time in the whole process; the ninth is not started and says so', async () => {
  const other = openAsker({ ...LOOPBACK, uplink: 'cable' });
  await until(() => childrenOf(process.pid) === '');
  const eight = Array.from({ length: 8 }, (_, i) => ask(i % 2 === 0 ? asker : other, '/bin/sleep', [`0.5${i}`]));
  assert.match(said(await ask(asker, '/bin/true')), /^prober \/bin\/true is not started: 8 programs run already/);
  assert.deepEqual((await Promise.all(eight)).map(({ what }) => what), Array(8).fill('answered'));
  assert.equal((await ask(asker, '/bin/true')).what, 'answered');
  other.close();
});

test('closed, it kills what runs, reports nothing more and leaves no control group', async () => {
  const other = openAsker();
  const before = groupsOf().length;
  const reported: unknown[] = [];
  const script = dir.script('closed', '#!/bin/sh\necho $$ >$1/closed.pid\nsleep 600\n');
  void ask(other, script, [dir.path]).then((answer) => reported.push(answer));
  await until(() => dir.read('closed.pid') !== '');
  other.close();
  other.close();
  assert.ok(await until(() => !isAlive(pidIn('closed.pid'))));
  void ask(other, '/bin/true').then((answer) => reported.push(answer));
  await sleep(100);
  assert.deepEqual(reported, []);
  if (unpinned === false) assert.ok(await until(() => groupsOf().length === before - 1), groupsOf().join(' '));
});

test('40 runs, half of them killed or failing, leave no descriptor, no zombie and no process', async () => {
  await ask(asker, '/bin/true');
  const before = readdirSync('/proc/self/fd').length;
  for (let round = 0; round < 10; round++) {
    const answers = await Promise.all([ask(asker, '/bin/true'), ask(asker, '/bin/false'), ask(asker, '/bin/sleep', ['600'], 100), ask(asker, '/bin/sh', ['-c', 'echo x; sleep 0.01'])]);
    assert.deepEqual(answers.map(({ what }) => what), ['answered', 'failed', 'failed', 'answered']);
  }
  assert.ok(await until(() => readdirSync('/proc/self/fd').length <= before), `${before} → ${readdirSync('/proc/self/fd').length}`);
  assert.ok(await until(() => childrenOf(process.pid) === ''), childrenOf(process.pid));
});

test('the example of the guide works', { skip: !installed('curl') && 'curl is not installed' }, async () => {
  const guide = readFileSync(new URL('../../../docs/guides/exec.md', import.meta.url), 'utf8');
  const example = dir.script('page-has', /```sh\n(.*?)```/s.exec(guide)![1]!);
  const server = createServer((_, response) => response.end('today all is well here'));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/status`;
  assert.equal(said(await ask(asker, example, [url, 'all is well'])), 'answered');
  assert.equal(said(await ask(asker, example, [url, 'on fire'])), `failed page-has: exit 2: ${url} does not say: on fire`);
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  assert.match(said(await ask(asker, example, [url, 'all is well'])), /^failed page-has: exit 1: curl: \(7\)/);
});

function pidIn(name: string): number {
  return Number(dir.read(name));
}

function childrenOf(pid: number): string {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim();
}

function installed(program: string): boolean {
  return execFileSync('/bin/sh', ['-c', `command -v ${program} || true`], { encoding: 'utf8' }) !== '';
}
