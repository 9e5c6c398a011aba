/** An nft that never answers (a lock, a wrapper): masquerade stands all the same, it is told, and TERM does not wait for it. (Orders: nat-hanging.test.ts.) */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { labUnavailable, waitFor, withLab } from '../lab/lab.js';
import { STEADY, pings, untilSaid } from './story.js';

const skip = (await labUnavailable('iptables')) ?? false;

test('a hanging nft costs no masquerade, is told once, and TERM does not wait for it', { skip }, () =>
  withLab({ isps: 2 }, async (lab) => {
    // The daemon alone finds it: what the lab does with nft goes by another PATH.
    await lab.text('router', ['sh', '-c', 'mkdir /run/shims; printf "#!/bin/sh\\nsleep 600\\n" > /run/shims/nft; chmod 755 /run/shims/nft']);
    const daemon = await lab.startDaemon({ config: lab.config(STEADY), environment: { PATH: `/run/shims:${process.env['PATH'] ?? ''}` } });
    const client = lab.topology.lans[0]!.client;
    const rare = { timeoutMs: 60_000, everyMs: 200 };
    await waitFor('masquerade stands', async () => lab.text('router', ['iptables-save', '-t', 'nat']), (rules) => /-A UPLINKD_NAT .*-j MASQUERADE/.test(rules), rare);
    await waitFor('the LAN reaches the internet', () => pings(lab, client, '1.1.1.1'), (reaches) => reaches, rare);
    await untilSaid(daemon, /nft did not finish within 10000 ms \(nft /, rare);
    await daemon.ready(rare);
    assert.equal(await daemon.stop(), 0);
    assert.equal(daemon.output().match(/nft did not finish within/g)?.length, 1, 'told once');
  }));
