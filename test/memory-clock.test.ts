/** Times over a restart when the wall clock cannot be trusted, and a state file whose content cannot. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { openMemory, type Memory } from '../src/memory.js';
import type { Instant, Override } from '../src/model.js';

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const YEAR = 365 * DAY;
/** When the stories are told, by a clock that is right. */
const TODAY = Date.UTC(2026, 4, 1);

/** One machine: its clocks, and processes that begin and end on it. */
interface Machine {
  wall: number;
  boot: string;
  /** Since boot. */
  ms: number;
  readonly file: string;
  readonly complaints: readonly string[];
  pass(ms: number): void;
  /** The clock shows what the hardware remembers: nothing. */
  reboot(boot: string, wall: number): void;
  /** A process begins; its monotonic clock begins anew. */
  start(): Run;
}

interface Run {
  readonly memory: Memory;
  /** What is left of the override, and how long it has stood, hours; undefined = there is none. */
  left(override?: Override): readonly [left: number | undefined, stood: number] | undefined;
  order(forHours: number | undefined): void;
}

function machine(t: TestContext): Machine {
  const dir = mkdtempSync(join(tmpdir(), 'uplinkd-clock-'));
  t.after(() => rmSync(dir, { recursive: true }));
  const complaints: string[] = [];
  const box: Machine = {
    wall: TODAY, boot: 'first', ms: 10 * HOUR, file: join(dir, 'state.json'), complaints,
    pass(ms) { box.wall += ms; box.ms += ms; },
    reboot(boot, wall) { Object.assign(box, { boot, wall, ms: 20_000 }); },
    start() {
      const begunAt = box.ms;
      const now = (): Instant => (box.ms - begunAt) as Instant;
      const memory = openMemory(dir, { now, wall: () => box.wall, boot: () => ({ id: box.boot, ms: box.ms }) }, (text) => complaints.push(text));
      return {
        memory,
        left(override = memory.override()) {
          if (override === undefined) return undefined;
          return [override.until === undefined ? undefined : (override.until - now()) / HOUR, (now() - override.since) / HOUR];
        },
        order(forHours) {
          const until = forHours === undefined ? undefined : ((now() + forHours * HOUR) as Instant);
          memory.save({ override: { uplink: 'lte', until, confirmBy: undefined, reason: '', by: 'noc', since: now(), ifDead: 'obey' } });
        },
      };
    },
  };
  return box;
}

test('within one boot whoever sets the clock moves nothing, forth or back', (t) => {
  const box = machine(t);
  box.start().order(2);
  box.pass(HOUR / 2);
  for (const wall of [box.wall + 10 * YEAR, 0, box.wall - 10 * YEAR]) {
    box.wall = wall;
    assert.deepEqual(box.start().left(), [1.5, 0.5]);
  }
  box.pass(1.5 * HOUR);
  assert.equal(box.start().left(), undefined);
});

test('a clock that is behind after a boot lengthens nothing, and when it is set the end is right', (t) => {
  const box = machine(t);
  box.start().order(2);
  box.pass(HOUR);
  box.reboot('second', 0);
  const run = box.start();
  assert.deepEqual(run.left(), [2, 0], 'nobody knows how long it was off: as if no time had passed');
  run.memory.save({ slots: new Map([['lte', 66]]) });
  box.wall = TODAY + 1.25 * HOUR;
  assert.deepEqual(run.left(run.memory.clockSet()), [0.75, 1.25]);
  box.wall = TODAY + 1.5 * HOUR;
  assert.deepEqual(run.left(run.memory.clockSet()), [0.5, 1.5], 'set twice');
  box.wall = TODAY + 3 * HOUR;
  assert.equal(run.memory.clockSet(), undefined, 'over long since');
});

test('what was ordered while the clock was wrong has its right end in the file as soon as the clock is set', (t) => {
  const box = machine(t);
  box.reboot('second', 0);
  const run = box.start();
  run.order(2);
  box.pass(HOUR / 2);
  box.wall = TODAY;
  assert.deepEqual(run.left(run.memory.clockSet()), [1.5, 0.5]);
  box.reboot('third', TODAY + HOUR / 2);
  assert.deepEqual(box.start().left(), [1, 1]);
});

test('a clock that was ahead when the order was given makes no order of years', (t) => {
  const box = machine(t);
  box.wall += 10 * YEAR;
  box.start().order(2);
  box.reboot('second', TODAY);
  assert.deepEqual(box.start().left(), [2, 0]);
});

test('nothing lasts longer than an override may, and nothing began in the future', (t) => {
  const box = machine(t);
  const kept = { uplink: 'lte', reason: '', by: 'noc', ifDead: 'obey' };
  writeFileSync(box.file, JSON.stringify({ starts: 1, slots: {}, override: { ...kept, since: TODAY - DAY, until: TODAY + YEAR } }));
  assert.deepEqual(box.start().left(), [30 * 24, 24], 'of a former version, or by hand');
  writeFileSync(box.file, JSON.stringify({ starts: 1, slots: {}, override: { ...kept, since: TODAY + YEAR } }));
  assert.deepEqual(box.start().left(), [undefined, 0]);
});

test('numbers and words that nobody wrote are not believed', (t) => {
  const box = machine(t);
  const good = { uplink: 'lte', reason: '', by: 'noc', ifDead: 'obey', since: TODAY - DAY };
  const opened = (content: object): Memory => {
    writeFileSync(box.file, JSON.stringify({ starts: 1, slots: {}, ...content }).replaceAll('"INFINITE"', '1e999'));
    return box.start().memory;
  };
  const bad = [
    { since: 1e300 }, { since: -1e300 }, { since: 'INFINITE' }, { since: '1' }, { until: 1e300 }, { until: null }, { until: 'INFINITE' }, { confirmBy: -1e300 }, { uplink: '' },
    { uplink: 7 }, { reason: {} }, { by: 7 }, { by: 'x'.repeat(100_000) }, { ifDead: 'perhaps' }, { ifDead: undefined },
  ];
  for (const [i, change] of bad.entries()) {
    assert.equal(opened({ override: { ...good, ...change } }).override(), undefined, JSON.stringify(change).slice(0, 60));
    assert.equal(box.complaints.length, i + 1);
    assert.match(box.complaints[i]!, /state\.json holds an override that cannot be read; it is dropped/);
  }
  const ancient = opened({ override: { ...good, since: -8.64e15 } }).override()!;
  assert.ok(!Number.isNaN(new Date(TODAY + ancient.since).getTime()), 'a calendar can show it');
  assert.equal(opened({ override: { ...good, writtenAt: 1e300, boot: { id: 'first', beganAt: 'INFINITE' } } }).override()?.uplink, 'lte', 'without the help of a boot');
  for (const starts of [9e15, -1, 1.5, 1e300, '7', null]) assert.equal(opened({ starts }).generationBefore, 0, String(starts));
  assert.ok(Number.isSafeInteger(opened({ starts: 1e9 }).generationBefore + 999_999));
  assert.deepEqual([...opened({ slots: { a: 1, b: 0, c: 127, d: 1e300, e: '5', f: 1.5, g: 126 } }).slots], [['a', 1], ['g', 126]]);
  assert.deepEqual([...opened({ slots: [1, 2] }).slots], []);
  assert.doesNotThrow(() => JSON.parse(readFileSync(box.file, 'utf8')));
});
