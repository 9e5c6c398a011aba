/**
 * Lines that go silent while the cable stays in: what only probes can see, where it broke, and what must not be cut although it was silent. Every fault
 * that the lab can make is named by its domain, with what the witnesses said.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { labUnavailable, now, until, waitFor } from '../lab/lab.js';
import type { Lab } from '../lab/lab.js';
import { assertTold, beStrict, openSockets } from './sockets.js';
import { FAST, assertUnhurt, carriers, said, settled, shareStory, stateOf, swallow, uplinkIn, untilSaid, untilState } from './story.js';

const skip = (await labUnavailable()) ?? false;
const tell = shareStory({ topology: { isps: 2 }, before: beStrict });

const WITH_HOP = [{ icmp: 'gateway' }, { hop: { hops: 2, interval: '200ms' } }, { icmp: '1.1.1.1' }, { icmp: '9.9.9.9' }] as const;

interface Fault {
  readonly domain: string;
  readonly strike: (lab: Lab) => Promise<unknown>;
  readonly because: RegExp;
  /** In words: who says what. */
  readonly evidence: RegExp;
  /** Said in this order. */
  readonly steps: readonly string[];
}

const SILENT = ['fibre is suspect', 'active: cable', 'fibre is down'] as const;

const FAULTS: readonly Fault[] = [
  { domain: 'link', strike: async (lab) => lab.cutCable('fibre'), because: /carrier/, evidence: /^line isp0 silent$/, steps: ['fibre is down', 'active: cable'] },
  { domain: 'gateway', strike: async (lab) => lab.gatewayDead('fibre'), because: /; the gateway is silent too$/, evidence: /target gateway silent/, steps: SILENT },
  {
    domain: 'hops', strike: async (lab) => lab.upstreamDead('fibre'), because: /; the gateway answers, the first router beyond it does not$/,
    evidence: /target gateway (alive|poor).*target hop 2 silent/, steps: SILENT,
  },
  // What is to go further than the second router is dropped.
  {
    domain: 'upstream', strike: async (lab) => swallow(lab, 'fibre', 'ip daddr != 198.51.100.1 ip ttl > 8'), because: /; the first router beyond the gateway answers$/,
    evidence: /target gateway (alive|poor).*target hop 2 (alive|poor)/, steps: SILENT,
  },
];

test('a cut cable, a dead gateway, a break behind it and one further away are told apart, with what each witness said: new flows leave first, then the running ones', { skip }, () =>
  tell(async ({ lab, daemon }) => {
    const [client, fresh] = await Promise.all([openSockets(lab), lab.stream({ kind: 'new-udp', rateHz: 50 })]);
    for (const { domain, strike, because, evidence, steps } of FAULTS) {
      await daemon.untilActive('fibre');
      await daemon.until('the hop answers', (status) => hopAnswers(status));
      const [udp, ...tcp] = await Promise.all([client.hold(), client.hold({ protocol: 'tcp' }), client.hold({ protocol: 'tcp', everyMs: 0 })]);
      const told = said(daemon, /./).length;
      await strike(lab);
      const status = await daemon.until(`fibre is down, domain ${domain}`, (seen) => stateOf(seen, 'fibre') === 'down' && uplinkIn(seen, 'fibre')['domain'] === domain);
      assert.match(uplinkIn(status, 'fibre').because, because);
      assert.match(evidenceIn(status), evidence);
      assert.deepEqual([stateOf(status, 'cable'), uplinkIn(status, 'cable')['domain']], ['up', 'none']);
      await daemon.untilActive('cable');
      assert.deepEqual(await carriers(fresh), ['cable']);
      await waitFor('the running flow goes by cable', async () => client.carrier((await client.one(udp)).seen), (carrier) => carrier === 'cable');
      await assertTold(client, tcp);
      const first = (step: string): number => said(daemon, /./).slice(told).findIndex((each) => each.startsWith(step));
      const order = steps.map(first);
      assert.deepEqual([...order].sort((a, b) => a - b), order, said(daemon, /./).slice(told).join('\n'));
      assert.ok(order.every((index) => index >= 0), said(daemon, /./).slice(told).join('\n'));
      await lab.loss('fibre', 0);
      await lab.heal('fibre');
      await settled(daemon);
    }
    await client.end();
  }, { ...FAST, probe: { targets: WITH_HOP } }));

test('TCP connections that are begun within 500 ms before an upstream dies, or until it is noticed, succeed', { skip }, () =>
  tell(async ({ lab }) => {
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
  }, FAST));

test('suspicion forgets what was never answered, so that a connect begun 200 ms before goes on elsewhere, and nothing else', { skip }, () =>
  tell(async ({ lab, daemon }) => {
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
    await lab.loss('fibre', 0);
    await tcp.outageAfter(now(), { calmMs: 500 });
    assert.deepEqual(await tcp.broken(), []);
  }, { health: { sensitivity: 'calm', suspect: { failures: 1, burst: 3 } } }));

test('a hiccup that is shorter than `down.after` cuts no old flow', { skip }, () =>
  tell(async ({ lab, daemon }) => {
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
  }, { probe: FAST.probe, health: { sensitivity: 'balanced', down: { after: '20s' } } }));

test('a target that dies alone is named after ten seconds, and costs no switch and no packet; it is forgiven when it answers', { skip }, () =>
  tell(async ({ lab, daemon }) => {
    const [old, fresh] = await Promise.all([lab.stream({ kind: 'udp', rateHz: 50 }), lab.stream({ kind: 'new-udp', rateHz: 50 })]);
    const since = now();
    const before = await daemon.status();
    await lab.deadTarget('9.9.9.9', { isp: 'fibre' });
    const status = await daemon.until('the target is named', (seen) => uplinkIn(seen, 'fibre')['domain'] === 'target');
    assert.ok(now() - since > 9000, `after ${now() - since} ms`);
    assert.equal(uplinkIn(status, 'fibre').because, 'icmp 1.1.1.1 answers; icmp 9.9.9.9 does not');
    assert.match(evidenceIn(status), /target icmp 1\.1\.1\.1 alive; target icmp 9\.9\.9\.9 silent/);
    const suspicions = (seen: typeof status): unknown => uplinkIn(seen, 'fibre')['suspicions'];
    assert.deepEqual([stateOf(status, 'fibre'), suspicions(status), status['generation']], ['up', suspicions(before), before['generation']]);
    assert.ok(lossIn('icmp 9.9.9.9', status) > 40 && lossIn('icmp 1.1.1.1', status) === 0, JSON.stringify(uplinkIn(status, 'fibre')['targets']));
    await lab.healTarget('9.9.9.9');
    const forgiven = await daemon.until('nothing is wrong any more', (seen) => uplinkIn(seen, 'fibre')['domain'] === 'none');
    assert.equal(uplinkIn(forgiven, 'fibre').because, 'icmp 1.1.1.1, icmp 9.9.9.9 answer');
    await assertUnhurt({ old, fresh }, since);
    assert.deepEqual(await carriers(fresh), ['fibre']);
  }));

test('all uplinks silent at once: of domain everything, the choice stays, the daemon says so, and flows survive; each by itself again afterwards', { skip }, () =>
  tell(async ({ lab, daemon }) => {
    const [old, tcp, fresh] = await Promise.all([lab.stream({ kind: 'udp', rateHz: 50 }), lab.stream({ kind: 'tcp' }), lab.stream({ kind: 'new-udp', rateHz: 50 })]);
    const struck = await lab.allDead();
    const status = await daemon.until('everything is silent', ({ uplinks }) => uplinks.every((one) => one.state === 'down' && one['domain'] === 'everything'));
    for (const { because } of status.uplinks) assert.match(because, /all uplinks fell silent within .*, which may be us or the targets$/);
    assert.deepEqual(status.active.map((one) => one.name), ['fibre']);
    assert.match(String(status['because']), /all uplinks are silent, which may be us or the targets; fibre stays/);
    const healed = await lab.allBack();
    const [running, connections, begun] = [await old.outageAfter(struck), await tcp.outageAfter(healed, { calmMs: 500 }), await fresh.outageAfter(struck)];
    assert.deepEqual([Object.keys(running.via), Object.keys(connections.via), Object.keys(begun.via)], [['fibre'], ['fibre'], ['fibre']]);
    assert.deepEqual(await tcp.broken(), []);
    const after = await settled(daemon);
    assert.deepEqual(after.uplinks.map((one) => one['domain']), ['none', 'none']);
    await waitFor('the reason is no longer silence', daemon.status, (seen) => !/silent/.test(String(seen['because'])));
    assert.deepEqual(after.active.map((one) => one.name), ['fibre']);
    assert.deepEqual(said(daemon, /forgot \d+ (unanswered )?connections of fibre/), []);
  }, FAST));

function hopAnswers(status: Parameters<typeof uplinkIn>[0]): boolean {
  const targets = uplinkIn(status, 'fibre')['targets'] as readonly { readonly target: string; readonly answering: boolean }[];
  return targets.some(({ target, answering }) => target === 'hop 2' && answering);
}

function lossIn(target: string, status: Parameters<typeof uplinkIn>[0]): number {
  const targets = uplinkIn(status, 'fibre')['targets'] as readonly { readonly target: string; readonly lossPercent: number | null }[];
  return targets.find((one) => one.target === target)?.lossPercent ?? 0;
}

function evidenceIn(status: Parameters<typeof uplinkIn>[0]): string {
  const all = uplinkIn(status, 'fibre')['evidence'] as readonly { readonly witness: string; readonly name: string; readonly says: string }[];
  return all.map(({ witness, name, says }) => `${witness} ${name} ${says}`).join('; ');
}
