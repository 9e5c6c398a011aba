/** Targets answer, connections do not: when that is a fault of the line, when it is not, and how the line is tried again. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openHealth, type Health } from '../../src/core/health.js';
import { isStillHollow, weighConnections, type Suspicion } from '../../src/core/hollow.js';
import { noteReply, noteSent } from '../../src/core/record.js';
import { noteTraffic } from '../../src/core/traffic.js';
import { at, uplinkPolicy, type LineName } from './fixture.js';

interface Pair {
  readonly fibre: Health;
  readonly cable: Health;
  /** Once a second: so many packets by group, and which groups are answered; by the line that leads. */
  pass(seconds: number, sent: readonly number[], answered?: readonly number[]): Pair;
  /** Bytes per second that come in by each device; undefined = no flowtable stands, nobody asks. */
  received: number | undefined;
  state(): readonly string[];
}

/** Both are up and their targets answer all the time; fibre leads. */
function openPair(lines: readonly LineName[] = ['fibre', 'cable'], suspect?: (health: Health) => Suspicion | undefined): Pair {
  const healths = lines.map((name) => Object.assign(openHealth(uplinkPolicy(name), 4, at(0)), { state: 'up', leads: name === 'fibre' }));
  const totals = healths.map(() => Array.from({ length: 8 }, () => ({ sent: 0, answered: 0 })));
  for (const health of healths) health.line = { ...health.line, severed: '', severedDomain: 'none' };
  const receivedBytes = healths.map(() => 0);
  let now = 0;
  const pair: Pair = {
    received: undefined, fibre: healths[0]!, cable: healths[1] ?? healths[0]!,
    pass(seconds, sent, answered = []) {
      for (let second = 0; second < seconds; second++) {
        now += 1000;
        healths.forEach((health, line) => {
          for (const record of health.records) noteReply(record, noteSent(record, health.policy.probe, at(now - 10)).seq, at(now), 10);
          const groups = totals[line]!;
          if (health.leads) groups.forEach((group, i) => { group.sent += sent[i] ?? 0; group.answered += answered.includes(i) ? (sent[i] ?? 0) : 0; });
          const count = { sentPackets: groups.reduce((sum, group) => sum + group.sent, 0), answeredPackets: groups.reduce((sum, group) => sum + group.answered, 0) };
          receivedBytes[line]! += pair.received ?? 0;
          const device = { sentBytes: 0, receivedBytes: receivedBytes[line]!, answeredBytes: 0 };
          noteTraffic(health.traffic, {
            interface: 'eth0', family: 4, ...count, sentBytes: 0, answeredBytes: 0,
            groups: groups.map((group) => ({ ...group })), ...(pair.received === undefined ? {} : { device }),
          }, at(now));
        });
        weighConnections(healths, at(now), suspect);
        // What decide.ts makes of it.
        if (pair.fibre.state === 'degraded' && healths.length > 1) [pair.fibre.leads, pair.cable.leads] = [false, true];
      }
      return pair;
    },
    state: () => healths.map((health) => `${health.state} ${health.domain}`),
  };
  return pair;
}

const MANY = [3, 3, 3, 3, 3] as const;
const WELL = ['up none', 'up none'];
const HOLLOW = ['degraded connections', 'up none'];

test('nothing comes back for long, for several destinations: a fault of the line, also where nothing ever came back', () => {
  assert.deepEqual(openPair().pass(25, MANY).state(), HOLLOW);
  assert.deepEqual(openPair().pass(60, MANY, [0, 1, 2, 3, 4]).pass(25, MANY).state(), HOLLOW);
  assert.deepEqual(openPair().pass(15, MANY).state(), WELL, 'not before 20 s');
  assert.match(openPair().pass(25, MANY).fibre.because, /^targets answer, connections do not: nothing has come back for them for 2\d/);
});

test('a cause that is known is named, and half the proof where other signs say the same', () => {
  const suspect = (isLikely: boolean) => (): Suspicion => ({ isLikely, text: '; they leave as X' });
  assert.deepEqual(openPair(undefined, suspect(true)).pass(10, [3]).state(), HOLLOW);
  assert.deepEqual(openPair(undefined, suspect(false)).pass(15, MANY).state(), WELL);
  assert.match(openPair(undefined, suspect(false)).pass(25, MANY).fibre.because, /for them for 2\d s; they leave as X$/);
});

test('what is nobody\'s fault: one-way traffic, dead servers, scans beside connections that are answered; a line alone', () => {
  assert.deepEqual(openPair().pass(120, [50]).state(), WELL, 'one destination');
  assert.deepEqual(openPair().pass(120, [50, 5]).state(), WELL, 'two');
  assert.deepEqual(openPair().pass(120, [9, 9, 9, 9, 9, 9, 9, 1], [7]).state(), WELL, 'a scan, while one destination is answered');
  assert.deepEqual(openPair().pass(60, [9, 9, 9, 9, 9, 9, 9, 1], [7]).pass(120, [9, 9, 9, 9, 9, 9, 9, 0]).state(), WELL, 'and when that one has ended');
  assert.deepEqual(openPair(['fibre']).pass(120, MANY).state(), ['up none'], 'there is nobody better');
});

test('a few packets that ask for nothing more are no steady asking', () => {
  assert.deepEqual(openPair().pass(1, MANY).pass(9, []).pass(1, MANY).pass(9, []).pass(1, MANY).pass(9, []).state(), WELL);
});

test('connections get no answers by the other line either: the first one is cleared, and nobody is accused for an hour', () => {
  const pair = openPair().pass(25, MANY);
  assert.deepEqual(pair.state(), HOLLOW);
  assert.deepEqual(pair.pass(30, MANY).state(), WELL);
  assert.equal(pair.fibre.because, 'connections get no answers by cable either');
  assert.deepEqual(pair.pass(3000, MANY).state(), WELL);
});

test('it is tried again after five minutes, after twice as long the next time, and at once when answers come', () => {
  const pair = openPair().pass(25, MANY).pass(200, MANY, [0, 1, 2, 3, 4]);
  const { fibre } = pair;
  const after = (seconds: number): boolean => isStillHollow(fibre, at(fibre.since + 1000 * seconds));
  assert.deepEqual([after(299), after(301)], [true, false]);
  fibre.traffic.unanswered.times = 2;
  assert.deepEqual([after(599), after(601)], [true, false]);
  fibre.traffic.answeredAt = at(fibre.since + 1);
  assert.equal(after(10), false);
});

test('a flowtable may carry the answers: no fault while much comes in that nobody counts, nor once it begins', () => {
  const carried = Object.assign(openPair(), { received: 1_000_000 });
  assert.deepEqual(carried.pass(120, MANY).state(), WELL);
  carried.received = 1000;
  assert.deepEqual(carried.pass(25, MANY).state(), HOLLOW, 'some frames are none');
  const { fibre } = carried;
  assert.equal(isStillHollow(fibre, at(fibre.since + 10_000)), true);
  carried.received = 1_000_000;
  carried.pass(2, MANY);
  assert.equal(isStillHollow(fibre, at(fibre.since + 10_000)), false);
});
