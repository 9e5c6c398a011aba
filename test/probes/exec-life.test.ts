/** The programs and the end of the process that started them, in whatever way it ends. */
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { ownGroup } from '../../src/probes/exec-cgroup.js';
import { groupsOf, isAlive, openAsker, openDirectory, until } from './exec-asking.js';

const dir = openDirectory();
const asker = openAsker();
const unpinned = asker.unpinned === '' ? false : `programs cannot be pinned here: ${asker.unpinned}`;
asker.close();
after(() => dir.close());
const program = dir.script('lasting', `#!/bin/sh
echo $$ >${dir.path}/program.pid
sleep 600 & echo $! >${dir.path}/child.pid
wait
`);

for (const [how, code] of [['exit', 0], ['throw', 1]] as const) {
  test(`process.${how === 'exit' ? 'exit' : 'on uncaught exception'}: program and child are killed, control groups removed`, async () => {
    const child = daemon(how);
    await started();
    child.stdin!.end();
    assert.deepEqual(await once(child, 'exit'), [code, null]);
    assert.ok(await until(() => !isAlive(pidIn('program.pid')) && !isAlive(pidIn('child.pid'))));
    assert.ok(await until(() => groupsOf(child.pid).length === 0), groupsOf(child.pid).join(' '));
  });
}

test('kill -9: the program dies with it; what is left of its children and control groups is ended by the next one', async (t) => {
  const child = daemon('wait');
  const { groups } = JSON.parse(String((await once(child.stdout!, 'data'))[0])) as { groups: readonly string[] };
  await started();
  const orphan = pidIn('child.pid');
  t.after(() => isAlive(orphan) && process.kill(orphan, 'SIGKILL'));
  child.kill('SIGKILL');
  await once(child, 'exit');
  assert.ok(await until(() => !isAlive(pidIn('program.pid'))), 'setpriv has asked for it (PR_SET_PDEATHSIG)');
  assert.ok(isAlive(orphan), 'nobody could kill this one');
  if (unpinned !== false) return t.diagnostic(unpinned);
  assert.equal(groupsOf(child.pid).length, groups.length);
  const next = daemon('wait');
  await once(next.stdout!, 'data');
  assert.ok(await until(() => !isAlive(orphan)), 'the child');
  assert.ok(await until(() => groupsOf(child.pid).length === 0), groupsOf(child.pid).join(' '));
  next.kill('SIGKILL');
  await once(next, 'exit');
  await ended(daemon('exit', '/bin/true'));
  assert.deepEqual(groupsOf(next.pid), []);
});

test('a daemon that lives is left alone by another one in the same place', { skip: unpinned }, async () => {
  const first = daemon('wait');
  await started();
  await ended(daemon('exit', '/bin/true'));
  assert.ok(isAlive(pidIn('program.pid')) && isAlive(pidIn('child.pid')));
  assert.equal(groupsOf(first.pid).length, 1);
  first.kill('SIGKILL');
  await once(first, 'exit');
  await ended(daemon('exit', '/bin/true'));
  assert.ok(await until(() => !isAlive(pidIn('child.pid'))));
  assert.deepEqual(groupsOf(first.pid), []);
});

test('the own control group is found in every layout of mounts, or is said not to be', () => {
  const unified = '30 24 0:26 / /sys/fs/cgroup rw,nosuid,nodev - cgroup2 cgroup2 rw,nsdelegate\n';
  const hybrid = '31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n32 31 0:29 / /sys/fs/cgroup/cpu rw shared:5 - cgroup cgroup rw,cpu\n41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n';
  const inside = '30 24 0:26 /docker/abc /sys/fs/cgroup rw - cgroup2 cgroup rw\n';
  assert.equal(ownGroup(unified, '0::/system.slice/uplinkd.service\n'), '/sys/fs/cgroup/system.slice/uplinkd.service');
  assert.equal(ownGroup(hybrid, '4:memory:/x\n0::/\n'), '/sys/fs/cgroup/unified');
  assert.equal(ownGroup(inside, '0::/docker/abc\n'), '/sys/fs/cgroup');
  assert.equal(ownGroup(inside, '0::/docker/abc/sub\n'), '/sys/fs/cgroup/sub');
  assert.equal(ownGroup(inside, '0::/docker/abcdef\n'), undefined, 'a neighbour with a longer name');
  assert.equal(ownGroup('32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n', '3:cpu:/\n'), undefined);
  const real = ownGroup(readFileSync('/proc/self/mountinfo', 'utf8'), readFileSync('/proc/self/cgroup', 'utf8'));
  assert.ok(real === undefined || existsSync(`${real}/cgroup.procs`), String(real));
});

function daemon(story: string, argument = program): ChildProcess {
  for (const name of ['program.pid', 'child.pid']) if (argument === program) dir.script(name, '', 0o666);
  return spawn(process.execPath, [fileURLToPath(new URL('./inside-exec.js', import.meta.url)), story, argument], { stdio: ['pipe', 'pipe', 'ignore'] });
}

/** It lives as long as its input is open. */
async function ended(child: ChildProcess): Promise<void> {
  child.stdin!.end();
  await once(child, 'exit');
}

async function started(): Promise<void> {
  assert.ok(await until(() => dir.read('child.pid') !== ''), 'the program has not started');
}

function pidIn(name: string): number {
  return Number(dir.read(name));
}
