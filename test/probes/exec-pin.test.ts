/** A program that knows nothing of uplinks asks through its own, wherever the default route leads. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { inFreshSpaces } from '../lab/mortal.js';
import { deadline } from '../lab/wait.js';
import { ask, LOOPBACK, openAsker } from './exec-asking.js';

const here = openAsker({ ...LOOPBACK, uplink: 'here' });
const unpinned = process.geteuid?.() !== 0 ? 'this needs root' : here.unpinned === '' ? false : `programs cannot be pinned here: ${here.unpinned}`;
here.close();

test('pinned, its packets and its children\'s leave by the device and with the mark of the line, in both families, and nowhere else when it is down', { skip: unpinned }, () => {
  const seen = inside([], 'inside-exec-pin');
  assert.deepEqual(seen, {
    'unpinned': '',
    'udp 4': { a: 1, b: 0 }, 'child 4': { a: 1, b: 0 }, 'tcp 4': 'refused',
    'udp 6': { a: 1, b: 0 }, 'child 6': { a: 1, b: 0 }, 'tcp 6': 'refused',
    'udp by b': { a: 0, b: 1 },
    'of our own': { a: 0, b: 1 },
    'marked': { a: 0, b: 0 }, 'marked otherwise': { a: 1, b: 0 },
    'line down': { a: 0, b: 0 },
    'groups left': [],
  });
});

test('where the kernel cannot, it runs unpinned, is told so, and so are we', async () => {
  const seen = inside(['--user', '--map-root-user'], 'inside-exec', 'look', 'NoNewPrivs');
  assert.match(String(seen['unpinned']), /no control group can be made in .*Delegate=yes|the kernel takes no BPF program from us \(E[A-Z]+\): that needs CAP_BPF|no control groups of version 2/);
  assert.match(String(seen['error']), /NoNewPrivs: 1 \(it ran unpinned, by the default route\)$/);
  const asker = openAsker({ ...LOOPBACK, ifindex: 1 });
  const { error } = await ask(asker, '/bin/sh', ['-c', 'echo $UPLINKD_PINNED; exit 1']);
  asker.close();
  assert.equal(error, asker.unpinned === '' ? 'sh: exit 1: cgroup' : 'sh: exit 1: no (it ran unpinned, by the default route)');
});

function inside(flags: readonly string[], script: string, ...args: readonly string[]): Readonly<Record<string, unknown>> {
  const path = fileURLToPath(new URL(`./${script}.js`, import.meta.url));
  const [program, argv] = inFreshSpaces([...flags, '--net', '--mount'], [process.execPath, path, ...args]);
  const { stdout, stderr, status } = spawnSync(program, argv, { encoding: 'utf8', timeout: deadline(120_000), killSignal: 'SIGKILL' });
  assert.equal(status, 0, stderr);
  return JSON.parse(stdout) as Readonly<Record<string, unknown>>;
}
