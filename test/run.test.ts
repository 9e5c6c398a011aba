/**
 * The runner itself: a run that is interrupted in the middle of a story leaves no process behind, and so no namespace and no file on its tmpfs.
 * Whatever belongs to that run bears a mark in its environment, by which it is found wherever it went.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { labUnavailable, waitFor } from './lab/lab.js';

const skip = (await labUnavailable()) ?? false;
const RUNNER = fileURLToPath(new URL('run.js', import.meta.url));
const CONTAINED = 'UPLINKD_TEST_CONTAINED';

for (const signal of ['SIGINT', 'SIGTERM', 'SIGKILL'] as const) {
  test(`${signal} in the middle of a story ends everything that the run had started`, { skip }, async () => {
    const mark = randomUUID();
    const env = { ...process.env, NODE_TEST_CONTEXT: undefined, [CONTAINED]: undefined, UPLINKD_TEST_MARK: mark };
    const runner = spawn(process.execPath, [RUNNER, 'failover/cable'], { env, stdio: 'ignore' });
    const exited = new Promise<number | null>((resolve) => runner.once('exit', (code) => resolve(code)));
    const isDaemon = (command: string): boolean => /bin\/uplinkd\.js\0run\0/.test(command);
    await waitFor('a daemon runs in a lab of that run', () => marked(mark), (commands) => commands.some(isDaemon));
    runner.kill(signal);
    const code = await exited;
    await waitFor('nothing of that run is left', () => marked(mark), (commands) => commands.length === 0);
    assert.equal(code, { SIGINT: 130, SIGTERM: 143, SIGKILL: null }[signal]);
  });
}

/** The command lines of all processes that bear the mark. */
function marked(mark: string): readonly string[] {
  return readdirSync('/proc').filter((name) => /^\d+$/.test(name)).flatMap((pid) => {
    try {
      const environment = readFileSync(join('/proc', pid, 'environ'), 'utf8');
      return environment.includes(`UPLINKD_TEST_MARK=${mark}`) ? [readFileSync(join('/proc', pid, 'cmdline'), 'utf8')] : [];
    } catch (error) {
      // It has just ended, or it is somebody else's.
      if (['ENOENT', 'ESRCH', 'EACCES', 'EPERM'].includes((error as NodeJS.ErrnoException).code ?? '')) return [];
      throw error;
    }
  });
}
