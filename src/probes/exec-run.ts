/**
 * One run of a program, from fork to the last of its descendants.
 *
 *   daemon ──fork, new session, other user──► sh, a constant script ──exec──► setpriv ──exec──► the program
 *
 * The launcher moves itself into the run's control group before anything else happens, by writing to a descriptor that we opened. Only the child
 * can do that in time: written by us after the fork, the program might have opened sockets already, and clone3(CLONE_INTO_CGROUP) is out of
 * Node's reach. The script has no data in it; program and arguments are its "$@". It also takes back our OOMScoreAdjust=.
 *
 * Standard output and error share one pipe, which belongs to the user that the program runs as: a script may open /dev/stderr, as it could not with
 * the sockets of Node's 'pipe'. A run ends when the program does; what is left of its children is killed then, as at the time limit.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { accessSync, closeSync, constants, fchownSync } from 'node:fs';
import { Socket } from 'node:net';
import { basename, isAbsolute } from 'node:path';
import { getSystemErrorName } from 'node:util';
import { openPipe } from '../libc/process.js';
import type { Instant } from '../model.js';
import type { Confinement } from './exec-confine.js';
import type { RunGroup } from './exec-cgroup.js';

export interface RunOrder {
  readonly program: string;
  readonly args: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  readonly limitMs: number;
  readonly confinement: Confinement;
  readonly group: RunGroup | undefined;
  now(): Instant;
}

/** `unplaced`: it could not move into its control group, and so was not started. */
export type RunEnd = { readonly kind: 'answered' } | { readonly kind: 'failed' | 'prober' | 'unplaced'; readonly error: string };

export interface RunListener {
  /** Once, unless it is killed by `kill`. */
  ended(end: RunEnd, at: Instant, ranMs: number): void;
  /** Once, last: no process is left that we can reach. */
  gone(): void;
}

export interface Run {
  /** With all that it started. `ended` is not called any more. */
  kill(): void;
}

/** `$0` of the launcher, by which its own complaints are known. */
const LAUNCHER_NAME = 'uplinkd-exec';
const LAUNCHER = 'echo 0 2>/dev/null >/proc/self/oom_score_adj; if [ "$1" = join ]; then echo 0 >&3 || exit 125; exec 3>&-; fi; shift; unset PWD OLDPWD SHLVL; exec "$@"';
const UNPLACED = 125;
const NOT_STARTED: readonly (number | null)[] = [126, 127];
const OUTPUT_BYTES_KEPT = 4096;
/** To read and throw away costs us time; whoever prints more than this is ended. */
const OUTPUT_BYTES_AT_MOST = 1024 * 1024;
/** A descendant out of reach may hold the pipe open after the program has ended. */
const OUTPUT_WAIT_MS = 100;
const ERROR_LINES = 3;
const ERROR_CHARS = 300;

/** @returns undefined when it could not be started: then `ended` and `gone` have been called */
export function startRun(order: RunOrder, listener: RunListener): Run | undefined {
  const startedAt = order.now();
  const refused = refusal(order.program);
  const started = refused === '' ? launch(order) : refused;
  if (typeof started !== 'string') return follow(order, listener, started.child, started.output, startedAt);
  listener.ended({ kind: 'prober', error: started }, order.now(), 0);
  listener.gone();
  return undefined;
}

function refusal(program: string): string {
  if (!isAbsolute(program)) return `${program} is not a whole path: write it out, from / on`;
  try {
    accessSync(program, constants.X_OK);
    return '';
  } catch (error) {
    const code = codeOf(error);
    if (code === 'ENOENT' || code === 'ENOTDIR') return `there is no program ${program} (${code}): install it, or correct the target in the config`;
    return `${program} cannot be executed (${code}): type chmod 755 ${program}, and let everybody into the directories above it`;
  }
}

interface Launched {
  readonly child: ChildProcess;
  readonly output: Socket;
}

/** @returns the process, or why there is none */
function launch({ program, args, environment, confinement, group }: RunOrder): Launched | string {
  const pipe = openPipe();
  if (typeof pipe === 'number') return `${program} cannot be started: no pipe (${getSystemErrorName(pipe)})`;
  let entry: number | undefined;
  try {
    if (confinement.user !== undefined) fchownSync(pipe.writes, confinement.user.uid, confinement.user.gid);
    entry = group?.openEntry();
    const child = spawn('/bin/sh', ['-c', LAUNCHER, LAUNCHER_NAME, entry === undefined ? 'stay' : 'join', ...confinement.prefix, program, ...args], {
      cwd: '/', env: { ...environment }, detached: true, ...confinement.user,
      stdio: ['ignore', pipe.writes, pipe.writes, ...(entry === undefined ? [] : [entry])],
    });
    return { child, output: new Socket({ fd: pipe.reads, readable: true, writable: false }) };
  } catch (error) {
    closeSync(pipe.reads);
    return startFailure(program, confinement.as, error);
  } finally {
    closeSync(pipe.writes);
    if (entry !== undefined) closeSync(entry);
  }
}

function startFailure(program: string, as: string, error: unknown): string {
  const advice: Readonly<Record<string, string>> = { EAGAIN: ': too many processes, raise TasksMax= of the service', EPERM: ': the service needs CAP_SETUID and CAP_SETGID', ENOENT: ': /bin/sh is missing' };
  return `${program} cannot be started as ${as} (${codeOf(error)})${advice[codeOf(error)] ?? ''}`;
}

function follow(order: RunOrder, listener: RunListener, child: ChildProcess, output: Socket, startedAt: Instant): Run {
  const { program, limitMs, confinement, group, now } = order;
  const kept: Buffer[] = [];
  let bytes = 0;
  let told = false;
  let alive = child.pid !== undefined;

  const tell = (end: RunEnd, at: Instant): void => {
    if (told) return;
    told = true;
    clearTimeout(limit);
    listener.ended(end, at, at - startedAt);
  };
  const killAll = (): void => {
    group?.kill();
    if (child.pid !== undefined) killSession(child.pid);
  };
  const said = (): string => firstLines(Buffer.concat(kept).toString('utf8', 0, OUTPUT_BYTES_KEPT));
  const giveUp = (why: string): void => {
    if (!alive) return;
    killAll();
    tell({ kind: 'failed', error: sentence(`${basename(program)}: ${why}`, said()) }, now());
  };
  // The poll phase comes between the two: an end that lies unread is not a late one.
  const limit = setTimeout(() => setImmediate(() => giveUp(`killed after ${limitMs / 1000} s`)), limitMs).unref();

  output.on('data', (chunk: Buffer) => {
    if (bytes < OUTPUT_BYTES_KEPT) kept.push(Buffer.from(chunk.subarray(0, OUTPUT_BYTES_KEPT - bytes)));
    bytes += chunk.length;
    if (bytes > OUTPUT_BYTES_AT_MOST) giveUp('printed more than 1 MiB and was killed');
  });
  output.on('error', () => output.destroy()); // what was read till then is what it said
  child.on('error', (error) => {
    if (alive) return; // a signal that could not be delivered; there is no process where it was the start that failed
    tell({ kind: 'prober', error: startFailure(program, confinement.as, error) }, now());
    output.destroy();
    listener.gone();
  });
  child.on('exit', (code, signal) => {
    const at = now();
    killAll();
    alive = false;
    const finish = (): void => {
      clearTimeout(wait);
      output.removeAllListeners('close');
      output.destroy();
      tell(endOf(order, code, signal, said()), at);
      listener.gone();
    };
    const wait = setTimeout(finish, OUTPUT_WAIT_MS);
    if (code === 0 || told || output.closed) finish();
    else output.on('close', finish);
  });

  return {
    kill() {
      told = true;
      clearTimeout(limit);
      if (alive) killAll();
    },
  };
}

function endOf({ program, confinement: { as }, group }: RunOrder, code: number | null, signal: NodeJS.Signals | null, said: string): RunEnd {
  if (code === 0) return { kind: 'answered' };
  const byLauncher = said.startsWith(`${LAUNCHER_NAME}: `) || said.startsWith('setpriv: ');
  if (code === UNPLACED && byLauncher && group !== undefined) return { kind: 'unplaced', error: said };
  if (NOT_STARTED.includes(code) && byLauncher) {
    return { kind: 'prober', error: `${program} cannot be executed as ${as} (${said}): it needs mode 755, open directories above it, and the interpreter of its #! line` };
  }
  return { kind: 'failed', error: sentence(`${basename(program)}: ${signal === null ? `exit ${String(code)}` : `ended by ${signal}`}`, said) };
}

function sentence(what: string, said: string): string {
  return said === '' ? what : `${what}: ${said}`;
}

/** Fit for one line of a log and for a terminal. */
function firstLines(text: string): string {
  const lines = text.split(/[\r\n]+/).map((line) => line.replace(/[^\P{C}]+/gu, ' ').replace(/\s+/g, ' ').trim()).filter((line) => line !== '');
  return lines.slice(0, ERROR_LINES).join(' / ').slice(0, ERROR_CHARS);
}

/** The program is the leader of its session and process group. */
function killSession(pid: number): void {
  try {
    process.kill(-pid, 'SIGKILL');
  } catch (error) {
    // EPERM: root without CAP_KILL; the control group has seen to it.
    if (!['ESRCH', 'EPERM'].includes(codeOf(error))) throw error;
  }
}

function codeOf(error: unknown): string {
  return (error as NodeJS.ErrnoException).code ?? String(error);
}
