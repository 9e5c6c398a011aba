/** Switches between lines that live: by the operator, by fail-back. None of them may cost a packet of a running flow. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { labUnavailable, now, until } from '../lab/lab.js';
import type { Lab } from '../lab/lab.js';
import type { Stream } from '../lab/stream.js';
import { assertUnhurt, carriers, heldMs, routeGet, said, shareStory, untilSaid, untilState } from './story.js';

const skip = (await labUnavailable()) ?? false;
const tell = shareStory();

interface Traffic extends Record<string, Stream> {
  readonly old: Stream;
  readonly tcp: Stream;
  readonly fresh: Stream;
}

test('fail-back, after its hold: no packet of a running flow is lost, no connection of ten breaks, new flows return', { skip }, () =>
  tell(async ({ lab, daemon }) => {
    await lab.cutCable('fibre');
    await daemon.untilActive('cable');
    const traffic = await openTraffic(lab);
    const plugged = await lab.plugCable('fibre');
    const status = await daemon.untilActive('fibre');
    assert.ok(heldMs(status, 'fibre') >= 1000, `held for ${heldMs(status, 'fibre')} ms`);
    assert.match(String(status['because']), /fibre is preferred \(priority 1\) and has proved itself/);
    assert.deepEqual([await carriers(traffic.fresh), await carriers(traffic.old), await carriers(traffic.tcp)], [['fibre'], ['cable'], ['cable']]);
    await assertUnhurt(traffic, plugged.beganAt);
    assert.deepEqual(said(daemon, /forgot .* of cable/), []);
  }));

test('switch-uplink between healthy uplinks, for a time: nothing is lost on the way there and back', { skip }, () =>
  tell(async ({ lab, daemon }) => {
    const traffic = await openTraffic(lab);
    const since = now();
    const done = await daemon.ctl('switch-uplink', 'cable', '--for', '1h', '--reason', 'a test');
    assert.deepEqual([done.code, done.stderr], [0, '']);
    const status = await daemon.status();
    assert.deepEqual(status.active.map((one) => one.name), ['cable'], 'when the command returns, the switch is done');
    assert.match(JSON.stringify(status.override), /"reason":"a test"/);
    assert.deepEqual([await carriers(traffic.fresh), await carriers(traffic.old), await carriers(traffic.tcp)], [['cable'], ['fibre'], ['fibre']]);
    assert.equal(await routeGet(lab, '192.0.2.10'), 'isp1');

    const shortened = (await daemon.rest('PUT', '/v1/override', { uplink: 'cable', for: '2s' })).body as { readonly override: { readonly since: string } };
    const after = await daemon.untilActive('fibre');
    const stoodMs = Date.parse(String(after['since'])) - Date.parse(shortened.override.since);
    assert.ok(stoodMs >= 2000, `back after ${stoodMs} ms`);
    assert.equal(after.override, null);
    await untilSaid(daemon, /the override on cable ended: its time is over; back to automatic/);
    assert.deepEqual(await carriers(traffic.fresh), ['fibre']);
    await assertUnhurt(traffic, since);
    assert.deepEqual(said(daemon, /^forgot/), []);
  }));

test('a switch to a dead uplink is refused with the reason, unless the operator insists; a chosen one that dies falls through', { skip }, () =>
  tell(async ({ lab, daemon }) => {
    const fresh = await lab.stream({ kind: 'new-udp', rateHz: 50 });
    await lab.cutCable('cable');
    await untilState(daemon, 'cable', 'down');
    const since = now();
    const refused = await daemon.ctl('switch-uplink', 'cable');
    assert.equal(refused.code, 1);
    assert.match(refused.stderr, /cable is down \(no carrier on isp1\): switching to it would cut you off; --if-dead obey insists/);
    const answer = await daemon.rest('PUT', '/v1/override', { uplink: 'cable' });
    assert.deepEqual([answer.status, answer.headers['content-type']], [409, 'application/problem+json']);
    const { active, override } = await daemon.status();
    assert.deepEqual([active.map((one) => one.name), override], [['fibre'], null]);
    await assertUnhurt({ fresh }, since);

    assert.equal((await daemon.ctl('switch-uplink', 'lte')).code, 0);
    const fault = await lab.cutCable('lte');
    await fresh.outageAfter(fault);
    assert.match(JSON.stringify((await daemon.untilActive('fibre')).override), /"uplink":"lte"/, 'the wish stands while its uplink is dead');
    assert.deepEqual(await carriers(fresh), ['fibre']);
    assert.equal((await daemon.ctl('auto')).code, 0);
    assert.equal((await daemon.status()).override, null);
  }));

test('who comes in by a line is answered by that line, whichever is active: by the router, and by a host of the LAN behind DNAT', { skip }, () =>
  tell(async ({ lab, daemon }) => {
    const published = 'table ip published { chain pre { type nat hook prerouting priority dstnat; iifname "isp1" tcp dport 7007 dnat to 192.168.1.10; }\n}\n';
    await lab.text('router', ['nft', '-f', '-'], published);
    const own = await lab.stream({ kind: 'new-udp', rateHz: 50, from: 'internet', to: '203.0.113.2' });
    const toServeInTheLan = await lab.stream({ kind: 'udp', rateHz: 10, from: 'vpn', to: '192.168.1.10' });
    const behind = await lab.stream({ kind: 'tcp', from: 'internet', to: '203.0.113.2' });
    const since = now();
    await until(since + 300);
    await assertUnhurt({ own, behind, toServeInTheLan }, since);
    assert.equal((await lab.text('client', ['ss', '-Htn', 'state', 'established', 'sport', '=', ':7007'])).trim().split('\n').length, 10, 'the client serves them');
    assert.equal(await lab.spoofed('fibre'), 0, 'no answer left by the active line');
    assert.deepEqual((await daemon.status()).active.map((one) => one.name), ['fibre']);
    await lab.text('router', ['nft', 'delete', 'table', 'ip', 'published']);
  }));

async function openTraffic(lab: Lab): Promise<Traffic> {
  const [old, tcp, fresh] = await Promise.all([lab.stream({ kind: 'udp', rateHz: 50 }), lab.stream({ kind: 'tcp', connections: 10 }), lab.stream({ kind: 'new-udp', rateHz: 50 })]);
  return { old, tcp, fresh };
}
