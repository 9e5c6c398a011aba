/** Where it broke: every fault that the lab can make is named by its domain, with what the witnesses said. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { labUnavailable, now } from '../lab/lab.js';
import type { Lab } from '../lab/lab.js';
import { FAST, STEADY, assertUnhurt, carriers, settled, stateOf, swallow, uplinkIn, withStory } from './story.js';

const skip = (await labUnavailable()) ?? false;
const WITH_HOP = [{ icmp: 'gateway' }, { hop: { hops: 2, interval: '200ms' } }, { icmp: '1.1.1.1' }, { icmp: '9.9.9.9' }] as const;

interface Fault {
  readonly domain: string;
  readonly strike: (lab: Lab) => Promise<unknown>;
  readonly because: RegExp;
  /** In words: who says what. */
  readonly evidence: RegExp;
}

const FAULTS: readonly Fault[] = [
  { domain: 'link', strike: async (lab) => lab.cutCable('fibre'), because: /carrier/, evidence: /^line isp0 silent$/ },
  { domain: 'gateway', strike: async (lab) => lab.gatewayDead('fibre'), because: /; the gateway is silent too$/, evidence: /target gateway silent/ },
  { domain: 'hops', strike: async (lab) => lab.upstreamDead('fibre'), because: /; the gateway answers, the first router beyond it does not$/, evidence: /target gateway (alive|poor).*target hop 2 silent/ },
  // What is to go further than the second router is dropped.
  {
    domain: 'upstream', strike: async (lab) => swallow(lab, 'fibre', 'ip daddr != 198.51.100.1 ip ttl > 8'), because: /; the first router beyond the gateway answers$/,
    evidence: /target gateway (alive|poor).*target hop 2 (alive|poor)/,
  },
];

test('a cut cable, a dead gateway, a break behind it and one further away are told apart, with what each witness said', { skip }, () =>
  withStory({ topology: { isps: 2 }, config: { probe: { targets: WITH_HOP }, health: { sensitivity: 'fast', damping: 'off', up: { successes: 2 } } } }, async ({ lab, daemon }) => {
    for (const { domain, strike, because, evidence } of FAULTS) {
      await daemon.until('the hop answers', (status) => hopAnswers(status));
      await strike(lab);
      const status = await daemon.until(`fibre is down, domain ${domain}`, (seen) => stateOf(seen, 'fibre') === 'down' && uplinkIn(seen, 'fibre')['domain'] === domain);
      assert.match(uplinkIn(status, 'fibre').because, because);
      assert.match(evidenceIn(status), evidence);
      assert.deepEqual([stateOf(status, 'cable'), uplinkIn(status, 'cable')['domain']], ['up', 'none']);
      await lab.loss('fibre', 0);
      await lab.heal('fibre');
      await settled(daemon);
    }
  }));

test('a target that dies alone is named after ten seconds, the line stays up and carries on; it is forgiven when it answers', { skip }, () =>
  withStory({ topology: { isps: 2 } }, async ({ lab, daemon }) => {
    const fresh = await lab.stream({ kind: 'new-udp', rateHz: 100 });
    const since = now();
    const generation = (await daemon.status())['generation'];
    await lab.deadTarget('9.9.9.9', { isp: 'fibre' });
    const status = await daemon.until('the target is named', (seen) => uplinkIn(seen, 'fibre')['domain'] === 'target');
    assert.ok(now() - since > 9000, `after ${now() - since} ms`);
    assert.equal(uplinkIn(status, 'fibre').because, 'icmp 1.1.1.1 answers; icmp 9.9.9.9 does not');
    assert.match(evidenceIn(status), /target icmp 1\.1\.1\.1 alive; target icmp 9\.9\.9\.9 silent/);
    assert.deepEqual([stateOf(status, 'fibre'), status['generation']], ['up', generation]);
    await assertUnhurt({ fresh }, since);
    await lab.healTarget('9.9.9.9');
    const forgiven = await daemon.until('nothing is wrong any more', (seen) => uplinkIn(seen, 'fibre')['domain'] === 'none');
    assert.equal(uplinkIn(forgiven, 'fibre').because, 'icmp 1.1.1.1, icmp 9.9.9.9 answer');
    assert.deepEqual(await carriers(fresh), ['fibre']);
  }));

test('all uplinks silent at once are of domain everything, and each by itself again afterwards', { skip }, () =>
  withStory({ config: { ...STEADY, ...FAST } }, async ({ lab, daemon }) => {
    await lab.allDead();
    const status = await daemon.until('everything is silent', ({ uplinks }) => uplinks.every((one) => one.state === 'down' && one['domain'] === 'everything'));
    for (const { because } of status.uplinks) assert.match(because, /all uplinks fell silent within .*, which may be us or the targets$/);
    assert.deepEqual(status.active.map(({ name }) => name), ['fibre']);
    await lab.allBack();
    const back = await settled(daemon);
    assert.deepEqual(back.uplinks.map((one) => one['domain']), ['none', 'none', 'none']);
  }));

function hopAnswers(status: Parameters<typeof uplinkIn>[0]): boolean {
  const targets = uplinkIn(status, 'fibre')['targets'] as readonly { readonly target: string; readonly answering: boolean }[];
  return targets.some(({ target, answering }) => target === 'hop 2' && answering);
}

function evidenceIn(status: Parameters<typeof uplinkIn>[0]): string {
  const all = uplinkIn(status, 'fibre')['evidence'] as readonly { readonly witness: string; readonly name: string; readonly says: string }[];
  return all.map(({ witness, name, says }) => `${witness} ${name} ${says}`).join('; ');
}
