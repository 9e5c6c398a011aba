/**
 * Delay lines, proved before anything is proved on them: their time, their order, their losses, their rate, and that TCP comes through whole. A line is
 * never early; how late the machine makes it is its own matter.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { labUnavailable, openLab, waitFor, withLab } from './lab.js';
import type { Lab } from './lab.js';
import type { Sample } from './outage.js';
import { answersInOrder, leastRtt, receivedOf } from './received.js';
import { planTopology } from './topology.js';
import { deadline } from './wait.js';

const skip = (await labUnavailable('python3')) ?? false;

/** Nearer than any delay that is made here. On a busy machine it takes a while until one of many answers is so quick. */
const NEAR_MS = 20;

/** A TCP transfer, and the longest frame of it that was seen on the line's near end. */
const RECEIVE = `
import hashlib, socket
s = socket.create_server(('0.0.0.0', 9000))
print('ready', flush=True)
while True:
    c, _ = s.accept()
    h, size = hashlib.sha256(), int(c.recv(8))
    while size:
        part = c.recv(65536)
        h.update(part)
        size -= len(part)
    c.sendall(h.hexdigest().encode())
    c.close()
`;
const SEND = `
import hashlib, os, socket, time
data = os.urandom(4 << 20)
s = socket.create_connection(('192.0.2.10', 9000))
s.sendall(b'%8d' % len(data))
begun = time.monotonic()
s.sendall(data)
whole = s.recv(64).decode() == hashlib.sha256(data).hexdigest()
print('whole' if whole else 'broken', round((time.monotonic() - begun) * 1000))
`;
const LONGEST = `
import socket
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
s.bind(('near0', 3))
print('ready', flush=True)
longest = 0
while True:
    try: size = len(s.recv(70000))
    except KeyboardInterrupt: break
    if size > longest:
        longest = size
        print(longest, flush=True)
`;

describe('a delay line', { skip }, () => {
  let lab: Lab;
  before(async () => {
    lab = await openLab({ isps: 2, lines: { fibre: { rttMs: 40, jitterMs: 15 } }, vpn: false });
    await lab.kernelAlone();
  });
  after(async () => lab.close());

  const asked = async (ms: number, rateHz = 500): Promise<readonly Sample[]> => {
    const flow = await lab.stream({ kind: 'udp', rateHz });
    const since = flow.mark();
    const samples = await flow.samples({ since, until: since + ms, graceMs: deadline() });
    await flow.stop();
    return samples;
  };
  const rttsOf = (samples: readonly Sample[]): readonly number[] => samples.flatMap(({ rttMs }) => (rttMs === undefined ? [] : [rttMs])).sort((one, other) => one - other);
  const leastOf = (host: string, address: string): Promise<number> => leastRtt(lab, host, address);

  test('takes 25 ms at least, differs from packet to packet, loses nothing, sparse and dense, and the gateway stays near', async () => {
    for (const rateHz of [40, 1000]) {
      const samples = await asked(500, rateHz);
      const rtts = rttsOf(samples);
      assert.equal(rtts.length, samples.length, 'nothing is lost');
      const [least = 0, most = 0] = [rtts[0], rtts.at(-1)];
      assert.ok(least >= 25 && most - least > 8, `${least} to ${most} ms`);
    }
    await waitFor('the gateway is near', () => leastOf('router', '198.51.100.1'), (leastMs) => leastMs < NEAR_MS);
  });

  test('keeps the order unless told otherwise', async () => {
    const overtaken = async (): Promise<number> => {
      const numbers = await answersInOrder(lab, 'client', 200, '1.1.1.1');
      assert.equal(numbers.length, 200, 'nothing is lost');
      return numbers.filter((number, n) => number < (numbers[n - 1] ?? 0)).length;
    };
    await lab.shape('fibre', { rttMs: 100, jitterMs: 90 });
    assert.equal(await overtaken(), 0);
    await lab.shape('fibre', { rttMs: 40, jitterMs: 15, reorder: true });
    assert.ok((await overtaken()) > 0);
    await lab.shape('fibre', { reorder: false });
  });

  test('loses its share each way', async () => {
    await lab.shape('fibre', { rttMs: 2, jitterMs: 0, lossPercent: 20 });
    const received = await receivedOf(lab, 'client', 500, '1.1.1.1');
    assert.ok(received > 260 && received < 380, `${received} of 500 instead of 320`);
    await lab.shape('fibre', { lossPercent: 0 });
    assert.equal(await receivedOf(lab, 'client', 100, '1.1.1.1'), 100);
  });

  test('is changed while it runs', async () => {
    await lab.shape('fibre', { rttMs: 100 });
    assert.ok((await leastOf('client', '1.1.1.1')) >= 100);
    await lab.shape('fibre', { rttMs: 0 });
    await waitFor('it takes no time', () => leastOf('client', '1.1.1.1'), (leastMs) => leastMs < NEAR_MS);
  });

  test('carries TCP whole, packet by packet, at its rate', async () => {
    const [receiver, sniffer] = await Promise.all([lab.start('internet', ['python3', '-c', RECEIVE]), lab.start('delays', ['python3', '-c', LONGEST])]);
    let seen = '';
    sniffer.child.stdout?.on('data', (chunk: Buffer) => (seen += chunk.toString()));
    await Promise.all([receiver, sniffer].map(async ({ child }) => new Promise((resolve) => void child.stdout?.once('data', resolve))));
    const unbound = await lab.text('client', ['python3', '-c', SEND]);
    await lab.shape('fibre', { rateKbit: 40_000, queueMs: 200 });
    const bound = await lab.text('client', ['python3', '-c', SEND]);
    await lab.shape('fibre', { rateKbit: 0 });
    assert.match(unbound, /^whole/);
    assert.match(bound, /^whole/);
    const tookMs = Number(bound.split(' ')[1]);
    // 4 MiB and their headers at 40 Mbit/s
    assert.ok(tookMs > 850, `${tookMs} ms at a rate, ${unbound.trim()} without`);
    const longest = Number(seen.trim().split('\n').at(-1));
    assert.equal(longest, 1514);
  });

  test('an upload fills the buffer of its line, and it is empty again afterwards', async () => {
    await lab.shape('fibre', { rttMs: 10, rateKbit: 4000, queueMs: 300 });
    const upload = await lab.stream({ kind: 'upload' });
    await waitFor('a packet beside it waits long', () => leastOf('client', '1.1.1.1'), (leastMs) => leastMs > 150);
    await upload.stop();
    await waitFor('the line is empty', () => leastOf('client', '1.1.1.1'), (leastMs) => leastMs < 10 + NEAR_MS);
    await lab.shape('fibre', { rttMs: 0, rateKbit: 0 });
  });

  test('only lines that were wished for have a shape, and no shape is nonsense', async () => {
    await assert.rejects(lab.shape('cable', { rttMs: 1 }), /cable has no delay line; openLab\(\{ lines/);
    await assert.rejects(lab.shape('fibre', { lossPercent: 101 }), /no line is like/);
    assert.throws(() => planTopology({ isps: 2, lines: { lte: {} } }), /there is no ISP "lte"/);
  });
});

test('a delay line carries IPv6', { skip }, () =>
  withLab({ isps: 1, lines: { fibre: { rttMs: 30 } }, ipv6: true, vpn: false }, async (lab) => {
    await lab.kernelAlone();
    assert.ok((await leastRtt(lab, 'client', '2001:db8:ffff::10')) >= 30);
  }));
