/** A new config beside running traffic: what moves with a line, what waits for the packet filter, and what is counted as a change. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { HostReport, Policy } from '../../src/model.js';
import { classesOf } from '../../src/core/classes.js';
import { classTableOf } from '../../src/core/layout.js';
import { status } from '../../src/core/status.js';
import { addressOf, at, dualFacts, factsOf, linkOf, policyOf, trafficPolicy, uplinkPolicy } from './fixture.js';
import { openRouter, type Router } from './router.js';

const TWO = policyOf([uplinkPolicy('fibre'), uplinkPolicy('cable')]);
const REPORT: HostReport = { natBackend: 'nftables', natInSync: true, natRepaired: false, sysctlsInSync: true, problems: [] };

const reload = (router: Router, policy: Policy): Router => router.give({ type: 'policy', at: at(router.now), policy, token: 0 });
/** The packet filter stands as it was wished last. */
const filtered = (router: Router): Router => router.give({ type: 'host', at: at(router.now), wish: router.state.hostWish!, report: REPORT });
const leader = (router: Router): string | undefined => router.state.planes.get(4)!.decision?.ranks[0]?.members[0]?.uplink;
const forgotten = (router: Router): readonly string[] => router.effects.flatMap((effect) => (effect.type === 'forget' && effect.order.astray === undefined ? [`${effect.order.uplink} ${effect.order.translatedTo}`] : []));

test('an uplink that is plugged into another interface: what was translated to its old address is forgotten', () => {
  const facts = { ...factsOf(['fibre', 'cable']), links: [linkOf('fibre'), linkOf('cable'), linkOf('radio')], addresses: ['fibre', 'cable', 'radio'].map((name) => addressOf(name as 'fibre')) };
  const router = filtered(openRouter(TWO, facts).until(1500)).until(2000).fresh();
  reload(router, policyOf([uplinkPolicy('fibre', { interface: 'eth3', gateway: { address: '100.64.0.1' } }), uplinkPolicy('cable')]));
  filtered(router).until(3000);
  assert.deepEqual(forgotten(router).slice(0, 1), ['fibre 198.51.100.2']);
});

test('an uplink that is only asked otherwise keeps what it carries', () => {
  const router = filtered(openRouter(TWO, factsOf(['fibre', 'cable'])).until(1500)).until(2000).fresh();
  reload(router, policyOf([uplinkPolicy('fibre', { intervalMs: 400 }), uplinkPolicy('cable')]));
  filtered(router).until(9000);
  assert.deepEqual(forgotten(router), []);
});

test('a new uplink carries nothing before the packet filter knows it: untranslated packets would leave', () => {
  const router = filtered(openRouter(policyOf([uplinkPolicy('cable')]), factsOf(['fibre', 'cable']), ['fibre', 'cable']).until(1500)).until(2000);
  reload(router, TWO).until(4000);
  assert.equal(leader(router), 'cable', 'fibre has answered, but has no masquerade yet');
  filtered(router);
  assert.equal(leader(router), 'fibre', 'at once');
});

test('a new uplink that is the last one left is not kept waiting', () => {
  const router = filtered(openRouter(policyOf([uplinkPolicy('cable')]), factsOf(['fibre', 'cable']), ['fibre', 'cable']).until(1500)).until(2000);
  reload(router, TWO).until(2500);
  router.kernel.outside.setLink(linkOf('cable', { carrier: false }));
  assert.equal(leader(router), 'fibre');
});

test('a policy sends nothing to an uplink that the packet filter does not know', () => {
  const policies = [trafficPolicy('voice', 'fibre>cable')];
  const router = filtered(openRouter(policyOf([uplinkPolicy('cable')]), factsOf(['fibre', 'cable']), ['fibre', 'cable']).until(1500)).until(2000);
  reload(router, { ...TWO, policies }).until(4000);
  assert.deepEqual(router.state.planes.get(4)!.decision!.fit.map(({ uplink }) => uplink), ['cable']);
});

test('a policy that may go by one uplink alone is not refused while that one is asked anew', () => {
  const policies = [trafficPolicy('voice', 'fibre', { otherwise: 'block' }), trafficPolicy('mail', 'fibre')];
  const router = filtered(openRouter({ ...TWO, policies }, factsOf(['fibre', 'cable'])).until(1500)).until(2000);
  reload(router, { ...policyOf([uplinkPolicy('fibre', { intervalMs: 400 }), uplinkPolicy('cable')]), policies });
  assert.equal(router.state.planes.get(4)!.health.get('fibre')!.state, 'unknown');
  const [voice, mail] = policies.map(({ name }) => classTableOf(classesOf(router.state.policy).of.get(name)!.slot));
  const tables = router.kernel.readOurs().routes.filter((route) => route.hops.length > 0).map((route) => route.table);
  assert.deepEqual([tables.includes(voice!), tables.includes(mail!)], [true, false], 'who may fall through goes by those that are known to work');
});

test('a family that nobody takes part in any more is a change of what is active, and has a generation of its own', () => {
  const six = dualFacts(['cable']);
  const facts = { ...six, links: [linkOf('fibre'), linkOf('cable')], addresses: [addressOf('fibre'), ...six.addresses.filter(({ family }) => family === 6)] };
  const router = filtered(openRouter(TWO, facts).until(3000));
  const before = status(router.state, at(router.now));
  assert.deepEqual(before.active.map(({ name, family }) => `${name} ${family}`), ['fibre 4', 'cable 6']);
  filtered(reload(router, policyOf([uplinkPolicy('fibre')]))).until(4000);
  const after = status(router.state, at(router.now));
  assert.deepEqual(after.active.map(({ name, family }) => `${name} ${family}`), ['fibre 4']);
  assert.ok(after.decision.generation > before.decision.generation);
});

test('policies that came and went twice before the packet filter followed are wished once', () => {
  const policies = [trafficPolicy('voice', 'cable>fibre')];
  const router = filtered(openRouter({ ...TWO, policies }, factsOf(['fibre', 'cable'])).until(1500)).until(2000);
  reload(router, { ...TWO, policies: [...policies, trafficPolicy('mail', 'cable')] });
  reload(router, TWO).fresh();
  router.kernel.outside.setLink(linkOf('cable', { carrier: false }));
  const told = router.until(2500).told().filter((text) => text.includes('refused'));
  assert.deepEqual([told, router.state.repair.inSync], [[], true]);
});

test('running connections that were to be cut after a deadline stay when a new config keeps them', () => {
  const [move, keep] = [policyOf(TWO.uplinks, { flows: 'move', drainMs: 20_000 }), policyOf(TWO.uplinks, { flows: 'keep' })];
  const returned = (): Router => {
    const router = filtered(openRouter(move, factsOf(['fibre', 'cable'])).until(1500)).until(2000);
    router.kernel.outside.setLink(linkOf('fibre', { carrier: false }));
    router.until(2500).kernel.outside.setLink(linkOf('fibre', { carrier: true }));
    while (leader(router) !== 'fibre') router.until(router.now + 10);
    return router.until(router.now + 5000).fresh();
  };
  const [kept, moved] = [returned(), returned()];
  assert.deepEqual(forgotten(reload(kept, keep).until(kept.now + 30_000)), []);
  assert.deepEqual(forgotten(reload(moved, policyOf(TWO.uplinks, { flows: 'move', drainMs: 60_000 })).until(moved.now + 30_000)), ['cable ', 'cable ']);
});

test('a reload is answered although others change the rules faster than ours can be looked at', () => {
  const router = filtered(openRouter(TWO, factsOf(['fibre', 'cable'])).until(1500)).until(2000).fresh();
  router.give({ type: 'policy', at: at(router.now), policy: policyOf(TWO.uplinks, { holdMs: 1000 }), token: 7 });
  // Each look takes 800 ms.
  const under = router.state.hostWish!;
  for (let i = 0; i < 8; i++) router.until(router.now + 100).give({ type: 'ruleset', at: at(router.now) });
  router.give({ type: 'host', at: at(router.now), wish: under, report: REPORT });
  assert.ok(router.effects.some((effect) => effect.type === 'answer' && effect.token === 7 && effect.error === ''));
});

test('connections are counted again when a config wants it that follows one that did not', () => {
  const router = filtered(openRouter(TWO, factsOf(['fibre', 'cable'])).until(1500)).until(2000);
  const counts = (): number => router.effects.filter((effect) => effect.type === 'count').length;
  reload(router, { ...TWO, lanInterfaces: [] }).until(4000).fresh();
  assert.equal(counts(), 0);
  reload(router, TWO).until(6000);
  assert.ok(counts() > 0);
});

test('devices are read a few times a second, and with each count while they speak against an alarm', () => {
  const router = filtered(openRouter(TWO, factsOf(['fibre', 'cable'])).until(1500)).until(2000);
  router.counts = [{ interface: 'elsewhere', family: 4, sentPackets: 0, sentBytes: 0, answeredPackets: 0, answeredBytes: 0, groups: [] }];
  router.until(router.now + 15_000);
  const reads = (ms: number): readonly string[] => {
    router.fresh().until(router.now + ms);
    return router.effects.filter((effect) => effect.type === 'count').map(({ devices }) => devices);
  };
  const { traffic } = router.state.planes.get(4)!.health.get('fibre')!;
  traffic.sentAt = at(router.now + 2000);
  const busy = reads(1000);
  assert.ok(busy.length > 50, 'something passes');
  const often = busy.filter((devices) => devices === 'flowtable').length;
  assert.ok(often >= 3 && often <= 4, `${often} times`);
  traffic.bypass.inDoubt = true;
  assert.deepEqual([...new Set(reads(200))], ['flowtable']);
  // Whoever is a tunnel rides on another line, by packets that nobody counts there.
  const uplinks = TWO.uplinks.map((uplink) => (uplink.name === 'fibre' ? uplink : { ...uplink, endpoints: ['192.0.2.77'] }));
  reload(router, { ...TWO, uplinks });
  assert.deepEqual([...new Set(reads(200))], ['yes']);
});
