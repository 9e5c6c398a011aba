/** What survives a restart: overrides in wall time, slots, and generations that count on. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { openMemory } from '../src/memory.js';
import type { Instant, Override } from '../src/model.js';

const UNKNOWN = (): { id: string; ms: number } => ({ id: '', ms: 0 });
const at = (ms: number): Instant => ms as Instant;
const override = (more: Partial<Override> = {}): Override => ({
  uplink: 'lte', until: at(61_000), confirmBy: undefined, reason: 'splicing', by: 'root@unix', since: at(1000), ifDead: 'fall-through', ...more,
});

test('an override survives a restart with the time that is left of it', (t) => {
  const dir = directory(t);
  openMemory(dir, { now: () => at(1000), wall: () => 1_000_000, boot: UNKNOWN }, fail).save({ override: override() });
  // Another process: its monotonic clock began anew; ten seconds have passed.
  const kept = openMemory(dir, { now: () => at(50), wall: () => 1_010_000, boot: UNKNOWN }, fail).override();
  assert.deepEqual(kept, override({ since: at(50 - 10_000), until: at(50 + 50_000) }));
});

test('an override whose time ran out meanwhile is gone', (t) => {
  const dir = directory(t);
  openMemory(dir, { now: () => at(1000), wall: () => 1_000_000, boot: UNKNOWN }, fail).save({ override: override() });
  assert.equal(openMemory(dir, { now: () => at(0), wall: () => 1_060_001, boot: UNKNOWN }, fail).override(), undefined);
});

test('an override without an end, and one that was dropped', (t) => {
  const dir = directory(t);
  const clock = { now: () => at(0), wall: () => 5_000_000, boot: UNKNOWN };
  const memory = openMemory(dir, clock, fail);
  memory.save({ override: override({ until: undefined, since: at(0) }) });
  assert.equal(openMemory(dir, clock, fail).override()?.until, undefined);
  assert.equal(openMemory(dir, clock, fail).override()?.uplink, 'lte');
  memory.save({ override: undefined });
  assert.equal(openMemory(dir, clock, fail).override(), undefined);
});

test('saving slots keeps the override, and the other way round', (t) => {
  const dir = directory(t);
  const clock = { now: () => at(0), wall: () => 5_000_000, boot: UNKNOWN };
  const memory = openMemory(dir, clock, fail);
  memory.save({ override: override({ until: undefined }) });
  memory.save({ slots: new Map([['lte', 66]]) });
  const next = openMemory(dir, clock, fail);
  assert.deepEqual([...next.slots], [['lte', 66]]);
  assert.equal(next.override()?.uplink, 'lte');
});

test('no two runs tell the same generation', (t) => {
  const dir = directory(t);
  const clock = { now: () => at(0), wall: () => 0, boot: UNKNOWN };
  const seen = [0, 1, 2].map(() => {
    const memory = openMemory(dir, clock, fail);
    memory.save({});
    return memory.generationBefore;
  });
  assert.equal(new Set(seen).size, 3);
  assert.deepEqual([...seen].sort((a, b) => a - b), seen);
});

test('a file that is broken, foreign or half-written counts as empty', (t) => {
  const dir = directory(t);
  for (const text of ['', '{', '[]', 'null', '{"slots":{"a":"x"},"override":{"uplink":7}}']) {
    writeFileSync(join(dir, 'state.json'), text);
    const memory = openMemory(dir, { now: () => at(0), wall: () => 0, boot: UNKNOWN }, () => undefined);
    assert.equal(memory.override(), undefined, text);
    assert.deepEqual([...memory.slots], [], text);
    memory.save({ slots: new Map([['a', 1]]) });
    assert.match(readFileSync(join(dir, 'state.json'), 'utf8'), /"a": 1/);
  }
});

test('a disk that takes nothing is told, and what was saved holds for this run', (t) => {
  const file = join(directory(t), 'a file');
  writeFileSync(file, '');
  const complaints: string[] = [];
  const clock = { now: () => at(0), wall: () => 5_000_000, boot: UNKNOWN };
  const memory = openMemory(join(file, 'state'), clock, (text) => complaints.push(text));
  memory.save({ override: override({ until: undefined }) });
  assert.equal(memory.override()?.uplink, 'lte');
  assert.match(complaints.join(), /^[^ ]*.*state\.json cannot be written \(ENOTDIR.*routing goes on/);
});

test('slots that were given since the start are known to the next reload', (t) => {
  const memory = openMemory(directory(t), { now: () => at(0), wall: () => 0, boot: UNKNOWN }, fail);
  memory.save({ slots: new Map([['lte', 66]]) });
  assert.deepEqual([...memory.slots], [['lte', 66]]);
});

function fail(complaint: string): void {
  assert.fail(complaint);
}

function directory(t: TestContext): string {
  const dir = mkdtempSync(join(tmpdir(), 'uplinkd-memory-'));
  t.after(() => rmSync(dir, { recursive: true }));
  return dir;
}
