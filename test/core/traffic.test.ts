/** Connections as evidence, from counts alone: when have answers stopped, when do they come, and how much is unusual. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { doubtTraffic, hasGoneQuiet, isIdle, isLoaded, noteTraffic, openTraffic, progressed, trafficStatus, type Traffic } from '../../src/core/traffic.js';
import type { TrafficCount } from '../../src/model.js';
import { at } from './fixture.js';

interface Counted {
  readonly traffic: Traffic;
  readonly now: number;
  /** When its silence was first alarming, since the last `pass`; undefined = never. */
  readonly alarmAt: number | undefined;
  /** So much per second for so long, counted every 20 ms; packets of 1000 bytes. Fractions are carried on. */
  pass(ms: number, sentPerS: number, answeredPerS: number, standing?: Parameters<typeof noteTraffic>[3]): Counted;
  /** The counters as they are told. */
  count: TrafficCount;
}

const usualRatio = ({ traffic }: Counted): number => traffic.usualAnswered / traffic.usualSent;

function openCounted(rttMs = 20): Counted {
  const traffic = openTraffic(at(0));
  let now = 0;
  let owed = { sent: 0, answered: 0 };
  let alarmAt: number | undefined;
  const counted: Counted = {
    traffic, count: { interface: 'eth0', family: 4, sentPackets: 0, sentBytes: 0, answeredPackets: 0, answeredBytes: 0, groups: [] },
    get now() { return now; },
    get alarmAt() { return alarmAt; },
    pass(ms, sentPerS, answeredPerS, standing) {
      alarmAt = undefined;
      for (const end = now + ms; now < end;) {
        now += 20;
        owed = { sent: owed.sent + sentPerS / 50, answered: owed.answered + answeredPerS / 50 };
        const [sent, answered] = [Math.floor(owed.sent + 1e-9), Math.floor(owed.answered + 1e-9)];
        owed = { sent: owed.sent - sent, answered: owed.answered - answered };
        const { sentPackets, sentBytes, answeredPackets, answeredBytes } = counted.count;
        counted.count = {
          ...counted.count, sentPackets: sentPackets + sent, sentBytes: sentBytes + 1000 * sent, answeredPackets: answeredPackets + answered, answeredBytes: answeredBytes + 1000 * answered,
        };
        noteTraffic(traffic, counted.count, at(now), standing);
        if (hasGoneQuiet(traffic, rttMs, at(now))) alarmAt ??= now;
      }
      return counted;
    },
  };
  return counted;
}

test('steady traffic whose answers stop has gone quiet within 40 ms, and not before', () => {
  const counted = openCounted().pass(10_000, 500, 500);
  assert.equal(counted.alarmAt, undefined);
  const stoppedAt = counted.now;
  counted.pass(1000, 500, 0);
  assert.ok(counted.alarmAt! > stoppedAt && counted.alarmAt! - stoppedAt <= 40, `after ${counted.alarmAt! - stoppedAt} ms`);
});

test('a download, that sends little and gets much, is missed as soon as an upload', () => {
  for (const [sent, answered] of [[250, 1000], [1000, 250]] as const) {
    const counted = openCounted().pass(10_000, sent, answered);
    const stoppedAt = counted.now;
    counted.pass(1000, sent, 0);
    assert.ok(counted.alarmAt! - stoppedAt <= 60, `${sent}/${answered}: after ${counted.alarmAt! - stoppedAt} ms`);
  }
});

test('traffic that was never answered, or hardly ever, alarms nobody', () => {
  assert.equal(openCounted().pass(60_000, 500, 0).alarmAt, undefined, 'a stream of telemetry');
  assert.equal(openCounted().pass(60_000, 2000, 4).alarmAt, undefined, 'one answer in 500');
});

test('a low rate alarms nobody: a packet a second is no sign when it goes unanswered for a second', () => {
  const counted = openCounted().pass(60_000, 1, 1);
  assert.equal(counted.pass(2000, 1, 0).alarmAt, undefined);
});

test('a few answers are no usual ratio: a flow that has only begun is not missed', () => {
  assert.equal(openCounted().pass(40, 500, 400).pass(2000, 500, 0).alarmAt, undefined, '16 answers so far');
});

test('bursts: gaps as long as the usual ones are no silence, much longer ones are', () => {
  const counted = openCounted();
  for (let i = 0; i < 40; i++) {
    counted.pass(100, 500, 0);
    if (i > 2) assert.equal(counted.alarmAt, undefined, `in gap ${i}`);
    counted.pass(100, 500, 1000);
  }
  const stoppedAt = counted.now;
  counted.pass(1000, 500, 0);
  assert.ok(counted.alarmAt! - stoppedAt > 100 && counted.alarmAt! - stoppedAt <= 260, `after ${counted.alarmAt! - stoppedAt} ms`);
});

test('a flow that begins on a line of 200 ms has its answers a round trip later, which is no silence', () => {
  const counted = openCounted(210).pass(10_000, 500, 500);
  counted.pass(2000, 0, 0);
  assert.equal(counted.alarmAt, undefined, 'idle: nothing is owed');
  assert.equal(counted.pass(200, 500, 0).alarmAt, undefined, 'the first answers are on their way');
  assert.equal(counted.pass(5000, 500, 500).alarmAt, undefined);
  counted.pass(2000, 0, 0);
  const resumedAt = counted.now;
  counted.pass(3000, 500, 0);
  assert.ok(counted.alarmAt! - resumedAt > 210 && counted.alarmAt! - resumedAt <= 320, `after ${counted.alarmAt! - resumedAt} ms`);
});

test('a wrong alarm doubles patience, once, and there is no other one for half a second; patience fades by half in 10 s', () => {
  const counted = openCounted().pass(10_000, 500, 500);
  const quietFor = (): number => {
    const from = counted.now;
    counted.pass(4000, 500, 0);
    return counted.alarmAt === undefined ? Infinity : counted.alarmAt - from;
  };
  const first = quietFor();
  doubtTraffic(counted.traffic);
  counted.pass(200, 500, 500);
  for (let i = 0; i < 10; i++) doubtTraffic(counted.traffic);
  assert.equal(counted.traffic.patience, 2);
  const last = quietFor();
  assert.ok(last >= 500 && last < 600, `${first} ms, then ${last} ms`);
  doubtTraffic(counted.traffic);
  counted.pass(5000, 500, 500);
  assert.ok(Math.abs(counted.traffic.patience - 2 ** 0.5) < 0.02, `${counted.traffic.patience}`);
  counted.pass(200_000, 500, 500);
  assert.equal(counted.traffic.patience, 1);
});

test('after a wrong alarm the silence counts anew', () => {
  const counted = openCounted().pass(10_000, 500, 500).pass(100, 500, 0);
  assert.equal(hasGoneQuiet(counted.traffic, 20, at(counted.now)), true);
  doubtTraffic(counted.traffic);
  assert.equal(hasGoneQuiet(counted.traffic, 20, at(counted.now)), false);
});

test('counters that begin anew, or are of another device, are no answers and no silence', () => {
  const counted = openCounted().pass(10_000, 500, 500);
  counted.count = { ...counted.count, sentPackets: 0, sentBytes: 0, answeredPackets: 0, answeredBytes: 0 };
  assert.equal(counted.pass(20, 500, 500).alarmAt, undefined);
  assert.ok(trafficStatus(counted.traffic, at(counted.now))!.sentPackets > 400, 'the packet filter was written anew');
  assert.equal(counted.pass(2000, 500, 500).alarmAt, undefined);
  counted.count = { ...counted.count, interface: 'wan0', sentPackets: 10 ** 9, answeredPackets: 0 };
  assert.equal(counted.pass(20, 500, 500).alarmAt, undefined, 'renamed');
  assert.ok(trafficStatus(counted.traffic, at(counted.now))!.sentPackets < 1000);
  assert.equal(counted.pass(2000, 500, 500).alarmAt, undefined);
});

test('the usual is not learnt from the silence: a dead line stays alarming', () => {
  const counted = openCounted().pass(10_000, 500, 500).pass(5000, 500, 0);
  assert.equal(hasGoneQuiet(counted.traffic, 20, at(counted.now)), true);
  assert.ok(counted.traffic.usualAnswered / counted.traffic.usualSent > 0.9);
});

test('sparse traffic, sent in one count and answered in the next, has a usual ratio of one, and progresses', () => {
  for (const [name, again] of [['a packet now and then', 0], ['two packets, and one on top of their answers', 50]] as const) {
    const counted = openCounted();
    for (let i = 0; i < 500; i++) counted.pass(20, 50 + again, 0).pass(20, again, 50 + 2 * again).pass(20, 0, 0);
    assert.ok(Math.abs(usualRatio(counted) - 1) < 0.02, `${name}: ${usualRatio(counted)}`);
    assert.equal(progressed(counted.traffic, at(counted.now - 600)), true, name);
  }
});

test('sparse traffic has not gone quiet before four answers are owed', () => {
  const counted = openCounted();
  for (let i = 0; i < 500; i++) {
    counted.pass(20, 100, 0);
    assert.equal(counted.alarmAt, undefined);
    counted.pass(20, 50, 150).pass(20, 0, 0);
  }
  assert.equal(counted.pass(20, 100, 0).pass(20, 50, 0).alarmAt, undefined, 'three are owed');
  assert.notEqual(counted.pass(20, 100, 0).alarmAt, undefined, 'five are');
});

test('while connections alone vouch the usual ratio follows what they get in minutes, and not in seconds', () => {
  const ratioAfter = (ms: number, standing: 'usual' | 'vouching'): number => usualRatio(openCounted().pass(60_000, 500, 500).pass(ms, 500, 100, standing));
  assert.ok(ratioAfter(10_000, 'usual') < 0.55, `${ratioAfter(10_000, 'usual')}`);
  assert.ok(ratioAfter(10_000, 'vouching') > 0.95, `${ratioAfter(10_000, 'vouching')}`);
  const minutes = ratioAfter(300_000, 'vouching');
  assert.ok(minutes > 0.44 && minutes < 0.55, `${minutes}`);
});

test('what comes through a silent line changes the usual ratio not at all, nor does what was sent into it', () => {
  const counted = openCounted().pass(60_000, 500, 500);
  const before = usualRatio(counted);
  assert.equal(usualRatio(counted.pass(300_000, 500, 100, 'silent')), before);
  counted.pass(1000, 500, 0).pass(5000, 500, 0, 'silent').pass(1000, 500, 500);
  assert.ok(usualRatio(counted) > 0.98, `${usualRatio(counted)}`);
});

test('progress: answers at something like the usual ratio; hardly any is none; next to nothing sent says nothing', () => {
  const counted = openCounted().pass(10_000, 500, 500);
  assert.equal(progressed(counted.traffic, at(counted.now - 500)), true);
  counted.pass(500, 500, 250);
  assert.equal(progressed(counted.traffic, at(counted.now - 500)), true, 'every other one');
  counted.pass(500, 500, 100);
  assert.equal(progressed(counted.traffic, at(counted.now - 500)), false, 'one in five');
  counted.pass(500, 500, 0);
  assert.equal(progressed(counted.traffic, at(counted.now - 500)), false);
  counted.pass(1000, 0, 0);
  assert.equal(progressed(counted.traffic, at(counted.now - 500)), undefined);
});

test('an unusual load: much more than the average, near the most that was ever seen, and no trickle', () => {
  const counted = openCounted().pass(1_800_000, 50, 50);
  assert.equal(isLoaded(counted.traffic), false, '50 kB/s for half an hour is the usual');
  counted.pass(5000, 1000, 500);
  assert.equal(isLoaded(counted.traffic), true, 'a full upload');
  counted.pass(5000, 50, 50);
  assert.equal(isLoaded(counted.traffic), false);
  assert.equal(isLoaded(openCounted().pass(60_000, 1, 1).pass(5000, 15, 15).traffic), false, '15 kB/s fill nothing');
});

test('idle: nothing was sent for a second; the status then shows no rate', () => {
  const counted = openCounted().pass(5000, 500, 400);
  const busy = trafficStatus(counted.traffic, at(counted.now))!;
  assert.deepEqual([Math.round(busy.sentPackets / 10), Math.round(busy.answeredBytes / 10_000), busy.progressing], [50, 40, true]);
  assert.equal(isIdle(counted.traffic, at(counted.now + 900)), false);
  assert.equal(isIdle(counted.traffic, at(counted.now + 1100)), true);
  assert.deepEqual(trafficStatus(counted.traffic, at(counted.now + 3000)), { sentPackets: 0, answeredPackets: 0, sentBytes: 0, answeredBytes: 0, progressing: undefined });
  assert.equal(trafficStatus(openTraffic(at(0)), at(0)), undefined, 'nobody counts');
});
