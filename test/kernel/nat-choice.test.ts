/** Which backend, and beside whom. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import type { HostReport, HostWish, NatWish } from '../../src/model.js';
import type { HostDoor } from '../../src/ports.js';
import { openHost } from '../../src/kernel/host.js';
import type { IptablesProgram } from '../../src/kernel/nat/iptables.js';
import { needsOrder } from '../../src/kernel/nat/order.js';
import { inNamespaces, line, LINES, natWish, nft, out } from './nat-ground.js';

function wishOf(changes: Partial<NatWish>): HostWish {
  return { nat: natWish(changes), sysctls: [{ path: 'net/ipv4/ip_forward', value: '1' }] };
}

function open(iptables: IptablesProgram = 'iptables'): HostDoor {
  return openHost({ stateDir: mkdtempSync(join('/run', 'uplinkd-host-')), iptables });
}

/** Where rules of ours stand. */
function places(): string[] {
  const chains = /^:UPLINKD_/m;
  return [
    ...(out('nft', 'list', 'tables').includes('uplinkd') ? ['nftables'] : []),
    ...(chains.test(out('iptables-nft-save')) ? ['iptables-nft'] : []),
    ...(chains.test(out('iptables-legacy-save')) ? ['iptables-legacy'] : []),
  ];
}

function summary(report: HostReport): object {
  return { backend: report.natBackend, inSync: report.natInSync, problems: report.problems };
}

function bind(over: string, what: string): () => void {
  execFileSync('mount', ['--bind', what, over]);
  return () => void execFileSync('umount', [over]);
}

inNamespaces(import.meta.url, 'the choice of the backend, in namespaces', () => {
  describe('the backend', () => {
    after(() => open().restore());

    test('auto takes nftables where iptables writes nftables rules, and iptables where it is the legacy one', async () => {
      for (const [program, backend] of [['iptables-nft', 'nftables'], ['iptables-legacy', 'iptables']] as const) {
        assert.deepEqual(summary(await open(program).host(wishOf({}))), { backend, inSync: true, problems: [] });
      }
    });

    test('auto takes iptables where rules of the user need its order, and then they have the first word', async (t) => {
      out('iptables-nft', '-t', 'nat', '-A', 'POSTROUTING', '-s', '10.0.0.9', '-o', 'wan0', '-j', 'SNAT', '--to-source', '198.51.100.9');
      t.after(() => out('iptables-nft', '-t', 'nat', '-F', 'POSTROUTING'));
      assert.deepEqual(summary(await open('iptables-nft').host(wishOf({}))), { backend: 'iptables', inSync: true, problems: [] });
    });

    test('which rules need the order of iptables', () => {
      const needs = (firewall: boolean, table: string, ...rules: string[]): boolean =>
        needsOrder([`*${table}`, ':POSTROUTING ACCEPT [0:0]', ':FORWARD ACCEPT [0:0]', ':mine - [0:0]', ...rules.map((rule) => `-A ${rule}`), 'COMMIT', ''].join('\n'), 4, { lines: LINES, lanInterfaces: firewall ? ['lan0'] : [] });
      for (const rule of ['-s 10.0.0.9/32 -j SNAT --to-source 198.51.100.9', '-o wan+ -j ACCEPT', '! -o docker0 -j NETMAP --to 192.0.2.0/24', '-d 192.0.2.0/24 -j RETURN', '-m policy --dir out --pol ipsec -j ACCEPT']) {
        assert.equal(needs(false, 'nat', `POSTROUTING ${rule}`), true, rule);
      }
      assert.equal(needs(false, 'nat', 'POSTROUTING -j mine', 'mine -j SNAT --to-source 198.51.100.9'), true);
      for (const rule of ['-s 172.17.0.0/16 ! -o docker0 -j MASQUERADE', '-o lan0 -j SNAT --to-source 10.0.0.1', '-j UPLINKD_NAT', '-j LOG']) assert.equal(needs(false, 'nat', `POSTROUTING ${rule}`), false, rule);
      assert.equal(needs(false, 'nat', 'POSTROUTING -j mine', 'mine -d 224.0.0.0/24 -j RETURN', 'mine -s 192.168.122.0/24 -j MASQUERADE', 'other -j SNAT --to-source 192.0.2.1'), false);
      assert.deepEqual([true, false].map((ours) => needs(ours, 'filter', 'FORWARD -i wan0 -p tcp -m tcp --dport 22 -j ACCEPT')), [true, false]);
      assert.equal(needs(true, 'filter', 'FORWARD -i lan0 -j ACCEPT', 'FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT'), false);
    });

    test('a change of backend leaves nothing of ours in the other one, in the same process and in the next', async () => {
      const door = open('iptables-nft');
      for (const backend of ['iptables', 'nftables', 'iptables'] as const) {
        assert.equal((await door.host(wishOf({ backend }))).natBackend, backend);
        assert.deepEqual(places(), [backend === 'iptables' ? 'iptables-nft' : 'nftables']);
      }
      await open('iptables-legacy').host(wishOf({ backend: 'iptables' }));
      assert.deepEqual(places(), ['iptables-legacy']);
      await open('iptables-nft').host(wishOf({ backend: 'nftables' }));
      assert.deepEqual(places(), ['nftables']);
      await open('iptables-nft').host(wishOf({ backend: 'iptables' }));
      assert.deepEqual(places(), ['iptables-nft']);
    });

    test('without uplinks nothing of ours stands', async () => {
      const door = open();
      await door.host(wishOf({}));
      assert.deepEqual(summary(await door.host(wishOf({ lines: [] }))), { backend: 'none', inSync: true, problems: [] });
      assert.deepEqual(places(), []);
    });

    test('auto takes nftables where iptables is installed and does not work, says so once, and stays there', async () => {
      const mend = bind(out('readlink', '-f', '/usr/sbin/iptables-restore').trim(), '/dev/null');
      const door = open();
      const first = await door.host(wishOf({}));
      assert.deepEqual([first.natBackend, first.natInSync], ['nftables', true]);
      assert.match(first.problems.join(), /iptables failed: /);
      mend();
      assert.deepEqual(summary(await door.host(wishOf({}))), { backend: 'nftables', inSync: true, problems: [] });
    });

    test('where programs are missing the report says what to install', async () => {
      const empty = mkdtempSync(join('/run', 'uplinkd-empty-'));
      const mend = bind('/usr/sbin', empty);
      const reports = [await open().host(wishOf({ backend: 'iptables' })), await open().host(wishOf({ backend: 'nftables' })), await open().host(wishOf({}))];
      mend();
      assert.deepEqual(reports.map((report) => [report.natBackend, report.natInSync]), [['none', false], ['none', false], ['none', false]]);
      const [iptables = '', nftables = '', auto = ''] = reports.map((report) => report.problems.join());
      assert.match(iptables, /nat.backend is iptables, but iptables is not installed; install it/);
      assert.match(nftables, /nat.backend is nftables, but nft is not installed; install it/);
      assert.match(auto, /neither iptables nor nft is installed.*apt install/);
    });

    test('auto takes nftables where iptables is not installed, without a word', async (t) => {
      // The programs are links through this directory where the system offers a choice of iptables.
      const choice = '/etc/alternatives';
      if (!out('readlink', '/usr/sbin/iptables-save').startsWith(choice)) return t.skip('iptables is no alternative here');
      const mend = bind(choice, mkdtempSync(join('/run', 'uplinkd-empty-')));
      const report = await open().host(wishOf({}));
      mend();
      assert.deepEqual(summary(report), { backend: 'nftables', inSync: true, problems: [] });
    });

    test('a backend that breaks while in force is reported, not left', async () => {
      const [door, wish] = [open(), wishOf({ backend: 'iptables' })];
      await door.host(wish);
      const mend = bind(out('readlink', '-f', '/usr/sbin/iptables-restore').trim(), '/dev/null');
      const broken = await door.host(wish);
      mend();
      assert.deepEqual([broken.natBackend, broken.natInSync], ['iptables', false]);
      assert.match(broken.problems.join(), /iptables failed: /);
      assert.deepEqual(summary(await door.host(wish)), { backend: 'iptables', inSync: true, problems: [] });
    });

    test('where the kernel refuses the table for IPv6, IPv4 gets its own and the rest is told; a table for both of a former version goes', async () => {
      const [dir, wish] = [mkdtempSync(join('/run', 'uplinkd-nft-')), wishOf({ backend: 'nftables', firewall: 'on' })];
      nft('table inet uplinkd { chain leave { type nat hook postrouting priority srcnat - 5; oifname "wan0" masquerade; }; }');
      copyFileSync('/usr/sbin/nft', join(dir, 'nft'));
      writeFileSync(join(dir, 'old'), `#!/bin/sh
        [ "$1" = -f ] || exec ${dir}/nft "$@"
        text=$(cat); case "$text" in *"table ip6"*) echo "Error: Operation not supported" >&2; exit 1;; esac
        echo "$text" | ${dir}/nft -f -`, { mode: 0o755 });
      const mend = bind('/usr/sbin/nft', join(dir, 'old'));
      const door = open();
      const reports = [await door.host(wish), await door.host(wish)];
      mend();
      for (const report of reports) {
        assert.deepEqual([report.natBackend, report.natInSync], ['nftables', false]);
        assert.match(report.problems.join(), /nft refuses the table for IPv6.*Operation not supported/);
      }
      assert.deepEqual(out('nft', 'list', 'tables').match(/^table .* uplinkd$/gm), ['table ip uplinkd']);
      assert.deepEqual(summary(await open().host(wish)), { backend: 'nftables', inSync: true, problems: [] });
      assert.deepEqual(out('nft', 'list', 'tables').match(/^table .* uplinkd$/gm)?.sort(), ['table ip uplinkd', 'table ip6 uplinkd']);
    });

    test('a name that reads as a wildcard, an option or a quote never gets into a rule, and two uplinks of one device are told', async () => {
      const odd = ['wan+', '-j', 'a"b', 'wan*'].map((name, i) => line(`odd${i}`, name, 0x200 + i * 0x80));
      const twin = line('twin', 'wan0', 0x800);
      for (const backend of ['iptables', 'nftables'] as const) {
        const report = await open().host(wishOf({ backend, lines: [...LINES, ...odd, twin] }));
        assert.deepEqual([report.natBackend, report.natInSync, report.problems.length], [backend, false, 5]);
        assert.match(report.problems.join('\n'), /uplink odd0: the interface name "wan\+" .*rename[^]*uplinks fibre and twin share wan0/);
      }
    });
  });
});
