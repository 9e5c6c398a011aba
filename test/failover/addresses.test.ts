/**
 * Several addresses on one port. Fibre has the modem's management address before its own and a ULA that came after its global prefix, and
 * nothing is masqueraded that could hide a wrong source; the default route of cable asks for the second address of its line. The ISPs drop what is not
 * theirs.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { labUnavailable, waitFor } from '../lab/lab.js';
import type { DaemonStatus } from '../lab/daemon.js';
import { STEADY, familyIn, isInSync, said, uplinkIn, withStory } from './story.js';

const skip = (await labUnavailable()) ?? false;
const TO = '192.0.2.10';

test('each packet of a line has the address that the kernel would choose, and one more address costs a healthy line nothing', { skip }, () =>
  withStory(
    {
      topology: { isps: 2, ipv6: true, vpn: false },
      config: {
        ...STEADY,
        uplinks: {
          fibre: { interface: 'isp0', gateway: '198.51.100.1', gateway6: 'fe80::1', priority: 1, masquerade: false, masquerade6: false },
          cable: { interface: 'isp1', gateway6: 'fe80::1', priority: 2 },
        },
      },
      before: (lab) => lab.ip('router',
        'addr del 198.51.100.2/24 dev isp0', 'addr add 192.168.100.2/24 dev isp0', 'addr add 198.51.100.2/24 dev isp0', 'addr add fd00:bad::2/64 dev isp0 nodad',
        'addr add 203.0.113.77/24 dev isp1', 'route add default via 203.0.113.1 dev isp1 src 203.0.113.77 metric 500 proto dhcp'),
    },
    async ({ lab, daemon }) => {
      const spoofed = async (): Promise<readonly number[]> => Promise.all([lab.spoofed('fibre', 4), lab.spoofed('fibre', 6)]);
      assert.deepEqual(await spoofed(), [0, 0]);
      const before = await daemon.status();
      await lab.ip('router', 'addr add fd00:2bad::2/64 dev isp0 nodad', 'addr add 192.168.101.2/24 dev isp0');
      const knows = (status: DaemonStatus): boolean => (uplinkIn(status, 'fibre')['addresses'] as readonly string[]).length === 6;
      const received = (status: DaemonStatus): number => (uplinkIn(status, 'fibre')['targets'] as readonly { readonly received: number }[]).reduce((sum, target) => sum + target.received, 0);
      const seen = await daemon.until('the new addresses are known', (status) => knows(status) && isInSync(status));
      const later = await daemon.until('fibre has answered since', (status) => received(status) > received(seen) + 10);
      const verdicts = (status: DaemonStatus): unknown => ([4, 6] as const).map((family) => {
        const { state, because, since } = familyIn(status, 'fibre', family) as ReturnType<typeof familyIn> & { readonly since: string };
        return { state, because, since };
      });
      assert.deepEqual(verdicts(later), verdicts(before));
      assert.deepEqual([await spoofed(), said(daemon, /asking anew|suspect/)], [[0, 0], []]);

      const chosen = async (...how: readonly string[]): Promise<string> => / src (\S+)/.exec(await lab.text('router', ['ip', 'route', 'get', TO, ...how]))?.[1] ?? '';
      assert.deepEqual([await chosen('oif', 'isp0'), await chosen('oif', 'isp1')], ['198.51.100.2', '203.0.113.77']);
      assert.equal((await daemon.ctl('switch-uplink', 'cable')).code, 0);
      await daemon.untilActive('cable');
      assert.equal(await chosen(), '203.0.113.77');
      const stream = await lab.stream({ kind: 'new-udp', to: TO, rateHz: 50 });
      const seenAs = async (): Promise<readonly (string | undefined)[]> => (await stream.samples({ graceMs: 0 })).map((sample) => sample.seen);
      await waitFor('the client is seen under the address that the route asks for', seenAs, (all) => all.includes('203.0.113.77'));
    },
  ));
