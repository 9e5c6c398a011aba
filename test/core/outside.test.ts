/** What others say of an uplink, in the whole core: when it counts, how it ends; and all uplinks at once. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { takeOutside } from '../../src/core/judge.js';
import { status } from '../../src/core/status.js';
import type { Family, FamilyStatus, OutsideVerdict, Policy } from '../../src/model.js';
import { at, dualFacts, factsOf, linkOf, policyOf, uplinkPolicy } from './fixture.js';
import { openRouter, type Router } from './router.js';
import { openLife } from './uplink-life.js';

const NAMES = ['fibre', 'cable'] as const;

function open(changes: Parameters<typeof uplinkPolicy>[1] = {}): Router {
  return openRouter(policyOf(NAMES.map((name) => uplinkPolicy(name, changes)), { holdMs: 3000 }), factsOf(NAMES)).until(5000).fresh();
}

/** `undefined` = it has nothing to say any more. */
function says(router: Router, state: 'down' | 'up' | undefined, { uplink = 'fibre', by = 'noc', forMs = 30_000, token = 7 } = {}): Router {
  const verdict: OutsideVerdict | undefined = state === undefined ? undefined
    : { uplink, state, by, because: 'fibre cut at the crossing', since: at(router.now), until: at(router.now + forMs) };
  return router.give({ type: 'verdict', at: at(router.now), uplink, by, verdict, token });
}

function of(router: Router, uplink = 'fibre', family: Family = 4): FamilyStatus {
  return status(router.state, at(router.now)).uplinks.find((each) => each.uplink === uplink)!.families.find((each) => each.family === family)!;
}

const leader = (router: Router): string => router.state.planes.get(4)!.decision!.ranks[0]!.members.map(({ uplink }) => uplink).join('+');
const answers = (router: Router): readonly string[] => router.effects.flatMap((effect) => (effect.type === 'answer' ? [`${effect.token} ${effect.error}`.trim()] : []));

test('down: obeyed in the same turn, with who said so and why, and answered when the kernel shows it', () => {
  const router = says(open(), 'down');
  const { state, domain, because, evidence } = of(router);
  assert.deepEqual([state, domain, because], ['down', 'outside', 'noc says that it is down: fibre cut at the crossing']);
  assert.ok(evidence.some((each) => each.witness === 'outside' && each.name === 'noc' && each.says === 'silent'), JSON.stringify(evidence));
  assert.equal(leader(router), 'cable');
  assert.deepEqual(answers(router), ['7']);
  assert.ok(router.effects.some((effect) => effect.type === 'forget' && effect.order.uplink === 'fibre' && effect.order.which === 'all'), 'its old flows are cut over');
});

test('down: whatever answers, for as long as it was said, and then it has to prove itself', () => {
  const router = says(open(), 'down', { forMs: 20_000 }).until(24_900);
  assert.deepEqual([of(router).state, of(router).domain], ['down', 'outside']);
  router.until(25_100);
  assert.deepEqual([of(router).state, of(router).because], ['down', 'nobody says any more that it is down; waiting for 5 answers in a row']);
  router.until(29_000);
  assert.equal(of(router).state, 'down', 'the five answers have to be new ones');
  router.until(31_000);
  assert.equal(of(router).state, 'up');
  assert.equal(leader(router), 'cable', 'it has to hold');
  router.until(36_000);
  assert.equal(leader(router), 'fibre');
  assert.deepEqual(status(router.state, at(router.now)).uplinks[0]!.outside, []);
});

test('several witnesses: the last of those who say down ends it, and each has one verdict', () => {
  const router = says(says(open(), 'down', { by: 'a', forMs: 60_000 }), 'down', { by: 'b', forMs: 5000 }).until(11_000);
  assert.equal(of(router).domain, 'outside');
  says(router, 'down', { by: 'a', forMs: 2000 }).until(13_200);
  assert.equal(of(router).domain, 'none', 'the new one replaced the former');
});

test('withdrawn: by the one who said it, or all at once', () => {
  const router = says(says(open(), 'down', { by: 'a' }), 'down', { by: 'b' });
  says(router, undefined, { by: 'a', token: 8 });
  assert.equal(of(router).domain, 'outside');
  says(router, undefined, { by: '', token: 9 });
  assert.equal(of(router).domain, 'none');
  assert.deepEqual(answers(router), ['7', '7', '8', '9']);
});

test('up is one witness more: with a quorum of two, one target that answers is enough, as long as it is said', () => {
  const life = openLife(uplinkPolicy('fibre', { hosts: ['1.1.1.1', '9.9.9.9'], quorum: 2 }), () => 8).until(5000);
  const vouched = (until: number): OutsideVerdict => ({ uplink: 'fibre', state: 'up', by: 'noc', because: '', since: at(5000), until: at(until) });
  takeOutside(life.health, [vouched(60_000)], at(5000));
  life.answer = ({ target }) => (target === 'icmp 9.9.9.9' ? undefined : 8);
  life.until(30_000);
  assert.deepEqual([life.verdict().state, life.health.suspicions], ['up', 0]);
  life.answer = () => undefined;
  life.until(40_000);
  assert.equal(life.verdict().state, 'down', 'alone it is not enough');
  life.answer = ({ target }) => (target === 'icmp 9.9.9.9' ? undefined : 8);
  life.until(50_000);
  assert.deepEqual([life.verdict().state, life.verdict().because], ['up', 'icmp 1.1.1.1, noc answer; icmp 9.9.9.9 does not']);
  takeOutside(life.health, [], at(50_000));
  life.until(60_000);
  assert.equal(life.verdict().state, 'down', 'one of two is not two');
});

test('an uplink that is not in the config: the answer says so, and nothing else happens', () => {
  const router = says(open(), 'down', { uplink: 'satellite' });
  assert.deepEqual(answers(router), ['7 there is no uplink satellite']);
  assert.deepEqual(router.state.outside, []);
});

test('both families are condemned, also the one that comes later', () => {
  const router = openRouter(policyOf(NAMES.map((name) => uplinkPolicy(name))), dualFacts(NAMES)).until(5000);
  says(router, 'down');
  assert.deepEqual([of(router, 'fibre', 4).domain, of(router, 'fibre', 6).domain], ['outside', 'outside']);
  const late = says(open(), 'down');
  for (const address of dualFacts(NAMES).addresses.filter(({ family }) => family === 6)) late.kernel.outside.addAddress(address);
  for (const route of dualFacts(NAMES).foreignDefaults) late.kernel.outside.addRoute(route);
  late.until(12_000);
  assert.equal(of(late, 'fibre', 6).domain, 'outside');
});

test('a reload keeps what was said, and a line that was cut meanwhile is still condemned when it is back', () => {
  const router = says(open(), 'down', { forMs: 60_000 });
  const policy: Policy = { ...router.state.policy, uplinks: router.state.policy.uplinks.map((uplink) => ({ ...uplink, probe: { ...uplink.probe, intervalMs: 500 } })) };
  router.give({ type: 'policy', at: at(router.now), policy, token: 0 }).until(9000);
  assert.equal(of(router).domain, 'outside');
  router.kernel.outside.setLink(linkOf('fibre', { carrier: false }));
  router.until(10_000);
  assert.deepEqual([of(router).state, of(router).domain], ['down', 'link']);
  router.kernel.outside.setLink(linkOf('fibre'));
  router.until(20_000);
  assert.deepEqual([of(router).state, of(router).domain], ['down', 'outside']);
});

test('whoever sends another name each time is bounded', () => {
  const router = open();
  for (let i = 0; i < 500; i++) says(router.until(5000 + i), 'up', { by: `monitor ${i}` });
  assert.ok(router.state.outside.length <= 2 * 16 + 1, `${router.state.outside.length}`);
  assert.equal(router.state.outside.at(-1)!.by, 'monitor 499');
});

test('all uplinks at once: the verdicts say so, and somebody goes on carrying', () => {
  const router = open();
  NAMES.forEach((name) => router.alive.delete(name));
  router.until(20_000);
  for (const name of NAMES) {
    assert.deepEqual([of(router, name).state, of(router, name).domain], ['down', 'everything']);
    assert.match(of(router, name).because, /; all uplinks fell silent within \d+(\.\d)? m?s, which may be us or the targets$/);
    assert.ok(of(router, name).evidence.length > 0);
  }
  assert.equal(leader(router), 'fibre');
  assert.equal(router.state.planes.get(4)!.decision!.rule, 'last-resort');
  NAMES.forEach((name) => router.alive.add(name));
  router.until(40_000);
  for (const name of NAMES) assert.deepEqual([of(router, name).state, of(router, name).domain], ['up', 'none']);
});

test('two deaths at different times are two faults', () => {
  const router = open();
  router.alive.delete('fibre');
  router.until(20_000).alive.delete('cable');
  router.until(40_000);
  assert.deepEqual(NAMES.map((name) => of(router, name).domain), ['gateway', 'gateway']);
});

test('all at once, and one of them condemned besides: each reason is said once and stays', () => {
  const router = open();
  NAMES.forEach((name) => router.alive.delete(name));
  says(router.until(6500), 'down').until(9000).fresh();
  router.until(20_000);
  assert.equal(of(router).domain, 'outside');
  assert.ok(router.told().length <= 2, router.told().join('\n'));
});
