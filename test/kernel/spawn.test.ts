/** Programs that do not end: stopped, told once, left alone for a while; and all of them ended when the daemon stops. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { programs, run } from '../../src/kernel/spawn.js';

/** A limit for those that shall be stopped, and one that nobody comes to. */
const [SOON_MS, NEVER_MS] = [300, 600_000] as const;

/** The shell stays, with a child of its own that holds its output, as a wrapper script does. */
function hanging(t: TestContext, name: string): string[] {
  const dir = mkdtempSync(join(tmpdir(), 'uplinkd-spawn-'));
  const path = process.env['PATH'];
  const told: string[] = [];
  process.env['PATH'] = `${dir}:${path ?? ''}`;
  programs.onStuck = (text) => told.push(text);
  t.after(() => {
    process.env['PATH'] = path;
    programs.onStuck = () => undefined;
    programs.resume(Infinity);
    rmSync(dir, { recursive: true });
  });
  writeFileSync(join(dir, name), '#!/bin/sh\nsleep 30\necho too late\n', { mode: 0o755 });
  return told;
}

test('one that hangs is stopped and told, and the next time it is not waited for; others are started', async (t) => {
  const told = hanging(t, 'hangs-once');
  programs.resume(SOON_MS);
  const first = await run('hangs-once', ['-f', '-'], 'input');
  assert.deepEqual([first.ok, first.missing], [false, false]);
  assert.match(first.error, /hangs-once did not finish within 300 ms/);
  assert.deepEqual(told, ['hangs-once did not finish within 300 ms (hangs-once -f -); it was stopped, and what needs it has to wait: look what it waits for']);
  programs.resume(NEVER_MS);
  assert.match((await run('hangs-once', [])).error, /was not started: it did not finish a moment ago/);
  assert.deepEqual(await run('echo', ['well']), { ok: true, missing: false, stdout: 'well\n', error: '' });
  assert.equal(told.length, 1);
});

test('who asks with less patience says nothing of the program', async (t) => {
  const told = hanging(t, 'slow-for-some');
  assert.match((await run('slow-for-some', [], '', SOON_MS)).error, /did not finish within 300 ms/);
  assert.deepEqual(told, []);
  programs.resume(SOON_MS);
  assert.match((await run('slow-for-some', [])).error, /did not finish/, 'it was started again');
});

test('an end stops what runs at once and starts nothing more, until they are started again', async (t) => {
  const told = hanging(t, 'in-the-way');
  const running = run('in-the-way', [], '', NEVER_MS);
  programs.end();
  assert.match((await running).error, /in-the-way was stopped: uplinkd is stopping/);
  assert.match((await run('echo', ['well'])).error, /echo was not started: uplinkd is stopping/);
  programs.resume(Infinity);
  assert.equal((await run('echo', ['well'])).ok, true);
  assert.deepEqual(told, []);
});
