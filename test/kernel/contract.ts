/**
 * What both kernel doors do: told once, run on the dry and on the real one. The world of each test:
 *
 *   wan1 up, carrier, 10.0.1.2/24, fd00:1::2/64      wan2 the same with 2      (wan3: nothing until a test makes it)
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ACTIVE_TABLE, MAIN_TABLE, OUR_PROTOCOL } from '../../src/core/layout.js';
import type { Kernel } from '../../src/ports.js';
import type { Change, ChangeFailure, Family, Route, Rule } from '../../src/model.js';
import { waitFor } from '../lab/wait.js';
import { contractOfFamilies } from './contract-families.js';
import { contractOfForeignRoutes } from './contract-foreign.js';

/** A routing daemon (rt_protos). */
const BIRD = 12;

/** One world with a door to it, and the hand of everybody else. */
export interface Ground {
  readonly kernel: Kernel;
  ifindex(name: string): number;
  setUp(name: string, up: boolean): void;
  setCarrier(name: string, carrier: boolean): void;
  /** Makes wan3, up, without addresses. */
  makeWan3(): void;
  deleteLink(name: string): void;
  addAddress(name: string, address: string, prefixLength: number): void;
  deleteAddress(name: string, address: string, prefixLength: number): void;
  /** `ip route add`, with protocol `static` (4) unless said otherwise. */
  addRoute(route: Route): void;
  deleteRoute(route: Route): void;
  deleteRule(rule: Rule): void;
  /** Long enough for a further notice, which nobody expects. */
  settle(): Promise<void>;
  end(): void;
}

export function contract(name: string, open: () => Promise<Ground>): void {
  const story = (title: string, body: (ground: Ground) => Promise<void> | void): void => {
    test(`${name}: ${title}`, async () => {
      const ground = await open();
      try {
        await body(ground);
      } finally {
        ground.end();
      }
    });
  };
  readingAndWriting(story);
  refusals(story);
  devicesAndAddresses(story);
  contractOfFamilies(story);
  contractOfForeignRoutes(story);
  notices(story);
}

export type Story = (title: string, body: (ground: Ground) => Promise<void> | void) => void;

function readingAndWriting(story: Story): void {
  story('links and addresses are read', ({ kernel, ifindex }) => {
    const { links, addresses } = kernel.readAll();
    const wan1 = links.find((link) => link.name === 'wan1');
    assert.deepEqual({ ...wan1, mac: '' }, { index: ifindex('wan1'), name: 'wan1', adminUp: true, carrier: true, mtu: 1500, mac: '', permanentMac: '', path: '', altNames: [] });
    assert.match(wan1?.mac ?? '', /^([0-9a-f]{2}:){5}[0-9a-f]{2}$/);
    assert.deepEqual(
      addresses.filter((address) => address.family === 4 && address.ifindex === ifindex('wan1')),
      [{ family: 4, ifindex: ifindex('wan1'), address: '10.0.1.2', prefixLength: 24, peer: '', scope: 0, deprecated: false, protocol: 0 }],
    );
    assert.ok(addresses.some((address) => address.family === 6 && address.address === 'fd00:1::2' && address.prefixLength === 64));
  });

  for (const family of [4, 6] as const) {
    story(`IPv${family}: what is added is read back as it was given, and a delete takes it away`, (ground) => {
      const routes = [
        ...([30, 31] as const).map((metric) => defaultThrough(ground, family, 'wan1', metric)),
        { ...shared(ground, family), metric: 32 },
        { ...defaultThrough(ground, family, 'wan2', 33), destination: family === 4 ? '192.0.2.0/24' : '2001:db8::/32', table: 9410 },
      ];
      assert.deepEqual(ground.kernel.apply({ changes: routes.map((route) => ({ op: 'add', route })) }), []);
      assert.deepEqual(sorted(ground.kernel.readOurs().routes), sorted(routes));
      assert.deepEqual(sorted(ground.kernel.readAll().routes), sorted(routes));
      assert.deepEqual(ground.kernel.apply({ changes: routes.map((route) => ({ op: 'delete', route })) }), []);
      assert.deepEqual(ground.kernel.readOurs().routes, []);
    });

    story(`IPv${family}: rules are read back as they were given, in order of preference`, ({ kernel }) => {
      const rules: Rule[] = [
        rule(family, 9410, { outInterface: 'wan1', table: 9401 }),
        rule(family, 9450, { table: MAIN_TABLE, suppressPrefixLength: 0 }),
        rule(family, 9500, { mark: 0x80, markMask: 0x3f80, table: 9401 }),
        rule(family, 9550, { from: family === 4 ? '10.0.1.2/32' : 'fd00:1::2/128', table: 9401 }),
        rule(family, 9600, { table: ACTIVE_TABLE }),
      ];
      assert.deepEqual(kernel.apply({ changes: rules.toReversed().map((each) => ({ op: 'add', rule: each })) }), []);
      assert.deepEqual(kernel.readOurs().rules, rules);
      assert.deepEqual(kernel.apply({ changes: rules.map((each) => ({ op: 'delete', rule: each })) }), []);
      assert.deepEqual(kernel.readOurs().rules, []);
    });

    story(`IPv${family}: replace takes the place of the route with the same metric`, (ground) => {
      const before = defaultThrough(ground, family, 'wan1', 30);
      const after = defaultThrough(ground, family, 'wan2', 30);
      ground.kernel.apply({ changes: [{ op: 'add', route: before }] });
      assert.deepEqual(ground.kernel.apply({ changes: [{ op: 'replace', route: after }] }), []);
      assert.deepEqual(ground.kernel.readOurs().routes, [after]);
    });
  }

  story('a default of somebody else in main is a foreign default, and ours is not', (ground) => {
    const foreign: Route = { ...defaultThrough(ground, 4, 'wan2', 0), protocol: 4, table: MAIN_TABLE };
    ground.addRoute(foreign);
    ground.kernel.apply({ changes: [{ op: 'add', route: { ...defaultThrough(ground, 4, 'wan1', 30), table: MAIN_TABLE } }] });
    ground.addRoute({ ...foreign, destination: '198.51.100.0/24' });
    assert.deepEqual(
      ground.kernel.readAll().foreignDefaults.filter((route) => route.family === 4),
      [foreign],
    );
  });

  story('restore removes what is ours and nothing else', async (ground) => {
    const foreign: Route = { ...defaultThrough(ground, 4, 'wan2', 7), protocol: 4, table: MAIN_TABLE };
    ground.addRoute(foreign);
    ground.kernel.apply({ changes: [{ op: 'add', route: defaultThrough(ground, 4, 'wan1', 30) }, { op: 'add', rule: rule(4, 9600, { table: ACTIVE_TABLE }) }] });
    await ground.kernel.restore();
    assert.deepEqual(ground.kernel.readOurs(), { routes: [], rules: [] });
    assert.deepEqual(ground.kernel.readAll().foreignDefaults, [foreign]);
  });
}

function refusals(story: Story): void {
  story('a refusal names the errno, and what needed the refused change is skipped', (ground) => {
    const good = defaultThrough(ground, 4, 'wan1', 30);
    const changes: Change[] = [
      { op: 'add', route: good },
      { op: 'add', route: { ...good, protocol: 4 } },
      { op: 'delete', route: good, needs: 1 },
      { op: 'delete', route: good, needs: 2 },
      { op: 'add', route: { ...good, metric: 31 }, needs: 0 },
    ];
    const failures = ground.kernel.apply({ changes });
    assert.deepEqual(codes(failures), ['1 EEXIST']);
    assert.deepEqual(ground.kernel.readOurs().routes.map((route) => route.metric).sort(), [30, 31]);
  });

  story('a gateway that cannot be reached is refused unless the hop is onlink', (ground) => {
    const route = defaultThrough(ground, 4, 'wan1', 30, '192.0.2.1');
    const offlink: Route = { ...route, metric: 31, hops: route.hops.map((hop) => ({ ...hop, onlink: false })) };
    const reachable: Route = { ...offlink, metric: 32, hops: offlink.hops.map((hop) => ({ ...hop, via: '10.0.1.1' })) };
    const failures = ground.kernel.apply({ changes: [route, offlink, reachable].map((each) => ({ op: 'add', route: each })) });
    assert.deepEqual(
      failures.map((failure) => failure.error),
      ['ENETUNREACH: Nexthop has invalid gateway'],
    );
  });

  story('a device that does not exist or is down, a source that is nobody’s, and our own address as gateway are refused', (ground) => {
    const good = defaultThrough(ground, 4, 'wan1', 30);
    ground.setUp('wan2', false);
    const routes: Route[] = [
      { ...good, hops: [{ ifindex: 4711, via: '10.0.1.1', weight: 1, onlink: true }] },
      defaultThrough(ground, 4, 'wan2', 30),
      { ...good, source: '10.7.7.7' },
      defaultThrough(ground, 4, 'wan1', 30, '10.0.1.2'),
    ];
    const failures = ground.kernel.apply({ changes: routes.map((route) => ({ op: 'add', route })) });
    assert.deepEqual(codes(failures), ['0 ENODEV', '1 ENETDOWN', '2 EINVAL', '3 EINVAL']);
  });

  story('deleting takes only the very thing: another protocol, hop or metric is refused', (ground) => {
    const foreign: Route = { ...defaultThrough(ground, 4, 'wan1', 30), protocol: 4 };
    const mine = { ...foreign, protocol: OUR_PROTOCOL, metric: 31 };
    ground.addRoute(foreign);
    ground.kernel.apply({ changes: [{ op: 'add', route: mine }] });
    const wrong: Route[] = [
      { ...foreign, protocol: OUR_PROTOCOL },
      { ...mine, hops: defaultThrough(ground, 4, 'wan2', 31).hops },
      { ...mine, metric: 33 },
    ];
    const failures = ground.kernel.apply({
      changes: [...wrong.map((route): Change => ({ op: 'delete', route })), { op: 'delete', rule: rule(4, 9600, { table: ACTIVE_TABLE }) }],
    });
    assert.deepEqual(codes(failures), ['0 ESRCH', '1 ESRCH', '2 ESRCH', '3 ENOENT']);
    assert.deepEqual(ground.kernel.readOurs().routes, [mine]);
  });

  story('the same rule twice is refused', ({ kernel }) => {
    const twice: Change = { op: 'add', rule: rule(4, 9600, { table: ACTIVE_TABLE }) };
    assert.deepEqual(codes(kernel.apply({ changes: [twice, twice] })), ['1 EEXIST']);
  });
}

function devicesAndAddresses(story: Story): void {
  story('carrier loss leaves the routes and shows when the device is looked at', (ground) => {
    ground.kernel.apply({ changes: [{ op: 'add', route: defaultThrough(ground, 4, 'wan1', 30) }] });
    ground.setCarrier('wan1', false);
    const { links, gone } = ground.kernel.look([ground.ifindex('wan1'), 4711]);
    assert.deepEqual(links.map((link) => [link.name, link.adminUp, link.carrier]), [['wan1', true, false]]);
    assert.deepEqual(gone, [4711]);
    assert.equal(ground.kernel.readOurs().routes.length, 1);
    ground.setCarrier('wan1', true);
    assert.equal(ground.kernel.look([ground.ifindex('wan1')]).links[0]?.carrier, true);
  });

  story('a device that is switched off loses its IPv4 routes and IPv6 addresses; shared routes and rules stay; up brings nothing back', (ground) => {
    const wan1 = defaultThrough(ground, 4, 'wan1', 30);
    const both = { ...shared(ground, 4), metric: 31 };
    const wan1Rule = rule(4, 9410, { outInterface: 'wan1', table: 9401 });
    ground.kernel.apply({ changes: [{ op: 'add', route: wan1 }, { op: 'add', route: both }, { op: 'add', rule: wan1Rule }] });
    ground.setUp('wan1', false);
    assert.deepEqual(ground.kernel.readOurs().routes, [both]);
    assert.deepEqual(ground.kernel.readOurs().rules, [wan1Rule]);
    ground.setUp('wan1', true);
    assert.deepEqual(ground.kernel.readOurs().routes, [both]);
    const addresses = ground.kernel.readAll().addresses.filter((address) => address.ifindex === ground.ifindex('wan1') && address.scope === 0);
    assert.deepEqual(addresses.map((address) => address.address), ['10.0.1.2']);
  });

  story('a deleted device takes its routes and addresses with it; its rule stays', (ground) => {
    const index = ground.ifindex('wan1');
    const wan1Rule = rule(4, 9410, { outInterface: 'wan1', table: 9401 });
    ground.kernel.apply({ changes: [...([4, 6] as const).map((family): Change => ({ op: 'add', route: defaultThrough(ground, family, 'wan1', 30) })), { op: 'add', rule: wan1Rule }] });
    ground.deleteLink('wan1');
    assert.deepEqual(ground.kernel.look([index]), { links: [], gone: [index] });
    assert.deepEqual(ground.kernel.readOurs(), { routes: [], rules: [wan1Rule] });
    assert.ok(!ground.kernel.readAll().addresses.some((address) => address.ifindex === index));
  });

  story('an address that goes takes the routes in main that prefer it; the last one takes all IPv4 routes of its device', (ground) => {
    ground.addAddress('wan1', '10.9.0.1', 24);
    const plain = defaultThrough(ground, 4, 'wan1', 30);
    const fromMain: Route = { ...plain, table: MAIN_TABLE, metric: 31, source: '10.9.0.1' };
    const fromOther: Route = { ...plain, metric: 32, source: '10.9.0.1' };
    assert.deepEqual(ground.kernel.apply({ changes: [plain, fromMain, fromOther].map((route) => ({ op: 'add', route })) }), []);
    ground.deleteAddress('wan1', '10.9.0.1', 24);
    assert.deepEqual(sorted(ground.kernel.readOurs().routes), sorted([plain, fromOther]));
    ground.deleteAddress('wan1', '10.0.1.2', 24);
    assert.deepEqual(ground.kernel.readOurs().routes, []);
  });
}

function notices(story: Story): void {
  const listen = (kernel: Kernel): string[] => {
    const told: string[] = [];
    kernel.watch({
      links: (links, gone) => {
        for (const link of links) if (link.name.startsWith('wan')) told.push(`${link.name} ${link.adminUp ? 'up' : 'off'} ${link.carrier ? 'carrier' : 'none'}`);
        for (const index of gone) told.push(`gone ${index}`);
      },
      again: (what) => told.push(what),
    });
    return told;
  };

  story('a lost carrier is told with the device’s state', async (ground) => {
    const told = listen(ground.kernel);
    ground.setCarrier('wan1', false);
    await waitFor('it is told', () => told, (seen) => seen.includes('wan1 up none'));
  });

  story('a deleted device is told as gone', async (ground) => {
    const told = listen(ground.kernel);
    const index = ground.ifindex('wan1');
    ground.deleteLink('wan1');
    await waitFor('it is told', () => told, (seen) => seen.includes(`gone ${index}`));
  });

  story('what we change ourselves is not told; what others do to it is', async (ground) => {
    const told = listen(ground.kernel);
    const route = defaultThrough(ground, 4, 'wan1', 30);
    const ours = rule(4, 9600, { table: ACTIVE_TABLE });
    ground.kernel.apply({ changes: [{ op: 'add', route }, { op: 'add', rule: ours }] });
    await ground.settle();
    assert.deepEqual(told, []);
    ground.deleteRoute(route);
    await waitFor('it is told', () => told, (seen) => seen.length > 0);
    await ground.settle();
    assert.deepEqual(told.splice(0), ['ours']);
    ground.deleteRule(ours);
    await waitFor('it is told', () => told, (seen) => seen.length > 0);
    await ground.settle();
    assert.deepEqual(told, ['ours']);
  });

  story('a foreign default, a route written by hand and an address are told; other foreign routes are not', async (ground) => {
    const told = listen(ground.kernel);
    const foreign: Route = { ...defaultThrough(ground, 4, 'wan2', 9), protocol: 4, table: MAIN_TABLE };
    ground.addRoute({ ...foreign, destination: '198.51.100.0/24', protocol: BIRD });
    ground.addRoute({ ...foreign, table: 77 });
    ground.addRoute({ ...foreign, destination: '198.51.100.7/32', table: 77 });
    await ground.settle();
    assert.deepEqual(told, []);
    for (const change of ['addRoute', 'deleteRoute'] as const) {
      ground[change]({ ...foreign, destination: '198.51.100.7/32' });
      await ground.settle();
      assert.deepEqual([...new Set(told.splice(0))], ['all'], change);
    }
    ground.addRoute(foreign);
    await waitFor('it is told', () => told, (seen) => seen.length > 0);
    await ground.settle();
    assert.deepEqual(told.splice(0), ['all']);
    ground.addAddress('wan2', '10.8.0.1', 24);
    await waitFor('it is told', () => told, (seen) => seen.length > 0);
    assert.deepEqual([...new Set(told)], ['all']);
  });

  story('a new device is told', async (ground) => {
    const told = listen(ground.kernel);
    ground.makeWan3();
    await waitFor('it is told', () => told, (seen) => seen.some((text) => text.startsWith('wan3 up')));
  });
}

export function defaultThrough(ground: Ground, family: Family, device: 'wan1' | 'wan2', metric: number, via?: string): Route {
  const net = device.slice(3);
  const gateway = via ?? (family === 4 ? `10.0.${net}.1` : `fd00:${net}::1`);
  return {
    family,
    table: ACTIVE_TABLE,
    destination: 'default',
    metric,
    protocol: OUR_PROTOCOL,
    scope: 0,
    source: '',
    hops: [{ ifindex: ground.ifindex(device), via: gateway, weight: 1, onlink: true }],
  };
}

export function shared(ground: Ground, family: Family): Route {
  const [a, b] = (['wan1', 'wan2'] as const).map((device, i) => defaultThrough(ground, family, device, 0).hops.map((hop) => ({ ...hop, weight: i + 2 })));
  return { ...defaultThrough(ground, family, 'wan1', 0), hops: [...(a ?? []), ...(b ?? [])] };
}

function rule(family: Family, preference: number, what: Partial<Rule>): Rule {
  return { family, preference, protocol: OUR_PROTOCOL, table: 0, from: '', outInterface: '', mark: 0, markMask: 0, suppressPrefixLength: -1, ...what };
}

export function sorted(routes: readonly Route[]): Route[] {
  return [...routes].sort((a, b) => a.table - b.table || a.metric - b.metric);
}

export function codes(failures: readonly ChangeFailure[]): string[] {
  return failures.map((failure) => `${failure.index} ${failure.error.split(':', 1)[0] ?? ''}`);
}
