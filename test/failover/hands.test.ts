/** Foreign hands: whatever of ours they take is put back, counted and told once; nothing of theirs is touched; their noise delays nothing. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { labUnavailable, now, until, waitFor } from '../lab/lab.js';
import type { Daemon } from '../lab/daemon.js';
import type { Lab } from '../lab/lab.js';
import { STEADY, assertUnhurt, carriers, defaultsOf, isInSync, said, settled, uplinkIn, untilSaid, withStory } from './story.js';

const skip = (await labUnavailable()) ?? false;
const noIptables = (await labUnavailable('iptables')) ?? false;
const POLICIES = [{ name: 'telephony', protocol: 'udp', ports: 5060, use: ['cable', 'fibre'] }];

test('a route of ours that is taken from any table, and a rule of any kind, is put back, is counted, and told once with a guess who', { skip }, () =>
  withStory({ config: { policies: POLICIES, nat: { backend: 'nftables' } } }, async ({ lab, daemon }) => {
    const fresh = await lab.stream({ kind: 'new-udp', rateHz: 100 });
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
  withStory({}, async ({ lab, daemon }) => {
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
  withStory({}, async ({ lab, daemon }) => {
    const fresh = await lab.stream({ kind: 'new-udp', rateHz: 50 });
    const since = now();
    await lab.ip('router', 'route replace default via 203.0.113.1 dev isp1 metric 30 proto static');
    await waitFor('ours is back', () => defaultsOf(lab), (routes) => routes.filter((route) => route.includes('proto 147')).length === 3 && routes.some((route) => route.includes('proto static')));
    await daemon.until('the kernel is as wished', isInSync);
    await assertUnhurt({ fresh }, since);
    assert.deepEqual(await carriers(fresh), ['fibre']);
  }));

for (const [backend, without] of [['nftables', skip], ['iptables', noIptables]] as const) {
  test(`rules of our packet filter that somebody takes one by one are back soon, counted, and told once (${backend})`, { skip: without }, () =>
    withStory({ config: { policies: POLICIES, nat: { backend } } }, async ({ lab, daemon }) => {
      const thefts: readonly (readonly string[])[] = backend === 'nftables'
        ? [['nft', 'flush', 'chain', 'ip', 'uplinkd', 'leave'], ['nft', 'delete', 'chain', 'ip', 'uplinkd', 'choose'], ['nft', 'delete', 'table', 'ip', 'uplinkd']]
        : [['iptables', '-t', 'nat', '-F', 'UPLINKD_NAT'], ['iptables', '-t', 'mangle', '-D', 'PREROUTING', '-j', 'UPLINKD_PRE'], ['iptables', '-t', 'mangle', '-F', 'UPLINKD_NEW']];
      const before = await filterOf(lab);
      const repairs = repairsOf(await daemon.status());
      for (const theft of thefts) {
        await lab.text('router', theft);
        await waitFor(`${theft.join(' ')}: it is back`, () => filterOf(lab), (seen) => seen === before);
      }
      await daemon.until('each was counted', (status) => repairsOf(status) >= repairs + thefts.length);
      await untilSaid(daemon, /putting back NAT and firewall rules/);
      assert.equal(said(daemon, /putting back NAT and firewall rules that somebody else changed; probably (nft|iptables|ip)|putting back NAT and firewall rules that somebody else changed$/).length, 1);
    }));
}

test('through a whole life of the daemon with failovers, nothing of others changes: not a route, rule, table or sysctl that is not ours', { skip }, () => {
  let before = '';
  const furnish = async (lab: Lab): Promise<void> => {
    await lab.ip('router', 'route add default via 100.64.0.1 dev isp2 metric 7 proto static', 'route add 10.99.0.0/16 via 10.8.0.2 dev vpn0 proto bird', 'route add blackhole 10.98.0.0/16',
      'route add 10.97.0.0/16 via 10.8.0.2 table 77 proto static', 'rule add pref 5000 from 10.97.0.0/16 lookup 77 proto bird', 'rule add pref 9650 fwmark 0x4 lookup 77');
    await lab.text('router', ['nft', '-f', '-'], 'table inet others { set s { type ipv4_addr; elements = { 192.0.2.99 }; }\nchain c { type filter hook prerouting priority 7; ip saddr @s counter drop; }\n}\n');
    await lab.text('router', ['ip', '-6', 'rule', 'add', 'pref', '9500', 'from', '2001:db8::/32', 'lookup', '77']);
    before = await foreignOf(lab);
  };
  return withStory({ config: { stop: 'restore', nat: { backend: 'nftables' }, policies: POLICIES }, before: furnish }, async ({ lab, daemon }) => {
    assert.equal(await foreignOf(lab), before, 'after the start');
    await lab.cutCable('fibre');
    await daemon.untilActive('cable');
    assert.equal((await daemon.ctl('switch-uplink', 'lte')).code, 0);
    await lab.plugCable('fibre');
    assert.equal((await daemon.ctl('auto')).code, 0);
    await daemon.untilActive('fibre');
    await daemon.until('the kernel is as wished', isInSync);
    assert.equal(await foreignOf(lab), before, 'after failovers');
    assert.equal(await daemon.stop(), 0);
    assert.equal(await foreignOf(lab), before, 'after the end');
    assert.doesNotMatch((await lab.view('router')).text, /proto 147|uplinkd/i);
  });
});

test('a routing daemon that flaps thousands of foreign routes a second delays no failover', { skip }, () =>
  withStory({}, async ({ lab, daemon }) => {
    const lines = (verb: string): string => Array.from({ length: 5000 }, (_, n) => `route ${verb} 10.${100 + (n >> 8)}.${n & 255}.0/24 via 10.8.0.2 dev vpn0 proto bgp\n`).join('');
    await lab.text('router', ['tee', '/run/flap'], lines('add') + lines('del'));
    const fresh = await lab.stream({ kind: 'new-udp', rateHz: 50 });
    const flapping = await lab.start('router', ['sh', '-c', 'while ip -batch /run/flap; do :; done']);
    const began = now();
    await waitFor('routes are there', async () => (await lab.text('router', ['ip', 'route', 'show', 'proto', 'bgp'])).length, (length) => length > 0);
    await until(began + 500);
    await fresh.outageAfter(await lab.cutCable('fibre'));
    assert.deepEqual(await carriers(fresh), ['cable']);
    assert.deepEqual((await daemon.status()).active.map((one) => one.name), ['cable']);
    await until(began + 2000);
    assert.ok(flapping.kill('SIGKILL'));
    assert.equal(repairsOf(await daemon.status()), 0, 'it is no business of ours');
  }));

test('restarts, by kill and by stop, leave one set of rules, routes, chains and tables', { skip }, () =>
  withStory({ topology: { isps: 2 }, config: { policies: POLICIES, nat: { backend: 'iptables' } } }, async (story) => {
    const { lab } = story;
    const tcp = await lab.stream({ kind: 'tcp' });
    const since = now();
    const before = [await routingOf(lab), await filterOf(lab)];
    for (let n = 0; n < 4; n++) {
      if (n % 2 === 0) await story.daemon.kill9();
      else await story.daemon.stop();
      story.daemon = await lab.startDaemon({ config: lab.config({ ...STEADY, policies: POLICIES, nat: { backend: 'iptables' } }) });
      await story.daemon.ready();
    }
    await settled(story.daemon);
    assert.deepEqual([await routingOf(lab), await filterOf(lab)], before);
    await assertUnhurt({ tcp }, since);
  }));

async function numbersOf(lab: Lab, daemon: Daemon): Promise<Readonly<Record<'own' | 'mark' | 'classTable' | 'classMark', string>>> {
  const fibre = uplinkIn(await daemon.status(), 'fibre');
  const rule = (await lab.view('router')).rules.find((each) => each.startsWith('9540')) ?? '';
  const [, classMark = '', classTable = ''] = /fwmark (0x[0-9a-f]+)\/\S+ lookup (\d+)/.exec(rule) ?? [];
  return { own: String(fibre['table']), mark: String(fibre['mark']), classTable, classMark };
}

async function routingOf(lab: Lab): Promise<string> {
  const { rules, tables } = await lab.view('router');
  return JSON.stringify([[...rules].sort(), tables], undefined, 1);
}

/** Sorted: a chain that was made anew stands behind the others. */
async function filterOf(lab: Lab): Promise<string> {
  const { nft, iptables } = await lab.view('router');
  return [...nft, ...iptables].filter((line) => /^table|uplinkd|UPLINKD|comment/.test(line)).sort().join('\n');
}

async function foreignOf(lab: Lab): Promise<string> {
  const notOurs = (text: string): string => text.split('\n').filter((line) => !/proto (147|kernel)/.test(line)).join('\n');
  const texts = await Promise.all([4, 6].flatMap((family) => [
    lab.text('router', ['ip', `-${family}`, '-d', 'rule']), lab.text('router', ['ip', `-${family}`, '-d', 'route', 'show', 'table', 'all']),
  ]));
  // Whether a line has carrier is no property of theirs.
  return [...texts.map((text) => notOurs(text).replace(/ (dead )?linkdown/g, '').replace(/ (expires|used) \S+/g, '')), await lab.text('router', ['nft', '-s', 'list', 'table', 'inet', 'others'])].join('\n');
}

function repairsOf(status: Readonly<Record<string, unknown>>): number {
  return (status['kernel'] as { readonly repairs: number }).repairs;
}
