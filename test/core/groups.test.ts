/** Connections by group of destinations: who vouches for whom, and when several groups together are an alarm. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hasGoneQuiet, noteTraffic, openTraffic, vouches, type Traffic } from '../../src/core/traffic.js';
import type { TrafficCount } from '../../src/model.js';
import { at } from './fixture.js';

const STEP_MS = 20;

interface Counted {
  readonly traffic: Traffic;
  readonly now: number;
  readonly alarmAt: number | undefined;
  /** Packets per second by group, and the groups that are answered. */
  pass(ms: number, rates: readonly number[], answered: readonly number[], standing?: 'usual' | 'silent'): Counted;
}

function openCounted(): Counted {
  const traffic = openTraffic(at(0));
  const total = Array.from({ length: 8 }, () => ({ sent: 0, answered: 0 }));
  let now = 0;
  let alarmAt: number | undefined;
  const counted: Counted = {
    traffic,
    get now() { return now; },
    get alarmAt() { return alarmAt; },
    pass(ms, rates, answered, standing) {
      alarmAt = undefined;
      for (const end = now + ms; now < end;) {
        now += STEP_MS;
        rates.forEach((rate, i) => {
          total[i]!.sent += (rate * STEP_MS) / 1000;
          if (answered.includes(i)) total[i]!.answered += (rate * STEP_MS) / 1000;
        });
        const groups = total.map((each) => ({ sent: Math.floor(each.sent), answered: Math.floor(each.answered) }));
        const [sentPackets, answeredPackets] = [groups.reduce((sum, { sent }) => sum + sent, 0), groups.reduce((sum, { answered: back }) => sum + back, 0)];
        const count: TrafficCount = { interface: 'eth0', family: 4, sentPackets, sentBytes: 1000 * sentPackets, answeredPackets, answeredBytes: 1000 * answeredPackets, groups };
        noteTraffic(traffic, count, at(now), standing);
        if (hasGoneQuiet(traffic, 20, at(now))) alarmAt ??= now;
      }
      return counted;
    },
  };
  return counted;
}

const FOUR = [50, 50, 50, 50] as const;
const vouch = ({ traffic, now }: Counted, forMs: number, few = true): boolean => vouches(traffic, at(now - forMs), at(now), few);

test('one lively destination of four vouches for nobody, however many packets it brings, and whoever else answers', () => {
  for (const rates of [FOUR, [1000, 50, 50, 50]]) {
    const counted = openCounted().pass(10_000, rates, [0, 1, 2, 3]);
    assert.equal(vouch(counted, 500), true, 'all are answered');
    counted.pass(600, rates, [0], 'silent');
    assert.deepEqual([vouch(counted, 500, true), vouch(counted, 500, false)], [false, false], rates.join());
  }
});

test('half is no majority, three of four are one', () => {
  assert.equal(vouch(openCounted().pass(10_000, FOUR, [0, 1, 2, 3]).pass(600, FOUR, [0, 1], 'silent'), 500), false);
  assert.equal(vouch(openCounted().pass(10_000, FOUR, [0, 1, 2, 3]).pass(600, FOUR, [0, 1, 2], 'silent'), 500), true);
});

test('who has given up for now still waits: a silent majority that asks no more is not outvoted', () => {
  const counted = openCounted().pass(10_000, FOUR, [0, 1, 2, 3]).pass(400, FOUR, [0], 'silent').pass(3000, [50], [0], 'silent');
  assert.equal(vouch(counted, 500), false);
});

test('who was never answered objects to nothing: one-way traffic, a server that has long been dead', () => {
  const counted = openCounted().pass(20_000, FOUR, [0]);
  assert.equal(vouch(counted, 500), true);
  assert.equal(openCounted().pass(10_000, FOUR, [0, 1, 2, 3]).pass(30_000, FOUR, [0, 1]).alarmAt !== undefined, false, 'and alarms nobody: half are answered');
});

test('most groups falling silent at once is an alarm, though one of them goes on', () => {
  const counted = openCounted().pass(10_000, FOUR, [0, 1, 2, 3]);
  assert.equal(counted.alarmAt, undefined);
  const since = counted.now;
  counted.pass(1000, FOUR, [0], 'silent');
  assert.ok(counted.alarmAt !== undefined && counted.alarmAt - since <= 300, String(counted.alarmAt));
});

test('a single destination that dies is no alarm', () => {
  assert.equal(openCounted().pass(10_000, FOUR, [0, 1, 2, 3]).pass(5000, FOUR, [0, 1, 2]).alarmAt, undefined);
  assert.equal(openCounted().pass(10_000, [50, 0, 0, 50], [0, 3]).pass(5000, [50, 0, 0, 50], [0]).alarmAt, undefined, 'one of two');
});
