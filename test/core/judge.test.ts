/** The life of an uplink, in the order in which it happens. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { penaltyOf } from '../../src/core/damping.js';
import { at, uplinkPolicy } from './fixture.js';
import { openLife, type Life } from './uplink-life.js';

const ALL = (): number => 8;
const NOBODY = (): undefined => undefined;
/** A tenth of the time between two targets' turns. */
const JITTER_MS = 34;
/** Everybody answers but these. */
const but = (...targets: readonly string[]): Life['answer'] => ({ target }) => (targets.includes(target) ? undefined : 8);

test('unknown: the first answer from beyond the gateway makes it up', () => {
  const life = openLife(uplinkPolicy('fibre'), but('icmp 1.1.1.1')).until(2000);
  assert.deepEqual(life.history, ['0 unknown: asking for the first time', '8 up: icmp 9.9.9.9 answered']);
});

test('unknown: nobody answered within two seconds, and it is down, which is no death', () => {
  const life = openLife(uplinkPolicy('fibre'), NOBODY).until(5000);
  assert.deepEqual(life.history, ['0 unknown: asking for the first time', '2000 down: no answer from icmp 1.1.1.1, icmp 9.9.9.9 since it was first asked']);
  assert.equal(life.health.downs, 0);
});

test('unknown: where answers may take longer than two seconds they are waited for', () => {
  const life = openLife(uplinkPolicy('lte', { intervalMs: 30_000, timeoutMaxMs: 5000 }), () => 3100).until(4000);
  assert.deepEqual(life.history.slice(1), ['3100 up: icmp 1.1.1.1 answered']);
});

test('unknown: it is asked at a quick pace, so that one lost packet does not decide a cold start', () => {
  const life = openLife(uplinkPolicy('lte', { intervalMs: 30_000, hosts: ['1.1.1.1'] }), ({ seq }) => (seq === 1 ? undefined : 60)).until(3000);
  assert.deepEqual(life.history.slice(1), ['260 up: icmp 1.1.1.1 answered']);
});

test('up: the grids of the targets are staggered and do not drift', () => {
  const life = openLife(uplinkPolicy('fibre'), ALL).until(10_000);
  const times = (target: string): readonly number[] => life.sent.filter((probe) => probe.target === target && probe.at > 500).map((probe) => probe.at);
  const [gateway, one, nine] = ['gateway', 'icmp 1.1.1.1', 'icmp 9.9.9.9'].map((target) => times(target).slice(0, 9));
  for (const [i, at] of gateway!.entries()) {
    assert.ok(Math.abs(at - gateway![0]! - 1000 * i) <= JITTER_MS, `${at}`);
    const apart = (other: number): number => (other - at + 2000) % 1000;
    assert.ok(Math.abs(apart(one![i]!) - 333) <= JITTER_MS && Math.abs(apart(nine![i]!) - 667) <= JITTER_MS, `${at} ${one![i]} ${nine![i]}`);
  }
  assert.ok(new Set(gateway!.map((at) => Math.round(at) % 1000)).size > 3, 'and never quite in step');
});

test('up: a missed reply starts a burst to every target, and its answer excuses the silent one', () => {
  const life = openLife(uplinkPolicy('fibre'), ALL).until(2500);
  life.answer = ({ target, seq }) => (target === 'icmp 9.9.9.9' && seq === 4 ? undefined : 8);
  const missed = probeAfter(life, 2500, 'icmp 9.9.9.9');
  life.until(missed + 18);
  assert.equal(life.verdict().inDoubt, false, 'its time is not over yet');
  life.until(missed + 22);
  assert.equal(life.verdict().inDoubt, true);
  life.until(4000);
  assert.equal(life.verdict().inDoubt, false);
  assert.equal(life.verdict().state, 'up');
  assert.equal(life.history.length, 2, 'people hear nothing of it');
});

test('up: a target that died costs one burst, and no more until it answers again', () => {
  const life = openLife(uplinkPolicy('fibre'), ALL).until(2500);
  life.answer = but('icmp 9.9.9.9');
  life.until(30_500);
  const asked = life.sent.filter((probe) => probe.at > 2500).length;
  assert.ok(asked >= 28 * 3 && asked <= 28 * 3 + 9, `${asked} probes in 28 s`);
  assert.equal(life.verdict().state, 'up');
  life.answer = ALL;
  life.until(33_000).answer = but('icmp 9.9.9.9');
  const before = life.sent.length;
  life.until(36_000);
  assert.ok(life.sent.length - before > 9 + 2, 'it had answered again, so its silence is asked about again');
});

test('suspect: the burst stays unanswered, within milliseconds of the missed reply', () => {
  const life = openLife(uplinkPolicy('fibre'), ALL).until(2995);
  life.answer = NOBODY;
  life.until(3500);
  const missed = life.sent.find((probe) => probe.at > 2995)!.at;
  assert.deepEqual(life.history.slice(2), [`${Math.round(missed + 20 + 2000 / 8)} suspect: no answer from icmp 1.1.1.1, icmp 9.9.9.9 to a burst of 3; the gateway is silent too`]);
  assert.deepEqual([life.verdict().domain, life.health.suspicions, life.health.downs], ['gateway', 1, 0]);
});

test('suspect: where the gateway still answers, the fault lies upstream', () => {
  const life = openLife(uplinkPolicy('fibre'), ALL).until(2995);
  life.answer = but('icmp 1.1.1.1', 'icmp 9.9.9.9');
  life.until(4000);
  assert.match(life.history[2]!, /suspect: no answer from icmp 1.1.1.1, icmp 9.9.9.9 to a burst of 3$/);
  assert.equal(life.verdict().domain, 'upstream');
});

test('suspect: a gateway that never answered is no evidence, and does not hold up the verdict', () => {
  const life = openLife(uplinkPolicy('fibre'), but('gateway')).until(2995);
  life.answer = NOBODY;
  life.until(4400);
  assert.match(life.history[2]!, /^3[3-6]\d\d suspect: no answer from icmp 1.1.1.1, icmp 9.9.9.9 to a burst of 3$/);
  assert.equal(life.verdict().domain, 'upstream');
});

test('suspect: a target that died long ago, and was a slow one, is not waited for', () => {
  const life = openLife(uplinkPolicy('fibre'), ({ target }) => (target === 'icmp 9.9.9.9' ? 900 : 8)).until(6995);
  life.answer = but('icmp 9.9.9.9');
  life.until(19_995).answer = NOBODY;
  life.until(21_000);
  assert.match(life.history.at(-1)!, /^20[0-3]\d\d suspect/);
});

test('suspect: steady probes on a slow line, of which one is always open, do not keep the burst open', () => {
  const life = openLife(uplinkPolicy('fibre', { sensitivity: 'fast' }), () => 280).until(5000);
  life.answer = NOBODY;
  life.until(6200);
  assert.match(life.history[2]!, /suspect|down/);
});

test('suspect: every target is asked five times a second until it is decided', () => {
  const life = openLife(uplinkPolicy('fibre', { hosts: ['1.1.1.1'] }), ALL).until(2995);
  life.answer = NOBODY;
  life.until(6000);
  const [suspectedAt, diedAt] = life.history.slice(2).map((line) => Number(line.split(' ')[0]));
  const asked = life.sent.filter((probe) => probe.at > suspectedAt! && probe.at < diedAt!).length;
  const expected = (diedAt! - suspectedAt!) / 200;
  assert.ok(asked >= expected - 1 && asked <= expected + 3, `${asked} in ${diedAt! - suspectedAt!} ms`);
});

test('suspect: an answer revives it, old flows never noticed, and new ones rest for 5 s, 10 s, 20 s', () => {
  const life = openLife(uplinkPolicy('fibre'), ALL);
  const rests: number[] = [];
  for (const begin of [2995, 22_995, 62_995]) {
    life.answer = ALL;
    life.until(begin).answer = NOBODY;
    life.until(begin + 500).answer = ALL;
    life.until(begin + 1500);
    rests.push(Math.round((life.verdict().holdUntil! - life.verdict().since) / 1000));
  }
  assert.deepEqual(rests, [5, 10, 20]);
  assert.match(life.history[3]!, /^35\d\d up: .* answers again after [45]\d\d ms of silence; new flows return after 5 s$/);
  assert.equal(life.health.downs, 0);
});

test('suspect: the rest is bounded, and half forgotten after five minutes', () => {
  const life = openLife(uplinkPolicy('fibre'), ALL);
  for (let i = 0; i < 12; i++) {
    life.answer = ALL;
    life.until(2995 + i * 3000).answer = NOBODY;
    life.until(2995 + i * 3000 + 500).answer = ALL;
    life.until(2995 + i * 3000 + 1500);
  }
  assert.equal(Math.round(life.verdict().holdUntil! - life.verdict().since), 320_000, '5 s, six times doubled');
  life.until(40_000 + 4 * 300_000).answer = NOBODY;
  life.until(life.now + 1500).answer = ALL;
  life.until(life.now + 2500);
  assert.equal(Math.round(life.verdict().holdUntil! - life.verdict().since), 10_000, '12 suspicions, four half-lives ago, and this one');
});

test('down: the silence lasted, counted from the first probe that was missed', () => {
  for (const [sensitivity, afterMs] of [['balanced', 2000], ['fast', 300], ['calm', 10_000]] as const) {
    const life = openLife(uplinkPolicy('fibre', { sensitivity }), ALL).until(2995);
    life.answer = NOBODY;
    life.until(20_000);
    const missed = life.sent.find((probe) => probe.at >= 2995)!;
    const [died] = life.history.slice(-1);
    assert.equal(Number(died!.split(' ')[0]), Math.round(missed.at + afterMs), died);
    assert.match(died!, /down: no answer from icmp 1.1.1.1, icmp 9.9.9.9 for .*; the gateway is silent too$/);
    assert.equal(life.health.downs, 1);
  }
});

test('calm: two replies in a row are missed before anything is asked', () => {
  const life = openLife(uplinkPolicy('fibre', { sensitivity: 'calm', hosts: ['1.1.1.1'] }), ALL).until(2995);
  life.answer = ({ seq }) => (seq === 4 ? undefined : 8);
  const before = life.sent.length;
  life.until(4500);
  assert.equal(life.sent.length - before, 2);
  life.answer = NOBODY;
  life.until(7500);
  assert.equal(life.verdict().state, 'suspect');
});

test('burst 0 believes the missed reply as it is', () => {
  const life = openLife(uplinkPolicy('fibre', { burst: 0 }), ALL).until(2995);
  life.answer = NOBODY;
  life.until(3100);
  const missed = life.sent.find((probe) => probe.at > 2995)!.at;
  assert.deepEqual(life.history.slice(2), [`${Math.round(missed + 20)} suspect: no answer from icmp 1.1.1.1, icmp 9.9.9.9; the gateway is silent too`]);
});

test('quorum: so many targets beyond the gateway must answer, and the gateway counts for none', () => {
  const policy = uplinkPolicy('fibre', { hosts: ['gateway', '1.1.1.1', '8.8.8.8', '9.9.9.9'], quorum: 2 });
  const life = openLife(policy, ALL).until(2995);
  life.answer = but('icmp 9.9.9.9');
  life.until(8000);
  assert.equal(life.verdict().state, 'up');
  life.answer = but('icmp 9.9.9.9', 'icmp 8.8.8.8');
  life.until(14_000);
  assert.equal(life.verdict().state, 'down');
});

test('quorum: more than there are targets asks for all of them', () => {
  assert.equal(openLife(uplinkPolicy('fibre', { quorum: 9 }), ALL).until(100).verdict().state, 'up');
  assert.equal(openLife(uplinkPolicy('fibre', { quorum: 9 }), but('icmp 1.1.1.1')).until(3000).verdict().state, 'down');
});

test('gateway only: where nothing is asked beyond it, the gateway is the evidence', () => {
  const life = openLife(uplinkPolicy('fibre', { hosts: ['gateway'] }), ALL).until(2995);
  life.answer = NOBODY;
  life.until(6000);
  assert.deepEqual(life.history.map((line) => line.replace(/^\d+ /, '').slice(0, 40)), [
    'unknown: asking for the first time', 'up: gateway answered', 'suspect: no answer from gateway to a bur', 'down: no answer from gateway for 2 s',
  ]);
});

test('down: so many answers in a row bring it back, and one miss begins them anew', () => {
  const life = openLife(uplinkPolicy('fibre', { hosts: ['1.1.1.1'] }), ALL).until(2995);
  life.answer = NOBODY;
  life.until(9500).answer = ({ seq }, now) => (now > 13_500 && now < 14_500 && seq > 0 ? undefined : 8);
  life.until(30_000);
  const fifth = life.sent.filter((probe) => probe.at > 14_500)[4]!.at;
  assert.equal(life.history.slice(-1)[0], `${Math.round(fifth + 8)} up: icmp 1.1.1.1 answered 5 times in a row`);
  assert.equal(life.verdict().holdUntil, undefined, 'the hold of a return is not the judge\'s business');
  assert.equal(life.health.risenAt, fifth + 8);
});

test('severed: down at once, whatever it was, and with the reason', () => {
  const life = openLife(uplinkPolicy('fibre'), ALL).until(3000);
  life.line({ severed: 'no carrier on eth0', severedDomain: 'link' }).until(10_000);
  assert.deepEqual(life.history.slice(2), ['3000 down: no carrier on eth0']);
  assert.equal(life.sent.filter((probe) => probe.at > 3000).length, 0, 'nobody is asked');
  life.line({ severed: '', severedDomain: 'none' }).until(16_000);
  assert.match(life.history[3]!, /^10000 down: the line is back; waiting for 5 answers in a row$/);
  assert.match(life.history[4]!, /^13[34]\d\d up: /);
});

test('another address or gateway: asked anew, and what was sent before is no evidence for it', () => {
  const life = openLife(uplinkPolicy('fibre', { hosts: ['1.1.1.1'] }), ALL).until(2995);
  life.answer = () => 700;
  life.until(3010).answer = NOBODY;
  life.line({ address: '198.51.100.77' }).until(3900);
  assert.deepEqual(life.history.slice(2), ['3010 unknown: address or gateway changed; asking anew'], 'the answer to the probe of 3000 arrived at 3700');
  life.until(6000);
  assert.equal(life.verdict().state, 'down');
});

test('a late answer to a burst revives it, and out of order answers are welcome', () => {
  const life = openLife(uplinkPolicy('fibre'), ALL).until(2995);
  life.answer = ({ seq }) => (seq % 2 === 0 ? 400 : 395);
  life.until(3400);
  assert.equal(life.verdict().state, 'suspect');
  life.until(3800);
  assert.equal(life.verdict().state, 'up');
});

test('starvation: what lies unread when an overdue timer rings gets a moment to be read', () => {
  const life = openLife(uplinkPolicy('fibre', { burst: 0 }), ALL);
  life.until(probeAfter(openLife(uplinkPolicy('fibre', { burst: 0 }), ALL), 2990));
  assert.equal(life.sent.at(-1)!.at, life.now, 'it has just been asked');
  life.starveUntil(5000, 'unread').until(9000);
  assert.equal(life.history.length, 2, life.history.slice(2).join('\n'));
});

test('starvation: a suspect is not condemned for the time in which it was not asked', () => {
  const life = openLife(uplinkPolicy('fibre'), ALL).until(2995);
  life.answer = (_order, now) => (now < 3700 ? undefined : 8);
  life.until(3500);
  assert.equal(life.verdict().state, 'suspect');
  life.starveUntil(7000).until(8000);
  assert.equal(life.verdict().state, 'up');
  assert.equal(life.health.downs, 0);
});

test('an answer never condemns: the gateway\'s is read first, the one that proves life lies behind it', () => {
  const life = openLife(uplinkPolicy('fibre'), ALL).until(2995);
  life.answer = ({ target }, now) => (now < 4700 ? undefined : target === 'gateway' ? 200 : 205);
  life.until(4890);
  // The wake that would condemn it at 5000 comes late; both answers are in by then.
  life.starveUntil(5150);
  assert.deepEqual(life.history.slice(2).map((line) => line.split(' ')[1]), ['suspect:', 'up:']);
});

test('asked because another is in doubt: in doubt itself until it answers', () => {
  const life = openLife(uplinkPolicy('cable'), () => 60).until(5400);
  life.check();
  assert.equal(life.verdict().inDoubt, true);
  life.until(5461);
  assert.equal(life.verdict().inDoubt, false);
});

test('asked because another is in doubt: the first miss counts, even where two are needed else', () => {
  const life = openLife(uplinkPolicy('cable', { sensitivity: 'calm' }), ALL).until(5400);
  life.answer = NOBODY;
  life.check().until(6700);
  assert.equal(life.verdict().state, 'suspect');
});

test('deaths fade: each counts half after five minutes', () => {
  const life = openLife(uplinkPolicy('fibre'), ALL).until(3000);
  for (const severed of ['no carrier on eth0', '']) life.line({ severed, severedDomain: 'link' });
  life.until(20_000);
  assert.equal(Math.round(penaltyOf(life.health, at(303_000)) * 100) / 100, 0.5);
});

/** When this target, or anybody, is asked next after that instant. */
function probeAfter(life: Life, ms: number, target?: string): number {
  const probe = (): Life['sent'][number] | undefined => life.sent.find((each) => each.at > ms && (target === undefined || each.target === target));
  while (probe() === undefined) life.until(life.now + 1);
  return probe()!.at;
}
