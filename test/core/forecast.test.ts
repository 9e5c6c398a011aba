/** What would be done: told before, and then it happens just so. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { whatIf, whatPolicy } from '../../src/core/forecast.js';
import { showChange } from '../../src/core/plan.js';
import type { Change, ForgetOrder, Policy } from '../../src/model.js';
import { addressOf, at, dualFacts, factsOf, linkOf, policyOf, trafficPolicy, uplinkPolicy, type UplinkChoice } from './fixture.js';
import { openRouter, type Router } from './router.js';

const THREE = policyOf([uplinkPolicy('fibre'), uplinkPolicy('cable'), uplinkPolicy('lte', { metered: true })]);
const WITH_POLICIES: Policy = { ...THREE, policies: [trafficPolicy('tv', 'fibre>lte'), trafficPolicy('bank', 'fibre', { otherwise: 'block', stickyMs: 1000 })] };
const DUAL = dualFacts(['fibre', 'cable', 'lte'], ['fibre', 'lte']);

const settled = (policy: Policy, facts = DUAL): Router => openRouter(policy, facts).until(1500).fresh();
const applied = (router: Router): readonly Change[] => router.effects.flatMap((effect) => (effect.type === 'apply' ? effect.plan.changes : []));
const forgotten = (router: Router): readonly ForgetOrder[] => router.effects.flatMap((effect) => (effect.type === 'forget' ? [effect.order] : []));
const decisions = (router: Router) => [...router.state.planes.values()].map(({ family, decision }) => ({ family, decision }));

test('what if this cable were cut: the decisions, changes and connections that come of it when it is', () => {
  for (const policy of [THREE, WITH_POLICIES]) {
    for (const [name, ifindex] of [['fibre', 2], ['cable', 3], ['lte', 4]] as const) {
      const router = settled(policy);
      const foretold = whatIf(router.state, name, at(1500));
      router.kernel.outside.setLink({ ...linkOf(name), index: ifindex, carrier: false });
      assert.deepEqual(foretold.changes, applied(router));
      assert.deepEqual(foretold.forgets, forgotten(router));
      assert.deepEqual(foretold.decisions, decisions(router));
    }
  }
});

test('what if says what people want to know, in both families', () => {
  const router = settled(THREE);
  const { decisions: foretold, changes, forgets } = whatIf(router.state, 'fibre', at(1500));
  assert.deepEqual(foretold.map(({ family, decision }) => [family, decision.ranks[0]?.members[0]?.uplink, decision.generation, decision.because]), [
    [4, 'cable', 3, 'fibre is down: no carrier on eth0; cable is next (priority 2)'], [6, 'lte', 4, 'fibre is down: no carrier on eth0; lte is next (priority 3)'],
  ]);
  const shown = changes.map((change) => showChange(change, DUAL.links));
  assert.ok(shown.includes('ip route del default via 198.51.100.1 dev eth0 table main proto 147 metric 30 onlink'), shown.join('\n'));
  assert.ok(shown.includes('ip -6 route del default via fe80::1 dev eth0 table main proto 147 metric 30 onlink'), shown.join('\n'));
  assert.deepEqual(forgets.map(({ uplink, family, which }) => [uplink, family, which]), [['fibre', 4, 'all'], ['fibre', 6, 'all']]);
});

test('this config in force: what is new is yet to be asked, what goes is taken away, nothing is done twice', () => {
  const next = policyOf([uplinkPolicy('cable', { priority: 1 }), uplinkPolicy('lte'), uplinkPolicy('radio')]);
  const router = settled(WITH_POLICIES);
  const foretold = whatPolicy(router.state, next, at(1500));
  router.give({ type: 'policy', at: at(1500), policy: next, token: 0 });
  // The marks of the old policies linger until the packet filter was rewritten.
  router.give({ type: 'host', at: at(1500), wish: router.state.hostWish!, report: { natBackend: 'nftables', natInSync: true, natRepaired: false, sysctlsInSync: true, problems: [] } });
  const set = (changes: readonly Change[]): readonly string[] => changes.map((change) => showChange(change, DUAL.links)).sort();
  assert.deepEqual(set(foretold.changes), set(applied(router)));
  assert.equal(new Set(set(foretold.changes)).size, foretold.changes.length, 'each once');
  assert.deepEqual(foretold.forgets, forgotten(router));
  assert.deepEqual(foretold.decisions, decisions(router));
  assert.deepEqual(foretold.host.nat.lines.map(({ uplink }) => uplink).sort(), ['cable', 'lte', 'radio']);
  assert.deepEqual(foretold.host, router.state.hostWish);
});

test('a config that only drops a policy takes its table and its rule away', () => {
  const changes = whatPolicy(settled(WITH_POLICIES).state, { ...WITH_POLICIES, policies: WITH_POLICIES.policies.slice(1) }, at(1500)).changes;
  assert.deepEqual([...new Set(changes.map((change) => change.op))], ['delete']);
  assert.equal(changes.filter((change) => 'rule' in change).length, 2, 'in both families');
});

test('the same config again changes nothing', () => {
  const router = settled(WITH_POLICIES);
  assert.deepEqual(whatPolicy(router.state, structuredClone(WITH_POLICIES), at(1500)).changes, []);
});

test('a forecast leaves no trace: the state is deeply what it was, and goes on as if nobody had asked', () => {
  const asked = settled(WITH_POLICIES);
  const other = settled(WITH_POLICIES);
  const before = structuredClone(asked.state);
  for (const name of ['fibre', 'cable', 'lte', 'nobody']) whatIf(asked.state, name, at(1500));
  whatPolicy(asked.state, policyOf([uplinkPolicy('lte')]), at(1500));
  assert.deepEqual(asked.state, before);
  for (const router of [asked, other]) {
    router.kernel.outside.setLink(linkOf('fibre', { carrier: false }));
    router.until(9000);
  }
  assert.deepEqual(asked.effects, other.effects);
});

test('asked while a plan is in flight, or while a quarrel is damped, it tells what would be done all the same', () => {
  const router = settled(THREE);
  const calm = whatIf(router.state, 'fibre', at(1500)).changes;
  router.state.repair.inFlight = true;
  router.state.repair.notBefore = at(9000);
  assert.deepEqual(whatIf(router.state, 'fibre', at(1500)).changes, calm);
});

test('with nothing to fall back on the forecast says so', () => {
  const router = settled(policyOf([uplinkPolicy('fibre')]), factsOf(['fibre']));
  const { decisions: [foretold], forgets } = whatIf(router.state, 'fibre', at(1500));
  assert.match(foretold!.decision.because, /^every uplink is cut off: fibre is down: no carrier on eth0$/);
  assert.deepEqual(forgets, []);
});

test('addresses of a routed prefix: taken out of use when its uplink is cut, given back by the config that has it no more, each once', () => {
  const routed: UplinkChoice = { prefix6: '2001:db8:f1b0::/48', translate: { 6: { kind: 'none' } } };
  const policy = policyOf([uplinkPolicy('fibre', routed), uplinkPolicy('lte')]);
  const facts = { ...DUAL, links: [...DUAL.links, linkOf('fibre', { index: 10, name: 'lan0' })], addresses: [...DUAL.addresses, addressOf('fibre', { family: 6, ifindex: 10, address: '2001:db8:f1b0:1::1' })] };
  const router = settled(policy, facts);
  const ofAddresses = (changes: readonly Change[]): readonly string[] => changes.flatMap((change) => ('address' in change ? [`${change.op} ${change.address.address}`] : []));
  assert.deepEqual(ofAddresses(whatIf(router.state, 'fibre', at(1500)).changes), ['deprecate 2001:db8:f1b0:1::1']);
  router.kernel.outside.setLink(linkOf('fibre', { carrier: false }));
  router.until(1600);
  assert.deepEqual(ofAddresses(applied(router)), ['deprecate 2001:db8:f1b0:1::1']);
  assert.deepEqual(ofAddresses(whatPolicy(router.state, policyOf([uplinkPolicy('lte')]), at(1600)).changes), ['prefer 2001:db8:f1b0:1::1']);
});
