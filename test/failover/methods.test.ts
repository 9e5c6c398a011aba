/**
 * Uplinks that are judged by one method alone, in both families. Each uplink asks an address of its own, so that a probe that strayed to the other
 * line would be seen there. Each run plays one of them.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { labUnavailable, now } from '../lab/lab.js';
import { inTurn } from '../turns.js';
import { arrivals, carriers, defaultsOf, familyIn, pings, untilState, withStory } from './story.js';

const skip = (await labUnavailable()) ?? false;
const noCurl = (await labUnavailable('curl')) ?? false;
const FIBRE = ['8.8.8.8', '2606:4700:4700::1111'] as const;
const CABLE = ['9.9.9.9', '2620:fe::fe'] as const;
const GATEWAYS = { gateway6: 'fe80::1' } as const;

const METHODS: readonly { readonly name: string; readonly target: (address: string) => object; readonly because: RegExp }[] = [
  { name: 'tcp', target: (address) => ({ tcp: `${literal(address)}:443` }), because: /^no answer from tcp 8\.8\.8\.8:443 for / },
  { name: 'dns', target: (address) => ({ dns: address }), because: /^no answer from dns 8\.8\.8\.8/ },
  { name: 'http', target: (address) => ({ http: { url: `http://${literal(address)}/generate_204`, interval: '1s' } }), because: /^no answer from http 8\.8\.8\.8\/generate_204 for / },
  { name: 'exec', target: program, because: /^no answer from .*bash/ },
];

for (const { name, target, because } of inTurn(METHODS)) {
  const asks = (addresses: readonly string[]): object => ({ probe: { targets: addresses.map(target) } });
  const config = {
    uplinks: {
      fibre: { interface: 'isp0', gateway: '198.51.100.1', ...GATEWAYS, priority: 1, ...asks(FIBRE) },
      cable: { interface: 'isp1', gateway: '203.0.113.1', ...GATEWAYS, priority: 2, ...asks(CABLE) },
    },
    probe: { interval: '300ms', timeoutMin: '150ms', passive: false },
    health: { sensitivity: 'fast', down: { after: '1s' }, up: { successes: 2 } },
  };
  test(`${name} alone tells that an upstream is dead and that it lives again, in both families, and never asks by another line`, { skip: name === 'exec' ? noCurl : skip }, () =>
    withStory({ topology: { isps: 2, ipv6: true }, config, before: async (lab) => lab.serve() }, async ({ lab, daemon }) => {
      const fresh = await Promise.all([undefined, '2001:db8:ffff::10'].map(async (to) => lab.stream({ kind: 'new-udp', rateHz: 50, ...(to === undefined ? {} : { to }) })));
      const what = `ip daddr ${FIBRE[0]} meta l4proto != ipv6-icmp`;
      const what6 = `ip6 daddr ${FIBRE[1]}`;
      const [asked, asked6, strayed, strayed6] = await Promise.all([arrivals(lab, 'fibre', what), arrivals(lab, 'fibre', what6), arrivals(lab, 'cable', what), arrivals(lab, 'cable', what6)]);
      const struck = await lab.upstreamDead('fibre');
      for (const stream of fresh) await stream.outageAfter(struck, { calmMs: 500 });
      const status = await daemon.until('fibre is down in both families', ({ uplinks }) => uplinks[0]?.families.every((one) => one.state === 'down') === true);
      assert.match(familyIn(status, 'fibre', 4).because, because);
      for (const stream of fresh) assert.deepEqual(await carriers(stream), ['cable']);
      for (const family of [4, 6] as const) assert.match((await defaultsOf(lab, family))[0] ?? '', / dev isp1 /);

      const since = [await asked(), await asked6()] as const;
      await lab.heal('fibre');
      const back = await untilState(daemon, 'fibre', 'up');
      assert.equal(familyIn(back, 'fibre', 4).state, 'up');
      await daemon.untilActive('fibre');
      assert.ok(await asked() > since[0] && await asked6() > since[1], 'the dead line is asked, and nobody else');
      assert.deepEqual([await strayed(), await strayed6(), await lab.spoofed('cable'), await lab.spoofed('cable', 6)], [0, 0, 0, 0]);
      assert.deepEqual(await carriers(fresh[0]!, { since: now() }), ['fibre']);
      await pings(lab, 'router', '-I', 'isp1', FIBRE[0]);
      assert.equal(await strayed(), 1, 'a stray would have been seen');
    }));
}

function program(address: string): object {
  const script = `exec curl --silent --output /dev/null --interface "$UPLINKD_INTERFACE" http://${literal(address)}/generate_204`;
  return { exec: { program: '/bin/bash', args: ['-c', script], family: address.includes(':') ? '6' : '4', limit: '500ms', interval: '1s' } };
}

function literal(address: string): string {
  return address.includes(':') ? `[${address}]` : address;
}
