/** Foreign hands: whatever of ours they take is put back, counted and told once; nothing of theirs is touched; their noise delays nothing. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { labUnavailable, now, waitFor } from '../lab/lab.js';
import type { Daemon } from '../lab/daemon.js';
import type { Lab } from '../lab/lab.js';
import { BACKENDS, assertUnhurt, carriers, defaultsOf, isInSync, said, shareStory, uplinkIn, untilSaid } from './story.js';

const skip = (await labUnavailable(...BACKENDS.filter((backend) => backend === 'iptables'))) ?? false;
const POLICIES = [{ name: 'telephony', protocol: 'udp', ports: 5060, use: ['cable', 'fibre'] }];
const tell = shareStory({ config: { policies: POLICIES, nat: { backend: BACKENDS[0] } } });

test('a route of ours that is taken from any table, and a rule of any kind, is put back, is counted, and told once with a guess who', { skip }, () =>
  tell(async ({ lab, daemon }) => {
    const fresh = await lab.stream({ kind: 'new-udp', rateHz: 50 });
    const { own, mark, classTable, classMark } = await numbersOf(lab, daemon);
    const thefts: readonly (readonly [string, readonly string[]])[] = [
      ['from main', ['route del default via 198.51.100.1 dev isp0 metric 30']],
      ['from ACTIVE', ['route del default via 198.51.100.1 dev isp0 table 9400']],
      ["from the uplink's own table", [`route flush table ${own}`]],
      ['from the table of a class', [`route flush table ${classTable}`]],
      // Another wish: what follows is a quarrel of its own.
      ['rules of devices and of main', ['rule del pref 9410 oif isp0', 'rule del pref 9450']],
      ['the rule of a mark', [`rule del pref 9500 fwmark ${mark}/0x3f80`]],
      ['the rules of a class and of an address', [`rule del pref 9540 fwmark ${classMark}/0x3f80`, 'rule del pref 9550 from 203.0.113.2']],
      ['the rule that steers', ['rule del pref 9600']],
    ];
    for (const [n, [what, commands]] of thefts.entries()) {
      if (n === 4) assert.equal((await daemon.ctl('switch-uplink', 'cable')).code, 0);
      await daemon.until('the kernel is as wished', isInSync);
      const before = await routingOf(lab);
      const repairs = repairsOf(await daemon.status());
      await lab.ip('router', ...commands);
      await waitFor(`${what}: it is back`, () => routingOf(lab), (seen) => seen === before);
      assert.ok(repairsOf(await daemon.until('it is counted', (status) => repairsOf(status) > repairs)) <= repairs + commands.length + 1, what);
    }
    const told = await waitFor('all is told', () => said(daemon, /^putting back what somebody else changed/), (lines) => lines.length >= thefts.length);
    assert.equal(told.length, thefts.length, told.join('\n'));
    assert.match(told[0] ?? '', /ip route add default via 198\.51\.100\.1 dev isp0 .*; (probably|perhaps|by) \S/);
    assert.deepEqual(await carriers(fresh), ['cable']);
  }));

test('the same theft again and again is put back each time, told once, and then damped; a failover does not wait for that', { skip }, () =>
  tell(async ({ lab, daemon }) => {
    const fresh = await lab.stream({ kind: 'new-udp', rateHz: 50 });
    const gone = async (): Promise<boolean> => !(await defaultsOf(lab)).some((route) => route.includes('dev isp2'));
    for (let n = 0; n < 6; n++) {
      await lab.ip('router', 'route del default via 100.64.0.1 dev isp2 metric 32');
      if (n < 5) await waitFor('it is back', gone, (isGone) => !isGone);
    }
    assert.equal(said(daemon, /^putting back/).length, 1);
    assert.ok(repairsOf(await daemon.status()) >= 5);
    await fresh.outageAfter(await lab.cutCable('fibre'));
    assert.deepEqual(await carriers(fresh), ['cable']);
  }));

test('our default in main, replaced by another program\'s: theirs stays, ours comes back beside it, and new flows never follow theirs', { skip }, () =>
  tell(async ({ lab, daemon }) => {
    const fresh = await lab.stream({ kind: 'new-udp', rateHz: 50 });
    const since = now();
    await lab.ip('router', 'route replace default via 203.0.113.1 dev isp1 metric 30 proto static');
    await waitFor('ours is back', () => defaultsOf(lab), (routes) => routes.filter((route) => route.includes('proto 147')).length === 3 && routes.some((route) => route.includes('proto static')));
    await daemon.until('the kernel is as wished', isInSync);
    await assertUnhurt({ fresh }, since);
    assert.deepEqual(await carriers(fresh), ['fibre']);
    await lab.ip('router', 'route del default via 203.0.113.1 dev isp1 metric 30 proto static');
  }));

for (const [n, backend] of BACKENDS.entries()) {
  // What is told once in a quarrel is told to the next backend by a daemon of its own.
  const tellOfFilter = n === 0 ? tell : shareStory({ config: { policies: POLICIES, nat: { backend } } });
  test(`rules of our packet filter that somebody takes one by one are back soon, counted, and told once (${backend})`, { skip }, () =>
    tellOfFilter(async ({ lab, daemon }) => {
      const thefts: readonly (readonly string[])[] = backend === 'nftables'
        ? [['nft', 'flush', 'chain', 'ip', 'uplinkd', 'leave'], ['nft', 'delete', 'chain', 'ip', 'uplinkd', 'choose'], ['nft', 'delete', 'table', 'ip', 'uplinkd']]
        : [['iptables', '-t', 'nat', '-F', 'UPLINKD_NAT'], ['iptables', '-t', 'mangle', '-D', 'PREROUTING', '-j', 'UPLINKD_PRE'], ['iptables', '-t', 'mangle', '-F', 'UPLINKD_NEW']];
      const before = await filterOf(lab);
      for (const theft of thefts) {
        const repairs = repairsOf(await daemon.status());
        await lab.text('router', theft);
        await waitFor(`${theft.join(' ')}: it is back`, () => filterOf(lab), (seen) => seen === before);
        // Two that meet in one look at the packet filter are counted as one.
        await daemon.until('it is counted', (status) => repairsOf(status) > repairs);
      }
      await untilSaid(daemon, /putting back NAT and firewall rules/);
      assert.equal(said(daemon, /putting back NAT and firewall rules that somebody else changed; probably (nft|iptables|ip)|putting back NAT and firewall rules that somebody else changed$/).length, 1);
    }));
}

test('a routing daemon that flaps thousands of foreign routes a second delays no failover', { skip }, () =>
  tell(async ({ lab, daemon }) => {
    const lines = (verb: string): string => Array.from({ length: 5000 }, (_, n) => `route ${verb} 10.${100 + (n >> 8)}.${n & 255}.0/24 via 10.8.0.2 dev vpn0 proto bgp\n`).join('');
    await lab.text('router', ['tee', '/run/flap'], lines('add') + lines('del'));
    const repairs = repairsOf(await daemon.status());
    const fresh = await lab.stream({ kind: 'new-udp', rateHz: 50 });
    const flapping = await lab.start('router', ['sh', '-c', 'while ip -batch /run/flap; do :; done']);
    const flapped = async (): Promise<number> => (await lab.text('router', ['ip', 'route', 'show', 'proto', 'bgp'])).length;
    await waitFor('routes are there', flapped, (length) => length > 0);
    await fresh.outageAfter(await lab.cutCable('fibre'));
    assert.deepEqual(await carriers(fresh), ['cable']);
    assert.deepEqual((await daemon.status()).active.map((one) => one.name), ['cable']);
    assert.ok(flapping.kill('SIGKILL'));
    await waitFor('the last round is over', flapped, (length) => length === 0, { everyMs: 100 });
    await daemon.until('the kernel is as wished', isInSync);
    assert.equal(repairsOf(await daemon.status()), repairs, 'it is no business of ours');
  }));

async function numbersOf(lab: Lab, daemon: Daemon): Promise<Readonly<Record<'own' | 'mark' | 'classTable' | 'classMark', string>>> {
  const fibre = uplinkIn(await daemon.status(), 'fibre');
  const rule = (await lab.view('router')).rules.find((each) => each.startsWith('9540')) ?? '';
  const [, classMark = '', classTable = ''] = /fwmark (0x[0-9a-f]+)\/\S+ lookup (\d+)/.exec(rule) ?? [];
  return { own: String(fibre['table']), mark: String(fibre['mark']), classTable, classMark };
}

async function routingOf(lab: Lab): Promise<string> {
  const asked = [['ip', 'rule'], ['ip', 'route', 'show', 'table', 'all']];
  const [rules = '', routes = ''] = await Promise.all(asked.map(async (what) => lab.text('router', what)));
  return [...rules.split('\n').sort(), routes].join('\n');
}

/** Sorted: a chain that was made anew stands behind the others. */
async function filterOf(lab: Lab): Promise<string> {
  const { nft, iptables } = await lab.view('router');
  return [...nft, ...iptables].filter((line) => /^table|uplinkd|UPLINKD|comment/.test(line)).sort().join('\n');
}

function repairsOf(status: Readonly<Record<string, unknown>>): number {
  return (status['kernel'] as { readonly repairs: number }).repairs;
}
