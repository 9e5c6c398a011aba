/** Only what goes beyond the lines is counted, and by destination, with real packets in both families. */
import assert from 'node:assert/strict';
import { mkdtempSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import type { Kernel } from '../../src/ports.js';
import { openHost } from '../../src/kernel/host.js';
import { openKernel } from '../../src/kernel/kernel.js';
import type { GroupCount, HostWish } from '../../src/model.js';
import { inNamespaces, inNetns, natWish, openGround, SERVER, SERVER6, steer, type Ground } from './nat-ground.js';

/** The provider's own box, in the line's network. */
const BOX = '198.51.100.1';
const BOX6 = '2001:db8:a::1';
const OTHERS = ['192.0.2.11', '192.0.2.12', '192.0.2.13', '192.0.2.14', '192.0.2.15', '192.0.2.16'];

function wishOf(near: readonly string[]): HostWish {
  return {
    nat: natWish({ backend: 'nftables', counting: true, near }),
    sysctls: [{ path: 'net/ipv4/ip_forward', value: '1' }, { path: 'net/ipv6/conf/all/forwarding', value: '1' }],
  };
}

inNamespaces(import.meta.url, 'counting what goes beyond, in namespaces', () => {
  let ground: Ground;
  let kernel: Kernel;
  before(async () => {
    ground = await openGround();
    steer(0);
    kernel = openKernel(openHost({ stateDir: mkdtempSync(join('/run', 'uplinkd-host-')), families: [4, 6] }));
    for (const address of OTHERS) inNetns('inet', 'ip', 'address', 'add', `${address}/32`, 'dev', 'lo');
    for (const address of [BOX, BOX6, ...OTHERS]) await ground.server.answer(address);
    await inForce([]);
  });
  after(async () => {
    await kernel.restore();
    kernel.close();
    await ground.end();
  });

  async function inForce(near: readonly string[]): Promise<void> {
    assert.deepEqual((await kernel.host(wishOf(near))).problems, []);
  }

  /** By family, what a question and its answer added: `1/1`; '' = nothing. */
  async function counted(to: string): Promise<string> {
    const before = sums();
    assert.notEqual(await ground.client.ask(`flow ${to}`, to), '', `${to} answers`);
    const now = sums();
    return [4, 6].map((family) => [0, 1].map((i) => now.get(family)![i]! - before.get(family)![i]!).join('/')).filter((text) => text !== '0/0').join();
  }

  function sums(): ReadonlyMap<number, readonly [number, number]> {
    return new Map(([4, 6] as const).map((family) => {
      const own = kernel.count().filter((each) => each.family === family);
      return [family, [own.reduce((sum, each) => sum + each.sentPackets, 0), own.reduce((sum, each) => sum + each.answeredPackets, 0)]];
    }));
  }

  const groupsOf = (): readonly GroupCount[] => kernel.count().find((each) => each.interface === 'wan0' && each.family === 4)!.groups;

  test('the network of the line and single addresses are left out in both families and directions, at once when they change', async () => {
    for (const to of [BOX, BOX6, SERVER, SERVER6]) assert.equal(await counted(to), '1/1', `${to}, while nothing is near`);
    await inForce(['198.51.100.0/24', '10.0.0.0/8', '10.1.0.0/16', '2001:db8:a::/64', 'fc00::/7']);
    for (const to of [BOX, BOX6]) assert.equal(await counted(to), '', to);
    for (const to of [SERVER, SERVER6]) assert.equal(await counted(to), '1/1', to);
    await inForce([SERVER, SERVER6].map((address) => `${address}/${address.includes(':') ? 128 : 32}`));
    for (const to of [SERVER, SERVER6]) assert.equal(await counted(to), '', `${to}, a target`);
    assert.equal(await counted(BOX), '1/1');
    assert.deepEqual((await kernel.preview(wishOf([SERVER, SERVER6].map((address) => `${address}/${address.includes(':') ? 128 : 32}`)))).filter, [], 'and nothing is written for that again');
  });

  test('a destination is in one group, the same in both directions; several destinations are in several', async () => {
    await inForce([]);
    const seen = new Set<number>();
    for (const to of OTHERS) {
      const before = groupsOf();
      for (let turn = 0; turn < 2; turn++) assert.notEqual(await ground.client.ask(`to ${to}`, to), '');
      const grown = groupsOf().map(({ sent, answered }, i) => [sent - before[i]!.sent, answered - before[i]!.answered] as const);
      const touched = grown.flatMap(([sent, answered], i) => (sent + answered > 0 ? [i] : []));
      assert.deepEqual(touched.map((i) => grown[i]), [[2, 2]], to);
      seen.add(touched[0]!);
    }
    assert.equal(groupsOf().length, 8);
    assert.ok(seen.size >= 3, `six destinations fell into ${seen.size} groups`);
  });
});
