/** NAT and marks with real packets, the same stories for each backend. */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, describe, test, type TestContext } from 'node:test';
import type { Family, HostWish, NatWish } from '../../src/model.js';
import type { HostDoor } from '../../src/ports.js';
import { openHost } from '../../src/kernel/host.js';
import type { IptablesProgram } from '../../src/kernel/nat/iptables.js';
import { batch, describeSorts, inNamespaces, inNetns, line, natWish, nft, out, plugUplink, PORT, PUBLISHED_PORT, routerSocket, SERVER, SERVER6, SORTS, SORTS_OF_THIS_RUN, steer, steering } from './nat-ground.js';

function wishOf(backend: NatWish['backend'], changes: Partial<NatWish> = {}): HostWish {
  return {
    nat: natWish({ backend, ...changes }),
    sysctls: [{ path: 'net/ipv4/ip_forward', value: '1' }, { path: 'net/ipv6/conf/all/forwarding', value: '1' }],
  };
}

function open(iptables: IptablesProgram, families: readonly Family[] = [4, 6]): HostDoor {
  return openHost({ stateDir: mkdtempSync(join('/run', 'uplinkd-host-')), families, iptables });
}

/** Handles and counters included: it differs when anything was written. */
function everything(): string {
  return out('sh', '-ec', 'nft -a list ruleset; iptables-legacy-save -c; ip6tables-legacy-save -c').replace(/^#.*$/gm, '');
}

/** Rules that are written anew get other handles, and count from nothing; stray packets may be counted meanwhile. */
async function leavesAlone(turn: () => Promise<void>): Promise<void> {
  const COUNTER = /packets (\d+) bytes \d+|\[(\d+):\d+\]/g;
  const look = (): readonly [rules: string, packets: readonly number[]] => {
    const text = everything();
    return [text.replace(COUNTER, ''), [...text.matchAll(COUNTER)].map(([, packets, saved]) => Number(packets ?? saved))];
  };
  const [rules, before] = look();
  await turn();
  const [standing, after] = look();
  assert.equal(standing, rules);
  assert.deepEqual(after.filter((packets, i) => packets < before[i]!), []);
}

/** What stands of ours, without counters and handles; the jumps in any order. */
function oursBy(sort: (typeof SORTS)[number]): string {
  if (sort.backend === 'nftables') return spawnSync('sh', ['-c', 'nft list table ip uplinkd; nft list table ip6 uplinkd'], { encoding: 'utf8' }).stdout;
  const saved = out('sh', '-ec', `${sort.iptables}-save; ${sort.iptables.replace('ip', 'ip6')}-save`);
  return saved.split('\n').filter((line) => line.includes('UPLINKD_')).sort().join('\n');
}

async function inForce(door: HostDoor, wish: HostWish): Promise<void> {
  const report = await door.host(wish);
  assert.deepEqual(report.problems, []);
  assert.equal(report.natInSync, true);
  assert.equal(report.sysctlsInSync, true);
}

/** The rules of DESIGN.md, by hand. */
function layRules(t: TestContext, active: 0 | 1 = 0): void {
  const rules = ['9450 lookup main suppress_prefixlength 0', '9500 fwmark 0x80/0x3f80 lookup 9401', '9501 fwmark 0x100/0x3f80 lookup 9402', '9600 lookup 9400'];
  const tables = [...steering(0, '9401'), ...steering(1, '9402'), ...steering(active, '9400')];
  batch('router', [...rules.map((rule) => `rule add pref ${rule}`), ...tables]);
  t.after(() => batch('router', rules.map((rule) => `rule del pref ${rule}`)));
}

function conntrackMarks(): string[] {
  return [...out('conntrack', '-L', '-p', 'udp').matchAll(/mark=(\d+)/g)].map((match) => Number(match[1]).toString(16));
}

inNamespaces(import.meta.url, 'NAT and marks, in namespaces', () => {
  describeSorts(SORTS_OF_THIS_RUN, (sort, world) => {
    const { door } = world;
    test('what leaves an uplink carries the address of that uplink', async () => {
      await inForce(door, wishOf(sort.backend));
      steer(0);
      assert.equal(await world.ground.client.ask(`${sort.name} first`, SERVER), '198.51.100.2');
      steer(1);
      assert.equal(await world.ground.client.ask(`${sort.name} second`, SERVER), '203.0.113.2');
    });

    test('a flow stays on its uplink when the steering table changes, of the LAN and of the router itself; new ones follow it', async (t) => {
      await inForce(door, wishOf(sort.backend));
      layRules(t);
      const own = await routerSocket(t, '0.0.0.0', SERVER);
      assert.equal(await world.ground.client.ask(`${sort.name} stays`, SERVER), '198.51.100.2');
      assert.equal(await own.ask(), '198.51.100.2');
      steer(1, '9400');
      assert.equal(await world.ground.client.ask(`${sort.name} stays`, SERVER), '198.51.100.2');
      assert.equal(await own.ask(), '198.51.100.2');
      assert.equal(await world.ground.client.ask(`${sort.name} new`, SERVER), '203.0.113.2');
    });

    test('what comes in from outside is answered by the way it came: a service of the router and one published by DNAT', async (t) => {
      await inForce(door, wishOf(sort.backend));
      layRules(t, 1);
      nft('table ip published { chain in { type nat hook prerouting priority dstnat; ip daddr 198.51.100.2 udp dport 9000 dnat to 10.0.0.2:9000; }; }');
      t.after(() => out('nft', 'delete', 'table', 'ip', 'published'));
      await routerSocket(t, '198.51.100.2');
      // From the far address: an answer by wan1 would be masqueraded, and dropped by the server's strict rp_filter.
      assert.equal(await world.ground.server.ask(`${sort.name} in`, '198.51.100.2', PORT, SERVER), SERVER);
      assert.equal(await world.ground.server.ask(`${sort.name} published`, '198.51.100.2', PUBLISHED_PORT, SERVER), SERVER);
    });

    test('foreign bits of packet marks and connection marks stay as they are, and what an uplink brings gets no mark', async (t) => {
      await inForce(door, wishOf(sort.backend));
      layRules(t);
      nft(`table ip foreign {
        chain first { type filter hook prerouting priority raw; iifname "lan0" meta mark set 0x10000; }
        chain mine { type filter hook prerouting priority -190; iifname "lan0" ct mark set ct mark | 0x40000000; }
        chain seen { type filter hook forward priority 10; oifname "wan0" meta mark 0x10080 counter; iifname "wan0" meta mark 0 counter; }
      }`);
      t.after(() => out('nft', 'delete', 'table', 'ip', 'foreign'));
      out('conntrack', '-F');
      await world.ground.client.ask(`${sort.name} bits`, SERVER);
      assert.deepEqual(conntrackMarks(), ['40000080']);
      await world.ground.client.ask(`${sort.name} bits`, SERVER);
      assert.deepEqual(conntrackMarks(), ['40000080']);
      assert.match(out('nft', 'list', 'chain', 'ip', 'foreign', 'seen'), /counter packets 1 [^]*iifname "wan0" meta mark 0x00000000 counter packets 2 /);
    });

    test('a line without masquerade keeps its sources, and its flow keeps its stamp when it leaves by another uplink, until it is forgotten', async (t) => {
      const plain = wishOf(sort.backend).nat.lines.map((each) => ({ ...each, translate: { 4: { kind: 'none' }, 6: { kind: 'none' } } as const }));
      await inForce(door, wishOf(sort.backend, { lines: plain }));
      batch('inet', ['route add 10.0.0.0/24 via 198.51.100.2']);
      t.after(() => batch('inet', ['route del 10.0.0.0/24']));
      out('conntrack', '-F');
      steer(0);
      assert.equal(await world.ground.client.ask(`${sort.name} plain`, SERVER), '10.0.0.2');
      assert.deepEqual(conntrackMarks(), ['80']);
      steer(1);
      assert.equal(await world.ground.unanswered(world.ground.client, `${sort.name} plain`, SERVER), '', 'the provider drops what is not of its own');
      assert.deepEqual(conntrackMarks(), ['80']);
      out('conntrack', '-F');
      await world.ground.unanswered(world.ground.client, `${sort.name} plain`, SERVER);
      assert.deepEqual(conntrackMarks(), ['100']);
    });

    test('a stray SNAT of somebody cannot send the address of one uplink out of another one', async (t) => {
      await door.restore();
      out(sort.iptables, '-t', 'nat', '-A', 'POSTROUTING', '-s', '10.0.0.0/24', '-j', 'SNAT', '--to-source', '198.51.100.2');
      t.after(() => out(sort.iptables, '-t', 'nat', '-D', 'POSTROUTING', '-s', '10.0.0.0/24', '-j', 'SNAT', '--to-source', '198.51.100.2'));
      await inForce(door, wishOf(sort.backend));
      steer(1);
      assert.equal(await world.ground.client.ask(`${sort.name} stray`, SERVER), '203.0.113.2');
    });

    test('rules follow the name: an uplink that is deleted and made again is masqueraded without a word', async () => {
      await inForce(door, wishOf(sort.backend));
      out('ip', 'link', 'del', 'wan0');
      plugUplink(0);
      steer(0);
      assert.equal(await world.ground.client.ask(`${sort.name} again`, SERVER), '198.51.100.2');
    });

    test('a changed wish is installed without an instant in which a packet leaves unmasqueraded or unmarked', async (t) => {
      await inForce(door, wishOf(sort.backend));
      steer(0);
      nft('table ip watch { chain in { type filter hook prerouting priority raw; ip saddr 10.0.0.0/8 counter drop\n udp dport 7000 counter; }; }', 'inet');
      t.after(() => inNetns('inet', 'nft', 'delete', 'table', 'ip', 'watch'));
      out('conntrack', '-F');
      const storm = world.ground.client.storm(SERVER, 1000);
      let going = true;
      void storm.then(() => (going = false));
      const { lines } = wishOf(sort.backend).nat;
      for (let turn = 0; going; turn++) {
        await inForce(door, wishOf(sort.backend, { lines: turn % 2 === 0 ? [...lines, line('lte', 'wwan0', 0x180)] : lines }));
      }
      const seen = inNetns('inet', 'nft', 'list', 'table', 'ip', 'watch');
      assert.match(seen, /ip saddr 10.0.0.0\/8 counter packets 0 /);
      assert.ok(Number(/dport 7000 counter packets (\d+)/.exec(seen)?.[1]) >= 1000, seen);
      assert.deepEqual(new Set(conntrackMarks()), new Set(['80']));
    });

    test('IPv6 is the same data: masqueraded and marked, neighbour discovery left alone', async () => {
      await inForce(door, wishOf(sort.backend));
      // A port of the many connections of before may be drawn again: it would be led to the uplink of then.
      out('conntrack', '-F');
      steer(1);
      assert.equal(await world.ground.client.ask(`${sort.name} six`, SERVER6), '2001:db8:b::2');
      assert.match(out('conntrack', '-L', '-f', 'ipv6', '-p', 'udp'), /mark=256/);
      const rules = sort.name === 'nftables' ? out('nft', 'list', 'table', 'ip6', 'uplinkd') : out(`${sort.iptables.replace('ip', 'ip6')}-save`, '-t', 'mangle');
      assert.match(rules, /nd-neighbor-solicit.* return|--icmpv6-type 135 -j RETURN/);
      assert.equal(await world.ground.client.ask(`${sort.name} four`, SERVER), '203.0.113.2');
    });

    test('a turn that finds all well writes nothing; a new process finds it well after one write', async () => {
      await inForce(door, wishOf(sort.backend));
      await leavesAlone(() => inForce(door, wishOf(sort.backend)));
      const next = open(sort.iptables);
      await inForce(next, wishOf(sort.backend));
      await leavesAlone(() => inForce(next, wishOf(sort.backend)));
    });

    const damages: readonly (readonly [string, () => void])[] = sort.name === 'nftables' ? [
      ['nft flush ruleset', () => void out('nft', 'flush', 'ruleset')],
      ['nft delete table', () => void out('nft', 'delete', 'table', 'ip', 'uplinkd')],
      ['one rule deleted', () => void out('nft', 'flush', 'chain', 'ip', 'uplinkd', 'stamp_0x80')],
      ['a rule of somebody in our chain', () => void out('nft', 'insert', 'rule', 'ip', 'uplinkd', 'leave', 'accept')],
    ] : [
      ...(sort.name === 'iptables-nft' ? [['nft flush ruleset', () => void out('nft', 'flush', 'ruleset')] as const] : []),
      ['-t nat -F', () => void out(sort.iptables, '-t', 'nat', '-F')],
      ['-t mangle -F', () => void out(sort.iptables, '-t', 'mangle', '-F')],
      ['one rule deleted', () => void out(sort.iptables, '-t', 'mangle', '-D', 'UPLINKD_POST', '1')],
      ['the jump deleted', () => void out(sort.iptables, '-t', 'mangle', '-D', 'OUTPUT', '-j', 'UPLINKD_OUT')],
      ['the jump doubled', () => void out(sort.iptables, '-t', 'nat', '-A', 'POSTROUTING', '-j', 'UPLINKD_NAT')],
      ['our chain removed', () => (out(sort.iptables, '-t', 'nat', '-F'), void out(sort.iptables, '-t', 'nat', '-X', 'UPLINKD_NAT'))],
      ['a rule of somebody in our chain', () => void out(sort.iptables, '-t', 'nat', '-I', 'UPLINKD_NAT', '-j', 'ACCEPT')],
    ];
    describe('a foreign hand is put right in the next turn', () => {
      let ours: string;
      before(async () => {
        await inForce(door, wishOf(sort.backend));
        ours = oursBy(sort);
      });
      for (const [name, damage] of damages) test(name, async () => {
        damage();
        assert.notEqual(oursBy(sort), ours);
        await inForce(door, wishOf(sort.backend));
        assert.equal(oursBy(sort), ours);
      });
    });

    test('restore takes away what is ours and nothing else, also in a process that did not install it', async () => {
      await door.restore();
      // Legacy tables and the built-in chains of iptables-nft stay loaded once touched: they stand before and after.
      const places = { nat: ['POSTROUTING'], mangle: ['OUTPUT', 'PREROUTING', 'POSTROUTING'], filter: ['FORWARD'] };
      const theirs = Object.entries(places).map(([table, chains]) => [`*${table}`, ...chains.map((chain) => `-A ${chain} -s 192.0.2.77 -j RETURN`), 'COMMIT\n'].join('\n')).join('');
      for (const program of ['iptables', 'iptables-legacy']) execFileSync(`${program}-restore`, ['--noflush'], { input: theirs });
      nft('table inet others { set s { type ipv4_addr; elements = { 192.0.2.9 } }\n chain out { type nat hook postrouting priority srcnat; oifname "wan0" ip saddr @s masquerade; }; }');
      const stateDir = mkdtempSync(join('/run', 'uplinkd-host-'));
      const before = everything();
      writeFileSync('/proc/sys/net/ipv4/ip_forward', '0');
      await inForce(openHost({ stateDir, iptables: sort.iptables }), wishOf(sort.backend, { firewall: 'on' }));
      assert.notEqual(everything(), before);
      await openHost({ stateDir, iptables: sort.iptables }).restore();
      assert.equal(everything().replace(/\[\d+:\d+\]|packets \d+ bytes \d+/g, ''), before.replace(/\[\d+:\d+\]|packets \d+ bytes \d+/g, ''));
      assert.equal(readFileSync('/proc/sys/net/ipv4/ip_forward', 'utf8').trim(), '0');
      for (const program of ['iptables', 'iptables-legacy']) execFileSync(`${program}-restore`, { input: Object.keys(places).map((table) => `*${table}\nCOMMIT\n`).join('') });
      out('nft', 'delete', 'table', 'inet', 'others');
    });
  });
});
