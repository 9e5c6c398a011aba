/** The arithmetic of outages, on samples written by hand: `+` answered, `-` lost, one per millisecond. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { outageOf } from './outage.js';
import type { Sample } from './outage.js';
import { waitFor } from './wait.js';

function samplesOf(picture: string, stallMs = 0, stallBefore = -1): readonly Sample[] {
  return [...picture].map((sign, i) => ({ at: 100 + i + (stallBefore >= 0 && i >= stallBefore ? stallMs : 0), rttMs: sign === '+' ? 0.5 : undefined, via: sign === '+' ? 'fibre' : '', connection: 0 }));
}

test('a flow that loses nothing has no outage, however late its sender was', () => {
  assert.deepEqual(outageOf(samplesOf('++++++', 40, 3), 1), {
    outageMs: 0, startedAt: undefined, endedAt: undefined, totalMs: 0, sent: 6, lost: 0, via: { fibre: 6 }, worstRttMs: 0.5, stalledMs: 40,
  });
});

test('the outage is the longest gap between answered questions less one interval', () => {
  const { outageMs, startedAt, endedAt, totalMs, lost } = outageOf(samplesOf('++-++---++'), 1);
  assert.deepEqual({ outageMs, startedAt, endedAt, totalMs, lost }, { outageMs: 3, startedAt: 104, endedAt: 108, totalMs: 4, lost: 4 });
});

test('a stall of the sender at the edge of an outage is taken off it, one between two losses is not', () => {
  assert.equal(outageOf(samplesOf('++---++', 50, 2), 1).outageMs, 3);
  assert.equal(outageOf(samplesOf('++---++', 50, 5), 1).outageMs, 3);
  assert.equal(outageOf(samplesOf('++---++', 50, 3), 1).outageMs, 53);
});

test('an outage that has not ended has no end, and counts as far as was asked', () => {
  const { outageMs, startedAt, endedAt } = outageOf(samplesOf('++----'), 1);
  assert.deepEqual({ outageMs, startedAt, endedAt }, { outageMs: 4, startedAt: 101, endedAt: undefined });
});

test('a window that begins within an outage counts from its first question', () => {
  assert.equal(outageOf(samplesOf('---+'), 1).outageMs, 3);
  assert.equal(outageOf(samplesOf('---'), 1).outageMs, 3);
  assert.equal(outageOf([], 1).outageMs, 0);
});

test('a wait in vain says what it waited for and what it saw last', async () => {
  let looks = 0;
  await assert.rejects(
    waitFor('the cow is home', () => ({ cow: ++looks }), () => false, { inVainMs: 30, explain: () => 'ask the farmer' }),
    /30 ms until the cow is home\nlast seen: \{ cow: \d+ \}\nask the farmer/,
  );
});
