/** Policies with real packets: who is classified, what is counted, sets, and sources that stay with their uplink. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { before, test } from 'node:test';
import type { NatPolicy } from '../../src/model.js';
import { batch, describeSorts, inNamespaces, inNetns, MASK, natWish, nft, out, policy, PORT, routerSocket, SERVER, SERVER6, SORTS, SORTS_OF_THIS_RUN, steer, steering } from './nat-ground.js';

/** Everything goes by wan0, but for what bears the class; the preferring classes are those of sticky policies. */
const CLASS = 0x2000;
const PREFERS = { wan0: 0x2080, wan1: 0x2100 } as const;
const TABLES = [[0x80, '9401', 0], [0x100, '9402', 1], [CLASS, '9664', 1], [PREFERS.wan0, '9665', 0], [PREFERS.wan1, '9666', 1]] as const;
const BY = { wan0: ['198.51.100.2', '2001:db8:a::2'], wan1: ['203.0.113.2', '2001:db8:b::2'] } as const;
const STICKY: NatPolicy['sticky'] = { forMs: 60_000, marks: [{ interface: 'wan0', mark: PREFERS.wan0 }, { interface: 'wan1', mark: PREFERS.wan1 }] };

function steerTables(): void {
  batch('router', TABLES.flatMap(([, table, number]) => steering(number, table)));
}

const hasIpset = spawnSync('ipset', ['--version']).status === 0;

inNamespaces(import.meta.url, 'policies, in namespaces', () => {
  describeSorts(SORTS_OF_THIS_RUN, (sort, world) => {
    const otherPort = PORT + 1 + SORTS.indexOf(sort);
    let asked = 0;
    const report = async (policies: readonly NatPolicy[]): Promise<{ readonly problems: readonly string[]; readonly natInSync: boolean }> =>
      await world.door.host({ nat: natWish({ backend: sort.backend, policies }), sysctls: [{ path: 'net/ipv4/ip_forward', value: '1' }, { path: 'net/ipv6/conf/all/forwarding', value: '1' }] });
    const inForce = async (...policies: readonly NatPolicy[]): Promise<void> => {
      const { problems, natInSync } = await report(policies);
      assert.deepEqual([problems, natInSync], [[], true]);
    };
    /** The uplink by which a new flow left. */
    const way = async (to = SERVER, from = '', port = PORT): Promise<string> => {
      const seen = await world.ground.client.ask(`${sort.name} ${asked++}`, to, port, from);
      return Object.entries(BY).find(([, addresses]) => addresses.some((address) => address === seen))?.[0] ?? seen;
    };
    const counted = async (): Promise<Record<string, number>> => Object.fromEntries((await world.door.counters()).map(({ policy: name, packets }) => [name, packets]));
    before(async () => {
      await world.ground.server.answer(SERVER, otherPort);
    });

    test('what fits goes its own way, in both families; every part must fit', async () => {
      const cases: readonly (readonly [NatPolicy['match'] | object, string, string])[] = [
        [{}, 'wan1', 'wan1'],
        [{ sources: ['10.0.0.0/28', 'fd00:10::/64'] }, 'wan1', 'wan1'],
        [{ sources: ['10.9.0.0/16', 'fd00:10::2'], destinations: ['192.0.2.0/24', '::/0'] }, 'wan0', 'wan1'],
        [{ destinations: ['192.0.2.0/24'] }, 'wan1', 'wan0'],
        [{ protocol: 'udp' }, 'wan1', 'wan1'],
        [{ protocol: 'tcp' }, 'wan0', 'wan0'],
        [{ protocol: 'icmp' }, 'wan0', 'wan0'],
        [{ protocol: 'udp', destinationPorts: [{ first: 53, last: 53 }, { first: 6990, last: PORT }] }, 'wan1', 'wan1'],
        [{ destinationPorts: Array.from({ length: 30 }, (_, i) => ({ first: 6000 + 40 * i, last: 6000 + 40 * i + 1 })) }, 'wan1', 'wan1'],
        [{ protocol: 'udp', destinationPorts: [{ first: PORT + 1, last: 65535 }] }, 'wan0', 'wan0'],
        [{ protocol: 'udp', sourcePorts: [{ first: 1, last: 1023 }] }, 'wan0', 'wan0'],
      ];
      for (const [match, four, six] of cases) {
        await inForce(policy('one', CLASS, match));
        assert.deepEqual([await way(), await way(SERVER6)], [four, six], JSON.stringify(match));
      }
      await inForce(policy('one port', CLASS, { destinationPorts: [{ first: otherPort, last: otherPort }] }));
      assert.deepEqual([await way(SERVER, '', otherPort), await way()], ['wan1', 'wan0']);
    });

    test('pings are classified, in both families', async () => {
      await inForce(policy('pings', CLASS, { protocol: 'icmp' }));
      inNetns('client', 'ping', '-c1', '-W1', SERVER);
      inNetns('client', 'ping', '-c1', '-W1', SERVER6);
      assert.deepEqual(await counted(), { pings: 2 });
    });

    test('the first that fits wins, and each counts the connections that it took, not their packets', async () => {
      await inForce(policy('home', PREFERS.wan0, { sources: ['10.0.0.3/32'] }), policy('rest', CLASS), policy('never', PREFERS.wan0));
      const flow = `${sort.name} many packets`;
      for (let i = 0; i < 3; i++) assert.equal(await world.ground.client.ask(flow, SERVER), BY.wan1[0]);
      assert.deepEqual([await way(SERVER, '10.0.0.3'), await way(SERVER6)], ['wan0', 'wan1']);
      assert.deepEqual(await counted(), { home: 1, rest: 2, never: 0 });
      assert.ok((await world.door.counters()).every(({ packets, bytes }) => (packets === 0) === (bytes === 0)));
    });

    test('a connection bears the mark of the uplink that it left by, never that of its class; foreign bits stay', async (t) => {
      out('conntrack', '-F');
      nft('table ip foreign { chain first { type filter hook prerouting priority raw; iifname "lan0" meta mark set 0x40010000; }; chain last { type filter hook forward priority 300; meta mark & 0xffffc07f == 0x40010000 counter; }; }');
      t.after(() => out('nft', 'delete', 'table', 'ip', 'foreign'));
      await inForce(policy('all', CLASS));
      assert.equal(await way(), 'wan1');
      assert.deepEqual([...out('conntrack', '-L', '-p', 'udp').matchAll(/mark=(\d+)/g)].map((found) => Number(found[1])), [0x100]);
      assert.match(out('nft', 'list', 'table', 'ip', 'foreign'), /counter packets 1 /);
    });

    test('a mark that somebody gives in mangle can be asked for', async (t) => {
      await inForce();
      const rule = ['-t', 'mangle', 'PREROUTING', '-s', '10.0.0.3/32', '-j', 'MARK', '--set-xmark', '0x30000/0x30000'];
      out(sort.iptables, ...rule.toSpliced(2, 0, '-A'));
      t.after(() => out(sort.iptables, ...rule.toSpliced(2, 0, '-D')));
      await inForce(policy('marked', CLASS, {}, { mark: { value: 0x10000, mask: 0x10000 } }));
      assert.deepEqual([await way(SERVER, '10.0.0.3'), await way()], ['wan1', 'wan0']);
      await inForce(policy('marked', CLASS, {}, { mark: { value: 0x10000, mask: 0x30000 } }));
      assert.equal(await way(SERVER, '10.0.0.3'), 'wan0');
    });

    test('the router\'s own connections go by policies that want them, and by no other', async (t) => {
      for (const [router, source] of [[false, BY.wan0[0]], [true, BY.wan1[0]]] as const) {
        await inForce(policy('all', CLASS, {}, { router }));
        const own = await routerSocket(t, '0.0.0.0', SERVER);
        assert.equal(await own.ask(), source);
        assert.deepEqual(await counted(), { all: router ? 1 : 0 });
      }
    });

    test('what goes to the router itself, what it says to the LAN and what an uplink brings is not classified', async (t) => {
      await inForce(policy('not us', CLASS, {}, { router: true }));
      await routerSocket(t, '10.0.0.1');
      await world.ground.client.ask(`${sort.name} local`, '10.0.0.1');
      inNetns('client', 'ping', '-c1', '-W1', 'fd00:10::1');
      out('ping', '-c1', '-W1', '10.0.0.2');
      inNetns('inet', 'ping', '-c1', '-W1', '198.51.100.2');
      assert.deepEqual(await counted(), { 'not us': 0 });
    });

    test('a set by name: filled by others, kept when rules change', { skip: sort.backend === 'iptables' && !hasIpset ? 'ipset is not installed' : false }, async (t) => {
      const chosen = policy('chosen', CLASS, {}, { set: { name: 'streaming', side: 'destination' } });
      if (sort.backend === 'iptables') {
        const missing = await report([chosen, policy('ports', CLASS, { protocol: 'udp', sourcePorts: [{ first: 1, last: 9 }] })]);
        assert.equal(missing.natInSync, false);
        assert.deepEqual(missing.problems, ['nat: policy chosen is left out: there is no ipset streaming; make it (ipset create streaming hash:net)']);
        assert.deepEqual(await counted(), { chosen: 0, ports: 0 });
        out('ipset', 'create', 'streaming', 'hash:net');
        out('ipset', 'create', 'streaming6', 'hash:net', 'family', 'inet6');
        t.after(async () => {
          await inForce();
          for (const name of ['streaming', 'streaming6']) out('ipset', 'destroy', name);
        });
      }
      await inForce(chosen);
      assert.deepEqual([await way(), await way(SERVER6)], ['wan0', 'wan0']);
      if (sort.backend === 'iptables') {
        out('ipset', 'add', 'streaming', '192.0.2.0/24');
        out('ipset', 'add', 'streaming6', '2001:db8:ffff::/48');
      } else {
        out('nft', 'add', 'element', 'ip', 'uplinkd', 'streaming', '{ 192.0.2.0/24 }');
        out('nft', 'add', 'element', 'ip6', 'uplinkd', 'streaming', '{ 2001:db8:ffff::/48 timeout 1h }');
      }
      assert.deepEqual([await way(), await way(SERVER6)], ['wan1', 'wan1']);
      await inForce(chosen, policy('another', CLASS, { sources: ['10.7.0.0/16'] }));
      assert.deepEqual([await way(), await way(SERVER6)], ['wan1', 'wan1']);
      await inForce({ ...chosen, set: { name: 'streaming', side: 'source' } });
      assert.deepEqual([await way(), await way(SERVER6)], ['wan0', 'wan0']);
    });

    test('a set of another kind leaves out its policy alone, and says what to do', { skip: sort.backend === 'iptables' && !hasIpset ? 'ipset is not installed' : false }, async (t) => {
      await inForce(policy('all', CLASS, { protocol: 'udp' }));
      if (sort.backend === 'iptables') out('ipset', 'create', 'odd', 'hash:ip,port');
      else nft('table ip uplinkd { set odd { type inet_service; }; }');
      t.after(() => void (sort.backend === 'iptables' ? out('ipset', 'destroy', 'odd') : out('nft', 'delete', 'set', 'ip', 'uplinkd', 'odd')));
      const { problems, natInSync } = await report([policy('odd one', CLASS, {}, { set: { name: 'odd', side: 'source' } }), policy('all', CLASS, { protocol: 'udp' })]);
      assert.equal(natInSync, false);
      assert.match(problems.join('\n'), /^nat: policy odd one is left out: .*odd.*(hash:ip,port|inet_service)[^\n]*$/);
      assert.equal(await way(), 'wan1');
    });

    test('rules that are refused leave masquerade and marks standing', async () => {
      if (sort.backend === 'nftables') {
        const { problems, natInSync } = await report([policy('keyword', CLASS, {}, { set: { name: 'counter', side: 'source' } })]);
        assert.equal(natInSync, false);
        assert.match(problems.join(), /all policies are left out, because their rules were refused: .*counter/);
        assert.equal(await way(), 'wan0');
      }
      for (const bad of [policy('x', CLASS, { sources: ['10.0.0.0/33'] }), policy('x', CLASS, { protocol: 'icmp', sourcePorts: [{ first: 1, last: 2 }] }), policy('x', CLASS, {}, { set: { name: 'a b', side: 'source' } })]) {
        const { problems, natInSync } = await report([bad, policy('good', CLASS)]);
        assert.deepEqual([problems.length, natInSync], [1, false]);
        assert.match(problems.join(), /^policy x is left out: /);
        assert.equal(await way(), 'wan1');
      }
    });

    test('sticky: a source stays with its last uplink, over changes of the rules, until its time is over', { skip: sort.backend === 'iptables' && !hasIpset ? 'ipset is not installed' : false }, async (t) => {
      t.after(steerTables);
      // Another policy of the same class, not sticky, comes first: its connections say nothing about the sticky one's sources.
      const passing = policy('passing', CLASS, { protocol: 'udp', destinationPorts: [{ first: otherPort, last: otherPort }] });
      const sticky = policy('sticky', CLASS, {}, { sticky: STICKY });
      await inForce(passing, sticky);
      assert.deepEqual([await way(), await way(SERVER6), await way(SERVER, '10.0.0.3', otherPort)], ['wan1', 'wan1', 'wan1']);
      steer(0, '9664');
      assert.deepEqual([await way(), await way(SERVER6), await way(SERVER, '10.0.0.3')], ['wan1', 'wan1', 'wan0']);
      await inForce(passing, sticky, policy('more', CLASS));
      assert.deepEqual([await way(), await way(SERVER6), await way(SERVER, '10.0.0.3')], ['wan1', 'wan1', 'wan0']);
      // Its uplink fails: the preferring class leads elsewhere, and that is remembered from then on.
      steer(0, '9666');
      assert.equal(await way(), 'wan0');
      steer(1, '9666');
      steer(1, '9664');
      assert.equal(await way(), 'wan0');
      await inForce(passing, { ...sticky, sticky: { ...STICKY, forMs: 1000 } });
      assert.equal(await way(), 'wan0');
      await new Promise((resolve) => setTimeout(resolve, 1300));
      assert.equal(await way(), 'wan1');
      assert.deepEqual((await counted())['passing'], 0);
    });

    test('sticky for the router\'s own connections, and nothing of it is left behind', { skip: sort.backend === 'iptables' && !hasIpset ? 'ipset is not installed' : false }, async (t) => {
      t.after(steerTables);
      await inForce(policy('lan only', CLASS), policy('own', CLASS, {}, { router: true, sticky: STICKY }));
      assert.equal(await (await routerSocket(t, '0.0.0.0', SERVER)).ask(), BY.wan1[0]);
      steer(0, '9664');
      assert.equal(await (await routerSocket(t, '0.0.0.0', SERVER)).ask(), BY.wan1[0]);
      await inForce();
      if (hasIpset) assert.doesNotMatch(out('ipset', 'list', '-n'), /uplinkd/);
      assert.doesNotMatch(out('nft', 'list', 'ruleset'), /sticky/);
    });
  }, () => {
    const rules = ['rule add pref 9450 lookup main suppress_prefixlength 0', ...TABLES.map(([mark, table]) => `rule add pref ${mark < CLASS ? '9500' : '9580'} fwmark ${mark}/${MASK} lookup ${table}`)];
    batch('router', rules);
    batch('router', rules, 6);
    batch('client', ['addr add 10.0.0.3/24 dev eth0']);
    steerTables();
  });
});
