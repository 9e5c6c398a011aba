/** Programs run without capabilities, whoever uplinkd is: as root, as root of a user namespace, as an unprivileged user with ambient capabilities. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { confine, type Confinement, type Standing } from '../../src/probes/exec-confine.js';
import { deadline } from '../lab/wait.js';

const SCRIPT = fileURLToPath(new URL('./inside-exec.js', import.meta.url));
const FIELDS = 'Uid|Groups|CapInh|CapPrm|CapEff|CapAmb|NoNewPrivs';
const NONE = '0000000000000000';
/** In a user namespace that has no other user, root cannot become one. */
const needsRoot = process.geteuid?.() === 0 && typeof confine() !== 'string' && (confine() as Confinement).user !== undefined ? false : 'this needs root that may change its user';

test('as root: another user, no group of ours, no capability, and none to be had', { skip: needsRoot }, () => {
  const seen = look([]);
  assert.notEqual(seen['Uid'], '0 0 0 0');
  assert.deepEqual({ ...seen, Uid: '' }, { Uid: '', Groups: '', CapInh: NONE, CapPrm: NONE, CapEff: NONE, CapAmb: NONE, NoNewPrivs: '1' });
});

test('as an unprivileged user with ambient capabilities: the same user, and they are not passed on', { skip: needsRoot }, () => {
  const caps = '+net_admin,+net_raw,+dac_read_search';
  const as = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', `--inh-caps=${caps}`, `--ambient-caps=${caps}`, '--'];
  const control = spawnSync(as[0]!, [...as.slice(1), 'grep', '-E', '^Cap(Amb|Eff)', '/proc/self/status'], { encoding: 'utf8' });
  assert.doesNotMatch(control.stdout, new RegExp(`:\\s*${NONE}`), `whoever is started in there has some: ${control.stderr}`);
  assert.deepEqual(look(as), { Uid: '65534 65534 65534 65534', Groups: '', CapInh: NONE, CapPrm: NONE, CapEff: NONE, CapAmb: NONE, NoNewPrivs: '1' });
});

test('as root of a user namespace with no other user: root, and without capabilities', () => {
  const seen = look(['unshare', '--user', '--map-root-user', '--']);
  assert.deepEqual({ ...seen, Groups: '' }, { Uid: '0 0 0 0', Groups: '', CapInh: NONE, CapPrm: NONE, CapEff: NONE, CapAmb: NONE, NoNewPrivs: '1' });
});

test('what is done where something is missing, and what is refused', () => {
  const all = (1n << 41n) - 1n;
  const root: Standing = { uid: 0, effective: all, passedOn: 0n, mapped: true, user: { uid: 65_534, gid: 65_534, name: 'nobody' }, setpriv: '/usr/bin/setpriv' };
  const plain: Standing = { ...root, uid: 1000, effective: 0n };
  const nobody = { uid: 65_534, gid: 65_534 };
  const nnp = ['/usr/bin/setpriv', '--no-new-privs', '--pdeathsig=KILL'];
  const none = ['--inh-caps=-all', '--ambient-caps=-all'];
  assert.deepEqual(confine(root), { user: nobody, prefix: [...nnp, '--'], as: 'user nobody' });
  assert.deepEqual(confine({ ...root, passedOn: 1n }), { user: nobody, prefix: [...nnp, ...none, '--'], as: 'user nobody' });
  assert.deepEqual(confine({ ...root, setpriv: '' }), { user: nobody, prefix: [], as: 'user nobody' }, 'the change of user does it alone');
  assert.deepEqual((confine({ ...root, setpriv: '/bin/busybox' }) as Confinement).prefix, ['/bin/busybox', 'setpriv', '--nnp', '--']);
  assert.match(confine({ ...root, setpriv: '', passedOn: 1n }) as string, /install util-linux/);
  const confined: Standing = { ...root, effective: all & ~(1n << 7n) };
  assert.deepEqual(confine(confined), { user: undefined, prefix: [...nnp, ...none, '--bounding-set=-all', '--'], as: 'root without capabilities' });
  assert.deepEqual(confine({ ...root, mapped: false }), confine(confined));
  for (const setpriv of ['', '/bin/busybox.nosuid']) assert.match(confine({ ...confined, setpriv }) as string, /install util-linux/);
  assert.match(confine({ ...root, effective: 1n << 12n }) as string, /CAP_SETUID and CAP_SETGID/);
  assert.deepEqual(confine(plain), { user: undefined, prefix: [...nnp, '--'], as: 'the user of uplinkd (1000)' });
  assert.deepEqual((confine({ ...plain, passedOn: 1n }) as Confinement).prefix, [...nnp, ...none, '--']);
  assert.deepEqual((confine({ ...plain, setpriv: '' }) as Confinement).prefix, []);
  for (const setpriv of ['', '/bin/busybox']) assert.match(confine({ ...plain, setpriv, passedOn: 1n }) as string, /install util-linux/);
});

/** The fields of the program's /proc/self/status, started by a process that is itself started so. */
function look(as: readonly string[]): Readonly<Record<string, string>> {
  const [command = '', ...args] = [...as, process.execPath, SCRIPT, 'look', FIELDS];
  const { stdout, stderr, status } = spawnSync(command, args, { encoding: 'utf8', timeout: deadline(), cwd: '/' });
  assert.equal(status, 0, stderr);
  const { what, error } = JSON.parse(stdout) as { what: string; error: string };
  assert.equal(what, 'failed', error);
  const text = error.replace(/^sh: exit 1: /, '').replace(/ \(it ran.*/, '');
  return Object.fromEntries([...text.matchAll(new RegExp(`(${FIELDS}):(.*?)(?=(?:${FIELDS}):|$)`, 'g'))].map(([, name, value]) => [name!, value!.trim()]));
}
