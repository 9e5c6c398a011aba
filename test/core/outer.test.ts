/** A tunnel among the uplinks: its own packets go by the lines below, whichever leads, and never into a tunnel. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { classesOf } from '../../src/core/classes.js';
import { MAIN_TABLE, OUTER_TABLE, PREFERENCE, markOf, tableOf } from '../../src/core/layout.js';
import { plan, showChange, showRoute, showRule } from '../../src/core/plan.js';
import type { KernelFacts, Policy, Rule, Tunnel, Wish } from '../../src/model.js';
import { factsOf, policyOf, trafficPolicy, uplinkPolicy } from './fixture.js';
import { inTable, wished } from './ground.js';
import { openRouter } from './router.js';

/** radio is the tunnel, and preferred. */
const THREE = policyOf([
  uplinkPolicy('radio', { priority: 1 }), uplinkPolicy('fibre', { priority: 2 }),
  uplinkPolicy('cable', { priority: 3 }),
]);
const FAR = '192.0.2.77';
const mark = `0x${markOf(THREE.uplinks[0]!.slot, THREE.markMask).toString(16)}/0x3f80`;
const tunnel = (more: Partial<Tunnel> = {}): Tunnel =>
  ({ ifindex: 5, kind: 'wireguard', remotes: [FAR], local: '', ...more });
const factsWith = (...tunnels: readonly Tunnel[]): KernelFacts => factsOf(['radio', 'fibre', 'cable'], { tunnels });

function outerIn(wish: Wish, facts: KernelFacts): readonly string[] {
  const places: readonly number[] = [PREFERENCE.outer, PREFERENCE.outerMarked];
  const rules = wish.rules.filter(({ preference }) => places.includes(preference));
  return [...inTable(wish, OUTER_TABLE).map((route) => showRoute(route, facts.links)), ...rules.map(showRule)];
}

test('while the tunnel leads, its own packets go by the order of the others, also those that bear its mark', () => {
  const facts = factsWith(tunnel());
  assert.deepEqual(outerIn(wished(THREE, facts, 'radio>fibre>cable'), facts), [
    'default via 198.51.100.1 dev eth0 table 9590 proto 147 metric 30 onlink',
    'default via 203.0.113.1 dev eth1 table 9590 proto 147 metric 31 onlink',
    `pref 9490 to ${FAR}/32 iif lo fwmark ${mark} lookup 9590 proto 147`,
    `pref 9570 to ${FAR}/32 iif lo lookup 9590 proto 147`,
  ]);
});

test('when the line below dies they go by the next; and where nothing but the tunnel is chosen, by any line', () => {
  const facts = factsWith(tunnel());
  const ways = (ranks: string): readonly (string | undefined)[] =>
    inTable(wished(THREE, facts, ranks, { fibre: 'down' }), OUTER_TABLE).map(({ hops }) => hops[0]?.via);
  assert.deepEqual(ways('radio>cable'), ['203.0.113.1']);
  assert.deepEqual(ways('cable>radio'), ['203.0.113.1']);
  assert.deepEqual(ways('radio'), ['198.51.100.1', '203.0.113.1'], 'an order to obey');
});

test('the table is switched like the one that steers: at no instant without a way', () => {
  const facts = factsWith(tunnel());
  const before = wished(THREE, facts, 'radio>fibre>cable');
  const after = wished(THREE, facts, 'radio>cable', { fibre: 'down' });
  const { changes } = plan(after, { routes: before.routes, rules: before.rules, addresses: facts.addresses });
  const texts = changes.map((change) => showChange(change, facts.links)).filter((text) => text.includes('table 9590'));
  const brief = (text: string): string | undefined =>
    /route (add|del) .*dev (\S+) .*metric (\d+)/.exec(text)?.slice(1).join(' ');
  assert.deepEqual(texts.map(brief), ['add eth1 29', 'del eth0 30', 'del eth1 31', 'add eth1 30', 'del eth1 29']);
});

test('without tunnels, or where nobody knows the far end, nothing of this is wished; the config may tell it', () => {
  for (const tunnels of [[], [tunnel({ kind: 'tun', remotes: [] })], [tunnel({ ifindex: 77 })]]) {
    assert.deepEqual(outerIn(wished(THREE, factsWith(...tunnels), 'radio>fibre'), factsWith()), []);
  }
  const [radio, ...others] = THREE.uplinks;
  const told: Policy = { ...THREE, uplinks: [{ ...radio!, endpoints: [FAR] }, ...others] };
  const facts = factsWith(tunnel({ kind: 'tun', remotes: [] }));
  const learnt = wished(THREE, factsWith(tunnel()), 'radio>fibre');
  assert.deepEqual(outerIn(wished(told, facts, 'radio>fibre'), facts), outerIn(learnt, facts));
});

test('packets that are bound to the address of a line go by it while it carries, and then by the others', () => {
  const facts = factsWith(tunnel({ kind: 'gre', local: '203.0.113.2' }));
  const leads = (ranks: string, states = {}): readonly number[] =>
    wished(THREE, facts, ranks, states).rules.filter(({ to }) => to === `${FAR}/32`).map(({ table }) => table);
  const cable = tableOf(THREE.uplinks[2]!.slot);
  assert.deepEqual(leads('radio>fibre>cable'), [cable, cable]);
  assert.deepEqual(leads('fibre', { cable: 'down' }), [OUTER_TABLE, OUTER_TABLE]);
});

test('two tunnels do not carry each other, and a policy that leads into one has the same exception', () => {
  const policies = [trafficPolicy('all', 'radio>cable', { router: true }), trafficPolicy('video', 'cable')];
  const policy: Policy = { ...THREE, policies };
  const facts = factsWith(tunnel(), tunnel({ ifindex: 2, remotes: ['192.0.2.78'] }));
  const wish = wished(policy, facts, 'radio>fibre>cable');
  assert.deepEqual(inTable(wish, OUTER_TABLE).map(({ hops }) => hops[0]?.via), ['203.0.113.1']);
  const marked = wish.rules.filter(({ to, preference }) => to === `${FAR}/32` && preference === PREFERENCE.outerMarked);
  const leading = [THREE.uplinks[0]!, THREE.uplinks[1]!, classesOf(policy).of.get('all')!];
  assert.deepEqual(marked.map((rule) => rule.mark), leading.map(({ slot }) => markOf(slot, policy.markMask)));
});

test('what stands in for a host route to the far end leads into no tunnel', () => {
  const pinned = {
    family: 4 as const, table: MAIN_TABLE, destination: `${FAR}/32`, metric: 0, protocol: 3, scope: 0, source: '',
    hops: [{ ifindex: 2, via: '198.51.100.1', weight: 1, onlink: false }],
  };
  const facts = { ...factsWith(tunnel({ kind: 'tun', remotes: [] })), foreignRoutes: [pinned] };
  const [standIn] = wished(THREE, facts, 'radio>cable', { fibre: 'down' }).standIns;
  assert.deepEqual([standIn?.destination, standIn?.hops[0]?.via], [`${FAR}/32`, '203.0.113.1']);
});

test('in the kernel the tunnel stays the leader, its packets move with the lines below, and it is said once', () => {
  const facts = factsWith(tunnel());
  const router = openRouter(THREE, facts).until(5000);
  const way = (): string | undefined =>
    inTable(router.kernel.readOurs(), OUTER_TABLE).toSorted((a, b) => a.metric - b.metric)[0]?.hops[0]?.via;
  const leader = (): string | undefined => router.state.planes.get(4)?.decision?.ranks[0]?.members[0]?.uplink;
  assert.deepEqual([leader(), way()], ['radio', '198.51.100.1']);
  router.alive.delete('fibre');
  router.until(20_000);
  assert.deepEqual([leader(), way()], ['radio', '203.0.113.1']);
  assert.deepEqual(router.told().filter((text) => text.includes('tunnel')), [
    'radio is a tunnel to 192.0.2.77: its own packets go by the uplinks that are no tunnels',
  ]);

  const outer = (): Rule | undefined =>
    router.kernel.readOurs().rules.find(({ preference }) => preference === PREFERENCE.outer);
  router.kernel.outside.deleteRule(outer()!);
  router.until(30_000);
  assert.ok(outer() !== undefined, 'what others remove is put back');
});
