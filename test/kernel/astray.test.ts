/** Connections that are older than NAT are found and forgotten, and begin anew translated; nobody else's are. Real packets. */
import assert from 'node:assert/strict';
import { mkdtempSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { forget } from '../../src/kernel/conntrack.js';
import { openHost } from '../../src/kernel/host.js';
import type { Family } from '../../src/model.js';
import { orderOf } from './cut-ground.js';
import { batch, inNamespaces, natWish, nft, openGround, out, SERVER, SERVER6, setSysctls, steer, type Ground } from './nat-ground.js';

const FIBRE = 0x80;
/** Nobody listens there. */
const DEAF = 7999;

function ifindexOf(name: string): number {
  return Number(/^(\d+):/.exec(out('ip', '-o', 'link', 'show', name))?.[1]);
}

inNamespaces(import.meta.url, 'connections that are older than NAT, in namespaces', () => {
  let ground: Ground;
  const door = openHost({ stateDir: mkdtempSync(join('/run', 'uplinkd-host-')) });
  const sysctls = [{ path: 'net/ipv4/ip_forward', value: '1' }, { path: 'net/ipv6/conf/all/forwarding', value: '1' }];
  const astray = (routed: readonly string[], family: Family): Promise<number> =>
    forget(orderOf(FIBRE, { family, which: 'unanswered', astray: { uplink: ifindexOf('wan0'), uplinks: [ifindexOf('wan0'), ifindexOf('wan1')], routed } }));
  before(async () => {
    ground = await openGround();
    steer(0);
    // Where nobody translates anything yet, the kernel leaves it open; where anybody does, what no rule takes is settled for good.
    nft('table inet others { chain out { type nat hook postrouting priority srcnat; ct state new counter; }; }');
    // So that a stranger's packet gets as far as the LAN.
    batch('inet', ['route add 10.0.0.0/24 via 198.51.100.2']);
  });
  after(async () => {
    await door.restore();
    await ground.end();
  });

  for (const [family, server, own] of [[4, SERVER, '198.51.100.2'], [6, SERVER6, '2001:db8:a::2']] as const) {
    test(`IPv${family}: what began before NAT is never answered until it is forgotten, and then it is translated`, async () => {
      await door.restore();
      setSysctls(Object.fromEntries(sysctls.map(({ path, value }) => [path, Number(value)])));
      if (family === 4) batch('inet', ['route del 10.0.0.0/24']);
      const [flow, from] = [`older ${family}`, family === 4 ? '10.0.0.2' : 'fd00:10::2'];
      assert.equal(await ground.unanswered(ground.client, flow, server), '', 'the provider takes no sources of others');
      await door.host({ nat: natWish({}), sysctls });
      assert.equal(await ground.unanswered(ground.client, flow, server), '', 'NAT looks at first packets alone');
      assert.equal(await ground.client.ask(`younger ${family}`, server), own);
      assert.equal(await astray([family === 4 ? '10.0.0.0/24' : 'fd00:10::/64'], family), 0, `${from} is routed`);
      assert.equal(await astray([], family), 1);
      assert.equal(await ground.client.ask(flow, server), own);
    });
  }

  test('what strangers began and nobody answers, and what the router itself sends, belong there', async () => {
    batch('inet', ['route add 10.0.0.0/24 via 198.51.100.2']);
    batch('client', [`route replace blackhole ${SERVER}`]);
    out('conntrack', '-F');
    await ground.server.send('stranger', '10.0.0.2', DEAF, SERVER);
    assert.match(out('conntrack', '-L', '-p', 'udp', '--mark', `${FIBRE}/0x3f80`), /src=192\.0\.2\.1 dst=10\.0\.0\.2/);
    batch('inet', ['route replace blackhole 198.51.100.2']);
    out('bash', '-c', `echo hello > /dev/udp/${SERVER}/${DEAF}`);
    assert.match(out('conntrack', '-L', '-p', 'udp', '--mark', `${FIBRE}/0x3f80`), /src=198\.51\.100\.2 dst=192\.0\.2\.1/);
    assert.equal(await astray([], 4), 0);
  });
});
