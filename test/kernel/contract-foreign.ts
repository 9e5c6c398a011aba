/** What both kernel doors know of the routes of others in main, how ours stand before them, and what a route says of its path. */
import assert from 'node:assert/strict';
import { MAIN_TABLE } from '../../src/core/layout.js';
import type { Route } from '../../src/model.js';
import { codes, defaultThrough, type Story } from './contract.js';

const [STATIC, DHCP, BIRD] = [4, 16, 12] as const;

export function contractOfForeignRoutes(story: Story): void {
  story('a default that refuses is a foreign default, whatever it does with packets', (ground) => {
    const refusing = (['blackhole', 'prohibit', 'throw'] as const).map((refuses, i): Route => ({ ...defaultThrough(ground, 4, 'wan1', 10 + i), protocol: STATIC, table: MAIN_TABLE, hops: [], refuses }));
    refusing.forEach((route) => ground.addRoute(route));
    assert.deepEqual(ground.kernel.readAll().foreignDefaults.filter(({ family }) => family === 4), refusing);
    // They hang on no device that goes with this world.
    refusing.forEach((route) => ground.deleteRoute(route));
  });

  story('routes to somewhere that were written by hand are foreign routes; those of routing daemons, in other tables or that refuse are none', (ground) => {
    const host: Route = { ...defaultThrough(ground, 4, 'wan1', 0), protocol: DHCP, table: MAIN_TABLE, destination: '192.0.2.53/32' };
    const six: Route = { ...defaultThrough(ground, 6, 'wan1', 1024), protocol: STATIC, table: MAIN_TABLE, destination: '2001:db8:53::53/128' };
    const others: readonly Route[] = [
      { ...host, destination: '192.0.2.0/24', protocol: BIRD }, { ...host, table: 77 }, { ...host, destination: '10.99.0.0/16', hops: [], refuses: 'blackhole' },
    ];
    [host, six, ...others].forEach((route) => ground.addRoute(route));
    assert.deepEqual(ground.kernel.readAll().foreignRoutes, [host, six]);
    ground.deleteRoute(others[2]!);
  });

  story('a network of IPv6 that refuses, as DHCPv6 clients leave it for a delegated prefix, is a foreign route', (ground) => {
    const through = defaultThrough(ground, 6, 'wan1', 1024);
    const rest = (destination: string, changes: Partial<Route> = {}): Route =>
      ({ ...through, protocol: DHCP, table: MAIN_TABLE, destination, hops: [], ...changes });
    const delegated = [rest('2001:db8:100::/56'), rest('2001:db8:200::/48', { refuses: 'blackhole', protocol: STATIC })];
    const others = [
      rest('2000::/3'), rest('2001:db8:300::1/128'), rest('2001:db8:400::/56', { refuses: 'throw' }),
      rest('2001:db8:500::/56', { protocol: BIRD }),
    ];
    [...delegated, ...others].forEach((route) => ground.addRoute(route));
    assert.deepEqual(ground.kernel.readAll().foreignRoutes.filter(({ family }) => family === 6), delegated);
    [...delegated, ...others].forEach((route) => ground.deleteRoute(route));
    assert.deepEqual(ground.kernel.readAll().foreignRoutes, []);
  });

  for (const destination of ['default', '192.0.2.53/32']) {
    story(`IPv4: ${destination} of ours is put before a foreign one of the same metric, which stays, and goes alone`, (ground) => {
      const foreign: Route = { ...defaultThrough(ground, 4, 'wan2', 0), protocol: STATIC, table: MAIN_TABLE, destination };
      const ours: Route = { ...defaultThrough(ground, 4, 'wan1', 0), table: MAIN_TABLE, destination };
      const read = (): readonly Route[] => { const facts = ground.kernel.readAll(); return destination === 'default' ? facts.foreignDefaults : facts.foreignRoutes; };
      ground.addRoute(foreign);
      assert.deepEqual(codes(ground.kernel.apply({ changes: [{ op: 'add', route: ours }] })), ['0 EEXIST']);
      assert.deepEqual(ground.kernel.apply({ changes: [{ op: 'prepend', route: ours }] }), []);
      assert.deepEqual([ground.kernel.readOurs().routes, read()], [[ours], [foreign]]);
      assert.deepEqual(codes(ground.kernel.apply({ changes: [{ op: 'prepend', route: ours }] })), ['0 EEXIST'], 'twice');
      assert.deepEqual(ground.kernel.apply({ changes: [{ op: 'delete', route: ours }] }), []);
      assert.deepEqual([ground.kernel.readOurs().routes, read()], [[], [foreign]]);
    });
  }

  for (const family of [4, 6] as const) {
    story(`IPv${family}: what a route says of its path is read back as it was given, of a shared one too`, (ground) => {
      const source = family === 4 ? '10.0.1.2' : 'fd00:1::2';
      const metrics = 'lock 4 mtu 1400 window 8192 initcwnd 20 rto_min 200 initrwnd 30 quickack 1';
      const one: Route = { ...defaultThrough(ground, family, 'wan1', 30), source, metrics };
      const changed: Route = { ...one, metrics: 'mtu 1300 advmss 1260' };
      assert.deepEqual(ground.kernel.apply({ changes: [{ op: 'replace', route: one }] }), []);
      assert.deepEqual(ground.kernel.readOurs().routes, [one]);
      assert.deepEqual(ground.kernel.apply({ changes: [{ op: 'replace', route: changed }] }), []);
      assert.deepEqual(ground.kernel.readOurs().routes, [changed]);
      assert.deepEqual(ground.kernel.apply({ changes: [{ op: 'delete', route: changed }] }), []);
      assert.deepEqual(ground.kernel.readOurs().routes, []);
    });
  }
}
