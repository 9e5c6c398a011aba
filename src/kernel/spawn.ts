/**
 * The one place that starts programs (nft, iptables-save, ...): argument arrays only, never a shell;
 * every run has a time limit and a bounded output; what went wrong comes back as text, not as an exception.
 *
 * A program that does not end is stopped, told at once, and left alone for a while: what else there is to be done does not wait for
 * it a second time. Whoever stops the daemon can end all that runs (`programs.end`).
 *
 * Not for the path of a switch: starting a process blocks the loop for a millisecond or more.
 */
import { execFile } from 'node:child_process';
import { setMaxListeners } from 'node:events';

export interface Ran {
  readonly ok: boolean;
  /** The program is not installed (or not on the PATH and not in /usr/sbin). */
  readonly missing: boolean;
  readonly stdout: string;
  /** '' when ok, else one line for people: program, what it said, exit code. */
  readonly error: string;
}

/** iptables waits up to 5 s for its lock. */
const TIMEOUT_MS = 10_000;
/** Longer than the slow half is asked for again, so that one that hangs does not hold up every second turn. */
const LEFT_ALONE_MS = 30_000;
/** A node of a large cluster has 100,000 iptables rules of some 150 bytes. */
const OUTPUT_BYTES_AT_MOST = 64 * 1024 * 1024;
const ERROR_CHARS_AT_MOST = 400;
/** Of child_process. */
const TOO_LONG = 'ERR_CHILD_PROCESS_STDIO_MAXBUFFER';
const STOPPED = 'ABORT_ERR';

/** All programs that are started here. */
export const programs = {
  /** Told which one did not end, in words for people. */
  onStuck: (text: string): void => void text,
  /** Ends those that run, and starts no more. */
  end(): void {
    ended = true;
    ending.abort();
  },
  /** Starts programs again, with less time for each. */
  resume(limitMs: number): void {
    ended = false;
    ending = newEnding();
    timeLimitMs = limitMs;
  },
};

/** Does what programs are asked for take longer than that? Answers as soon as it is known. */
export async function takesLonger(asked: Promise<unknown>, thanMs: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const slow = new Promise<boolean>((resolve) => { timer = setTimeout(resolve, thanMs, true); });
  return Promise.race([asked.then(() => false), slow]).finally(() => clearTimeout(timer));
}

let ended = false;
let ending = newEnding();
let timeLimitMs = Infinity;
/** When those that did not end may be tried again. */
const leftAlone = new Map<string, number>();

/** Some ten programs run at the same time. */
function newEnding(): AbortController {
  const controller = new AbortController();
  setMaxListeners(100, controller.signal);
  return controller;
}

/** Runs `program` to its end with `stdin` as its input. Never rejects. */
export function run(program: string, args: readonly string[], stdin = '', patienceMs = TIMEOUT_MS): Promise<Ran> {
  const timeoutMs = Math.min(patienceMs, timeLimitMs);
  if (ended) return Promise.resolve({ ok: false, missing: false, stdout: '', error: `${program} was not started: uplinkd is stopping` });
  if (performance.now() < (leftAlone.get(program) ?? 0)) {
    return Promise.resolve({ ok: false, missing: false, stdout: '', error: `${program} was not started: it did not finish a moment ago, and is left alone for ${LEFT_ALONE_MS / 1000} s` });
  }
  return new Promise((resolve) => {
    const options = {
      encoding: 'utf8',
      signal: ending.signal,
      timeout: timeoutMs,
      killSignal: 'SIGKILL',
      maxBuffer: OUTPUT_BYTES_AT_MOST,
      env: { ...process.env, LC_ALL: 'C', PATH: `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin:/usr/bin:/bin` },
    } as const;
    const child = execFile(program, args, options, (failure, stdout, stderr) => {
      if (failure === null) leftAlone.delete(program);
      // Who has less patience says nothing of the program.
      else if (failure.killed === true && failure.code !== STOPPED && failure.code !== TOO_LONG && patienceMs === TIMEOUT_MS) noteStuck(program, args, timeoutMs);
      if (failure === null) resolve({ ok: true, missing: false, stdout, error: '' });
      else resolve({ ok: false, missing: failure.code === 'ENOENT', stdout, error: complaint(program, failure, stderr, timeoutMs) });
    });
    // A program that ends before it read its input (EPIPE) says why with its exit code.
    child.stdin?.on('error', () => undefined);
    child.stdin?.end(stdin);
  });
}

function noteStuck(program: string, args: readonly string[], timeoutMs: number): void {
  const isNews = !leftAlone.has(program);
  leftAlone.set(program, performance.now() + LEFT_ALONE_MS);
  if (isNews) programs.onStuck(`${program} did not finish within ${timeoutMs} ms (${[program, ...args].join(' ').slice(0, ERROR_CHARS_AT_MOST)}); it was stopped, and what needs it has to wait: look what it waits for`);
}

function complaint(program: string, failure: Error & { code?: number | string | null; killed?: boolean }, stderr: string, timeoutMs: number): string {
  if (failure.code === 'ENOENT') return `${program} is not installed`;
  if (failure.code === STOPPED) return `${program} was stopped: uplinkd is stopping`;
  if (failure.code === TOO_LONG) return `${program} printed more than ${OUTPUT_BYTES_AT_MOST} bytes`;
  if (failure.killed === true) return `${program} did not finish within ${timeoutMs} ms`;
  const said = stderr.replace(/\s+/g, ' ').trim().slice(0, ERROR_CHARS_AT_MOST);
  return `${program}: ${said === '' ? failure.message : said} (exit ${failure.code ?? 'by a signal'})`;
}
