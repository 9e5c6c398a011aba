/**
 * What becomes of the LAN's IPv6 addresses: translated prefix by prefix (NPTv6), or used as they are and taken out of use while their provider is
 * down. And router advertisements: who told the line its address and its default route goes on doing so.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { labUnavailable, now, until, waitFor } from '../lab/lab.js';
import type { Lab } from '../lab/lab.js';
import type { Stream } from '../lab/stream.js';
import { FAST, STEADY, assertUnhurt, carriers, defaultsOf, familyIn, isInSync, reaches, reload, said, withStory, type Story } from './story.js';

const skip = (await labUnavailable()) ?? false;
const noRadvd = (await labUnavailable('radvd')) ?? false;
const noDnsmasq = (await labUnavailable('dnsmasq', 'python3')) ?? false;
const IPV6 = { isps: 2, ipv6: true, vpn: false } as const;
const TO = '2001:db8:ffff::10';

const ADVERTISED = [
  { name: 'fibre', prefix: '198.51.100.0/24', gateway: '198.51.100.1', router: '', addresses: 'none' },
  { name: 'cable', prefix: '203.0.113.0/24', gateway: '203.0.113.1', router: '', addresses: 'none' },
] as const;
const ROUTED = [
  { uplink: 'fibre', prefix6: '2001:db8:100::/64', lan: '2001:db8:100::' },
  { uplink: 'cable', prefix6: '2001:db8:200::/64', lan: '2001:db8:200::' },
];

test('NPTv6: the client is seen under the prefix of the line that carries it, host part kept; a running flow goes on under the other; a prefix that is delegated anew', { skip }, () =>
  withStory({ topology: IPV6, config: translated() }, async (story) => {
    const { lab, daemon } = story;
    const [old, fresh] = await Promise.all([lab.stream({ kind: 'udp', to: TO, rateHz: 50 }), lab.stream({ kind: 'new-udp', to: TO, rateHz: 50 })]);
    assert.deepEqual([await seenAs(old), await seenAs(fresh)], [['2001:db8:100::10'], ['2001:db8:100::10']]);
    const struck = await lab.upstreamDead('fibre');
    await old.outageAfter(struck, { calmMs: 1000 });
    assert.deepEqual([await seenAs(old), await seenAs(fresh)], [['2001:db8:200::10'], ['2001:db8:200::10']]);
    await lab.heal('fibre');
    await daemon.untilActive('fibre');
    assert.deepEqual([await seenAs(old), await seenAs(fresh)], [['2001:db8:200::10'], ['2001:db8:100::10']]);
    const router = await lab.stream({ kind: 'udp', to: TO, from: 'router', rateHz: 50 });
    assert.deepEqual(await seenAs(router), ['2001:db8:101::2'], 'what has no address of the LAN goes under the line\'s own');
    const cut = await lab.cutCable('fibre');
    await fresh.outageAfter(cut);
    assert.deepEqual(await seenAs(fresh), ['2001:db8:200::10']);
    await lab.plugCable('fibre');
    await daemon.untilActive('fibre');
    await delegatedAnew(story, fresh);
  }));

test('routed prefixes: the LAN\'s addresses of a dead provider are taken out of use, clients hear of it, and they are given back', { skip: noDnsmasq }, () =>
  withStory(
    {
      topology: IPV6,
      config: { ...FAST, ...withPrefixes({ masquerade6: false }) },
      async before(lab) {
        await lab.ip('client', 'route del default via fd00:a:1::1', 'addr del fd00:a:1::10/64 dev eth0');
        await lab.ip('router', 'addr del fd00:a:1::1/64 dev lan0', ...ROUTED.map(({ lan }) => `addr add ${lan}1/64 dev lan0 nodad`));
        await lab.advertiseLan();
        await waitFor('the client has an address of each provider', async () => addressesOf(lab, 'client', 'eth0'), (all) => ROUTED.every(({ lan }) => all.some(isIn(lan, false))));
      },
    },
    async ({ lab, daemon }) => {
      const sources = (await addressesOf(lab, 'client', 'eth0')).map((line) => / inet6 (\S+)\//.exec(line)?.[1] ?? '');
      for (const source of sources) await reaches(lab, 'client', '-I', source, TO);
      assert.deepEqual([sources.length, await lab.spoofed('fibre', 6), await lab.spoofed('cable', 6)], [2, 0, 0]);
      const fresh = await lab.stream({ kind: 'new-udp', to: TO, rateHz: 50 });
      await lab.upstreamDead('fibre');
      await waitFor('the LAN address of fibre is deprecated', async () => addressesOf(lab, 'router', 'lan0'), (all) => all.some(isIn('2001:db8:100::', true)) && all.some(isIn('2001:db8:200::', false)));
      await lab.solicit('client');
      await waitFor('the client knows', async () => addressesOf(lab, 'client', 'eth0'), (all) => all.some(isIn('2001:db8:100::', true)) && all.some(isIn('2001:db8:200::', false)));
      await fresh.outageAfter(now());
      assert.ok((await seenAs(fresh)).every((address) => address.startsWith('2001:db8:200:')));
      await lab.heal('fibre');
      await daemon.untilActive('fibre');
      await waitFor('the LAN address of fibre is given back', async () => addressesOf(lab, 'router', 'lan0'), (all) => ROUTED.every(({ lan }) => all.some(isIn(lan, false))));
      await lab.solicit('client');
      await waitFor('the client knows', async () => addressesOf(lab, 'client', 'eth0'), (all) => ROUTED.every(({ lan }) => all.some(isIn(lan, false))));
      await daemon.until('the kernel is as wished', isInSync);
      assert.deepEqual(said(daemon, /the kernel refused/), []);
    },
  ));

test('router advertisements: gateways are learnt, the kernel\'s own defaults stay and are beaten by metric, also while forwarding is turned on', { skip: noRadvd }, () => {
  let deleted: () => string = () => '';
  return withStory(
    {
      topology: { ...IPV6, isps: ADVERTISED },
      config: { ...STEADY, uplinks: { fibre: { interface: 'isp0', gateway: '198.51.100.1', priority: 1 }, cable: { interface: 'isp1', gateway: '203.0.113.1', priority: 2 } } },
      async before(lab) {
        await lab.ip('router', 'addr add 198.51.100.2/24 dev isp0', 'addr add 203.0.113.2/24 dev isp1');
        await Promise.all(['fibre', 'cable'].map(async (isp) => lab.advertise(isp)));
        await waitFor('both lines have an address and a default', async () => defaultsOf(lab, 6), (routes) => routes.filter((route) => route.includes('proto ra')).length === 2 || routes.some((route) => route.includes('nexthop')));
        deleted = await deletedDefaults(lab);
      },
    },
    async ({ lab, daemon }) => {
      assert.equal(deleted(), '', 'no default of an advertisement has gone at any time');
      const status = await daemon.status();
      for (const name of ['fibre', 'cable']) assert.deepEqual([familyIn(status, name, 6).gateway, familyIn(status, name, 6).state], ['fe80::1', 'up']);
      assert.equal((await lab.text('router', ['cat', '/proc/sys/net/ipv6/conf/isp0/accept_ra', '/proc/sys/net/ipv6/conf/all/forwarding'])).replaceAll('\n', ' '), '2 1 ');
      const defaults = await defaultsOf(lab, 6);
      assert.deepEqual(defaults.slice(0, 2).map((route) => /dev (\S+) proto (\S+)/.exec(route)?.slice(1)), [['isp0', '147'], ['isp1', '147']]);
      assert.ok(defaults.slice(2).some((route) => route.includes('proto ra')), defaults.join('; '));

      const [old, fresh] = await Promise.all([lab.stream({ kind: 'udp', to: TO, rateHz: 50 }), lab.stream({ kind: 'new-udp', to: TO, rateHz: 50 })]);
      await fresh.outageAfter(await lab.cutCable('fibre'));
      assert.deepEqual([await carriers(fresh), await carriers(old)], [['cable'], ['cable']]);
      await lab.plugCable('fibre');
      await lab.advertise('fibre');
      await daemon.untilActive('fibre');
      assert.deepEqual(await carriers(fresh), ['fibre']);

      await Promise.all(['fibre', 'cable'].map(async (isp) => lab.stopAdvertising(isp)));
      await lab.text('router', ['ip', '-6', 'route', 'flush', 'proto', 'ra']);
      await daemon.until('the kernel is as wished', isInSync);
      assert.deepEqual((await daemon.status()).uplinks.map((uplink) => familyIn({ ...status, uplinks: [uplink] }, uplink.name, 6).gateway), ['fe80::1', 'fe80::1'], 'what was learnt is kept');
      assert.deepEqual(await carriers(fresh), ['fibre']);
      await renumbered(lab, fresh);
      const { rules } = await lab.view('router', 6);
      assert.ok(rules.some((rule) => rule.includes('from 2001:db8:1f1:')), rules.join('; '));
      await assertUnhurt({ old }, now() - 200);
    },
  );
});

/** Not damped: fibre fails several times. */
function translated(fibre: Readonly<Record<string, unknown>> = {}): Record<string, unknown> {
  const { uplinks } = withPrefixes({}) as { readonly uplinks: Readonly<Record<string, object>> };
  return {
    ...FAST, health: { ...FAST.health, damping: 'off' }, uplinks: { ...uplinks, fibre: { ...uplinks['fibre'], ...fibre } },
    lan: { interfaces: ['lan0'], prefix6: 'fd00:a:1::/64' },
  };
}

/** The provider takes one prefix away and delegates another: what is learnt follows; what is written is told, and left for another line. */
async function delegatedAnew(story: Story, fresh: Stream): Promise<void> {
  const { lab, daemon } = story;
  const delegate = async (prefix: string, former: string): Promise<void> => {
    await lab.renumberIsp('fibre', { delegated6: prefix });
    await lab.ip('router', `route add unreachable ${prefix} dev lo proto dhcp metric 1024`, ...(former === '' ? [] : [`route del unreachable ${former} dev lo proto dhcp metric 1024`]));
  };
  const goesUnder = async (stream: Stream, prefix: string): Promise<unknown> => waitFor(`flows bear ${prefix}`, async () => seenAs(stream), (seen) => seen.length > 0 && seen.every((address) => address === `${prefix}10`));
  await delegate('2001:db8:100::/56', '');
  await reload(story, translated({ prefix6: 'auto' }));
  await goesUnder(fresh, '2001:db8:100::');
  const running = await lab.stream({ kind: 'udp', to: TO, rateHz: 50 });
  await goesUnder(running, '2001:db8:100::');
  await delegate('2001:db8:1f0::/56', '2001:db8:100::/56');
  await Promise.all([running, fresh].map(async (stream) => goesUnder(stream, '2001:db8:1f0::')));

  await reload(story, translated({ prefix6: '2001:db8:1f0::/64' }));
  await daemon.untilActive('fibre');
  await delegate('2001:db8:1e0::/56', '2001:db8:1f0::/56');
  const problem = /the provider delegates 2001:db8:1e0::\/56, and the config names another prefix6/;
  await daemon.until('it is told', (seen) => problem.test(JSON.stringify(seen['host'])));
  const status = await daemon.until('connections are believed', (seen) => familyIn(seen, 'fibre', 6).because.startsWith('targets answer, connections do not'), { timeoutMs: 40_000 });
  assert.match(familyIn(status, 'fibre', 6).because, /^targets answer, connections do not: .*; they leave as 2001:db8:1f0::\/64, and the provider delegates 2001:db8:1e0::\/56 now$/);
  assert.deepEqual([familyIn(status, 'fibre', 4).state, familyIn(status, 'fibre', 4).active], ['up', true], 'IPv4 has no part in it');
  await waitFor('new flows leave by the other line', async () => seenAs(fresh), (seen) => seen.length > 0 && seen.every((address) => address === '2001:db8:200::10'));
  assert.match((await daemon.ctl('doctor')).stdout, /the provider delegates 2001:db8:1e0::\/56[^]*prefix6: auto/);
  assert.equal(said(daemon, problem).length, 1);
}

function withPrefixes(more: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const lines = [{ interface: 'isp0', gateway: '198.51.100.1', gateway6: 'fe80::1', priority: 1 }, { interface: 'isp1', gateway: '203.0.113.1', gateway6: 'fe80::1', priority: 2 }];
  return { uplinks: Object.fromEntries(ROUTED.map(({ uplink, prefix6 }, n) => [uplink, { ...lines[n], prefix6, ...more }])) };
}

/** The provider of fibre changes the line's prefix and advertises the new one, and that the old one is over: new flows go under the new one. */
async function renumbered(lab: Lab, fresh: Stream): Promise<void> {
  const struck = await lab.renumberIsp('fibre', { prefix6: '2001:db8:1f1::/64' });
  await lab.advertise('fibre', { deprecated: ['2001:db8:101::/64'] });
  await fresh.outageAfter(struck);
  // Where the old prefix was missed before the new one was known, new flows rest elsewhere for a while.
  await waitFor('new flows bear the new prefix', async () => seenAs(fresh), (seen) => seen.length > 0 && seen.every((address) => address.startsWith('2001:db8:1f1:')));
}

/** The addresses that the far end saw in the next moment. */
async function seenAs(stream: Stream): Promise<readonly string[]> {
  const since = now();
  await until(since + 150);
  const samples = await stream.samples({ since, until: since + 150 });
  return [...new Set(samples.flatMap(({ seen }) => (seen === undefined ? [] : [seen])))].sort();
}

async function addressesOf(lab: Lab, host: string, device: string): Promise<readonly string[]> {
  return (await lab.text(host, ['ip', '-6', '-o', 'addr', 'show', 'dev', device, 'scope', 'global'])).split('\n').filter((line) => line !== '');
}

function isIn(network: string, deprecated: boolean): (line: string) => boolean {
  return (line) => line.includes(` ${network.replace(/::$/, ':')}`) && line.includes('deprecated') === deprecated;
}

/** What the kernel says from now on of default routes that vanish and are not ours. */
async function deletedDefaults(lab: Lab): Promise<() => string> {
  const monitor = await lab.start('router', ['ip', '-6', 'monitor', 'route']);
  let said = '';
  monitor.child.stdout?.on('data', (chunk: Buffer) => (said += chunk.toString()));
  return () => said.split('\n').filter((line) => line.startsWith('Deleted default') && line.includes('proto ra')).join('\n');
}
