/** The method `dns` on real sockets, between three network namespaces (asker-world.ts has the map, far-end.ts the answers). */
import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import { assertPinned, assertShared, reasonToSkip } from './asker-expectations.js';
import { openStage } from './namespace.js';

const { play, close } = openStage('inside-dns');

describe('a DNS probe', { skip: reasonToSkip() }, () => {
  after(close);

  test('leaves by its own line alone, whatever main says and however dead that line is', async () => {
    assertPinned(await play('pinned'));
  });

  test('leaves by its own line alone while another line has the same address and gateway', async () => {
    assertShared(await play('sharedAddress'));
  });

  test('is held against what was expected, and what is wrong is said in words', async () => {
    const told = await play<Record<string, string>>('answers');
    for (const [family, server] of [[4, '203.0.113.9'], [6, '2001:db8:ff::9']] as const) {
      const said = (query: string): string => told[`${query} ${family}`] ?? 'not asked';
      for (const query of ['ok ', 'alias ', 'truncated ', 'forged ', 'late ']) assert.equal(said(query), 'answered', query);
      assert.equal(said('nx '), `answer: ${server} answered NXDOMAIN for nx.example`);
      assert.equal(said('servfail '), `answer: ${server} answered SERVFAIL for servfail.example`);
      assert.equal(said('refused '), `answer: ${server} answered REFUSED for refused.example`);
      assert.equal(said('empty '), `answer: ${server} knows no address of empty.example`);
      assert.equal(said('silent '), 'silence');
      assert.equal(said('onlyforged '), 'silence', 'an answer from another address');
      for (const query of ['ok 198.51.100.7', 'alias 198.51.100.7', 'truncated 198.51.100.7', 'forged 198.51.100.7', 'ok 198.51.100.8 198.51.100.7', 'ok 2001:db8:7::7', 'ok 2001:DB8:7:0::7']) assert.equal(said(query), 'answered', query);
      for (const name of ['ok', 'alias', 'forged']) assert.equal(said(`${name} 198.51.100.8`), `answer: ${server} says that ${name}.example is 198.51.100.7, and it should be 198.51.100.8`);
      assert.equal(said('ok 2001:db8:8::8'), `answer: ${server} says that ok.example is 2001:db8:7::7, and it should be 2001:db8:8::8`);
      assert.equal(said('no name'), `unsent: ${server} port 53: "a..b" is not a name that can be asked for`);
      assert.equal(said('closed port'), `refused: ${server} port 5353: ECONNREFUSED: connection refused`);
      assert.match(said('unreachable'), /^unreachable: .* port 5354: EHOSTUNREACH: /);
      assert.match(said('firewall'), /^unsent: .* port 5355: could not be sent: EPERM: .*a firewall on this machine dropped it/);
      assert.equal(said('after'), 'answered');
    }
  });

  test('is answered after an ICMP error about it; an error that does not quote it is nothing', async () => {
    assert.deepEqual(await play('slander'), [['unreachable', 'answered'], ['answered']]);
  });

  test('takes the socket of the one before, 16 times; a socket of its own while others wait or were lost', async () => {
    assert.deepEqual(await play('sockets'), { said: ['answered', 'silence'], oneByOne: 2, atOnce: 10, silent: 3 });
  });

  test('is answered late, and by its own answer', async () => {
    const { first, firstMs, second } = await play<{ first: readonly string[]; firstMs: number; second: string }>('late');
    assert.deepEqual({ first, second }, { first: ['answered'], second: 'answered' });
    assert.ok(firstMs >= 50, `${firstMs} ms: it was answered after the other one, which was asked 50 ms later`);
  });

  test('leaks no descriptor: answered, refused, unsent, silent, or closed in flight; 128 are in flight at most', async () => {
    const { held, leaked, outcomes } = await play<{ held: number; leaked: number; outcomes: readonly string[] }>('descriptors');
    assert.equal(held, 128);
    assert.equal(leaked, 0);
    assert.deepEqual(outcomes.map((said) => said.split(':', 1)[0]), ['answered', 'refused', 'silence', 'unsent']);
  });
});
