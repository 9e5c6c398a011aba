/**
 * The stories of IPv4 told of both families at once: each has traffic of its own, and each must fare as IPv4 does alone. Every ISP's gateway
 * is fe80::1. Then what befalls one family alone.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Family } from '../../src/model.js';
import type { Applied } from '../lab/faults.js';
import { labUnavailable, now, until } from '../lab/lab.js';
import type { Lab } from '../lab/lab.js';
import type { Outage } from '../lab/outage.js';
import type { Stream } from '../lab/stream.js';
import { inTurn } from '../turns.js';
import { BACKENDS, FAST, assertUnhurt, carriers, defaultsOf, familyIn, isInSync, shareStory, untilSaid } from './story.js';

const skip = (await labUnavailable()) ?? false;
const tell = shareStory({ topology: { isps: 2, ipv6: true, vpn: false }, config: FAST });

const FAMILIES: readonly { readonly family: Family; readonly to: string; readonly other: Family }[] = [
  { family: 4, to: '192.0.2.10', other: 6 },
  { family: 6, to: '2001:db8:ffff::10', other: 4 },
];

/** Behind everybody who may mark. */
const SPY = `
table ip6 spy {
  counter marked { }
  counter seen { }
  chain out {
    type filter hook postrouting priority 200;
    icmpv6 type { 133-137 } counter name seen
    icmpv6 type { 133-137 } meta mark & 0x3f80 != 0 counter name marked
  }
}
`;

test('a cut cable moves running flows and new ones of both families at once', { skip }, () =>
  tell(async ({ lab, daemon }) => {
    const streams = await traffic(lab, ['udp', 'new-udp']);
    await daemon.untilActive('fibre');
    await outages(streams, await lab.cutCable('fibre'));
    assert.deepEqual(await allCarriers(streams), everywhere(streams, 'cable'));
    const status = await daemon.untilActive('cable');
    for (const { family } of FAMILIES) {
      assert.match(familyIn(status, 'fibre', family).because, /no carrier on isp0/);
      assert.deepEqual((await defaultsOf(lab, family)).map((route) => / dev (\S+)/.exec(route)?.[1]), ['isp1']);
    }
  }));

for (const fault of inTurn(['upstreamDead', 'gatewayDead'] as const)) {
  test(`${fault}: new flows of both families leave first, then the running ones; all come back, and running flows stay`, { skip }, () =>
    tell(async ({ lab, daemon }) => {
      const [fresh, old] = [await traffic(lab, ['new-udp']), await traffic(lab, ['udp'])];
      const struck = await lab[fault]('fibre');
      await outages(fresh, struck, 1000);
      await outages(old, struck, 1000);
      assert.deepEqual(await allCarriers({ ...fresh, ...old }), everywhere({ ...fresh, ...old }, 'cable'));
      await until(now() + 200);
      const since = now();
      await lab.heal('fibre');
      await daemon.untilActive('fibre');
      assert.deepEqual([await allCarriers(fresh), await allCarriers(old)], [everywhere(fresh, 'fibre'), everywhere(old, 'cable')]);
      await assertUnhurt({ ...fresh, ...old }, since);
    }));
}

test('an operator switches and goes back to automatic: nothing of either family is lost, and running flows stay', { skip }, () =>
  tell(async ({ lab, daemon }) => {
    const [fresh, old] = [await traffic(lab, ['new-udp']), await traffic(lab, ['udp', 'tcp'])];
    const since = now();
    assert.equal((await daemon.ctl('switch-uplink', 'cable', '--reason', 'trying it')).code, 0);
    await daemon.untilActive('cable');
    assert.deepEqual([await allCarriers(fresh), await allCarriers(old)], [everywhere(fresh, 'cable'), everywhere(old, 'fibre')]);
    assert.equal((await daemon.ctl('auto')).code, 0);
    await daemon.untilActive('fibre');
    assert.deepEqual([await allCarriers(fresh), await allCarriers(old)], [everywhere(fresh, 'fibre'), everywhere(old, 'fibre')]);
    await assertUnhurt({ ...fresh, ...old }, since);
  }));

for (const { family, other } of inTurn(FAMILIES)) {
  test(`the upstream dies for IPv${family} alone: only that family moves, and the status says so`, { skip }, () =>
    tell(async ({ lab, daemon }) => {
      const streams = await traffic(lab, ['udp', 'new-udp']);
      const own = Object.fromEntries(Object.entries(streams).filter(([name]) => name.endsWith(String(family))));
      const others = Object.fromEntries(Object.entries(streams).filter(([name]) => !name.endsWith(String(family))));
      const since = now();
      const struck = await lab.upstreamDead('fibre', { family });
      await outages(own, struck, 1000);
      const status = await daemon.untilActive('cable', { family });
      assert.deepEqual([await allCarriers(own), await allCarriers(others)], [everywhere(own, 'cable'), everywhere(others, 'fibre')]);
      assert.deepEqual([familyIn(status, 'fibre', family).active, familyIn(status, 'fibre', other).active, familyIn(status, 'fibre', other).state], [false, true, 'up']);
      assert.deepEqual(status.active.filter((one) => one.family === other).map((one) => one.name), ['fibre']);
      await untilSaid(daemon, family === 6 ? /^fibre \(IPv6\) is down/ : /^fibre is down/);
      await lab.heal('fibre');
      await daemon.untilActive('fibre');
      assert.deepEqual([await allCarriers(own), await allCarriers(others)], [{ ...everywhere(own, 'cable'), [`new-udp ${family}`]: ['fibre'] }, everywhere(others, 'fibre')]);
      await assertUnhurt(others, since);
    }));
}

for (const backend of BACKENDS) {
  test(`neighbours are found although a policy marks all that anybody sends: forgetting them is made good at once, and no packet of neighbour discovery is marked (${backend})`, { skip }, () =>
    tell(async ({ lab, daemon }) => {
      await lab.text('router', ['nft', '-f', '-'], SPY);
      const streams = await traffic(lab, ['udp', 'new-udp']);
      const router = await lab.stream({ kind: 'new-udp', from: 'router', to: '2001:db8:ffff::10', rateHz: 50 });
      assert.deepEqual(await allCarriers({ ...streams, router }), everywhere({ ...streams, router }, 'cable'));
      const since = now();
      const devices = { router: ['isp0', 'isp1', 'lan0'], client: ['eth0'], fibre: ['line'], cable: ['line'] };
      for (const [host, names] of Object.entries(devices)) await lab.ip6(host, ...names.map((device) => `neigh flush dev ${device}`));
      await until(now() + 500);
      const counted = async (name: string): Promise<number> => Number(/packets (\d+)/.exec(await lab.text('router', ['nft', 'list', 'counter', 'ip6', 'spy', name]))?.[1]);
      assert.deepEqual([await counted('marked'), (await counted('seen')) > 0], [0, true]);
      // A flush that meets a neighbour just being asked for drops the packet that waits for it.
      for (const [name, stream] of Object.entries({ ...streams, router })) {
        const { lost, sent } = await stream.outage({ since, until: now() });
        assert.ok(sent > 10 && lost <= 2, `${name}: ${lost} of ${sent} lost`);
      }
      await daemon.until('the kernel is as wished', isInSync);
      await lab.text('router', ['nft', 'delete', 'table', 'ip6', 'spy']);
    }, { nat: { backend }, policies: [{ name: 'everything', use: ['cable', 'fibre'], router: true }] }));
}

type Streams = Readonly<Record<string, Stream>>;

/** One stream of each kind for each family, named `udp 4`, `udp 6`, ... */
async function traffic(lab: Lab, kinds: readonly ('udp' | 'new-udp' | 'tcp')[]): Promise<Streams> {
  const wishes = kinds.flatMap((kind) => FAMILIES.map(({ family, to }) => ({ name: `${kind} ${family}`, kind, to })));
  const made = wishes.map(async ({ name, kind, to }): Promise<[string, Stream]> => [name, await lab.stream({ kind, to, rateHz: 50 })]);
  return Object.fromEntries(await Promise.all(made));
}

async function outages(streams: Streams, fault: Applied, calmMs = 200): Promise<Record<string, Outage>> {
  const seen = Object.entries(streams).map(async ([name, stream]): Promise<[string, Outage]> => [name, await stream.outageAfter(fault, { calmMs })]);
  return Object.fromEntries(await Promise.all(seen));
}

async function allCarriers(streams: Streams): Promise<Record<string, readonly string[]>> {
  const since = now();
  const seen = Object.entries(streams).map(async ([name, stream]): Promise<[string, readonly string[]]> => [name, await carriers(stream, { since })]);
  return Object.fromEntries(await Promise.all(seen));
}

function everywhere(streams: Streams, uplink: string): Record<string, readonly string[]> {
  return Object.fromEntries(Object.keys(streams).map((name) => [name, [uplink]]));
}
