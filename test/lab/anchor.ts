/**
 * The anchor: one process that holds the lab's private namespaces (user, network, mount, process ids), and the ways into them.
 *
 *   test process ── stdin ──► unshare ── `cat`, process 1 of a new pid namespace, private tmpfs on /run, private /proc
 *
 * `cat` ends when its stdin does: on close, and just as well when the test process is killed with -9. Process 1 takes everything
 * else in the lab with it, and the kernel then removes the network namespaces and the files on /run. There is no clean-up that could be missed,
 * and nothing is ever written outside: what must be reached from outside is reached by way of /proc/PID/root.
 *
 * The user namespace is used by root too, so that the lab is the same for everybody and cannot touch the machine.
 */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { waitFor } from './wait.js';

export interface RunResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface LabProcess {
  /** As seen from outside the lab: fit for process.kill. */
  readonly pid: number;
  /** stdin, stdout and stderr are pipes. */
  readonly child: ChildProcess;
  /** Never rejects. */
  readonly exited: Promise<{ readonly code: number | null; readonly signal: NodeJS.Signals | null }>;
  /** False when it had gone already. */
  kill(signal: NodeJS.Signals): boolean;
}

export interface Anchor {
  /** Process 1 of the lab, as seen from outside. */
  readonly pid: number;
  /** The lab's file system as seen from outside; only /run differs. */
  readonly root: string;
  /** Runs a command to its end. Host '' is the anchor's own network namespace. */
  run(host: string, argv: readonly string[], input?: string): Promise<RunResult>;
  /** The same; gives stdout. @throws Error with command and stderr unless the exit code is 0 */
  text(host: string, argv: readonly string[], input?: string): Promise<string>;
  /** Starts a command that goes on; the lab's end kills it. */
  start(host: string, argv: readonly string[], environment?: Readonly<Record<string, string>>): Promise<LabProcess>;
  close(): Promise<void>;
}

const TOOLS = ['unshare', 'nsenter', 'ip', 'nft', 'conntrack', 'cat', 'tee', 'mount', 'ping'] as const;

/** Set by the runner, which has looked before the first test. */
export const LAB = 'UPLINKD_TEST_LAB';

/** Debian's package of each program that some tests need beside the lab's own. */
const PACKAGES: Readonly<Record<string, string>> = { dnsmasq: 'dnsmasq-base', udhcpc: 'udhcpc', radvd: 'radvd', python3: 'python3' };

/**
 * Why no lab can be opened here, in words for a skipped test; undefined = it can.
 * @param more programs that the test needs beside the lab's own, or devices that it must be able to write to (`/dev/net/tun`)
 */
export async function labUnavailable(...more: readonly string[]): Promise<string | undefined> {
  if (more.length === 0 && process.env[LAB] === 'yes') return undefined;
  try {
    const anchor = await openAnchor();
    try {
      const closed = await absent(anchor, more.filter((one) => one.startsWith('/')), ['test', '-w'], (code) => code !== 0);
      if (closed.length > 0) return `this user may not open ${closed.join(', ')}: run as root`;
      // env starts a program, or exits with 127 where there is none.
      const missing = await absent(anchor, [...TOOLS, ...more.filter((one) => !one.startsWith('/'))], [], (code) => code === 127);
      const packages = missing.map((tool) => PACKAGES[tool]).filter((name) => name !== undefined);
      return missing.length === 0 ? undefined : `the lab needs ${missing.join(', ')}: apt-get install iproute2 nftables conntrack iputils-ping util-linux ${packages.join(' ')}`;
    } finally {
      await anchor.close();
    }
  } catch (error) {
    return `no lab here: ${error instanceof Error ? error.message : String(error)}`;
  }
}

async function absent(anchor: Anchor, what: readonly string[], how: readonly string[], isAbsent: (code: number) => boolean): Promise<readonly string[]> {
  const found = await Promise.all(what.map((one) => anchor.run('', ['env', ...how, one, ...(how.length === 0 ? ['--help'] : [])])));
  return what.filter((_, n) => isAbsent(found[n]?.code ?? 127));
}

/** @throws Error when this user may not make namespaces here */
export async function openAnchor(): Promise<Anchor> {
  const spaces = ['--net', '--mount', '--pid'];
  const tries = [['--user', ...spaces], ...(process.getuid?.() === 0 ? [spaces] : [])];
  const refusals: string[] = [];
  for (const flags of tries) {
    const anchor = await hold(flags);
    if (typeof anchor === 'string') refusals.push(anchor);
    else return anchor;
  }
  throw new Error(`this system gives no namespaces to this user (${refusals.join('; ')}); as root, or with kernel.unprivileged_userns_clone=1, it does`);
}

/** The anchor, or why not. */
async function hold(flags: readonly string[]): Promise<Anchor | string> {
  const user = flags.includes('--user');
  const argv = [...flags, ...(user ? ['--map-root-user'] : []), '--mount-proc', '--fork', '--kill-child=KILL', '--', 'cat'];
  const child = spawn('unshare', argv, { stdio: ['pipe', 'pipe', 'pipe'], env: ownEnvironment() });
  const complaints = collect(child.stderr);
  const gone = new Promise<void>((resolve) => {
    child.once('error', () => resolve());
    child.once('close', () => resolve());
  });
  // The echo of one byte tells that every namespace stands and `cat` runs.
  const echoed = new Promise<true>((resolve) => child.stdout.once('data', () => resolve(true)));
  child.stdin.on('error', () => undefined); // an early end shows as `gone`
  child.stdin.write('.');
  if ((await Promise.race([echoed, gone])) !== true) return complaints().trim() || 'unshare could not be run';
  const pid = await onlyChildOf(child);
  const enter = [`--target=${pid}`, ...(user ? ['--user', '--preserve-credentials'] : []), ...flags.filter((flag) => flag !== '--user'), '--'];
  const anchor = waysInto(pid, enter, async () => {
    child.stdin.end();
    await gone;
  });
  const mounted = await anchor.run('', ['mount', '-t', 'tmpfs', 'tmpfs', '/run']);
  if (mounted.code === 0) return anchor;
  await anchor.close();
  return mounted.stderr.trim();
}

function waysInto(pid: number, enter: readonly string[], close: () => Promise<void>): Anchor {
  const root = `/proc/${pid}/root`;
  const argvFor = (host: string, argv: readonly string[]): string[] => [...enter, ...(host === '' ? [] : ['ip', 'netns', 'exec', host]), ...argv];
  /** `ip netns exec` mounts another /sys each time, which costs more than most programs that are run to their end, and none of them reads it. */
  const quickArgvFor = (host: string, argv: readonly string[]): string[] =>
    (host === '' ? argvFor(host, argv) : [...enter.map((one) => (one === '--net' ? `--net=${root}/run/netns/${host}` : one)), ...argv]);
  const run = (host: string, argv: readonly string[], input = ''): Promise<RunResult> =>
    new Promise((resolve, reject) => {
      const child = spawn('nsenter', quickArgvFor(host, argv), { stdio: ['pipe', 'pipe', 'pipe'], env: ownEnvironment() });
      const stdout = collect(child.stdout);
      const stderr = collect(child.stderr);
      child.once('error', reject);
      child.once('close', (code) => resolve({ code: code ?? -1, stdout: stdout(), stderr: stderr() }));
      child.stdin.on('error', () => undefined); // a command may end without reading its input; its exit code tells
      child.stdin.end(input);
    });
  return {
    pid,
    root,
    run,
    async text(host, argv, input) {
      const result = await run(host, argv, input);
      if (result.code !== 0) throw new Error(`${host || 'anchor'}: ${argv.join(' ')} → exit code ${result.code}: ${result.stderr.trim() || result.stdout.trim()}`);
      return result.stdout;
    },
    async start(host, argv, environment = {}) {
      const child = spawn('nsenter', argvFor(host, argv), { stdio: ['pipe', 'pipe', 'pipe'], env: { ...ownEnvironment(), ...environment } });
      const exited = new Promise<{ code: number | null; signal: NodeJS.Signals | null }>((resolve) => {
        child.once('error', () => resolve({ code: 127, signal: null }));
        child.once('exit', (code, signal) => resolve({ code, signal }));
      });
      child.stdin.on('error', () => undefined); // it ended: `exited` tells
      const inside = await onlyChildOf(child);
      return { pid: inside, child, exited, kill: (signal) => killed(inside, signal) };
    },
    close,
  };
}

/** nsenter and unshare fork once, to come into the pid namespace: the pid of that one child, as seen from outside; 0 when all is over already. */
async function onlyChildOf(parent: ChildProcess): Promise<number> {
  const pid = parent.pid ?? 0;
  const over = (): boolean => parent.pid === undefined || parent.exitCode !== null || parent.signalCode !== null;
  const look = (): string => (over() ? '0' : readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim());
  const children = await waitFor(`process ${pid} has forked`, look, (text) => text !== '', { everyMs: 1, timeoutMs: 10_000 });
  return Number(children.split(' ')[0]);
}

function killed(pid: number, signal: NodeJS.Signals): boolean {
  if (pid === 0) return false;
  try {
    return process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false;
    throw error;
  }
}

/** Without what makes a child believe that it is a part of the test runner, and with the folders where Debian keeps `ip` and `nft` out of users' sight. */
function ownEnvironment(): NodeJS.ProcessEnv {
  return { ...process.env, NODE_TEST_CONTEXT: undefined, NODE_OPTIONS: undefined, PATH: `${process.env['PATH'] ?? '/usr/bin:/bin'}:/usr/sbin:/sbin` };
}

function collect(stream: NodeJS.ReadableStream): () => string {
  let text = '';
  stream.setEncoding('utf8');
  stream.on('data', (chunk: string) => (text += chunk));
  return () => text;
}
