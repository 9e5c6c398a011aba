/** The memory for bad manners: holds that double, suppression, and how both fade; in the judge's memory, the verdict and the status. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { holdMs, penaltyOf, suppressedUntil } from '../../src/core/damping.js';
import { openHealth } from '../../src/core/health.js';
import { status } from '../../src/core/status.js';
import { verdictOf } from '../../src/core/verdict.js';
import type { Policy, UplinkStatus } from '../../src/model.js';
import { at, factsOf, linkOf, policyOf, uplinkPolicy } from './fixture.js';
import { openRouter, type Router } from './router.js';
import { openLife, WHOLE, type Life } from './uplink-life.js';

const HALF_LIFE_MS = 300_000;
const NAMES = ['fibre', 'cable'] as const;

/** Its cable is pulled so many times, and it is up again before each. */
function dies(life: Life, times: number): Life {
  for (let i = 0; i < times; i++) {
    life.line({ severed: 'no carrier on eth0', severedDomain: 'link' }).until(life.now + 100);
    life.line({ severed: '' }).until(life.now + 6000);
    assert.equal(life.verdict().state, 'up');
  }
  return life;
}

function openSteady(): Life {
  return openLife(uplinkPolicy('fibre'), () => 8).until(5000);
}

test('the hold: once for the first death, doubled with each more, four times at the most', () => {
  const policy = policyOf([uplinkPolicy('fibre')], { holdMs: 30_000 });
  assert.deepEqual([0, 1, 2, 3, 4, 5, 9, 40].map((penalty) => holdMs(policy, penalty) / 1000), [30, 30, 60, 120, 240, 480, 480, 480]);
  assert.equal(holdMs(policy, 1.4), 30_000, 'to the nearest whole');
  assert.equal(holdMs(policy, 1.6), 60_000);
});

test('each death counts one, and half after a half-life', () => {
  const life = dies(openSteady(), 2);
  const { now } = life;
  assert.ok(Math.abs(penaltyOf(life.health, at(now)) - 2) < 0.1);
  assert.equal((penaltyOf(life.health, at(now + HALF_LIFE_MS)) / penaltyOf(life.health, at(now))).toFixed(3), '0.500');
});

test('three deaths in a short time: it comes last until the penalty has fallen to the level of reuse', () => {
  const life = dies(openSteady(), 3);
  assert.equal(life.verdict().holdUntil, undefined, 'they faded a little: not quite three');
  dies(life, 1);
  const until = life.verdict().holdUntil!;
  assert.equal(until, suppressedUntil(life.health));
  assert.equal(penaltyOf(life.health, until).toFixed(3), '1.000');
  assert.ok(until - life.now > 1.8 * HALF_LIFE_MS && until - life.now < 2 * HALF_LIFE_MS, `${until - life.now}`);
  life.until(until - 1000);
  assert.equal(life.verdict().holdUntil, until, 'time alone does not move it');
  life.until(until + 2000);
  assert.equal(life.verdict().holdUntil, undefined);
  assert.equal(life.verdict().state, 'up');
});

test('one that is suppressed and dies again waits longer, but never more than four half-lives', () => {
  const life = dies(openSteady(), 60);
  assert.ok(life.health.penalty <= 16);
  const leftMs = life.verdict().holdUntil! - life.now;
  assert.ok(leftMs > 3.9 * HALF_LIFE_MS && leftMs <= 4 * HALF_LIFE_MS, `${leftMs}`);
  life.until(life.now + 2 * HALF_LIFE_MS);
  assert.ok(life.health.suppressed, 'below `suppress` is not yet below `reuse`');
});

test('a suppression begins and ends without a change of state', () => {
  const life = dies(openSteady(), 4);
  const told = life.history.length;
  life.until(life.verdict().holdUntil! + 5000);
  assert.equal(life.history.length, told);
});

test('a suspicion that proved wrong is no penalty', () => {
  const life = openSteady();
  life.answer = (_order, now) => (now % 20_000 < 900 ? undefined : 8);
  life.until(300_000);
  assert.ok(life.health.suspicions > 3, `${life.health.suspicions}`);
  assert.equal(penaltyOf(life.health, at(life.now)), 0);
  assert.equal(life.health.suppressed, false);
});

test('rest and suppression: the later one holds', () => {
  const life = dies(openSteady(), 4);
  const suppressed = life.verdict().holdUntil!;
  life.answer = () => undefined;
  life.until(life.now + 1500).answer = () => 8;
  life.until(life.now + 1000);
  assert.equal(life.verdict().state, 'up');
  assert.ok(life.health.restUntil! > life.now && Math.abs(life.verdict().holdUntil! - suppressed) < 1);
});

test('an uplink of another policy keeps what is remembered against it', () => {
  const life = dies(openSteady(), 4);
  const { policy } = life.health;
  const anew = openHealth({ ...policy, probe: { ...policy.probe, intervalMs: 500 } }, 4, at(life.now), life.health);
  assert.deepEqual([anew.penalty, anew.suppressed, anew.levelsAt, anew.downs, anew.mustProve], [life.health.penalty, true, life.health.levelsAt, 4, true]);
  anew.line = WHOLE;
  assert.equal(verdictOf(anew).holdUntil, life.verdict().holdUntil);
});

function openPair(): Router {
  return openRouter(policyOf(NAMES.map((name) => uplinkPolicy(name)), { holdMs: 3000 }), factsOf(NAMES)).until(5000);
}

function unplug(router: Router, times: number): Router {
  for (let i = 0; i < times; i++) {
    router.kernel.outside.setLink(linkOf('fibre', { carrier: false }));
    router.until(router.now + 200).kernel.outside.setLink(linkOf('fibre'));
    router.until(router.now + 7000);
  }
  return router;
}

const fibre = (router: Router): UplinkStatus => status(router.state, at(router.now)).uplinks[0]!;
const leader = (router: Router): string => router.state.planes.get(4)!.decision!.ranks[0]!.members.map(({ uplink }) => uplink).join('+');

test('in the whole core: the suppressed one comes last, the status says until when, and then it leads again', () => {
  const router = unplug(openPair(), 4);
  const [{ damping }] = fibre(router).families as [UplinkStatus['families'][number]];
  assert.ok(damping.penalty > 3 && damping.suppressedUntil! > router.now && damping.holdMs === 24_000, JSON.stringify(damping));
  assert.equal(leader(router), 'cable');
  router.until(damping.suppressedUntil! - 1000);
  assert.equal(leader(router), 'cable', 'however long it has been up');
  router.until(damping.suppressedUntil! + 1000);
  assert.equal(leader(router), 'fibre');
  assert.equal(fibre(router).families[0]!.damping.suppressedUntil, undefined);
});

test('in the whole core: the suppressed one carries when there is nothing else', () => {
  const router = unplug(openPair(), 4);
  router.kernel.outside.setLink(linkOf('cable', { carrier: false }));
  router.until(router.now + 500);
  assert.equal(leader(router), 'fibre');
});

test('in the whole core: a reload keeps the penalties, whether it concerns the uplink or not', () => {
  const router = unplug(openPair(), 4);
  const before = fibre(router).families[0]!.damping;
  const { policy } = router.state;
  const reload = (changes: Partial<Policy>): Router => router.give({ type: 'policy', at: at(router.now), policy: { ...policy, ...changes }, token: 0 });
  reload({ routed: ['192.0.2.0/24'] });
  assert.deepEqual(fibre(router).families[0]!.damping, before);
  reload({ uplinks: policy.uplinks.map((uplink) => ({ ...uplink, probe: { ...uplink.probe, intervalMs: 700 } })) }).until(router.now + 8000);
  const after = fibre(router).families[0]!.damping;
  assert.equal(after.suppressedUntil, before.suppressedUntil);
  assert.equal(leader(router), 'cable');
});
