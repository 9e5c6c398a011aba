/** An uplink that a new config brings, and prefers, takes new flows from the first moment on as it should: translated, and marked. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { labUnavailable, now } from '../lab/lab.js';
import { BACKENDS, STEADY, assertUnhurt, carriers, withStory } from './story.js';

for (const backend of BACKENDS) {
  const skip = (await (backend === 'iptables' ? labUnavailable('iptables') : labUnavailable())) ?? false;
  test(`a preferred uplink that comes by a reload costs new flows nothing (${backend})`, { skip }, () => {
    const cable = { interface: 'isp1', gateway: '203.0.113.1', priority: 2 };
    const fibre = { interface: 'isp0', gateway: '198.51.100.1', priority: 1 };
    return withStory({ topology: { isps: 2 }, config: { nat: { backend }, uplinks: { cable } }, expects: ['cable'] }, async ({ lab, daemon }) => {
      const fresh = await lab.stream({ kind: 'new-udp', rateHz: 500 });
      assert.deepEqual(await carriers(fresh), ['cable']);
      const since = now();
      daemon.configure(lab.config({ ...STEADY, nat: { backend }, uplinks: { fibre, cable } }));
      assert.equal((await daemon.ctl('reload')).code, 0);
      await daemon.untilActive('fibre');
      assert.deepEqual(await carriers(fresh), ['fibre']);
      await assertUnhurt({ fresh }, since);
    });
  });
}
