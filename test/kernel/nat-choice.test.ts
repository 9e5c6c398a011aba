/** Which backend, beside whom, and the forward firewall. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { HostReport, HostWish, NatWish } from '../../src/model.js';
import type { HostDoor } from '../../src/kernel/door.js';
import { openHost } from '../../src/kernel/host.js';
import type { IptablesProgram } from '../../src/kernel/nat/iptables.js';
import { inNamespaces, inNetns, line, LINES, natWish, nft, openGround, out, PUBLISHED_PORT, SERVER, steer, type Ground } from './nat-ground.js';

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

inNamespaces(import.meta.url, 'the choice of the backend and the forward firewall, in namespaces', () => {
  describe('the backend', () => {
    after(() => open().restore());

    test('auto takes iptables where it is installed', async () => {
      assert.deepEqual(summary(await open().host(wishOf({}))), { backend: 'iptables', inSync: true, problems: [] });
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
      const door = open();
      await door.host(wishOf({}));
      const mend = bind(out('readlink', '-f', '/usr/sbin/iptables-restore').trim(), '/dev/null');
      const broken = await door.host(wishOf({}));
      mend();
      assert.deepEqual([broken.natBackend, broken.natInSync], ['iptables', false]);
      assert.match(broken.problems.join(), /iptables failed: /);
      assert.deepEqual(summary(await door.host(wishOf({}))), { backend: 'iptables', inSync: true, problems: [] });
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

  for (const sort of [['nftables', 'iptables'], ['iptables', 'iptables-nft'], ['iptables', 'iptables-legacy']] as const) describe(`the forward firewall with ${sort[0]} (${sort[1]})`, () => {
    const [backend, program] = sort;
    const title = sort.join();
    let ground: Ground;
    let door: HostDoor;
    before(async () => {
      ground = await openGround();
      inNetns('inet', 'ip', 'route', 'add', '10.0.0.0/24', 'via', '198.51.100.2');
      steer(0);
      door = open(program);
    });
    after(async () => {
      await door.restore();
      await ground.end();
    });
    const intoTheLan = (flow: string): Promise<string> => ground.server.ask(`${title} ${flow}`, '10.0.0.2', PUBLISHED_PORT, SERVER);
    const keptOut = (flow: string): Promise<string> => ground.unanswered(ground.server, `${title} ${flow}`, '10.0.0.2', PUBLISHED_PORT, SERVER);
    const outOfTheLan = (flow: string): Promise<string> => ground.client.ask(`${title} ${flow}`, SERVER);

    test('off: anybody outside gets in', async () => {
      assert.deepEqual(summary(await door.host(wishOf({ backend }))), { backend, inSync: true, problems: [] });
      assert.equal(await intoTheLan('off'), SERVER);
    });

    test('auto, and no other firewall: nothing new gets in; what the LAN began and what is published by DNAT does', async (t) => {
      // Twice: our own rules must not look like another firewall.
      for (let turn = 0; turn < 2; turn++) assert.deepEqual(summary(await door.host(wishOf({ backend, firewall: 'auto' }))), { backend, inSync: true, problems: [] });
      assert.equal(await keptOut('auto'), '');
      assert.equal(await outOfTheLan('auto'), '198.51.100.2');
      assert.equal(await outOfTheLan('auto'), '198.51.100.2');
      nft('table ip published { chain in { type nat hook prerouting priority dstnat; ip daddr 198.51.100.2 udp dport 9000 dnat to 10.0.0.2:9000; }; }');
      t.after(() => out('nft', 'delete', 'table', 'ip', 'published'));
      assert.equal(await ground.server.ask(`${title} dnat`, '198.51.100.2', PUBLISHED_PORT, SERVER), SERVER);
    });

    test('auto stands aside for a forward chain of somebody else and says so; on adds ours beside it', async (t) => {
      nft('table inet theirs { chain f { type filter hook forward priority filter; ip daddr 192.0.2.99 drop; }; }');
      t.after(() => out('nft', 'delete', 'table', 'inet', 'theirs'));
      const report = await door.host(wishOf({ backend, firewall: 'auto' }));
      assert.equal(report.natInSync, true);
      assert.match(report.problems.join(), /auto is off here.*table inet theirs, chain f\./);
      assert.equal(await intoTheLan('aside'), SERVER);
      assert.deepEqual((await door.host(wishOf({ backend, firewall: 'on' }))).problems, []);
      assert.equal(await keptOut('on'), '');
    });

    test('auto stands aside for rules in FORWARD and for its policy; on comes after the rules of the user', async (t) => {
      t.after(() => {
        out(program, '-P', 'FORWARD', 'ACCEPT');
        out(program, '-F', 'FORWARD');
      });
      out(program, '-P', 'FORWARD', 'DROP');
      assert.match((await door.host(wishOf({ backend, firewall: 'auto' }))).problems.join(), /FORWARD \(policy drop\).*must accept what goes from the LAN/i);
      assert.equal(await ground.unanswered(ground.client, `${title} policy`, SERVER), '');
      const on = await door.host(wishOf({ backend, firewall: 'on' }));
      if (backend === 'iptables') {
        assert.deepEqual(on.problems, []);
        assert.equal(await outOfTheLan('policy'), '198.51.100.2');
      } else {
        assert.match(on.problems.join(), /drops what it does not accept itself/);
      }
      out(program, '-P', 'FORWARD', 'ACCEPT');
      out(program, '-I', 'FORWARD', '-s', '192.0.2.1', '-p', 'udp', '--dport', String(PUBLISHED_PORT), '-j', 'ACCEPT');
      assert.match((await door.host(wishOf({ backend, firewall: 'auto' }))).problems.join(), /auto is off here.*FORWARD/);
      await door.host(wishOf({ backend, firewall: 'on' }));
      assert.equal(await (backend === 'iptables' ? intoTheLan : keptOut)('user'), backend === 'iptables' ? SERVER : '');
    });

    test('off again: our chain is gone', async () => {
      await door.host(wishOf({ backend, firewall: 'on' }));
      assert.deepEqual((await door.host(wishOf({ backend, firewall: 'off' }))).problems, []);
      assert.equal(await intoTheLan('off again'), SERVER);
      assert.doesNotMatch([out('nft', 'list', 'ruleset'), out('iptables-legacy-save')].join('\n'), /UPLINKD_FWD|hook forward priority filter; policy accept;\n\t\tiif/);
    });

    test('without LAN interfaces there is no forward firewall', async () => {
      await door.host(wishOf({ backend, firewall: 'on', lanInterfaces: [] }));
      assert.equal(await ground.server.ask(`${title} none`, '10.0.0.2', PUBLISHED_PORT, SERVER), SERVER);
    });
  });
});
