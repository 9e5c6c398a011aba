/** An nft that never answers: masquerade by iptables does not wait for it, and what is asked of it ends when the daemon stops. */
import assert from 'node:assert/strict';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { openHost } from '../../src/kernel/host.js';
import { programs } from '../../src/kernel/spawn.js';
import { waitFor } from '../lab/wait.js';
import { inNamespaces, natWish, out } from './nat-ground.js';

inNamespaces(import.meta.url, 'an nft that hangs, in namespaces', () => {
  test('masquerade stands before nft has answered, the forward firewall after it was given up', async (t) => {
    const dir = mkdtempSync(join('/run', 'uplinkd-hanging-'));
    const path = process.env['PATH'];
    process.env['PATH'] = `${dir}:${path ?? ''}`;
    programs.resume(600_000);
    t.after(() => {
      process.env['PATH'] = path;
      programs.resume(Infinity);
    });
    writeFileSync(join(dir, 'nft'), '#!/bin/sh\nsleep 600\n', { mode: 0o755 });
    const door = openHost({ stateDir: mkdtempSync(join('/run', 'uplinkd-host-')), families: [4] });
    const asking = door.host({ nat: natWish({ backend: 'iptables', lanInterfaces: ['lan0'], firewall: 'on' }), sysctls: [] });
    let answered = false;
    void asking.then(() => (answered = true));
    const saved = (): string => out('iptables-save');
    await waitFor('masquerade stands', saved, (rules) => /-A UPLINKD_NAT .*-j MASQUERADE/.test(rules), { timeoutMs: 60_000 });
    assert.deepEqual([answered, /-A UPLINKD_FWD/.test(saved())], [false, false]);

    programs.end();
    const report = await asking;
    assert.equal(report.natInSync, false);
    programs.resume(3000);
    const again = await door.host({ nat: natWish({ backend: 'iptables', lanInterfaces: ['lan0'], firewall: 'on' }), sysctls: [] });
    assert.match(again.problems.join(), /nft .*did not finish/);
    assert.equal(again.natBackend, 'iptables');
  });
});
