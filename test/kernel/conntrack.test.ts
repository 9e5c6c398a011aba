/** Connections are forgotten by mark, each on its own. (How long that holds the event loop: bench/flows.ts.) */
import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';
import { compileWanted, countMarked, forget } from '../../src/kernel/conntrack.js';
import { AsideSocket } from '../../src/kernel/netlink/aside.js';
import { NETLINK_NETFILTER } from '../../src/kernel/netlink/socket.js';
import type { ForgetOrder, Match } from '../../src/model.js';
import { CABLE, CUT, FIBRE, orderOf as order } from './cut-ground.js';
import { flows, insert, type EntryWish } from './entries.js';
import { inNamespaces, out } from './nat-ground.js';

const IPCTNL_MSG_CT_GET = 0x101;
/** Bits of somebody else beside ours. */
const THEIRS = 0xff0000;

const CROWDS: readonly { readonly title: string; readonly wish: Partial<EntryWish>; readonly more: Partial<ForgetOrder> }[] = [
  { title: 'are deleted', wish: {}, more: {} },
  { title: 'are cut', wish: { protocol: 'tcp', from: '10.0.0.2', translatedFrom: '198.51.100.2', to: '192.0.2.1' }, more: { cutMark: CUT } },
];

const VARIED: readonly EntryWish[] = [
  { port: 1, mark: FIBRE, from: '10.0.0.1', to: '192.0.2.1' },
  { port: 2, mark: FIBRE, from: '10.0.0.2', to: '192.0.2.9' },
  { port: 3, mark: FIBRE, from: '10.0.1.200', to: '192.0.2.1', service: 5061 },
  { port: 4, mark: FIBRE, from: '10.0.1.100', to: '192.0.2.1', protocol: 'tcp' },
  { port: 5, mark: FIBRE, from: '10.0.1.100', to: '192.0.2.9', protocol: 'tcp', service: 5060 },
  { port: 6, mark: FIBRE, family: 6, from: 'fd01::1', to: 'fd00::9' },
];

inNamespaces(import.meta.url, 'connections on Linux', () => {
  beforeEach(() => {
    out('conntrack', '-F');
  });

  test('the entries of one uplink go, of both families, whatever else their mark says; all others stay', async () => {
    await insert([
      { port: 1, mark: FIBRE }, { port: 2, mark: FIBRE | THEIRS }, { port: 3, mark: FIBRE, family: 6 }, { port: 4, mark: CABLE },
      { port: 5, mark: 0 }, { port: 6, mark: THEIRS }, { port: 7, mark: CABLE | 1, family: 6 },
    ]);
    assert.equal(await countMarked(order(FIBRE)), 3);
    assert.equal(await forget(order(FIBRE)), 3);
    assert.deepEqual(ports(), [4, 5, 6, 7]);
    assert.equal(await forget(order(FIBRE)), 0);
  });

  test('unanswered: entries that saw a reply stay', async () => {
    await insert([1, 2, 3].map((port) => ({ port, mark: FIBRE, answered: port === 2 })));
    out('conntrack', '-I', '-p', 'tcp', '-s', '10.0.0.1', '-d', '10.0.0.2', '--sport', '4', '--dport', '80', '-t', '60', '--state', 'SYN_SENT', '-m', `${FIBRE}`);
    assert.equal(await forget(order(FIBRE, { which: 'unanswered', cutMark: CUT })), 3);
    assert.deepEqual(ports(), [2]);
  });

  test('entries in a zone are forgotten too', async () => {
    out('conntrack', '-I', '-p', 'udp', '-s', '10.0.0.1', '-d', '10.0.0.2', '--sport', '9', '--dport', '53', '-t', '60', '-m', `${FIBRE}`, '-w', '5');
    assert.equal(await forget(order(FIBRE)), 1);
    assert.deepEqual(ports(), []);
  });

  test('an order without a mark is refused: it would be everybody’s', async () => {
    await insert([{ port: 1, mark: 0 }]);
    await assert.rejects(forget(order(0)), RangeError);
    await assert.rejects(forget({ ...order(FIBRE), markMask: 0 }), RangeError);
    assert.deepEqual(ports(), [1]);
  });

  test('entries that the kernel should have filtered out, as old ones do not, are passed over', async () => {
    await insert([{ port: 1, mark: FIBRE }, { port: 2, mark: CABLE }, { port: 3, mark: 0 }, { port: 4, mark: FIBRE, answered: false }]);
    const socket = new AsideSocket(NETLINK_NETFILTER);
    const count = async (which: ForgetOrder['which']): Promise<number> => {
      let found = 0;
      const everything = socket.dump(IPCTNL_MSG_CT_GET, (request) => request.u32(0), compileWanted(order(FIBRE, { which })));
      for await (const entries of everything) found += entries.length;
      return found;
    };
    assert.deepEqual([await count('all'), await count('unanswered')], [2, 1]);
    socket.close();
  });

  test('of one family, the other stays', async () => {
    await insert([{ port: 1, mark: FIBRE }, { port: 2, mark: FIBRE, family: 6 }]);
    assert.deepEqual([await countMarked(order(FIBRE, { family: 4 })), await countMarked(order(FIBRE, { family: 6 })), await countMarked(order(FIBRE))], [1, 1, 2]);
    assert.equal(await forget(order(FIBRE, { family: 6 })), 1);
    assert.deepEqual(ports(), [1]);
  });

  test('of an address: what was translated to it, began at it or came in to it; what bears another stays', async () => {
    const mark = FIBRE;
    await insert([
      { port: 1, mark, from: '10.0.0.2', translatedFrom: '198.51.100.2', to: '192.0.2.1' },
      { port: 2, mark, from: '198.51.100.2', to: '192.0.2.1' },
      { port: 3, mark, from: '192.0.2.1', to: '198.51.100.2', translatedTo: '10.0.0.2' },
      { port: 4, mark, from: '10.0.0.2', translatedFrom: '198.51.100.77', to: '192.0.2.1' },
      { port: 5, mark, from: '10.0.0.2', to: '192.0.2.1' },
      { port: 6, mark, family: 6, from: 'fd00::2', translatedFrom: '2001:db8:a::2', to: '2001:db8::1' },
      { port: 7, mark: CABLE, from: '198.51.100.2', to: '192.0.2.1' },
    ]);
    assert.equal(await forget(order(FIBRE, { translatedTo: '198.51.100.2' })), 3);
    assert.equal(await forget(order(FIBRE, { translatedTo: '2001:db8:a::2' })), 1);
    assert.deepEqual(ports(), [4, 5, 7]);
    assert.equal(await forget(order(FIBRE, { translatedTo: '198.51.100.64/26' })), 1, 'a prefix');
    assert.deepEqual(ports(), [5, 7]);
  });

  const kinds: readonly (readonly [string, Partial<Match>, readonly number[]])[] = [
    ['everything', {}, [1, 2, 3, 4, 5, 6]],
    ['sources', { sources: ['10.0.0.0/31', '10.0.1.128/25'] }, [1, 3]],
    ['sources of the other family only', { sources: ['fd01::/16'] }, [6]],
    ['sources of both', { sources: ['10.0.1.128/25', 'fd00::/15'] }, [3, 6]],
    ['destinations', { destinations: ['192.0.2.9'] }, [2, 5]],
    ['a protocol', { protocol: 'tcp' }, [4, 5]],
    ['source ports', { sourcePorts: [{ first: 2, last: 3 }, { first: 6, last: 6 }] }, [2, 3, 6]],
    ['destination ports', { destinationPorts: [{ first: 5060, last: 5061 }] }, [3, 5]],
    ['several conditions at once', { protocol: 'tcp', destinationPorts: [{ first: 1, last: 5060 }] }, [4, 5]],
  ];
  for (const [what, match, expected] of kinds) {
    test(`only or except those that fit a kind: ${what}`, async () => {
      await insert(VARIED);
      const kind = kindOf(match);
      assert.equal(await forget(order(FIBRE, { except: [kindOf({ sources: ['172.16.0.0/12'] }), kind] })), VARIED.length - expected.length);
      assert.deepEqual(ports(), expected);
      await insert(VARIED.filter(({ port }) => !expected.includes(port)));
      assert.equal(await forget(order(FIBRE, { only: kind })), expected.length);
      assert.deepEqual(ports(), VARIED.map(({ port }) => port).filter((port) => !expected.includes(port)));
    });
  }

  test('UDP of the router goes on by another line, whichever end began; its clients and TCP are only forgotten', async () => {
    out('ip', 'address', 'add', '203.0.113.2/32', 'dev', 'lo');
    const [own, peer, caller] = ['203.0.113.2', '192.0.2.1', '192.0.2.77'];
    await insert([
      { port: 51_820, service: 51_820, mark: CABLE, from: own, to: peer },
      { port: 51_820, service: 5182, mark: CABLE, from: peer, to: own },
      { port: 4000, service: 51_820, mark: CABLE, from: caller, to: own },
      { port: 5, service: 51_820, mark: CABLE, from: own, to: peer, protocol: 'tcp' },
    ]);
    const only = kindOf({ destinationPorts: [{ first: 51_820, last: 51_820 }] }, 'router');
    assert.equal(await forget(order(CABLE, { only, onto: { mark: FIBRE, address: '198.51.100.2' } })), 4);
    const led = out('conntrack', '-L', '-p', 'udp').split('\n').filter((line) => line !== '').map((line) => {
      const [from, to, back, at] = [...line.matchAll(/(?:src|dst)=(\S+)/g)].map(([, address]) => address);
      const [port, service, , outer] = [...line.matchAll(/[sd]port=(\d+)/g)].map(([, number]) => Number(number));
      const half = outer === service || outer === port ? 'same' : (outer ?? 0) < 46_884 ? 'low' : 'high';
      const [answered, mark] = [line.includes('UNREPLIED') ? 'waits' : 'seen', / mark=(\d+)/.exec(line)?.[1]];
      return `${from}:${port}>${to}:${service} ${back}>${at} ${half} ${answered} ${mark}`;
    });
    assert.deepEqual(led.sort(), [
      `${peer}:51820>${own}:5182 0.0.0.0>${peer} same seen ${FIBRE}`,
      `${peer}:51820>${own}:51820 0.0.0.0>${peer} same seen ${FIBRE}`,
      `${own}:51820>${peer}:51820 ${peer}>198.51.100.2 low waits ${FIBRE}`,
      `${own}:5182>${peer}:51820 ${peer}>198.51.100.2 high waits ${FIBRE}`,
    ]);
    out('ip', 'address', 'del', '203.0.113.2/32', 'dev', 'lo');
  });

  test('origin router: what it began or ends, whoever spoke first; what it only passes on stays', async () => {
    out('ip', 'addr', 'add', '198.51.100.2/32', 'dev', 'lo');
    const mark = FIBRE;
    await insert([
      { port: 1, mark, service: 51820, from: '198.51.100.2', to: '192.0.2.7' },
      { port: 2, mark, service: 51820, from: '192.0.2.7', to: '198.51.100.2' },
      { port: 3, mark, service: 51820, from: '10.0.0.2', translatedFrom: '198.51.100.2', to: '192.0.2.7' },
      { port: 4, mark, service: 51820, from: '192.0.2.7', to: '198.51.100.2', translatedTo: '10.0.0.2' },
      { port: 5, mark, service: 51820, from: '198.51.100.2', to: '192.0.2.8' },
      { port: 6, mark, service: 51820, from: '198.51.100.99', to: '192.0.2.7' },
    ]);
    const tunnel = kindOf({ protocol: 'udp', destinations: ['192.0.2.7'] }, 'router');
    assert.equal(await countMarked(order(FIBRE, { only: tunnel, translatedTo: '198.51.100.99' })), 1, 'an address that the router had');
    assert.equal(await forget(order(FIBRE, { only: tunnel })), 2);
    assert.deepEqual(ports(), [3, 4, 5, 6]);
  });

  test('cut: TCP that is under way gets the cut mark and a short time, beside the bits of others; all else is deleted', async () => {
    out('ip', 'addr', 'replace', '198.51.100.2/32', 'dev', 'lo');
    const tcp = { mark: FIBRE, protocol: 'tcp', to: '192.0.2.1' } as const;
    await insert([
      { ...tcp, port: 1 }, { ...tcp, port: 2, mark: FIBRE | THEIRS | 1, state: 5 }, { port: 3, mark: FIBRE, protocol: 'tcp', family: 6 },
      { ...tcp, port: 4, state: 7 }, { ...tcp, port: 5, state: 1, answered: false }, { port: 6, mark: FIBRE },
      { ...tcp, port: 7, mark: CABLE }, { ...tcp, port: 8, mark: 0 }, { ...tcp, port: 9, mark: THEIRS },
      { ...tcp, port: 10, from: '198.51.100.2' }, { ...tcp, port: 11, from: '192.0.2.1', to: '198.51.100.2' },
    ]);
    const untouched = marks([7, 8, 9]);
    assert.equal(await forget(order(FIBRE, { cutMark: CUT, except: [kindOf({ sources: ['172.16.0.0/12'] })] })), 8);
    assert.deepEqual(ports(), [1, 2, 3, 7, 8, 9, 10]);
    assert.deepEqual(marks([1, 2, 3, 10]).map(({ mark }) => mark), [CUT, CUT | THEIRS | 1, CUT, CUT]);
    assert.ok(marks([1, 2, 3, 10]).every(({ seconds }) => seconds <= 120 && seconds > 100));
    assert.deepEqual(marks([7, 8, 9]).map(({ mark }) => mark), untouched.map(({ mark }) => mark));
    assert.ok(marks([7, 8, 9]).every(({ seconds }) => seconds > 500));
    assert.equal(await forget(order(FIBRE, { cutMark: CUT })), 0);
  });

  test('a cut mark that is not within the mask is refused', async () => {
    await insert([{ port: 1, mark: FIBRE, protocol: 'tcp' }]);
    await assert.rejects(forget(order(FIBRE, { cutMark: 0x10000 })), RangeError);
    assert.deepEqual(marks([1]).map(({ mark }) => mark), [FIBRE]);
  });

  test('connections that are made while others are forgotten are forgotten too', async () => {
    await insert(flows(20_000, 0, { mark: FIBRE }));
    const forgotten = forget(order(FIBRE));
    await insert(flows(500, 20_000, { mark: FIBRE }));
    assert.equal(await forgotten, 20_500);
    assert.equal(await countMarked(order(FIBRE)), 0);
  });

  for (const { title, wish, more } of CROWDS) {
    test(`15000 of 20000 entries ${title}: none of them stays as it was, and the others do`, async () => {
      await insert(flows(5000, 0, { mark: CABLE, ...wish }));
      await insert(flows(15_000, 5000, { mark: FIBRE, ...wish }));
      assert.equal(await forget(order(FIBRE, more)), 15_000);
      assert.deepEqual([await countMarked(order(FIBRE)), await countMarked(order(CABLE))], [0, 5000]);
    });
  }
});

function kindOf(match: Partial<Match>, origin: 'any' | 'router' = 'any'): NonNullable<ForgetOrder['only']> {
  return { name: 'kind', origin, match: { sources: [], destinations: [], protocol: 'any', sourcePorts: [], destinationPorts: [], ...match } };
}

/** Source ports of the entries that are there. */
function ports(): number[] {
  return listed().map(({ port }) => port).sort((a, b) => a - b);
}

function marks(wanted: readonly number[]): readonly { readonly mark: number; readonly seconds: number }[] {
  const all = listed();
  return wanted.map((port) => all.find((entry) => entry.port === port) ?? { mark: -1, seconds: -1 });
}

function listed(): readonly { readonly port: number; readonly mark: number; readonly seconds: number }[] {
  return ['ipv4', 'ipv6']
    .flatMap((family) => out('conntrack', '-L', '-f', family).split('\n'))
    .flatMap((line) => {
      const [, port] = /sport=(\d+)/.exec(line) ?? [];
      return port === undefined ? [] : { port: Number(port), mark: Number(/ mark=(\d+)/.exec(line)?.[1]), seconds: Number(/^\w+ +\d+ (\d+)/.exec(line)?.[1]) };
    });
}
