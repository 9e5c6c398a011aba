/** What must not depend on how much is remembered, on who counts, or on how long our own prober was blind. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { takeOutside } from '../../src/core/judge.js';
import type { Target, UplinkPolicy } from '../../src/model.js';
import { at, uplinkPolicy } from './fixture.js';
import { openLife } from './uplink-life.js';

const ALL = (): number => 8;
const NOBODY = (): undefined => undefined;

function healthOf(policy: UplinkPolicy, changes: Partial<UplinkPolicy['health']>): UplinkPolicy {
  return { ...policy, health: { ...policy.health, ...changes } };
}

test('however many answers in a row are wanted, a line that gives them comes back', () => {
  const life = openLife(healthOf(uplinkPolicy('fibre', { hosts: ['1.1.1.1'] }), { up: { successes: 1000 } }), ALL).until(5000);
  life.answer = NOBODY;
  life.until(15_000).answer = ALL;
  assert.equal(life.verdict().state, 'down');
  assert.equal(life.until(15_000 + 1100 * 1000).verdict().state, 'up');
});

test('however many missed replies are wanted, a line that misses them is suspected', () => {
  const life = openLife(healthOf(uplinkPolicy('fibre', { hosts: ['1.1.1.1'] }), { suspect: { failures: 100, burst: 3 } }), ALL).until(5000);
  life.answer = NOBODY;
  assert.equal(life.until(5000 + 105_000).verdict().state, 'down');
});

test('a timeout that is long beside the pace of the probes does not keep a dead line up', () => {
  for (const timeoutMs of [20_000, 60_000]) {
    const life = openLife(uplinkPolicy('fibre', { intervalMs: 50, timeoutMs, hosts: ['1.1.1.1'] }), ALL).until(5000);
    life.answer = NOBODY;
    assert.equal(life.until(5000 + 4 * timeoutMs).verdict().state, 'down', `${timeoutMs}`);
  }
});

test('connections that nobody counts any more vouch for nothing', () => {
  const life = openLife(uplinkPolicy('fibre'), ALL);
  life.traffic = { sent: 200, answered: 200 };
  life.until(10_000).answer = ({ target }) => (target === 'gateway' ? 8 : undefined);
  assert.deepEqual([life.until(15_000).verdict().state, life.verdict().domain], ['up', 'target']);
  life.traffic = undefined;
  assert.equal(life.until(25_000).verdict().state, 'down', life.history.join('\n'));
});

test('connections that end before the fault and go on do not vouch for the way beyond it', () => {
  const life = openLife(uplinkPolicy('fibre'), ALL);
  life.traffic = { sent: 240, answered: 240 };
  life.until(30_000).answer = ({ target }) => (target === 'gateway' ? 8 : undefined);
  // Of 200 packets a second to the internet 20 are repeated in vain; 40 to the provider's own servers go on as ever.
  life.traffic = { sent: 60, answered: 40 };
  assert.equal(life.until(40_000).verdict().state, 'down', life.history.join('\n'));
});

test('while connections vouch, traffic may become less by and by, as in the evening', () => {
  const life = openLife(uplinkPolicy('fibre'), ALL);
  life.traffic = { sent: 240, answered: 240 };
  life.until(30_000).answer = ({ target }) => (target === 'gateway' ? 8 : undefined);
  for (let rate = 240; rate > 40; rate *= 0.8) {
    life.traffic = { sent: rate, answered: rate };
    life.until(life.now + 120_000);
  }
  assert.deepEqual([life.verdict().state, life.health.suspicions], ['up', 0], life.history.join('\n'));
});

test('a prober that was blind again and again does not make patience grow: it counts the time in which it was', () => {
  const life = openLife(uplinkPolicy('fibre'), ALL).until(5000);
  for (let i = 0; i < 30; i++) {
    life.answer = () => ({ cause: 'prober', error: 'EMFILE' });
    life.until(life.now + 1000).answer = ALL;
    life.until(life.now + 1000);
  }
  const { length } = life.history;
  assert.ok(length < 2 + 2 * 30 + 2, `${length} lines of history`);
  life.answer = NOBODY;
  const diedAt = life.now;
  assert.equal(life.until(diedAt + 6000).verdict().state, 'down', life.history.slice(-4).join('\n'));
});

test('condemned from outside while our own prober is blind: one verdict, and not two in turns', () => {
  const life = openLife(uplinkPolicy('fibre'), ALL).until(5000);
  life.answer = () => ({ cause: 'prober', error: 'EMFILE' });
  life.until(8000);
  const before = life.history.length;
  takeOutside(life.health, [{ uplink: 'fibre', state: 'down', until: at(60_000), since: at(life.now), by: 'noc', because: '' }], at(life.now));
  life.until(30_000);
  assert.equal(life.history.length - before, 1, life.history.slice(before).join('\n'));
});

test('a program that may have gone by another uplink does not keep a dead one up', () => {
  const program: Target = { kind: 'exec', id: 'exec my-check', host: '', families: [4, 6], intervalMs: 1000, program: '/bin/true', args: [], limitMs: 1000 };
  const policy = uplinkPolicy('fibre');
  const life = openLife({ ...policy, probe: { ...policy.probe, targets: [...policy.probe.targets, program] } }, ALL).until(5000);
  life.answer = ({ target }) => (target === 'exec my-check' ? 30 : undefined);
  life.unpinned = 'no control groups here';
  assert.equal(life.until(15_000).verdict().state, 'down', life.history.join('\n'));
});
