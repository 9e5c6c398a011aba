/** Connections are forgotten by mark, each on its own, without holding the event loop. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { beforeEach, test } from 'node:test';
import { countMarked, forget, wanted } from '../../src/kernel/conntrack.js';
import { AsideSocket } from '../../src/kernel/netlink/aside.js';
import { NLM_F_CREATE, NLM_F_EXCL, type Writer } from '../../src/kernel/netlink/codec.js';
import { parseAddress } from '../../src/kernel/netlink/inet.js';
import { NETLINK_NETFILTER } from '../../src/kernel/netlink/socket.js';
import type { ForgetOrder } from '../../src/model.js';
import { inNamespaces, out } from './nat-ground.js';

const IPCTNL_MSG_CT_NEW = 0x100;
const IPCTNL_MSG_CT_GET = 0x101;
const IPS_SEEN_REPLY = 2;
const IPS_CONFIRMED = 8;
const MASK = 0x3f80;
const FIBRE = 0x80;
const CABLE = 0x100;
/** Bits of somebody else beside ours. */
const THEIRS = 0xff0000;

const order = (mark: number, which: ForgetOrder['which'] = 'all'): ForgetOrder => ({ uplink: 'fibre', mark, markMask: MASK, which });

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
    assert.equal(await forget(order(FIBRE, 'unanswered')), 3);
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
      const everything = socket.dump(IPCTNL_MSG_CT_GET, (request) => request.u32(0), (message) => wanted(message, order(FIBRE, which)));
      for await (const entries of everything) found += entries.length;
      return found;
    };
    assert.deepEqual([await count('all'), await count('unanswered')], [2, 1]);
    socket.close();
  });

  for (const marked of [25_000, 300]) {
    test(`${marked} of 50000 entries: none of them stays, and the event loop is never held for 5 ms`, async () => {
      await insert(flows(50_000 - marked, 0, CABLE));
      const heldMs: number[] = [];
      for (let run = 0; run < 2; run++) {
        await insert(flows(marked, 50_000 - marked, FIBRE));
        const loop = watchLoop();
        assert.equal(await forget(order(FIBRE)), marked);
        heldMs.push(loop.end());
      }
      assert.equal(await countMarked(order(CABLE)), 50_000 - marked);
      assert.ok(Math.min(...heldMs) < 5, `held for ${heldMs.map((ms) => ms.toFixed(1)).join(', ')} ms`);
    });
  }
});

function flows(count: number, first: number, mark: number): Flow[] {
  return Array.from({ length: count }, (_, i) => ({ port: first + i, mark }));
}

/** Source ports of the entries that are there. */
function ports(): number[] {
  return ['ipv4', 'ipv6']
    .flatMap((family) => out('conntrack', '-L', '-f', family).split('\n'))
    .flatMap((line) => line.match(/sport=(\d+)/)?.[1] ?? [])
    .map(Number)
    .sort((a, b) => a - b);
}

interface Flow {
  readonly port: number;
  readonly mark: number;
  readonly family?: 4 | 6;
  readonly answered?: boolean;
}

/** (`conntrack -I` mixes up mark and status.) */
async function insert(flows: readonly Flow[]): Promise<void> {
  const socket = new AsideSocket(NETLINK_NETFILTER);
  for (let at = 0; at < flows.length; at += 200) {
    const errors = await socket.changes(IPCTNL_MSG_CT_NEW, NLM_F_CREATE | NLM_F_EXCL, flows.slice(at, at + 200).map((flow) => (entry) => writeFlow(entry, flow)));
    assert.deepEqual(errors.filter((error) => error !== ''), []);
  }
  socket.close();
}

function writeFlow(entry: Writer, { port, mark, family = 4, answered = true }: Flow): void {
  const [from, to, af, first] = family === 4 ? (['10.0.0.1', '10.0.0.2', 2, 1] as const) : (['fd00::1', 'fd00::2', 10, 3] as const);
  const source = Buffer.from([port >> 8, port & 255]);
  const service = Buffer.from([0, 53]);
  const tuple = (type: number, ends: readonly [string, string], ports: readonly [Buffer, Buffer]): void =>
    void entry.nested(type, () => {
      entry.nested(1, () => ends.forEach((address, i) => entry.attribute(first + i, parseAddress(address))));
      entry.nested(2, () => entry.attributeU8(1, 17).attribute(2, ports[0]).attribute(3, ports[1]));
    });
  entry.u8(af).u8(0).u16(0);
  tuple(1, [from, to], [source, service]);
  tuple(2, [to, from], [service, source]);
  entry.attributeU32be(3, answered ? IPS_CONFIRMED | IPS_SEEN_REPLY : IPS_CONFIRMED).attributeU32be(7, 600).attributeU32be(8, mark);
}

/** The most that one turn of the event loop took of the processor, in ms: other programs' load does not count. */
function watchLoop(): { end(): number } {
  let worstMs = 0;
  let last = cpuMs();
  let on = true;
  const turn = (): void => {
    const now = cpuMs();
    worstMs = Math.max(worstMs, now - last);
    last = now;
    if (on) setImmediate(turn);
  };
  setImmediate(turn);
  return {
    end: () => {
      on = false;
      return worstMs;
    },
  };
}

/** Of this thread, kernel time included (first number of schedstat, ns). */
function cpuMs(): number {
  return Number(readFileSync(`/proc/self/task/${process.pid}/schedstat`, 'utf8').split(' ')[0]) / 1e6;
}
