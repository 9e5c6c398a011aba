/**
 * What passes by an uplink's device and is not its traffic: IPsec tunnels, guests on a bridge, strangers who want to be forwarded.
 * With real packets, the same stories for each backend.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test, type TestContext } from 'node:test';
import type { NatWish } from '../../src/model.js';
import { waitFor } from '../lab/wait.js';
import { agentIn, type Agent } from './nat-agent.js';
import { batch, describeSorts, inNamespaces, line, natWish, nft, out, PORT, PUBLISHED_PORT, SERVER, SORTS_OF_THIS_RUN, type Ground } from './nat-ground.js';

const KEY = '0x0123456789abcdef0123456789abcdef';
const HMAC = '0x0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef';

function marks(...filter: string[]): string[] {
  return [...out('conntrack', '-L', ...filter).matchAll(/mark=(\d+)/g)].map((match) => Number(match[1]).toString(16));
}

/** One end of a tunnel between 198.51.100.2 and .1 for what goes between the LAN and the server. @returns whether the kernel has ESP */
function tunnelEnd(where: 'router' | 'inet'): boolean {
  const ip = (...words: string[]): boolean => spawnSync('ip', [...(where === 'router' ? [] : ['-n', where]), 'xfrm', ...words]).status === 0;
  const sides = { out: ['198.51.100.2', '198.51.100.1', '10.0.0.0/24', '192.0.2.1/32'], in: ['198.51.100.1', '198.51.100.2', '192.0.2.1/32', '10.0.0.0/24'] } as const;
  return Object.entries(sides).every(([way, [from, to, source, destination]], i) => {
    const algorithms = ['auth-trunc', 'hmac(sha256)', HMAC, '128', 'enc', 'cbc(aes)', KEY];
    if (!ip('state', 'add', 'src', from, 'dst', to, 'proto', 'esp', 'spi', `${0x100 + i}`, 'reqid', '1', 'mode', 'tunnel', ...algorithms)) return false;
    const template = ['src', source, 'dst', destination, 'tmpl', 'src', from, 'dst', to, 'proto', 'esp', 'reqid', '1', 'mode', 'tunnel'];
    return (way === 'out') === (where === 'router')
      ? ip('policy', 'add', 'dir', 'out', ...template)
      : ip('policy', 'add', 'dir', 'in', ...template) && ip('policy', 'add', 'dir', 'fwd', ...template);
  });
}

inNamespaces(import.meta.url, 'what is not the uplink\'s traffic, in namespaces', () => {
  describeSorts(SORTS_OF_THIS_RUN, (sort, world) => {
    const inForce = async (changes: Partial<NatWish>): Promise<void> => {
      const sysctls = [{ path: 'net/ipv4/ip_forward', value: '1' }, { path: 'net/ipv6/conf/all/forwarding', value: '1' }];
      const report = await world.door.host({ nat: natWish({ backend: sort.backend, firewall: 'on', ...changes }), sysctls });
      assert.deepEqual(report.problems, []);
      out('conntrack', '-F');
    };
    test('IPsec: what a policy takes is neither translated nor marked nor counted, and what it brings is let in', async (t) => {
      t.after(() => [[], ['-n', 'inet']].forEach((where) => ['policy', 'state'].forEach((what) => out('ip', ...where, 'xfrm', what, 'flush'))));
      if (!tunnelEnd('router') || !tunnelEnd('inet')) return t.skip('this kernel has no ESP');
      // A policy is only asked where there is a route.
      const route = '10.0.0.0/24 via 198.51.100.2';
      batch('inet', [`route add ${route}`]);
      t.after(() => batch('inet', [`route del ${route}`]));
      await inForce({ counting: true });
      // In clear it would be masqueraded, or not answered at all: the server sends what it has for the LAN into the tunnel only.
      assert.equal(await world.ground.client.ask(`${sort.name} tunnel`, SERVER), '10.0.0.2');
      assert.equal(await world.ground.server.ask(`${sort.name} tunnel`, '10.0.0.2', PUBLISHED_PORT, SERVER), SERVER);
      assert.deepEqual(marks('-p', 'udp'), ['0', '0']);
      assert.deepEqual(world.door.count().filter(({ family }) => family === 4).map(({ sentPackets, answeredPackets }) => [sentPackets, answeredPackets]), [[0, 0], [0, 0]]);
    });

    test('strangers behind an uplink are forwarded nowhere: not by the other uplink, not into networks that are no LAN, in either family', async (t) => {
      const seen = strangersGround(t);
      await inForce({ firewall: 'off' });
      await knock(world.ground);
      await waitFor('all that there is to close was forwarded', seen, (packets) => packets.join() === '1,1,1,1');
      await inForce({ firewall: 'on' });
      await knock(world.ground);
      // What is published passes, after all that did not.
      nft('table ip published { chain in { type nat hook prerouting priority dstnat; ip daddr 198.51.100.2 udp dport 7000 dnat to 10.98.0.2; }; }');
      t.after(() => out('nft', 'delete', 'table', 'ip', 'published'));
      await world.ground.server.storm('198.51.100.2', 1);
      await waitFor('what is published was forwarded', seen, ([, dmz]) => dmz === 2);
      assert.deepEqual(seen(), [1, 2, 1, 1]);
      assert.equal(await world.ground.client.ask(`${sort.name} out`, SERVER), '198.51.100.2');
    });

    test('guests on the bridge that is the uplink: let pass as they are, unmarked; what is routed out of the same bridge is translated', async (t) => {
      const guest = guestOnBridge(t, `${sort.name}`);
      const bridge = { lines: [line('fibre', 'br0', 0x80), line('cable', 'wan1', 0x100)] };
      await guest.answer('198.51.100.9');
      await inForce(bridge);
      assert.equal(await guest.ask(`${sort.name} guest`, SERVER), '198.51.100.9');
      assert.equal(await guest.ask(`${sort.name} guest`, SERVER), '198.51.100.9');
      assert.equal(await world.ground.server.ask(`${sort.name} to the guest`, '198.51.100.9', PORT, SERVER), SERVER);
      assert.deepEqual(marks('-p', 'udp'), ['0', '0']);
      assert.equal(await world.ground.client.ask(`${sort.name} beside guests`, SERVER), '198.51.100.2');
      assert.deepEqual(marks('-p', 'udp', '--src', '10.0.0.2'), ['80']);
    });
  });
});

/** 10.99.0.1 is behind cable, 10.98.0.2 in a network that is no LAN, fd00:99::1 and fd00:98::2 alike. @returns what was forwarded to each */
function strangersGround(t: TestContext): () => readonly number[] {
  const elsewhere = [['10.98.0.0/24', '198.51.100.2'], ['10.99.0.0/24', '198.51.100.2'], ['fd00:98::/64', '2001:db8:a::2'], ['fd00:99::/64', '2001:db8:a::2']];
  const cable = ['10.99.0.0/24 via 203.0.113.1', 'fd00:99::/64 via 2001:db8:b::1'];
  batch('inet', elsewhere.map(([network, via]) => `route add ${network} via ${via}`));
  batch('router', [
    'link add dmz0 type veth peer name dmz1', 'link set dmz0 up', 'link set dmz1 up', 'addr add 10.98.0.1/24 dev dmz0', 'addr add fd00:98::1/64 dev dmz0',
    ...cable.map((route) => `route add ${route}`),
  ]);
  nft(`table inet seen { chain out { type filter hook postrouting priority 300;
    ip daddr 10.99.0.1 counter\n ip daddr 10.98.0.2 counter\n ip6 daddr fd00:99::1 counter\n ip6 daddr fd00:98::2 counter; }; }`);
  t.after(() => {
    out('nft', 'delete', 'table', 'inet', 'seen');
    batch('router', ['link del dmz0', ...cable.map((route) => `route del ${route}`)]);
    batch('inet', elsewhere.map(([network]) => `route del ${network}`));
  });
  return () => [...out('nft', 'list', 'table', 'inet', 'seen').matchAll(/counter packets (\d+)/g)].map(([, packets]) => Number(packets));
}

async function knock(ground: Ground): Promise<void> {
  for (const to of ['10.99.0.1', '10.98.0.2', 'fd00:99::1', 'fd00:98::2']) await ground.server.storm(to, 1);
}

/** Puts wan0 and a guest, 198.51.100.9, on a bridge br0, which takes wan0's addresses. */
function guestOnBridge(t: TestContext, name: string): Agent {
  const netns = `guest-${name}`;
  const [, mac = ''] = /link\/ether (\S+)/.exec(out('ip', 'link', 'show', 'wan0')) ?? [];
  batch('router', [
    `netns add ${netns}`, `link add br0 address ${mac} type bridge forward_delay 0 nf_call_iptables 1 nf_call_ip6tables 1`,
    `link add tap0 type veth peer name eth0 netns ${netns}`, 'addr del 198.51.100.2/24 dev wan0', 'link set wan0 master br0 up', 'link set tap0 master br0 up',
    'addr add 198.51.100.2/24 dev br0', 'link set br0 up', 'route replace default via 198.51.100.1',
  ]);
  batch(netns, ['addr add 198.51.100.9/24 dev eth0', 'link set eth0 up', 'route add default via 198.51.100.1']);
  const guest = agentIn(netns);
  t.after(() => {
    guest.end();
    batch('router', [`netns del ${netns}`, 'link set wan0 nomaster', 'link del br0', 'addr add 198.51.100.2/24 dev wan0', 'route replace default via 198.51.100.1']);
  });
  return guest;
}
