/** What the packet filter of the daemon does to real packets: who gets in, how large segments are. All the rest is proved in test/kernel/nat-*.test.ts. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { labUnavailable, waitFor } from '../lab/lab.js';
import type { Lab } from '../lab/lab.js';
import { openSockets } from './sockets.js';
import type { Sockets } from './sockets.js';
import { BACKENDS, reload, shareStory, untilSaid } from './story.js';

const skip = (await labUnavailable()) ?? false;
const noIptables = (await labUnavailable('iptables')) ?? false;
const tell = shareStory({ topology: { ipv6: true }, before: narrowLte });

const QUIET = { patienceMs: 400 } as const;
const FOUR = { protocol: 'tcp', to: '192.168.1.10', ...QUIET } as const;
const SIX = { protocol: 'tcp', to: 'fd00:a:1::10', ...QUIET } as const;

for (const backend of BACKENDS) {
  const without = backend === 'iptables' ? noIptables : skip;
  test(`firewall on: nothing new gets from an uplink into the LAN, of either family, but what is published, and all replies; auto is off beside a FORWARD chain that drops by policy, and says so (${backend})`, { skip: without }, () =>
    tell(async ({ lab, daemon }) => {
      const outside = await openOutside(lab);
      const client = await openSockets(lab);
      assert.deepEqual([await outside.by(FOUR), await outside.by(SIX)], [{ silence: 1 }, { silence: 1 }]);
      assert.deepEqual([await client.by(), await client.by({ protocol: 'tcp' }), await client.by({ to: '2001:db8:ffff::10', protocol: 'tcp' })], [{ fibre: 1 }, { fibre: 1 }, { fibre: 1 }], 'replies come in');
      await publish(lab);
      assert.deepEqual(await outside.ask({ ...FOUR, to: '198.51.100.2', port: 7070 }).then(([one]) => one?.error), '', 'published by DNAT');
      assert.deepEqual([await outside.by(FOUR), await outside.by({ ...FOUR, port: 7070 })].map((by) => Object.keys(by)), [['silence'], ['silence']], 'and nothing else');

      // The same packets get in when the firewall is off: it was the firewall.
      await reload({ lab, daemon }, { nat: { backend }, forwarding: { firewall: 'off' } });
      assert.deepEqual([await outside.ask(FOUR), await outside.ask(SIX)].map(([one]) => one?.error), ['', '']);
      await lab.text('router', ['nft', 'delete', 'table', 'ip', 'published']);

      await lab.text('router', ['nft', '-f', '-'], 'table ip theirs { chain FORWARD { type filter hook forward priority 0; policy drop; iifname "lan0" accept; ct state established accept; }\n}\n');
      await reload({ lab, daemon }, { nat: { backend } });
      const { msg } = await untilSaid(daemon, /forwarding\.firewall: auto is off here/);
      assert.match(String(msg), /another firewall rules forwarding: table ip theirs, chain FORWARD \(policy drop\)\. It must accept what goes from the LAN to the uplinks/);
      const { host } = await daemon.status() as unknown as { readonly host: { readonly problems: readonly string[] } };
      assert.ok(host.problems.some((problem) => problem.includes('auto is off here')), JSON.stringify(host));
      const { nft, iptables } = await lab.view('router');
      assert.deepEqual([nft.filter((line) => /nothing new from outside/.test(line)), iptables.filter((line) => line.includes('UPLINKD_FW'))], [[], []]);
      assert.deepEqual(await client.by(), { fibre: 1 });
      await lab.text('router', ['nft', 'delete', 'table', 'ip', 'theirs']);
    }, { nat: { backend }, forwarding: { firewall: 'on' } }));

  test(`segments are as large as each line bears, seen in the SYN at the server and in its answer at the client (${backend})`, { skip: without }, () => {
    const uplinks = { fibre: uplink(0, 1, { gateway6: 'fe80::1', mtu: 1492 }), cable: uplink(1, 2, { gateway6: 'fe80::1', mss: 1300 }), lte: uplink(2, 3, { gateway6: 'fe80::1' }) };
    const policies = [{ name: 'cable', destination: ['1.1.1.1', '2606:4700:4700::1111'], use: 'cable' }, { name: 'lte', destination: ['8.8.8.8', '2620:fe::fe'], use: 'lte' }];
    return tell(async ({ lab }) => {
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
    }, { nat: { backend }, uplinks, policies });
  });
}

/** Both ends of the line of lte take less than others. */
async function narrowLte(lab: Lab): Promise<void> {
  await lab.ip('router', 'link set isp2 mtu 1400');
  await lab.ip('lte', 'link set line mtu 1400');
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
