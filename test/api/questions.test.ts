/** What-if, plan, reload, policies, doctor, and both families in status and metrics: by inject. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { settled } from './asking.js';
import { dual, findings, knowing, openWorld, preview, serve, type World } from './fixture.js';

const BEFORE = [{ family: 4, order: [['fibre']], rule: 'automatic', because: 'fibre has the best priority', since: '2024-05-01T12:00:01.000Z', generation: 7 }];
const AFTER = [{ family: 4, order: [['cable']], rule: 'automatic', because: 'fibre is down', since: '2024-05-01T12:01:00.000Z', generation: 8 }];
const { routing, filter, sysctls, flows } = preview;

async function ask(world: World, method: 'GET' | 'POST', url: string, body?: unknown, mayChange = true) {
  const { app } = serve(world, { stranger: { by: 'test', door: 'unix', mayChange }, limits: { askTimeoutMs: 50 } });
  const answer = await app.inject({ method, url, ...(body === undefined ? {} : { headers: { 'content-type': 'application/json' }, payload: JSON.stringify(body) }) });
  return { status: answer.statusCode, type: answer.headers['content-type'], text: answer.body, json: answer.json<Record<string, unknown>>() };
}

/** The answer is a problem of this status; returns its detail. */
async function refused(world: World, status: number, ...question: [method: 'GET' | 'POST', url: string, body?: unknown, mayChange?: boolean]): Promise<string> {
  const answer = await ask(world, ...question);
  assert.equal(answer.status, status, answer.text);
  assert.equal(answer.type, 'application/problem+json');
  return String(answer.json['detail']);
}

test('what-if tells the decision before and after and what would be done, in order', async () => {
  const world = openWorld();
  const answer = await ask(world, 'GET', '/v1/what-if?down=fibre', undefined, false);
  assert.equal(answer.status, 200, 'who may read may ask');
  assert.deepEqual(answer.json, { before: BEFORE, after: AFTER, routing, filter, sysctls, flows, notes: [] });
  assert.deepEqual(world.asked, [{ whatIf: 'fibre' }]);
});

test('what-if of an uplink that does not exist is 404 with those that do, and the planner is not asked', async () => {
  const world = openWorld();
  assert.match(await refused(world, 404, 'GET', '/v1/what-if?down=nosuch'), /no uplink "nosuch".*fibre, cable/);
  assert.match(await refused(world, 400, 'GET', '/v1/what-if'), /the query parameter "down" is missing/);
  assert.match(await refused(world, 400, 'GET', '/v1/what-if?down='), /"down" is ""; it must be name of an uplink/);
  assert.match(await refused(world, 400, 'GET', '/v1/what-if?down=fibre&down=cable'), /given twice/);
  assert.match(await refused(world, 400, 'GET', `/v1/what-if?down=${'x'.repeat(65)}`), /1 to 64 characters/);
  assert.deepEqual(world.asked, []);
});

test('a plan is made of the text that was sent, and calls the file as it was called', async () => {
  const world = openWorld();
  world.preview = { ...preview, notes: ['kernel.markMask takes effect at the next start'] };
  const answer = await ask(world, 'POST', '/v1/plan', { config: 'uplinks: {}\n', file: 'new.yaml' });
  assert.equal(answer.status, 200, answer.text);
  assert.deepEqual(answer.json, { before: BEFORE, after: AFTER, routing, filter, sysctls, flows, notes: ['kernel.markMask takes effect at the next start'] });
  await ask(world, 'POST', '/v1/plan', { config: '' });
  assert.deepEqual(world.asked, [{ plan: 'uplinks: {}\n', file: 'new.yaml' }, { plan: '', file: 'config' }]);
});

test('an invalid config is 422 and the problem lists everything that is wrong with it', async () => {
  const world = openWorld();
  world.invalid = { problems: ['new.yaml:3: uplinks.fibre.gateway: `x` is no address', 'new.yaml:7: lan: unknown key'] };
  for (const [url, body] of [['/v1/plan', { config: 'x', file: 'new.yaml' }], ['/v1/reload', undefined]] as const) {
    const answer = await ask(world, 'POST', url, body);
    assert.equal(answer.status, 422);
    assert.equal(answer.json['type'], 'urn:uplinkd:problem:invalid-config');
    assert.deepEqual(answer.json['problems'], world.invalid.problems);
    assert.match(String(answer.json['detail']), /^Nothing was changed: new\.yaml:3: .* \(and 1 more\)\.$/);
  }
});

test('a plan needs the right to operate, although it changes nothing', async () => {
  const world = openWorld();
  assert.match(await refused(world, 403, 'POST', '/v1/plan', { config: 'x' }, false), /unix socket/);
  assert.match(await refused(world, 403, 'POST', '/v1/reload', undefined, false), /unix socket/);
  assert.deepEqual(world.asked, []);
});

test('a config of nearly 1 MiB is taken, more is 413 and says how much', async () => {
  const world = openWorld();
  assert.equal((await ask(world, 'POST', '/v1/plan', { config: 'x'.repeat(1024 * 1024 - 100) })).status, 200);
  assert.match(await refused(world, 413, 'POST', '/v1/plan', { config: 'x'.repeat(1024 * 1024) }), /larger than 1024 KiB/);
  assert.equal(world.asked.length, 1);
});

for (const [what, body, detail] of [
  ['no config', {}, /the key "config" is missing/],
  ['a config that is data', { config: { uplinks: {} } }, /"config" is an object; it must be the text of a config file, YAML/],
  ['a file with a line feed', { config: '', file: 'a\nb' }, /"file" is "a\\nb"; it must be what the problems shall call the file/],
  ['an unknown key', { config: '', path: 'x' }, /unknown key "path"; it takes config, file/],
] as const) {
  test(`a plan with ${what} is 422 and says so`, async () => assert.match(await refused(openWorld(), 422, 'POST', '/v1/plan', body), detail));
}

test('reload tells what was changed and whether the kernel has it, and who asked goes to the daemon', async () => {
  const world = openWorld();
  assert.deepEqual((await ask(world, 'POST', '/v1/reload')).json, { before: BEFORE, after: AFTER, routing, filter, sysctls, flows, notes: [], inSync: true });
  world.status = { ...world.status, kernel: { ...world.status.kernel, inSync: false } };
  assert.equal((await ask(world, 'POST', '/v1/reload')).json['inSync'], false);
  assert.deepEqual(world.asked, [{ reload: 'test' }, { reload: 'test' }]);
  assert.match(await refused(world, 400, 'POST', '/v1/reload', { config: 'x' }), /takes no body/);
});

test('a reload that the daemon refuses is 409 with its reason', async () => {
  const world = openWorld();
  world.error = 'uplinkd is stopping.';
  assert.equal(await refused(world, 409, 'POST', '/v1/reload'), world.error);
});

test('policies tell what fits, in what order, what carries it now, and the counters', async () => {
  const { json } = await ask(openWorld(), 'GET', '/v1/policies', undefined, false);
  assert.deepEqual(json, { policies: [
    {
      name: 'telephony', sources: ['192.0.2.0/25', '2001:db8:1::/64'], destinations: [], protocol: 'udp', sourcePorts: [], destinationPorts: ['5060-5080', '10000'],
      mark: { value: '0x10000', mask: '0xff0000' }, set: { name: 'providers', side: 'destination' }, router: true,
      order: [[{ uplink: 'fibre', weight: 3 }, { uplink: 'cable', weight: 1 }], [{ uplink: 'lte', weight: 1 }]], otherwise: 'block', stickyMs: 600_000,
      active: [{ family: 4, uplinks: ['fibre', 'cable'] }, { family: 6, uplinks: [] }], connections: 1234, bytes: 5_678_901,
    },
    {
      name: 'rest', sources: [], destinations: [], protocol: 'any', sourcePorts: [], destinationPorts: [], mark: null, set: null, router: false,
      order: [[{ uplink: 'cable', weight: 1 }]], otherwise: 'fall-through', stickyMs: null,
      active: [{ family: 4, uplinks: ['cable'] }, { family: 6, uplinks: ['cable'] }], connections: null, bytes: null,
    },
  ] });
});

test('doctor tells what it found, with remedies as they are', async () => {
  assert.deepEqual((await ask(openWorld(), 'GET', '/v1/doctor', undefined, false)).json, { findings });
});

test('however many ask the doctor or for policies at once, one look is under way', async () => {
  const world = openWorld();
  let release = (): void => undefined;
  let looks = 0;
  const gate = new Promise<void>((resolve) => (release = resolve));
  const look = async <T>(found: T): Promise<T> => {
    looks++;
    await gate;
    return found;
  };
  const { app } = serve(world, { questions: { ...knowing(world), policies: () => look(world.policies), doctor: () => look(findings) } });
  const all = [...Array(20).keys()].flatMap(() => [app.inject('/v1/doctor'), app.inject('/v1/policies')]);
  await settled();
  assert.equal(looks, 2);
  release();
  for (const answer of await Promise.all(all)) assert.equal(answer.statusCode, 200);
  await app.inject('/v1/doctor');
  assert.equal(looks, 3, 'and the next one looks anew');
});

test('however many ask what would happen, the daemon has half of the time for itself, and few wait', async () => {
  const world = openWorld();
  const runs: { from: number; to: number }[] = [];
  const whatIf = () => {
    const from = performance.now();
    while (performance.now() < from + 20);
    runs.push({ from, to: performance.now() });
    return preview;
  };
  const { app } = serve(world, { limits: { forecasts: 4 }, questions: { ...knowing(world), whatIf } });
  const answers = await Promise.all([...Array(20).keys()].map(() => app.inject('/v1/what-if?down=fibre')));
  assert.deepEqual(answers.map(({ statusCode }) => statusCode).sort(), [...Array<number>(4).fill(200), ...Array<number>(16).fill(503)]);
  runs.slice(1).forEach(({ from }, i) => assert.ok(from - runs[i]!.to > 15, `${from - runs[i]!.to} ms`));
  assert.equal((await app.inject('/v1/what-if?down=fibre')).statusCode, 200, 'the room is given back');
});

test('a forecast that fails is 500 and the next one is made', async () => {
  const world = openWorld();
  let runs = 0;
  const whatIf = () => {
    if (runs++ === 0) throw new Error('secret inside');
    return preview;
  };
  const { app } = serve(world, { questions: { ...knowing(world), whatIf } });
  assert.equal((await app.inject('/v1/what-if?down=fibre')).statusCode, 500);
  assert.equal((await app.inject('/v1/what-if?down=fibre')).statusCode, 200);
});

test('a look that fails is 500, and does not spoil the next one', async () => {
  const world = openWorld();
  let looks = 0;
  const doctor = async () => {
    if (looks++ === 0) throw new Error('secret inside');
    return findings;
  };
  const { app } = serve(world, { questions: { ...knowing(world), doctor } });
  const failed = await app.inject('/v1/doctor');
  assert.equal(failed.statusCode, 500);
  assert.doesNotMatch(failed.body, /secret/);
  assert.equal((await app.inject('/v1/doctor')).statusCode, 200);
});

test('what takes too long is 504, and says whether something may have been changed', async () => {
  const world = openWorld();
  world.mute = true;
  assert.match(await refused(world, 504, 'POST', '/v1/reload'), /may or may not be in force/);
  assert.match(await refused(world, 504, 'POST', '/v1/plan', { config: 'x' }), /Nothing was changed/);
  assert.match(await refused(world, 504, 'GET', '/v1/policies'), /Ask again/);
  assert.match(await refused(world, 504, 'GET', '/v1/doctor'), /Ask again/);
});

// --------------------------------------------------------------------------------------------------- families

test('status tells each family of an uplink by itself, and both decisions', async () => {
  const world = openWorld();
  world.status = dual;
  const { json } = await ask(world, 'GET', '/v1/status');
  assert.deepEqual((json['active'] as { name: string; family: number }[]).map(({ name, family }) => [name, family]), [['fibre', 4], ['cable', 6]]);
  assert.deepEqual(json['decisions'], [...BEFORE, { family: 6, order: [['cable']], rule: 'automatic', because: 'fibre is down', since: '2024-05-01T12:00:40.000Z', generation: 3 }]);
  const [fibre] = json['uplinks'] as { state: string; quality: unknown; families: Record<string, unknown>[]; targets: { family: number }[] }[];
  assert.equal(fibre?.state, 'up', 'what stands beside them is of the first');
  assert.deepEqual(fibre?.families[1], {
    family: 6, state: 'down', since: '2024-05-01T12:00:40.000Z', because: 'no answer in IPv6 for 20 s', domain: 'upstream', gateway: 'fe80::1', active: false, rank: null, severed: false, inDoubt: false, holdUntil: '2024-05-01T12:01:10.000Z',
    evidence: dual.uplinks[1]?.families[0]?.evidence, quality: { lossPercent: 100, latencyMs: null, jitterMs: null, busy: true },
    damping: { penalty: 3.5, suppressedUntil: '2024-05-01T12:04:13.000Z', holdMs: 120_000, awaits: 'less loss' }, traffic: null,
  });
  assert.deepEqual(fibre?.quality, fibre?.families[0]?.['quality']);
  assert.notDeepEqual(fibre?.quality, fibre?.families[1]?.['quality']);
  assert.deepEqual(fibre?.targets.map(({ family }) => family), [4, 6]);
});

test('metrics tell each family by itself, and no two samples have the same labels', async () => {
  const world = openWorld();
  world.status = dual;
  const { app } = serve(world);
  const lines = (await app.inject('/metrics')).body.split('\n');
  for (const line of [
    'uplinkd_uplink_up{uplink="fibre",interface="eth0"} 1',
    'uplinkd_active_uplinks 2',
    'uplinkd_family_generation{family="6"} 3',
    'uplinkd_family_active_uplinks{family="4"} 1',
    'uplinkd_family_active_uplinks{family="6"} 1',
    'uplinkd_family_last_resort{family="6"} 0',
    'uplinkd_uplink_family_up{uplink="fibre",interface="eth0",family="4"} 1',
    'uplinkd_uplink_family_up{uplink="fibre",interface="eth0",family="6"} 0',
    'uplinkd_uplink_family_state{uplink="fibre",interface="eth0",family="6",state="down"} 1',
    'uplinkd_uplink_family_active{uplink="cable",interface="eth1",family="6"} 1',
    'uplinkd_uplink_family_rank{uplink="cable",interface="eth1",family="6"} 0',
    'uplinkd_target_answering{uplink="fibre",interface="eth0",family="6",target="gateway"} 0',
  ]) assert.ok(lines.includes(line), line);
  const names = lines.filter((line) => line !== '' && !line.startsWith('#')).map((line) => line.slice(0, line.lastIndexOf(' ')));
  assert.equal(new Set(names).size, names.length);
});
