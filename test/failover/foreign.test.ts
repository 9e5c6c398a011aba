/**
 * Other programs in the same kernel: their default routes, their networks, their flushes; host routes and defaults that lead into a line when it is
 * dead, kill switches that refuse, and what a DHCP client's route says of the path. We win where we must, and touch nothing of theirs.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { labUnavailable, now, until, waitFor } from '../lab/lab.js';
import type { Lab } from '../lab/lab.js';
import { BACKENDS, FAST, assertUnhurt, carriers, defaultsOf, isInSync, pings, routeGet, said, shareStory, untilSaid, untilState } from './story.js';
import { inTurn } from '../turns.js';

const skip = (await labUnavailable('iptables')) ?? false;
const FROM_LAN = ['from', '192.168.1.10', 'iif', 'lan0'];
const tell = shareStory({ config: { nat: { backend: BACKENDS[0] } } });

/** A resolver or a tunnel's far end, pinned to fibre; and Tailscale's rule for its own packets. */
const PINNED = '192.0.2.10';
const TAILSCALE = '0x80000';
const PATH = 'default via 198.51.100.1 dev isp0 proto dhcp mtu 1400 initcwnd 20';
const PINS = [
  `route add ${PATH}`, `route add ${PINNED} via 198.51.100.1 dev isp0 proto dhcp`,
  'route add 10.66.0.0/16 via 198.51.100.1 dev isp0 proto static metric 50', `rule add pref 5210 fwmark ${TAILSCALE}/0xff0000 lookup main`,
];

// That one which was there before the daemon started does as little: layout.test.ts.
test('a foreign default of metric 0 that is added while the daemon runs neither takes new flows nor is touched', { skip }, () =>
  tell(async ({ lab, daemon }) => {
    const [old, fresh] = await Promise.all([lab.stream({ kind: 'udp', rateHz: 50 }), lab.stream({ kind: 'new-udp', rateHz: 50 })]);
    const since = now();
    await lab.addForeignDefault('cable');
    const foreign = 'default via 203.0.113.1 dev isp1 proto dhcp';
    assert.deepEqual((await defaultsOf(lab))[0], foreign, 'nothing in main can beat it');
    assert.deepEqual([await carriers(fresh), await carriers(old)], [['fibre'], ['fibre']]);
    assert.deepEqual([await routeGet(lab, '192.0.2.10'), await routeGet(lab, '192.0.2.10', ...FROM_LAN)], ['isp0', 'isp0']);

    assert.equal((await daemon.ctl('switch-uplink', 'lte')).code, 0);
    assert.deepEqual([await routeGet(lab, '192.0.2.10'), await routeGet(lab, '192.0.2.10', ...FROM_LAN)], ['isp2', 'isp2']);
    assert.deepEqual([await carriers(fresh), await carriers(old)], [['lte'], ['fibre']]);
    await assertUnhurt({ old, fresh }, since);
    assert.deepEqual((await defaultsOf(lab)).filter((route) => !route.includes('proto 147')), [foreign]);
    await lab.ip('router', `route del ${foreign}`);
  }));

test('a foreign default within our metrics is passed by, and ours move out of its way', { skip }, () =>
  tell(async ({ lab }) => {
    const fresh = await lab.stream({ kind: 'new-udp', rateHz: 50 });
    const since = now();
    await lab.addForeignDefault('lte', { metric: 40 });
    await waitFor('ours stand in another range', async () => defaultsOf(lab), (routes) => routes.filter((route) => /proto 147 metric 13\d/.test(route)).length === 3 && routes.length === 4);
    assert.deepEqual(await carriers(fresh), ['fibre']);
    await assertUnhurt({ fresh }, since);
    await lab.ip('router', 'route del default via 100.64.0.1 dev isp2 metric 40 proto dhcp');
  }));

test('LAN, VPN and internet reach each other while flows are marked, and a marked flow to a network that appears goes there', { skip }, () =>
  tell(async ({ lab }) => {
    await lab.ip('router', 'link set vpn0 down');
    // Begun while the VPN was away: this flow left by fibre, and bears its mark.
    const early = await lab.stream({ kind: 'udp', rateHz: 50, to: '10.8.0.2', answered: false });
    await waitFor('the flow to the VPN is marked', async () => (await lab.run('router', ['conntrack', '-L', '-d', '10.8.0.2'])).stdout, (text) => /mark=[1-9]/.test(text));
    await lab.ip('router', 'link set vpn0 up');
    await early.outageAfter(now());

    const streams = {
      marked: await lab.stream({ kind: 'tcp', rateHz: 50 }),
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
  tell(async ({ lab, daemon }) => {
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
  tell(async ({ lab, daemon }) => {
    await lab.flushRoutes('main');
    await waitFor('our defaults are back in main', async () => defaultsOf(lab), (routes) => routes.length === 3);
    await lab.restoreConnected();
    const fresh = await lab.stream({ kind: 'new-udp', rateHz: 50 });
    assert.deepEqual(await carriers(fresh), ['fibre']);
    await daemon.until('the kernel is as wished', isInSync);
  }));

for (const [backend, hand] of BACKENDS.flatMap((each) => [[each, 'iptablesNatFlush'], [each, 'nftFlush']] as const)) {
  test(`${hand} by a foreign hand, with the backend ${backend}: masquerade and marks come back, and running flows go on`, { skip }, () =>
    tell(async ({ lab, daemon }) => {
      const [old, tcp, fresh] = await Promise.all([lab.stream({ kind: 'udp', rateHz: 50 }), lab.stream({ kind: 'tcp', rateHz: 50 }), lab.stream({ kind: 'new-udp', rateHz: 50 })]);
      const before = await filters(lab);
      const flushed = await lab[hand]();
      await fresh.outageAfter(flushed);
      await waitFor('the rules are as before', async () => filters(lab), (rules) => rules === before);
      await old.outageAfter(flushed);
      // Running flows need no rule while a chain stands. With the last chain the kernel's whole translation goes, and strangers' TCP gets a RST.
      if (hand === 'iptablesNatFlush') await assertUnhurt({ old, tcp }, flushed.beganAt);
      assert.deepEqual([await carriers(old), await carriers(fresh)], [['fibre'], ['fibre']]);
      assert.deepEqual(said(daemon, /failed|refused/), []);
    }, { nat: { backend } }));
}

test('foreign routes in main are followed only while they lead somewhere, and what they say of the path is said by ours', { skip }, () =>
  tell(async ({ lab, daemon }) => {
    const client = lab.topology.lans[0]!.client;
    const reaches = async (): Promise<readonly boolean[]> =>
      Promise.all([pings(lab, client, PINNED), pings(lab, client, '1.1.1.1'), pings(lab, 'router', PINNED), pings(lab, 'router', '-m', String(Number(TAILSCALE)), '1.1.1.1')]);
    const all = [true, true, true, true];
    const main = async (): Promise<readonly string[]> => (await lab.view('router')).main;
    const foreign = async (): Promise<readonly string[]> => (await main()).filter((route) => / proto (dhcp|static)/.test(route));
    await lab.ip('router', ...PINS);
    const before = await foreign();

    const active = await waitFor('ours say the same of the path', async () => (await lab.view('router')).active, (routes) => /dev isp0 .*mtu 1400 initcwnd 20/.test(routes[0] ?? ''));
    assert.doesNotMatch(active[1] ?? '', /mtu/);
    assert.deepEqual([await reaches(), standing(await main())], [all, []]);

    await lab.upstreamDead('fibre');
    await untilState(daemon, 'fibre', 'down');
    await daemon.until('the kernel is as wished', isInSync);
    assert.deepEqual(standing(await main()).map((route) => route.split(' ')[0]), ['default', '10.66.0.0/16', PINNED]);
    assert.deepEqual([await reaches(), await routeGet(lab, PINNED), await foreign()], [all, 'isp1', before]);

    await lab.heal('fibre');
    await daemon.untilActive('fibre');
    await waitFor('nothing of ours stands in for anything', main, (routes) => standing(routes).length === 0);
    assert.deepEqual([await routeGet(lab, PINNED), await foreign()], ['isp0', before]);

    await lab.ip('router', `route del ${PATH}`);
    for (const kind of inTurn(['unreachable', 'blackhole', 'prohibit'])) {
      await lab.ip('router', `route add ${kind} default`);
      await untilSaid(daemon, new RegExp(`main holds "${kind} default" \\(IPv4\\).*it keeps nothing in`));
      await waitFor('ours stands before it', main, (routes) => routes[0]?.includes('proto 147') === true && routes[1] === `${kind} default`);
      assert.deepEqual(await reaches(), all, kind);
      await lab.ip('router', `route del ${kind} default`);
      await waitFor('nothing of ours stands in for anything', main, (routes) => standing(routes).length === 0);
    }
    assert.deepEqual(said(daemon, /refused:|putting back/), []);

    // What was told of a path is kept until something else is told.
    await lab.ip('router', 'route add default via 198.51.100.1 dev isp0 proto dhcp', ...PINS.slice(1).map((command) => command.replace(' add ', ' del ')));
    await waitFor('ours say no more of the path', async () => (await lab.view('router')).active, (routes) => !/mtu/.test(routes[0] ?? 'mtu'));
    await lab.ip('router', 'route del default via 198.51.100.1 dev isp0 proto dhcp');
  }, FAST));

/** The rules that matter, as text. iptables-nft may keep empty tables in another order. */
async function filters(lab: Lab): Promise<string> {
  const { nft, iptables } = await lab.view('router');
  return iptables.length === 0 ? nft.join('\n') : iptables.join('\n');
}

/** Ours in main that are not of the mirror, whose metrics begin at 30. */
function standing(main: readonly string[]): readonly string[] {
  return main.filter((route) => route.includes('proto 147') && !/^default .* metric 3\d/.test(route));
}
