/** The forward firewall, beside whom and how: with real packets, the same stories for each backend. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { HostReport, HostWish, NatWish } from '../../src/model.js';
import { batch, describeSorts, inNamespaces, natWish, nft, out, PUBLISHED_PORT, SERVER, SORTS_OF_THIS_RUN } from './nat-ground.js';

function wishOf(changes: Partial<NatWish>): HostWish {
  return { nat: natWish(changes), sysctls: [{ path: 'net/ipv4/ip_forward', value: '1' }] };
}

function summary(report: HostReport): object {
  return { backend: report.natBackend, inSync: report.natInSync, problems: report.problems };
}

inNamespaces(import.meta.url, 'the forward firewall, in namespaces', () => {
  describeSorts(SORTS_OF_THIS_RUN, ({ name: title, backend, iptables: program }, world) => {
    const intoTheLan = (flow: string): Promise<string> => world.ground.server.ask(`${title} ${flow}`, '10.0.0.2', PUBLISHED_PORT, SERVER);
    const keptOut = (flow: string): Promise<string> => world.ground.unanswered(world.ground.server, `${title} ${flow}`, '10.0.0.2', PUBLISHED_PORT, SERVER);
    const outOfTheLan = (flow: string): Promise<string> => world.ground.client.ask(`${title} ${flow}`, SERVER);

    test('off: anybody outside gets in', async () => {
      assert.deepEqual(summary(await world.door.host(wishOf({ backend }))), { backend, inSync: true, problems: [] });
      assert.equal(await intoTheLan('off'), SERVER);
    });

    test('auto, and no other firewall: nothing new gets in; what the LAN began and what is published by DNAT does', async (t) => {
      // Twice: our own rules must not look like another firewall.
      for (let turn = 0; turn < 2; turn++) assert.deepEqual(summary(await world.door.host(wishOf({ backend, firewall: 'auto' }))), { backend, inSync: true, problems: [] });
      assert.equal(await keptOut('auto'), '');
      assert.equal(await outOfTheLan('auto'), '198.51.100.2');
      assert.equal(await outOfTheLan('auto'), '198.51.100.2');
      nft('table ip published { chain in { type nat hook prerouting priority dstnat; ip daddr 198.51.100.2 udp dport 9000 dnat to 10.0.0.2:9000; }; }');
      t.after(() => out('nft', 'delete', 'table', 'ip', 'published'));
      assert.equal(await world.ground.server.ask(`${title} dnat`, '198.51.100.2', PUBLISHED_PORT, SERVER), SERVER);
    });

    test('auto stands aside for a forward chain of somebody else that decides who gets in, and says so; on adds ours beside it', async (t) => {
      nft('table inet theirs { chain f { type filter hook forward priority filter; ip saddr 192.0.2.0/24 accept; iifname "wan*" drop; }; }');
      t.after(() => out('nft', 'delete', 'table', 'inet', 'theirs'));
      const report = await world.door.host(wishOf({ backend, firewall: 'auto' }));
      assert.equal(report.natInSync, true);
      assert.match(report.problems.join(), /auto is off here.*table inet theirs, chain f\./);
      assert.equal(await intoTheLan('aside'), SERVER);
      assert.deepEqual((await world.door.host(wishOf({ backend, firewall: 'on' }))).problems, []);
      assert.equal(await keptOut('on'), '');
    });

    test('auto does not stand aside for chains that keep nobody out', async (t) => {
      nft(`table inet theirs {
        set evil { type ipv4_addr; elements = { 192.0.2.99 } }
        chain f { type filter hook forward priority filter; ct state established counter accept; ip saddr @evil drop; ct state invalid log drop; jump g; }
        chain g { iifname "lan0" accept; meta mark set 0x1; ct state new counter; }
      }`);
      t.after(() => out('nft', 'delete', 'table', 'inet', 'theirs'));
      for (const rule of ['-p udp -j LOG', '-s 192.0.2.99/32 -j DROP', '-o docker0 -j DROP']) out(program, '-A', 'FORWARD', ...rule.split(' '));
      t.after(() => out(program, '-F', 'FORWARD'));
      assert.deepEqual(summary(await world.door.host(wishOf({ backend, firewall: 'auto' }))), { backend, inSync: true, problems: [] });
      assert.equal(await keptOut('beside'), '');
    });

    test('auto stands aside for rules in FORWARD that drop strangers and for its policy; on comes after the rules of the user', async (t) => {
      t.after(() => {
        out(program, '-P', 'FORWARD', 'ACCEPT');
        out(program, '-F', 'FORWARD');
      });
      out(program, '-P', 'FORWARD', 'DROP');
      assert.match((await world.door.host(wishOf({ backend, firewall: 'auto' }))).problems.join(), /FORWARD \(policy drop\).*must accept what goes from the LAN/i);
      assert.equal(await world.ground.unanswered(world.ground.client, `${title} policy`, SERVER), '');
      const on = await world.door.host(wishOf({ backend, firewall: 'on' }));
      if (backend === 'iptables') {
        assert.deepEqual(on.problems, []);
        assert.equal(await outOfTheLan('policy'), '198.51.100.2');
      } else {
        assert.match(on.problems.join(), /drops what it does not accept itself/);
      }
      out(program, '-P', 'FORWARD', 'ACCEPT');
      out(program, '-I', 'FORWARD', '-s', '192.0.2.1', '-p', 'udp', '--dport', String(PUBLISHED_PORT), '-j', 'ACCEPT');
      await world.door.host(wishOf({ backend, firewall: 'auto' }));
      assert.equal(await (backend === 'iptables' ? intoTheLan : keptOut)('user'), backend === 'iptables' ? SERVER : '', 'whom the user lets in by iptables, and nobody else');
      out(program, '-A', 'FORWARD', '-i', 'wan1', '-j', 'DROP');
      assert.match((await world.door.host(wishOf({ backend, firewall: 'auto' }))).problems.join(), /auto is off here.*FORWARD/);
      await world.door.host(wishOf({ backend, firewall: 'on' }));
      assert.equal(await (backend === 'iptables' ? intoTheLan : keptOut)('user'), backend === 'iptables' ? SERVER : '');
    });

    test('off again: our chain is gone', async () => {
      await world.door.host(wishOf({ backend, firewall: 'on' }));
      assert.deepEqual((await world.door.host(wishOf({ backend, firewall: 'off' }))).problems, []);
      assert.equal(await intoTheLan('off again'), SERVER);
      assert.doesNotMatch([out('nft', 'list', 'ruleset'), out('iptables-legacy-save')].join('\n'), /UPLINKD_FWD|hook forward priority filter; policy accept;\n\t\tiif/);
    });

    test('without LAN interfaces there is no forward firewall', async () => {
      await world.door.host(wishOf({ backend, firewall: 'on', lanInterfaces: [] }));
      assert.equal(await world.ground.server.ask(`${title} none`, '10.0.0.2', PUBLISHED_PORT, SERVER), SERVER);
    });
  }, () => batch('inet', ['route add 10.0.0.0/24 via 198.51.100.2']));
});
