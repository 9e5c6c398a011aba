/** What the packet filter does to real packets: who gets in, under which address who leaves, how large his segments are. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { labUnavailable, now, waitFor, withLab } from '../lab/lab.js';
import type { Lab } from '../lab/lab.js';
import { morePorts, openSockets } from './sockets.js';
import type { Sockets } from './sockets.js';
import { BACKENDS, STEADY, carriers, settled, untilSaid, withStory } from './story.js';

const skip = (await labUnavailable()) ?? false;
const noIptables = (await labUnavailable('iptables')) ?? false;
const noLegacy = (await labUnavailable('iptables-legacy')) ?? (await legacyRefused()) ?? false;

/** Where the router finds iptables-legacy under the plain name. */
const LEGACY = '/run/lab/legacy';
const QUIET = { patienceMs: 400 } as const;
const FOUR = { protocol: 'tcp', to: '192.168.1.10', ...QUIET } as const;
const SIX = { protocol: 'tcp', to: 'fd00:a:1::10', ...QUIET } as const;

for (const backend of BACKENDS) {
  const without = backend === 'iptables' ? noIptables : skip;
  test(`firewall on: nothing new gets from an uplink into the LAN, of either family, but what is published, and all replies (${backend})`, { skip: without }, () =>
    withStory({ topology: { isps: 2, ipv6: true }, config: { nat: { backend }, forwarding: { firewall: 'on' } } }, async ({ lab, daemon }) => {
      const outside = await openOutside(lab);
      const client = await openSockets(lab);
      assert.deepEqual([await outside.by(FOUR), await outside.by(SIX)], [{ silence: 1 }, { silence: 1 }]);
      assert.deepEqual([await client.by(), await client.by({ protocol: 'tcp' }), await client.by({ to: '2001:db8:ffff::10', protocol: 'tcp' })], [{ fibre: 1 }, { fibre: 1 }, { fibre: 1 }], 'replies come in');
      await publish(lab);
      assert.deepEqual(await outside.ask({ ...FOUR, to: '198.51.100.2', port: 7070 }).then(([one]) => one?.error), '', 'published by DNAT');
      assert.deepEqual([await outside.by(FOUR), await outside.by({ ...FOUR, port: 7070 })].map((by) => Object.keys(by)), [['silence'], ['silence']], 'and nothing else');

      // The same packets get in when the firewall is off: it was the firewall.
      daemon.configure(lab.config({ nat: { backend }, forwarding: { firewall: 'off' } }));
      assert.equal((await daemon.ctl('reload')).code, 0);
      assert.deepEqual([await outside.ask(FOUR), await outside.ask(SIX)].map(([one]) => one?.error), ['', '']);
    }));

  test(`firewall on, beside rules of the user: his drop wins${backend === 'iptables' ? ', and so does his accept' : ''} (${backend})`, { skip: without }, () =>
    withStory({ topology: { isps: 2 }, config: { nat: { backend }, forwarding: { firewall: 'on' } }, before: async (lab) => usersRules(lab, backend) }, async ({ lab }) => {
      const outside = await openOutside(lab);
      const client = await openSockets(lab);
      await morePorts(lab);
      assert.deepEqual([await client.by({ port: 6666, ...QUIET }), await client.by({ port: 6667 })], [{ silence: 1 }, { fibre: 1 }]);
      await publish(lab);
      assert.deepEqual([await outside.by({ ...FOUR, sourcePort: 6668 })].map((by) => Object.keys(by)), [[backend === 'iptables' ? 'fibre' : 'silence']]);
      assert.deepEqual(await outside.by(FOUR), { silence: 1 });
    }));

  test(`firewall auto is off beside a FORWARD chain that drops by policy, and says so (${backend})`, { skip: without }, () => {
    const before = async (lab: Lab): Promise<unknown> => lab.text('router', ['nft', '-f', '-'], 'table ip theirs { chain FORWARD { type filter hook forward priority 0; policy drop; iifname "lan0" accept; ct state established accept; }\n}\n');
    return withStory({ topology: { isps: 2 }, config: { nat: { backend } }, before }, async ({ lab, daemon }) => {
      const { msg } = await untilSaid(daemon, /forwarding\.firewall: auto is off here/);
      assert.match(String(msg), /another firewall rules forwarding: table ip theirs, chain FORWARD \(policy drop\)\. It must accept what goes from the LAN to the uplinks/);
      const { host } = await daemon.status() as unknown as { readonly host: { readonly problems: readonly string[] } };
      assert.ok(host.problems.some((problem) => problem.includes('auto is off here')), JSON.stringify(host));
      const { nft, iptables } = await lab.view('router');
      assert.deepEqual([nft.filter((line) => /nothing new from outside/.test(line)), iptables.filter((line) => line.includes('UPLINKD_FW'))], [[], []]);
      assert.deepEqual(await (await openSockets(lab)).by(), { fibre: 1 });
    });
  });

  test(`addresses: always this one, also for a running flow that moves; none; routed networks as they are (${backend})`, { skip: without }, () => {
    const uplinks = { fibre: uplink(0, 1, { masquerade: '198.51.100.9' }), cable: uplink(1, 2, { masquerade: '203.0.113.9' }), lte: uplink(2, 3, { masquerade: false }) };
    const lan = { interfaces: ['lan0', 'lan1'], routed: ['192.168.2.0/24'] };
    const policies = [{ name: 'bare', destination: '8.8.8.8', use: 'lte' }];
    const before = async (lab: Lab): Promise<unknown> => lab.ip('router', 'addr add 198.51.100.9/24 dev isp0', 'addr add 203.0.113.9/24 dev isp1');
    return withStory({ topology: { lans: 2 }, config: { nat: { backend }, uplinks, lan, policies }, before }, async ({ lab, daemon }) => {
      const [client, routed] = await Promise.all([openSockets(lab), openSockets(lab, 'client2')]);
      const running = await lab.stream({ kind: 'udp', rateHz: 50 });
      assert.deepEqual((await client.ask({ count: 3 })).map((one) => one.seen), Array(3).fill('198.51.100.9'));
      const spoofed = async (isp: string): Promise<number> => lab.spoofed(isp);
      assert.deepEqual([await client.by({ to: '8.8.8.8', ...QUIET }), await spoofed('lte')], [{ silence: 1 }, 1], 'it left by lte under its own address, which that ISP drops');
      assert.deepEqual([await routed.by({ count: 2, ...QUIET }), await spoofed('fibre')], [{ silence: 2 }, 2]);

      const cut = await lab.cutCable('fibre');
      await running.outageAfter(cut);
      await daemon.untilActive('cable');
      assert.deepEqual([await carriers(running), (await client.ask()).map((one) => one.seen)], [['cable'], ['203.0.113.9']]);
      assert.equal((await running.samples({ since: now() - 100 })).at(-1)?.seen, '203.0.113.9');
    });
  });

  test(`segments are as large as each line bears, seen in the SYN at the server and in its answer at the client (${backend})`, { skip: without }, () => {
    const uplinks = { fibre: uplink(0, 1, { gateway6: 'fe80::1', mtu: 1492 }), cable: uplink(1, 2, { gateway6: 'fe80::1', mss: 1300 }), lte: uplink(2, 3, { gateway6: 'fe80::1' }) };
    const policies = [{ name: 'cable', destination: ['1.1.1.1', '2606:4700:4700::1111'], use: 'cable' }, { name: 'lte', destination: ['8.8.8.8', '2620:fe::fe'], use: 'lte' }];
    const before = async (lab: Lab): Promise<void> => {
      await lab.ip('router', 'link set isp2 mtu 1400');
      await lab.ip('lte', 'link set line mtu 1400');
    };
    return withStory({ topology: { ipv6: true }, config: { nat: { backend }, uplinks, policies }, before }, async ({ lab }) => {
      await Promise.all([spySizes(lab, 'internet', 'syn'), spySizes(lab, 'client', 'syn,ack')]);
      const client = await openSockets(lab);
      const expected: readonly (readonly [string, string, number])[] = [
        ['192.0.2.10', 'fibre', 1452], ['1.1.1.1', 'cable', 1300], ['8.8.8.8', 'lte', 1360],
        ['2001:db8:ffff::10', 'fibre', 1432], ['2606:4700:4700::1111', 'cable', 1280], ['2620:fe::fe', 'lte', 1340],
      ];
      for (const [to, isp, size] of expected) {
        assert.deepEqual(await client.by({ to, protocol: 'tcp' }), { [isp]: 1 }, to);
        assert.equal(await sizeSeen(lab, 'internet', to), size, `the SYN to ${to} by ${isp}`);
        // `auto` goes by the route, and only the active line's is found for what comes in; a client's own too large segments are told back by the router itself.
        if (isp !== 'lte') assert.equal(await sizeSeen(lab, 'client', to), size, `the answer from ${to} by ${isp}`);
      }
    });
  });
}

test('iptables-legacy: masquerade, marks and firewall stand in it', { skip: noLegacy }, () =>
  withLab({ isps: 2 }, async (lab) => {
    await lab.text('router', ['mkdir', '-p', LEGACY]);
    const names = ['iptables', 'ip6tables'].flatMap((name) => [name, `${name}-save`, `${name}-restore`]);
    await Promise.all(names.map(async (name) => lab.text('router', ['ln', '-s', (await lab.text('router', ['sh', '-c', 'command -v xtables-legacy-multi'])).trim(), `${LEGACY}/${name}`])));
    const config = lab.config({ ...STEADY, nat: { backend: 'iptables' }, forwarding: { firewall: 'on' } });
    await settled(await lab.startDaemon({ config, environment: { PATH: `${LEGACY}:${process.env['PATH'] ?? ''}:/usr/sbin:/sbin` } }));
    const outside = await openOutside(lab);
    const [old, fresh] = await Promise.all([lab.stream({ kind: 'udp', rateHz: 50 }), lab.stream({ kind: 'new-udp', rateHz: 50 })]);
    assert.deepEqual(await outside.by(FOUR), { silence: 1 });
    await old.outageAfter(await lab.cutCable('fibre'));
    assert.deepEqual([await carriers(old), await carriers(fresh)], [['cable'], ['cable']]);
    assert.match(await lab.text('router', ['iptables-legacy-save']), /UPLINKD_NAT/);
    const tables = (await lab.text('router', ['nft', 'list', 'tables'])).split('\n').filter((table) => /uplinkd/i.test(table));
    assert.deepEqual(tables, ['table inet uplinkd_count'], 'nothing of it stands in nftables, where only what passes is counted');
  }));

async function legacyRefused(): Promise<string | undefined> {
  if (skip !== false) return skip;
  return withLab({ isps: 1 }, async (lab) => {
    const { code, stderr } = await lab.run('router', ['iptables-legacy', '-t', 'nat', '-S']);
    return code === 0 ? undefined : `iptables-legacy does not work here: ${stderr.trim().split('\n')[0] ?? ''}`;
  });
}

function uplink(n: number, priority: number, more: object): object {
  return { interface: `isp${n}`, gateway: ['198.51.100.1', '203.0.113.1', '100.64.0.1'][n], priority, ...more };
}

/** The box of the ISP, which knows a way into the LAN and drops nothing of it; in the LAN the echo server answers. */
async function openOutside(lab: Lab): Promise<Sockets> {
  const served = await Promise.all([
    lab.stream({ kind: 'udp', rateHz: 1, from: 'router', to: '192.168.1.10' }), ...(lab.topology.ipv6 ? [lab.stream({ kind: 'udp', rateHz: 1, from: 'router', to: 'fd00:a:1::10' })] : []),
  ]);
  await Promise.all(served.map(async (stream) => stream.stop()));
  await lab.ip('fibre', 'route add 192.168.1.0/24 via 198.51.100.2', ...(lab.topology.ipv6 ? ['route add fd00:a:1::/64 via 2001:db8:101::2'] : []));
  await lab.text('fibre', ['nft', '-f', '-'], `flush chain ip lab bcp38\n${lab.topology.ipv6 ? 'flush chain ip6 lab bcp38\n' : ''}`);
  return openSockets(lab, 'fibre');
}

async function publish(lab: Lab): Promise<void> {
  await lab.text('router', ['nft', '-f', '-'], 'table ip published { chain pre { type nat hook prerouting priority dstnat; iifname "isp0" ip daddr 198.51.100.2 tcp dport 7070 dnat to 192.168.1.10:7007; }\n}\n');
}

/** What the user drops on its way out, and what he lets in. */
async function usersRules(lab: Lab, backend: string): Promise<void> {
  if (backend === 'nftables') {
    await lab.text('router', ['nft', '-f', '-'], 'table ip users { chain theirs { type filter hook forward priority -1; udp dport 6666 drop; tcp sport 6668 accept; }\n}\n');
    return;
  }
  await lab.text('router', ['iptables', '-A', 'FORWARD', '-p', 'udp', '--dport', '6666', '-j', 'DROP']);
  await lab.text('router', ['iptables', '-A', 'FORWARD', '-p', 'tcp', '--sport', '6668', '-j', 'ACCEPT']);
}

/** Keeps the sizes that were announced, in a set by address: of SYNs by destination, of answers by source. */
async function spySizes(lab: Lab, host: string, flags: 'syn' | 'syn,ack'): Promise<void> {
  const side = flags === 'syn' ? 'daddr' : 'saddr';
  const sizes = [1280, 1300, 1320, 1340, 1352, 1360, 1380, 1400, 1412, 1420, 1432, 1440, 1452, 1460];
  const table = (family: 'ip' | 'ip6'): string => `table ${family} sizes { chain in { type filter hook input priority 0; ${sizes.map((size) => sizeRule(family, side, flags, size)).join('\n')}\n}\n`
    + `${sizes.map((size) => `set mss${size} { type ${family === 'ip' ? 'ipv4_addr' : 'ipv6_addr'}; flags dynamic; size 100; }`).join('\n')}\n}\n`;
  await lab.text(host, ['nft', '-f', '-'], table('ip') + table('ip6'));
}

function sizeRule(family: 'ip' | 'ip6', side: string, flags: string, size: number): string {
  return `tcp flags & (syn | ack) == ${flags === 'syn' ? 'syn' : 'syn | ack'} tcp option maxseg size ${size} add @mss${size} { ${family} ${side} }`;
}

/** 0 = none was seen. */
async function sizeSeen(lab: Lab, host: string, address: string): Promise<number> {
  const look = async (): Promise<number> => {
    const text = await lab.text(host, ['nft', 'list', 'table', address.includes(':') ? 'ip6' : 'ip', 'sizes']);
    const set = text.split('\tset ').find((part) => new RegExp(`elements = \\{[^}]*\\b${address}\\b`).test(part));
    return Number(/^mss(\d+)/.exec(set ?? '')?.[1] ?? 0);
  };
  return waitFor(`${host} has seen a size`, look, (size) => size > 0);
}
