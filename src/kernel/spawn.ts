/**
 * The one place that starts programs (nft, iptables-save, ...): argument arrays only, never a shell;
 * every run has a time limit and a bounded output; what went wrong comes back as text, not as an exception.
 *
 * Not for the path of a switch: starting a process blocks the loop for a millisecond or more.
 */
import { execFile } from 'node:child_process';

export interface Ran {
  readonly ok: boolean;
  /** The program is not installed (or not on the PATH and not in /usr/sbin). */
  readonly missing: boolean;
  readonly stdout: string;
  /** '' when ok, else one line for people: program, what it said, exit code. */
  readonly error: string;
}

const TIMEOUT_MS = 20_000;
/** A node of a large cluster has 100,000 iptables rules of some 150 bytes. */
const OUTPUT_BYTES_AT_MOST = 64 * 1024 * 1024;
const ERROR_CHARS_AT_MOST = 400;

/** Runs `program` to its end with `stdin` as its input. Never rejects. */
export function run(program: string, args: readonly string[], stdin = '', timeoutMs = TIMEOUT_MS): Promise<Ran> {
  return new Promise((resolve) => {
    const options = {
      encoding: 'utf8',
      timeout: timeoutMs,
      killSignal: 'SIGKILL',
      maxBuffer: OUTPUT_BYTES_AT_MOST,
      env: { ...process.env, LC_ALL: 'C', PATH: `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin:/usr/bin:/bin` },
    } as const;
    const child = execFile(program, args, options, (failure, stdout, stderr) => {
      if (failure === null) resolve({ ok: true, missing: false, stdout, error: '' });
      else resolve({ ok: false, missing: failure.code === 'ENOENT', stdout, error: complaint(program, failure, stderr, timeoutMs) });
    });
    // A program that ends before it read its input (EPIPE) says why with its exit code.
    child.stdin?.on('error', () => undefined);
    child.stdin?.end(stdin);
  });
}

function complaint(program: string, failure: Error & { code?: number | string | null; killed?: boolean }, stderr: string, timeoutMs: number): string {
  if (failure.code === 'ENOENT') return `${program} is not installed`;
  if (failure.code === 'ERR_CHILD_PROCESS_STDIO_MAXBUFFER') return `${program} printed more than ${OUTPUT_BYTES_AT_MOST} bytes`;
  if (failure.killed === true) return `${program} did not finish within ${timeoutMs} ms`;
  const said = stderr.replace(/\s+/g, ' ').trim().slice(0, ERROR_CHARS_AT_MOST);
  return `${program}: ${said === '' ? failure.message : said} (exit ${failure.code ?? 'by a signal'})`;
}
