/**
 * Each of these is somebody's outage, told in the tracker of another project. Where it is told here: number → file and test, by words of its name.
 * The stories themselves stand with their kin; here are those that have none, and the proof that all of them are there.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { labUnavailable, now, until, waitFor } from '../lab/lab.js';
import { assertUnhurt, carriers, settled, withStory } from './story.js';

const skip = (await labUnavailable()) ?? false;

const ASKS: readonly (readonly [number: number, outage: string, file: string, test: string])[] = [
  [1, 'after fail-back SIP stays where it was and RTP goes elsewhere', 'flows', 'SIP with its RTP'],
  [2, 'UDP that keepalives hold to an address that is gone', 'flows', 'frees the UDP flows that keepalives hold'],
  [3, 'a fast client reconnects on the line that is just being left, and stays for hours', 'flows', 'nobody who reconnects as fast as he can is stuck on it'],
  [4, 'connections are cut although there is nothing to move them to', 'flows', 'with nothing better left nothing is forgotten'],
  [5, 'a switch drops LAN-to-LAN and hairpin connections', 'flows', 'bystanders notice nothing'],
  [6, 'one of three uplinks fails, and the connections of all break', 'flows', 'the connections of the two others neither move nor break'],
  [7, 'copies between LANs break when an uplink dies', 'flows', 'bystanders notice nothing'],
  [8, 'traffic never returns from the metered line', 'flows', 'a metered line is left at once'],
  [9, 'a cut TCP connection hangs instead of ending', 'flows', 'is told by a reset, whether it sends or only listens'],
  [10, 'a line is shown online though its cable is out', 'methods', 'never asks by another line'],
  [11, 'a probe tests the wrong line', 'methods', 'never asks by another line'],
  [12, 'a probe has an address that the route would not have chosen', 'methods', 'never asks by another line'],
  [13, 'one public resolver stutters, and the line is left', 'silence', 'a target that dies alone is named'],
  [14, 'the same target is refused for a second line', 'silence', 'are told apart, with what each witness said'],
  [15, 'targets limit their rate, and the line is blamed', 'witnesses', 'condemn no line'],
  [16, 'fail-over by a figure of one sample (under heavy upload: test/core/quality.test.ts)', 'impairments', 'a preferred line that loses 40 %'],
  [17, 'the address changed, and the probe is dead for ever', 'dhcp', 'a line that gets another network, gateway and address'],
  [18, 'what pins a probe is not put back after a flap', 'hands', 'is put back, is counted, and told once'],
  [19, 'less than two seconds is wanted, rounds take ten', 'silence', 'new flows leave first, then the running ones'],
  [20, 'all lines down, and none ever comes back', 'silence', 'all uplinks silent at once'],
  [21, 'a cable out and in again within a moment is missed', 'cable', 'plugged in again at once, the line is not trusted before its hold'],
  [22, 'to and fro with an unstable line', 'patience', 'a line that died twice within a while comes last'],
  [23, 'needless switches by one test', 'silence', 'costs no switch and no packet'],
  [24, 'stuck or contradictory after recovery', 'impairments', 'healed, it leads again after the hold'],
  [25, 'fail-over works once', 'silence', 'are told apart, with what each witness said'],
  [26, 'no return to the preferred line after a start', 'life', 'keeps to it until the preferred uplink has held'],
  [27, 'what the operator ordered is undone by the monitor', 'choice', 'switch-uplink between healthy uplinks'],
  [28, 'a script knows that a line is down, and can tell nobody', 'witnesses', 'who says over REST or by uplinkctl'],
  [29, 'another program removes our rules and routes', 'hands', 'is put back, is counted, and told once'],
  [30, 'the DHCP client of one line takes the default of another', 'dhcp', 'and takes all other defaults away, changes nothing'],
  [31, 'after a new lease the table of the line is empty', 'dhcp', 'a line that gets another network, gateway and address'],
  [32, 'two lines with one gateway address', 'lines', 'two lines with the same network, the same gateway and the same address are kept apart'],
  [33, 'a line without a gateway gets no default', 'lines', 'a point-to-point line without a gateway'],
  [34, 'modems swap their names', 'lines', 'two modems that swap their names'],
  [35, 'a third uplink breaks the weights', 'flows', 'three uplinks of equal priority share 3:1:1'],
  [35, 'rules pile up at each restart', 'life', 'no rule, route, chain or table is there twice'],
  [36, 'replies on the standby are dropped by a strict rp_filter', 'asks', 'a strict rp_filter'],
  [37, 'IP works and names fail, because the forwarder keeps the dead line', 'flows', 'named flows go home'],
  [37, 'the same, asked by name', 'asks', 'a forwarder on the router'],
  [38, 'the tunnel stays on the costly line', 'flows', 'named flows go home on fail-back in their order'],
  [39, 'hosts keep using the prefix of the dead line', 'ipv6-prefix', 'are taken out of use, clients hear of it'],
  [39, 'marks break neighbour discovery', 'ipv6', 'no packet of neighbour discovery is marked'],
  [39, 'a smaller MTU on the backup swallows large segments', 'firewall', 'segments are as large as each line bears'],
];

test('every ask about flows, probing, the choice, routes and addresses has a story here', () => {
  const sources = join(fileURLToPath(new URL('.', import.meta.url)), '..', '..', '..', 'test', 'failover');
  const names = (file: string): readonly string[] => [...readFileSync(join(sources, `${file}.test.ts`), 'utf8').matchAll(/^ *test\((['`])(.*?)\1, \{/gm)].map(([, , name = '']) => name);
  for (const [number, , file, words] of ASKS) assert.ok(names(file).some((name) => name.includes(words)), `ask ${number}: no test of ${file} is named so: ${words}`);
  assert.deepEqual([...new Set(ASKS.map(([number]) => number))], Array.from({ length: 39 }, (_, n) => n + 1));
});

test('a strict rp_filter that stood before, and one that somebody sets, drops no reply on the standby and no running flow', { skip }, () => {
  const files = ['all', 'isp0', 'isp1'].map((device) => `net/ipv4/conf/${device}/rp_filter`);
  return withStory({ topology: { isps: 2 }, before: async (lab) => lab.sysctl('router', '1', ...files) }, async ({ lab, daemon }) => {
    const [own, inbound] = await Promise.all([lab.stream({ kind: 'new-udp', rateHz: 100 }), lab.stream({ kind: 'new-udp', rateHz: 100, from: 'internet', to: '203.0.113.2' })]);
    assert.equal((await daemon.ctl('switch-uplink', 'cable')).code, 0);
    const running = await lab.stream({ kind: 'tcp' });
    assert.equal((await daemon.ctl('auto')).code, 0);
    await daemon.untilActive('fibre');
    const since = now();
    await until(since + 300);
    await assertUnhurt({ own, inbound, running }, since);
    assert.deepEqual([await carriers(own), await carriers(running)], [['fibre'], ['cable']]);

    const read = async (): Promise<readonly string[]> => (await lab.text('router', ['cat', ...files.slice(1).map((file) => `/proc/sys/${file}`)])).trim().split('\n');
    assert.deepEqual(await read(), ['2', '2']);
    await lab.sysctl('router', '1', ...files.slice(1));
    // Nobody tells of it: it is seen at the next look, every 15 s, or when a packet filter changes.
    await lab.text('router', ['nft', 'add', 'table', 'ip', 'somebody']);
    await waitFor('it is loose again', read, (values) => values.every((value) => value === '2'));
    const healed = now();
    await until(healed + 300);
    await assertUnhurt({ inbound, running }, healed + 50);
  });
});

test('a forwarder on the router with one socket for each server goes on asking, whichever line died, without being restarted', { skip }, () =>
  withStory({ topology: { isps: 2 } }, async ({ lab, daemon }) => {
    const [first, second] = await Promise.all([lab.stream({ kind: 'udp', rateHz: 100, from: 'router', to: '9.9.9.9' }), lab.stream({ kind: 'udp', rateHz: 100, from: 'router', to: '1.1.1.1' })]);
    for (const [line, next] of [['fibre', 'cable'], ['cable', 'fibre']] as const) {
      const fault = await lab.cutCable(line);
      await Promise.all([first.outageAfter(fault), second.outageAfter(fault)]);
      assert.deepEqual([await carriers(first), await carriers(second)], [[next], [next]]);
      await lab.plugCable(line);
      await settled(daemon);
    }
  }));
