/** Somebody sets the wall clock: the daemon notices, and an override from before the last boot ends when it should. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openState } from '../../src/core/state.js';
import { openTimers } from '../../src/clock.js';
import { openDaemon } from '../../src/daemon.js';
import { openDryKernel } from '../../src/kernel/dry.js';
import type { Instant, Override } from '../../src/model.js';
import { waitFor } from '../lab/wait.js';
import { at, factsOf, policyOf, uplinkPolicy } from './fixture.js';
import { openRouter, type Router } from './router.js';

const TWO = policyOf([uplinkPolicy('fibre'), uplinkPolicy('cable')]);

function ordered(): Router {
  return openRouter(TWO, factsOf(['fibre', 'cable'])).until(3000).order({ uplink: 'cable', until: at(7_200_000) }).until(4000).fresh();
}

function set(router: Router, until: number | undefined): Router {
  const override = until === undefined ? undefined : { ...router.state.override!, until: at(until), since: at(-60_000) };
  return router.give({ type: 'clock', at: at(router.now), override });
}

test('an override ends at the time that the right clock says, not a word before', () => {
  const router = set(ordered(), 10_000);
  assert.deepEqual([router.told(), router.state.override?.since], [[], -60_000]);
  router.until(9_999);
  assert.equal(router.state.override?.uplink, 'cable');
  router.until(10_001);
  assert.equal(router.state.override, undefined);
  assert.match(router.told().join(), /the override on cable ended: its time is over/);
});

test('one that is over by the right clock ends at once, is saved so, and without one nothing happens', () => {
  const router = set(ordered(), undefined);
  assert.equal(router.state.override, undefined);
  assert.deepEqual(router.effects.filter((effect) => effect.type === 'save'), [{ type: 'save', override: undefined }]);
  assert.deepEqual(set(router.fresh(), undefined).told(), []);
});

test('the daemon sees that the clock was set, forth and back, and not that it drifts', async () => {
  const now = (): Instant => performance.now() as Instant;
  const state = openState(TWO, now());
  const asked: number[] = [];
  let shiftMs = 0;
  const override: Override = { uplink: 'cable', until: undefined, confirmBy: undefined, reason: '', by: 'noc', since: now(), ifDead: 'obey' };
  state.override = override;
  let wakes = 0;
  const daemon = openDaemon(state, {
    kernel: openDryKernel(factsOf(['fibre', 'cable'])), prober: { bind: () => undefined, send: () => undefined }, now, timers: openTimers(),
    wall: () => { wakes++; return 1_700_000_000_000 + now() + shiftMs; }, clockSet: () => { asked.push(shiftMs); return override; },
    publish: () => undefined, tell: () => undefined, save: () => undefined,
  });
  daemon.start();
  try {
    for (const next of [900, 1_000_000, -5_000_000]) {
      shiftMs = next;
      const before = wakes;
      await waitFor('the clock was looked at', () => wakes - before, (looks) => looks > 1);
    }
    assert.deepEqual(asked, [1_000_000, -5_000_000]);
  } finally {
    await daemon.stop();
  }
});
