/** The loop around the core, with real timers. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openState } from '../../src/core/state.js';
import { openTimers } from '../../src/clock.js';
import { openDaemon, type Daemon, type World } from '../../src/daemon.js';
import { openDryKernel } from '../../src/kernel/dry.js';
import type { Instant, News, Override, ProbeOrder } from '../../src/model.js';
import { waitFor } from '../lab/wait.js';
import { factsOf, linkOf, policyOf, uplinkPolicy } from './fixture.js';

const POLICY = policyOf([uplinkPolicy('fibre'), uplinkPolicy('cable')]);
const now = (): Instant => performance.now() as Instant;

interface Bench {
  readonly daemon: Daemon;
  readonly state: ReturnType<typeof openState>;
  readonly kernel: ReturnType<typeof openDryKernel>;
  readonly news: readonly News[];
  readonly saved: readonly (Override | undefined)[];
}

/** A daemon on a dry kernel; probes are answered in a turn of their own after 1 ms. */
async function withDaemon(run: (bench: Bench) => Promise<void>, door: Partial<World['kernel']> = {}): Promise<void> {
  const state = openState(POLICY, now());
  const kernel = openDryKernel(factsOf(['fibre', 'cable']));
  const news: News[] = [];
  const saved: (Override | undefined)[] = [];
  let open = true;
  const answer = (order: ProbeOrder): void => {
    const sentAt = now();
    setTimeout(() => {
      if (open) daemon.report({ type: 'reply', at: now(), uplink: order.uplink, family: order.family, target: order.target.id, seq: order.seq, rttMs: now() - sentAt });
    }, 1);
  };
  const daemon = openDaemon(state, {
    kernel: { ...kernel, ...door }, prober: { bind: () => undefined, send: answer }, now, timers: openTimers(), wall: () => Date.now(), clockSet: () => state.override,
    publish: () => undefined, tell: (line) => news.push(line), save: (override) => saved.push(override),
  });
  try {
    daemon.start();
    await waitFor('it is ready', () => state.ready, (ready) => ready);
    await run({ daemon, state, kernel, news, saved });
  } finally {
    open = false;
    await daemon.stop();
  }
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** As a machine that is out of breath: nothing runs. */
function hog(ms: number): void {
  for (const until = now() + ms; now() < until;);
}

test('it starts, asks, decides and answers orders from what was read back', () => withDaemon(async ({ daemon, state, kernel, saved }) => {
  assert.equal(state.ready, true);
  const leading = (): number | undefined => kernel.readOurs().routes.filter((route) => route.table === 9400).sort((a, b) => a.metric - b.metric)[0]?.hops[0]?.ifindex;
  assert.equal(leading(), 2);
  const wish = { uplink: 'cable', forMs: 60_000, reason: '', ifDead: 'fall-through', confirmMs: 5000, by: 'a test' } as const;
  assert.deepEqual([await daemon.override(wish), leading()], [{ error: '' }, 3]);
  assert.deepEqual(await daemon.confirm('a test'), { error: '' });
  assert.deepEqual(await daemon.confirm('a test'), { error: 'the override needs no confirmation' });
  assert.deepEqual(await daemon.override({ ...wish, uplink: 'nobody' }), { error: 'there is no uplink nobody' });
  assert.deepEqual(await daemon.clear('a test'), { error: '' });
  assert.deepEqual(saved.map((override) => override?.uplink), ['cable', 'cable', undefined]);
}));

test('a link event is decided and carried out before anything else runs', () => withDaemon(async ({ kernel }) => {
  kernel.outside.setLink(linkOf('fibre', { carrier: false }));
  assert.deepEqual(kernel.readOurs().routes.filter((route) => route.table === 9400).map((route) => route.hops[0]!.ifindex), [3]);
}));

test('starved in the middle of a turn: the answers that are read first do not hide how late we are', () => withDaemon(async ({ daemon, state, news }) => {
  daemon.report({ type: 'reply', at: now(), uplink: 'fibre', family: 4, target: 'gateway', seq: 9999, rttMs: 1 });
  hog(1100);
  daemon.report({ type: 'reply', at: now(), uplink: 'fibre', family: 4, target: 'gateway', seq: 9998, rttMs: 1 });
  await waitFor('its lateness is noted', () => state.worstLatenessMs, (ms) => ms > 500);
  await sleep(60);
  assert.deepEqual(news.filter((line) => /suspect|down/.test(line.text)), []);
}));

test('notices in plenty are gathered into few reads', async () => {
  let reads = 0;
  let again: (what: 'ours' | 'all') => void = () => undefined;
  const dry = openDryKernel(factsOf(['fibre', 'cable']));
  await withDaemon(async () => {
    reads = 0;
    for (let turn = 0; turn < 50; turn++) {
      for (let i = 0; i < 100; i++) again('ours');
      await new Promise((resolve) => setImmediate(resolve));
    }
    await waitFor('it reads', () => reads, (count) => count > 0);
    // On the slowest machine each turn of the loop has a read.
    assert.ok(reads <= 60, `${reads} reads after 5000 notices`);
  }, {
    readAll: () => { reads++; return dry.readAll(); }, readOurs: () => { reads++; return dry.readOurs(); }, apply: dry.apply, look: dry.look,
    watch: (tell) => { again = tell.again; },
  });
});

test('NAT is brought to the wish one at a time, and only the newest wish counts', async () => {
  const marks: number[] = [];
  let busy = 0;
  await withDaemon(async ({ daemon }) => {
    for (const markMask of [0x7f, 0x7f00, 0x7f0000]) void daemon.reload({ ...POLICY, markMask });
    await waitFor('the newest is carried out', () => marks, (seen) => seen.at(-1) === 0x7f0000);
    assert.ok(!marks.includes(0x7f00), 'the one in between was never carried out');
  }, {
    host: async (wish) => {
      marks.push(wish.nat.markMask);
      assert.equal(busy++, 0, 'two at once');
      await sleep(30);
      busy--;
      return { natBackend: 'nftables', natInSync: true, natRepaired: false, sysctlsInSync: true, problems: [] };
    },
  });
});

test('stopped: no further event is taken and the kernel is not touched, though a timer has rung already', async () => {
  let reads = 0;
  const dry = openDryKernel(factsOf(['fibre', 'cable']));
  await withDaemon(async ({ daemon, state }) => {
    dry.outside.deleteRoute(dry.readOurs().routes.find((route) => route.table === 9400)!);
    // The daemon will read again within 100 ms of its last read. Its timer and this one are both overdue when they ring.
    await new Promise<void>((resolve) => {
      setTimeout(() => {
        reads = 0;
        resolve(daemon.stop());
      }, 110);
      hog(130);
    });
    const { steps } = state;
    daemon.report({ type: 'reply', at: now(), uplink: 'fibre', family: 4, target: 'gateway', seq: 1, rttMs: 1 });
    await sleep(30);
    assert.deepEqual([state.steps, reads], [steps, 0]);
  }, {
    ...dry, readAll: () => { reads++; return dry.readAll(); }, readOurs: () => { reads++; return dry.readOurs(); },
  });
});
