/**
 * `npm test`: every dist/test/**\/*.test.js, each file in a process of its own (raw sockets and koffi want that), a few at a time.
 * Arguments are parts of file names: `npm test -- kernel sim`.
 *
 *   this process ── setpriv --pdeathsig ── unshare --kill-child ── sh, process 1 of a new pid namespace ── the same script, inside
 *
 * All that a test starts lives in that pid namespace, and all that it writes to TMPDIR on a tmpfs that only this mount namespace
 * sees. When the runner ends, by itself, by Ctrl-C or by kill -9, the kernel kills process 1, and with it everything else. Where the
 * system gives no such namespaces the tests run all the same; most of those that would need them are skipped then.
 *
 * Before the first test the runner measures how slow the machine is. Deadlines grow by that factor (lab/wait.ts); no test
 * asserts a time.
 */
import { spawn, spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { availableParallelism, constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { run } from 'node:test';
import { spec } from 'node:test/reporters';
import { fileURLToPath } from 'node:url';
import { LAB, labUnavailable } from './lab/anchor.js';
import { MORTAL } from './lab/mortal.js';
import { SLOWNESS, deadline } from './lab/wait.js';
import { inTurn } from './turns.js';

const SELF = fileURLToPath(import.meta.url);
const HERE = fileURLToPath(new URL('.', import.meta.url));
/** Set in the environment of everything inside. */
const INSIDE = 'UPLINKD_TEST_CONTAINED';
/** Starting Node takes so long on a quiet machine: median of five starts, on two cores at 2.5 GHz. */
const QUIET_START_MS = 90;
/** A wait that is in vain ends after ten minutes even there. */
const SLOWEST = 10;
const LONGEST_FILE_MS = 900_000;
/** What proves the lab and the bench, and not the product, takes turns. */
const FILES_IN_TURN: readonly (readonly string[])[] = [['lab/lab', 'lab/delay'], ['lab/lines', 'lab/troubles'], ['sim/judgement', 'sim/judgement-ours']];
/** The mount namespace is ours alone: whatever the folder holds elsewhere stays there. */
const SCRIPT = 'if [ -n "$1" ]; then mount -t tmpfs tmpfs "$1" || exit; TMPDIR=$1; export TMPDIR; fi; shift; "$@"; exit $?';

if (process.env[INSIDE] === undefined) await contain();
else await runFiles();

async function contain(): Promise<void> {
  const user = process.getuid?.() === 0 ? [] : ['--user', '--map-current-user'];
  const spaces = [...user, '--pid', '--mount', '--mount-proc', '--fork', '--kill-child=KILL'];
  if (spawnSync('unshare', [...spaces, 'true']).status !== 0) {
    console.error('this system gives no pid namespace to this user: what an interrupted test leaves behind must be ended by hand');
    await runFiles();
    return;
  }
  const room = user.length > 0 ? '' : ['/tmp', '/media', '/mnt'].find((path) => !HERE.startsWith(`${path}/`)) ?? '';
  const [program, ...mortal] = MORTAL;
  const argv = [...mortal, 'unshare', ...spaces, 'sh', '-c', SCRIPT, 'sh', room, process.execPath, SELF, ...process.argv.slice(2)];
  const child = spawn(program, argv, { stdio: 'inherit', env: { ...process.env, [INSIDE]: 'yes' } });
  const parent = process.ppid;
  let interruptedBy: NodeJS.Signals | undefined;
  const interrupt = (signal: NodeJS.Signals): void => {
    interruptedBy ??= signal;
    child.kill('SIGKILL');
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, interrupt);
  // npm was killed with -9: nobody waits for this run any more.
  const orphaned = setInterval(() => process.ppid !== parent && interrupt('SIGHUP'), 500);
  child.once('error', (error) => {
    throw error;
  });
  child.once('close', (code) => {
    clearInterval(orphaned);
    process.exitCode = interruptedBy === undefined ? code ?? 1 : 128 + constants.signals[interruptedBy];
  });
}

async function runFiles(): Promise<void> {
  const wanted = process.argv.slice(2);
  const turn = inTurn(FILES_IN_TURN).flat();
  const waiting = wanted.length > 0 ? [] : FILES_IN_TURN.flat().filter((name) => !turn.includes(name)).map((name) => `${name}.test.js`);
  const files = readdirSync(HERE, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.test.js') && (wanted.length === 0 || wanted.some((part) => name.includes(part))))
    .filter((name) => !waiting.includes(name))
    // The long ones stand far back in the alphabet: begun first, they are not waited for at the end.
    .sort((a, b) => (a < b ? 1 : -1))
    .map((name) => join(HERE, name));
  if (files.length === 0) {
    console.error(`no test file has ${wanted.join(' or ')} in its name`);
    process.exit(2);
  }
  const slowness = measuredSlowness();
  process.env[SLOWNESS] = slowness.toFixed(2);
  if ((await labUnavailable()) === undefined) process.env[LAB] = 'yes';
  console.log(`${files.length} files on ${availableParallelism()} cores; slowness ${slowness.toFixed(2)}; temporary files in ${tmpdir()}`);
  if (waiting.length > 0) console.log(`not their turn: ${waiting.join(', ')}`);
  // Most of them wait most of the time.
  const stream = run({ files, concurrency: availableParallelism() + 2, timeout: deadline(LONGEST_FILE_MS) });
  stream.on('test:fail', () => {
    process.exitCode = 1;
  });
  stream.compose(new spec()).pipe(process.stdout);
}

/** How many times longer Node takes to start than on a quiet machine, from 1 to SLOWEST. */
function measuredSlowness(): number {
  const startMs = (): number => {
    const beganAt = performance.now();
    spawnSync(process.execPath, ['--eval', '0']);
    return performance.now() - beganAt;
  };
  const sorted = Array.from({ length: 5 }, startMs).sort((a, b) => a - b);
  return Math.min(SLOWEST, Math.max(1, sorted[2]! / QUIET_START_MS));
}
