/** Orders that meet a world in which they cannot be carried out, and what people are told then. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { test } from 'node:test';
import { decide } from '../../src/core/decide.js';
import { openState } from '../../src/core/state.js';
import { status } from '../../src/core/status.js';
import { step } from '../../src/core/step.js';
import { carryOut } from '../../src/kernel/door.js';
import { openDryKernel } from '../../src/kernel/dry.js';
import type { Effect, Event, KernelFacts, Override, Policy } from '../../src/model.js';
import { at, factsOf, linkOf, policyOf, uplinkPolicy } from './fixture.js';

const ORDER: Override = { uplink: 'cable', until: undefined, confirmBy: undefined, reason: '', by: 'noc', since: at(100), ifDead: 'obey' };
const TWO = policyOf([uplinkPolicy('fibre'), uplinkPolicy('cable')]);

test('an order to obey on an uplink without a device is in force although the kernel takes no route for it', () => {
  const router = begin(TWO, factsOf(['fibre', 'cable'], { links: [linkOf('fibre')] }));
  const effects = router({ type: 'override', at: at(100), by: 'noc', token: 1, override: ORDER });
  assert.deepEqual(effects.filter((effect) => effect.type === 'answer'), [{ type: 'answer', token: 1, error: '' }]);
});

test('an order that the kernel refuses is not forgotten, and its answer says so', () => {
  const router = begin(TWO, factsOf(['fibre', 'cable']), () => 'EPERM: not permitted');
  const [answer] = router({ type: 'override', at: at(100), by: 'noc', token: 1, override: ORDER }).filter((effect) => effect.type === 'answer');
  assert.match(answer?.error ?? '', /^your order is noted and tried again, but the kernel refused: .*EPERM: not permitted/);
});

test('an override ends with the uplink that it names', () => {
  const router = begin(TWO, factsOf(['fibre', 'cable']));
  router({ type: 'override', at: at(100), by: 'noc', token: 1, override: ORDER });
  const effects = router({ type: 'policy', at: at(200), policy: policyOf([uplinkPolicy('fibre')]), token: 0 });
  assert.deepEqual(effects.filter((effect) => effect.type === 'save'), [{ type: 'save', override: undefined }]);
  const told = effects.flatMap((effect) => (effect.type === 'tell' ? [effect.news.text] : []));
  assert.ok(told.includes('the override on cable ended: the config has no such uplink any more; back to automatic'), told.join('\n'));
});

test('status counts changes, not plans', () => {
  const state = openState(TWO, at(0));
  const kernel = openDryKernel(factsOf(['fibre', 'cable']));
  const plans = step(state, { type: 'kernel', at: at(0), facts: kernel.readAll() }).effects.flatMap((effect) => (effect.type === 'apply' ? [effect.plan] : []));
  assert.equal(plans.length, 1);
  assert.ok(plans[0]!.changes.length > 1);
  assert.equal(status(state, at(0)).kernel.applied, plans[0]!.changes.length);
});

test('uplinks that share the load are spoken of in the plural', () => {
  const twins = policyOf([uplinkPolicy('fibre', { priority: 1 }), uplinkPolicy('cable', { priority: 1 })]);
  const candidates = twins.uplinks.map((policy) => ({
    policy, penalty: 0, risenAt: at(10), answeredAt: at(Infinity), lacks: 'nothing' as const,
    verdict: { uplink: policy.name, state: 'up', since: at(10), because: '', domain: 'none', evidence: [], severed: false, inDoubt: false, holdUntil: undefined } as const,
  }));
  const { decision } = decide({ now: at(20), startedAt: at(0), policy: twins, candidates, override: undefined, previous: undefined });
  assert.equal(decision?.because, 'fibre, cable are up and preferred (priority 1)');
});

test('a bug that shows while an order is carried out ends the process, not the request alone', async () => {
  const daemon = new URL('../../src/daemon.js', import.meta.url).href;
  const state = new URL('../../src/core/state.js', import.meta.url).href;
  const clock = new URL('../../src/clock.js', import.meta.url).href;
  const script = `
    const { openDaemon } = await import(${JSON.stringify(daemon)});
    const { openState } = await import(${JSON.stringify(state)});
    const { openTimers } = await import(${JSON.stringify(clock)});
    const now = () => performance.now();
    const policy = ${JSON.stringify(TWO)};
    const kernel = { watch() {}, readAll: () => (${JSON.stringify(factsOf(['fibre', 'cable']))}), readOurs: () => ({ routes: [], rules: [] }), apply: () => [],
      count: () => [], look: () => ({ links: [], gone: [] }), host: async () => ({ natBackend: 'none', natInSync: true, natRepaired: false, sysctlsInSync: true, problems: [] }) };
    const daemon = openDaemon(openState(policy, now()), { timers: openTimers(), kernel, prober: { bind() {}, send() {} }, now, wall: () => Date.now(), clockSet() {}, publish() {}, tell() {},
      save() { throw new Error('a bug'); } });
    daemon.start();
    await daemon.override({ uplink: 'cable', ifDead: 'obey', reason: '', by: 'noc' }).catch(() => console.log('swallowed'));
    process.exit(0);`;
  const [code, output] = await new Promise<[unknown, string]>((resolve) => {
    execFile(process.execPath, ['--input-type=module', '--eval', script], (error, stdout, stderr) => resolve([error?.code ?? 0, stdout + stderr]));
  });
  assert.equal(code, 1, output);
  assert.match(output, /Error: a bug/);
  assert.doesNotMatch(output, /swallowed/);
});

/** The core on a dry kernel that may refuse; gives the effects of one event and of all that follows from it. */
function begin(policy: Policy, facts: KernelFacts, refuse?: () => string): (event: Event) => readonly Effect[] {
  const state = openState(policy, at(0));
  const kernel = openDryKernel(facts);
  const give = (event: Event): readonly Effect[] => step(state, event).effects.flatMap((effect) => {
    if (effect.type !== 'apply') return [effect];
    const failures = refuse === undefined ? kernel.apply(effect.plan) : carryOut(effect.plan, refuse);
    return [effect, ...give({ type: 'applied', at: event.at, failures, facts: kernel.readOurs() })];
  });
  give({ type: 'kernel', at: at(0), facts: kernel.readAll() });
  return give;
}

test('a reason does not outlive the order that it speaks of', () => {
  const dead = TWO.uplinks.map((policy) => ({
    policy, penalty: 1, risenAt: at(0), answeredAt: at(Infinity), lacks: 'nothing' as const,
    verdict: { uplink: policy.name, state: 'down', since: at(10), because: 'silence', domain: 'upstream', evidence: [], severed: false, inDoubt: false, holdUntil: undefined } as const,
  }));
  const previous = { ranks: [{ members: [{ uplink: 'cable', weight: 1 }] }], generation: 3, since: at(5), because: 'noc switched to cable', rule: 'override', order: 'cable', fit: [] } as const;
  const question = { startedAt: at(0), policy: TWO, candidates: dead };
  const held = decide({ ...question, now: at(20), override: { ...ORDER, ifDead: 'fall-through' }, previous }).decision;
  assert.match(held?.because ?? '', /^noc switched to cable, but it is down; all uplinks are silent/);
  const dropped = decide({ ...question, now: at(30), override: undefined, previous: held }).decision;
  assert.match(dropped?.because ?? '', /^all uplinks are silent/);
  assert.equal(dropped?.generation, held?.generation);
});

test('the end of an override leads home at once, to an uplink that never failed', () => {
  const router = begin(TWO, factsOf(['fibre', 'cable']));
  router({ type: 'wake', at: at(1), lateMs: 0 });
  for (const uplink of ['fibre', 'cable']) router({ type: 'reply', at: at(9), uplink, family: 4, target: TWO.uplinks[0]!.probe.targets[1]!.id, seq: 1, rttMs: 8 });
  router({ type: 'override', at: at(100), by: 'noc', token: 1, override: ORDER });
  const effects = router({ type: 'override', at: at(200), by: 'noc', token: 2, override: undefined });
  const told = effects.flatMap((effect) => (effect.type === 'tell' && effect.news.kind === 'decision' ? [effect.news.text] : []));
  assert.match(told.join('\n'), /^active: fibre > cable; /);
});

test('a start is not late: the first round is due when the kernel was read', () => {
  const state = openState(TWO, at(5000));
  const { wakeAt } = step(state, { type: 'kernel', at: at(5010), facts: openDryKernel(factsOf(['fibre', 'cable'])).readAll() });
  assert.ok(wakeAt >= 5000, `asked to be woken at ${wakeAt}`);
});
