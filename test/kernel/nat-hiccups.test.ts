/** The packet filter's programs fail for a moment (somebody holds a lock, no process can be started): nothing that stood is given up for it. */
import assert from 'node:assert/strict';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, test } from 'node:test';
import { openHost } from '../../src/kernel/host.js';
import type { HostWish } from '../../src/model.js';
import { inNamespaces, natWish, out, policy, SORTS_OF_THIS_RUN } from './nat-ground.js';

const PATH = process.env['PATH'];
const guests = policy('guests', 0x180);

/** Each of these programs fails the first `times` times that it is to write. */
function failing(times: number): void {
  const dir = mkdtempSync(join('/run', 'uplinkd-hiccup-'));
  for (const program of ['nft', 'iptables-nft-restore', 'iptables-legacy-restore']) {
    const real = out('sh', '-c', `PATH=$PATH:/usr/sbin:/sbin command -v ${program}`).trim();
    const script = `#!/bin/sh
      case "${program} $*" in "nft -f -"|*restore*) ;; *) exec ${real} "$@";; esac
      echo x >> ${dir}/${program}.count
      [ $(wc -l < ${dir}/${program}.count) -gt ${times} ] || { cat > /dev/null; echo "in the way for a moment" >&2; exit 4; }
      exec ${real} "$@"`;
    writeFileSync(join(dir, program), script, { mode: 0o755 });
  }
  process.env['PATH'] = `${dir}:${PATH ?? ''}`;
}

inNamespaces(import.meta.url, 'programs that fail for a moment, in namespaces', () => {
  afterEach(() => {
    process.env['PATH'] = PATH;
  });

  for (const { name, backend, iptables } of SORTS_OF_THIS_RUN) {
    test(`${name}: one failed write does not cost the policies`, async () => {
      const door = openHost({ stateDir: mkdtempSync(join('/run', 'uplinkd-host-')), iptables });
      const wish = (policies: HostWish['nat']['policies']): HostWish => ({ nat: natWish({ backend, policies }), sysctls: [] });
      await door.host(wish([]));
      // nft has a second way to write, which is to replace the whole table.
      failing(name === 'nftables' ? 2 : 1);
      const report = await door.host(wish([guests]));
      assert.deepEqual([report.natInSync, report.problems], [true, []]);
      process.env['PATH'] = PATH;
      await door.restore();
    });
  }

  test('nftables: IPv6 stays as it stood while nft fails, and follows afterwards', async () => {
    const door = openHost({ stateDir: mkdtempSync(join('/run', 'uplinkd-host-')) });
    const wish = (routed: readonly string[]): HostWish => ({ nat: natWish({ backend: 'nftables', routed }), sysctls: [] });
    await door.host(wish([]));
    failing(2);
    const failed = await door.host(wish(['fd00:5::/48']));
    assert.equal(failed.natInSync, false);
    assert.match(out('nft', 'list', 'table', 'ip6', 'uplinkd'), /masquerade/);
    const report = await door.host(wish(['fd00:5::/48']));
    assert.deepEqual([report.natInSync, report.problems], [true, []]);
    assert.match(out('nft', 'list', 'table', 'ip6', 'uplinkd'), /fd00:5::/);
    await door.restore();
  });
});
