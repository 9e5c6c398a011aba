/** What the daemon keeps from doing: to lead by a line that dies again and again, to spend what a metered line may not cost, to blame lines for its own sleep. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { labUnavailable, now, until, waitFor } from '../lab/lab.js';
import { FAST, arrivals, assertUnhurt, carriers, said, settled, shareStory, stateOf, uplinkIn, untilState } from './story.js';

const skip = (await labUnavailable()) ?? false;
const UPLINKS = {
  fibre: { interface: 'isp0', gateway: '198.51.100.1', priority: 1 },
  cable: { interface: 'isp1', gateway: '203.0.113.1', priority: 2 },
  lte: { interface: 'isp2', gateway: '100.64.0.1', priority: 3, metered: true },
} as const;
const tell = shareStory({ config: { uplinks: UPLINKS } });
const ASLEEP_MS = 5000;

test('a line that died twice within a while comes last although it answers, status says until when, and then it leads again', { skip }, () => {
  const health = { ...FAST.health, up: { successes: 2 }, damping: { halfLife: '10s', suppress: 1.6, reuse: 1 } };
  return tell(async ({ lab, daemon }) => {
    await lab.upstreamDead('fibre');
    await untilState(daemon, 'fibre', 'down');
    await lab.heal('fibre');
    await daemon.untilActive('fibre');
    assert.equal(dampingOf(await daemon.status()).suppressedUntil, null, 'once is no habit');

    await lab.upstreamDead('fibre');
    await untilState(daemon, 'fibre', 'down');
    await lab.heal('fibre');
    const status = await untilState(daemon, 'fibre', 'up');
    const { suppressedUntil, penalty } = dampingOf(status);
    assert.ok(suppressedUntil !== null && penalty > 1, JSON.stringify(dampingOf(status)));
    const fresh = await lab.stream({ kind: 'new-udp', rateHz: 20 });
    await until(now() + 1500);
    const later = await daemon.status();
    assert.deepEqual([stateOf(later, 'fibre'), later.active.map(({ name }) => name)], ['up', ['cable']]);
    assert.deepEqual(await carriers(fresh), ['cable']);

    const since = now();
    await daemon.untilActive('fibre');
    assert.ok(Date.now() >= Date.parse(suppressedUntil) - 50, `before ${suppressedUntil}`);
    await settled(daemon);
    assert.deepEqual(await carriers(fresh), ['fibre']);
    await assertUnhurt({ fresh }, since);
  }, { ...FAST, health, failback: { hold: '300ms' } });
});

test('a metered line on standby is asked at least five times less often than the others, and what it cost is told', { skip }, () =>
  tell(async ({ lab, daemon }) => {
    const spentBefore = bytesOf(await daemon.status(), 'lte').spent;
    const [cable, lte] = await Promise.all([arrivals(lab, 'cable', 'icmp type echo-request'), arrivals(lab, 'lte', 'icmp type echo-request')]);
    await waitFor('lte is asked', lte, (asked) => asked >= 3);
    const [ofCable, ofLte] = [await cable(), await lte()];
    assert.ok(ofLte * 5 <= ofCable, `lte was asked ${ofLte} times, cable ${ofCable} times`);
    const { spent, budget } = bytesOf(await daemon.status(), 'lte');
    assert.equal(budget, 5_000_000);
    assert.ok(spent - spentBefore >= ofLte * 56 && spent - spentBefore < ofLte * 160 + 500, `${ofLte} probes cost ${spent - spentBefore} bytes`);
    assert.equal(bytesOf(await daemon.status(), 'cable').budget, null);
    const status = await daemon.status();
    assert.deepEqual([stateOf(status, 'lte'), status.active.map(({ name }) => name)], ['up', ['fibre']]);
  }));

test('a daemon that was stopped for five seconds blames no line for it', { skip }, () =>
  tell(async ({ lab, daemon }) => {
    const fresh = await lab.stream({ kind: 'new-udp', rateHz: 20 });
    const before = await daemon.status();
    const since = now();
    process.kill(daemon.pid, 'SIGSTOP');
    try {
      await until(since + ASLEEP_MS);
    } finally {
      // Who waits for a stopped process has stopped itself, and hands on what wakes it.
      for (const pid of [parentOf(daemon.pid), daemon.pid]) process.kill(pid, 'SIGCONT');
    }
    await until(now() + 1000);
    const after = await daemon.status();
    assert.equal(after['generation'], before['generation']);
    assert.deepEqual(after.uplinks.map((one) => [one.state, one['downs'], one['suspicions']]), before.uplinks.map((one) => ['up', one['downs'], one['suspicions']]));
    assert.deepEqual(said(daemon, /is (suspect|degraded|down)/), []);
    assert.deepEqual(await carriers(fresh), ['fibre']);
    await assertUnhurt({ fresh }, since);
  }, FAST));

function parentOf(pid: number): number {
  return Number(/^PPid:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);
}

function dampingOf(status: Parameters<typeof uplinkIn>[0]): { readonly penalty: number; readonly suppressedUntil: string | null } {
  return uplinkIn(status, 'fibre')['damping'] as { readonly penalty: number; readonly suppressedUntil: string | null };
}

function bytesOf(status: Parameters<typeof uplinkIn>[0], uplink: string): { readonly spent: number; readonly budget: number | null } {
  return uplinkIn(status, uplink)['probeBytes'] as { readonly spent: number; readonly budget: number | null };
}
