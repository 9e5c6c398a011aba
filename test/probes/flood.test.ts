/** Other people's ICMP must not cost us probes: `ping -f` in both directions over the device that we probe through. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { inside } from './namespace.js';

interface Seen {
  readonly sent: number;
  readonly answered: number;
  readonly p50: number;
  readonly p95: number;
  readonly cpuMs: number;
  readonly flooded: number;
}

test('echo requests that flood us stay in the kernel: every probe is answered and its round-trip time stays small', async () => {
  const seen = await inside<Seen>('inside-flood', 'theirs');
  assert.ok(seen.flooded > 10_000, `only ${seen.flooded} packets flooded`);
  assert.equal(seen.answered, seen.sent);
  assert.ok(seen.p50 < 5, `p50 ${seen.p50} ms`);
  assert.ok(seen.cpuMs < 600, `${seen.cpuMs} ms of CPU in 1.9 s`);
});

test('answers to a flood of pings from this machine stay in the kernel too', async () => {
  const seen = await inside<Seen>('inside-flood', 'ours');
  assert.ok(seen.flooded > 10_000, `only ${seen.flooded} packets flooded`);
  assert.equal(seen.answered, seen.sent);
  assert.ok(seen.p50 < 5, `p50 ${seen.p50} ms`);
  assert.ok(seen.cpuMs < 600, `${seen.cpuMs} ms of CPU in 1.9 s`);
});
