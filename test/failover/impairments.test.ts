/** Lines that answer, and are of little use all the same: portals, dead resolvers, black holes for large packets, loss. New flows leave them, old ones stay. Each run plays one of the domains. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { labUnavailable, now } from '../lab/lab.js';
import type { Lab } from '../lab/lab.js';
import { inTurn } from '../turns.js';
import { STEADY, assertUnhurt, carriers, heldMs, said, settled, shareStory, stateOf, uplinkIn, untilState } from './story.js';

const skip = (await labUnavailable()) ?? false;
const tell = shareStory({ topology: { isps: 2 }, before: async (lab) => lab.serve() });
const WITNESSES = [{ icmp: 'gateway' }, { icmp: '1.1.1.1' }, { icmp: '9.9.9.9' }] as const;

const TROUBLES: readonly { readonly domain: string; readonly target: readonly object[]; readonly strike: (lab: Lab) => Promise<unknown>; readonly because: RegExp }[] = [
  {
    domain: 'portal',
    target: [{ http: { url: 'http://connectivity.example/generate_204', interval: '1s' } }],
    strike: async (lab) => lab.portal('fibre', { others: 'through' }),
    because: /^a captive portal is in the way: .*http:\/\/login\.portal\.lab\//,
  },
  { domain: 'dns', target: [{ dns: '1.1.1.1' }, { dns: '9.9.9.9' }], strike: async (lab) => lab.dnsBroken('fibre'), because: /^names cannot be looked up: dns 1\.1\.1\.1, dns 9\.9\.9\.9 fail$/ },
  {
    domain: 'mtu',
    target: [{ icmp: { host: '1.1.1.1', size: 1500, interval: '400ms' } }],
    strike: async (lab) => lab.mtu('fibre', 1400),
    because: /^packets of 1500 bytes get no answer from 1\.1\.1\.1, small ones do$/,
  },
];

for (const { domain, target, strike, because } of inTurn(TROUBLES)) {
  test(`a line with a fault of domain ${domain} is degraded and says why: new flows leave it, old ones stay; healed, it leads again after the hold`, { skip }, () =>
    tell(async ({ lab, daemon }) => {
      const [old, tcp, fresh] = await Promise.all([lab.stream({ kind: 'udp', rateHz: 50 }), lab.stream({ kind: 'tcp' }), lab.stream({ kind: 'new-udp', rateHz: 50 })]);
      const since = now();
      await strike(lab);
      const status = await untilState(daemon, 'fibre', 'degraded');
      assert.equal(uplinkIn(status, 'fibre')['domain'], domain);
      assert.match(uplinkIn(status, 'fibre').because, because);
      await daemon.untilActive('cable');
      assert.deepEqual([await carriers(fresh), await carriers(old), await carriers(tcp)], [['cable'], ['fibre'], ['fibre']]);
      assert.equal(stateOf(await daemon.status(), 'cable'), 'up');

      await lab.heal('fibre');
      await untilState(daemon, 'fibre', 'up');
      const back = await daemon.untilActive('fibre');
      assert.ok(heldMs(back, 'fibre') >= 1000, `back after ${heldMs(back, 'fibre')} ms`);
      await settled(daemon);
      assert.deepEqual([await carriers(fresh), await carriers(old)], [['fibre'], ['fibre']]);
      await assertUnhurt({ old, tcp, fresh }, since);
      assert.deepEqual(said(daemon, /is (suspect|down)|forgot \d+ connections/), []);
    }, { probe: { ...STEADY.probe, targets: [...WITNESSES, ...target] } }));
}

test('a preferred line that loses 40 % is degraded, new flows leave it, and no running connection is cut', { skip }, () =>
  tell(async ({ lab, daemon }) => {
    const [tcp, fresh] = await Promise.all([lab.stream({ kind: 'tcp' }), lab.stream({ kind: 'new-udp', rateHz: 50 })]);
    await lab.lossy('fibre', 40);
    const status = await daemon.until('fibre is degraded', (seen) => stateOf(seen, 'fibre') === 'degraded');
    assert.equal(uplinkIn(status, 'fibre')['domain'], 'quality');
    assert.match(uplinkIn(status, 'fibre').because, /^\d+ % of probes are lost \(more than 20 %\)$/);
    await daemon.untilActive('cable');
    assert.deepEqual(await carriers(fresh), ['cable']);
    await lab.heal('fibre');
    await tcp.outageAfter(now(), { calmMs: 500 });
    assert.deepEqual([await tcp.broken(), await carriers(tcp)], [[], ['fibre']]);
    assert.deepEqual(said(daemon, /fibre is down|forgot \d+ connections of fibre/), []);
  }, { probe: { targets: WITNESSES, interval: '500ms' }, health: { sensitivity: 'balanced' } }));
