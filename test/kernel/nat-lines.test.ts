/** What each line asks for, with real packets: translations, routed prefixes, segment sizes, and connections that were cut. */
import assert from 'node:assert/strict';
import { afterEach, test, type TestContext } from 'node:test';
import type { NatLine, NatWish, Translation } from '../../src/model.js';
import { batch, CUT, describeSorts, inNamespaces, inNetns, line, natWish, nft, out, routerConnection, SERVER, SERVER6, SORTS, SORTS_OF_THIS_RUN, steer } from './nat-ground.js';

const MASQUERADE: Translation = { kind: 'masquerade' };
const [FIBRE, CABLE] = [line('fibre', 'wan0', 0x80), line('cable', 'wan1', 0x100)];

/** A reset would come at once; that it does not come is looked at for so long. */
const SILENCE_MS = 500;

inNamespaces(import.meta.url, 'translations, segment sizes and cuts, in namespaces', () => {
  describeSorts(SORTS_OF_THIS_RUN, (sort, world) => {
    const inForce = async (changes: Partial<NatWish>): Promise<void> => {
      const report = await world.door.host({ nat: natWish({ backend: sort.backend, ...changes }), sysctls: [{ path: 'net/ipv4/ip_forward', value: '1' }, { path: 'net/ipv6/conf/all/forwarding', value: '1' }] });
      assert.deepEqual(report.problems, []);
      assert.equal(report.natInSync, true);
    };
    const fibreBy = (changes: Partial<NatLine>): Partial<NatWish> => ({ lines: [{ ...FIBRE, ...changes }, CABLE] });
    afterEach(() => world.ground.server.hangUp());
    const ask = (what: string, to = SERVER, from = ''): Promise<string> => world.ground.client.ask(`${sort.name} ${what} ${to}`, to, undefined, from);

    test('a line with an address of its choice sends with it, and with none of its choice as it is, each family for itself', async (t) => {
      secondAddresses(t);
      await inForce(fibreBy({ translate: { 4: { kind: 'address', address: '198.51.100.7' }, 6: MASQUERADE } }));
      assert.deepEqual([await ask('static'), await ask('static', SERVER6)], ['198.51.100.7', '2001:db8:a::2']);
      await inForce(fibreBy({ translate: { 4: MASQUERADE, 6: { kind: 'address', address: '2001:db8:a::7' } } }));
      assert.deepEqual([await ask('static six'), await ask('static six', SERVER6)], ['198.51.100.2', '2001:db8:a::7']);
      returnRoutes(t);
      await inForce(fibreBy({ translate: { 4: MASQUERADE, 6: { kind: 'none' } } }));
      assert.deepEqual([await ask('none'), await ask('none', SERVER6)], ['198.51.100.2', 'fd00:10::2']);
    });

    test('a prefix is exchanged for the provider\'s, the host part kept; who is not in it is masqueraded, and so is IPv4', async (t) => {
      forThisTest(t, 'inet', ['route', '2001:db8:a:5::/64 via 2001:db8:a::2']);
      forThisTest(t, 'client', ['addr', 'fd00:11::2/64 dev eth0']);
      forThisTest(t, 'router', ['route', 'fd00:11::/64 dev lan0']);
      await inForce(fibreBy({ translate: { 4: MASQUERADE, 6: { kind: 'prefix', from: 'fd00:10::/64', to: '2001:db8:a:5::/64' } } }));
      assert.equal(await ask('prefix', SERVER6, 'fd00:10::2'), '2001:db8:a:5::2');
      assert.equal(await ask('other prefix', SERVER6, 'fd00:11::2'), '2001:db8:a::2');
      assert.equal(await ask('prefix'), '198.51.100.2');
    });

    test('routed sources are never translated, whatever the line says; all others are', async (t) => {
      forThisTest(t, 'router', ['addr', '198.51.100.7/24 dev wan0']);
      returnRoutes(t);
      const routed = ['10.0.0.0/30', '10.0.0.2/32', 'fd00:10::/64'];
      for (const translate of [MASQUERADE, { kind: 'address', address: '198.51.100.7' } as const]) {
        await inForce({ ...fibreBy({ translate: { 4: translate, 6: MASQUERADE } }), routed });
        assert.deepEqual([await ask(`routed ${translate.kind}`), await ask(`routed ${translate.kind}`, SERVER6)], ['10.0.0.2', 'fd00:10::2']);
      }
      await inForce({ ...fibreBy({}), routed: ['10.0.0.4/30', 'fd00:99::/64'] });
      assert.deepEqual([await ask('not routed'), await ask('not routed', SERVER6)], ['198.51.100.2', '2001:db8:a::2']);
    });

    const sizes = async (host: string, what: string): Promise<object> => {
      await world.ground.client.open(`${sort.name} mss ${what}`, host);
      const [left] = inNetns('inet', 'ss', '-tinH', 'state', 'established', '( sport = :7801 )').match(/advmss:\d+|(?<!adv|r)mss:\d+/g) ?? [];
      const [right] = inNetns('client', 'ss', '-tinH', 'state', 'established').match(/(?<![a-z])mss:\d+/g) ?? [];
      await world.ground.client.shut(`${sort.name} mss ${what}`);
      return { server: Number(left?.split(':')[1]), client: Number(right?.split(':')[1]) };
    };

    test('SYNs announce no more than the line takes, leaving and arriving: a number, the path, or as they are', async (t) => {
      await world.ground.client.setSysctls({ 'net/ipv4/tcp_timestamps': 0 });
      t.after(() => world.ground.client.setSysctls({ 'net/ipv4/tcp_timestamps': 1 }));
      await inForce(fibreBy({ mss: 'off' }));
      assert.deepEqual(await sizes(SERVER, 'off'), { server: 1460, client: 1460 });
      await inForce(fibreBy({ mss: 1300 }));
      assert.deepEqual(await sizes(SERVER, '1300'), { server: 1300, client: 1300 });
      assert.deepEqual(await sizes(SERVER6, '1300 six'), { server: 1280, client: 1280 });
      out('ip', 'link', 'set', 'wan0', 'mtu', '1400');
      t.after(() => out('ip', 'link', 'set', 'wan0', 'mtu', '1500'));
      await inForce(fibreBy({ mss: 'auto' }));
      assert.deepEqual(await sizes(SERVER, 'auto'), { server: 1360, client: 1360 });
      assert.deepEqual(await sizes(SERVER6, 'auto six'), { server: 1340, client: 1340 });
    });

    for (const host of [SERVER, SERVER6]) test(`who sends on a connection that was cut learns it at once, and a new one stands (${host})`, async (t) => {
      await inForce({ firewall: 'on' });
      const flow = `${sort.name} cut ${host}`;
      await world.ground.client.open(flow, host);
      const own = await routerConnection(t, host);
      assert.deepEqual([await world.ground.client.say(flow), await own.say()], ['yes', 'yes']);
      mark(host, CUT);
      // The server's keep-alive, or its data, must not reach the client any more, and be answered by nobody.
      const dropped = watchDropped(t, host);
      await world.ground.server.speak();
      assert.deepEqual([await world.ground.client.say(flow), await own.say()], ['ECONNRESET', 'ECONNRESET']);
      assert.equal(dropped(), 0);
      assert.deepEqual(marks(host), new Set([CUT]));
      await world.ground.client.open(`${flow} anew`, host);
      assert.equal(await world.ground.client.say(`${flow} anew`), 'yes');
      await world.ground.client.shut(`${flow} anew`);
    });

    for (const host of [SERVER, SERVER6]) test(`whose packet leaves by another uplink than its connection is reset, however silent the far end (${host})`, async (t) => {
      await inForce({});
      const flow = `${sort.name} strays ${host}`;
      await world.ground.client.open(flow, host);
      assert.equal(await world.ground.client.say(flow), 'yes');
      nft(`table inet mute { chain o { type filter hook output priority 0; tcp flags & rst == rst drop; }; }`, 'inet');
      t.after(() => inNetns('inet', 'nft', 'delete', 'table', 'inet', 'mute'));
      steer(1);
      t.after(() => steer(0));
      assert.equal(await world.ground.client.say(flow), 'ECONNRESET');
      await world.ground.client.open(`${flow} anew`, host);
      assert.equal(await world.ground.client.say(`${flow} anew`), 'yes');
      await world.ground.client.shut(`${flow} anew`);
    });

    test('a plain SYN on a connection that was cut is not answered by a reset', async (t) => {
      await inForce({});
      const ownPort = 20_000 + SORTS.indexOf(sort);
      await world.ground.client.open(`${sort.name} dies`, SERVER, ownPort);
      mark(SERVER, CUT);
      // The client forgets without a word.
      nft('table ip mute { chain o { type filter hook output priority 0; tcp flags & rst == rst drop; }; }', 'client');
      t.after(() => inNetns('client', 'nft', 'delete', 'table', 'ip', 'mute'));
      await world.ground.client.shut(`${sort.name} dies`);
      assert.equal(await world.ground.client.open(`${sort.name} again`, SERVER, ownPort, SILENCE_MS), 'silence');
    });

    test('a connection that was cut is not led back to its uplink, and others go on', async (t) => {
      await inForce({});
      const [cutFlow, otherFlow] = [`${sort.name} to cut`, `${sort.name} to keep`];
      await world.ground.client.open(cutFlow, SERVER);
      mark(SERVER, CUT);
      await world.ground.client.open(otherFlow, SERVER);
      nft('table ip seen { chain f { type filter hook forward priority -300; iifname "lan0" meta mark & 0x3f80 != 0 meta l4proto tcp counter; }; }');
      t.after(() => out('nft', 'delete', 'table', 'ip', 'seen'));
      assert.equal(await world.ground.client.say(cutFlow), 'ECONNRESET');
      assert.match(out('nft', 'list', 'table', 'ip', 'seen'), /counter packets 0 /);
      assert.equal(await world.ground.client.say(otherFlow), 'yes');
      assert.doesNotMatch(out('nft', 'list', 'table', 'ip', 'seen'), /counter packets 0 /);
      await world.ground.client.shut(otherFlow);
    });
  });
});

/** `ip OBJECT add WORDS`, and `del` afterwards. */
function forThisTest(t: TestContext, where: string, ...added: readonly (readonly [object: 'addr' | 'route', words: string])[]): void {
  batch(where, added.map(([object, words]) => `${object} add ${words}`));
  t.after(() => batch(where, added.map(([object, words]) => `${object} del ${words}`)));
}

/** Beside the one that masquerade takes. */
function secondAddresses(t: TestContext): void {
  batch('router', ['addr add 198.51.100.7/24 dev wan0', 'addr add 2001:db8:a::7/64 dev wan0 preferred_lft 0']);
  t.after(() => batch('router', ['addr del 198.51.100.7/24 dev wan0', 'addr del 2001:db8:a::7/64 dev wan0']));
}

/** The provider knows the way to the LAN. */
function returnRoutes(t: TestContext): void {
  forThisTest(t, 'inet', ['route', '10.0.0.0/24 via 198.51.100.2'], ['route', 'fd00:10::/64 via 2001:db8:a::2']);
}

function mark(host: string, value: number): void {
  out('conntrack', '-U', '-f', host.includes(':') ? 'ipv6' : 'ipv4', '-p', 'tcp', '--mark', String(value));
}

function marks(host: string): Set<number> {
  return new Set([...out('conntrack', '-L', '-f', host.includes(':') ? 'ipv6' : 'ipv4', '-p', 'tcp').matchAll(/mark=(\d+)/g)].map((found) => Number(found[1])));
}

/** Counts what gets from the uplink to anybody behind the packet filter. */
function watchDropped(t: TestContext, host: string): () => number {
  const family = host.includes(':') ? 'ip6' : 'ip';
  nft(`table ${family} late { chain in { type filter hook input priority 300; iifname "wan0" meta l4proto tcp counter; }
    chain f { type filter hook forward priority 300; iifname "wan0" meta l4proto tcp counter; }; }`);
  t.after(() => out('nft', 'delete', 'table', family, 'late'));
  return () => [...out('nft', 'list', 'table', family, 'late').matchAll(/packets (\d+)/g)].reduce((sum, found) => sum + Number(found[1]), 0);
}
