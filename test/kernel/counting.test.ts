/** What is counted of connections that pass, with real packets: by device, family and direction, and of nothing else. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test, type TestContext } from 'node:test';
import type { Kernel } from '../../src/ports.js';
import { openHost } from '../../src/kernel/host.js';
import { openKernel } from '../../src/kernel/kernel.js';
import { openCounterReader } from '../../src/kernel/netlink/counters.js';
import { openDeviceReader } from '../../src/kernel/netlink/device-bytes.js';
import type { HostWish, NatWish, TrafficCount } from '../../src/model.js';
import { inNamespaces, inNetns, line, LINES, natWish, nft, openGround, out, PORT, PUBLISHED_PORT, routerConnection, routerSocket, SERVER, SERVER6, steer, type Ground } from './nat-ground.js';

/** Nobody listens there. */
const SHUT_PORT = 7999;

function wishOf(changes: Partial<NatWish> = {}): HostWish {
  return {
    nat: natWish({ backend: 'nftables', counting: true, ...changes }),
    sysctls: [{ path: 'net/ipv4/ip_forward', value: '1' }, { path: 'net/ipv6/conf/all/forwarding', value: '1' }],
  };
}

function open(): Kernel {
  return openKernel(openHost({ stateDir: mkdtempSync(join('/run', 'uplinkd-host-')), families: [4, 6] }));
}

async function inForce(kernel: Kernel, wish: HostWish): Promise<void> {
  const report = await kernel.host(wish);
  assert.deepEqual(report.problems, []);
  assert.equal(report.natInSync, true);
}

/** `wan0 4 3/2`: so many packets sent and answered; those that counted nothing are left out. */
function said(counts: readonly TrafficCount[]): readonly string[] {
  return counts.filter((one) => one.sentPackets + one.answeredPackets > 0).map((one) => `${one.interface} ${one.family} ${one.sentPackets}/${one.answeredPackets}`);
}

/** What `act` added. */
async function grownBy(kernel: Kernel, act: () => unknown): Promise<readonly string[]> {
  const former = new Map(kernel.count().map((one) => [`${one.interface} ${one.family}`, one]));
  assert.ok(former.size > 0);
  await act();
  return said(kernel.count().map((one) => {
    const was = former.get(`${one.interface} ${one.family}`);
    return {
      ...one, sentPackets: one.sentPackets - (was?.sentPackets ?? 0), answeredPackets: one.answeredPackets - (was?.answeredPackets ?? 0),
      sentBytes: one.sentBytes - (was?.sentBytes ?? 0), answeredBytes: one.answeredBytes - (was?.answeredBytes ?? 0),
    };
  }));
}

function standsAs(): string {
  return spawnSync('nft', ['-a', 'list', 'table', 'inet', 'uplinkd_count'], { encoding: 'utf8' }).stdout;
}

inNamespaces(import.meta.url, 'counting what passes, in namespaces', () => {
  let ground: Ground;
  let kernel: Kernel;
  before(async () => {
    ground = await openGround();
    steer(0);
    kernel = open();
    await inForce(kernel, wishOf());
    // Neighbours are found, so that from now on each packet is one of the test.
    for (const number of [1, 0] as const) {
      steer(number);
      for (const to of [SERVER, SERVER6]) assert.notEqual(await ground.client.ask(`first ${number}`.concat(to), to), '');
    }
  });
  after(async () => {
    await kernel.restore();
    kernel.close();
    await ground.end();
  });

  whatCounts(() => ground, () => kernel);
  whatDoesNot(() => ground, () => kernel);
  howItStays(() => ground, () => kernel);
  besideFlowtables(() => ground, () => kernel);
  names(() => ground, () => kernel);
  withoutNft();
});

function whatCounts(ground: () => Ground, kernel: () => Kernel): void {
  test('a connection of the LAN counts for the device that it goes by, in its family', async () => {
    const [client, door] = [ground().client, kernel()];
    assert.deepEqual(await grownBy(door, () => client.ask('a', SERVER)), ['wan0 4 1/1']);
    assert.deepEqual(await grownBy(door, () => client.ask('b', SERVER6)), ['wan0 6 1/1']);
    steer(1);
    assert.deepEqual(await grownBy(door, () => client.ask('c', SERVER)), ['wan1 4 1/1']);
    assert.deepEqual(await grownBy(door, () => client.ask('d', SERVER6)), ['wan1 6 1/1']);
    steer(0);
  });

  test('bytes are those of the packets, IP header included', async () => {
    const [client, door] = [ground().client, kernel()];
    const before = door.count().find((one) => one.interface === 'wan0' && one.family === 4);
    const answer = await client.ask('a', SERVER);
    const now = door.count().find((one) => one.interface === 'wan0' && one.family === 4);
    assert.equal((now?.sentBytes ?? 0) - (before?.sentBytes ?? 0), 20 + 8 + 1);
    assert.equal((now?.answeredBytes ?? 0) - (before?.answeredBytes ?? 0), 20 + 8 + answer.length);
  });

  test('what is not answered is sent all the same', async () => {
    inNetns('inet', 'nft', 'add', 'table', 'ip', 'dead');
    nft(`table ip dead { chain in { type filter hook input priority 0; udp dport ${PORT} drop; }; }`, 'inet');
    assert.deepEqual(await grownBy(kernel(), () => ground().unanswered(ground().client, 'silence', SERVER)), ['wan0 4 1/0']);
    inNetns('inet', 'nft', 'delete', 'table', 'ip', 'dead');
  });

  test('a TCP connection counts in both directions', async () => {
    const client = ground().client;
    const [grown = ''] = await grownBy(kernel(), async () => {
      assert.equal(await client.open('tcp', SERVER), '');
      assert.equal(await client.say('tcp'), 'yes');
    });
    const [, sent, answered] = /^wan0 4 (\d+)\/(\d+)$/.exec(grown) ?? [];
    // SYN, ACK, data, perhaps the ACK of the answer; SYN-ACK, perhaps an ACK, data.
    assert.ok(Number(sent) >= 3 && Number(answered) >= 2, grown);
    await client.shut('tcp');
  });
}

function whatDoesNot(ground: () => Ground, kernel: () => Kernel): void {
  test('what the router itself sends is no evidence: pings, datagrams, connections', async (t) => {
    const own = await routerSocket(t, '198.51.100.2', SERVER);
    const stream = await routerConnection(t, SERVER);
    assert.deepEqual(await grownBy(kernel(), async () => {
      for (const to of [SERVER, SERVER6]) out('ping', '-c2', '-i0.01', '-W1', to);
      assert.notEqual(await own.ask(), '');
      assert.equal(await stream.say(), 'yes');
    }), []);
    assert.deepEqual(await grownBy(kernel(), () => inNetns('client', 'ping', '-c1', '-W1', SERVER)), ['wan0 4 1/1'], 'a ping of the LAN is');
  });

  test('look-ups of names do not count: the provider answers them himself', async () => {
    assert.deepEqual(await grownBy(kernel(), () => ground().unanswered(ground().client, 'name', SERVER, 53)), []);
    assert.deepEqual(await grownBy(kernel(), () => ground().unanswered(ground().client, 'name6', SERVER6, 53)), []);
  });

  test('an ICMP error is no answer, in either family and direction', async () => {
    const client = ground().client;
    assert.deepEqual(await grownBy(kernel(), () => ground().unanswered(client, 'shut', SERVER, SHUT_PORT)), ['wan0 4 1/0']);
    assert.deepEqual(await grownBy(kernel(), () => ground().unanswered(client, 'shut6', SERVER6, SHUT_PORT)), ['wan0 6 1/0']);
    assert.deepEqual(await grownBy(kernel(), () => {
      inNetns('client', 'nft', 'add', 'table', 'ip', 't');
      nft('table ip t { chain in { type filter hook input priority 0; udp sport 7000 reject with icmp port-unreachable; }; }', 'client');
      return ground().unanswered(client, 'refuses', SERVER);
    }), ['wan0 4 1/1'], 'the error that the client sends for the answer is not counted as sent');
    inNetns('client', 'nft', 'delete', 'table', 'ip', 't');
  });

  test('what a firewall drops was not sent, whatever its priority', async () => {
    for (const priority of ['filter', 'filter + 10', 'security']) {
      nft(`table inet wall { chain forward { type filter hook forward priority ${priority}; udp dport ${PORT} drop; }; }`);
      assert.deepEqual(await grownBy(kernel(), () => ground().unanswered(ground().client, 'dropped', SERVER)), [], priority);
      out('nft', 'delete', 'table', 'inet', 'wall');
    }
    assert.deepEqual(await grownBy(kernel(), () => ground().client.ask('dropped', SERVER)), ['wan0 4 1/1']);
  });

  test('a connection that somebody outside began is none of the LAN', async () => {
    nft(`table ip published { chain in { type nat hook prerouting priority dstnat; iifname "wan0" udp dport ${PUBLISHED_PORT} dnat to 10.0.0.2; }; }`);
    assert.deepEqual(await grownBy(kernel(), async () => {
      for (let turn = 0; turn < 2; turn++) assert.notEqual(await ground().server.ask('in', '198.51.100.2', PUBLISHED_PORT), '');
    }), []);
    out('nft', 'delete', 'table', 'ip', 'published');
  });
}

function howItStays(ground: () => Ground, kernel: () => Kernel): void {
  test('the next turn writes nothing', async () => {
    const before = standsAs();
    await inForce(kernel(), wishOf());
    assert.equal(standsAs(), before);
    assert.match(before, /sent6_0_wan1/);
  });

  for (const backend of ['nftables', 'iptables'] as const) test(`when ${backend} is written anew the counters go on`, async () => {
    for (const routed of [[], ['10.77.0.0/24']]) assert.deepEqual(await grownBy(kernel(), () => inForce(kernel(), wishOf({ backend, routed }))), []);
    assert.deepEqual(await grownBy(kernel(), () => ground().client.ask('a', SERVER)), ['wan0 4 1/1']);
    assert.ok((kernel().count()[0]?.sentPackets ?? 0) > 5);
  });

  test('an uplink that comes or goes leaves the numbers of the others as they are', async () => {
    const before = said(kernel().count());
    assert.equal(before.length, 4);
    await inForce(kernel(), wishOf({ lines: LINES.slice(0, 1) }));
    assert.deepEqual(said(kernel().count()), before.slice(0, 2));
    assert.ok(!standsAs().includes('wan1'));
    await inForce(kernel(), wishOf());
    assert.deepEqual(said(kernel().count()), before.slice(0, 2));
    assert.equal(kernel().count().length, 4);
    assert.deepEqual(await grownBy(kernel(), () => ground().client.ask('a', SERVER)), ['wan0 4 1/1']);
  });

  test('what another hand takes or spoils is put back at the next turn', async () => {
    const hands: readonly (readonly [string, () => void])[] = [
      ['nft flush ruleset', () => void out('nft', 'flush', 'ruleset')],
      ['the table deleted', () => void out('nft', 'delete', 'table', 'inet', 'uplinkd_count')],
      ['its chain flushed', () => void out('nft', 'flush', 'chain', 'inet', 'uplinkd_count', 'passing')],
      ['a chain that drops', () => nft('table inet uplinkd_count { chain wall { type filter hook forward priority 0; policy drop; }; }')],
      ['another hook', () => nft('delete table inet uplinkd_count\ntable inet uplinkd_count { chain passing { type filter hook input priority 0; }; }')],
    ];
    for (const [what, hand] of hands) {
      hand();
      if (what.includes('ruleset') || what.includes('deleted')) assert.deepEqual(kernel().count(), [], what);
      await inForce(kernel(), wishOf());
      assert.deepEqual(await grownBy(kernel(), () => ground().client.ask('a', SERVER)), ['wan0 4 1/1'], what);
    }
  });

  test('a daemon that starts again takes over what stands, and counts nothing before its first turn', async () => {
    const next = open();
    assert.deepEqual(next.count(), []);
    const before = said(kernel().count());
    await inForce(next, wishOf());
    assert.deepEqual(said(next.count()), before);
    next.close();
    await inForce(kernel(), wishOf());
  });

  test('the table is gone when nothing is to be counted, and after restore', async () => {
    await inForce(kernel(), wishOf({ counting: false }));
    assert.deepEqual([standsAs(), kernel().count()], ['', []]);
    await inForce(kernel(), wishOf());
    assert.equal(kernel().count().length, 4);
    await kernel().restore();
    assert.deepEqual([standsAs(), kernel().count()], ['', []]);
    await inForce(open(), wishOf());
    await inForce(open(), wishOf({ counting: false }));
    assert.equal(standsAs(), '', 'also one of a former run');
    await inForce(kernel(), wishOf());
  });

  test('a preview shows the table that would come or go, and nothing once it stands', async () => {
    assert.deepEqual((await kernel().preview(wishOf())).filter, []);
    assert.deepEqual((await open().preview(wishOf())).filter, [], 'nft lists the rules as we write them');
    const off = (await kernel().preview(wishOf({ counting: false }))).filter;
    assert.deepEqual([off.length, off.every((each) => /^- nft add (counter|rule) inet uplinkd_count /.test(each))], [23, true], off.join('\n'));
    out('nft', 'delete', 'table', 'inet', 'uplinkd_count');
    assert.deepEqual((await kernel().preview(wishOf())).filter, off.map((each) => each.replace('-', '+')), 'what another hand took');
    await inForce(kernel(), wishOf());
    const oneLess = (await kernel().preview(wishOf({ lines: LINES.slice(0, 1) }))).filter.filter((each) => each.includes('counter inet uplinkd_count'));
    assert.deepEqual(oneLess, ['answered4_wan1', 'answered6_wan1', 'sent4_wan1', 'sent6_wan1'].map((name) => `- nft add counter inet uplinkd_count ${name}`));
  });

  test('it is nobody else\'s firewall', async () => {
    for (const turn of [1, 2]) {
      await inForce(kernel(), wishOf({ firewall: 'auto', routed: [`10.${turn}.0.0/16`] }));
      assert.match(out('nft', 'list', 'table', 'ip', 'uplinkd'), /hook forward/);
    }
    await inForce(kernel(), wishOf());
  });

  test('numbers beyond 32 bits are read as they are', (t) => {
    nft('table inet big { counter many { packets 5000000000 bytes 9000000000000 }; quota none { over 1 mbytes }; }');
    const reader = openCounterReader();
    t.after(() => {
      reader.close();
      out('nft', 'delete', 'table', 'inet', 'big');
    });
    assert.deepEqual(reader.read('big'), [{ name: 'many', packets: 5_000_000_000, bytes: 9_000_000_000_000 }]);
    assert.deepEqual(reader.read('nosuch'), []);
  });
}

/** @returns whether this kernel can do it */
function fastPath(t: TestContext, chain = ''): boolean {
  const input = `table inet fast { flowtable ft { hook ingress priority 0; devices = { wan0, lan0 }; }; ${chain}; }`;
  const { status, stderr } = spawnSync('nft', ['-f', '-'], { input, encoding: 'utf8' });
  assert.doesNotMatch(stderr, /syntax error/);
  if (status === 0) t.after(() => out('nft', 'delete', 'table', 'inet', 'fast'));
  return status === 0;
}

/** With real frames; what a flowtable itself does needs a kernel that has one. */
function besideFlowtables(ground: () => Ground, kernel: () => Kernel): void {
  const devicesOf = (): readonly (TrafficCount['device'])[] => kernel().count('flowtable').map((one) => one.device);

  test('a device tells all bytes that it carried, and one that is not there is left out', (t) => {
    const reader = openDeviceReader();
    t.after(() => reader.close());
    const before = reader.read(['wan0', 'nosuch0', 'wan0']);
    out('ping', '-c1', '-s1000', '-W1', '198.51.100.1');
    const after = reader.read(['wan0', 'nosuch0']);
    assert.deepEqual([[...before.keys()], [...after.keys()]], [['wan0'], ['wan0']]);
    const [was, is] = [before.get('wan0')!, after.get('wan0')!];
    const grown = [is.sentBytes - was.sentBytes, is.receivedBytes - was.receivedBytes];
    assert.ok(grown.every((bytes) => bytes >= 1028), grown.join());
  });

  test('devices are told with the counts where a flowtable stands, and only when they are asked for', (t) => {
    assert.deepEqual(devicesOf(), [undefined, undefined, undefined, undefined]);
    assert.equal(kernel().count('yes').every(({ device }) => device !== undefined && device.receivedBytes > 0), true);
    if (!fastPath(t)) return t.skip('this kernel has no flowtables');
    assert.equal(kernel().count().some((one) => 'device' in one), false);
    const [four, six] = kernel().count('flowtable').filter((one) => one.interface === 'wan0');
    assert.deepEqual(four!.device, six!.device, 'it is the same device');
    assert.equal(four!.device!.answeredBytes, four!.answeredBytes + six!.answeredBytes);
    assert.ok(four!.device!.receivedBytes > four!.device!.answeredBytes);
  });

  test('what a flowtable carries is missing from the counts, and the device tells it', async (t) => {
    const chain = 'chain fast { type filter hook forward priority 10; ct state established flow add @ft; }';
    if (!fastPath(t, chain)) return t.skip('this kernel has no flowtables');
    const of = (): TrafficCount =>
      kernel().count('flowtable').find((one) => one.interface === 'wan0' && one.family === 4)!;
    const { client } = ground();
    assert.equal(await client.open('long', SERVER), '');
    const before = of();
    for (let i = 0; i < 50; i++) assert.equal(await client.say('long'), 'yes');
    const after = of();
    await client.shut('long');
    const counted = after.answeredBytes - before.answeredBytes;
    const received = after.device!.receivedBytes - before.device!.receivedBytes;
    assert.ok(received > 50 * 52 && counted < received / 2, `${counted} of ${received} bytes`);
  });
}

function names(ground: () => Ground, kernel: () => Kernel): void {
  for (const name of ['eth0.100', 'wan-a', 'ppp0@x', '_9', 'enp0s31f6.4094a']) test(`a device may be called ${name}`, async () => {
    rename('wan1', name);
    steer(1);
    await inForce(kernel(), wishOf({ lines: [LINES[0] ?? line('fibre', 'wan0', 0x80), line('cable', name, 0x100)] }));
    assert.deepEqual(await grownBy(kernel(), () => ground().client.ask(`by ${name}`, SERVER)), [`${name} 4 1/1`]);
    rename(name, 'wan1');
    steer(0);
    await inForce(kernel(), wishOf());
  });

  test('names that differ in one odd character are kept apart, and what cannot be written is left out', async () => {
    const lines = ['a@b', 'a.b', 'a-b', 'a_b', 'a40b', 'a+b'].map((device, i) => line(`odd${i}`, device, 0x80 * (i + 1)));
    const report = await kernel().host(wishOf({ lines }));
    assert.deepEqual(report.problems.length, 1, report.problems.join());
    assert.deepEqual(kernel().count().map((one) => `${one.interface} ${one.family}`), lines.slice(0, 5).flatMap(({ interface: device }) => [`${device} 4`, `${device} 6`]));
  });

  test('64 uplinks are counted in as many rules as two', async () => {
    const many = Array.from({ length: 64 }, (_, i) => line(`line${i}`, i < 2 ? `wan${i}` : `isp${i}`, 0x80 * (i + 1)));
    await inForce(kernel(), wishOf({ lines: many }));
    assert.deepEqual(await grownBy(kernel(), () => ground().client.ask('64', SERVER)), ['wan0 4 1/1']);
    assert.equal(kernel().count().length, 128);
    assert.equal(standsAs().match(/jhash/g)?.length, 4);
    assert.deepEqual((await open().preview(wishOf({ lines: many }))).filter.filter((each) => each.includes('uplinkd_count')), [], 'in whatever order nft lists them');
    await inForce(kernel(), wishOf());
  });
}

/** Without its IPv6 address a device that was off has no way to the gateway. */
function rename(from: string, to: string): void {
  out('ip', 'link', 'set', from, 'down');
  out('ip', 'link', 'set', from, 'name', to);
  out('ip', 'link', 'set', to, 'up');
  out('ip', 'address', 'add', '2001:db8:b::2/64', 'dev', to, 'nodad');
}

function withoutNft(): void {
  for (const [title, take, words] of [
    ['refuses', refuse, /^connections are no evidence, because nothing counts their packets: nft: .*exit 1.*; probe\.passive: false does without$/],
    ['is not installed', hide, /^connections are no evidence, because nothing counts their packets: nft is not installed; install it \(apt install nftables\) or set probe\.passive: false$/],
  ] as const) test(`where nft ${title} one problem is told, nothing is counted, and NAT is in sync`, async () => {
    const [door, wish] = [open(), wishOf({ backend: 'iptables' })];
    await inForce(door, wish);
    out('nft', 'delete', 'table', 'inet', 'uplinkd_count');
    const giveBack = take();
    const reports = [await door.host(wish), await door.host(wishOf({ backend: 'iptables', counting: false }))];
    const counts = door.count();
    giveBack();
    assert.match(reports[0]?.problems.join('\n') ?? '', words);
    for (const report of reports) assert.deepEqual([report.natBackend, report.natInSync], ['iptables', true]);
    assert.deepEqual([reports[1]?.problems, counts], [[], []]);
    await inForce(door, wish);
    assert.equal(door.count().length, 4);
    await door.restore();
    assert.equal(standsAs(), '');
    door.close();
  });
}

/** @returns gives it back */
function refuse(): () => void {
  const nftProgram = out('readlink', '-f', '/usr/sbin/nft').trim();
  out('mount', '--bind', '/bin/false', nftProgram);
  return () => void out('umount', nftProgram);
}

function hide(): () => void {
  const [real, rest] = [mkdtempSync(join('/run', 'sbin-')), mkdtempSync(join('/run', 'rest-'))];
  out('mount', '--bind', '/usr/sbin', real);
  for (const name of readdirSync(real)) if (name !== 'nft') symlinkSync(join(real, name), join(rest, name));
  out('mount', '--bind', rest, '/usr/sbin');
  return () => {
    out('umount', '/usr/sbin');
    out('umount', real);
  };
}
