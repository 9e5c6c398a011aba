/**
 * Other people's ICMP must not cost us probes: `ping -f` in both directions over the device that we probe through. (What it costs in time:
 * bench/flood.ts.)
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { inside } from './namespace.js';

const UNTOUCHED = { passed: true, lying: 0, answered: 40 };

test('echo requests that flood us stay in the kernel: nothing of them lies in our sockets, and every probe is answered', async () => {
  assert.deepEqual(await inside('inside-flood', 'theirs'), UNTOUCHED);
});

test('answers to a flood of pings from this machine stay in the kernel too', async () => {
  assert.deepEqual(await inside('inside-flood', 'ours'), UNTOUCHED);
});
