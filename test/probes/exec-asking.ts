/** What the tests of the method `exec` share: a line on the loopback device, questions, scripts that everybody may run, and who is alive. */
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync, chmodSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Instant, ProbeLine } from '../../src/model.js';
import { ownGroup } from '../../src/probes/exec-cgroup.js';
import { openExec, type ExecAsker } from '../../src/probes/exec.js';
import { deadline } from '../lab/wait.js';

export interface Answer {
  /** `answered`, or the cause of a lost probe. */
  readonly what: string;
  readonly error: string;
  readonly rttMs: number;
}

/** `lo` exists everywhere and leads nowhere. */
export const LOOPBACK: ProbeLine = { uplink: 'fibre', family: 4, interface: 'lo', ifindex: 1, source: '127.0.0.1', gateway: '192.0.2.1', mark: 0x1a0000 };

export function openAsker(line: ProbeLine = LOOPBACK): ExecAsker {
  return openExec(line, now);
}

/** A limit at which a program is killed, and before which a slow machine has started it. */
export const LIMIT_MS = deadline() / 20;

let seq = 0;

/** Never resolves when nothing is reported. */
export function ask(asker: ExecAsker, program: string, args: readonly string[] = [], limitMs = deadline()): Promise<Answer> {
  return new Promise((resolve) => {
    const target = { kind: 'exec', id: `exec ${program} ${args.join(' ')}`, host: '', program, args, limitMs, families: [4], intervalMs: undefined } as const;
    asker.ask({
      order: { uplink: 'fibre', family: 4, target, address: '', seq: ++seq },
      answered: (_at, rttMs) => resolve({ what: 'answered', error: '', rttMs }),
      lost: (_at, cause, error) => resolve({ what: cause, error, rttMs: NaN }),
    });
  });
}

/** Without the note that a machine may add which cannot pin. */
export function said(answer: Answer): string {
  return `${answer.what} ${answer.error.replace(' (it ran unpinned, by the default route)', '')}`.trim();
}

/** A directory that everybody may write to. */
export function openDirectory(): { readonly path: string; script(name: string, text: string, mode?: number): string; read(name: string): string; close(): void } {
  const path = mkdtempSync(join(tmpdir(), 'uplinkd-exec-'));
  chmodSync(path, 0o777);
  return {
    path,
    script(name, text, mode = 0o755) {
      const file = join(path, name);
      writeFileSync(file, text);
      chmodSync(file, mode);
      return file;
    },
    read: (name) => (existsSync(join(path, name)) ? readFileSync(join(path, name), 'utf8') : ''),
    close: () => rmSync(path, { recursive: true, force: true }),
  };
}

export function isAlive(pid: number): boolean {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT' || (error as NodeJS.ErrnoException).code === 'ESRCH') return false;
    throw error;
  }
}

/** Control groups of programs of the process; of this one, unless told otherwise. */
export function groupsOf(pid = process.pid): readonly string[] {
  const own = ownGroup(readFileSync('/proc/self/mountinfo', 'utf8'), readFileSync('/proc/self/cgroup', 'utf8'));
  return own === undefined ? [] : readdirSync(own).filter((name) => new RegExp(`^uplinkd-exec-\\d+-${pid}-`).test(name));
}

export async function until(holds: () => boolean, withinMs = deadline()): Promise<boolean> {
  const giveUpAt = performance.now() + withinMs;
  while (!holds()) {
    if (performance.now() > giveUpAt) return false;
    await sleep(5);
  }
  return true;
}

function now(): Instant {
  return (Number(process.hrtime.bigint()) / 1e6) as Instant;
}
