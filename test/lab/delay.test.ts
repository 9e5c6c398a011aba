/** Delay lines, proved before anything is proved on them: their time, their order, their losses, their rate, and that TCP comes through whole. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { labUnavailable, openLab, waitFor, withLab } from './lab.js';
import type { Lab } from './lab.js';
import type { Sample } from './outage.js';
import { planTopology } from './topology.js';

const skip = (await labUnavailable('python3')) ?? false;

/** How late the machine may be, beyond what the line was told; and how often it may be later than that. */
const LATE_MS = 5;
const PATIENCE = { timeoutMs: 10_000 } as const;

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
    const samples = await flow.samples({ since, until: since + ms, graceMs: 250 });
    await flow.stop();
    return samples;
  };
  const rttsOf = (samples: readonly Sample[]): readonly number[] => samples.flatMap(({ rttMs }) => (rttMs === undefined ? [] : [rttMs])).sort((one, other) => one - other);
  const median = (sorted: readonly number[]): number => sorted[Math.floor(sorted.length / 2)] ?? NaN;

  test('takes 40 ± 15 ms, of sparse and of dense packets, and the gateway stays near', async () => {
    for (const rateHz of [40, 1000]) {
      // A busy machine is late at times, but not always, and a line is never early.
      const look = async (): Promise<readonly [least: number, median: number, most: number]> => {
        const samples = await asked(700, rateHz);
        const rtts = rttsOf(samples);
        assert.equal(rtts.length, samples.length, 'nothing is lost');
        assert.ok((rtts[0] ?? 0) >= 25, `${rtts[0]} ms`);
        return [rtts[0] ?? NaN, median(rtts), rtts[Math.floor(rtts.length * 0.95)] ?? NaN];
      };
      await waitFor(`${rateHz} packets a second take 25 to 55 ms`, look, ([least, middle, most]) => most <= 55 + LATE_MS && most - least > 8 && Math.abs(middle - 40) < 7, PATIENCE);
    }
    const nearness = async (): Promise<number> => Number(/= ([\d.]+)\//.exec(await lab.text('router', ['ping', '-n', '-q', '-c', '3', '-i', '0.02', '198.51.100.1']))?.[1]);
    await waitFor('the gateway answers within 5 ms', nearness, (leastMs) => leastMs < 5, PATIENCE);
  });

  test('keeps the order unless told otherwise', async () => {
    const overtaken = (samples: readonly Sample[]): number => {
      const arrivals = samples.map(({ at, rttMs }) => at + (rttMs ?? NaN));
      // the asker reads several answers in one turn, and stamps them within a few hundredths of a ms in their order
      return arrivals.filter((arrival, n) => arrival < (arrivals[n - 1] ?? 0)).length;
    };
    await lab.shape('fibre', { rttMs: 100, jitterMs: 90 });
    assert.equal(overtaken(await asked(300, 1000)), 0);
    await lab.shape('fibre', { rttMs: 40, jitterMs: 15, reorder: true });
    assert.ok(overtaken(await asked(200, 1000)) > 30);
    await lab.shape('fibre', { reorder: false });
  });

  test('loses its share each way', async () => {
    await lab.shape('fibre', { rttMs: 2, jitterMs: 0, lossPercent: 20 });
    const samples = await asked(800, 1000);
    const lost = 1 - rttsOf(samples).length / samples.length;
    assert.ok(lost > 0.29 && lost < 0.43, `${lost} instead of 0.36`);
    await lab.shape('fibre', { lossPercent: 0 });
    assert.equal((await asked(200)).filter(({ rttMs }) => rttMs === undefined).length, 0);
  });

  test('is changed while it runs', async () => {
    const flow = await lab.stream({ kind: 'udp' });
    const rttWith = async (rttMs: number): Promise<number> => {
      const { doneAt } = await lab.shape('fibre', { rttMs });
      const since = doneAt + 120; // those under way are not overtaken
      return median(rttsOf(await flow.samples({ since, until: since + 60, graceMs: 150 })));
    };
    await waitFor('it takes 100 ms', async () => rttWith(100), (rttMs) => rttMs >= 100 && rttMs < 100 + LATE_MS, PATIENCE);
    await waitFor('it takes no time', async () => rttWith(0), (rttMs) => rttMs < LATE_MS, PATIENCE);
    await flow.stop();
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
    assert.ok(tookMs > 850 && tookMs < 4000, `${tookMs} ms at a rate, ${unbound.trim()} without`);
    const longest = Number(seen.trim().split('\n').at(-1));
    assert.equal(longest, 1514);
  });

  test('an upload fills its buffer and no more, and the line is empty again soon after', async () => {
    await lab.shape('fibre', { rttMs: 10, rateKbit: 4000, queueMs: 300 });
    const upload = await lab.stream({ kind: 'upload' });
    const beside = await lab.stream({ kind: 'udp', rateHz: 50 });
    const look = async (): Promise<readonly number[]> => rttsOf(await beside.samples({ since: beside.mark(), until: beside.mark() + 300, graceMs: 400 }));
    await waitFor('a packet beside it waits long', look, (rtts) => median(rtts) > 150 && (rtts[Math.floor(rtts.length * 0.9)] ?? NaN) < 10 + 300 + 20, PATIENCE);
    await upload.stop();
    await waitFor('the line is empty', look, (rtts) => median(rtts) < 10 + LATE_MS, PATIENCE);
    await beside.stop();
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
    const least = async (): Promise<number> => Number(/= ([\d.]+)\//.exec(await lab.text('client', ['ping', '-n', '-q', '-c', '5', '-i', '0.02', '2001:db8:ffff::10']))?.[1]);
    await waitFor('it takes 30 ms', least, (ms) => ms >= 30 && ms < 30 + LATE_MS, PATIENCE);
  }));
