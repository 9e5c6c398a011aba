/**
 * The seeded simulation: the whole core against a world that lies, breaks and interferes, with named laws that must hold throughout.
 *
 * One run plays one part of the seeds (turns.ts); `npm run sim` plays all. UPLINKD_SIM_SEED=4711 plays that one seed. A failure names its seed
 * first; `node dist/test/sim/main.js SEED` tells its story.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LAWS, play, playTwice } from './play.js';
import { turnsOf } from '../turns.js';
import { WEATHERS } from './weather.js';

const one = process.env['UPLINKD_SIM_SEED'];
/** Of each weather, in each part. */
const SEEDS = 1;
const PARTS = 12;
const parts = turnsOf(PARTS);

WEATHERS.forEach((weather, index) => {
  const seeds = one !== undefined ? [Number(one)] : parts.flatMap((part) => Array.from({ length: SEEDS }, (_, i) => (part * SEEDS + i) * WEATHERS.length + index));
  if (one !== undefined && seeds[0]! % WEATHERS.length !== index) return;
  test(`${weather.name}: ${LAWS.length} laws hold, seeds ${seeds.join(', ')}`, () => {
    for (const seed of seeds) {
      const { breaches } = play(seed);
      const told = breaches.map(({ law, atMs, what }) => `${law} at ${atMs} ms: ${what}`);
      assert.deepEqual(told, [], `seed ${seed} (${weather.name})\n${told.join('\n')}\nnode dist/test/sim/main.js ${seed}`);
    }
  });
});

test('deterministic: the same seed gives the same transcript, whatever the clocks of the machine do', () => {
  for (const part of parts) {
    for (let seed = 1 + part; seed <= WEATHERS.length; seed += 2 * PARTS) {
      const { breaches } = playTwice(seed);
      assert.deepEqual(breaches, [], `seed ${seed}`);
    }
  }
});

test('each law has a name of its own and says in one sentence what must hold', () => {
  assert.equal(new Set(LAWS.map((law) => law.name)).size, LAWS.length);
  for (const { name, says } of LAWS) assert.match(says, /^[A-Z"].{20,}\.$/, name);
});
