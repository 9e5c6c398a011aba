/** Connections that are older than NAT: when they are looked for, and of which uplinks. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ForgetOrder, HostReport, Policy } from '../../src/model.js';
import { at, factsOf, policyOf, uplinkPolicy } from './fixture.js';
import { openRouter, type Router } from './router.js';

const REPORT: HostReport = { natBackend: 'nftables', natInSync: true, natRepaired: false, sysctlsInSync: true, problems: [] };
const TWO = policyOf([uplinkPolicy('fibre'), uplinkPolicy('cable')]);

const sought = (router: Router): readonly ForgetOrder[] => router.effects.flatMap((effect) => (effect.type === 'forget' && effect.order.astray !== undefined ? [effect.order] : []));
const reported = (router: Router, changes: Partial<HostReport> = {}): Router => router.give({ type: 'host', at: at(router.now), wish: router.state.hostWish!, report: { ...REPORT, ...changes } });
const opened = (policy: Policy = TWO): Router => openRouter(policy, factsOf(['fibre', 'cable'])).until(1500).fresh();

test('sought when NAT stands for the first time: at once, and as long as the kernel keeps one that is never answered', () => {
  const router = reported(opened());
  for (const [until, times] of [[2000, 0], [2510, 2], [36_000, 2], [36_510, 4], [606_000, 4], [606_510, 6], [2_000_000, 6]] as const) {
    assert.equal(sought(router.until(until)).length, times, `${until} ms`);
  }
  const [first] = sought(router);
  assert.deepEqual([first?.uplink, first?.which, first?.cutMark, first?.family], ['fibre', 'unanswered', 0, 4]);
  assert.deepEqual([first?.astray?.uplink, first?.astray?.uplinks.length], [router.state.planes.get(4)!.health.get('fibre')!.line.ifindex, 2]);
});

test('sought again after every rebuild, and when NAT comes back; not when it was found well', () => {
  const router = reported(opened());
  router.until(1_000_000).fresh();
  assert.equal(sought(reported(router).until(1_700_000)).length, 0);
  assert.equal(sought(reported(router, { natRepaired: true }).until(1_702_000)).length, 2);
  router.until(2_500_000).fresh();
  assert.equal(sought(reported(router, { natBackend: 'none', natInSync: false }).until(2_600_000)).length, 0);
  assert.equal(sought(reported(router).until(2_602_000)).length, 2);
});

test('a line that is never translated has nothing astray', () => {
  const policy = policyOf([uplinkPolicy('fibre', { translate: { 4: { kind: 'none' } } }), uplinkPolicy('cable')]);
  assert.deepEqual(sought(reported(opened(policy)).until(3000)).map(({ uplink }) => uplink), ['cable']);
});
