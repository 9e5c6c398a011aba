/** The turn: what comes out of the core, in which order, and what waits for what. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ACTIVE_TABLE, MAIN_TABLE } from '../../src/core/layout.js';
import { showChange } from '../../src/core/plan.js';
import { status } from '../../src/core/status.js';
import { step } from '../../src/core/step.js';
import { carryOut } from '../../src/kernel/door.js';
import type { Change, Effect, Policy } from '../../src/model.js';
import { at, bare, factsOf, foreignDefault, linkOf, policyOf, uplinkPolicy } from './fixture.js';
import { openRouter, untilNext, type Router } from './router.js';

const TWO = policyOf([uplinkPolicy('fibre'), uplinkPolicy('cable')]);
const FACTS = factsOf(['fibre', 'cable']);

const settled = (policy: Policy = TWO, facts = FACTS): Router => openRouter(policy, facts).until(1500).fresh();
const devices = (router: Router, table: number): readonly string[] => router.kernel.readOurs().routes.filter((route) => route.table === table)
  .sort((a, b) => a.metric - b.metric).map((route) => route.hops.map((hop) => (hop.ifindex === 2 ? 'fibre' : 'cable')).join('+'));
const kinds = (router: Router): readonly Effect['type'][] => router.effects.map((effect) => effect.type);
const answers = (router: Router): readonly (readonly [number, string])[] => router.effects.flatMap((effect) => (effect.type === 'answer' ? [[effect.token, effect.error] as const] : []));
const plans = (router: Router): readonly (readonly string[])[] => router.effects.flatMap((effect) => (effect.type === 'apply' ? [effect.plan.changes.map((change) => showChange(change, FACTS.links))] : []));

test('the first read: lines are bound before anything is asked, and all that carries no flows yet is laid', () => {
  const router = openRouter(TWO, FACTS);
  assert.equal(kinds(router)[0], 'bind');
  assert.equal(router.kernel.readOurs().rules.length, 8);
  assert.deepEqual([devices(router, ACTIVE_TABLE), devices(router, MAIN_TABLE)], [[], []], 'nothing steers before there is a decision');
});

test('the first decision stands in the kernel within milliseconds of the first answer', () => {
  const router = openRouter(TWO, FACTS).until(20);
  assert.deepEqual([devices(router, ACTIVE_TABLE), devices(router, MAIN_TABLE)], [['fibre', 'cable'], ['fibre', 'cable']]);
  assert.deepEqual(router.told().filter((text) => text.startsWith('active')), ['active: fibre; fibre is up and preferred (priority 1)']);
});

test('ready is said when the first decision was read back and NAT stands, not before', () => {
  const router = openRouter(TWO, FACTS).until(20);
  assert.equal(status(router.state, at(20)).controller.ready, false);
  router.give({ type: 'host', at: at(25), wish: router.state.hostWish!, report: { natBackend: 'nftables', natInSync: true, natRepaired: false, sysctlsInSync: true, problems: [] } });
  assert.equal(status(router.state, at(25)).controller.ready, true);
  assert.deepEqual(router.told().filter((text) => text.startsWith('ready')), ['ready: the first decision and NAT stand in the kernel']);
});

test('a restart adopts what stands: no change at all, but for a bridge that was left', () => {
  const former = settled();
  const left = former.kernel.readAll();
  const span = { ...left.routes.find((route) => route.table === ACTIVE_TABLE && route.metric === 30)!, metric: 29 };
  const again = openRouter(TWO, { ...left, routes: [...left.routes, span] });
  assert.deepEqual(again.state.planes.get(4)?.decision?.rule, 'adopted');
  assert.deepEqual(again.state.planes.get(4)?.decision?.ranks.map((rank) => rank.members.map((member) => member.uplink)), [['fibre'], ['cable']]);
  assert.deepEqual(plans(again), [['ip route del default via 198.51.100.1 dev eth0 table 9400 proto 147 metric 29 onlink']]);
  again.until(1500);
  assert.deepEqual(devices(again, ACTIVE_TABLE), ['fibre', 'cable']);
  assert.equal(again.state.planes.get(4)?.decision?.generation, 1);
});

test('a cut cable: the switch is in the step that hears of it', () => {
  const router = settled();
  router.kernel.outside.setLink(linkOf('fibre', { carrier: false }));
  assert.deepEqual([devices(router, ACTIVE_TABLE), devices(router, MAIN_TABLE)], [['cable'], ['cable']]);
  assert.deepEqual(kinds(router).filter((kind) => kind === 'apply' || kind === 'forget'), ['apply', 'forget'], 'flows are forgotten after the read-back');
  assert.match(router.told().join('\n'), /fibre is down: no carrier on eth0\nactive: cable; fibre is down: no carrier on eth0; cable is next \(priority 2\)/);
});

test('nothing is forgotten while the kernel does not show something better', () => {
  const router = settled();
  router.instead = () => [];
  router.kernel.outside.setLink(linkOf('fibre', { carrier: false }));
  assert.deepEqual(kinds(router).filter((kind) => kind === 'forget'), [], 'it says it did, and did not');
  router.instead = undefined;
  router.until(router.now + 1200);
  assert.deepEqual(router.effects.flatMap((effect) => (effect.type === 'forget' ? [[effect.order.uplink, effect.order.which]] : [])), [['fibre', 'all']]);
});

test('nothing is forgotten when nothing better is left', () => {
  const router = untilNext(settled(), 'fibre');
  router.alive.clear();
  router.until(9000);
  assert.equal(router.state.planes.get(4)?.decision?.rule, 'last-resort');
  assert.deepEqual([kinds(router).filter((kind) => kind === 'forget'), devices(router, ACTIVE_TABLE)], [[], ['fibre', 'cable']]);
});

test('nothing is forgotten while the one that was left still stands in the kernel\'s ACTIVE', () => {
  const router = settled();
  const stubborn = (change: Change): boolean => change.op === 'delete' && 'route' in change && change.route.metric === 30;
  router.instead = (plan) => carryOut(plan, (change) => (stubborn(change) ? 'EBUSY: not now' : router.kernel.apply({ changes: [bare(change)] })[0]?.error ?? ''));
  router.kernel.outside.setLink(linkOf('fibre', { carrier: false }));
  assert.ok(devices(router, ACTIVE_TABLE).includes('fibre') && devices(router, ACTIVE_TABLE)[0] === 'cable', devices(router, ACTIVE_TABLE).join());
  assert.ok(!kinds(router).includes('forget'));
  router.instead = undefined;
  router.until(router.now + 9000);
  assert.ok(kinds(router).includes('forget'));
});

test('an order to obey a dead uplink puts nothing better in the place of another that dies', () => {
  const router = settled();
  router.kernel.outside.setLink(linkOf('cable', { carrier: false }));
  router.order({ uplink: 'cable', ifDead: 'obey' }).fresh();
  router.kernel.outside.setLink(linkOf('fibre', { carrier: false }));
  router.until(router.now + 500);
  assert.ok(!kinds(router).includes('forget'));
});

test('suspicion forgets what was never answered, death forgets all, and sweeps once more a second later', () => {
  const router = settled();
  router.alive.delete('fibre');
  router.until(9000);
  assert.deepEqual(router.effects.flatMap((effect) => (effect.type === 'forget' ? [effect.order.which] : [])), ['unanswered', 'all', 'all']);
});

test('one plan at a time: what is heard before its outcome is read back makes no second one', () => {
  const { state } = settled();
  const link = linkOf('fibre', { carrier: false });
  const first = step(state, { type: 'links', at: at(1501), told: true, links: [link], gone: [] });
  assert.equal(first.effects.filter((effect) => effect.type === 'apply').length, 1);
  const second = step(state, { type: 'links', at: at(1502), told: false, links: [linkOf('cable', { carrier: false })], gone: [] });
  assert.equal(second.effects.filter((effect) => effect.type === 'apply').length, 0);
  const third = step(state, { type: 'applied', at: at(1503), failures: [], facts: {} });
  assert.equal(third.effects.filter((effect) => effect.type === 'apply').length, 1, 'now it is time');
});

test('a device that is switched off, deleted or made is read again in the same turn', () => {
  for (const change of [(r: Router) => r.kernel.outside.setLink(linkOf('fibre', { adminUp: false, carrier: false })), (r: Router) => r.kernel.outside.deleteLink(2), (r: Router) => r.kernel.outside.setLink(linkOf('lte'))]) {
    const router = settled();
    change(router);
    assert.ok(kinds(router).includes('read'));
  }
});

test('after any link event the links are asked every 10 ms for a second, then every 100 ms', () => {
  const router = settled(TWO, factsOf(['fibre', 'cable', 'lte']));
  router.kernel.outside.setLink(linkOf('lte', { carrier: false }));
  const looks = (): number => kinds(router).filter((kind) => kind === 'look').length;
  router.fresh().until(router.now + 990);
  assert.ok(looks() >= 95, `${looks()} in the first second`);
  router.until(router.now + 20).fresh().until(router.now + 1000);
  assert.ok(looks() >= 9 && looks() <= 11, `${looks()} in the next`);
});

test('an order is answered when the kernel was read back, and not before', () => {
  const router = settled().order({ uplink: 'cable' }, 7);
  assert.deepEqual(kinds(router).filter((kind) => ['save', 'apply', 'answer'].includes(kind)), ['save', 'apply', 'answer']);
  assert.deepEqual([answers(router), devices(router, ACTIVE_TABLE)], [[[7, '']], ['cable', 'fibre']]);
  router.fresh().give({ type: 'override', by: 'noc', at: at(router.now), override: undefined, token: 8 }).until(router.now + 31_000);
  assert.deepEqual([answers(router), devices(router, ACTIVE_TABLE)], [[[8, '']], ['fibre', 'cable']]);
});

test('an order that the kernel refuses, or only says that it carried out, is not answered with "done"', () => {
  const refused = settled();
  refused.instead = (plan) => [{ index: 0, change: plan.changes[0]!, error: 'EPERM: not for you' }];
  refused.order({ uplink: 'cable' });
  assert.match(answers(refused)[0]![1], /^your order is noted and tried again, but the kernel refused: ip route add default via 203\.0\.113\.1 dev eth1 .*: EPERM: not for you$/);
  const lied = settled();
  lied.instead = () => [];
  lied.order({ uplink: 'cable' });
  assert.deepEqual(answers(lied), [[1, 'your order is noted and tried again, but the kernel does not show the routes that it was given']]);
});

test('an order that cannot be meant is refused with the reason, and changes nothing', () => {
  const router = settled().order({ uplink: 'fiber' }, 1);
  router.give({ type: 'confirm', by: 'noc', at: at(router.now), token: 2 });
  router.kernel.outside.setLink(linkOf('cable', { carrier: false }));
  router.order({ uplink: 'cable' }, 3).order({ uplink: 'fibre' }, 4).give({ type: 'confirm', by: 'noc', at: at(router.now), token: 5 });
  assert.deepEqual(answers(router), [
    [1, 'there is no uplink fiber'], [2, 'no override is set'],
    [3, 'cable is down (no carrier on eth1): switching to it would cut you off; --if-dead obey insists'], [4, ''], [5, 'the override needs no confirmation'],
  ]);
});

test('an order ends at its time, and when nobody confirms it; a confirmed one stays', () => {
  const ends = settled().order({ uplink: 'cable', until: at(5000) }).until(4999);
  assert.deepEqual(devices(ends, ACTIVE_TABLE), ['cable', 'fibre']);
  assert.equal(ends.until(5001).state.override, undefined);
  assert.match(ends.told().join('\n'), /the override on cable ended: its time is over; back to automatic/);
  const alone = settled().order({ uplink: 'cable', confirmBy: at(5000) }).until(5001);
  assert.match(alone.told().join('\n'), /the override on cable ended: it was not confirmed in time; back to automatic/);
  const confirmed = settled().order({ uplink: 'cable', confirmBy: at(5000) }).give({ type: 'confirm', by: 'noc', at: at(1600), token: 2 }).until(9000);
  assert.deepEqual(devices(confirmed, ACTIVE_TABLE), ['cable', 'fibre']);
  assert.deepEqual(confirmed.effects.flatMap((effect) => (effect.type === 'save' ? [effect.override?.confirmBy] : [])), [5000, undefined]);
});

test('an order to obey a dead uplink says so in the decision, in the words of the log', () => {
  const router = settled().order({ uplink: 'cable', ifDead: 'obey' });
  router.kernel.outside.setLink(linkOf('cable', { carrier: false }));
  assert.equal(router.state.planes.get(4)?.decision?.because, 'noc switched to cable; it is down, but the order is to obey');
  assert.ok(router.told().includes('active: cable; noc switched to cable; it is down, but the order is to obey'));
  assert.deepEqual(status(router.state, at(router.now)).active, [], 'and nothing is active: no frame can leave');
});

test('what somebody else deleted is put back: four times at once, then ever slower, at most every five seconds', () => {
  const router = settled();
  const applied: number[] = [];
  for (; router.now < 40_000; router.until(router.now + 10)) {
    const leading = router.kernel.readOurs().routes.find((route) => route.table === ACTIVE_TABLE && route.metric === 30);
    const before = router.state.repair.applied;
    if (leading !== undefined) router.kernel.outside.deleteRoute(leading);
    if (router.state.repair.applied > before) applied.push(router.now);
  }
  const gaps = router.effects.filter((effect) => effect.type === 'apply').length;
  assert.ok(gaps >= 10 && gaps <= 14, `${gaps} plans in 38 s`);
  assert.ok(router.told().some((text) => /^putting back what somebody else changed: ip route add default via 198\.51\.100\.1/.test(text)));
  router.kernel.outside.setLink(linkOf('fibre', { carrier: false }));
  assert.deepEqual(devices(router, ACTIVE_TABLE), ['cable'], 'a failover does not wait for a quarrel');
});

test('a quarrel about different things in turn is a quarrel, too', () => {
  const router = settled();
  for (let i = 0; i < 200; i++) {
    const ours = router.kernel.readOurs().routes.filter((route) => route.table === ACTIVE_TABLE);
    ours.slice(0, 1 + (i % 2)).forEach((route) => router.kernel.outside.deleteRoute(route));
    router.until(router.now + 20);
  }
  assert.ok(router.effects.filter((effect) => effect.type === 'apply').length < 12);
});

test('a refusal is told once, and the delete of what is gone is none', () => {
  const router = settled();
  const failures = (plan: { readonly changes: readonly Change[] }) => plan.changes.map((change, index) => ({ index, change, error: change.op === 'delete' ? 'ESRCH: there is none such' : 'ENOBUFS: no memory' }));
  router.instead = (plan) => failures(plan);
  router.kernel.outside.setLink(linkOf('fibre', { carrier: false }));
  router.until(12_000);
  const refusals = router.told().filter((text) => text.startsWith('the kernel refused'));
  assert.ok(refusals.length > 0);
  assert.deepEqual(refusals.filter((text) => text.includes('delete')), []);
  assert.equal(new Set(refusals).size, refusals.length);
});

test('a reload keeps what is known of an uplink, unless it is to be asked otherwise', () => {
  const router = settled();
  router.kernel.outside.setLink(linkOf('cable', { carrier: false }));
  router.kernel.outside.setLink(linkOf('cable'));
  router.until(9000).fresh();
  const next = policyOf([uplinkPolicy('fibre', { priority: 9 }), uplinkPolicy('cable', { sensitivity: 'fast' })], { holdMs: 1000 });
  router.give({ type: 'policy', at: at(router.now), policy: next, token: 0 });
  assert.deepEqual([...router.state.planes.get(4)!.health.values()].map((health) => [health.state, health.downs]), [['up', 0], ['unknown', 1]]);
  router.until(router.now + 1200);
  assert.deepEqual(devices(router, ACTIVE_TABLE), ['cable', 'fibre']);
});

test('a reload without an uplink takes all that was its own out of the kernel', () => {
  const router = settled().give({ type: 'policy', at: at(1500), policy: policyOf([TWO.uplinks[1]!]), token: 0 });
  const { routes, rules } = router.kernel.readOurs();
  assert.deepEqual([routes.filter((route) => route.hops[0]!.ifindex === 2), rules.filter((rule) => rule.outInterface === 'eth0')], [[], []]);
  assert.deepEqual(devices(router, ACTIVE_TABLE), ['cable']);
});

test('an emptied main with gateways learnt from it: everything comes back, nothing goes down', () => {
  const policy = policyOf([uplinkPolicy('fibre', { gateway: 'auto' }), uplinkPolicy('cable', { gateway: 'auto' })]);
  const router = settled(policy, factsOf(['fibre', 'cable'], { foreignDefaults: [foreignDefault('fibre', 100), foreignDefault('cable', 101)] }));
  for (const route of [...router.kernel.readAll().foreignDefaults, ...router.kernel.readOurs().routes.filter((r) => r.table === MAIN_TABLE)]) router.kernel.outside.deleteRoute(route);
  router.until(3000);
  assert.deepEqual([...router.state.planes.get(4)!.health.values()].map((health) => health.state), ['up', 'up']);
  assert.deepEqual([devices(router, ACTIVE_TABLE), devices(router, MAIN_TABLE)], [['fibre', 'cable'], ['fibre', 'cable']]);
});

test('who leads is doubted: the others are asked at once; who does not lead is doubted: nobody else is', () => {
  const asked = (silent: string, other: string): number => {
    const router = settled();
    router.alive.delete(silent);
    while (router.state.planes.get(4)!.health.get(silent)!.burst === undefined) router.fresh().until(router.now + 0.5);
    return router.effects.filter((effect) => effect.type === 'probe' && effect.order.uplink === other).length;
  };
  assert.equal(asked('fibre', 'cable') - asked('cable', 'fibre'), 3);
});

test('being late is not hidden by what is read first: the core keeps asking for the moment that has passed', () => {
  const { state } = settled();
  const late = step(state, { type: 'reply', at: at(4000), uplink: 'cable', family: 4, target: 'gateway', seq: 9999, rttMs: 1 });
  assert.ok(late.wakeAt < 1700, `wake at ${late.wakeAt}`);
});

test('a snapshot can be tried out, and leaves the state as it was', () => {
  const { state } = settled();
  const before = JSON.stringify([...state.planes.get(4)!.health.values()]);
  const trial = structuredClone(state);
  const { effects } = step(trial, { type: 'links', at: at(1501), told: true, links: [linkOf('fibre', { carrier: false })], gone: [] });
  assert.ok(effects.some((effect) => effect.type === 'apply'));
  assert.deepEqual([state.planes.get(4)?.decision?.ranks[0]?.members[0]?.uplink, JSON.stringify([...state.planes.get(4)!.health.values()])], ['fibre', before]);
});

test('status says of each target and uplink what is known, as of now', () => {
  const router = settled();
  router.alive.delete('cable');
  router.until(8000);
  const told = status(router.state, at(8000));
  assert.deepEqual(told.active, [{ name: 'fibre', interface: 'eth0', gateway: '198.51.100.1', family: 4, weight: 1 }]);
  assert.deepEqual(told.uplinks.map(({ uplink, state, active, rank, domain }) => [uplink, state, active, rank, domain]), [
    ['fibre', 'up', true, 0, 'none'], ['cable', 'down', false, undefined, 'gateway'],
  ]);
  assert.deepEqual(told.uplinks[0]!.targets.map(({ target, answering, lossPercent, rttMs }) => [target, answering, lossPercent, Math.round(rttMs!)]), [['gateway', true, 0, 8], ['icmp 1.1.1.1', true, 0, 8], ['icmp 9.9.9.9', true, 0, 8]]);
  assert.deepEqual(told.uplinks[1]!.targets.map(({ answering }) => answering), [false, false, false]);
  assert.deepEqual([told.kernel.inSync, told.kernel.failures, told.uplinks[1]!.downs], [true, [], 1]);
});
