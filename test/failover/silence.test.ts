/** Lines that go silent while the cable stays in: what only probes can see, and what must not be cut although it was silent. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { labUnavailable, now, until, waitFor } from '../lab/lab.js';
import { FAST, STEADY, assertUnhurt, carriers, said, stateOf, swallow, uplinkIn, untilSaid, untilState, withStory } from './story.js';

const skip = (await labUnavailable()) ?? false;

const BECAUSE = {
  gatewayDead: /^fibre is down: no answer from icmp 1\.1\.1\.1, icmp 9\.9\.9\.9 for [\d.]+ m?s; the gateway is silent too$/,
  upstreamDead: /^fibre is down: no answer from icmp 1\.1\.1\.1, icmp 9\.9\.9\.9 for [\d.]+ m?s$/,
};

for (const fault of ['gatewayDead', 'upstreamDead'] as const) {
  test(`${fault}: new flows leave first, then the running ones`, { skip }, () =>
    withStory({ config: { ...FAST, health: { sensitivity: 'fast', down: { after: '3s' } } } }, async ({ lab, daemon }) => {
      const [old, fresh] = await Promise.all([lab.stream({ kind: 'udp', rateHz: 50 }), lab.stream({ kind: 'new-udp', rateHz: 50 })]);
      const struck = await lab[fault]('fibre');
      await old.outageAfter(struck, { calmMs: 1000 });
      await fresh.outageAfter(struck, { calmMs: 1000 });
      assert.deepEqual([await carriers(old), await carriers(fresh)], [['cable'], ['cable']]);
      await untilSaid(daemon, BECAUSE[fault]);
      const steps = said(daemon, /^(fibre is suspect|active: cable|fibre is down)/).map((text) => /^\w+:? \w+( \w+)?/.exec(text)?.[0]);
      const first = (step: string): number => steps.findIndex((each) => each?.startsWith(step));
      const order = ['fibre is suspect', 'active: cable', 'fibre is down'].map(first);
      assert.deepEqual(order, [...order].sort((a, b) => a - b), steps.join());
    }));
}

test('silence is noticed although a reply may take longer than the pause between two probes', { skip }, () =>
  withStory({ config: { probe: { ...FAST.probe, interval: '200ms', timeout: '300ms' }, health: { sensitivity: 'fast', down: { after: '1s' } } } }, async ({ lab, daemon }) => {
    const fresh = await lab.stream({ kind: 'new-udp', rateHz: 50 });
    await fresh.outageAfter(await lab.gatewayDead('fibre'), { calmMs: 500 });
    assert.equal(uplinkIn(await daemon.untilActive('cable'), 'fibre')['domain'], 'gateway');
  }));

test('TCP connections that are begun within 500 ms before an upstream dies, or until it is noticed, succeed', { skip }, () =>
  withStory({ config: FAST }, async ({ lab }) => {
    const connects = await lab.stream({ kind: 'connect', rateHz: 50 });
    await until(now() + 500);
    const struck = await lab.upstreamDead('fibre');
    await connects.outageAfter(struck, { calmMs: 500, withinMs: 500 });
    const begun = await connects.samples({ since: struck.beganAt - 500, until: now(), graceMs: 5000 });
    const failed = begun.filter((one) => one.rttMs === undefined);
    assert.deepEqual(failed, []);
    const retried = begun.filter((one) => (one.rttMs ?? 0) > 500);
    assert.ok(retried.length > 0, 'the fault hit none of them');
    assert.ok(retried.every((one) => one.via === 'cable'), JSON.stringify(retried));
  }));

test('suspicion forgets what was never answered, so that a connect begun 200 ms before goes on elsewhere, and nothing else', { skip }, () =>
  withStory({ config: { ...STEADY, health: { sensitivity: 'calm', suspect: { failures: 1, burst: 3 } } } }, async ({ lab, daemon }) => {
    const tcp = await lab.stream({ kind: 'tcp' });
    await swallow(lab, 'fibre', 'ip daddr 8.8.8.8');
    const lonely = await lab.stream({ kind: 'connect', rateHz: 20, to: '8.8.8.8', answered: false });
    const [first] = await waitFor('a connect is begun', () => lonely.samples({ graceMs: 0 }), (seen) => seen.length > 0);
    const begunAt = first?.at ?? 0;
    await until(begunAt + 200);
    await lab.upstreamDead('fibre');
    const connect = await lonely.nearest(begunAt);
    assert.equal(connect.via, 'cable', JSON.stringify(connect));
    const status = await daemon.status();
    assert.equal(stateOf(status, 'fibre'), 'suspect', 'that was not the work of a later cut-over');
    assert.deepEqual(status.active.map((one) => one.name), ['cable']);
    await untilSaid(daemon, /^forgot \d+ unanswered connections of fibre$/);

    const mark = Number(uplinkIn(status, 'fibre')['mark']);
    const { flows } = await lab.view('router');
    assert.ok(flows.includes(`10 × tcp mark=${mark} ESTABLISHED ASSURED`), `established connections keep their mark ${mark}: ${flows.join('; ')}`);
    assert.deepEqual(flows.filter((flow) => flow.includes(`mark=${mark} SYN_SENT`)), []);
    await lab.heal('fibre');
    await untilState(daemon, 'fibre', 'up');
    await tcp.outageAfter(now(), { calmMs: 500 });
    assert.deepEqual(await tcp.broken(), []);
  }));

test('a hiccup that is shorter than `down.after` cuts no old flow', { skip }, () =>
  withStory({ config: { probe: FAST.probe, health: { sensitivity: 'balanced', down: { after: '20s' } } } }, async ({ lab, daemon }) => {
    const [old, tcp, fresh] = await Promise.all([lab.stream({ kind: 'udp', rateHz: 50 }), lab.stream({ kind: 'tcp' }), lab.stream({ kind: 'new-udp', rateHz: 50 })]);
    const struck = await lab.upstreamDead('fibre');
    await until(struck.doneAt + 400);
    const healed = await lab.heal('fibre');
    await untilState(daemon, 'fibre', 'up');
    await tcp.outageAfter(healed, { calmMs: 1000 });
    assert.deepEqual([await tcp.broken(), await carriers(tcp), await carriers(old)], [[], ['fibre'], ['fibre']]);
    assert.deepEqual(said(daemon, /fibre is down|forgot \d+ connections/), []);
    // Where the hiccup was noticed, new flows rest elsewhere for a while and come back, which hurts nobody.
    const since = now();
    await daemon.untilActive('fibre');
    assert.deepEqual(await carriers(fresh), ['fibre']);
    await assertUnhurt({ old, tcp, fresh }, since);
  }));

test('a target that dies alone costs no switch and no packet', { skip }, () =>
  withStory({}, async ({ lab, daemon }) => {
    const [old, fresh] = await Promise.all([lab.stream({ kind: 'udp', rateHz: 50 }), lab.stream({ kind: 'new-udp', rateHz: 50 })]);
    const before = await daemon.status();
    const since = now();
    await swallow(lab, 'fibre', 'ip daddr 9.9.9.9');
    const lossIn = (target: string, uplink: { readonly [key: string]: unknown }): number =>
      (uplink['targets'] as readonly { readonly target: string; readonly lossPercent: number | null }[]).find((one) => one.target === target)?.lossPercent ?? 0;
    const status = await daemon.until('the loss of 9.9.9.9 is seen', ({ uplinks }) => uplinks[0] !== undefined && lossIn('icmp 9.9.9.9', uplinks[0]) > 40);
    assert.deepEqual([stateOf(status, 'fibre'), uplinkIn(status, 'fibre')['suspicions'], status['generation']], ['up', 0, before['generation']]);
    assert.equal(lossIn('icmp 1.1.1.1', uplinkIn(status, 'fibre')), 0);
    await assertUnhurt({ old, fresh }, since);
    assert.deepEqual(await carriers(fresh), ['fibre']);
  }));

test('all uplinks silent at once: the choice stays, the daemon says so, and flows survive', { skip }, () =>
  withStory({ config: FAST }, async ({ lab, daemon }) => {
    const [old, tcp, fresh] = await Promise.all([lab.stream({ kind: 'udp', rateHz: 50 }), lab.stream({ kind: 'tcp' }), lab.stream({ kind: 'new-udp', rateHz: 50 })]);
    const struck = await lab.allDead();
    const status = await daemon.until('all uplinks are down', ({ uplinks }) => uplinks.every((uplink) => uplink.state === 'down'));
    assert.deepEqual(status.active.map((one) => one.name), ['fibre']);
    assert.match(String(status['because']), /all uplinks are silent, which may be us or the targets; fibre stays/);
    const healed = await lab.allBack();
    const [running, connections, begun] = [await old.outageAfter(struck), await tcp.outageAfter(healed, { calmMs: 500 }), await fresh.outageAfter(struck)];
    assert.deepEqual([Object.keys(running.via), Object.keys(connections.via), Object.keys(begun.via)], [['fibre'], ['fibre'], ['fibre']]);
    assert.deepEqual(await tcp.broken(), []);
    const after = await daemon.until('every uplink is up', ({ uplinks }) => uplinks.every((uplink) => uplink.state === 'up'));
    await waitFor('the reason is no longer silence', daemon.status, (seen) => !/silent/.test(String(seen['because'])));
    assert.deepEqual(after.active.map((one) => one.name), ['fibre']);
    assert.deepEqual(said(daemon, /forgot \d+ (unanswered )?connections of fibre/), []);
  }));
