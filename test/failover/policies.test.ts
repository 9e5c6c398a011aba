/** Policies with real packets: which way the new connections of a kind go, and what becomes of them when those ways die. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { deadline, labUnavailable, now, waitFor } from '../lab/lab.js';
import type { Lab } from '../lab/lab.js';
import type { Daemon } from '../lab/daemon.js';
import { PORT, morePorts, openSockets } from './sockets.js';
import type { Sockets } from './sockets.js';
import { BACKENDS, STEADY, assertUnanswered, assertUnhurt, carriers, reload, settled, shareStory, untilState, withStory } from './story.js';

const skip = (await labUnavailable()) ?? false;
const noIpset = (await labUnavailable('ipset')) ?? false;
const tell = shareStory({ topology: { lans: 2 }, before });

const MATCHES = [
  { name: 'guests', source: '192.168.2.0/24', use: ['lte', 'cable'] },
  { name: 'telephony', protocol: 'udp', ports: [5060, '10000-10010'], use: ['cable', 'fibre'] },
  { name: 'by-destination', destination: ['9.9.9.9', '198.51.100.128/25'], use: 'lte' },
  { name: 'mail', protocol: 'tcp', ports: 2525, use: 'cable' },
  { name: 'from-port', protocol: 'udp', sourcePorts: '15000-15099', use: 'lte' },
  { name: 'marked', mark: '0x1/0xf', use: 'lte' },
  { name: 'streaming', set: 'streaming', use: 'cable' },
  { name: 'mirror', destination: '8.8.8.8', use: ['cable'], router: true },
] as const;

for (const backend of BACKENDS) {
  const without = backend === 'iptables' ? noIpset : skip;
  test(`a new connection goes by the first policy that fits: source, destination, protocol, port, mark, set; counted; the router's own only where it is said (${backend})`, { skip: without }, () =>
    tell(async ({ lab, daemon }) => {
      await fillSet(lab, backend, '1.1.1.1');
      const [client, guest, router] = await Promise.all([openSockets(lab), openSockets(lab, 'client2'), openSockets(lab, 'router')]);
      await morePorts(lab);
      await walk(client, guest);
      assert.deepEqual(await countsOf(daemon), { guests: 6, telephony: 9, 'by-destination': 2, mail: 2, 'from-port': 3, marked: 2, streaming: 4, mirror: 2 });
      assert.deepEqual(await router.by({ to: '9.9.9.9', count: 3 }), { fibre: 3 }, 'what the router sends is no business of a policy');
      assert.deepEqual(await router.by({ to: '8.8.8.8', count: 3 }), { cable: 3 }, 'unless it says so');
      assert.deepEqual(await router.by({ to: '8.8.8.8', protocol: 'tcp', count: 2 }), { cable: 2 });
      assert.equal((await countsOf(daemon))['mirror'], 7);
      assert.match((await daemon.ctl('policies')).stdout, /^telephony +cable +9 /m);

      // A reload that puts a policy in front keeps what is in the set, and a restart too.
      const first = { name: 'first', protocol: 'udp', ports: 5060, use: 'lte' };
      await reload({ lab, daemon }, { nat: { backend }, policies: [first, ...MATCHES] });
      await settled(daemon);
      assert.deepEqual(await client.by({ port: 5060 }), { lte: 1 });
      assert.deepEqual(await client.by({ port: 10_003 }), { cable: 1 });
      assert.deepEqual(await client.by({ to: '1.1.1.1' }), { cable: 1 }, 'the set is as it was');
    }, { nat: { backend }, policies: MATCHES }));

  test(`without a living uplink of its own a policy falls through, or refuses at once, also while the daemon starts and reloads; nothing of it leaves (${backend})`, { skip }, () => {
    const policies = [{ name: 'guests', source: '192.168.2.0/24', use: 'lte', otherwise: 'block' }, { name: 'telephony', protocol: 'udp', ports: 5060, use: ['lte', 'cable'] }];
    const config = { nat: { backend }, policies, failback: { hold: '300ms' } };
    return tell(async (story) => {
      const { lab } = story;
      await lab.kernelAlone();
      const [client, guest] = await Promise.all([openSockets(lab), openSockets(lab, 'client2')]);
      await morePorts(lab);
      const running = await guest.hold({ protocol: 'tcp', everyMs: 5 });
      assert.deepEqual([await client.by({ port: 5060 }), await guest.by(), await guest.by({ protocol: 'tcp' })], [{ lte: 1 }, { lte: 1 }, { lte: 1 }]);
      await lab.cutCable('lte');
      await story.daemon.untilActive('fibre');
      await untilState(story.daemon, 'lte', 'down');
      assert.deepEqual(await client.by({ port: 5060, count: 3 }), { cable: 3 }, 'the next one of its order');
      await waitFor('who sends on a connection that may go nowhere else is told', async () => (await guest.one(running)).error, (error) => error === 'ECONNRESET');
      await lab.cutCable('cable');
      await untilState(story.daemon, 'cable', 'down');
      await story.daemon.until('the kernel is as wished', ({ kernel }) => (kernel as { inSync: boolean }).inSync);
      assert.deepEqual(await client.by({ port: 5060, count: 3 }), { fibre: 3 }, 'and then as all others');

      await spy(lab);
      // Which SYN is answered is the kernel's affair, it gives one host so many such answers a second (icmp_ratelimit).
      assert.deepEqual(await guest.by({ protocol: 'tcp', patienceMs: 4000 }), { EHOSTUNREACH: 1 });

      const trying = await lab.stream({ kind: 'new-udp', from: 'client2', rateHz: 100, answered: false });
      await reload(story, { ...config, policies: [...policies, { name: 'more', protocol: 'tcp', use: ['cable', 'fibre'] }] });
      await story.daemon.kill9();
      story.daemon = await lab.startDaemon();
      await settled(story.daemon, ['fibre']);
      await story.daemon.stop();
      story.daemon = await lab.startDaemon();
      await settled(story.daemon, ['fibre']);
      await assertUnanswered(trying);
      assert.equal(await spied(lab), 0, 'no packet of it left by another line');
      await lab.plugCable('lte');
      await untilState(story.daemon, 'lte', 'up');
      await waitFor('it is carried again', () => guest.by(), (by) => by['lte'] === 1);
      await lab.text('router', ['nft', 'delete', 'table', 'ip', 'handmade']);
      await lab.ip('router', ...[100, 101, 102].map((metric) => `route del default metric ${metric}`));
    }, config);
  });

  test(`a policy shares by its own weights; a sticky one keeps a source on one line, and on the next one when that dies (${backend})`, { skip: without }, () => {
    const policies = [
      { name: 'sticky', protocol: 'tcp', use: { fibre: 1, cable: 1 }, sticky: '1m' },
      { name: 'shared', protocol: 'udp', use: { lte: 3, cable: 1 } },
    ];
    return tell(async ({ lab, daemon }) => {
      const [client, other] = await Promise.all([openSockets(lab), openSockets(lab, 'client2')]);
      const shares = await client.by({ count: 400 });
      assert.ok((shares['lte'] ?? 0) > 260 && (shares['lte'] ?? 0) < 340 && (shares['lte'] ?? 0) + (shares['cable'] ?? 0) === 400, JSON.stringify(shares));

      const sticky = { protocol: 'tcp', count: 20 } as const;
      await client.by({ ...sticky, count: 1 });
      const mine = await client.by(sticky);
      assert.equal(Object.keys(mine).length, 1, JSON.stringify(mine));
      assert.equal(Object.values(mine)[0], 20);
      const [line = ''] = Object.keys(mine);
      await other.by({ ...sticky, count: 1 });
      assert.equal(Object.keys(await other.by(sticky)).length, 1);

      await lab.cutCable(line);
      await untilState(daemon, line, 'down');
      const heir = line === 'fibre' ? 'cable' : 'fibre';
      assert.deepEqual(await client.by(sticky), { [heir]: 20 });
      await lab.plugCable(line);
      await untilState(daemon, line, 'up');
      await settled(daemon);
      assert.deepEqual(await client.by(sticky), { [heir]: 20 }, 'it stays there');
    }, { nat: { backend }, policies, failback: { hold: '300ms' } });
  });
}

test('new connections of a policy leave a suspect uplink at once, its running ones stay', { skip }, () => {
  const health = { sensitivity: 'fast', down: { after: '8s' }, up: { successes: 2 } };
  const policies = [{ name: 'by-cable', destination: '8.8.8.8', use: ['cable', 'lte'] }];
  return tell(async ({ lab, daemon }) => {
    const [running, fresh, common] = await Promise.all([
      lab.stream({ kind: 'tcp', to: '8.8.8.8' }), lab.stream({ kind: 'new-udp', to: '8.8.8.8', rateHz: 50 }), lab.stream({ kind: 'new-udp', rateHz: 50 }),
    ]);
    assert.deepEqual([await carriers(running), await carriers(fresh), await carriers(common)], [['cable'], ['cable'], ['fibre']]);
    const since = now();
    await lab.upstreamDead('cable');
    await untilState(daemon, 'cable', 'suspect');
    await waitFor('new ones go by the next line', () => carriers(fresh, { forMs: 50 }), (seen) => seen.join() === 'lte');
    await lab.heal('cable');
    await untilState(daemon, 'cable', 'up');
    await running.outageAfter(now());
    assert.deepEqual(await carriers(running), ['cable']);
    assert.deepEqual(await running.broken(), []);
    await assertUnhurt({ common }, since);
  }, { health, probe: { ...STEADY.probe, interval: '100ms' }, policies });
});

test('policies of IPv6: their own prefixes, their own deaths, refused by ICMPv6', { skip }, () => {
  const policies = [
    { name: 'mixed', destination: ['8.8.8.8', '2620:fe::fe'], use: ['cable'], otherwise: 'block' },
    { name: 'telephony', protocol: 'udp', ports: 5060, use: 'cable' },
  ];
  return withStory({ topology: { isps: 2, ipv6: true }, config: { nat: { backend: 'nftables' }, policies } }, async ({ lab, daemon }) => {
    const six = { to: '2620:fe::fe' } as const;
    const client = await openSockets(lab);
    await morePorts(lab);
    assert.deepEqual([await client.by({ ...six, count: 3 }), await client.by({ to: '2001:db8:ffff::10' }), await client.by({ to: '8.8.8.8' })], [{ cable: 3 }, { fibre: 1 }, { cable: 1 }]);
    assert.deepEqual(await client.by({ to: '2001:db8:ffff::10', port: 5060 }), { cable: 1 });
    await lab.upstreamDead('cable', { family: 6 });
    await daemon.until('cable is down for IPv6', ({ uplinks }) => uplinks.some((one) => one.name === 'cable' && one.families.some(({ family, state }) => family === 6 && state === 'down')));
    await daemon.until('the kernel is as wished', ({ kernel }) => (kernel as { inSync: boolean }).inSync);
    // A client of a new kernel believes it when its second SYN, a second later, is refused too.
    const [refused] = await client.ask({ ...six, protocol: 'tcp', patienceMs: deadline() });
    assert.match(refused?.error ?? '', /^(ENETUNREACH|EHOSTUNREACH)$/, 'refused, and not silence');
    assert.deepEqual([await client.by({ to: '8.8.8.8' }), await client.by({ to: '2001:db8:ffff::10', port: 5060 })], [{ cable: 1 }, { fibre: 1 }]);
    const { mixed = 0, telephony } = await countsOf(daemon);
    assert.ok(mixed >= 6 && telephony === 2, `both families together, and each SYN that was refused: ${mixed}, ${telephony}`);
  });
});

async function walk(client: Sockets, guest: Sockets): Promise<void> {
  const expected: readonly (readonly [Sockets, Parameters<Sockets['by']>[0], string])[] = [
    [guest, { count: 3 }, 'lte'], [guest, { port: 5060, count: 3 }, 'lte'],
    [client, { port: 5060, count: 3 }, 'cable'], [client, { port: 10_010, count: 3 }, 'cable'], [client, { to: '9.9.9.9', port: 5060, count: 3 }, 'cable'],
    [client, { port: 5060, protocol: 'tcp' }, 'fibre'], [client, { port: 10_011 }, 'fibre'],
    [client, { to: '9.9.9.9' }, 'lte'], [client, { to: '9.9.9.9', port: 2525, protocol: 'tcp' }, 'lte'],
    [client, { port: 2525, protocol: 'tcp', count: 2 }, 'cable'], [client, { port: 2525 }, 'fibre'],
    [client, { sourcePort: 15_000, count: 3 }, 'lte'], [client, { sourcePort: 15_100 }, 'fibre'],
    [client, { port: 7777, count: 2 }, 'lte'], [client, { port: 7778 }, 'fibre'],
    [client, { to: '1.1.1.1', count: 2 }, 'cable'], [client, { to: '1.1.1.1', count: 2, protocol: 'tcp' }, 'cable'],
    [client, { to: '8.8.8.8', count: 2 }, 'cable'], [client, { port: PORT, count: 3 }, 'fibre'],
  ];
  for (const [who, order = {}, by] of expected) assert.deepEqual(await who.by(order), { [by]: order.count ?? 1 }, JSON.stringify(order));
}

/** Who marks in mangle, in the words of each backend; an ipset is there before us. */
async function before(lab: Lab): Promise<void> {
  if (BACKENDS.includes('nftables')) await lab.text('router', ['nft', '-f', '-'], 'table ip mine { chain pre { type filter hook prerouting priority mangle; udp dport 7777 meta mark set meta mark or 0x1; udp dport 7778 meta mark set meta mark or 0x2; }\n}\n');
  if (!BACKENDS.includes('iptables') || noIpset !== false) return;
  await lab.text('router', ['iptables', '-t', 'mangle', '-A', 'PREROUTING', '-p', 'udp', '--dport', '7777', '-j', 'MARK', '--or-mark', '1']);
  await lab.text('router', ['ipset', 'create', 'streaming', 'hash:net']);
}

async function fillSet(lab: Lab, backend: string, address: string): Promise<void> {
  if (backend === 'iptables') await lab.text('router', ['ipset', 'add', 'streaming', address]);
  else await lab.text('router', ['nft', 'add', 'element', 'ip', 'uplinkd', 'streaming', `{ ${address} }`]);
}

async function countsOf(daemon: Daemon): Promise<Readonly<Record<string, number>>> {
  const { status, body } = await daemon.rest('GET', '/v1/policies');
  assert.equal(status, 200);
  return Object.fromEntries((body as { policies: readonly { name: string; connections: number }[] }).policies.map((policy) => [policy.name, policy.connections]));
}

/** Counts what comes up any line from the guests: as it left the LAN, or under the address of the line. */
async function spy(lab: Lab): Promise<void> {
  const table = `table ip spy { chain pre { type filter hook prerouting priority -400; iifname "line" meta l4proto { tcp, udp } th dport ${PORT} counter; }\n}\n`;
  await Promise.all(lab.isps().map(async (isp) => lab.text(isp.name, ['nft', '-f', '-'], table)));
}

async function spied(lab: Lab): Promise<number> {
  const texts = await Promise.all(lab.isps().map(async (isp) => lab.text(isp.name, ['nft', 'list', 'table', 'ip', 'spy'])));
  return texts.reduce((sum, text) => sum + Number(/packets (\d+)/.exec(text)?.[1]), 0);
}
