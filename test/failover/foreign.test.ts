/** Other programs in the same kernel: their default routes, their networks, their flushes. We win where we must, and touch nothing of theirs. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { labUnavailable, now, until, waitFor } from '../lab/lab.js';
import type { Lab } from '../lab/lab.js';
import { assertUnhurt, carriers, defaultsOf, isInSync, routeGet, said, untilSaid, withStory } from './story.js';

const skip = (await labUnavailable()) ?? false;
const FROM_LAN = ['from', '192.168.1.10', 'iif', 'lan0'];

for (const when of ['before the daemon starts', 'while it runs'] as const) {
  test(`a foreign default of metric 0 that is added ${when} neither takes new flows nor is touched`, { skip }, () =>
    withStory({ before: async (lab) => (when === 'while it runs' ? undefined : lab.addForeignDefault('cable')) }, async ({ lab, daemon }) => {
      const [old, fresh] = await Promise.all([lab.stream({ kind: 'udp', rateHz: 50 }), lab.stream({ kind: 'new-udp', rateHz: 50 })]);
      const since = now();
      if (when === 'while it runs') await lab.addForeignDefault('cable');
      const foreign = 'default via 203.0.113.1 dev isp1 proto dhcp';
      assert.deepEqual((await defaultsOf(lab))[0], foreign, 'nothing in main can beat it');
      assert.deepEqual([await carriers(fresh), await carriers(old)], [['fibre'], ['fibre']]);
      assert.deepEqual([await routeGet(lab, '192.0.2.10'), await routeGet(lab, '192.0.2.10', ...FROM_LAN)], ['isp0', 'isp0']);

      assert.equal((await daemon.ctl('switch-uplink', 'lte')).code, 0);
      assert.deepEqual([await routeGet(lab, '192.0.2.10'), await routeGet(lab, '192.0.2.10', ...FROM_LAN)], ['isp2', 'isp2']);
      assert.deepEqual([await carriers(fresh), await carriers(old)], [['lte'], ['fibre']]);
      await assertUnhurt({ old, fresh }, since);
      assert.deepEqual((await defaultsOf(lab)).filter((route) => !route.includes('proto 147')), [foreign]);
    }));
}

test('a foreign default within our metrics is passed by, and ours move out of its way', { skip }, () =>
  withStory({}, async ({ lab }) => {
    const fresh = await lab.stream({ kind: 'new-udp', rateHz: 50 });
    const since = now();
    await lab.addForeignDefault('lte', { metric: 40 });
    await waitFor('ours stand in another range', async () => defaultsOf(lab), (routes) => routes.filter((route) => /proto 147 metric 13\d/.test(route)).length === 3 && routes.length === 4);
    assert.deepEqual(await carriers(fresh), ['fibre']);
    await assertUnhurt({ fresh }, since);
  }));

test('LAN, VPN and internet reach each other while flows are marked, and a marked flow to a network that appears goes there', { skip }, () =>
  withStory({}, async ({ lab }) => {
    await lab.ip('router', 'link set vpn0 down');
    // Begun while the VPN was away: this flow left by fibre, and bears its mark.
    const early = await lab.stream({ kind: 'udp', rateHz: 100, to: '10.8.0.2', answered: false });
    await waitFor('the flow to the VPN is marked', async () => (await lab.run('router', ['conntrack', '-L', '-d', '10.8.0.2'])).stdout, (text) => /mark=[1-9]/.test(text));
    await lab.ip('router', 'link set vpn0 up');
    await early.outageAfter(now());

    const streams = {
      marked: await lab.stream({ kind: 'tcp' }),
      toVpn: await lab.stream({ kind: 'udp', rateHz: 50, to: '10.8.0.2' }),
      fromVpn: await lab.stream({ kind: 'udp', rateHz: 50, from: 'vpn', to: '192.168.1.10' }),
      vpnToInternet: await lab.stream({ kind: 'udp', rateHz: 50, from: 'vpn' }),
      toRouter: await lab.stream({ kind: 'udp', rateHz: 50, to: '192.168.1.1' }),
      toUplinkAddress: await lab.stream({ kind: 'udp', rateHz: 50, to: '203.0.113.2' }),
    };
    const since = now();
    await lab.cutCable('lte');
    await lab.plugCable('lte');
    await until(since + 500);
    await assertUnhurt(streams, since);
    assert.deepEqual(await carriers(streams.fromVpn), ['10.8.0.2'], 'not translated');
  }));

test('defaults that a foreign hand emptied are put back at once', { skip }, () =>
  withStory({}, async ({ lab, daemon }) => {
    const [old, fresh] = await Promise.all([lab.stream({ kind: 'udp', rateHz: 50 }), lab.stream({ kind: 'new-udp', rateHz: 50 })]);
    const before = (await lab.view('router')).tables;
    const emptied = await lab.flushRoutes('defaults');
    await old.outageAfter(emptied);
    await fresh.outageAfter(emptied);
    await untilSaid(daemon, /putting back what somebody else changed/);
    await daemon.until('the kernel is as wished', isInSync);
    assert.deepEqual((await lab.view('router')).tables, before);
    assert.deepEqual([await carriers(old), await carriers(fresh)], [['fibre'], ['fibre']]);
  }));

test('a table main that a foreign hand emptied stops nothing that does not need it, and our routes come back', { skip }, () =>
  withStory({}, async ({ lab, daemon }) => {
    await lab.flushRoutes('main');
    await waitFor('our defaults are back in main', async () => defaultsOf(lab), (routes) => routes.length === 3);
    await lab.restoreConnected();
    const fresh = await lab.stream({ kind: 'new-udp', rateHz: 50 });
    assert.deepEqual(await carriers(fresh), ['fibre']);
    await daemon.until('the kernel is as wished', isInSync);
  }));

for (const [backend, hand] of [['iptables', 'iptablesNatFlush'], ['iptables', 'nftFlush'], ['nftables', 'iptablesNatFlush'], ['nftables', 'nftFlush']] as const) {
  test(`${hand} by a foreign hand, with the backend ${backend}: masquerade and marks come back, and running flows go on`, { skip }, () =>
    withStory({ config: { nat: { backend } } }, async ({ lab, daemon }) => {
      const [old, tcp, fresh] = await Promise.all([lab.stream({ kind: 'udp', rateHz: 50 }), lab.stream({ kind: 'tcp' }), lab.stream({ kind: 'new-udp', rateHz: 50 })]);
      const before = await filters(lab);
      const flushed = await lab[hand]();
      await fresh.outageAfter(flushed);
      await waitFor('the rules are as before', async () => filters(lab), (rules) => rules === before);
      await old.outageAfter(flushed);
      // Running flows need no rule while a chain stands. With the last chain the kernel's whole translation goes, and strangers' TCP gets a RST.
      if (hand === 'iptablesNatFlush') await assertUnhurt({ old, tcp }, flushed.beganAt);
      assert.deepEqual([await carriers(old), await carriers(fresh)], [['fibre'], ['fibre']]);
      assert.deepEqual(said(daemon, /failed|refused/), []);
    }));
}

/** The rules that matter, as text. iptables-nft may keep empty tables in another order. */
async function filters(lab: Lab): Promise<string> {
  const { nft, iptables } = await lab.view('router');
  return iptables.length === 0 ? nft.join('\n') : iptables.join('\n');
}
