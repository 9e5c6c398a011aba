/**
 * Each rule of the layout has a reason, and here it is: the daemon lays the kernel out and is killed with -9; what the rule is for works; then
 * that one rule is deleted by hand, nobody puts it back, and it does not work any more.
 *
 * All in one router, one after the other, and each gives its rule back. There fibre is active, lte was down when the daemon was killed, flows run by
 * cable that began while fibre was cut, and a DHCP client had written a default of metric 0 by cable before the daemon started.
 */
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { labUnavailable, now, openLab, waitFor } from '../lab/lab.js';
import type { Lab } from '../lab/lab.js';
import type { Stream } from '../lab/stream.js';
import { STEADY, assertUnanswered, carriers, defaultsOf, explainedBy, isInSync, pings, reaches, routeGet, settled, uplinkIn, untilState } from './story.js';
import type { Story } from './story.js';

const skip = (await labUnavailable()) ?? false;

interface LaidOut extends Story {
  readonly marks: Readonly<Record<'fibre' | 'cable', string>>;
  /** These run by cable. */
  readonly old: Stream;
  readonly tcp: Stream;
}

let lab: Lab | undefined;
let laidOut: LaidOut | undefined;
after(async () => lab?.close());

test('`fwmark M lookup T`: without it a running flow moves with the next switch, and its TCP connections break', { skip }, () =>
  tell(async ({ lab, marks, old, tcp }) => {
    assert.deepEqual([await carriers(old), await carriers(tcp)], [['cable'], ['cable']]);

    await without(lab, `fwmark ${marks.cable}/0x3f80 lookup`, async () => {
      await waitFor('the running flow has moved', () => carriers(old), (seen) => seen.includes('fibre'));
      await waitFor('every connection is broken', () => tcp.broken(), (broken) => new Set(broken.map((one) => one.connection)).size === 10);
    });
  }));

test('`oif DEV lookup T`, kept while down: without it a probe through a dead uplink asks the wire for the target itself, and the uplink never comes back', { skip }, () =>
  tell(async ({ lab }) => {
    const neighbours = async (): Promise<string> => lab.text('router', ['ip', 'neigh', 'show', 'dev', 'isp2']);
    const { main, active } = await lab.view('router');
    assert.deepEqual([...main, ...active].filter((route) => /^default .* dev isp2/.test(route)), []);
    await reaches(lab, 'router', '-I', 'isp2', '1.1.1.1');
    assert.doesNotMatch(await neighbours(), /^1\.1\.1\.1 /m);

    await without(lab, 'oif isp2 lookup', async () => {
      assert.equal(await pings(lab, 'router', '-I', 'isp2', '1.1.1.1'), false);
      assert.match(await neighbours(), /^1\.1\.1\.1 +(INCOMPLETE|FAILED)/m);
    });
  }));

test('`lookup main suppress_prefixlength 0`: without the rule replies towards the LAN, and marked flows to a VPN, loop out of the uplink', { skip }, () =>
  tell(async ({ lab, marks }) => {
    const [internet, vpn] = await Promise.all([lab.stream({ kind: 'udp', rateHz: 50 }), lab.stream({ kind: 'udp', rateHz: 50, to: '10.8.0.2' })]);
    assert.deepEqual(await routesOf(lab, ['10.8.0.2', 'mark', marks.fibre], ['192.168.1.10', 'from', '192.0.2.10', 'iif', 'isp0']), ['vpn0', 'lan0']);
    await reaches(lab, 'router', '-m', String(Number(marks.fibre)), '10.8.0.2');

    await without(lab, 'lookup main suppress_prefixlength 0', async () => {
      const since = now();
      assert.deepEqual(await routesOf(lab, ['10.8.0.2', 'mark', marks.fibre], ['192.168.1.10', 'from', '192.0.2.10', 'iif', 'isp0']), ['isp0', 'isp0']);
      assert.equal(await pings(lab, 'router', '-m', String(Number(marks.fibre)), '10.8.0.2'), false);
      for (const stream of [internet, vpn]) {
        const { lost, sent } = await stream.outage({ since: since + 50, until: since + 350 });
        assert.equal(lost, sent, 'every packet');
      }
    });
  }));

test('`suppress_prefixlength 0`: without it a foreign default in main takes new flows and marked ones', { skip }, () =>
  tell(async ({ lab }) => {
    const [marked, fresh] = await Promise.all([lab.stream({ kind: 'udp', rateHz: 50 }), lab.stream({ kind: 'new-udp', rateHz: 50 })]);
    assert.deepEqual([await carriers(marked), await carriers(fresh)], [['fibre'], ['fibre']]);

    await without(lab, 'lookup main suppress_prefixlength 0', async () => {
      await lab.ip('router', 'rule add pref 9450 lookup main');
      assert.deepEqual([await carriers(marked), await carriers(fresh)], [['cable'], ['cable']]);
      await lab.ip('router', 'rule del pref 9450 lookup main');
    });
  }));

test('`from A lookup T`: without it a socket of the router that is bound to an uplink\'s address leaves by the active line', { skip }, () =>
  tell(async ({ lab }) => {
    assert.equal(await routeGet(lab, '192.0.2.10', 'from', '203.0.113.2'), 'isp1');
    assert.equal(await seenAs(lab, '203.0.113.2'), '203.0.113.2');

    await without(lab, 'from 203.0.113.2 lookup', async () => {
      assert.equal(await routeGet(lab, '192.0.2.10', 'from', '203.0.113.2'), 'isp0');
      assert.equal(await seenAs(lab, '203.0.113.2'), '198.51.100.2', 'it left by fibre');
    });
  }));

test('`lookup ACTIVE` above main: without it a default of metric 0 that a DHCP client wrote wins', { skip }, () =>
  tell(async ({ lab }) => {
    const foreign = 'default via 203.0.113.1 dev isp1 proto dhcp';
    assert.deepEqual((await defaultsOf(lab)).filter((route, n) => n === 0 || !route.includes('proto 147')), [foreign], 'nothing in main can beat it, and it is left alone');
    const fresh = await lab.stream({ kind: 'new-udp', rateHz: 50 });
    assert.deepEqual([await carriers(fresh), await routeGet(lab, '192.0.2.10')], [['fibre'], 'isp0']);

    await without(lab, 'lookup 9400', async () => {
      assert.deepEqual([await carriers(fresh), await routeGet(lab, '192.0.2.10')], [['cable'], 'isp1']);
    });
  }));

test('`ignore_routes_with_linkdown`: without it a cut cable is never left by the kernel alone', { skip }, () =>
  tell(async ({ lab }) => {
    const fresh = await lab.stream({ kind: 'new-udp', rateHz: 50 });
    const fault = await lab.cutCable('fibre');
    await fresh.outageAfter(fault);
    await lab.plugCable('fibre');
    await waitFor('fibre carries again', () => carriers(fresh), (seen) => seen.join() === 'fibre');

    await lab.sysctl('router', '0', 'net/ipv4/conf/isp0/ignore_routes_with_linkdown');
    const cut = await lab.cutCable('fibre');
    await assertUnanswered(fresh, cut.doneAt);
    await lab.sysctl('router', '1', 'net/ipv4/conf/isp0/ignore_routes_with_linkdown');
    await lab.plugCable('fibre');
  }));

async function tell(story: (laidOut: LaidOut) => Promise<void>): Promise<void> {
  laidOut ??= await layOut(lab ??= await openLab());
  const told = laidOut;
  await explainedBy(told, async () => story(told));
  await told.lab.endStreams();
}

async function layOut(lab: Lab): Promise<LaidOut> {
  await lab.addForeignDefault('cable');
  const daemon = await lab.startDaemon({ config: lab.config(STEADY) });
  return explainedBy({ lab, daemon }, async () => {
    await settled(daemon);
    await lab.cutCable('fibre');
    await lab.upstreamDead('lte');
    await untilState(daemon, 'lte', 'down');
    await daemon.untilActive('cable');
    const [old, tcp] = await Promise.all([lab.stream({ kind: 'udp', rateHz: 50 }), lab.stream({ kind: 'tcp' })]);
    await lab.plugCable('fibre');
    await daemon.untilActive('fibre');
    const status = await daemon.until('the kernel is as wished', isInSync);
    await daemon.kill9();
    await lab.heal('lte');
    return { lab, daemon, old, tcp, marks: { fibre: String(uplinkIn(status, 'fibre')['mark']), cable: String(uplinkIn(status, 'cable')['mark']) } };
  });
}

/** While the one rule that has these words is away. */
async function without(lab: Lab, words: string, use: () => Promise<void>): Promise<void> {
  const { rules } = await lab.view('router');
  const found = rules.filter((rule) => rule.includes(`${words} `));
  assert.equal(found.length, 1, `${words} in ${rules.join('; ')}`);
  const rule = `pref ${found[0]!.replace(':', '')}`;
  await lab.ip('router', `rule del ${rule}`);
  await use();
  await lab.ip('router', `rule add ${rule}`);
}

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
