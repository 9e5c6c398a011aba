/** What is asked and when: cadences, turns, jitter, what it costs, and what a budget makes of it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { costBytes, openSpending, roundMs, spend, spentBytes } from '../../src/core/spending.js';
import type { ProbePolicy, Target, UplinkPolicy } from '../../src/model.js';
import { at, LINES, targetsOf, uplinkPolicy, type LineName } from './fixture.js';
import { openLife, type Life } from './uplink-life.js';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const MB = 1_000_000;
const ALL = (): number => 8;

const base = { families: [4], intervalMs: undefined } as const;
const page: Target = { ...base, kind: 'http', id: 'page', host: '', url: 'http://a.example/', resolvers: ['9.9.9.9'], status: 204, body: '', header: undefined, intervalMs: 30_000 };
const program: Target = { ...base, kind: 'exec', id: 'program', host: '', program: '/bin/check', args: [], limitMs: 3000 };
const hop: Target = { ...base, kind: 'hop', id: 'hop', host: '1.1.1.1', hops: 2 };
const large: Target = { ...base, kind: 'icmp', id: 'large', host: '1.1.1.1', sizeBytes: 1500 };

function probing(name: LineName, probe: Partial<ProbePolicy>): UplinkPolicy {
  const policy = uplinkPolicy(name);
  return { ...policy, probe: { ...policy.probe, ...probe } };
}

const asked = (life: Life, target: string, fromMs = 0): readonly number[] => life.sent.filter((probe) => probe.target === target && probe.at > fromMs).map((probe) => probe.at);
const gaps = (times: readonly number[]): readonly number[] => times.slice(1).map((time, i) => time - times[i]!);

test('each target has its own cadence; who only explains is asked a tenth as often, unless it is told', () => {
  const life = openLife(probing('fibre', { targets: [...targetsOf(['gateway', '1.1.1.1']), page, hop, large, { ...hop, id: 'hop 5s', intervalMs: 5000 }] }), ALL).until(305_000);
  const counts = Object.fromEntries(['gateway', 'icmp 1.1.1.1', 'page', 'hop', 'large', 'hop 5s'].map((id) => [id, asked(life, id, 5000).length]));
  assert.deepEqual(counts, { gateway: 300, 'icmp 1.1.1.1': 300, page: 10, hop: 30, large: 30, 'hop 5s': 60 });
});

test('jitter: a tenth of the time between two turns and no more, and the grid does not drift by it', () => {
  const life = openLife(uplinkPolicy('fibre'), ALL).until(601_000);
  const times = asked(life, 'gateway', 500);
  const offsets = times.map((time, i) => time - times[0]! - 1000 * i);
  assert.ok(Math.max(...offsets) - Math.min(...offsets) <= 34, `${Math.min(...offsets)} to ${Math.max(...offsets)}`);
  assert.ok(Math.max(...offsets) - Math.min(...offsets) > 20, 'it is there');
});

test('rotation: so many of those beyond the gateway per interval, each as often as the others, the gateway always', () => {
  const life = openLife(probing('fibre', { targets: targetsOf(['gateway', '1.1.1.1', '8.8.8.8', '9.9.9.9', '208.67.222.222']), rotate: 1 }), ALL).until(405_000);
  const counts = ['gateway', 'icmp 1.1.1.1', 'icmp 8.8.8.8', 'icmp 9.9.9.9', 'icmp 208.67.222.222'].map((id) => asked(life, id, 5000).length);
  assert.deepEqual(counts, [400, 100, 100, 100, 100]);
  const beyond = life.sent.filter(({ target, at: sentAt }) => target !== 'gateway' && sentAt > 6000).map((probe) => probe.at);
  assert.ok(Math.max(...gaps(beyond)) < 1500, 'spread over the interval, not in clumps');
  assert.equal(openLife(probing('fibre', { rotate: 9 }), ALL).until(105_000).sent.filter(({ at: sentAt }) => sentAt > 5000).length, 300, 'more than there are: all');
});

test('rotation: a dead line is found by whoever has his turn', () => {
  const life = openLife(probing('fibre', { targets: targetsOf(['gateway', '1.1.1.1', '8.8.8.8', '9.9.9.9', '208.67.222.222']), rotate: 1 }), ALL).until(60_000);
  life.answer = () => undefined;
  life.until(64_000);
  assert.equal(life.verdict().state, 'down');
});

test('no two uplinks share their instants, nor two targets of one', () => {
  const times = LINES.map(({ name }) => openLife(uplinkPolicy(name), ALL).until(60_000).sent.filter((probe) => probe.at > 1000).map((probe) => probe.at));
  const all = times.flat().toSorted((a, b) => a - b);
  assert.equal(new Set(all.map((time) => time.toFixed(3))).size, all.length);
  const mean = all.slice(1).reduce((sum, time, i) => sum + (time - all[i]!), 0) / all.length;
  const close = gaps(all).filter((gap) => gap < mean / 10).length;
  assert.ok(close < all.length / 5, `${close} of ${all.length} pairs close together`);
});

test('the dear are not asked by volleys but once, and less often while suspect', () => {
  const life = openLife(probing('fibre', { targets: [...targetsOf(['gateway', '1.1.1.1']), page, program] }), ALL).until(60_000);
  const from = life.now;
  life.answer = () => undefined;
  life.until(from + 3300);
  const counts = ['gateway', 'page', 'program'].map((id) => asked(life, id, from).length);
  assert.ok(counts[0]! >= 10 && counts[1]! >= 1 && counts[1]! <= 2 && counts[2]! <= 6, counts.join(' '));
});

test('a slow target that answers well keeps nobody waiting, and one that is asked every 30 s needs one answer to prove itself', () => {
  const life = openLife(probing('fibre', { targets: [page] }), ALL).until(61_000);
  life.answer = () => undefined;
  life.until(160_000);
  assert.equal(life.verdict().state, 'down', life.history.join('\n'));
  life.answer = ALL;
  life.until(life.now + 31_000);
  assert.equal(life.verdict().state, 'up', 'within one round of its own');
});

test('what it costs: question and answer with their headers', () => {
  const cost = (target: Target): readonly number[] => [costBytes(target, 4), costBytes(target, 6)];
  assert.deepEqual(cost(targetsOf(['1.1.1.1'])[0]!), [80, 120]);
  assert.deepEqual(cost(large), [3000, 3000]);
  assert.deepEqual(cost({ ...base, kind: 'tcp', id: 't', host: '1.1.1.1', port: 443 }), [208, 288]);
  assert.deepEqual(cost({ ...base, kind: 'arp', id: 'a', host: 'gateway' }), [56, 144]);
  assert.deepEqual(cost(program), [0, 0]);
});

test('spending is kept by the hour for a day, also over days of silence', () => {
  const spending = openSpending(at(0));
  for (let hour = 0; hour < 48; hour++) spend(spending, 100, at(hour * HOUR_MS + 5));
  assert.equal(spentBytes(spending, at(48 * HOUR_MS - 1)), 2400);
  assert.equal(spentBytes(spending, at(60 * HOUR_MS)), 1100);
  assert.equal(spentBytes(spending, at(400 * HOUR_MS)), 0);
  spend(spending, 7, at(400 * HOUR_MS));
  assert.equal(spentBytes(spending, at(400 * HOUR_MS)), 7);
});

test('the fair pace until half is spent, then slower and slower, once a minute at last', () => {
  const spending = openSpending(at(0));
  const fairMs = (240 * DAY_MS) / (5 * MB);
  assert.equal(roundMs(spending, 5 * MB, 240, at(0)), fairMs);
  spend(spending, 2.5 * MB, at(0));
  assert.equal(roundMs(spending, 5 * MB, 240, at(0)), fairMs);
  spend(spending, 1.25 * MB, at(0));
  assert.equal(roundMs(spending, 5 * MB, 240, at(0)), 2 * fairMs);
  spend(spending, 2 * MB, at(0));
  assert.equal(roundMs(spending, 5 * MB, 240, at(0)), 60_000);
});

test('a standby line of three targets with 5 MB a day keeps to it, day after day, and is asked as often as that allows', () => {
  const life = openLife(probing('lte', { budgetBytes: 5 * MB }), () => 60);
  for (let day = 1; day <= 3; day++) {
    life.until(day * DAY_MS);
    const spent = spentBytes(life.health.spending, at(life.now));
    assert.ok(spent <= 5 * MB && spent > 2.5 * MB, `day ${day}: ${(spent / MB).toFixed(2)} MB`);
  }
  const usual = gaps(asked(life, 'gateway', 2 * DAY_MS));
  assert.ok(Math.max(...usual) <= 61_000 && usual[usual.length >> 1]! < 10_000, `${usual[usual.length >> 1]}`);
  assert.equal(life.verdict().state, 'up');
});

test('a small budget: once a minute is the least, whatever it costs', () => {
  const life = openLife(probing('lte', { budgetBytes: 100_000 }), () => 60).until(2 * DAY_MS);
  assert.ok(Math.max(...gaps(asked(life, 'gateway', HOUR_MS))) < 66_000);
});

test('who leads is watched at the usual pace until the budget is spent', () => {
  const life = openLife(probing('lte', { budgetBytes: 2 * MB }), () => 60);
  life.health.leads = true;
  life.until(HOUR_MS);
  assert.equal(asked(life, 'gateway', HOUR_MS - 600_500).length, 600);
  life.until(9 * HOUR_MS);
  assert.ok(asked(life, 'gateway', 8.5 * HOUR_MS).length <= 31, 'then once a minute');
});

test('who leads is asked less while connections tell as much for nothing, and a death is seen by them at once', () => {
  const life = openLife(probing('lte', { budgetBytes: 5 * MB }), () => 60);
  life.health.leads = true;
  life.traffic = { sent: 300, answered: 300 };
  life.until(600_000);
  assert.ok(asked(life, 'gateway', 300_000).length < 100, `${asked(life, 'gateway', 300_000).length} in five minutes`);
  life.answer = () => undefined;
  life.traffic = { sent: 300, answered: 0 };
  life.until(600_600);
  assert.equal(life.verdict().state, 'suspect', life.history.join('\n'));
});

test('a suspect is asked at the quick pace whatever the budget', () => {
  const life = openLife(probing('lte', { budgetBytes: MB }), () => 60).until(2 * HOUR_MS);
  life.answer = () => undefined;
  life.until(2 * HOUR_MS + 70_000);
  assert.equal(life.verdict().state, 'down');
});
