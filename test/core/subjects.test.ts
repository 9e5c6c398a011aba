/** Every explanation names somebody: who answers, who is silent, or that nobody has been heard. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { answering, whoSpeaks } from '../../src/core/domain.js';
import { openHealth, type Health } from '../../src/core/health.js';
import { noteReply, noteSent } from '../../src/core/record.js';
import { explain } from '../../src/core/verdict.js';
import { at, uplinkPolicy } from './fixture.js';

const POLICY = uplinkPolicy('fibre');

/** Two targets beyond the gateway that answered at 100 and 200 ms. */
function heard(): Health {
  const health = openHealth(POLICY, 4, at(0));
  const beyond = health.records.filter((record) => record.target.host !== 'gateway').slice(0, 2);
  beyond.forEach((record, i) => {
    const { seq } = noteSent(record, health.policy.probe, at(100 * i + 90));
    noteReply(record, seq, at(100 * i + 100), 10);
  });
  return health;
}

test('an answer that ends a suspicion is that of somebody, also of one who misses a newer probe or is excused', () => {
  const health = heard();
  const [one, other] = health.records.filter((record) => record.lastReplyAt !== undefined);
  assert.equal(whoSpeaks(health, at(210), 'answers again'), `${one!.target.id}, ${other!.target.id} answers again`);
  for (const record of [one!, other!]) noteSent(record, health.policy.probe, at(220));
  assert.equal(whoSpeaks(health, at(60_000), 'answers again'), `${other!.target.id} answers again`, 'both miss one: the last who answered');
  for (const record of health.records) record.excused = true;
  assert.equal(whoSpeaks(health, at(210), 'answers again'), `${other!.target.id} answers again`, 'both are excused');
});

test('where nobody has answered yet, that is said', () => {
  const health = openHealth(POLICY, 4, at(0));
  Object.assign(health, { state: 'up', domain: 'prober' });
  explain(health, at(100));
  assert.deepEqual([answering(health, at(100)), health.because], ['', 'no target has answered yet']);
});
