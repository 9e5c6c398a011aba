/** The method `tcp` on real sockets, between three network namespaces (asker-world.ts has the map). */
import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import { openStage } from './namespace.js';
import { assertPinned, assertShared, reasonToSkip } from './asker-expectations.js';

const { play, close } = openStage('inside-tcp');

describe('a TCP probe', { skip: reasonToSkip() }, () => {
  after(close);

  test('leaves by its own line alone, whatever main says and however dead that line is', async () => {
    assertPinned(await play('pinned'));
  });

  test('leaves by its own line alone while another line has the same address and gateway', async () => {
    assertShared(await play('sharedAddress'));
  });

  test('says in words why there was no connection, and keeps silent about silence', async () => {
    const told = await play<Record<string, string>>('losses');
    for (const family of [4, 6]) {
      const server = family === 4 ? '203.0.113.9' : '2001:db8:ff::9';
      const said = (name: string): string => told[`${name}${family}`] ?? '';
      assert.equal(said('refused'), `refused: ${server} port 7002: ECONNREFUSED: connection refused`);
      assert.match(said('unreachable'), /^unreachable: .* EHOSTUNREACH: .* \(a router says so, or nobody answers/);
      assert.match(said('prohibited'), /^unreachable: .* (EHOSTUNREACH|EACCES): /);
      assert.equal(said('silent'), 'silence');
      assert.match(said('firewall'), /^(unsent: .* could not be sent: EPERM: .*firewall|silence)/);
      assert.match(said('otherFamily'), new RegExp(`^unsent: .* is not an IPv${family} address`));
      assert.match(said('noSource'), /^unsent: .* could not be sent: EADDRNOTAVAIL: .* \(the interface does not have the address/);
      assert.match(said('noDevice'), /^unsent: .* could not be sent: (ENODEV|ENETUNREACH|EADDRNOTAVAIL): /);
      assert.equal(said('after'), 'answered');
      assert.equal(said('closed'), 'prober: the prober was closed');
    }
  });

  test('reaches a link-local gateway on its own line, although both lines have one of that address', async () => {
    assert.deepEqual(await play('linkLocal'), ['answered', 'answered', 'silence', 'answered', 'answered', 'silence']);
  });

  test('is three packets from here, and leaves no connection behind', async () => {
    assert.deepEqual(await play('gone'), { said: 'answered', timed: true, packets: { a4: 3 }, left: '' });
  });

  test('is not answered by the answer to a repeated SYN', async () => {
    assert.deepEqual(await play('repeated'), { first: [], second: 'answered', waiting: 1, landed: true });
  });

  test('is given up without a word, and no more than 128 are in flight', async () => {
    assert.deepEqual(await play('givesUp'), { held: 128, left: 0, told: 0 });
  });

  test('leaks no descriptor: answered, refused, unsent, silent, or closed in flight', async () => {
    const { leaked, most, outcomes } = await play<{ leaked: number; most: number; outcomes: readonly string[] }>('descriptors');
    assert.equal(leaked, 0);
    assert.ok(most <= 140, `${most} descriptors at a time`);
    assert.deepEqual(outcomes.map((said) => said.split(':', 1)[0]), ['answered', 'refused', 'silence', 'unsent']);
  });

  test('does not swallow what whoever is told of it throws', async () => {
    assert.deepEqual(await play('throws'), { heard: ['on purpose'], after: 'answered' });
  });

  test('that gets no descriptor blames the prober, and the next one works', async () => {
    const { without, after } = await play<{ without: readonly string[]; after: string }>('noDescriptors');
    assert.match(without[0] ?? '', /^prober: .*no probe socket: EMFILE: too many open files \(raise LimitNOFILE\)/);
    assert.equal(after, 'answered');
  });
});
