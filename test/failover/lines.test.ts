/** Lines of other kinds: twins behind carrier-grade NAT, devices that come late or under another name, point-to-point lines without a gateway. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TWIN_CGNAT, labUnavailable, now, waitFor } from '../lab/lab.js';
import type { Lab } from '../lab/lab.js';
import { FAST, assertUnhurt, carriers, defaultsOf, isInSync, reaches, settled, stateOf, uplinkIn, untilState, withStory } from './story.js';

const skip = (await labUnavailable()) ?? false;
const noTun = (await labUnavailable('python3', '/dev/net/tun')) ?? false;

const PPP = { name: 'ppp', prefix: '100.96.0.0/24', gateway: '100.96.0.1', router: '100.96.0.2', wire: 'tun' } as const;
const CABLE = { name: 'cable', prefix: '203.0.113.0/24', gateway: '203.0.113.1', router: '203.0.113.2' } as const;
const DIALLED = {
  ppp: { interface: 'isp0', gateway: 'auto', gateway6: 'auto', priority: 1 },
  cable: { interface: 'isp1', gateway: '203.0.113.1', gateway6: 'fe80::1', priority: 2 },
};
const BY_MAC = {
  fibre: { match: { mac: '02:00:00:0a:00:65' }, gateway: '198.51.100.1', priority: 1 },
  cable: { match: { mac: '02:00:00:0a:00:67' }, gateway: '203.0.113.1', priority: 2 },
};
const TWINS = TWIN_CGNAT.map((isp) => ({ ...isp, router: '100.64.0.11' }));

test('two lines with the same network, the same gateway and the same address are kept apart: each is probed by itself, and each carries', { skip }, () =>
  withStory({ topology: { isps: TWINS }, config: FAST }, async ({ lab, daemon }) => {
    const { rules } = await lab.view('router');
    assert.deepEqual(rules.filter((rule) => rule.includes('from 100.64')), [], 'an address that both have says nothing');
    const [old, fresh] = await Promise.all([lab.stream({ kind: 'udp', rateHz: 50 }), lab.stream({ kind: 'new-udp', rateHz: 50 })]);
    assert.deepEqual([await carriers(old), await carriers(fresh)], [['star1'], ['star1']]);
    const struck = await lab.gatewayDead('star1');
    const status = await untilState(daemon, 'star1', 'down');
    assert.equal(stateOf(status, 'star2'), 'up', 'the twin is not blamed');
    assert.deepEqual(status.active.map(({ name, interface: device, gateway }) => [name, device, gateway]), [['star2', 'isp1', '100.64.0.1']]);
    await Promise.all([old.outageAfter(struck, { calmMs: 500 }), fresh.outageAfter(struck, { calmMs: 500 })]);
    assert.deepEqual([await carriers(old), await carriers(fresh)], [['star2'], ['star2']]);
    const since = now();
    await lab.heal('star1');
    await daemon.untilActive('star1');
    assert.deepEqual([await carriers(old), await carriers(fresh)], [['star2'], ['star1']]);
    await assertUnhurt({ old, fresh }, since);
    assert.deepEqual((await defaultsOf(lab)).map((route) => route.replace(/ +$/, '')), [
      'default via 100.64.0.1 dev isp0 proto 147 metric 30 onlink', 'default via 100.64.0.1 dev isp1 proto 147 metric 31 onlink',
    ]);
    const cut = await lab.cutCable('star1');
    await fresh.outageAfter(cut);
    assert.deepEqual(await carriers(fresh), ['star2']);
  }));

test('an interface that comes after the daemon is taken up, and again when it went and came back under another index', { skip }, () =>
  withStory({ topology: { isps: 2 }, before: async (lab) => lab.deleteInterface('fibre'), expects: ['cable'] }, async ({ lab, daemon }) => {
    const [old, fresh] = await Promise.all([lab.stream({ kind: 'udp', rateHz: 50 }), lab.stream({ kind: 'new-udp', rateHz: 50 })]);
    assert.match(uplinkIn(await daemon.status(), 'fibre').because, /there is no interface isp0/);
    const since = now();
    const indexes: unknown[] = [];
    for (const turn of ['it comes late', 'it comes back']) {
      await lab.recreateInterface('fibre');
      indexes.push(uplinkIn(await daemon.untilActive('fibre'), 'fibre')['ifindex']);
      assert.deepEqual([await carriers(fresh), await carriers(old)], [['fibre'], ['cable']], turn);
      await reaches(lab, 'router', '-I', 'isp0', '1.1.1.1');
      await settled(daemon);
      if (indexes.length === 2) break;
      const gone = await lab.deleteInterface('fibre');
      await fresh.outageAfter(gone);
    }
    assert.notEqual(indexes[0], indexes[1]);
    const sysctls = ['rp_filter', 'ignore_routes_with_linkdown'].map((name) => `/proc/sys/net/ipv4/conf/isp0/${name}`);
    assert.equal((await lab.text('router', ['cat', ...sysctls])).replaceAll('\n', ' '), '2 1 ', 'a device made anew has the sysctls of the old one');
    await assertUnhurt({ old }, since);
    await lab.cutCable('cable');
    await old.outageAfter(now());
    assert.deepEqual(await carriers(old), ['fibre'], 'its marks and its masquerade know the new device');
  }));

test('two modems that swap their names are told apart by their MACs', { skip }, () =>
  withStory({ topology: { isps: 2 }, config: { uplinks: BY_MAC } }, async ({ lab, daemon }) => {
    assert.equal(uplinkIn(await daemon.untilActive('fibre'), 'fibre')['interface'], 'isp0');
    await swapNames(lab);
    const isSwapped = (uplink: { readonly [key: string]: unknown }): boolean => uplink['interface'] === (uplink['name'] === 'fibre' ? 'isp1' : 'isp0') && uplink['state'] === 'up';
    await daemon.until('both are found under the other name', (status) => status.uplinks.every(isSwapped) && isInSync(status));
    const status = await daemon.untilActive('fibre');
    assert.equal(status.active[0]?.interface, 'isp1');
    const fresh = await lab.stream({ kind: 'new-udp', rateHz: 50 });
    assert.deepEqual(await carriers(fresh), ['fibre']);
    const mark = Number(uplinkIn(status, 'fibre')['mark']);
    await waitFor('new flows bear the mark of fibre', async () => (await lab.view('router')).flows, (flows) => flows.some((flow) => flow.includes(`udp mark=${mark} `)));
    await lab.ip('router', 'link set isp1 down');
    await daemon.untilActive('cable');
    assert.deepEqual(await carriers(fresh), ['cable']);
  }));

test('a point-to-point line without a gateway fails over and back, silently, by its carrier, and when its device goes', { skip: noTun }, () =>
  withStory({ topology: { isps: [PPP, CABLE] }, config: FAST }, async ({ lab, daemon }) => {
    assert.deepEqual((await defaultsOf(lab)).map((route) => route.replace(/ metric .*/, '')), ['default dev isp0 proto 147 scope link', 'default via 203.0.113.1 dev isp1 proto 147']);
    const [old, fresh] = await Promise.all([lab.stream({ kind: 'udp', rateHz: 50 }), lab.stream({ kind: 'new-udp', rateHz: 50 })]);
    assert.deepEqual([await carriers(old), await carriers(fresh)], [['ppp'], ['ppp']]);
    const struck = await lab.upstreamDead('ppp');
    await Promise.all([old.outageAfter(struck, { calmMs: 1000 }), fresh.outageAfter(struck, { calmMs: 1000 })]);
    await back();
    assert.deepEqual(await carriers(old), ['cable'], 'the running flow stays where it went');
    await fresh.outageAfter(await lab.cutCable('ppp'));
    // It comes back as it does when a session is dialled anew.
    await lab.plugCable('ppp');
    await lab.deleteInterface('ppp');
    await untilState(daemon, 'ppp', 'down');
    await back();

    async function back(): Promise<void> {
      await daemon.untilActive('cable');
      assert.deepEqual(await carriers(fresh), ['cable']);
      await lab.heal('ppp');
      await daemon.untilActive('ppp');
      assert.deepEqual(await carriers(fresh), ['ppp']);
    }
  }));

test('what pppd writes is learnt: a default without a gateway, in both families, again after the next dial-in', { skip: noTun }, () =>
  withStory({ topology: { isps: [PPP, CABLE], ipv6: true }, config: { uplinks: DIALLED }, before: pppd }, async ({ lab, daemon }) => {
    const [four, six] = await Promise.all([lab.stream({ kind: 'new-udp', rateHz: 50 }), lab.stream({ kind: 'new-udp', rateHz: 50, to: '2001:db8:ffff::10' })]);
    assert.deepEqual([await carriers(four), await carriers(six)], [['ppp'], ['ppp']]);
    const gone = await lab.deleteInterface('ppp');
    await four.outageAfter(gone);
    await six.outageAfter(gone);
    assert.deepEqual([await carriers(four), await carriers(six)], [['cable'], ['cable']]);
    await untilState(daemon, 'ppp', 'down');
    const since = now();
    await lab.recreateInterface('ppp');
    await pppd(lab);
    await daemon.untilActive('ppp');
    assert.deepEqual([await carriers(four), await carriers(six)], [['ppp'], ['ppp']]);
    for (const family of [4, 6] as const) assert.ok((await defaultsOf(lab, family)).some((route) => / dev isp0 .*metric 900/.test(route)), 'what pppd wrote stays');
    await assertUnhurt({ four, six }, since);
  }));

/** As its option `defaultroute` does. */
async function pppd(lab: Lab): Promise<void> {
  await lab.ip('router', 'route add default dev isp0 scope link metric 900', 'route add ::/0 dev isp0 metric 900');
}

/** As after a re-plug: both go away and come up in the other order. */
async function swapNames(lab: Lab): Promise<void> {
  await lab.ip('router', 'link set isp0 down', 'link set isp1 down', 'link set isp0 name was0', 'link set isp1 name isp0', 'link set was0 name isp1', 'link set isp0 up', 'link set isp1 up');
}
