/** More of the contract (contract.ts): routes that refuse, what IPv6 does otherwise than IPv4, addresses that are used no more. */
import assert from 'node:assert/strict';
import { MAIN_TABLE, OUR_PROTOCOL } from '../../src/core/layout.js';
import type { Address, Route } from '../../src/model.js';
import { waitFor } from '../lab/wait.js';
import { codes, defaultThrough, shared, sorted, type Story } from './contract.js';

export function contractOfFamilies(story: Story): void {
  unreachableRoutes(story);
  inIPv6(story);
  deprecation(story);
}

function unreachableRoutes(story: Story): void {
  for (const family of [4, 6] as const) {
    story(`IPv${family}: an unreachable route has no hops, and holds its metric like any other`, (ground) => {
      const refuse: Route = { ...defaultThrough(ground, family, 'wan1', 4000), hops: [] };
      const lead = { ...refuse, hops: defaultThrough(ground, family, 'wan1', 4000).hops };
      assert.deepEqual(codes(ground.kernel.apply({ changes: [refuse, refuse, lead].map((route) => ({ op: 'add', route })) })), ['1 EEXIST', '2 EEXIST']);
      assert.deepEqual(ground.kernel.readOurs().routes, [refuse]);
      ground.setUp('wan1', false);
      assert.deepEqual(ground.kernel.readOurs().routes, [refuse]);
      ground.setUp('wan1', true);
      assert.deepEqual(ground.kernel.apply({ changes: [{ op: 'replace', route: lead }] }), []);
      assert.deepEqual(ground.kernel.readOurs().routes, [lead]);
      assert.deepEqual(codes(ground.kernel.apply({ changes: [{ op: 'delete', route: refuse }] })), ['0 ESRCH']);
      assert.deepEqual(ground.kernel.apply({ changes: [{ op: 'replace', route: refuse }, { op: 'delete', route: refuse }] }), []);
      assert.deepEqual(ground.kernel.readOurs().routes, []);
    });
  }
}

/** Where it is not as in IPv4. */
function inIPv6(story: Story): void {
  story('IPv6: both gateways may be fe80::1, shared by weight and replaced at will', (ground) => {
    const alone = defaultThrough(ground, 6, 'wan1', 30, 'fe80::1');
    const hops = (['wan1', 'wan2'] as const).flatMap((device, i) => defaultThrough(ground, 6, device, 30, 'fe80::1').hops.map((hop) => ({ ...hop, weight: 3 - i })));
    const steps: Route[] = [{ ...alone, hops }, alone, { ...alone, hops: hops.toReversed() }, { ...alone, hops: defaultThrough(ground, 6, 'wan2', 30, 'fe80::1').hops }];
    for (const route of steps) {
      assert.deepEqual(ground.kernel.apply({ changes: [{ op: 'replace', route }] }), []);
      assert.deepEqual(ground.kernel.readOurs().routes, [route]);
    }
  });

  story('IPv6: metric 0 is 1024, there are no scopes, and a link-local gateway needs no onlink', (ground) => {
    const route = defaultThrough(ground, 6, 'wan1', 0, 'fe80::1');
    const offlink: Route = { ...route, scope: 253, hops: route.hops.map((hop) => ({ ...hop, onlink: false })) };
    assert.deepEqual(ground.kernel.apply({ changes: [{ op: 'add', route: offlink }] }), []);
    assert.deepEqual(ground.kernel.readOurs().routes, [{ ...offlink, metric: 1024, scope: 0 }]);
    assert.deepEqual(ground.kernel.apply({ changes: [{ op: 'delete', route: offlink }] }), []);
  });

  story('IPv6: what is refused', (ground) => {
    const good = defaultThrough(ground, 6, 'wan1', 30);
    const direct = (['wan1', 'wan2'] as const).flatMap((device) => defaultThrough(ground, 6, device, 30).hops.map((hop) => ({ ...hop, via: '', onlink: false })));
    const routes: Route[] = [
      { ...good, hops: good.hops.map((hop) => ({ ...hop, via: '2001:db8::1', onlink: false })) },
      defaultThrough(ground, 6, 'wan1', 30, 'fd00:1::2'),
      { ...good, source: '2001:db8::7' },
      { ...good, hops: direct },
      good,
      { ...good, protocol: 4, hops: defaultThrough(ground, 6, 'wan2', 30).hops },
    ];
    assert.deepEqual(ground.kernel.apply({ changes: routes.map((route) => ({ op: 'add', route })) }).map(({ error }) => error), [
      'EHOSTUNREACH: host is unreachable',
      'EINVAL: Gateway can not be a local address',
      'EINVAL: Invalid source address',
      'EINVAL: Device only routes can not be added for IPv6 using the multipath API.',
      'EEXIST: there is one already',
    ]);
    assert.deepEqual(ground.kernel.readOurs().routes, [good]);
  });

  story('IPv6: a device that is switched off loses its addresses and routes in every table; shared routes stay', (ground) => {
    const alone = defaultThrough(ground, 6, 'wan1', 30);
    const both = { ...shared(ground, 6), metric: 31 };
    ground.kernel.apply({ changes: [alone, both, { ...alone, table: MAIN_TABLE }].map((route) => ({ op: 'add', route })) });
    ground.setCarrier('wan1', false);
    assert.equal(ground.kernel.readOurs().routes.length, 3);
    ground.setUp('wan1', false);
    assert.deepEqual(ground.kernel.readOurs().routes, [both]);
    ground.setUp('wan1', true);
    assert.deepEqual(ground.kernel.readOurs().routes, [both]);
    assert.ok(!ground.kernel.readAll().addresses.some((address) => address.address === 'fd00:1::2'));
  });

  story('IPv6: a deleted device leaves the routes that it shared', (ground) => {
    const both = { ...shared(ground, 6), metric: 31 };
    const [, second] = both.hops;
    assert.deepEqual(ground.kernel.apply({ changes: [{ op: 'add', route: both }] }), []);
    ground.deleteLink('wan1');
    assert.deepEqual(ground.kernel.readOurs().routes, [{ ...both, hops: [{ ...second, weight: 1 }] }]);
  });

  story('IPv6: an address that goes takes no routes with it, but is no longer their source', (ground) => {
    ground.addAddress('wan1', 'fd00:9::1', 64);
    const routes = [30, 31, 32].map((metric): Route => ({ ...defaultThrough(ground, 6, metric === 32 ? 'wan2' : 'wan1', metric), source: metric === 30 ? '' : 'fd00:9::1' }));
    assert.deepEqual(ground.kernel.apply({ changes: routes.map((route) => ({ op: 'add', route })) }), []);
    ground.deleteAddress('wan1', 'fd00:9::1', 64);
    ground.deleteAddress('wan1', 'fd00:1::2', 64);
    assert.deepEqual(sorted(ground.kernel.readOurs().routes), sorted(routes.map((route) => ({ ...route, source: '' }))));
  });
}

function deprecation(story: Story): void {
  story('an address that is taken out of use says by whom, and is told; given back it is as it was', async (ground) => {
    const find = (): Address | undefined => ground.kernel.readAll().addresses.find(({ address }) => address === 'fd00:1::2');
    const before = find();
    assert.ok(before !== undefined && !before.deprecated);
    const told: string[] = [];
    ground.kernel.watch({ links: () => undefined, again: (what) => told.push(what) });
    assert.deepEqual(ground.kernel.apply({ changes: [{ op: 'deprecate', address: before }] }), []);
    assert.deepEqual(find(), { ...before, deprecated: true, protocol: OUR_PROTOCOL });
    assert.deepEqual(ground.kernel.apply({ changes: [{ op: 'prefer', address: before }] }), []);
    assert.deepEqual(find(), before);
    await waitFor('it is told', () => told, (seen) => seen.length > 0);
    assert.deepEqual([...new Set(told)], ['all']);
    assert.deepEqual(codes(ground.kernel.apply({ changes: [{ op: 'deprecate', address: { ...before, address: 'fd00:1::77' } }] })), ['0 ENOENT']);
  });

  story('restore gives an address back that was taken out of use', async (ground) => {
    const before = ground.kernel.readAll().addresses;
    ground.kernel.apply({ changes: before.flatMap((address) => (address.address === 'fd00:1::2' ? [{ op: 'deprecate', address }] : [])) });
    assert.notDeepEqual(ground.kernel.readAll().addresses, before);
    await ground.kernel.restore();
    assert.deepEqual(ground.kernel.readAll().addresses, before);
  });
}
