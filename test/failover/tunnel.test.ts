/**
 * A tunnel that is preferred to the lines it rides on. VXLAN, because kernels for tests have it; it also looks for the
 * way of its packets with the mark of what is inside, which WireGuard does not.
 *
 *   client ── router ─┬─ vpn9 ═══╗ (outer packets to 9.9.9.9)
 *                     ├─ fibre ──╫── internet: vpn9 10.99.0.1
 *                     └─ cable ──╝
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { labUnavailable, now, waitFor } from '../lab/lab.js';
import type { Lab } from '../lab/lab.js';
import { FAST, assertUnhurt, carriers, isInSync, routeGet, stateOf, withStory } from './story.js';

const skip = (await labUnavailable()) ?? false;
const FAR = '9.9.9.9';
const UPLINKS = {
  vpn: { interface: 'vpn9', gateway: '10.99.0.1', priority: 1 },
  fibre: { interface: 'isp0', gateway: '198.51.100.1', priority: 2 },
  cable: { interface: 'isp1', gateway: '203.0.113.1', priority: 3 },
};

async function layTunnel(lab: Lab): Promise<void> {
  const end = (more: string, address: string): readonly string[] => [
    `link add vpn9 type vxlan id 9 dstport 4789 ${more}`, `addr add ${address}/24 dev vpn9`, 'link set vpn9 up',
  ];
  await lab.ip('router', ...end(`remote ${FAR}`, '10.99.0.2'));
  await lab.ip('internet', ...end(`local ${FAR}`, '10.99.0.1'));
}

/** The line by which the far end heard the tunnel last, by its address there. */
async function ridesOn(lab: Lab): Promise<string> {
  const entries = await lab.text('internet', ['bridge', 'fdb', 'show', 'dev', 'vpn9']);
  const heard = lab.isps().find(({ router }) => entries.includes(`dst ${router} `));
  return heard?.name ?? entries;
}

test('a preferred tunnel stays the active uplink over one line, and over the next when that dies', { skip }, () =>
  withStory({
    topology: { isps: 2 }, before: layTunnel, config: { ...FAST, uplinks: UPLINKS },
  }, async ({ lab, daemon }) => {
    const leads = (): Promise<unknown> => daemon.until('the tunnel leads', (status) =>
      status.active.map(({ name }) => name).join() === 'vpn' && stateOf(status, 'vpn') === 'up' && isInSync(status));
    await leads();
    const since = now();
    const fresh = await lab.stream({ kind: 'new-udp', rateHz: 50 });
    await fresh.outageAfter(since);
    await assertUnhurt({ fresh }, since);
    const ways = async (): Promise<readonly string[]> => [await routeGet(lab, '192.0.2.10'), await routeGet(lab, FAR)];
    assert.deepEqual([await ways(), await ridesOn(lab)], [['vpn9', 'isp0'], 'fibre']);
    const through = await carriers(fresh);
    const doctor = await daemon.ctl('doctor');
    assert.match(doctor.stdout, /vpn9 \(uplink vpn\) is a tunnel to 9\.9\.9\.9/);

    await lab.cutCable('fibre');
    await waitFor('the tunnel rides on the next line', async () => ridesOn(lab), (line) => line === 'cable');
    // The far end's VXLAN learns the new address and keeps the way to the old one.
    await lab.ip('internet', 'route flush cache');
    await waitFor('the tunnel carries again', async () => carriers(fresh), (seen) => seen.join() === through.join());
    await leads();
    assert.deepEqual(await ways(), ['vpn9', 'isp1']);
  }));
