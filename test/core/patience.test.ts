/**
 * How long a silence may be a mere delay. A burst waits: less where connections get no answers either, more where they go on and the first
 * router beyond the gateway answers, and as long as the gusts of delay lasted that a line is known for. Whoever answers near the line also
 * lets few connections vouch for it.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { worstMs } from '../../src/core/record.js';
import type { Target, UplinkPolicy } from '../../src/model.js';
import { at, uplinkPolicy } from './fixture.js';
import { openLife, type Life } from './uplink-life.js';

const ALL = (): number => 8;
const NOBODY = (): undefined => undefined;
const BUSY = { sent: 500, answered: 500 };
const UNANSWERED = { sent: 500, answered: 0 };
/** Somebody tries, and never got an answer: not idle, and no evidence. */
const TRYING = { sent: 50, answered: 0 };
const HOP: Target = { kind: 'hop', id: 'hop', host: '1.1.1.1', hops: 2, families: [4], intervalMs: undefined };
const ONLY_HOP: Life['answer'] = ({ target }) => (target === 'hop' ? 8 : undefined);
/** Gusts are half forgotten after two hours. */
const AWAY_MS = 7_200_000;
/** Instants that meet every phase of the counts and of the probes. */
const PHASES = Array.from({ length: 60 }, (_, i) => 20_000 + 17.3 * i);

function withHop(afterMs: number): UplinkPolicy {
  const policy = uplinkPolicy('fibre');
  return { ...policy, probe: { ...policy.probe, targets: [...policy.probe.targets, HOP] }, health: { ...policy.health, down: { afterMs } } };
}

/** How long it takes until it is so, ms; Infinity = more than five seconds. */
function timeTo(life: Life, isSo: () => boolean): number {
  const from = life.now;
  while (!isSo() && life.now < from + 5000) life.until(life.now + 1);
  return isSo() ? life.now - from : Infinity;
}

/** The targets fall silent: how long the burst waited before it suspected. */
function waited(life: Life, answer: Life['answer'] = NOBODY): number {
  life.answer = answer;
  timeTo(life, () => life.health.burst !== undefined);
  return timeTo(life, () => life.verdict().state === 'suspect');
}

test('a step of delay to 200 ms, of targets and connections alike, makes no balanced uplink suspect; a death is suspected within 230 ms', () => {
  for (const begin of PHASES) {
    const life = busyLife().until(begin);
    life.answer = (_order, now) => (now < begin + 5000 ? 200 : 8);
    withoutAnswers(life, begin + 8, begin + 200, begin + 100);
    assert.equal(life.health.burst?.isConfirmed, true, `at ${begin}: connections confirm the silence`);
    withoutAnswers(life, begin + 8, begin + 200, begin + 10_000);
    assert.deepEqual([life.verdict().state, life.health.suspicions], ['up', 0], `at ${begin}: ${life.history.join('\n')}`);

    const dying = busyLife().until(begin);
    dying.answer = NOBODY;
    withoutAnswers(dying, begin + 8, Infinity, begin + 500);
    assert.equal(dying.verdict().state, 'suspect');
    assert.ok(dying.health.since - begin <= 230, `at ${begin}: after ${dying.health.since - begin} ms`);
  }
});

test('connections confirm a silence from the alarm on; a few answers take it back, and when no more come it is confirmed again', () => {
  const life = busyLife();
  life.answer = NOBODY;
  life.traffic = UNANSWERED;
  const isConfirmed = (): boolean | undefined => life.health.burst?.isConfirmed;
  timeTo(life, () => life.health.burst !== undefined);
  assert.deepEqual([life.health.burst?.byTraffic, isConfirmed()], [true, true]);
  life.until(15_100).traffic = BUSY;
  life.until(15_120).traffic = UNANSWERED;
  assert.equal(isConfirmed(), false);
  timeTo(life, () => life.verdict().state === 'suspect');
  assert.ok(life.health.since - 15_020 <= 185, `${life.health.since - 15_020} ms after the alarm`);
});

test('a burst that a missed reply began is cut short when connections get no answers either, and is suspected at that instant', () => {
  const life = openLife(uplinkPolicy('fibre'), ALL);
  life.traffic = { sent: 60, answered: 60 };
  life.until(20_000).answer = NOBODY;
  timeTo(life, () => life.health.burst !== undefined);
  life.traffic = { sent: 60, answered: 0 };
  const waitMs = timeTo(life, () => life.verdict().state === 'suspect');
  assert.ok(Math.abs(waitMs - 2000 / 11) <= 2, `${waitMs} ms`);
});

test('connections go on and the first router beyond the gateway answers: a burst waits for half of the time that down takes, one second at most', () => {
  for (const [afterMs, waitMs] of [[600, 300], [1200, 600], [2000, 1000], [6000, 1000]] as const) {
    const life = openLife(withHop(afterMs), ALL);
    life.traffic = TRYING;
    assert.ok(Math.abs(waited(life.until(20_000), ONLY_HOP) - waitMs) <= 2, `${afterMs}: ${life.history.join('\n')}`);
  }
});

test('no such time where that router is silent, or nothing passes, or connections get no answers either', () => {
  const near = (changes: (life: Life) => void): number => {
    const life = openLife(withHop(2000), ALL);
    life.traffic = TRYING;
    life.until(20_000);
    changes(life);
    return waited(life, life.answer);
  };
  const silentHop = near((life) => (life.answer = NOBODY));
  assert.ok(Math.abs(silentHop - 250) <= 2, `a silent hop: ${silentHop} ms`);
  const idle = near((life) => {
    life.traffic = { sent: 0, answered: 0 };
    life.until(21_500).answer = ONLY_HOP;
  });
  assert.ok(Math.abs(idle - 250) <= 2, `an idle line: ${idle} ms`);
  const confirmed = near((life) => {
    life.traffic = BUSY;
    life.until(40_000).answer = ONLY_HOP;
    life.traffic = UNANSWERED;
  });
  assert.ok(Math.abs(confirmed - 2000 / 11) <= 2, `a confirmed silence: ${confirmed} ms`);
});

test('few connections get answers: with the first router beyond the gateway they vouch for the line, without it they do not', () => {
  const outcome = (answer: Life['answer']): string => {
    const life = openLife(withHop(2000), ALL);
    life.traffic = { sent: 240, answered: 240 };
    life.until(30_000).answer = answer;
    life.traffic = { sent: 40, answered: 40 };
    life.until(90_000);
    return `${life.verdict().state} ${life.health.downs} ${life.verdict().state === 'up' ? life.verdict().domain : ''}`;
  };
  assert.equal(outcome(ONLY_HOP), 'up 0 target');
  assert.equal(outcome(({ target }) => (target === 'gateway' ? 8 : undefined)), 'down 1 ');
});

test('the first router beyond the gateway alone vouches for nobody: connections that get hardly an answer are no life', () => {
  const life = openLife(withHop(2000), ALL);
  life.traffic = { sent: 240, answered: 240 };
  life.until(30_000).answer = ONLY_HOP;
  life.traffic = { sent: 240, answered: 24 };
  assert.equal(life.until(40_000).verdict().state, 'down');
});

test('what the gusts of a line were like is still known after it was severed and came back, and numbers go on', () => {
  const life = openLife(uplinkPolicy('fibre'), ALL).until(5000);
  life.answer = ({ target }) => (target === 'gateway' ? 1000 : 800);
  life.until(8000).answer = ALL;
  life.until(10_000).line({ severed: 'no carrier on eth0', severedDomain: 'link' }).until(AWAY_MS);
  const before = new Map(life.health.records.map((record) => [record.target.id, record.nextSeq]));
  life.line({ severed: '', severedDomain: 'none' });
  for (const record of life.health.records) {
    assert.ok(Math.abs(worstMs(record, at(life.now)) - (record.target.id === 'gateway' ? 500 : 400)) < 2, `${record.target.id}: half forgotten`);
    assert.deepEqual([record.nextSeq, record.probes.length], [before.get(record.target.id), 0]);
  }
  life.until(AWAY_MS + 15_000);
  assert.equal(life.verdict().state, 'up');
  const waitMs = waited(life);
  assert.ok(Math.abs(waitMs - 1.2 * 400) <= 3, `${waitMs} ms`);
  for (const { target } of life.health.records) {
    const numbers = life.sent.filter((probe) => probe.target === target.id).map((probe) => probe.seq);
    assert.deepEqual(numbers, numbers.map((_, i) => i + 1), target.id);
  }
});

function busyLife(): Life {
  const life = openLife(uplinkPolicy('fibre'), ALL);
  life.traffic = BUSY;
  return life.until(15_000);
}

/** Until `end` connections send as ever, and get no answers between the two instants: of the count in which either lies they get a part. */
function withoutAnswers(life: Life, from: number, to: number, end: number): void {
  while (life.now < end) {
    const countAt = 20 * (Math.floor(life.now / 20) + 1);
    const lostMs = Math.max(0, Math.min(to, countAt) - Math.max(from, countAt - 20));
    life.traffic = { sent: BUSY.sent, answered: BUSY.answered * (1 - lostMs / 20) };
    life.until(countAt);
  }
}

test('few connections and a hop that is asked seldom vouch for a line without an alarm every other second, and the reason stays what it is', () => {
  const life = openLife(withHop(2000), ALL);
  life.traffic = { sent: 240, answered: 240 };
  life.until(30_000).answer = ONLY_HOP;
  life.traffic = { sent: 40, answered: 40 };
  life.until(40_000);
  const [told, sent] = [life.history.length, life.sent.length];
  life.until(100_000);
  assert.equal(life.verdict().state, 'up');
  assert.deepEqual(life.history.slice(told), []);
  assert.ok(life.sent.length - sent < 60 * 4, `${life.sent.length - sent} probes in a minute`);
});

test('what waited for the line to begin is no gust: probes that were asked before the first answer', () => {
  const life = openLife(uplinkPolicy('fibre'), (_order, now) => Math.max(8, 1200 - now)).until(20_000);
  assert.equal(life.verdict().state, 'up');
  for (const record of life.health.records) assert.ok(worstMs(record, at(life.now)) < 9, `${record.target.id}: ${record.worstMs}`);
});
