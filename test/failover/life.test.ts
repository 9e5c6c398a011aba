/** The daemon's own life: killed, restarted, stopped, misconfigured. None of it may interrupt traffic or leave what it should not. */
import assert from 'node:assert/strict';
import { fileURLToPath } from 'node:url';
import { test } from 'node:test';
import { labUnavailable, now, until, waitFor } from '../lab/lab.js';
import type { Lab } from '../lab/lab.js';
import { BACKENDS, STEADY, UNDAMPED, assertUnhurt, carriers, heldMs, isInSync, said, settled, shareStory, untilSaid, withStory } from './story.js';

const skip = (await labUnavailable(...BACKENDS.filter((backend) => backend === 'iptables'))) ?? false;
const MAIN = fileURLToPath(new URL('../../bin/uplinkd.js', import.meta.url));
const SYSCTLS = ['ip_forward', 'fib_multipath_hash_policy', ...[0, 1, 2].flatMap((n) => ['rp_filter', 'ignore_routes_with_linkdown'].map((name) => `conf/isp${n}/${name}`))];
const POLICIES = [{ name: 'telephony', protocol: 'udp', ports: 5060, use: ['cable', 'fibre'] }];
const SHARED = { policies: POLICIES, nat: { backend: BACKENDS[0] } };
const tell = shareStory({ config: SHARED });

test('killed with -9 and started again: no packet is lost, the choice is adopted, the override survives, and no rule, route, chain or table is there twice', { skip }, () =>
  tell(async (story) => {
    const { lab } = story;
    assert.equal((await story.daemon.ctl('switch-uplink', 'cable', '--reason', 'fibre is being repaired')).code, 0);
    const streams = await traffic(lab);
    const before = await kernelOf(lab);
    const since = now();
    await story.daemon.kill9();
    assert.equal(await kernelOf(lab), before);
    assert.deepEqual([await carriers(streams.old), await carriers(streams.fresh)], [['cable'], ['cable']], 'nobody is there, and it goes on');

    story.daemon = await lab.startDaemon();
    const { active, override } = await settled(story.daemon);
    assert.deepEqual([active.map((one) => one.name), /"uplink":"cable".*"reason":"fibre is being repaired"/.test(JSON.stringify(override))], [['cable'], true]);
    assert.deepEqual(await carriers(streams.fresh), ['cable']);
    await assertUnhurt(streams, since);
    assert.deepEqual(sorted(await kernelOf(lab)), sorted(before), 'nothing had to be changed');
    assert.deepEqual(said(story.daemon, /putting back|refused|forgot/), []);
  }));

test('killed with -9 on a backup: the next one keeps to it until the preferred uplink has held, and running flows stay beyond that', { skip }, () =>
  tell(async (story) => {
    const { lab } = story;
    await lab.cutCable('fibre');
    await story.daemon.untilActive('cable');
    const streams = await traffic(lab);
    const since = now();
    await story.daemon.kill9();
    await lab.plugCable('fibre');
    story.daemon = await lab.startDaemon();
    const status = await story.daemon.untilActive('fibre');
    assert.ok(heldMs(status, 'fibre') >= 1000, `held for ${heldMs(status, 'fibre')} ms`);
    assert.deepEqual([await carriers(streams.fresh), await carriers(streams.old), await carriers(streams.tcp)], [['fibre'], ['cable'], ['cable']]);
    await assertUnhurt(streams, since);
  }));

test('a cable is cut while no daemon lives: the kernel falls back by itself, and the next daemon sees it at once', { skip }, () =>
  tell(async (story) => {
    const { lab } = story;
    const { old, fresh } = await udp(lab);
    await story.daemon.kill9();
    await fresh.outageAfter(await lab.cutCable('fibre'));
    story.daemon = await lab.startDaemon();
    await story.daemon.untilActive('cable');
    assert.deepEqual([await carriers(fresh), await carriers(old)], [['cable'], ['cable']]);
  }));

test('an upstream dies while no daemon lives: the next one finds the old choice, hears nothing from it, and leaves it', { skip }, () =>
  tell(async (story) => {
    const { lab } = story;
    const { old, fresh } = await udp(lab);
    await story.daemon.kill9();
    await lab.upstreamDead('fibre');
    story.daemon = await lab.startDaemon();
    await old.outageAfter(now(), { calmMs: 300 });
    assert.deepEqual([await carriers(fresh), await carriers(old)], [['cable'], ['cable']]);
  }));

test('stopped with `stop: keep`, nothing changes and nothing is lost; started with other words in the config, what they say changes, and no more', { skip }, () =>
  tell(async (story) => {
    const { lab } = story;
    const streams = await traffic(lab);
    const [before, sysctls] = [await kernelOf(lab), await sysctlsOf(lab)];
    const since = now();
    assert.equal(await story.daemon.stop(), 0);
    await until(now() + 300);
    assert.deepEqual([await kernelOf(lab), await sysctlsOf(lab)], [before, sysctls]);
    await assertUnhurt(streams, since);

    const config = lab.config({ ...UNDAMPED, ...SHARED });
    const { fibre, cable } = config['uplinks'] as Record<string, object>;
    story.daemon = await lab.startDaemon({ config: { ...config, uplinks: { cable: { ...cable, priority: 1 }, fibre: { ...fibre, priority: 2 } } } });
    await untilSaid(story.daemon, /cable is preferred \(priority 1\) and has proved itself/);
    const fresh = await carriers(streams.fresh);
    assert.deepEqual([fresh, await carriers(streams.old)], [['cable'], ['fibre']]);
    await waitFor('lte is gone from main', async () => (await lab.view('router')).main, (main) => !main.some((route) => route.startsWith('default') && route.includes('isp2')));
    const { rules } = await lab.view('router');
    assert.deepEqual(rules.filter((rule) => /isp2|100\.64\.0\.2/.test(rule)), []);
    await assertUnhurt(streams, since);
  }, { stop: 'keep' }));

for (const backend of BACKENDS) {
  test(`from a dry run to \`stop: restore\`, nothing of others changes; then all that is ours is gone, and the rest is as it was before the first start (${backend})`, { skip }, async () => {
    const config = { stop: 'restore', nat: { backend }, policies: POLICIES };
    let [all, foreign] = ['', ''];
    const before = async (lab: Lab): Promise<void> => {
      await furnish(lab);
      [all, foreign] = [await allOf(lab), await foreignOf(lab)];
      await dryRun(lab, backend, config);
      assert.equal(await allOf(lab), all, 'after a dry run');
      await brokenConfig(lab);
      assert.equal(await allOf(lab), all, 'after a start with a broken config');
    };
    await withStory({ config, before }, async (story) => {
      const { lab, daemon } = story;
      assert.notEqual(await allOf(lab), all);
      assert.equal(await foreignOf(lab), foreign, 'after the start');
      await lab.cutCable('fibre');
      await daemon.untilActive('cable');
      assert.equal((await daemon.ctl('switch-uplink', 'lte')).code, 0);
      await lab.plugCable('fibre');
      assert.equal((await daemon.ctl('auto')).code, 0);
      await daemon.untilActive('fibre');
      await daemon.until('the kernel is as wished', isInSync);
      assert.equal(await foreignOf(lab), foreign, 'after failovers');
      await daemon.kill9();
      story.daemon = await lab.startDaemon();
      await settled(story.daemon);
      assert.equal(await story.daemon.stop(), 0);
      assert.equal(await allOf(lab), all, 'after the end of the second one');
    });
  });
}

/** It prints what it would do in the words of ip and of the packet filter: lines are asked by the routes that stand. */
async function dryRun(lab: Lab, backend: string, config: object): Promise<void> {
  const daemon = await lab.startDaemon({ name: 'dry', config: lab.config({ ...STEADY, ...config }), args: ['--dry-run'] });
  const wanted = [/ip rule add pref 9600 lookup 9400/, /ip route add default via 203\.0\.113\.1 dev isp1 table 9400/, backend === 'nftables' ? /nft add rule ip uplinkd/ : /iptables -t nat -A UPLINKD_NAT/];
  await waitFor('it has said all of its plan', () => daemon.output(), (text) => wanted.every((part) => part.test(text)));
  await until(now() + 200);
  await daemon.stop();
}

/** Every problem is told on stderr, the exit code is 78, and no directory is made. */
async function brokenConfig(lab: Lab): Promise<void> {
  const broken = 'uplinks:\n  fibre: { interface: isp0, gatway: 198.51.100.1 }\n  cable: { interface: isp1, priority: zero }\nfailback: { hold: 30 }\n';
  await lab.text('router', ['tee', '/run/broken.yaml'], broken);
  const { code, stdout, stderr } = await lab.run('router', [process.execPath, MAIN, 'run', '--config', '/run/broken.yaml', '--run-dir', '/run/broken', '--state-dir', '/run/broken-state']);
  assert.deepEqual([code, stdout], [78, '']);
  for (const problem of [/broken\.yaml:2:.*gatway/, /broken\.yaml:3:.*priority/, /broken\.yaml:4:.*hold/]) assert.match(stderr, problem);
  for (const directory of ['/run/broken', '/run/broken-state']) assert.notEqual((await lab.run('router', ['ls', directory])).code, 0, `${directory} was made`);
}

async function udp(lab: Lab): Promise<Record<'old' | 'fresh', Awaited<ReturnType<Lab['stream']>>>> {
  const [old, fresh] = await Promise.all([lab.stream({ kind: 'udp', rateHz: 50 }), lab.stream({ kind: 'new-udp', rateHz: 50 })]);
  return { old, fresh };
}

async function traffic(lab: Lab): Promise<Record<'old' | 'tcp' | 'fresh', Awaited<ReturnType<Lab['stream']>>>> {
  const [streams, tcp] = await Promise.all([udp(lab), lab.stream({ kind: 'tcp', rateHz: 50 })]);
  return { ...streams, tcp };
}

/** What other programs may have put into a router, beside and below our own. */
async function furnish(lab: Lab): Promise<void> {
  await lab.ip(
    'router', 'rule add pref 9000 fwmark 0x10000/0xff0000 lookup 52', 'rule add pref 9800 to 10.99.0.0/16 lookup 53', 'route add 10.77.0.0/16 via 10.8.0.2 proto static',
    'route add default via 203.0.113.1 dev isp1 proto dhcp metric 50', 'route add default via 10.8.0.2 dev vpn0 table 53', 'route add blackhole 10.66.0.0/16 table 9400 proto bird',
    'route add default via 100.64.0.1 dev isp2 metric 7 proto static', 'route add 10.99.0.0/16 via 10.8.0.2 dev vpn0 proto bird', 'route add blackhole 10.98.0.0/16',
    'route add 10.97.0.0/16 via 10.8.0.2 table 77 proto static', 'rule add pref 5000 from 10.97.0.0/16 lookup 77 proto bird', 'rule add pref 9650 fwmark 0x4 lookup 77',
  );
  await lab.text('router', ['ip', '-6', 'rule', 'add', 'pref', '9500', 'from', '2001:db8::/32', 'lookup', '77']);
  const iptables = '*nat\n-A POSTROUTING -s 10.9.0.0/16 -j MASQUERADE\nCOMMIT\n*mangle\n-A PREROUTING -i tun9 -j MARK --set-mark 0x1\n-A OUTPUT -o tun9 -j ACCEPT\n-A POSTROUTING -o tun9 -j ACCEPT\nCOMMIT\n*filter\n-A INPUT -i tun9 -j ACCEPT\nCOMMIT\n';
  await lab.text('router', ['iptables-restore', '--noflush'], iptables);
  const others = 'set s { type ipv4_addr; elements = { 192.0.2.99 }; }\nchain c { type filter hook prerouting priority 7; ip saddr @s counter drop; }\n';
  await lab.text('router', ['nft', '-f', '-'], `table inet others { ${others}chain in { type filter hook input priority 5; tcp dport 9 drop; }\n}\n`);
}

async function allOf(lab: Lab): Promise<string> {
  return [await foreignOf(lab), await kernelOf(lab), await sysctlsOf(lab)].join('\n');
}

/** All but the connections, which come and go by themselves, and the empty built-in chains and tables that iptables-nft leaves behind whoever uses it. */
async function kernelOf(lab: Lab): Promise<string> {
  const { text } = await lab.view('router');
  return text.slice(0, text.indexOf('== router: flows')).replace(/ *chain [A-Z]+ \{\n *type \w+ hook .*policy accept;\n *\}\n/g, '')
    .replace(/ *table ip6 (nat|mangle|filter) \{\n *\}\n/g, '');
}

/** A chain that was made anew stands behind the others. */
function sorted(text: string): readonly string[] {
  return text.split('\n').sort();
}

/** Routes and rules of both families that are not ours, and a table of nft. */
async function foreignOf(lab: Lab): Promise<string> {
  const notOurs = (text: string): string => text.split('\n').filter((line) => !/proto (147|kernel)/.test(line)).join('\n');
  const texts = await Promise.all([4, 6].flatMap((family) => [
    lab.text('router', ['ip', `-${family}`, '-d', 'rule']), lab.text('router', ['ip', `-${family}`, '-d', 'route', 'show', 'table', 'all']),
  ]));
  // Whether a line has carrier is no property of theirs.
  return [...texts.map((text) => notOurs(text).replace(/ (dead )?linkdown/g, '').replace(/ (expires|used) \S+/g, '')), await lab.text('router', ['nft', '-s', 'list', 'table', 'inet', 'others'])].join('\n');
}

async function sysctlsOf(lab: Lab): Promise<string> {
  return lab.text('router', ['grep', '', ...SYSCTLS.map((name) => `/proc/sys/net/ipv4/${name}`)]);
}
