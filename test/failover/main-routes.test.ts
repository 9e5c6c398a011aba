/**
 * What others write into main and what comes before our tables: host routes and defaults that lead into a line when it is dead, kill
 * switches that refuse; and what a DHCP client's route says of the path. One lab and one daemon for all, one after the other.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { labUnavailable, waitFor } from '../lab/lab.js';
import type { Lab } from '../lab/lab.js';
import { FAST, isInSync, pings, routeGet, said, untilSaid, untilState, withStory } from './story.js';

const skip = (await labUnavailable()) ?? false;

/** A resolver or a tunnel's far end, pinned to fibre; and Tailscale's rule for its own packets. */
const PINNED = '192.0.2.10';
const TAILSCALE = '0x80000';
const FOREIGN = [
  'route add default via 198.51.100.1 dev isp0 proto dhcp mtu 1400 initcwnd 20', `route add ${PINNED} via 198.51.100.1 dev isp0 proto dhcp`,
  'route add 10.66.0.0/16 via 198.51.100.1 dev isp0 proto static metric 50', `rule add pref 5210 fwmark ${TAILSCALE}/0xff0000 lookup main`,
];

test('foreign routes in main are followed only while they lead somewhere, and what they say of the path is said by ours', { skip }, () =>
  withStory({ config: FAST, topology: { isps: 2 }, before: (lab) => lab.ip('router', ...FOREIGN) }, async ({ lab, daemon }) => {
    const client = lab.topology.lans[0]!.client;
    const reaches = async (): Promise<readonly boolean[]> =>
      Promise.all([pings(lab, client, PINNED), pings(lab, client, '1.1.1.1'), pings(lab, 'router', PINNED), pings(lab, 'router', '-m', String(Number(TAILSCALE)), '1.1.1.1')]);
    const all = [true, true, true, true];
    const foreign = async (): Promise<readonly string[]> => (await lab.view('router')).main.filter((route) => / proto (dhcp|static)/.test(route));
    const before = await foreign();

    const { active } = await lab.view('router');
    assert.match(active[0] ?? '', /dev isp0 .*mtu 1400 initcwnd 20/);
    assert.doesNotMatch(active[1] ?? '', /mtu/);
    assert.deepEqual([await reaches(), await standing(lab)], [all, []]);

    await lab.upstreamDead('fibre');
    await untilState(daemon, 'fibre', 'down');
    await daemon.until('the kernel is as wished', isInSync);
    assert.deepEqual((await standing(lab)).map((route) => route.split(' ')[0]), ['default', '10.66.0.0/16', PINNED]);
    assert.deepEqual([await reaches(), await routeGet(lab, PINNED), await foreign()], [all, 'isp1', before]);

    await lab.heal('fibre');
    await daemon.untilActive('fibre');
    await waitFor('nothing of ours stands in for anything', () => standing(lab), (routes) => routes.length === 0);
    assert.deepEqual([await routeGet(lab, PINNED), await foreign()], ['isp0', before]);

    await lab.ip('router', 'route del default via 198.51.100.1 dev isp0 proto dhcp');
    for (const kind of ['unreachable', 'blackhole', 'prohibit']) {
      await lab.ip('router', `route add ${kind} default`);
      await untilSaid(daemon, new RegExp(`main holds "${kind} default" \\(IPv4\\).*it keeps nothing in`));
      await waitFor('ours stands before it', async () => (await lab.view('router')).main, (routes) => routes[0]?.includes('proto 147') === true && routes[1] === `${kind} default`);
      assert.deepEqual(await reaches(), all, kind);
      await lab.ip('router', `route del ${kind} default`);
      await waitFor('nothing of ours stands in for anything', () => standing(lab), (routes) => routes.length === 0);
    }
    assert.deepEqual(said(daemon, /refused:|putting back/), []);
  }));

/** Ours in main that are not of the mirror, whose metrics begin at 30. */
async function standing(lab: Lab): Promise<readonly string[]> {
  const ours = (await lab.view('router')).main.filter((route) => route.includes('proto 147'));
  return ours.filter((route) => !/^default .* metric 3\d/.test(route));
}
