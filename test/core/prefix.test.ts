/**
 * IPv6 prefixes that providers delegate: where they are seen, whose they are, what stands in place of the LAN's, and what
 * is told when a written one is over.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { desireHost } from '../../src/core/desire-host.js';
import { openHealth } from '../../src/core/health.js';
import { MAIN_TABLE } from '../../src/core/layout.js';
import { delegatedTo, learnPrefixes, translatedTo, type Delegation } from '../../src/core/prefix.js';
import { suspectPrefix } from '../../src/core/renumbered.js';
import { status } from '../../src/core/status.js';
import type { Address, HostReport, KernelFacts, Policy, Route, TrafficCount } from '../../src/model.js';
import { addressOf, at, dualFacts, linkOf, policyOf, uplinkPolicy, type LineName, type UplinkChoice } from './fixture.js';
import { openRouter, type Router } from './router.js';

const LAN = { index: 9, name: 'lan0' };
const LAN_PREFIX = 'fd00:a:1::/64';
const TWO: readonly LineName[] = ['fibre', 'cable'];
/** What fibre delegates, at first and later: nearer to its line's own 2001:db8:1::2 than to cable's 2001:db8:2::2. */
const [FIRST, LATER] = ['2001:db8:1:f100::/56', '2001:db8:1:f200::/56'];

const rest = (destination: string, changes: Partial<Route> = {}): Route =>
  ({ family: 6, table: MAIN_TABLE, destination, metric: 1024, protocol: 16, scope: 0, source: '', hops: [], ...changes });
const onLan = (address: string, changes: Partial<Address> = {}): Address =>
  addressOf('fibre', { family: 6, ifindex: LAN.index, address, ...changes });

function translated(prefix6: string, from = LAN_PREFIX): UplinkChoice {
  return { prefix6, translate: { 6: { kind: 'prefix', from, to: prefix6 === 'auto' ? '' : prefix6 } } };
}

function policy(fibre: UplinkChoice, cable: UplinkChoice = {}): Policy {
  return policyOf([uplinkPolicy('fibre', fibre), uplinkPolicy('cable', cable)]);
}

function facts(routes: readonly Route[], lan: readonly Address[] = [], six: readonly LineName[] = TWO): KernelFacts {
  const { links, addresses, ...others } = dualFacts(TWO, six);
  return { ...others, links: [...links, linkOf('fibre', LAN)], addresses: [...addresses, ...lan], foreignRoutes: routes };
}

/** What each of these moments shows, one after the other. */
function learnt(of: Policy, ...moments: readonly KernelFacts[]): Map<string, Delegation> {
  const known = new Map<string, Delegation>();
  moments.forEach((moment, second) => learnPrefixes(known, of, moment, at(1000 * second)));
  return known;
}

test('a delegated prefix is seen by the route that refuses the rest of it, and by LAN addresses that expire', () => {
  const of = policy(translated('auto'));
  const seen = (...moments: readonly KernelFacts[]): readonly string[] => delegatedTo('fibre', learnt(of, ...moments));
  assert.deepEqual(seen(facts([rest(FIRST)])), [FIRST]);
  assert.deepEqual(seen(facts([], [onLan('2001:db8:1:f101::1', { expires: true })])), ['2001:db8:1:f101::/64']);
  assert.deepEqual(seen(facts([rest(FIRST)], [onLan('2001:db8:1:f101::1', { expires: true })])), [FIRST], 'the whole of it');
  assert.deepEqual(seen(facts([], [onLan('2001:db8:1:f101::1')])), [], 'somebody wrote that');
  const ofTheLine = addressOf('fibre', { family: 6, address: '2001:db8:1:f101::1', expires: true });
  assert.deepEqual(seen(facts([], [ofTheLine])), [], 'on the line itself');
  assert.deepEqual(seen(facts([rest('fd00:1::/48'), rest(LAN_PREFIX)])), [], 'nobody delegates a ULA');
  const leading = rest(FIRST, { hops: [{ ifindex: LAN.index, via: 'fe80::7', weight: 1, onlink: false }] });
  assert.deepEqual(seen(facts([leading])), [], 'a route to somewhere');
});

test('the newest counts, one in use before a deprecated one; what is gone is forgotten', () => {
  const of = policy(translated('auto'));
  const both = facts([rest(FIRST), rest(LATER)]);
  assert.deepEqual(delegatedTo('fibre', learnt(of, facts([rest(FIRST)]), both)), [LATER, FIRST]);
  assert.deepEqual(delegatedTo('fibre', learnt(of, facts([rest(LATER)]), both)), [FIRST, LATER]);
  const [old, fresh] = ['2001:db8:1:f101::1', '2001:db8:1:f201::1'].map((address) => onLan(address, { expires: true }));
  const renewed = facts([], [fresh!, { ...old!, deprecated: true }]);
  const inOrder = delegatedTo('fibre', learnt(of, facts([], [fresh!]), renewed));
  assert.deepEqual(inOrder, ['2001:db8:1:f201::/64', '2001:db8:1:f101::/64']);
  assert.deepEqual(delegatedTo('fibre', learnt(of, both, facts([rest(LATER)]))), [LATER]);
});

test('whose it is: the uplink\'s whose prefix6 it lies in, or whose own addresses are most like it; in doubt nobody\'s', () => {
  const owner = (of: Policy, ...moments: readonly KernelFacts[]): string =>
    [...learnt(of, ...moments).values()].map(({ uplink }) => uplink).join();
  const [both, one] = [policy(translated('auto'), translated('auto')), policy(translated('auto'))];
  const far = rest('2a02:810:f000::/56');
  assert.equal(owner(both, facts([rest(FIRST)])), 'fibre');
  assert.equal(owner(both, facts([rest('2001:db8:2:f00::/56')])), 'cable');
  const written = policy(translated('auto'), translated('2001:db8:1:f100::/64'));
  assert.equal(owner(written, facts([rest(FIRST)])), 'cable', 'it is written down');
  assert.equal(owner(one, facts([rest('2001:db8:2:f00::/56')])), '', 'of the other line, which does not ask for it');
  assert.equal(owner(one, facts([far])), '', 'like neither');
  assert.equal(owner(both, facts([far], [], ['fibre'])), '', 'it may be that of cable, whose addresses nobody knows');
  assert.equal(owner(one, facts([far], [], ['fibre'])), 'fibre', 'nobody else has IPv6');
  assert.equal(owner(both, facts([rest(FIRST)]), facts([rest(FIRST)], [], ['cable'])), 'fibre', 'a dead line has no addresses');
  assert.equal(owner(policyOf([uplinkPolicy('fibre', translated('auto'))]), facts([far])), 'fibre', 'a line alone');
});

test('in place of the LAN\'s prefix: as much of the delegated one; the line\'s own address where it is smaller, or none is known', () => {
  const to = (from: string, ...routes: readonly Route[]): string => {
    const of = policy(translated('auto', from));
    return translatedTo(of.uplinks[0]!, from, learnt(of, facts(routes)));
  };
  assert.equal(to(LAN_PREFIX, rest(FIRST)), '2001:db8:1:f100::/64');
  assert.equal(to('fd00:a::/56', rest(FIRST)), FIRST);
  assert.equal(to('fd00:a::/48', rest(FIRST)), '');
  const of = policy(translated('auto'));
  const kind = (delegations: ReadonlyMap<string, Delegation>): unknown =>
    desireHost(of, new Map(), { delegations }).nat.lines[0]!.translate[6];
  assert.deepEqual(kind(new Map()), { kind: 'masquerade' });
  assert.deepEqual(kind(learnt(of, facts([rest(FIRST)]))), { kind: 'prefix', from: LAN_PREFIX, to: '2001:db8:1:f100::/64' });
});

test('connections get nothing: what they leave as, and what is delegated instead; where a prefix of the LAN leaves', () => {
  const words = (choice: UplinkChoice, routes: readonly Route[] = [], family: 4 | 6 = 6): readonly unknown[] => {
    const of = policy(choice);
    const found = suspectPrefix(openHealth(of.uplinks[0]!, family, at(0)), { delegations: learnt(of, facts(routes)) });
    return found === undefined ? [] : [found.isLikely, found.text];
  };
  const written = translated('2001:db8:1:f100::/64');
  const [as, why] = ['; they leave as 2001:db8:1:f100::/64', 'does the provider still route that to us?'];
  assert.deepEqual(words(written, [rest(LATER)]), [true, `${as}, and the provider delegates ${LATER} now`]);
  const doubt = [false, `${as}: ${why}`];
  assert.deepEqual(words(written), doubt);
  assert.deepEqual(words(translated('auto'), [rest(FIRST)]), doubt);
  assert.deepEqual(words({ prefix6: '2001:db8:1:f100::/64', translate: { 6: { kind: 'none' } } }), doubt);
  for (const none of [words({}), words(translated('auto')), words(written, [], 4)]) assert.deepEqual(none, []);
});

test('connections get nothing by the only line: that is told, and the line goes on', () => {
  const of = policy(translated('2001:db8:1:f100::/64'));
  const router = openRouter(of, facts([], [], ['fibre'])).until(2000);
  for (let second = 0; second < 40; second++) {
    const groups = Array.from({ length: 8 }, () => ({ sent: 3 * second, answered: 0 }));
    const none = { sentBytes: 0, answeredPackets: 0, answeredBytes: 0 };
    const counts: readonly TrafficCount[] = [{ interface: 'eth0', family: 6, sentPackets: 24 * second, ...none, groups }];
    router.give({ type: 'traffic', at: at(router.now), counts }).until(router.now + 1000);
  }
  const [words, ...more] = told(router);
  assert.match(words!, /^unanswered fibre \(IPv6\): .* get nothing; they leave as 2001:db8:1:f100::\/64: does the provider/);
  assert.deepEqual(more, []);
  assert.equal(router.state.planes.get(6)!.health.get('fibre')!.state, 'up');
});

// ------------------------------------------------------------------------------------------- in the whole core

const REPORT: HostReport = { natBackend: 'nftables', natInSync: true, natRepaired: false, sysctlsInSync: true, problems: [] };
const filtered = (router: Router): Router =>
  router.give({ type: 'host', at: at(router.now), wish: router.state.hostWish!, report: REPORT });

function told(router: Router): readonly string[] {
  const news = router.effects.flatMap((effect) => (effect.type === 'tell' ? [effect.news] : []));
  return news.filter(({ data }) => data['prefix'] !== undefined).map(({ data, text }) => `${data['prefix']} ${text}`);
}

function forgotten(router: Router): readonly string[] {
  const orders = router.effects.flatMap((effect) => (effect.type === 'forget' ? [effect.order] : []));
  return orders.filter(({ translatedTo: old }) => old !== '')
    .map(({ uplink, family, which, translatedTo: old }) => `${uplink} ${family} ${which} ${old}`);
}

function renumber(router: Router, from: string, to: string): Router {
  router.fresh().kernel.outside.addRoute(rest(to));
  router.kernel.outside.deleteRoute(rest(from));
  return router.give({ type: 'kernel', at: at(router.now), facts: router.kernel.readAll() }).until(router.now + 100);
}

test('learnt: NAT follows the new prefix at once, and connections under the old one are forgotten when it stands', () => {
  const router = filtered(openRouter(policy(translated('auto')), facts([rest(FIRST)])).until(2000));
  renumber(router, FIRST, LATER);
  const to = (): unknown => router.state.hostWish!.nat.lines.find(({ uplink }) => uplink === 'fibre')!.translate[6];
  assert.deepEqual(to(), { kind: 'prefix', from: LAN_PREFIX, to: '2001:db8:1:f200::/64' });
  assert.deepEqual(forgotten(router), [], 'not before the rules stand: it would be translated as before');
  filtered(router);
  assert.deepEqual(forgotten(router), ['fibre 6 all 2001:db8:1:f100::/64']);
  filtered(router.until(router.now + 2000));
  assert.deepEqual(forgotten(router).length, 2, 'and swept once');
  assert.deepEqual(told(router), []);
});

test('written: that the provider delegates another one is told once, in log and status, and over when the config names it', () => {
  const router = filtered(openRouter(policy(translated('2001:db8:1:f100::/64')), facts([rest(FIRST)])).until(2000));
  assert.deepEqual(told(router), []);
  renumber(router, FIRST, LATER).until(5000);
  const [words, ...more] = told(router);
  assert.match(words!, /^written .*: the provider delegates 2001:db8:1:f200::\/56, and .* prefix6, 2001:db8:1:f100::\/64: /);
  assert.deepEqual(more, []);
  assert.deepEqual(status(router.state, at(router.now)).host?.problems.length, 1);
  router.give({ type: 'policy', at: at(router.now), policy: policy(translated('auto')), token: 0 }).until(6000);
  assert.deepEqual(status(router.state, at(router.now)).host?.problems, []);
});

test('routed: what comes from a delegated prefix leaves by the line that it is of', () => {
  const of = policy({ prefix6: 'auto', translate: { 6: { kind: 'none' } } });
  const router = openRouter(of, facts([rest(FIRST)], [onLan('2001:db8:1:f101::1', { expires: true })])).until(2000);
  const sources = (): readonly string[] =>
    router.kernel.readOurs().rules.map(({ from }) => from).filter((from) => from.endsWith('/56'));
  assert.deepEqual(sources(), [FIRST]);
  renumber(router, FIRST, LATER);
  assert.deepEqual(sources(), [LATER]);
});

test('to be learnt, and nothing is to be seen: that is told', () => {
  const router = openRouter(policy(translated('auto')), facts([])).until(2000);
  const words = 'no delegated prefix is known, so the LAN goes out under the line\'s own address';
  assert.deepEqual(told(router), [`unknown fibre (IPv6): ${words}`]);
});
