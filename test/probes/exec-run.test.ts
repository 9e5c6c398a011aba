/** A run that cannot get into its control group, a child that holds the output open, a control group that is taken away. */
import assert from 'node:assert/strict';
import { openSync, readFileSync, readdirSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import type { Instant } from '../../src/model.js';
import { ownGroup } from '../../src/probes/exec-cgroup.js';
import { confine } from '../../src/probes/exec-confine.js';
import { startRun, type RunEnd } from '../../src/probes/exec-run.js';
import { deadline } from '../lab/wait.js';
import { ask, groupsOf, isAlive, LIMIT_MS, LOOPBACK, openAsker, openDirectory, until } from './exec-asking.js';

const dir = openDirectory();
after(() => dir.close());
const confinement = confine();
if (typeof confinement === 'string') throw new Error(confinement);
const now = (): Instant => performance.now() as Instant;

test('a launcher that is refused by its control group starts nothing and says so', async () => {
  const program = dir.script('reached', `#!/bin/sh\necho yes >${dir.path}/reached.txt\n`);
  const group = { openEntry: () => openSync('/dev/full', 'w'), kill: () => undefined, close: () => undefined };
  const end = await new Promise<RunEnd>((resolve) => {
    startRun({ program, args: [], environment: {}, limitMs: deadline(), confinement, group, now }, { ended: resolve, gone: () => undefined });
  });
  assert.equal(end.kind, 'unplaced');
  assert.equal(dir.read('reached.txt'), '');
});

test('what holds the output open beyond its end does not hold up the verdict', async (t) => {
  const program = dir.script('holder', `#!/bin/sh\nsetsid sh -c 'echo $$ >${dir.path}/holder.pid; sleep 600' &\nwhile [ ! -s ${dir.path}/holder.pid ]; do sleep 0.01; done\necho no route; exit 3\n`);
  t.after(() => isAlive(Number(dir.read('holder.pid'))) && process.kill(Number(dir.read('holder.pid')), 'SIGKILL'));
  const calls: string[] = [];
  const descriptors = readdirSync('/proc/self/fd').length;
  await new Promise<void>((resolve) => {
    startRun({ program, args: [], environment: {}, limitMs: deadline(), confinement, group: undefined, now }, {
      ended: (end) => calls.push(end.kind === 'answered' ? end.kind : end.error),
      gone: () => (calls.push('gone'), resolve()),
    });
  });
  assert.deepEqual(calls, ['holder: exit 3: no route', 'gone']);
  assert.ok(isAlive(Number(dir.read('holder.pid'))), 'or it held nothing open');
  assert.ok(await until(() => readdirSync('/proc/self/fd').length <= descriptors), 'our end of the pipe is closed');
});

test('without a control group the session of the program is killed at its limit', async () => {
  const program = dir.script('parent', `#!/bin/sh\nsleep 600 & echo $! >${dir.path}/child.pid\nwait\n`);
  const end = await new Promise<RunEnd>((resolve) => {
    startRun({ program, args: [], environment: {}, limitMs: LIMIT_MS, confinement, group: undefined, now }, { ended: resolve, gone: () => undefined });
  });
  assert.deepEqual(end, { kind: 'failed', error: `parent: killed after ${LIMIT_MS / 1000} s` });
  assert.ok(await until(() => !isAlive(Number(dir.read('child.pid')))));
});

const here = openAsker();
const unpinned = here.unpinned === '' ? false : `programs cannot be pinned here: ${here.unpinned}`;
here.close();

test('when the line\'s control group is taken away, programs run on unpinned, and that is said', { skip: unpinned }, async () => {
  const own = ownGroup(readFileSync('/proc/self/mountinfo', 'utf8'), readFileSync('/proc/self/cgroup', 'utf8'))!;
  await until(() => groupsOf().length === 0);
  const asker = openAsker({ ...LOOPBACK, uplink: 'taken' });
  for (const name of groupsOf()) rmdirSync(join(own, name));
  const { error } = await ask(asker, '/bin/sh', ['-c', 'echo $UPLINKD_PINNED; exit 1']);
  assert.equal(error, 'sh: exit 1: no (it ran unpinned, by the default route)');
  assert.match(asker.unpinned, /^no control group can be made for a program/);
  asker.close();
});
