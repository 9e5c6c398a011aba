/**
 * Lines whose address and gateway are told by a DHCP server: a real server, a real client in the router, and `gateway: auto`. Nobody wrote
 * down where packets go; what the client writes into the kernel is all there is to go by, and it may be taken away again.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { labUnavailable, now, waitFor } from '../lab/lab.js';
import { inTurn } from '../turns.js';
import type { DhcpClient } from '../lab/dhcp.js';
import type { Lab } from '../lab/lab.js';
import { STEADY, assertUnhurt, carriers, defaultsOf, isInSync, reaches, routeGet, said, settled, uplinkIn, untilSaid, withStory } from './story.js';
import type { StoryWish } from './story.js';

const skip = (await labUnavailable('dnsmasq', 'udhcpc')) ?? false;

const FIBRE = { name: 'fibre', prefix: '198.51.100.0/24', gateway: '198.51.100.1', router: '', addresses: 'none' } as const;
const CABLE = { name: 'cable', prefix: '203.0.113.0/24', gateway: '203.0.113.1', router: '', addresses: 'none' } as const;
const AUTO = { fibre: { interface: 'isp0', priority: 1 }, cable: { interface: 'isp1', priority: 2 } };

test('gateways are learnt from DHCP, and kept when the client dies and its route goes; a renewed lease and a client of the backup that writes a default of metric 0, and takes all other defaults away, changes nothing', { skip }, () =>
  withLeases({}, async ({ lab, daemon, clients }) => {
    assert.deepEqual([uplinkIn(await daemon.status(), 'fibre')['gateway'], uplinkIn(await daemon.status(), 'cable')['gateway']], ['198.51.100.1', '203.0.113.1']);
    const streams = await traffic(lab);
    const since = now();
    await clients.fibre.next(() => clients.fibre.renew());
    assert.deepEqual(clients.fibre.events().filter((event) => event === 'renew'), ['renew']);
    await clients.fibre.kill9();
    await lab.ip('router', 'route del default via 198.51.100.1 dev isp0 proto dhcp metric 10');
    await lab.ip('router', 'route flush cache');
    assert.deepEqual([await carriers(streams.fresh), await carriers(streams.old)], [['fibre'], ['fibre']]);
    assert.equal(uplinkIn(await daemon.status(), 'fibre')['gateway'], '198.51.100.1');
    await reaches(lab, 'router', '-I', 'isp0', '1.1.1.1');
    await assertUnhurt(streams, since);
    assert.deepEqual(said(daemon, /fibre is (suspect|down)/), []);

    await clients.cable.kill9();
    const greedy = await lab.dhcpClient('cable', { metric: 0, greedy: true });
    // While the line is down, ours is put before what the client writes.
    await settled(daemon);
    await waitFor('it stands first in main', async () => (await defaultsOf(lab))[0], (first) => first === 'default via 203.0.113.1 dev isp1 proto dhcp');
    assert.deepEqual([await carriers(streams.fresh), await routeGet(lab, '192.0.2.10')], [['fibre'], 'isp0'], 'and nobody goes by it');
    await greedy.next(() => greedy.renew());
    const ours = (routes: readonly string[]): readonly string[] => routes.filter((route) => route.includes('proto 147'));
    await waitFor('our defaults are in main again', async () => ours(await defaultsOf(lab)), (routes) => routes.length === 2);
    assert.deepEqual((await defaultsOf(lab)).filter((route) => !route.includes('proto 147')), ['default via 203.0.113.1 dev isp1 proto dhcp'], 'what the clients wrote is theirs');
    await daemon.until('the kernel is as wished', isInSync);
    assert.deepEqual([await carriers(streams.fresh), uplinkIn(await daemon.status(), 'fibre')['gateway']], [['fibre'], '198.51.100.1']);
    await assertUnhurt(streams, since);
  }));

for (const by of inTurn(['masquerade', 'others'] as const)) {
  const who = by === 'masquerade' ? '' : ', also where others translate to a fixed address and the kernel would keep to it';
  test(`a line that gets another network, gateway and address carries new flows soon after the lease, and the old address is forgotten${who}`, { skip }, () =>
    withLeases({ only: { ...AUTO.fibre, masquerade: by === 'masquerade' } }, async ({ lab, daemon, clients: { fibre } }) => {
      if (by === 'others') await snatByOthers(lab, '198.51.100.50');
      const [old, fresh] = await Promise.all([lab.stream({ kind: 'udp', rateHz: 50 }), lab.stream({ kind: 'new-udp', rateHz: 50 })]);
      const struck = await lab.renumberIsp('fibre', { prefix: '198.18.7.0/24', gateway: '198.18.7.254' });
      await lab.serveDhcp('fibre', { address: '198.18.7.60' });
      // Two signals at once would come in the order of their numbers.
      const before = fibre.events().length;
      fibre.release();
      await waitFor('the lease is given back', () => fibre.events(), (events) => events.slice(before).includes('deconfig'));
      await fibre.next(() => fibre.renew());
      if (by === 'others') await snatByOthers(lab, '198.18.7.60');
      await old.outageAfter(struck);
      await fresh.outageAfter(struck);
      assert.deepEqual([await carriers(old), await carriers(fresh)], [['fibre'], ['fibre']]);
      const status = await daemon.until('the line is up by its new gateway', (seen) => uplinkIn(seen, 'fibre').state === 'up' && uplinkIn(seen, 'fibre')['gateway'] === '198.18.7.254' && isInSync(seen));
      assert.deepEqual(uplinkIn(status, 'fibre')['addresses'], ['198.18.7.60/24']);
      await assertMoved(lab, '198.51.100.50', '198.18.7.60');
    }));
}

test('a lease that is refused and given anew with another address: the backup carries meanwhile, and nothing is left of the old address', { skip }, () =>
  withLeases({}, async ({ lab, daemon, clients: { fibre } }) => {
    const [old, fresh, tcp] = await Promise.all([lab.stream({ kind: 'udp', rateHz: 50 }), lab.stream({ kind: 'new-udp', rateHz: 50 }), lab.stream({ kind: 'tcp' })]);
    await lab.serveDhcp('fibre', { address: '198.51.100.60' });
    const struck = now();
    const lease = await fibre.next(() => fibre.renew());
    assert.deepEqual([lease.address, fibre.events().includes('nak')], ['198.51.100.60', true]);
    await daemon.untilActive('fibre');
    await old.outageAfter(struck);
    await fresh.outageAfter(struck);
    // The client has no address for 3 s after a refusal: that is not the daemon's time, and the backup bridges it.
    assert.deepEqual(await carriers(fresh), ['fibre']);
    await assertMoved(lab, '198.51.100.50', '198.51.100.60');
    await waitFor('every TCP connection of the old address has learnt of its end', () => tcp.broken(), (broken) => new Set(broken.map((one) => one.connection)).size === 10);
    await untilSaid(daemon, /^forgot \d+ connections of fibre/);
  }));

interface Leased {
  readonly lab: Lab;
  readonly daemon: Parameters<Parameters<typeof withStory>[1]>[0]['daemon'];
  readonly clients: { readonly fibre: DhcpClient; readonly cable: DhcpClient };
}

/** Both lines have a lease when the daemon starts. Debian's client writes defaults of metric 0, of which there can be but one. */
async function withLeases(wish: { readonly only?: object }, tell: (leased: Leased) => Promise<void>): Promise<void> {
  const clients: Partial<Record<'fibre' | 'cable', DhcpClient>> = {};
  const alone = wish.only !== undefined;
  const story: StoryWish = {
    topology: { isps: alone ? [FIBRE] : [FIBRE, CABLE], vpn: false },
    config: { ...STEADY, uplinks: alone ? { fibre: wish.only } : AUTO },
    before: async (lab) => {
      await Promise.all([lab.serveDhcp('fibre', { address: '198.51.100.50' }), ...(alone ? [] : [lab.serveDhcp('cable', { address: '203.0.113.50' })])]);
      clients.fibre = await lab.dhcpClient('fibre', { metric: 10 });
      if (!alone) clients.cable = await lab.dhcpClient('cable', { metric: 20 });
    },
  };
  await withStory(story, async ({ lab, daemon }) => {
    const { fibre, cable = fibre } = clients;
    assert.ok(fibre !== undefined && cable !== undefined);
    await tell({ lab, daemon, clients: { fibre, cable } });
  });
}

async function traffic(lab: Lab): Promise<Record<'old' | 'tcp' | 'fresh', Awaited<ReturnType<Lab['stream']>>>> {
  const [old, tcp, fresh] = await Promise.all([lab.stream({ kind: 'udp', rateHz: 50 }), lab.stream({ kind: 'tcp' }), lab.stream({ kind: 'new-udp', rateHz: 50 })]);
  return { old, tcp, fresh };
}

/** A script of somebody's, which a lease calls. */
async function snatByOthers(lab: Lab, address: string): Promise<void> {
  await lab.text('router', ['nft', '-f', '-'], `add table ip theirs\ndelete table ip theirs\ntable ip theirs { chain post { type nat hook postrouting priority srcnat; oifname "isp0" snat to ${address}; }\n}\n`);
}

/** Rules and connections know the new address, and none knows the old one. */
async function assertMoved(lab: Lab, from: string, to: string): Promise<void> {
  const { rules } = await lab.view('router');
  assert.deepEqual([rules.some((rule) => rule.includes(`from ${to} `)), rules.some((rule) => rule.includes(from))], [true, false], rules.join('; '));
  const left = async (): Promise<readonly string[]> => (await lab.text('router', ['conntrack', '-L', '--reply-dst', from])).split('\n').filter((line) => line !== '' && !/TIME_WAIT|CLOSE|mark=16256/.test(line));
  await waitFor(`no connection is translated to ${from}`, left, (lines) => lines.length === 0);
}
