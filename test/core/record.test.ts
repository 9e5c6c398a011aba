/** The ring of facts of one target: nothing is ever lost for good, and deadlines follow the measured round trip. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  answeredSince, answersInRow, delay, grantGrace, isWaiting, lossPercent, misses, nextDeadline, noteLost, noteReply, noteSent, openRecord, silentSince, timeoutMs,
  type TargetRecord,
} from '../../src/core/record.js';
import type { ProbePolicy } from '../../src/model.js';
import { at, targetsOf, uplinkPolicy } from './fixture.js';

const POLICY: ProbePolicy = uplinkPolicy('fibre').probe;

/** Probes sent at these instants; a number after the arrow is the round trip, `-` is silence: `0>8 1000>- 2000>8`. */
function recordOf(story: string): TargetRecord {
  const record = openRecord(targetsOf(['1.1.1.1'])[0]!, at(0), 30);
  for (const word of story.split(' ').filter((part) => part !== '')) {
    const [sent, rtt] = word.split('>');
    const probe = noteSent(record, POLICY, at(Number(sent)));
    if (rtt !== '-') noteReply(record, probe.seq, at(Number(sent) + Number(rtt)), Number(rtt));
  }
  return record;
}

test('before the first answer a reply may take as long as the config allows', () => {
  assert.equal(timeoutMs(recordOf(''), POLICY), 2000);
  assert.equal(timeoutMs(recordOf('0>- 1000>-'), POLICY), 2000);
});

test('RFC 6298: the first sample gives SRTT + 4 × RTT/2, the next ones weigh 1/8 and 1/4', () => {
  const record = recordOf('0>100');
  assert.deepEqual([record.srttMs, record.rttvarMs, timeoutMs(record, POLICY)], [100, 50, 300]);
  noteReply(record, noteSent(record, POLICY, at(1000)).seq, at(1140), 140);
  // RTTVAR = 3/4 × 50 + 1/4 × |100 - 140|, with the SRTT of before; SRTT = 7/8 × 100 + 1/8 × 140
  assert.deepEqual([record.srttMs, record.rttvarMs, timeoutMs(record, POLICY)], [105, 47.5, 295]);
});

test('an answer that we were late to read is a sign of life, and no figure to begin with; later it counts like the rest', () => {
  const record = recordOf('0>-');
  noteReply(record, noteSent(record, POLICY, at(1000)).seq, at(1300), 300, true);
  assert.deepEqual([record.srttMs, record.lastReplyAt, timeoutMs(record, POLICY)], [undefined, 1300, 2000]);
  noteReply(record, noteSent(record, POLICY, at(2000)).seq, at(2008), 8, false);
  assert.equal(record.srttMs, 8);
  noteReply(record, noteSent(record, POLICY, at(3000)).seq, at(3016), 16, true);
  assert.equal(record.srttMs, 9, 'a slow machine stretches its deadlines');
});

test('RFC 6298: however steady the line, the deadline leaves room for the granularity of clocks', () => {
  const record = recordOf(Array.from({ length: 60 }, (_, i) => `${i * 1000}>80`).join(' '));
  assert.ok(record.rttvarMs < 0.01);
  assert.ok(Math.abs(timeoutMs(record, POLICY) - 90) < 0.1);
});

test('the adaptive deadline stays within its bounds, and a fixed one is taken as it is', () => {
  assert.equal(timeoutMs(recordOf('0>1'), POLICY), 20);
  assert.equal(timeoutMs(recordOf('0>1500'), POLICY), 2000);
  assert.equal(timeoutMs(recordOf('0>1'), { ...POLICY, timeoutMs: 700 }), 700);
});

test('a probe is missed while its deadline has passed, and a late answer repairs it', () => {
  const record = recordOf('0>8 1000>-');
  assert.equal(misses(record, at(1019)), 0);
  assert.equal(misses(record, at(1500)), 1);
  assert.equal(silentSince(record, at(1500)), 1000);
  noteReply(record, 2, at(1600), 600);
  assert.equal(misses(record, at(1700)), 0);
  assert.equal(silentSince(record, at(1700)), undefined);
  assert.equal(lossPercent(record, at(1700), 30_000), undefined, 'two probes are no statistic');
});

test('misses count back to the last answer, over probes that are still open', () => {
  const record = recordOf('0>8 1000>- 2000>- 3000>-');
  assert.equal(misses(record, at(3005)), 2);
  assert.equal(misses(record, at(3500)), 3);
  assert.equal(silentSince(record, at(3500)), 1000);
});

test('answers in a row begin at the asked instant and end at a miss', () => {
  const record = recordOf('0>8 1000>- 2000>8 3000>8 4000>-');
  assert.equal(answersInRow(record, at(0), at(4001)), 2, 'the open probe does not break the row');
  assert.equal(answersInRow(record, at(2500), at(4001)), 1);
  assert.equal(answersInRow(record, at(0), at(4500)), 0);
  assert.equal(answeredSince(record, at(3000)), true);
  assert.equal(answeredSince(record, at(3001)), false);
});

test('an answer is taken once, and never for a probe that was not sent', () => {
  const record = recordOf('0>-');
  assert.equal(noteReply(record, 7, at(5), 5), undefined);
  assert.notEqual(noteReply(record, 1, at(8), 8), undefined);
  assert.equal(noteReply(record, 1, at(9), 9), undefined);
  assert.deepEqual([record.sent, record.received, record.srttMs], [1, 1, 8]);
});

test('a wrong answer ends the wait, and a right one may still follow', () => {
  const record = recordOf('0>8 1000>-');
  noteLost(record, 2, at(1001), 'answer', 'SERVFAIL');
  assert.equal(misses(record, at(1001)), 1);
  assert.equal(record.lastError, 'SERVFAIL');
  noteReply(record, 2, at(1005), 5);
  assert.equal(misses(record, at(1005)), 0);
  assert.equal(record.lastError, '');
});

for (const cause of ['unreachable', 'refused'] as const) {
  test(`an error of the network (${cause}) explains, and does not shorten the wait`, () => {
    const record = recordOf('0>8 1000>-');
    const deadline = nextDeadline(record, at(1001));
    noteLost(record, 2, at(1001), cause, 'EHOSTUNREACH: no way there');
    assert.deepEqual([misses(record, at(1001)), nextDeadline(record, at(1001)), record.lastError], [0, deadline, 'EHOSTUNREACH: no way there']);
    assert.equal(misses(record, deadline!), 1);
  });
}

test('the next deadline is that of the first open probe', () => {
  const record = recordOf('0>8 1000>- 1010>-');
  assert.equal(nextDeadline(record, at(1000)), 1024, 'SRTT 8 + 4 × 4');
  assert.equal(nextDeadline(record, at(1024)), 1034);
  assert.equal(nextDeadline(record, at(1034)), undefined);
  assert.equal(isWaiting(record, at(1005), at(1020)), true);
  assert.equal(isWaiting(record, at(1005), at(1030)), false, 'the second was asked later');
});

test('grace: a probe that was open when we were starved may be answered a little later, once', () => {
  const record = recordOf('0>8 1000>-');
  grantGrace(record, at(1010), at(3015));
  assert.equal(misses(record, at(3000)), 0);
  assert.equal(misses(record, at(3015)), 1);
  const always = recordOf('0>8 1000>-');
  grantGrace(always, at(1010), at(1050));
  grantGrace(always, at(1040), at(1090));
  assert.equal(misses(always, at(1050)), 1, 'being late again and again keeps nobody alive');
  const judged = recordOf('0>8 1000>-');
  grantGrace(judged, at(1500), at(3015));
  assert.equal(misses(judged, at(3000)), 1, 'what was judged before stays judged');
});

test('loss is that of the window, among probes whose time is over', () => {
  const record = recordOf('0>- 1000>8 2000>- 3000>8 4000>8 5000>8 6000>-');
  assert.equal(lossPercent(record, at(6001), 4500), 25, 'sent since 1501 and over: 2000 to 5000');
  assert.equal(lossPercent(record, at(7000), 10_000), (100 * 3) / 7);
});

test('delay is the median round trip and the mean deviation from it: a gust moves neither far', () => {
  assert.equal(delay(recordOf('0>- 1000>-'), at(0)), undefined, 'without an answer there is none');
  assert.deepEqual(delay(recordOf('0>30 1000>10 2000>1820'), at(0)), { rttMs: 30, jitterMs: (20 + 1790) / 3 });
  assert.deepEqual(delay(recordOf('0>40 1000>10 2000>- 3000>20 4000>1000'), at(0)), { rttMs: 30, jitterMs: (10 + 20 + 10 + 970) / 4 }, 'of an even number, between the two in the middle');
  assert.deepEqual(delay(recordOf('0>500 1000>10 2000>20 3000>30'), at(1000)), { rttMs: 20, jitterMs: 20 / 3 }, 'what was sent before is not asked for');
});

test('delay takes no figure from what lay unread, nor from what was sent again', () => {
  const record = recordOf('0>10 1000>20 2000>30');
  noteReply(record, noteSent(record, POLICY, at(3000)).seq, at(3900), 900, true);
  noteReply(record, noteSent(record, POLICY, at(4000), true).seq, at(4700), 700);
  assert.deepEqual(delay(record, at(0)), { rttMs: 20, jitterMs: 20 / 3 });
});

test('the ring is bounded: older facts are forgotten, their late answers are too', () => {
  const record = recordOf(Array.from({ length: 400 }, (_, i) => `${i * 100}>-`).join(' '));
  assert.equal(record.probes.length, 64);
  assert.equal(record.sent, 400);
  assert.equal(noteReply(record, 336, at(40_000), 9), undefined);
  assert.notEqual(noteReply(record, 337, at(40_000), 9), undefined);
});
