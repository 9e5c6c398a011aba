/** The method `http` on real sockets, between three network namespaces (asker-world.ts has the map, far-end.ts the answers). */
import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import { assertPinned, assertShared, reasonToSkip, type Told } from './asker-expectations.js';
import { openStage } from './namespace.js';

const { play, close } = openStage('inside-http');
const FAMILIES = [[4, '203.0.113.9'], [6, '2001:db8:ff::9']] as const;

describe('an HTTP probe', { skip: reasonToSkip() }, () => {
  after(close);

  test('leaves by its own line alone, whatever main says and however dead that line is', async () => {
    assertPinned(await play('pinned'));
  });

  test('has its name looked up through its own line alone', async () => {
    const told: Told = await play('pinnedLookup');
    assertPinned(told);
  });

  test('leaves by its own line alone while another line has the same address and gateway, and so does its look-up', async () => {
    assertShared(await play('sharedAddress'));
    assertShared(await play('sharedLookup'));
  });

  test('is held against status, body and header, and what is wrong is said in words; a captive portal is named', async () => {
    const told = await play<Record<string, string>>('answers');
    for (const [family, server] of FAMILIES) {
      const said = (path: string, change: object = {}): string => told[`${path} ${JSON.stringify(change)} ${family}`] ?? 'not asked';
      const empty = { status: 204 };
      assert.equal(said('/204', empty), 'answered');
      for (const page of ['/page', '/chunkedpage']) assert.equal(said(page, empty), 'portal: a page came where none was to be expected (status 200 instead of 204): a captive portal');
      assert.equal(said('/emptypage', empty), 'answer: status 200 instead of 204');
      for (const change of [{}, empty]) assert.equal(said('/away', change), 'portal: redirected to http://login.example/hello: a captive portal');
      assert.equal(said('/www', empty), 'answer: status 301 instead of 204: redirected to https://www.probe.example/');
      assert.equal(said('/slash', empty), 'answer: status 301 instead of 204: redirected to /slash/');
      assert.equal(said('/511', empty), 'portal: status 511, network authentication required: a captive portal');
      assert.equal(said('/503', empty), 'answer: status 503 instead of 204');
      for (const path of ['/never', '/stall']) assert.match(said(path, empty), path === '/never' ? /^silence$/ : /^portal: a page/);
      assert.equal(said('/page'), 'answered');
      assert.equal(said('/endless'), 'answered');
      assert.equal(said('/204'), 'answer: status 204 instead of 200');
      assert.equal(said('/away', { status: 302 }), 'answered', 'a redirect that is expected');
      assert.equal(said('/page', { body: 'the hotel' }), 'answered');
      assert.equal(said('/page', { body: 'the motel' }), 'answer: the body (33 bytes) does not contain "the motel"');
      const body = { body: 'all is well here' };
      assert.equal(said('/slow', body), 'answered', 'the text comes in two parts');
      assert.equal(said('/endless', body), 'answer: the first 64 KiB of the body do not contain "all is well here"');
      assert.equal(said('/stall', body), 'silence');
      assert.equal(said('/cut', body), `answer: ${server} port 80: the connection was closed before the answer was complete`);
      assert.equal(said('/emptypage', body), 'answer: the body (0 bytes) does not contain "all is well here"');
      const header = (name: string, value: string): object => ({ status: 204, header: { name, value } });
      assert.equal(said('/204', header('x-isp', 'a')), 'answered', 'it was the ISP of this line');
      assert.equal(said('/204', header('x-isp', '')), 'answered');
      assert.equal(said('/204', header('x-isp', 'b')), 'answer: the header "x-isp" is "a" and does not contain "b"');
      assert.equal(said('/204', header('x-none', '')), 'answer: the header "x-none" is missing');
      assert.equal(said('/headers', { body: '"host":"probe.example","user-agent":"uplinkd","connection":"close","cache-control":"no-cache"' }), 'answered');
      assert.match(Object.entries(told).find(([key]) => key === `/ {} ${family}`)?.[1] ?? '', new RegExp(`^refused: ${server} port 82: ECONNREFUSED: connection refused$`));
      assert.equal(told[`literal ${family}`], 'answered');
      assert.equal(told[`no url ${family}`], 'unsent: "nonsense" is not a URL');
    }
  });

  test('trusts a certificate that Node trusts and that is for this host, by name or by address', async () => {
    const told = await play<Record<string, string>>('trusted');
    for (const [family, server] of FAMILIES) {
      assert.equal(told[`name ${family}`], 'answered');
      assert.equal(told[`address ${family}`], 'answered');
      assert.match(told[`other name ${family}`] ?? '', /^answer: .* port 443: the certificate of other\.example is not to be trusted: Hostname\/IP does not match/);
      assert.equal(told[`portal ${family}`], 'portal: redirected to http://login.example/hello: a captive portal');
      assert.match(told[`no TLS ${family}`] ?? '', new RegExp(`^answer: ${server} port 81: TLS failed: .*wrong version number`));
    }
  });

  test('does not trust a certificate that nobody vouches for', async () => {
    const told = await play<Record<string, string>>('untrusted');
    for (const [family, server] of FAMILIES) {
      for (const way of ['name', 'address', 'portal']) assert.match(told[`${way} ${family}`] ?? '', new RegExp(`^answer: ${server} port 443: the certificate of .* is not to be trusted: self-signed certificate`), way);
    }
  });

  test('has its name looked up once and kept, and says who did not know it', async () => {
    const told = await play<Record<string, unknown>>('lookups');
    for (const [family, server] of FAMILIES) {
      const gateway = family === 4 ? '192.0.2.1' : '2001:db8:a::1';
      // It was asked again while no query got through.
      for (const name of ['good', 'again', 'one of two']) assert.equal(told[`${name} ${family}`], 'answered', name);
      assert.equal(told[`nx ${family}`], `dns: nx.example could not be looked up: ${server} answered NXDOMAIN for nx.example`);
      assert.equal(told[`refused ${family}`], `dns: web2.example could not be looked up: ${gateway}: ECONNREFUSED: connection refused`);
      assert.equal(told[`no resolver ${family}`], `dns: web3.example could not be looked up: none of its resolvers has an IPv${family} address`);
      assert.equal(told[`no address ${family}`], `dns: empty.example could not be looked up: ${server} knows no address of empty.example`);
      assert.equal(told[`silent ${family}`], `dns: silent.example could not be looked up: ${server} did not answer`);
      assert.ok(Number(told[`silent for ${family}`]) >= 2990, `silent for ${String(told[`silent for ${family}`])} ms`);
    }
  });

  test('takes the next address of a name when one keeps it waiting', async () => {
    assert.deepEqual(await play('addresses'), ['silence', 'answered', 'answered']);
  });

  test('takes as long as the connection takes, up to the end of what was expected; the look-up is not in it', async () => {
    const { slow, slowMs, late, besideMs } = await play<{ slow: string; slowMs: number; late: string; besideMs: number }>('times');
    assert.deepEqual([slow, late], ['answered', 'answered']);
    assert.ok(slowMs >= 115, `${slowMs} ms`);
    assert.ok(besideMs >= 295, `the look-up took 300 ms; ${besideMs} ms of all were not counted`);
  });

  test('does not wait for ever for a query that was lost', async () => {
    assert.deepEqual(await play('lostQuery'), { early: 0, told: ['answered', 'answered'] });
  });

  test('keeps nothing running once it is closed', async () => {
    const { inFlight, closed } = await play<{ inFlight: number; closed: number }>('keepsRunning');
    assert.ok(inFlight > 0, 'there was something to be closed');
    assert.equal(closed, 0);
  });

  test('leaks no descriptor, whatever became of it, and 64 are in flight at most', async () => {
    const { leaked, most, outcomes } = await play<{ leaked: number; most: number; outcomes: readonly string[] }>('descriptors');
    assert.equal(leaked, 0);
    assert.ok(most <= 140, `${most} descriptors at a time`);
    assert.deepEqual([...new Set(outcomes.map((said) => said.split(':', 1)[0]))].sort(), ['answer', 'answered', 'refused', 'silence', 'unsent']);
  });
});
