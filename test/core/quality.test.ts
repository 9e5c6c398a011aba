/** Lines that answer, badly: when that is a verdict, when it is chance or our own doing, and how it ends. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { penaltyOf } from '../../src/core/damping.js';
import { isClean, qualityStatus } from '../../src/core/quality.js';
import { isLoaded, noteTraffic, openTraffic, type Traffic } from '../../src/core/traffic.js';
import type { QualityPolicy, UplinkPolicy } from '../../src/model.js';
import { openDice } from '../sim/dice.js';
import { at, QUALITY, uplinkPolicy, type UplinkChoice } from './fixture.js';
import { openLife, type Life } from './uplink-life.js';

const HOUR_MS = 3_600_000;
const ALL = (): number => 8;

/** So many of a hundred are lost, from so far on. */
function lossy(percent: number, seed: number, fromMs = 0): Life['answer'] {
  const dice = openDice(seed);
  return (_order, now) => (now >= fromMs && dice.chance(percent / 100) ? undefined : 8);
}

function withQuality(choice: UplinkChoice, quality: Partial<QualityPolicy>): UplinkPolicy {
  const policy = uplinkPolicy('fibre', choice);
  return { ...policy, health: { ...policy.health, quality: { ...QUALITY, ...quality } } };
}

const times = (life: Life, state: string): readonly number[] => life.history.filter((line) => line.includes(` ${state}: `)).map((line) => Number(line.split(' ')[0]));

test('40 % of loss: degraded within 30 s, and where two misses are needed to doubt, a little later', () => {
  for (const [sensitivity, withinMs] of [['fast', 30_000], ['balanced', 30_000], ['calm', 90_000]] as const) {
    for (let seed = 1; seed <= 8; seed++) {
      const life = openLife(uplinkPolicy('fibre', { sensitivity }), lossy(40, seed, 60_000)).until(61_000 + withinMs);
      const [first] = times(life, 'degraded');
      assert.ok(first !== undefined && first - 60_000 <= withinMs, `${sensitivity}, seed ${seed}:\n${life.history.join('\n')}`);
      assert.match(life.history.find((line) => line.includes('degraded'))!, /degraded: \d\d % of probes are lost \(more than 20 %\)$/);
    }
  }
});

test('5 % of loss in three hours: never degraded, never down, and hardly ever suspected', () => {
  for (const sensitivity of ['balanced', 'calm', 'fast'] as const) {
    const life = openLife(uplinkPolicy('fibre', { sensitivity }), lossy(5, 1)).until(3 * HOUR_MS);
    assert.deepEqual([times(life, 'degraded'), life.health.downs], [[], 0], sensitivity);
    assert.ok(life.health.suspicions <= (sensitivity === 'fast' ? 10 : 3), `${sensitivity}: ${life.health.suspicions} suspicions`);
  }
});

test('one of three targets that is dead, or answers every other time, is a target and no line', () => {
  const hosts = ['gateway', '1.1.1.1', '8.8.8.8', '9.9.9.9'];
  for (const answer of [
    ({ target }) => (target === 'icmp 9.9.9.9' ? undefined : 8),
    ({ target }, now) => (now > 20_000 && target === 'icmp 9.9.9.9' ? undefined : 8),
    ({ target, seq }) => (target === 'icmp 9.9.9.9' && seq % 2 === 0 ? undefined : 8),
    ({ target, seq }) => (target === 'icmp 9.9.9.9' && seq % 20 < 15 ? undefined : 8),
  ] satisfies Life['answer'][]) {
    const life = openLife(uplinkPolicy('fibre', { hosts }), answer).until(HOUR_MS / 3);
    assert.deepEqual([life.verdict().state, life.health.suspicions, times(life, 'degraded')], ['up', 0, []], life.history.slice(0, 5).join('\n'));
  }
  const dice = openDice(5);
  const two = openLife(uplinkPolicy('fibre'), ({ target }) => (target === 'icmp 9.9.9.9' && dice.chance(0.6) ? undefined : 8)).until(HOUR_MS);
  assert.deepEqual(times(two, 'degraded'), [], 'nor is one of two');
});

test('one of two targets that is slow is a slow target, whichever stands first', () => {
  for (const slow of ['icmp 1.1.1.1', 'icmp 9.9.9.9']) {
    const life = openLife(uplinkPolicy('fibre'), ({ target }) => (target === slow ? 1200 : 20)).until(200_000);
    assert.deepEqual(times(life, 'degraded'), [], slow);
  }
});

test('one that limits its rate, and one that answers all but now and then after its deadline: that excuses it for a moment, and is no sick line', () => {
  for (let seed = 1; seed <= 3; seed++) {
    const dice = openDice(seed);
    let excused = 0;
    const life = openLife(uplinkPolicy('fibre'), ({ target, seq }) => {
      if (target === 'icmp 1.1.1.1') return dice.chance(0.8) ? undefined : 8;
      if (target === 'gateway') return 8;
      return seq % 20 === 0 ? 1500 : 300;
    });
    for (let ms = 10_000; ms < HOUR_MS / 2; ms += 100) {
      life.until(ms);
      if (life.health.records.some((record) => record.target.id === 'icmp 9.9.9.9' && record.excused)) excused++;
    }
    assert.ok(excused > 20, `seed ${seed}: excused ${excused} times`);
    assert.deepEqual([times(life, 'degraded'), life.verdict().state], [[], 'up'], `seed ${seed}: ${life.history.slice(0, 6).join('\n')}`);
  }
});

test('where two of three targets are dead, the line is as good as the third says', () => {
  const hosts = ['gateway', '1.1.1.1', '8.8.8.8', '9.9.9.9'];
  const life = openLife(uplinkPolicy('fibre', { hosts }), ({ target }, now) => (now > 20_000 && (target === 'icmp 8.8.8.8' || target === 'icmp 9.9.9.9') ? undefined : 8)).until(200_000);
  assert.deepEqual([life.verdict().state, qualityStatus(life.health, at(life.now)).lossPercent, isClean(life.health, at(life.now))], ['up', 0, true]);
});

test('a target that died is named', () => {
  const life = openLife(uplinkPolicy('fibre', { hosts: ['gateway', '1.1.1.1', '8.8.8.8', '9.9.9.9'] }), ({ target }, now) => (now > 20_000 && target === 'icmp 9.9.9.9' ? undefined : 8));
  life.until(40_000);
  assert.deepEqual([life.verdict().domain, life.verdict().because], ['target', 'icmp 1.1.1.1, icmp 8.8.8.8 answer; icmp 9.9.9.9 does not']);
  life.answer = ALL;
  life.until(50_000);
  assert.deepEqual([life.verdict().domain, life.verdict().because], ['none', 'icmp 1.1.1.1, icmp 8.8.8.8, icmp 9.9.9.9 answer']);
});

test('latency and jitter: measured, said with the level that was passed, and each with its own way back', () => {
  const slow = openLife(uplinkPolicy('fibre', { timeoutMs: 2000 }), (_order, now) => (now > 60_000 ? 620 : 20)).until(120_000);
  assert.match(slow.verdict().because, /^answers take 6\d\d ms \(more than 500 ms\)$|^answers take 5\d\d ms \(more than 500 ms\)$/);
  assert.equal(slow.verdict().domain, 'quality');
  slow.answer = () => 350;
  slow.until(240_000);
  assert.equal(slow.verdict().state, 'degraded', 'between the levels it stays as it is');
  slow.answer = () => 30;
  slow.until(320_000);
  assert.deepEqual([slow.verdict().state, slow.verdict().because], ['up', 'works well again']);

  const uneven = openLife(withQuality({ timeoutMs: 2000 }, { jitterMs: { down: 60, up: 30 } }), ({ seq }, now) => (now > 60_000 && seq % 2 === 0 ? 220 : 20)).until(120_000);
  assert.match(uneven.verdict().because, /^answers come \d\d ms apart from even \(more than 60 ms\)$/);
});

test('gusts: one answer in ten after 3 s raises no latency, and is not degraded', () => {
  const policy = withQuality({ intervalMs: 200 }, { latencyMs: { down: 100, up: 60 } });
  const life = openLife(policy, ({ seq }) => (seq % 10 === 0 ? 3000 : 20));
  for (let ms = 30_000; ms <= 300_000; ms += 1000) {
    life.until(ms);
    assert.ok(Math.abs(qualityStatus(life.health, at(ms)).latencyMs! - 20) < 0.01, `${qualityStatus(life.health, at(ms)).latencyMs} ms`);
  }
  assert.deepEqual(times(life, 'degraded'), [], life.history.join('\n'));
});

test('latency: in doubt it stays what it is, so that a mix of slow and quick answers heals nothing', () => {
  const policy = withQuality({ intervalMs: 3000, timeoutMs: 2000 }, { latencyMs: { down: 500, up: 400 } });
  const slow = (): Life => openLife(policy, () => 620).until(120_000);
  const mixed = slow();
  assert.deepEqual([mixed.verdict().state, mixed.verdict().domain], ['degraded', 'quality']);
  mixed.answer = ({ seq }) => (seq % 5 < 3 ? 620 : 10);
  mixed.until(600_000);
  assert.equal(mixed.verdict().state, 'degraded', 'three in five are slow');
  assert.equal(times(mixed, 'up').filter((ms) => ms > 120_000).length, 0, mixed.history.join('\n'));

  const healed = slow();
  healed.answer = () => 10;
  healed.until(200_000);
  const [back] = times(healed, 'up').slice(-1);
  assert.ok(back! >= 134_000 && back! <= 152_000, `not before half of the window is quick: ${back}`);

  const well = openLife(policy, () => 10).until(60_000);
  well.answer = ({ seq }) => (seq % 5 < 3 ? 620 : 10);
  well.until(600_000);
  assert.deepEqual(times(well, 'degraded'), [], 'nor is who is well degraded by such a mix');
});

test('what the targets miss while connections alone keep the line up is no loss of the line', () => {
  const life = openLife(uplinkPolicy('fibre'), ALL);
  life.traffic = { sent: 500, answered: 500 };
  life.until(60_000).answer = () => undefined;
  life.until(120_000);
  assert.notEqual(life.health.vouchedSince, undefined);
  life.answer = ALL;
  for (let ms = 120_500; ms <= 180_000; ms += 500) assert.equal(isClean(life.until(ms).health, at(ms)), true, `${ms}`);
  assert.equal(life.health.vouchedSince, undefined);
  assert.deepEqual([life.verdict().state, times(life, 'degraded'), life.health.suspicions], ['up', [], 0], life.history.join('\n'));
  assert.equal(qualityStatus(life.health, at(life.now)).lossPercent, 0);
});

test('clean is who loses at most half of the upper level: 2.5 % by default', () => {
  for (const lost of [0, 1, 2]) {
    const from = [60_000, 62_000].slice(0, lost);
    const life = openLife(uplinkPolicy('fibre', { hosts: ['1.1.1.1'], intervalMs: 750 }), (_order, now) => {
      if (from.length === 0 || now < from[0]!) return 8;
      from.shift();
      return undefined;
    }).until(70_000);
    const seen = new Map<number, boolean>();
    for (let ms = 70_000; ms < 85_000; ms += 50) {
      life.until(ms);
      seen.set(qualityStatus(life.health, at(ms)).lossPercent!, isClean(life.health, at(ms)));
    }
    for (const [percent, clean] of seen) assert.equal(clean, percent <= 2.5, `${percent} %`);
    const [least, most] = [Math.min(...seen.keys()), Math.max(...seen.keys())];
    if (lost === 0) assert.deepEqual([least, most], [0, 0]);
    if (lost === 1) assert.equal(seen.get(2.5), true, `one of 40: ${[...seen.keys()].join()}`);
    if (lost === 2) assert.ok(least > 4 && most < 6, `two of 40: ${[...seen.keys()].join()}`);
  }
});

test('recovery needs a whole window below the lower levels', () => {
  const life = openLife(uplinkPolicy('fibre'), lossy(40, 7, 60_000)).until(120_000);
  assert.equal(life.verdict().state, 'degraded');
  life.answer = ({ seq }) => (seq % 8 === 0 ? undefined : 8);
  life.until(400_000);
  assert.equal(life.verdict().state, 'degraded', 'one in eight is below 20 % and above 5 %');
  life.answer = ALL;
  life.until(431_500);
  const [back] = times(life, 'up').slice(-1);
  assert.ok(life.verdict().state === 'up' && back! > 415_000, `${back}`);
  const soon = openLife(uplinkPolicy('fibre'), lossy(60, 7, 60_000)).until(60_000);
  while (soon.verdict().state !== 'degraded' && soon.now < 90_000) soon.until(soon.now + 100);
  const since = times(soon, 'degraded').at(-1)!;
  soon.answer = ALL;
  soon.until(since + 29_000);
  assert.equal(soon.verdict().state, 'degraded');
  soon.until(since + 65_000);
  assert.equal(soon.verdict().state, 'up');
});

test('a degradation counts one penalty, has to prove itself, and its end starts the hold', () => {
  const life = openLife(uplinkPolicy('fibre'), lossy(60, 3, 60_000)).until(300_000);
  const degradedAt = times(life, 'degraded')[0]!;
  assert.equal(Math.round(penaltyOf(life.health, at(degradedAt)) * 100) / 100 >= 0.99, true);
  life.answer = ALL;
  life.until(400_000);
  assert.equal(life.verdict().state, 'up');
  assert.equal(life.health.mustProve, true);
  assert.equal(life.health.risenAt, life.verdict().since);
  assert.equal(life.health.downs, 0);
  assert.ok(penaltyOf(life.health, at(400_000)) < 1.01 + times(life, 'degraded').length - 1);
});

test('degraded, then silent, then back: it is what it was, and that is one penalty', () => {
  const life = openLife(uplinkPolicy('fibre', { timeoutMs: 700, sensitivity: 'calm' }), (_order, now) => (now > 60_000 ? 650 : 20)).until(120_000);
  const before = life.verdict();
  assert.equal(before.state, 'degraded');
  const penalty = penaltyOf(life.health, at(120_000));
  life.answer = () => undefined;
  life.until(124_500);
  assert.equal(life.verdict().state, 'suspect', life.history.join('\n'));
  life.answer = () => 650;
  life.until(125_900);
  const after = life.verdict();
  assert.deepEqual([after.state, after.because, after.domain], ['degraded', before.because, 'quality']);
  assert.ok(after.holdUntil! > life.now, 'new flows rest all the same');
  assert.ok(penaltyOf(life.health, at(125_900)) <= penalty);
});

test('answers that lay unread while we were starved are no figures', () => {
  const life = openLife(withQuality({ timeoutMs: 2000 }, { latencyMs: { down: 80, up: 50 }, jitterMs: { down: 60, up: 30 } }), () => 20).until(60_000);
  for (let i = 0; i < 40; i++) life.starveUntil(life.now + 900, 'unread').until(life.now + 1200);
  assert.equal(life.verdict().state, 'up', life.history.join('\n'));
});

/** So long it takes until a load is known to be the usual one. */
const QUIET_MS = 2_400_000;

test('bufferbloat: 400 and 900 ms more under a full upload of our own move nothing and raise no suspicion', () => {
  for (const moreMs of [400, 900]) {
    const life = openLife(uplinkPolicy('fibre'), () => 20);
    life.traffic = { sent: 40, answered: 40 };
    life.until(QUIET_MS);
    const told = life.history.length;
    // The queue fills within two seconds.
    life.answer = (_order, now) => 20 + moreMs * Math.min(1, (now - QUIET_MS) / 2000);
    life.traffic = { sent: 1000, answered: 500 };
    life.until(QUIET_MS + 40_000);
    assert.equal(qualityStatus(life.health, at(life.now)).busy, true);
    life.until(QUIET_MS + 600_000);
    const moved = (): readonly string[] => life.history.slice(told).filter((line) => !line.includes(' up: '));
    assert.deepEqual(moved(), [], `${moreMs} ms`);
    assert.equal(life.health.suspicions, 0);
    life.answer = () => 20;
    life.traffic = { sent: 40, answered: 40 };
    life.until(QUIET_MS + 700_000);
    assert.deepEqual(moved(), [], 'and its end is no sickness either');
  }
});

test('bufferbloat by a download that a flowtable carries: nobody counts it, and the device tells it', () => {
  for (const device of [{ sent: 100, received: 1000 }, undefined]) {
    const life = openLife(uplinkPolicy('fibre'), () => 20);
    life.traffic = { sent: 40, answered: 40, device: { sent: 40, received: 40 } };
    life.until(QUIET_MS);
    const told = life.history.length;
    life.answer = (_order, now) => 20 + 900 * Math.min(1, (now - QUIET_MS) / 2000);
    life.traffic = { sent: 40, answered: 40, ...(device === undefined ? {} : { device }) };
    life.until(QUIET_MS + 300_000);
    const moved = life.history.slice(told).filter((line) => !line.includes(' up: '));
    assert.equal(moved.length === 0, device !== undefined, moved.join('\n'));
  }
});

test('bufferbloat of the lesser direction: an upload of 0.9 MB/s on a line that was seen to carry 1 MB/s from us and 10 to us', () => {
  const life = openLife(uplinkPolicy('fibre'), () => 20);
  life.traffic = { sent: 1000, answered: 10_000 };
  life.until(60_000).traffic = { sent: 20, answered: 40 };
  life.until(QUIET_MS);
  const told = life.history.length;
  life.answer = (_order, now) => 20 + 900 * Math.min(1, (now - QUIET_MS) / 2000);
  life.traffic = { sent: 900, answered: 200 };
  life.until(QUIET_MS + 40_000);
  assert.equal(qualityStatus(life.health, at(life.now)).busy, true);
  life.until(QUIET_MS + 300_000);
  assert.deepEqual([life.history.slice(told).filter((line) => !line.includes(' up: ')), life.verdict().state], [[], 'up']);
});

test('a load is that of each direction by itself', () => {
  // MB/s from us and to us; half an hour of little after a minute of the most: each is believed to carry 0.7 of that still.
  for (const [sentMb, answeredMb, isLoad] of [[0.9, 0.05, true], [0.2, 0.05, false], [0.02, 6, true], [0.02, 1, false], [0.9, 6, true], [0.2, 1, false]] as const) {
    const traffic = openTraffic(at(0));
    const total = { sentBytes: 0, answeredBytes: 0 };
    let now = 0;
    pass(60, 1, 10);
    pass(1800, 0.005, 0.05);
    assert.equal(isLoaded(traffic), false, 'before');
    pass(10, sentMb, answeredMb);
    assert.equal(isLoaded(traffic), isLoad, `${sentMb} from us, ${answeredMb} to us: ${loads(traffic)}`);

    function pass(seconds: number, sent: number, answered: number): void {
      for (const end = now + 1000 * seconds; now < end;) {
        now += 100;
        total.sentBytes += 1e5 * sent;
        total.answeredBytes += 1e5 * answered;
        const { sentBytes, answeredBytes } = total;
        noteTraffic(traffic, { interface: 'eth0', family: 4, sentBytes, answeredBytes, sentPackets: Math.floor(sentBytes / 1000), answeredPackets: Math.floor(answeredBytes / 1000), groups: [] }, at(now));
      }
    }
  }
});

const loads = ({ out, back }: Traffic): string => [out.mostBytes, out.averageBytes, back.mostBytes, back.averageBytes].map(Math.round).join(' ');

test('the same delay without traffic of ours is degraded', () => {
  const life = openLife(uplinkPolicy('fibre'), () => 20);
  life.traffic = { sent: 40, answered: 40 };
  life.until(QUIET_MS).answer = (_order, now) => 20 + 900 * Math.min(1, (now - QUIET_MS) / 2000);
  life.until(QUIET_MS + 100_000);
  assert.equal(life.verdict().state, 'degraded', life.history.join('\n'));
});

test('too few samples are no statistic: an uplink that is asked once a minute is judged by ten answers, not by three', () => {
  const life = openLife(uplinkPolicy('lte', { intervalMs: 60_000, hosts: ['1.1.1.1'] }), () => 900).until(9 * 60_000);
  assert.deepEqual(times(life, 'degraded'), []);
  assert.deepEqual(qualityStatus(life.health, at(life.now)), { lossPercent: undefined, latencyMs: undefined, jitterMs: undefined, busy: false });
  assert.equal(times(life.until(15 * 60_000), 'degraded').length, 1);
});

test('a line that is asked seldom and stays slow stays degraded: too few samples are no recovery', () => {
  for (const choice of [{ intervalMs: 60_000, hosts: ['1.1.1.1'], timeoutMs: 2000 }, { intervalMs: 3000, timeoutMs: 2000 }]) {
    const life = openLife(uplinkPolicy('lte', choice), () => 1600).until(6 * HOUR_MS);
    assert.equal(times(life, 'degraded').length, 1, life.history.slice(0, 6).join('\n'));
    assert.equal(life.verdict().state, 'degraded');
    life.answer = () => 60;
    assert.equal(life.until(8 * HOUR_MS).verdict().state, 'up');
  }
});
