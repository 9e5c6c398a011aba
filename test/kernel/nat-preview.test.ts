/** What would change, told before it is done; and many lines and policies. (64 and 256, and how long they take: bench/rules.ts.) */
import assert from 'node:assert/strict';
import { mkdtempSync } from 'node:fs';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import type { HostWish, NatPolicy, NatWish } from '../../src/model.js';
import type { HostDoor } from '../../src/ports.js';
import { openHost } from '../../src/kernel/host.js';
import { inNamespaces, line, LINES, MASK, natWish, out, policy, SORTS_OF_THIS_RUN } from './nat-ground.js';

/** Something of everything. */
const RICH: Partial<NatWish> = {
  lines: [
    line('fibre', 'wan0', 0x80, { mss: 'auto', translate: { 4: { kind: 'address', address: '198.51.100.7' }, 6: { kind: 'prefix', from: 'fd00:10::/64', to: '2001:db8:a:5::/64' } } }),
    line('cable', 'wan1', 0x100, { mss: 1300 }),
    line('lte', 'wwan0', 0x180, { translate: { 4: { kind: 'none' }, 6: { kind: 'masquerade' } } }),
  ],
  routed: ['192.0.2.0/24', '192.0.2.128/25', '10.1.2.3/32', '2001:db8:5::/48'],
  lanInterfaces: ['lan0', 'lan1'],
  firewall: 'on',
  policies: [
    policy('web', 0x2000, { protocol: 'tcp', destinationPorts: [{ first: 80, last: 80 }, { first: 443, last: 443 }, { first: 8000, last: 8100 }], sources: ['10.0.0.0/24', '10.0.5.1/32', 'fd00:10::/64'] }),
    policy('voice', 0x2080, { protocol: 'udp', sourcePorts: [{ first: 5060, last: 5061 }] }, { router: true, mark: { value: 0x10000, mask: 0x30000 } }),
    policy('any ports', 0x2000, { destinationPorts: [{ first: 53, last: 53 }] }, { sticky: { forMs: 90_000, marks: [{ interface: 'wan0', mark: 0x2180 }, { interface: 'wan1', mark: 0x2200 }] } }),
    policy('pings', 0x2080, { protocol: 'icmp', destinations: ['0.0.0.0/0', '2001:db8::1/128'] }),
  ],
};

inNamespaces(import.meta.url, 'previews and many rules, in namespaces', () => {
  for (const sort of SORTS_OF_THIS_RUN) describe(`with ${sort.name}`, () => {
    const wishOf = (changes: Partial<NatWish>): HostWish => ({ nat: natWish({ backend: sort.backend, ...changes }), sysctls: [{ path: 'net/ipv4/ip_forward', value: '1' }] });
    const open = (): HostDoor => openHost({ stateDir: mkdtempSync(join('/run', 'uplinkd-host-')), iptables: sort.iptables });
    const door = open();
    const stands = (): string => [out('nft', '-s', 'list', 'ruleset'), out('iptables-legacy-save'), out('ip6tables-legacy-save')].join('').replace(/^#.*$/gm, '').replace(/\[\d+:\d+\]/g, '');
    after(() => door.restore());

    test('nothing stands: everything would come, and nothing has', async () => {
      out('sysctl', '-qw', 'net.ipv4.ip_forward=0');
      await open().preview(wishOf(RICH));
      const before = stands();
      const { filter, sysctls } = await open().preview(wishOf(RICH));
      assert.ok(filter.length > 40 && filter.every((text) => text.startsWith('+ ')), filter.join('\n'));
      assert.ok(filter.includes(sort.backend === 'nftables'
        ? '+ nft add rule ip uplinkd leave oifname { "wan1" } masquerade comment "the uplink\'s own address"'
        : '+ iptables -t nat -A UPLINKD_NAT -o wan1 -j MASQUERADE'), filter.join('\n'));
      assert.deepEqual(sysctls, ['sysctl -w net.ipv4.ip_forward=1']);
      assert.equal(stands(), before);
    });

    test('the same wish stands: nothing would change, said by who wrote it and by who did not', async () => {
      assert.deepEqual((await door.host(wishOf(RICH))).problems, []);
      for (const each of [door, open()]) assert.deepEqual(await each.preview(wishOf(RICH)), { filter: [], sysctls: [] });
    });

    test('what differs is named with its place, and no more; what somebody damaged is named too', async () => {
      const [fibre, cable] = LINES;
      assert.deepEqual((await door.host(wishOf({ policies: [policy('b', 0x2000)] }))).problems, []);
      const changed = wishOf({ lines: [fibre!, { ...cable!, translate: { 4: { kind: 'none' }, 6: { kind: 'masquerade' } } }], policies: [policy('b', 0x2000)] });
      const expected = sort.backend === 'nftables'
        ? ['- nft add rule ip uplinkd leave oifname { "wan0", "wan1" } masquerade comment "the uplink\'s own address"', '+ nft add rule ip uplinkd leave oifname { "wan0" } masquerade comment "the uplink\'s own address"']
        : ['- iptables -t nat -A UPLINKD_NAT -o wan1 -j MASQUERADE'];
      for (const each of [door, open()]) assert.deepEqual((await each.preview(changed)).filter, expected);
      if (sort.backend === 'nftables') out('nft', 'flush', 'chain', 'ip6', 'uplinkd', 'restore_0x80');
      else out(sort.iptables.replace('ip', 'ip6'), '-t', 'mangle', '-D', 'OUTPUT', '-j', 'UPLINKD_OUT');
      const { filter } = await door.preview(wishOf({ policies: [policy('b', 0x2000)] }));
      assert.deepEqual(filter, [sort.backend === 'nftables' ? '+ nft add rule ip6 uplinkd restore_0x80 meta mark set meta mark & 0xffffc0ff | 0x80 comment "uplink fibre"' : '+ ip6tables -t mangle -I OUTPUT 1 -j UPLINKD_OUT']);
    });

    test('another backend\'s rules would go, and without uplinks all of ours', async () => {
      assert.deepEqual((await door.host(wishOf({}))).problems, []);
      const gone = (await open().preview(wishOf({ lines: [] }))).filter;
      assert.ok(gone.length > 10 && gone.every((text) => text.startsWith('- ')), gone.join('\n'));
      const other = await open().preview({ ...wishOf({}), nat: natWish({ backend: sort.backend === 'nftables' ? 'iptables' : 'nftables' }) });
      assert.ok(other.filter.some((text) => text.startsWith('+ ')));
      // Which iptables a fresh process sees is the system's choice.
      if (sort.iptables !== 'iptables-legacy') assert.ok(gone.every((text) => other.filter.includes(text)));
    });

    test('16 lines and 64 policies are written, and found to stand', async () => {
      const lines = Array.from({ length: 16 }, (_, i) => line(`line${i}`, `wan${i}`, (i + 1) << 7, { mss: i % 2 === 0 ? 'auto' : 1400 }));
      const policies = Array.from({ length: 64 }, (_, i): NatPolicy => policy(`policy${i}`, (64 + (i % 40)) << 7, { sources: [`10.${i}.0.0/16`, `fd00:${i.toString(16)}::/32`], protocol: 'tcp', destinationPorts: [{ first: 443, last: 443 }] }));
      const wish = wishOf({ lines, policies, markMask: MASK });
      const { problems, natInSync } = await door.host(wish);
      assert.deepEqual([problems, natInSync], [[], true]);
      assert.deepEqual((await door.preview(wish)).filter, []);
      assert.equal((await door.counters()).length, 64);
    });
  });
});
