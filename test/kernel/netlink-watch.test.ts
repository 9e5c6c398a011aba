/** Notifications: soon, coalesced, never lost without a word, and no reason for a process to stay. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Route } from '../../src/model.js';
import { openRtnetlink } from '../../src/kernel/netlink/rtnetlink.js';
import { watch } from '../../src/kernel/netlink/watch.js';
import { deadline, waitFor } from '../lab/wait.js';
import { inNamespaces, out } from './nat-ground.js';

/** In which a notice would come that nobody expects. */
const SETTLE_MS = 40;
const MODULES = { watch: new URL('../../src/kernel/netlink/watch.js', import.meta.url).href };

const theirs: Route = {
  family: 4, table: 9400, destination: 'default', metric: 30, protocol: 147, scope: 0, source: '',
  hops: [{ ifindex: 11, via: '10.0.1.1', weight: 1, onlink: true }],
};

inNamespaces(import.meta.url, 'notifications on Linux', () => {
  before(() => {
    out('sysctl', '-qw', 'net.ipv6.conf.default.accept_dad=0'); // the end of an address's trial is told too
    out('ip', 'link', 'add', 'wan1', 'index', '11', 'type', 'veth', 'peer', 'name', 'isp1');
    out('ip', 'link', 'set', 'isp1', 'up');
    out('ip', 'link', 'set', 'wan1', 'up');
    out('ip', 'addr', 'add', '10.0.1.2/24', 'dev', 'wan1');
  });

  test('each change has its notice', async () => {
    const { told, end, hand } = open(0);
    for (let i = 0; i < 20; i++) {
      assert.equal(hand.replaceRoute(other(i)), '');
      await heard(told);
      assert.deepEqual(told.splice(0), ['ours']);
    }
    end();
  });

  test('many changes at once are one notice', async () => {
    const { told, end, hand } = open(0);
    for (let i = 0; i < 200; i++) hand.replaceRoute(other(i));
    await heard(told);
    await sleep(SETTLE_MS);
    assert.deepEqual(told, ['ours']);
    end();
  });

  test('what was overrun is told as: look again at everything', async () => {
    const { told, end, hand } = open(0);
    // More than the socket holds, while this process does not read.
    for (let i = 0; i < 20_000; i++) hand.replaceRoute(other(i));
    await heard(told);
    assert.equal(told[0], 'all');
    await sleep(SETTLE_MS);
    told.length = 0;
    hand.replaceRoute(theirs);
    await heard(told, (seen) => seen.includes('ours'));
    end();
  });

  test('routes of others do not reach us, were they ever so many; their defaults in main and our own routes do', async () => {
    const { told, end, hand } = open(0);
    // More than the socket holds: had the kernel put them in there, it would tell of an overrun.
    const foreign: Route = { ...theirs, table: 254, protocol: 186 };
    for (let i = 0; i < 20_000; i++) hand.replaceRoute({ ...foreign, hops: other(i).hops, destination: '198.51.100.0/24' });
    hand.addRoute({ ...foreign, table: 77 });
    await sleep(SETTLE_MS);
    assert.deepEqual(told, []);
    const defaults: Route[] = [foreign, { ...foreign, family: 6, metric: 31, hops: [{ ifindex: 11, via: 'fe80::9', weight: 1, onlink: true }] }, { ...foreign, metric: 32, hops: [] }];
    for (const route of defaults) {
      for (const change of [() => hand.addRoute(route), () => hand.deleteRoute(route)]) {
        assert.equal(change(), '');
        await heard(told);
        assert.deepEqual(told.splice(0), ['all']);
      }
    }
    const ours: Route = { ...theirs, destination: '203.0.113.0/24', table: 9401 };
    for (const change of [() => hand.addRoute(ours), () => hand.deleteRoute(ours)]) {
      assert.equal(change(), '');
      await heard(told);
      assert.deepEqual(told.splice(0), ['ours']);
    }
    end();
  });

  test('changes of the nft ruleset are told', async () => {
    const { told, end } = open(0);
    out('nft', 'add', 'table', 'ip', 'somebody');
    await heard(told);
    assert.deepEqual(told, ['ruleset']);
    end();
  });

  test('a port that joins and leaves a bridge is not told as gone', async () => {
    out('ip', 'link', 'add', 'br0', 'type', 'bridge');
    const { told, end } = open(0);
    out('ip', 'link', 'set', 'isp1', 'master', 'br0');
    out('ip', 'link', 'set', 'isp1', 'nomaster');
    await heard(told, (seen) => seen.some((text) => text.includes('isp1')));
    await sleep(SETTLE_MS);
    assert.equal(told.some((text) => text.startsWith('gone')), false, String(told));
    end();
  });

  test('a device that was off and is on again before anybody looked means: look again at everything', async () => {
    out('sysctl', '-qw', 'net.ipv6.conf.wan1.disable_ipv6=1'); // or its lost IPv6 addresses would say so
    const { told, end } = open(0);
    out('ip', 'link', 'set', 'wan1', 'down');
    out('ip', 'link', 'set', 'wan1', 'up');
    await heard(told, (seen) => seen.includes('all'));
    end();
  });

  test('after the end nothing is told', async () => {
    const { told, end, hand } = open(0);
    hand.replaceRoute(theirs);
    end();
    end();
    await sleep(SETTLE_MS);
    assert.deepEqual(told, []);
  });

  test('a watch keeps no process alive', () => {
    const script = `import { watch } from ${JSON.stringify(MODULES.watch)}; watch({ links() {}, again() {}, ruleset() {} }, () => 0); console.log('open');`;
    const ran = spawnSync(process.execPath, ['--input-type=module', '--eval', script], { encoding: 'utf8', timeout: deadline() });
    assert.deepEqual([ran.stdout, ran.status, ran.signal], ['open\n', 0, null]);
  });

  test('what the watcher throws is not swallowed', () => {
    const script = `import { watch } from ${JSON.stringify(MODULES.watch)}; import { execFileSync } from 'node:child_process';
      watch({ links() {}, again() { throw new Error('from the watcher'); }, ruleset() {} }, () => 0);
      execFileSync('ip', ['rule', 'add', 'pref', '77', 'lookup', '77']); setTimeout(() => {}, 60_000);`;
    const ran = spawnSync(process.execPath, ['--input-type=module', '--eval', script], { encoding: 'utf8', timeout: deadline() });
    assert.equal(ran.status, 1);
    assert.match(ran.stderr, /from the watcher/);
  });
});

/** Replacing a route by the very same is no change and not told. */
function other(i: number): Route {
  return { ...theirs, hops: [{ ifindex: 11, via: `10.0.1.${3 + (i % 2)}`, weight: 1, onlink: true }] };
}

async function heard(told: readonly string[], wished: (seen: readonly string[]) => boolean = (seen) => seen.length > 0): Promise<void> {
  await waitFor('it is told', () => told, wished, { everyMs: 1 });
}

/** A watch, what it told, and a hand that is not the watcher's own. */
function open(ownPort: number): { told: string[]; end: () => void; hand: ReturnType<typeof openRtnetlink> } {
  const told: string[] = [];
  const hand = openRtnetlink();
  const end = watch(
    {
      links: (links, gone) => told.push(...links.map((link) => `link ${link.name}`), ...gone.map((index) => `gone ${index}`)),
      again: (what) => told.push(what),
      ruleset: () => told.push('ruleset'),
    },
    () => ownPort,
  );
  return {
    told,
    hand,
    end: () => {
      end();
      hand.close();
    },
  };
}
