/**
 * Two lines in one segment: both ports are plugged into the same switch, and their gateway is the same. By default Linux answers on either port for
 * the address of the other (ARP flux), so that the gateway may send the answers of one line to the port of the other for good.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TWIN_CGNAT, labUnavailable, waitFor } from '../lab/lab.js';
import type { Lab } from '../lab/lab.js';
import { STEADY, said, settled, withStory } from './story.js';

const skip = (await labUnavailable()) ?? false;
const GATEWAY = '100.64.0.1';
const ADDRESSES = ['100.64.0.11', '100.64.0.12'];

test('lines in one segment: each port answers for its own address alone, the gateway learns both, and both lines are up', { skip }, () =>
  withStory(
    {
      topology: { isps: TWIN_CGNAT, vpn: false },
      config: {
        ...STEADY,
        uplinks: { star1: { interface: 'isp0', gateway: GATEWAY, priority: 1 }, star2: { interface: 'isp1', gateway: GATEWAY, priority: 2 } },
      },
      before: sameSegment,
      expects: [],
    },
    async ({ lab, daemon }) => {
      await settled(daemon);
      await lab.text('star1', ['nft', 'reset', 'counters']);
      await lab.ip('star1', 'neigh flush dev switch');
      const answers = async (): Promise<readonly number[]> => {
        for (const address of ADDRESSES) await lab.run('star1', ['ping', '-c', '1', '-W', '1', address]);
        return counted(lab);
      };
      const [own, foreign] = await waitFor('both ports were asked for their addresses', answers, ([own = 0]) => own >= 2, { timeoutMs: 10_000 });
      assert.ok(own! >= 2);
      assert.equal(foreign, 0, 'no port answered for the address of the other');
      assert.deepEqual(said(daemon, /is suspect/), []);
    },
  ));

/** The second port is plugged into the switch of the first one. Answers are counted: those of an address's own port, those of the other. */
async function sameSegment(lab: Lab): Promise<void> {
  await lab.ip('star2', 'link set line down', 'link set line name other', 'link set other netns star1');
  await lab.ip('star1', 'addr flush dev line', 'link add switch type bridge', 'link set line master switch', 'link set other master switch', 'link set other up', `addr add ${GATEWAY}/24 dev switch`, 'link set switch up');
  const macs = lab.topology.isps.map(({ cable }) => cable.near.mac);
  const rule = (address: number, mac: number, counter: string): string => `arp operation reply arp saddr ip ${ADDRESSES[address]!} arp saddr ether ${macs[mac]!} counter name ${counter};`;
  const rules = [rule(0, 0, 'own'), rule(1, 1, 'own'), rule(0, 1, 'foreign'), rule(1, 0, 'foreign')].join(' ');
  await lab.text('star1', ['nft', '-f', '-'], `table arp t { counter own { }; counter foreign { }; chain c { type filter hook input priority 0; ${rules} }; }\n`);
}

async function counted(lab: Lab): Promise<readonly number[]> {
  const listed = await lab.text('star1', ['nft', 'list', 'counters']);
  return ['own', 'foreign'].map((name) => Number(new RegExp(`counter ${name} \\{\\s*packets (\\d+)`).exec(listed)?.[1]));
}
