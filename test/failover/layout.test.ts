/**
 * Each rule of the layout has a reason, and here it is: the daemon lays the kernel out and is killed with -9; what the rule is for works; then
 * that one rule is deleted by hand, nobody puts it back, and it does not work any more.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { labUnavailable, now, waitFor } from '../lab/lab.js';
import type { Lab } from '../lab/lab.js';
import { assertUnanswered, carriers, pings, routeGet, uplinkIn, untilState, withStory } from './story.js';

const skip = (await labUnavailable()) ?? false;

test('`oif DEV lookup T`, kept while down: without it a probe through a dead uplink asks the wire for the target itself, and the uplink never comes back', { skip }, () =>
  withStory({}, async ({ lab, daemon }) => {
    const neighbours = async (): Promise<string> => lab.text('router', ['ip', 'neigh', 'show', 'dev', 'isp0']);
    await lab.upstreamDead('fibre');
    await untilState(daemon, 'fibre', 'down');
    await daemon.untilActive('cable');
    await daemon.kill9();
    await lab.heal('fibre');
    assert.ok(await pings(lab, 'router', '-I', 'isp0', '1.1.1.1'), 'the probe finds its gateway, although the default of the uplink has left main and ACTIVE');
    assert.doesNotMatch(await neighbours(), /^1\.1\.1\.1 /m);

    await lab.ip('router', 'rule del pref 9410 oif isp0');
    assert.equal(await pings(lab, 'router', '-I', 'isp0', '1.1.1.1'), false);
    assert.match(await neighbours(), /^1\.1\.1\.1 +(INCOMPLETE|FAILED)/m);
  }));

test('`lookup main suppress_prefixlength 0`: without the rule replies towards the LAN, and marked flows to a VPN, loop out of the uplink', { skip }, () =>
  withStory({}, async ({ lab, daemon }) => {
    const mark = String(uplinkIn(await daemon.status(), 'fibre')['mark']);
    const [internet, vpn] = await Promise.all([lab.stream({ kind: 'udp', rateHz: 50 }), lab.stream({ kind: 'udp', rateHz: 50, to: '10.8.0.2' })]);
    await daemon.kill9();
    assert.deepEqual(await routesOf(lab, ['10.8.0.2', 'mark', mark], ['192.168.1.10', 'from', '192.0.2.10', 'iif', 'isp0']), ['vpn0', 'lan0']);
    assert.ok(await pings(lab, 'router', '-m', String(Number(mark)), '10.8.0.2'));

    await lab.ip('router', 'rule del pref 9450');
    const since = now();
    assert.deepEqual(await routesOf(lab, ['10.8.0.2', 'mark', mark], ['192.168.1.10', 'from', '192.0.2.10', 'iif', 'isp0']), ['isp0', 'isp0']);
    assert.equal(await pings(lab, 'router', '-m', String(Number(mark)), '10.8.0.2'), false);
    for (const stream of [internet, vpn]) {
      const { lost, sent } = await stream.outage({ since: since + 50, until: since + 350 });
      assert.equal(lost, sent, 'every packet');
    }
  }));

test('`suppress_prefixlength 0`: without it a foreign default in main takes new flows and marked ones', { skip }, () =>
  withStory({}, async ({ lab, daemon }) => {
    const [old, fresh] = await Promise.all([lab.stream({ kind: 'udp', rateHz: 50 }), lab.stream({ kind: 'new-udp', rateHz: 50 })]);
    await daemon.kill9();
    await lab.addForeignDefault('lte');
    assert.deepEqual([await carriers(old), await carriers(fresh)], [['fibre'], ['fibre']]);

    await lab.ip('router', 'rule add pref 9450 lookup main', 'rule del pref 9450 suppress_prefixlength 0');
    assert.deepEqual([await carriers(old), await carriers(fresh)], [['lte'], ['lte']]);
  }));

test('`fwmark M lookup T`: without it a running flow moves with the next switch, and its TCP connections break', { skip }, () =>
  withStory({}, async ({ lab, daemon }) => {
    await lab.cutCable('fibre');
    await daemon.untilActive('cable');
    const mark = String(uplinkIn(await daemon.status(), 'cable')['mark']);
    const [old, tcp] = await Promise.all([lab.stream({ kind: 'udp', rateHz: 50 }), lab.stream({ kind: 'tcp' })]);
    await lab.plugCable('fibre');
    await daemon.untilActive('fibre');
    await daemon.kill9();
    assert.deepEqual([await carriers(old), await carriers(tcp)], [['cable'], ['cable']]);

    await lab.ip('router', `rule del pref 9500 fwmark ${mark}/0x3f80`);
    await waitFor('the running flow has moved', () => carriers(old), (seen) => seen.includes('fibre'));
    await waitFor('every connection is broken', () => tcp.broken(), (broken) => new Set(broken.map((one) => one.connection)).size === 10);
  }));

test('`from A lookup T`: without it a socket of the router that is bound to an uplink\'s address leaves by the active line', { skip }, () =>
  withStory({}, async ({ lab, daemon }) => {
    await lab.stream({ kind: 'udp', rateHz: 10 });
    await daemon.kill9();
    assert.equal(await routeGet(lab, '192.0.2.10', 'from', '203.0.113.2'), 'isp1');
    assert.equal(await seenAs(lab, '203.0.113.2'), '203.0.113.2');

    await lab.ip('router', 'rule del pref 9550 from 203.0.113.2');
    assert.equal(await routeGet(lab, '192.0.2.10', 'from', '203.0.113.2'), 'isp0');
    assert.equal(await seenAs(lab, '203.0.113.2'), '198.51.100.2', 'it left by fibre');
  }));

test('`lookup ACTIVE` above main: without it a default of metric 0 that a DHCP client wrote wins', { skip }, () =>
  withStory({ before: async (lab) => lab.addForeignDefault('lte') }, async ({ lab, daemon }) => {
    const fresh = await lab.stream({ kind: 'new-udp', rateHz: 50 });
    await daemon.kill9();
    assert.deepEqual([await carriers(fresh), await routeGet(lab, '192.0.2.10')], [['fibre'], 'isp0']);

    await lab.ip('router', 'rule del pref 9600');
    assert.deepEqual([await carriers(fresh), await routeGet(lab, '192.0.2.10')], [['lte'], 'isp2']);
  }));

test('`ignore_routes_with_linkdown`: without it a cut cable is never left by the kernel alone', { skip }, () =>
  withStory({}, async ({ lab, daemon }) => {
    const fresh = await lab.stream({ kind: 'new-udp', rateHz: 50 });
    await daemon.kill9();
    const fault = await lab.cutCable('fibre');
    await fresh.outageAfter(fault);
    await lab.plugCable('fibre');
    await waitFor('fibre carries again', () => carriers(fresh), (seen) => seen.join() === 'fibre');

    await lab.sysctl('router', '0', 'net/ipv4/conf/isp0/ignore_routes_with_linkdown');
    const cut = await lab.cutCable('fibre');
    await assertUnanswered(fresh, cut.doneAt);
  }));

async function routesOf(lab: Lab, ...asked: readonly (readonly string[])[]): Promise<readonly string[]> {
  return Promise.all(asked.map(async (how) => routeGet(lab, ...how)));
}

/** The source address that the internet sees of one question by a socket of the router bound to `address`. */
async function seenAs(lab: Lab, address: string): Promise<string> {
  const ask = `const socket = require('node:dgram').createSocket('udp4');
    socket.once('message', (answer) => { console.log(String(answer).split(' ')[1]); process.exit(0); });
    socket.bind(0, ${JSON.stringify(address)}, () => socket.send('1', 7007, '192.0.2.10'));
    setTimeout(() => process.exit(1), 3000);`;
  return (await lab.text('router', [process.execPath, '--eval', ask])).trim();
}
