/**
 * Witnesses next door: a box in the provider's own network that the LAN is busy with, and a modem that answers for the targets. Both go on when nothing
 * is behind them any more, and neither speaks for the internet.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { labUnavailable } from '../lab/lab.js';
import { carriers, FAST, stateOf, uplinkIn, untilState, withStory } from './story.js';

const skip = (await labUnavailable()) ?? false;
const INTERNET = ['192.0.2.10', '192.0.2.77', '1.1.1.1', '9.9.9.9', '8.8.8.8'] as const;

test('a line with nothing behind it is left, whatever is exchanged with a box beside its gateway, and whoever answers for its targets', { skip }, () =>
  withStory({ topology: { isps: 2, internet: INTERNET }, config: FAST }, async ({ lab, daemon }) => {
    const box = lab.run('client', ['ping', '-n', '-q', '-i', '0.01', '-w', '12', '198.51.100.1']);
    const fresh = await lab.stream({ kind: 'new-udp', rateHz: 20 });
    await daemon.until('connections are known to get answers', (status) => (uplinkIn(status, 'fibre')['traffic'] as { readonly progressing: boolean | null } | null)?.progressing === true);

    await lab.upstreamDead('fibre');
    const dead = await untilState(daemon, 'fibre', 'down', { timeoutMs: 20_000 });
    assert.notEqual(uplinkIn(dead, 'fibre')['domain'], 'target');
    await daemon.untilActive('cable');
    assert.deepEqual(await carriers(fresh), ['cable']);
    assert.match((await box).stdout, / 0% packet loss/, 'the box answers all the time');

    // The modem begins to answer for the targets: every probe is green.
    await lab.ip('fibre', 'address add 1.1.1.1/32 dev lo', 'address add 9.9.9.9/32 dev lo');
    await daemon.untilActive('fibre', { timeoutMs: 20_000 });
    const status = await daemon.until('connections are believed', (seen) => uplinkIn(seen, 'fibre')['domain'] === 'connections', { timeoutMs: 40_000 });
    assert.equal(stateOf(status, 'fibre'), 'degraded');
    assert.match(uplinkIn(status, 'fibre').because, /^targets answer, connections do not: /);
    await daemon.untilActive('cable');
    assert.deepEqual(await carriers(fresh), ['cable']);
    const why = await daemon.ctl('why', 'fibre');
    assert.match(why.stdout, /from next door/);
  }));
