/** Which line a probe takes: real sockets between three network namespaces (world.ts has the map). */
import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import { openStage } from './namespace.js';

const { play, close } = openStage('inside-lines');

describe('a probe and its line', () => {
  after(close);

  test('leaves by its own device alone, although both lines have the same gateway address, and although its own is silent, unplugged or down', async () => {
    const seen = await play<Record<'both' | 'silentIsp' | 'deviceDown', readonly string[]> & { counted: unknown; noCarrier: number; leaked: number; other: string; backUp: string }>('pinned');
    assert.deepEqual(seen.both, ['reply', 'reply', 'reply', 'reply']);
    assert.deepEqual(seen.counted, { a: 2, b: 2 });
    assert.deepEqual(seen.silentIsp, ['silence', 'silence']);
    assert.equal(seen.noCarrier, 0);
    for (const error of seen.deviceDown) assert.match(error, /could not be sent: ENETUNREACH: Network is unreachable \(the interface is down/);
    assert.equal(seen.leaked, 0, 'probes of a that reached the ISP of b');
    assert.equal(seen.other, 'reply');
    assert.equal(seen.backUp, 'reply', 'the same session works again when the device is back');
  });

  test('leaves before send returns: neither a busy event loop nor a flood of answers holds it back', async () => {
    assert.deepEqual(await play('atOnce'), { left: 3 });
  });

  test('sessions do not hear each other: an address is dead through one line and alive through the other', async () => {
    const seen = await play<{ sameAddress: unknown; oneDead: unknown; twice: number }>('crosstalk');
    assert.deepEqual(seen.sameAddress, { a: 0, b: [50, 50] });
    assert.deepEqual(seen.oneDead, [100, 50], 'gateway still answers, the far target is gone');
    assert.equal(seen.twice, 0);
  });

  test('after its interface was deleted and made again under the same name, a new bind reaches it', async () => {
    const seen = await play<{ before: string; deleted: string; unbound: string; rebound: string; indexChanged: boolean }>('rebind');
    assert.equal(seen.before, 'reply');
    assert.match(seen.deleted, /could not be sent: ENETUNREACH/, 'its address went with it');
    assert.match(seen.unbound, /ENODEV/, 'the name alone does not make the old session leave by the new device');
    assert.ok(seen.indexChanged);
    assert.equal(seen.rebound, 'reply');
  });

  test('what cannot be asked is lost with a reason, and asked as soon as the device is there', async () => {
    const seen = await play<Record<'unknownUplink' | 'noDevice' | 'family' | 'notAddress' | 'later' | 'noSuchIndex', string>>('refused');
    assert.equal(seen.unknownUplink, 'c has no line to probe IPv4 through');
    assert.equal(seen.noDevice, 'wan-z does not exist');
    assert.equal(seen.family, '192.0.2.1 is IPv4, and was to be asked through the IPv6 line of a');
    assert.equal(seen.notAddress, '"example.com" is not an IP address');
    assert.equal(seen.later, 'reply');
    assert.match(seen.noSuchIndex, /ENODEV/);
  });

  test('what sendto refuses is lost, with the errno in words, and the next probe is sent', async () => {
    const seen = await play<Record<'broadcast' | 'firewall' | 'after', string>>('sendErrors');
    assert.match(seen.broadcast, /^could not be sent: EACCES: Permission denied/);
    assert.equal(seen.firewall, 'could not be sent: EPERM: Operation not permitted (a firewall on this machine dropped it)');
    assert.equal(seen.after, 'reply');
  });

  test('an error that a router sends back is lost, in words, for both families', async () => {
    const seen = await play<Record<'unreachable' | 'prohibited' | 'noRoute' | 'alive', string>>('routerErrors');
    assert.equal(seen.unreachable, 'host unreachable (ICMP 3/1), says 192.0.2.1');
    assert.equal(seen.prohibited, 'communication administratively prohibited (ICMP 3/13), says 192.0.2.1');
    assert.equal(seen.noRoute, 'no route to destination (ICMPv6 1/0), says 2001:db8::1');
    assert.equal(seen.alive, 'reply');
  });

  test('a bind keeps the sessions of unchanged lines, renews changed ones and drops the rest', async () => {
    const seen = await play<Record<'kept' | 'forgotten' | 'changed' | 'gone', string>>('unchanged');
    assert.equal(seen.kept, 'reply', 'the probe in flight on the unchanged line was answered');
    assert.equal(seen.forgotten, 'silence');
    assert.equal(seen.changed, 'reply');
    assert.equal(seen.gone, 'b has no line to probe IPv4 through');
  });

  test('a probe of IPv6 leaves by its own device alone, although both gateways are fe80::1, and although its own is silent', async () => {
    const seen = await play<Record<string, unknown>>('sameLinkLocal');
    assert.deepEqual(seen, { both: ['reply', 'reply'], counted: { a: 1, b: 1 }, silent: 'silence', other: 'reply', leaked: 0 });
  });

  test('a line that changes in one family keeps its session in the other', async () => {
    assert.deepEqual(await play('families'), { kept: 'reply', forgotten: 'silence', changed: 'reply', told: 4, gone: 'a has no line to probe IPv6 through' });
  });

  test('IPv6 targets are asked in a session of their own, beside IPv4 ones, in any notation', async () => {
    const seen = await play<Record<string, string>>('ipv6');
    assert.deepEqual(seen, { global: 'reply', anotherNotation: 'reply', linkLocal: 'reply', zoned: 'reply', dead: 'silence', ipv4Beside: 'reply' });
  });
});
