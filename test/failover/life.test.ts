/** The daemon's own life: killed, restarted, stopped, misconfigured. None of it may interrupt traffic or leave what it should not. */
import assert from 'node:assert/strict';
import { fileURLToPath } from 'node:url';
import { test } from 'node:test';
import { labUnavailable, now, openLab, until, waitFor } from '../lab/lab.js';
import type { Lab } from '../lab/lab.js';
import { STEADY, assertUnhurt, carriers, heldMs, said, settled, untilSaid, withStory } from './story.js';

const skip = (await labUnavailable()) ?? false;
const MAIN = fileURLToPath(new URL('../../src/main.js', import.meta.url));
const SYSCTLS = ['ip_forward', 'fib_multipath_hash_policy', ...[0, 1, 2].flatMap((n) => ['rp_filter', 'ignore_routes_with_linkdown'].map((name) => `conf/isp${n}/${name}`))];

test('killed with -9 and started again: no packet is lost, the choice is adopted, and the override survives', { skip }, () =>
  withStory({}, async (story) => {
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
    assert.equal(await kernelOf(lab), before, 'nothing had to be changed');
    assert.deepEqual(said(story.daemon, /putting back|refused|forgot/), []);
  }));

test('killed with -9 on a backup: the next one keeps to it until the preferred uplink has held, and running flows stay beyond that', { skip }, () =>
  withStory({ config: { failback: { hold: '2s' } } }, async (story) => {
    const { lab } = story;
    await lab.cutCable('fibre');
    await story.daemon.untilActive('cable');
    const streams = await traffic(lab);
    const since = now();
    await story.daemon.kill9();
    await lab.plugCable('fibre');
    story.daemon = await lab.startDaemon();
    const status = await story.daemon.untilActive('fibre');
    assert.ok(heldMs(status, 'fibre') >= 2000, `held for ${heldMs(status, 'fibre')} ms`);
    assert.deepEqual([await carriers(streams.fresh), await carriers(streams.old), await carriers(streams.tcp)], [['fibre'], ['cable'], ['cable']]);
    await assertUnhurt(streams, since);
  }));

test('a cable is cut while no daemon lives: the kernel falls back by itself, and the next daemon sees it at once', { skip }, () =>
  withStory({}, async (story) => {
    const { lab } = story;
    const streams = await traffic(lab);
    await story.daemon.kill9();
    await streams.fresh.outageAfter(await lab.cutCable('fibre'));
    story.daemon = await lab.startDaemon();
    await story.daemon.untilActive('cable');
    assert.deepEqual([await carriers(streams.fresh), await carriers(streams.old)], [['cable'], ['cable']]);
  }));

test('an upstream dies while no daemon lives: the next one finds the old choice, hears nothing from it, and leaves it', { skip }, () =>
  withStory({}, async (story) => {
    const { lab } = story;
    const streams = await traffic(lab);
    await story.daemon.kill9();
    await lab.upstreamDead('fibre');
    story.daemon = await lab.startDaemon();
    await streams.old.outageAfter(now(), { calmMs: 300 });
    assert.deepEqual([await carriers(streams.fresh), await carriers(streams.old)], [['cable'], ['cable']]);
  }));

test('stopped with `stop: keep`: nothing changes in the kernel and nothing is lost', { skip }, () =>
  withStory({ config: { stop: 'keep' } }, async ({ lab, daemon }) => {
    const streams = await traffic(lab);
    const [before, sysctls] = [await kernelOf(lab), await sysctlsOf(lab)];
    const since = now();
    assert.equal(await daemon.stop(), 0);
    await until(now() + 300);
    assert.deepEqual([await kernelOf(lab), await sysctlsOf(lab)], [before, sysctls]);
    await assertUnhurt(streams, since);
  }));

for (const backend of ['iptables', 'nftables'] as const) {
  test(`stopped with \`stop: restore\`, backend ${backend}: all that is ours is gone, and the rest is as it was`, { skip }, async () => {
    let before: readonly string[] = [];
    const look = async (lab: Lab): Promise<readonly string[]> => [await kernelOf(lab), await sysctlsOf(lab)];
    await withStory(
      {
        config: { stop: 'restore', nat: { backend } },
        before: async (lab) => {
          await furnish(lab);
          before = await look(lab);
        },
      },
      async ({ lab, daemon }) => {
        assert.notDeepEqual(await look(lab), before);
        assert.equal(await daemon.stop(), 0);
        assert.deepEqual(await look(lab), before);
      },
    );
  });
}

test('killed with -9, then started and stopped with `stop: restore`: the sysctls of before the first run come back', { skip }, async () => {
  let before = '';
  await withStory({ config: { stop: 'restore' }, before: async (lab) => (before = await sysctlsOf(lab)) }, async (story) => {
    assert.notEqual(await sysctlsOf(story.lab), before);
    await story.daemon.kill9();
    story.daemon = await story.lab.startDaemon();
    await settled(story.daemon);
    assert.equal(await story.daemon.stop(), 0);
    assert.equal(await sysctlsOf(story.lab), before);
  });
});

test('a config that is broken on start: every problem on stderr, exit code 78, and the kernel untouched', { skip }, async () => {
  const lab = await openLab();
  try {
    await furnish(lab);
    const before = [await kernelOf(lab), await sysctlsOf(lab)];
    const broken = 'uplinks:\n  fibre: { interface: isp0, gatway: 198.51.100.1 }\n  cable: { interface: isp1, priority: zero }\nfailback: { hold: 30 }\n';
    await lab.text('router', ['tee', '/run/broken.yaml'], broken);
    const { code, stdout, stderr } = await lab.run('router', [process.execPath, MAIN, 'run', '--config', '/run/broken.yaml', '--run-dir', '/run/broken', '--state-dir', '/run/broken-state']);
    assert.deepEqual([code, stdout], [78, '']);
    for (const problem of [/broken\.yaml:2:.*gatway/, /broken\.yaml:3:.*priority/, /broken\.yaml:4:.*hold/]) assert.match(stderr, problem);
    assert.deepEqual([await kernelOf(lab), await sysctlsOf(lab)], before);
    for (const directory of ['/run/broken', '/run/broken-state']) assert.notEqual((await lab.run('router', ['ls', directory])).code, 0, `${directory} was made`);
  } finally {
    await lab.close();
  }
});

test('a restart with other words in the config changes what they say, and no more', { skip }, () =>
  withStory({}, async (story) => {
    const { lab } = story;
    const streams = await traffic(lab);
    const since = now();
    await story.daemon.stop();
    const config = lab.config({ ...STEADY });
    const { fibre, cable } = config['uplinks'] as Record<string, object>;
    story.daemon = await lab.startDaemon({ config: { ...config, uplinks: { cable: { ...cable, priority: 1 }, fibre: { ...fibre, priority: 2 } } } });
    await untilSaid(story.daemon, /cable is preferred \(priority 1\) and has proved itself/);
    const fresh = await carriers(streams.fresh);
    assert.deepEqual([fresh, await carriers(streams.old)], [['cable'], ['fibre']]);
    await waitFor('lte is gone from main', async () => (await lab.view('router')).main, (main) => !main.some((route) => route.startsWith('default') && route.includes('isp2')));
    const { rules } = await lab.view('router');
    assert.deepEqual(rules.filter((rule) => /isp2|100\.64\.0\.2/.test(rule)), []);
    await assertUnhurt(streams, since);
  }));

async function traffic(lab: Lab): Promise<Record<'old' | 'tcp' | 'fresh', Awaited<ReturnType<Lab['stream']>>>> {
  const [old, tcp, fresh] = await Promise.all([lab.stream({ kind: 'udp', rateHz: 50 }), lab.stream({ kind: 'tcp' }), lab.stream({ kind: 'new-udp', rateHz: 50 })]);
  return { old, tcp, fresh };
}

/** What other programs may have put into a router, beside and below our own. */
async function furnish(lab: Lab): Promise<void> {
  await lab.ip(
    'router', 'rule add pref 9000 fwmark 0x10000/0xff0000 lookup 52', 'rule add pref 9800 to 10.99.0.0/16 lookup 53', 'route add 10.77.0.0/16 via 10.8.0.2 proto static',
    'route add default via 203.0.113.1 dev isp1 proto dhcp metric 50', 'route add default via 10.8.0.2 dev vpn0 table 53', 'route add blackhole 10.66.0.0/16 table 9400 proto bird',
  );
  const iptables = '*nat\n-A POSTROUTING -s 10.9.0.0/16 -j MASQUERADE\nCOMMIT\n*mangle\n-A PREROUTING -i tun9 -j MARK --set-mark 0x1\n-A OUTPUT -o tun9 -j ACCEPT\n-A POSTROUTING -o tun9 -j ACCEPT\nCOMMIT\n*filter\n-A INPUT -i tun9 -j ACCEPT\nCOMMIT\n';
  await lab.text('router', ['iptables-restore', '--noflush'], iptables);
  await lab.text('router', ['nft', '-f', '-'], 'table inet theirs { chain in { type filter hook input priority 5; tcp dport 9 drop; }\n}\n');
}

/** All but the connections, which come and go by themselves, and the empty built-in chains and tables that iptables-nft leaves behind whoever uses it. */
async function kernelOf(lab: Lab): Promise<string> {
  const { text } = await lab.view('router');
  return text.slice(0, text.indexOf('== router: flows')).replace(/ *chain [A-Z]+ \{\n *type \w+ hook .*policy accept;\n *\}\n/g, '')
    .replace(/ *table ip6 (nat|mangle|filter) \{\n *\}\n/g, '');
}

async function sysctlsOf(lab: Lab): Promise<string> {
  return lab.text('router', ['grep', '', ...SYSCTLS.map((name) => `/proc/sys/net/ipv4/${name}`)]);
}
