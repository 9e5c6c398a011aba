/** Echo with a size, hops, ARP and neighbour discovery, on real sockets between three network namespaces (inside-methods.ts has the map). */
import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import { openStage } from './namespace.js';

const { play, close } = openStage('inside-methods');
const WAYS = ['icmp 4', 'icmp 6', 'icmp of the gateway 6', 'size 4', 'size 6', 'hop 4', 'hop 6', 'arp 4', 'arp 6'];
const OWN_LINE = { both: ['reply', 'reply'], counted: [1, 1], dead: 'silence', leaked: 0, other: 'reply' };
const PASSES = ['unreachable', 'a router at 192.0.2.1 passes 1400 bytes at most'];
const PASSES6 = ['unreachable', 'a router at 2001:db8::1 passes 1400 bytes at most'];

describe('a method', () => {
  after(close);

  test('leaves by its own line, whichever it is, over IPv4 and IPv6: main\'s default elsewhere, and its own ISP dead', async () => {
    assert.deepEqual(await play('egress'), Object.fromEntries(WAYS.map((way) => [way, OWN_LINE])));
  });

  test('leaves by its own line where two lines share an address', async () => {
    assert.deepEqual(await play('egressShared'), Object.fromEntries(WAYS.map((way) => [way, OWN_LINE])));
  });

  test('has the source address of its line, although that is deprecated and another line has a better one; a link-local gateway is asked from a link-local address', async () => {
    assert.deepEqual(await play('deprecated'), [
      ['reply'], ['reply'],
      ['unsent', 'no probe socket: EADDRNOTAVAIL: Cannot assign requested address (the interface has no such address (yet))'], ['reply'],
    ]);
  });

  test('of every kind is carried out by its own asker', async () => {
    assert.deepEqual(await play('kinds'), { tcp: 'refused', dns: 'refused', http: 'refused', '/bin/true': 'reply', '/bin/false': 'failed' });
  });

  test('a size is that of the whole packet, unfragmented: what is too big is lost with the MTU in words, here or there, and asked anew each time', async () => {
    const seen = await play<Record<'whole' | 'here' | 'there' | 'fits', unknown> & { bytes: number }>('size');
    assert.deepEqual(seen.whole, [['reply'], ['reply']]);
    assert.ok(seen.bytes >= 2 * 1514 && seen.bytes < 3 * 1514, `${seen.bytes} bytes for two frames of 1514, and some for finding neighbours`);
    const here = ['unreachable', 'wan-a passes 1500 bytes at most, says its own MTU'];
    assert.deepEqual(seen.here, [here, here]);
    assert.deepEqual(seen.there, [PASSES, PASSES6, PASSES, PASSES6]);
    assert.deepEqual(seen.fits, [['silence'], ['silence']], 'passed on to a network where nobody is');
  });

  test('an answer that is shorter than a question with a size is the wrong one; without a size it does', async () => {
    assert.deepEqual(await play('truncated'), [['answer', '956 of 1000 bytes are missing in the answer'], ['reply']]);
  });

  test('hop is answered by the router that is so far away, or by whom it asks if that is nearer', async () => {
    assert.deepEqual(await play('hops'), {
      router: [['reply'], ['reply']],
      nearer: [['reply'], ['reply']],
      nobody: [['silence'], ['silence']],
      unreachable: ['unreachable', 'host unreachable (ICMP 3/1), says 192.0.2.1'],
    });
  });

  test('time exceeded answers a probe that was limited, and is an error about one that was not', async () => {
    assert.deepEqual(await play('exceeded'), [['unreachable', 'time exceeded on the way (a routing loop?) (ICMP 11/0), says 192.0.2.1'], ['reply']]);
  });

  test('arp: a device that goes and comes back is asked again by the same socket; what has no ARP or no gateway says so', async () => {
    const seen = await play<Record<'first' | 'down' | 'again' | 'others' | 'noArp', readonly (readonly string[])[]> & Record<'nobody' | 'gatewayless' | 'gone', readonly string[]>>('arpLife');
    assert.deepEqual(seen.first, [['reply'], ['reply']]);
    for (const [cause, error] of seen.down) {
      assert.equal(cause, 'unsent');
      assert.match(error ?? '', /could not be sent: E(NETDOWN|NETUNREACH|ADDRNOTAVAIL|NODEV)/);
    }
    assert.deepEqual(seen.again, [['reply'], ['reply']]);
    assert.deepEqual(seen.others, [['reply'], ['reply']]);
    assert.deepEqual(seen.nobody, ['silence', 'silence'], 'the answer of another neighbour is none');
    assert.deepEqual(seen.gatewayless, ['unsent', 'wan-a has no gateway to ask']);
    assert.deepEqual(seen.noArp, [['unsent', 'quiet0 has no ARP'], ['unsent', 'quiet0 has no neighbour discovery']]);
    assert.equal(seen.gone[0], 'unsent');
    assert.match(seen.gone[1] ?? '', /no ARP socket: ENODEV|does not exist/);
  });

  test('arp: an answer is that to the newest probe', async () => {
    assert.deepEqual(await play('arpNewest'), ['silence', 'reply']);
  });

  test('an advertisement counts if it comes from the link itself and says that it is an answer', async () => {
    assert.deepEqual(await play('advertised'), { routed: 'silence', unasked: 'silence', right: 'reply' });
  });
});
