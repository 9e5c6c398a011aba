/** What counts as an answer: a peer in another namespace answers with packets made by hand (answerer.ts). */
import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import { openStage } from './namespace.js';

interface Heard {
  readonly type: 'reply' | 'lost';
  readonly rttMs?: number;
  readonly error?: string;
}

const { play: played, close } = openStage('inside-answers');
const play = <T = readonly Heard[]>(story: string): Promise<T> => played<T>(story);
const UNREACHABLE: Heard = { type: 'lost', error: 'host unreachable (ICMP 3/1), says 192.0.2.1' };

describe('an answer', () => {
  after(close);

  test('a redirect does not end a probe; its answer comes after', async () => {
    const heard = await play('redirect');
    assert.deepEqual(heard.map((fact) => fact.type), ['reply']);
    assert.ok((heard[0]?.rttMs ?? 0) >= 20);
  });

  test('an ICMP error about the probe is told at once, in words', async () => {
    assert.deepEqual(await play('unreachable'), [UNREACHABLE]);
  });

  test('an error is told once, and the right answer still counts after it', async () => {
    const heard = await play('unreachableThenReply');
    assert.deepEqual(heard[0], UNREACHABLE);
    assert.deepEqual(heard.slice(1).map((fact) => fact.type), ['reply']);
  });

  test('an old router quotes no more of a probe than its header', async () => {
    assert.deepEqual(await play('bare'), [UNREACHABLE]);
  });

  test('a forged answer does not end a probe; the true one comes after', async () => {
    const heard = await play('forgedThenReply');
    assert.deepEqual(heard.map((fact) => fact.type), ['reply']);
    assert.ok((heard[0]?.rttMs ?? 0) >= 20);
  });

  test('duplicates are told once', async () => {
    assert.deepEqual((await play('duplicates')).map((fact) => fact.type), ['reply']);
  });

  test('a late answer is told, with its true round-trip time', async () => {
    const heard = await play('late');
    assert.deepEqual(heard.map((fact) => fact.type), ['reply']);
    assert.ok((heard[0]?.rttMs ?? 0) >= 2500, JSON.stringify(heard));
  });

  for (const [story, what] of [
    ['forged', 'without the secret of the probe'],
    ['forgedError', 'that is an error which quotes another secret'],
    ['foreignIdentifier', 'with a foreign identifier'],
    ['otherSequence', 'with another sequence'],
    ['wrongAddress', 'from an address that was not asked'],
    ['errorElsewhere', 'that is an error about another address'],
  ] as const) {
    test(`a reply ${what} is none`, async () => {
      assert.deepEqual(await play(story), []);
    });
  }

  test('an error on one line leaves the other alone', async () => {
    assert.deepEqual(await play('errorAndOthers'), ['lost', 'reply']);
  });

  test('two probes in flight to one target keep their own round-trip times', async () => {
    for (const rttMs of await play<readonly number[]>('interleaved')) assert.ok(rttMs >= 200, `${rttMs} ms: it took the answer to the other one`);
  });

  test('two uplinks on one device do not take each other\'s answers', async () => {
    for (const rttMs of await play<readonly number[]>('twins')) assert.ok(rttMs >= 200, `${rttMs} ms: it took the answer to the other one`);
  });

  test('nothing is lost or mistaken where the sequence numbers begin again', async () => {
    assert.deepEqual(await play('wrap'), { answered: 68_000 });
  });

  test('what is in flight is bounded: the surplus is lost at once, silence is never told nor asked again, and room comes back', async () => {
    const seen = await play<{ refused: number; error: string; told: number; echoes: number; room: boolean }>('bounded');
    assert.equal(seen.refused, 10);
    assert.match(seen.error, /^not sent: 1000 probes are in flight/);
    assert.equal(seen.told, 0);
    assert.equal(seen.echoes, 1000, 'one packet per probe');
    assert.ok(seen.room);
  });

  test('a socket that broke is never touched again: its probes are lost, and a second later a new one is bound in its place', async () => {
    const seen = await play<Record<'otherBefore' | 'worded' | 'breaking' | 'stranded' | 'meanwhile' | 'other' | 'replaced', string> & { sockets: readonly number[] }>('broken');
    for (const lost of [seen.breaking, seen.stranded, seen.meanwhile]) assert.match(lost, /^the probe socket failed: /);
    assert.equal(seen.other, 'reply', 'the other line did not notice');
    assert.equal(seen.replaced, UNREACHABLE.error, 'asked and answered again');
    assert.deepEqual(seen.sockets, [2, 1, 2, 0], 'raw sockets before, while it is broken, after, and when closed');
  });
});
