/**
 * What becomes of running connections: who stays, who is moved, who is cut and how soon he knows. Whoever has nothing to do with an uplink never notices.
 * A far end that is strict drops, as most firewalls do, what it did not see begin: nobody learns by its resets.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { labUnavailable, now, until, waitFor } from '../lab/lab.js';
import type { Lab } from '../lab/lab.js';
import { assertTold, beStrict, morePorts, openSockets } from './sockets.js';
import type { Held, Sockets } from './sockets.js';
import { BACKENDS, FAST, assertUnhurt, carriers, defaultsOf, said, settled, shareStory, stateOf, uplinkIn, untilSaid, untilState } from './story.js';

const skip = (await labUnavailable()) ?? false;
const noIptables = (await labUnavailable('iptables')) ?? false;
/** Whoever would be cut a second time is so at the sweep after the first, a second later. */
const SWEEP_MS = 1000;
/** Where the echo server is not. */
const PEER_PORT = 25_182;
const tell = shareStory({ topology: { lans: 2 }, before: beStrict });

test('three uplinks of equal priority share 3:1:1 as one multipath route, and when one dies the connections of the two others neither move nor break', { skip }, () => {
  const uplinks = { fibre: uplink(0, 1, { weight: 3 }), cable: uplink(1, 1, { weight: 1 }), lte: uplink(2, 1, { weight: 1 }) };
  return tell(async ({ lab, daemon }) => {
    const hops = [['198.51.100.1', 'isp0', 3], ['203.0.113.1', 'isp1', 1], ['100.64.0.1', 'isp2', 1]].map(([via, device, weight]) => `nexthop via ${via} dev ${device} weight ${weight} onlink`);
    const route = `default proto 147 metric 30 ${hops.join(' ')}`;
    await waitFor('main shows all as one route', async () => (await defaultsOf(lab))[0], (first) => first === route);
    assert.equal((await lab.view('router')).active[0], route);
    const client = await openSockets(lab);
    const { fibre = 0, cable = 0, lte = 0 } = await client.by({ count: 2500, atOnce: 250 });
    assert.equal(fibre + cable + lte, 2500, 'none was lost');
    for (const other of [cable, lte]) assert.ok(Math.abs(fibre / (fibre + other) - 0.75) < 0.05, `${fibre}:${other}`);
    const [tcp, fresh] = await Promise.all([lab.stream({ kind: 'tcp', connections: 60, rateHz: 300 }), lab.stream({ kind: 'new-udp', rateHz: 50 })]);
    const before = await waitFor('each connection has been answered', () => waysOf(tcp), (ways) => ways.size === 60);
    assert.ok([...before.values()].filter((way) => way === 'lte').length >= 3);
    const fault = await lab.cutCable('lte');
    await untilState(daemon, 'lte', 'down');
    await fresh.outageAfter(fault);
    assert.deepEqual((await carriers(fresh, { forMs: 400 })).filter((way) => way === 'lte'), []);
    const after = await tcp.samples({ since: fault.beganAt, until: now() });
    const healthy = after.filter((one) => before.get(one.connection) !== 'lte');
    assert.ok(new Set(healthy.map((one) => one.connection)).size > 30);
    assert.deepEqual(healthy.filter((one) => one.via !== before.get(one.connection)), [], 'none moved, none lost a question');
    assert.deepEqual((await tcp.broken()).filter((one) => before.get(one.connection) !== 'lte'), []);
  }, { uplinks });
});

for (const backend of BACKENDS) {
  const without = backend === 'iptables' ? noIptables : skip;
  test(`a connection on a line that dies is told by a reset, whether it sends or only listens, also where the far end keeps silent; bystanders notice nothing (${backend})`, { skip: without }, () =>
    tell(async ({ lab, daemon }) => {
      const [client, router] = await Promise.all([openSockets(lab), openSockets(lab, 'router')]);
      const held = await Promise.all([5, 20, 0, 400].map((everyMs) => client.hold({ protocol: 'tcp', everyMs })));
      const own = [await router.hold({ protocol: 'tcp', everyMs: 0 })];
      const bystanders = await openBystanders(lab);
      const ids = await foreignEntries(lab);
      assert.ok(ids.length >= 10, `${ids.length} entries`);
      const since = now();
      await lab.cutCable('fibre');
      for (const [who, numbers] of [[client, held], [router, own]] as const) await assertTold(who, numbers);
      assert.deepEqual(await client.by({ protocol: 'tcp' }), { cable: 1 }, 'a new one goes by the next line');
      await lab.cutCable('cable');
      await daemon.untilActive('lte');
      await until(now() + SWEEP_MS);
      await assertUnhurt(bystanders, since);
      assert.deepEqual(await foreignEntries(lab), ids, 'LAN to LAN, VPN and local entries are the very same');
      await lab.text('router', ['nft', 'delete', 'table', 'ip', 'hairpin']);
    }, { nat: { backend } }));
}

test('fail-back with `flows: move`: connections stay until the deadline, are then cut and told, and begin anew on the better line', { skip }, () =>
  tell(async ({ lab, daemon }) => {
    await lab.cutCable('fibre');
    await daemon.untilActive('cable');
    const client = await openSockets(lab);
    const [sender, listener, udp] = await Promise.all([client.hold({ protocol: 'tcp' }), client.hold({ protocol: 'tcp', everyMs: 0 }), client.hold()]);
    await lab.plugCable('fibre');
    await daemon.untilActive('fibre');
    assert.deepEqual(await client.by(), { fibre: 1 });
    assert.deepEqual((await client.tell()).map((one) => [client.carrier(one.seen), one.endedAt]), [['cable', 0], ['cable', 0], ['cable', 0]], 'they have time to end by themselves');
    await assertTold(client, [sender, listener]);
    await waitFor('the UDP flow is on fibre', async () => client.carrier((await client.one(udp)).seen), (by) => by === 'fibre');
    await untilSaid(daemon, /forgot \d connections of cable/);
    await client.end();
  }, { failback: { hold: '300ms', flows: 'move', drainDeadline: '1500ms' } }));

test('a metered line is left at once when something better is up, and nobody who reconnects as fast as he can is stuck on it', { skip }, () => {
  const uplinks = { fibre: uplink(0, 1, {}), lte: uplink(2, 2, { metered: true }) };
  return tell(async ({ lab, daemon }) => {
    await lab.cutCable('fibre');
    await daemon.untilActive('lte');
    const client = await openSockets(lab);
    const hasty = await Promise.all(Array.from({ length: 20 }, (_, n) => client.hold({ protocol: 'tcp', everyMs: n % 2 === 0 ? 20 : 0, again: true })));
    const keepalive = await client.hold({ everyMs: 20 });
    const fresh = await lab.stream({ kind: 'new-udp', rateHz: 50 });
    assert.deepEqual([...new Set((await client.tell()).map((one) => client.carrier(one.seen)))], ['lte']);
    await lab.plugCable('fibre');
    await daemon.untilActive('fibre');
    const switchedAt = now();
    const allHome = (held: readonly Held[]): boolean => held.every((one) => client.carrier(one.seen) === 'fibre');
    await waitFor('everybody is on fibre', () => client.tell(), allHome);
    await until(switchedAt + SWEEP_MS + 500);
    const held = await client.tell();
    assert.ok(allHome(held), 'and stays there');
    assert.ok(hasty.every((number) => held[number]!.times === 2), `nobody was cut twice: ${held.map((one) => one.times).join()}`);
    assert.equal(client.carrier(held[keepalive]!.seen), 'fibre');
    assert.deepEqual(await carriers(fresh), ['fibre']);
    const left = await lab.text('router', ['conntrack', '-L', '-m', `${String(uplinkIn(await daemon.status(), 'lte')['mark'])}/0x3f80`]);
    assert.deepEqual(left.split('\n').filter((line) => /src=192\.168\.1\.10/.test(line)), [], 'not one entry of the LAN is left there');
    await client.end();
  }, { uplinks, failback: { hold: '300ms' } });
});

test('named flows go home on fail-back in their order, SIP with its RTP, while all others stay', { skip }, () => {
  const flows = [
    { name: 'tunnel', protocol: 'udp', ports: [5182, PEER_PORT], origin: 'router', failback: 'move' },
    { name: 'telephony', protocol: 'udp', ports: [5060, '10000-10010'], failback: 'move' },
  ];
  return tell(async ({ lab, daemon }) => {
    const [client, router] = await Promise.all([openSockets(lab), openSockets(lab, 'router')]);
    await morePorts(lab);
    const tunnel = await router.hold({ port: 5182, sourcePort: 5182 });
    const forwarder = await router.hold({ to: '9.9.9.9' });
    const [sip, rtp] = await Promise.all([client.hold({ port: 5060, sourcePort: 5060 }), client.hold({ port: 10_004 })]);
    const [likeIt, plain, tcp] = await Promise.all([client.hold({ port: 5182 }), client.hold(), client.hold({ protocol: 'tcp' })]);
    const places = [[router, tunnel], [router, forwarder], [client, sip], [client, rtp], [client, likeIt], [client, plain]] as const;
    const ways = async (): Promise<readonly string[]> => Promise.all(places.map(async ([who, number]) => who.carrier((await who.one(number)).seen)));
    await lab.cutCable('fibre');
    await waitFor('all are on cable, the sockets of the router too', ways, (all) => all.every((way) => way === 'cable'));
    await waitFor('the TCP connection is over', async () => (await client.one(tcp)).endedAt, (endedAt) => endedAt > 0);
    const second = await client.hold({ protocol: 'tcp' });
    const lively = await openLivelyTunnel(lab, router);
    assert.equal(await lively(), 'cable');
    await lab.plugCable('fibre');
    await daemon.untilActive('fibre');
    await waitFor('the tunnel whose ends both send is home', lively, (way) => way === 'fibre');
    await waitFor('tunnel and telephony are home', ways, (all) => all.join() === 'fibre,cable,fibre,fibre,cable,cable');
    await until(now() + SWEEP_MS);
    assert.equal(await lively(), 'fibre', 'and stays there, whatever the far end still sends to the old address');
    assert.deepEqual(await ways(), ['fibre', 'cable', 'fibre', 'fibre', 'cable', 'cable'], 'the others stay');
    const { seen, endedAt } = await client.one(second);
    assert.deepEqual([client.carrier(seen), endedAt], ['cable', 0]);
    const kinds = said(daemon, /^forgot .* of the kind/).map((text) => / of the kind (\S+)/.exec(text)?.[1]);
    assert.deepEqual([...new Set(kinds)], ['tunnel', 'telephony']);
    await Promise.all([client.end(), router.end()]);
  }, { flows, failback: { hold: '300ms' } });
});

test('with nothing better left nothing is forgotten: connections outlive the outage of the only line', { skip }, () =>
  tell(async ({ lab, daemon }) => {
    const [udp, tcp] = await Promise.all([lab.stream({ kind: 'udp', rateHz: 50 }), lab.stream({ kind: 'tcp' })]);
    const entry = await lab.text('router', ['conntrack', '-L', '-p', 'udp', '-s', '192.168.1.10', '-o', 'id']);
    for (const strike of [() => lab.upstreamDead('fibre'), () => lab.cutCable('fibre')]) {
      await strike();
      await untilState(daemon, 'fibre', 'down');
      await until(now() + 400);
      await lab.heal('fibre');
      await settled(daemon);
      await Promise.all([udp.outageAfter(now()), tcp.outageAfter(now())]);
    }
    assert.deepEqual([await tcp.broken(), said(daemon, /^forgot .* of fibre/)], [[], []]);
    const idOf = (text: string): string | undefined => / id=(\d+)/.exec(text)?.[1];
    assert.equal(idOf(await lab.text('router', ['conntrack', '-L', '-p', 'udp', '-s', '192.168.1.10', '-o', 'id'])), idOf(entry));
  }, { ...FAST, health: { sensitivity: 'fast', down: { after: '300ms' } }, uplinks: { fibre: uplink(0, 1, {}) } }));

test('another address on a line frees the UDP flows that keepalives hold to the old one, also those that a rule of the user translates', { skip }, () => {
  // What we masquerade is freed by the kernel itself; a fixed translation is not.
  const users = (address: string): string => `table ip users { chain post { type nat hook postrouting priority srcnat - 10; ip daddr 8.8.8.8 oifname "isp0" snat to ${address}; }\n}\n`;
  return tell(async ({ lab, daemon }) => {
    await lab.text('router', ['nft', '-f', '-'], users('198.51.100.2'));
    const client = await openSockets(lab);
    const phones = await Promise.all([client.hold({ everyMs: 50 }), client.hold({ everyMs: 50, to: '8.8.8.8' })]);
    const seen = async (): Promise<readonly string[]> => Promise.all(phones.map(async (phone) => (await client.one(phone)).seen));
    await lab.text('router', ['nft', '-f', '-'], `delete table ip users\n${users('198.51.100.9')}`);
    assert.deepEqual(await seen(), ['198.51.100.2', '198.51.100.2']);
    await lab.changeAddress('fibre', { router: '198.51.100.9' });
    // Between the two addresses the line has no way out; who sends just then goes by the next line, and stays there.
    const next = ['198.51.100.9', '203.0.113.2'];
    await waitFor('the flows bear another address', seen, (all) => all.every((one) => next.includes(one)));
    assert.equal(stateOf(await daemon.untilActive('fibre'), 'fibre'), 'up');
    assert.deepEqual(await client.by(), { fibre: 1 });
    await client.end();
    await lab.text('router', ['nft', 'delete', 'table', 'ip', 'users']);
    await lab.changeAddress('fibre', { router: '198.51.100.2' });
  });
});

function uplink(n: number, priority: number, more: object): object {
  return { interface: `isp${n}`, gateway: ['198.51.100.1', '203.0.113.1', '100.64.0.1'][n], priority, ...more };
}

/**
 * A socket of the router with the address of cable, and a far end that sends by itself: what WireGuard does.
 * @returns by which lines the far end was reached in the last moments
 */
async function openLivelyTunnel(lab: Lab, router: Sockets): Promise<() => Promise<string>> {
  const [here, there] = ['203.0.113.2', '192.0.2.10'];
  const heard = `set heard { type ipv4_addr; flags dynamic, timeout; timeout 300ms; }`;
  const hook = 'type filter hook prerouting priority raw;';
  const chain = `chain in { ${hook} udp dport ${PEER_PORT} update @heard { ip saddr }; }`;
  await lab.text('internet', ['nft', '-f', '-'], `table ip lively { ${heard}\n${chain}\n}\n`);
  const seenBy = async (): Promise<string> => {
    const text = await lab.text('internet', ['nft', 'list', 'set', 'ip', 'lively', 'heard']);
    const sources = [...text.matchAll(/(\d+(?:\.\d+){3}) (?:timeout|expires)/g)];
    return sources.map(([, seen = '']) => router.carrier(seen)).sort().join();
  };
  // The router begins: what somebody outside began is answered by the way it came.
  const held = router.hold({ from: here, sourcePort: 51_820, port: PEER_PORT });
  await waitFor('the router has begun', seenBy, (way) => way === 'cable');
  const peer = await openSockets(lab, 'internet');
  await Promise.all([held, peer.hold({ from: there, sourcePort: PEER_PORT, to: here, port: 51_820 })]);
  return seenBy;
}

async function waysOf(tcp: { samples(): Promise<readonly { readonly connection: number; readonly via: string }[]> }): Promise<ReadonlyMap<number, string>> {
  return new Map((await tcp.samples()).filter((one) => one.via !== '').map((one) => [one.connection, one.via]));
}

/** Traffic that has nothing to do with any uplink. */
async function openBystanders(lab: Lab): Promise<Readonly<Record<string, Awaited<ReturnType<Lab['stream']>>>>> {
  // Hairpin: from one LAN into the other by the address of an uplink.
  await lab.text('router', ['nft', '-f', '-'], 'table ip hairpin { chain pre { type nat hook prerouting priority dstnat; iifname "lan1" ip daddr 198.51.100.2 dnat to 192.168.1.10; }\n}\n');
  const [fromVpn, lan, toVpn, local] = await Promise.all([
    lab.stream({ kind: 'udp', rateHz: 50, from: 'vpn', to: '192.168.1.10' }),
    lab.stream({ kind: 'tcp', connections: 3, rateHz: 30, to: '192.168.2.10' }), lab.stream({ kind: 'tcp', connections: 3, rateHz: 30, to: '10.8.0.2' }),
    lab.stream({ kind: 'tcp', connections: 2, rateHz: 20, to: '192.168.1.1' }),
  ]);
  const hairpin = await lab.stream({ kind: 'tcp', connections: 3, rateHz: 30, from: 'client2', to: '198.51.100.2' });
  return { lan, toVpn, fromVpn, local, hairpin };
}

/** Entries that no uplink is part of, by the kernel's number for each. */
async function foreignEntries(lab: Lab): Promise<readonly string[]> {
  const text = await lab.text('router', ['conntrack', '-L', '-o', 'id']);
  return text.split('\n').filter((line) => /dst=(192\.168\.[12]\.\d+|10\.8\.0\.2) sport/.test(line) && !/dst=192\.0\.2|TIME_WAIT/.test(line)).map((line) => / id=(\d+)/.exec(line)?.[1] ?? line).sort();
}
