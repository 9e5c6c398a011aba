/**
 * Other witnesses than probes: the connections that pass through, and people or programs that say what they know. And those next door: a box in the
 * provider's own network that the LAN is busy with, and a modem that answers for the targets. Both go on when nothing is behind them any more, and
 * neither speaks for the internet.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { labUnavailable, now, until, waitFor } from '../lab/lab.js';
import { FAST, assertUnhurt, carriers, reload, routeGet, said, settled, shareStory, stateOf, uplinkIn, untilState } from './story.js';

const skip = (await labUnavailable()) ?? false;
const INTERNET = ['192.0.2.10', '192.0.2.77', '1.1.1.1', '9.9.9.9', '8.8.8.8'] as const;
const tell = shareStory({ topology: { isps: 2, internet: INTERNET } });
const TARGETS = [{ icmp: '1.1.1.1' }, { icmp: '9.9.9.9' }] as const;
/** Ten times what `fast` needs to condemn a silent line. */
const VOUCHED_MS = 3000;

test('connections that get no answers more move new flows long before a probe would be due', { skip }, () =>
  tell(async ({ lab, daemon }) => {
    const [old, fresh] = await Promise.all([lab.stream({ kind: 'udp', rateHz: 50 }), lab.stream({ kind: 'new-udp', rateHz: 50 })]);
    await daemon.until('connections are known to get answers', isProgressing);
    await until(now() + 2000);
    const struck = await lab.upstreamDead('fibre');
    await fresh.outageAfter(struck, { calmMs: 500 });
    assert.deepEqual(await carriers(fresh), ['cable']);
    await old.outageAfter(struck);
    assert.deepEqual(await carriers(old), ['cable'], 'and then the running flow, by its death');
  }, { probe: { targets: TARGETS, interval: '10s' }, health: { sensitivity: 'balanced', up: { successes: 1 } } }));

test('targets that are silent while connections get answers condemn no line: nothing moves and the reason says so; `passive: false` moves at once', { skip }, () =>
  tell(async ({ lab, daemon }) => {
    const [old, tcp, fresh] = await Promise.all([lab.stream({ kind: 'udp', rateHz: 50 }), lab.stream({ kind: 'tcp' }), lab.stream({ kind: 'new-udp', rateHz: 50 })]);
    await daemon.until('connections are known to get answers', isProgressing);
    await until(now() + 2000);
    const before = await daemon.status();
    const since = now();
    for (const target of ['1.1.1.1', '9.9.9.9']) await lab.deadTarget(target, { isp: 'fibre' });
    const status = await daemon.until('the targets are at fault', (seen) => uplinkIn(seen, 'fibre')['domain'] === 'target');
    assert.equal(uplinkIn(status, 'fibre').because, 'no answer from icmp 1.1.1.1, icmp 9.9.9.9, but connections get theirs: the targets are at fault');
    await until(since + VOUCHED_MS);
    const later = await daemon.status();
    assert.deepEqual([stateOf(later, 'fibre'), later['generation'], uplinkIn(later, 'fibre')['suspicions']], ['up', before['generation'], uplinkIn(before, 'fibre')['suspicions']]);
    await assertUnhurt({ old, tcp, fresh }, since);
    assert.deepEqual(said(daemon, /fibre is (suspect|degraded|down)/), []);

    await reload({ lab, daemon }, { ...FAST, health: { ...FAST.health, damping: 'off' }, probe: { ...FAST.probe, passive: false } });
    await daemon.untilActive('cable');
    await waitFor('fibre is down', daemon.status, (seen) => stateOf(seen, 'fibre') === 'down');
    assert.deepEqual(await carriers(fresh), ['cable']);
    await Promise.all(['1.1.1.1', '9.9.9.9'].map(async (target) => lab.healTarget(target)));
  }, FAST));

test('who says over REST or by uplinkctl that a line is down moves it out of use at once, for as long as he said; `why` names him', { skip }, () =>
  tell(async ({ lab, daemon }) => {
    const fresh = await lab.stream({ kind: 'new-udp', rateHz: 50 });
    const since = now();
    const answer = await daemon.rest('PUT', '/v1/uplinks/fibre/verdict', { state: 'down', ttl: '2s', by: 'bgp-watch', because: 'the session is lost' });
    assert.equal(answer.status, 200, JSON.stringify(answer.body));
    assert.equal(await routeGet(lab, '8.8.8.8'), 'isp1', 'in force when it is answered');
    const status = await daemon.status();
    const fibre = uplinkIn(status, 'fibre');
    assert.deepEqual([fibre.state, fibre['domain'], status.active.map(({ name }) => name)], ['down', 'outside', ['cable']]);
    assert.match(fibre.because, /bgp-watch.*the session is lost/);
    assert.deepEqual(await carriers(fresh), ['cable']);
    await untilState(daemon, 'fibre', 'up');
    assert.ok(now() - since > 1900, `it ended after ${now() - since} ms`);
    assert.deepEqual(uplinkIn(await daemon.untilActive('fibre'), 'fibre')['outside'], []);
    await settled(daemon);

    const by = ['--by', 'noc', '--because', 'maintenance of the provider'];
    const order = await daemon.ctl('verdict', 'fibre', 'down', '--for', '1m', ...by);
    assert.equal(order.code, 0, order.stderr);
    assert.equal(await routeGet(lab, '8.8.8.8'), 'isp1');
    const why = await daemon.ctl('why', 'fibre');
    assert.match(why.stdout, /outside[^]*noc[^]*maintenance of the provider/);
    assert.equal((await daemon.ctl('verdict', 'fibre', 'clear')).code, 0);
    await daemon.untilActive('fibre');
    await assertUnhurt({ fresh }, since);
  }));

test('a line with nothing behind it is left, whatever is exchanged with a box beside its gateway, and whoever answers for its targets', { skip }, () =>
  tell(async ({ lab, daemon }) => {
    const box = lab.run('client', ['ping', '-n', '-q', '-i', '0.01', '-w', '12', '198.51.100.1']);
    const fresh = await lab.stream({ kind: 'new-udp', rateHz: 20 });
    await daemon.until('connections are known to get answers', isProgressing);

    await lab.upstreamDead('fibre');
    const dead = await untilState(daemon, 'fibre', 'down', { timeoutMs: 20_000 });
    assert.notEqual(uplinkIn(dead, 'fibre')['domain'], 'target');
    await daemon.untilActive('cable');
    assert.deepEqual(await carriers(fresh), ['cable']);
    // What is under way when its line is left, or when ping ends, is lost.
    const lost = Number(/ ([\d.]+)% packet loss/.exec((await box).stdout)?.[1]);
    assert.ok(lost < 5, `the box answers all the time: ${lost} % lost`);

    // The modem begins to answer for the targets: every probe is green.
    await lab.ip('fibre', 'address add 1.1.1.1/32 dev lo', 'address add 9.9.9.9/32 dev lo');
    await daemon.untilActive('fibre', { timeoutMs: 20_000 });
    const status = await daemon.until('connections are believed', (seen) => uplinkIn(seen, 'fibre')['domain'] === 'connections', { timeoutMs: 40_000 });
    assert.equal(stateOf(status, 'fibre'), 'degraded');
    assert.match(uplinkIn(status, 'fibre').because, /^targets answer, connections do not: /);
    await daemon.untilActive('cable');
    assert.deepEqual(await carriers(fresh), ['cable']);
    const why = await daemon.ctl('why', 'fibre');
    assert.match(why.stdout, /from next door/);
    await lab.ip('fibre', 'address del 1.1.1.1/32 dev lo', 'address del 9.9.9.9/32 dev lo');
  }, FAST));

function isProgressing(status: Parameters<typeof uplinkIn>[0]): boolean {
  return (uplinkIn(status, 'fibre')['traffic'] as { readonly progressing: boolean | null } | null)?.progressing === true;
}
