/**
 * Where the packets of a program go that knows nothing of uplinks. As root of fresh network, mount and pid namespaces, but not of a user namespace: there
 * the kernel takes no BPF program. Prints what was seen as JSON; see exec-pin.test.ts for what it must be.
 *
 *                  wan-a 192.0.2.2 ──── 192.0.2.1 isp-a  (lo 203.0.113.9, 2001:db8:9::9)
 *   this namespace ┤
 *                  wan-b 192.0.2.3 ──── 192.0.2.1 isp-b  (lo 203.0.113.9, 2001:db8:9::9)
 *
 * main's default leads out of wan-b.
 */
import { execFileSync } from 'node:child_process';
import type { Family, ProbeLine } from '../../src/model.js';
import { ask, groupsOf, openAsker, said, until } from './exec-asking.js';

const FAR: Readonly<Record<Family, string>> = { 4: '203.0.113.9', 6: '2001:db8:9::9' };
const MARK = 0x1a0000;
type Side = 'a' | 'b';

build();
const seen: Record<string, unknown> = {};
const a = openAsker(line('a', 4));
seen['unpinned'] = a.unpinned;
for (const family of [4, 6] as const) {
  const asker = family === 4 ? a : openAsker(line('a', family));
  seen[`udp ${family}`] = await sends(family, () => ask(asker, '/bin/bash', ['-c', `echo hello >/dev/udp/${FAR[family]}/9`]));
  seen[`child ${family}`] = await sends(family, () => ask(asker, '/bin/bash', ['-c', `setsid --wait bash -c 'echo hello >/dev/udp/${FAR[family]}/9'`]));
  seen[`tcp ${family}`] = said(await ask(asker, '/bin/bash', ['-c', `exec 3<>/dev/tcp/${FAR[family]}/7 || exit 4`])).replace(/.*Connection refused.*/, 'refused');
  if (family === 6) asker.close();
}
const b = openAsker(line('b', 4));
seen['udp by b'] = await sends(4, () => ask(b, '/bin/bash', ['-c', `echo hello >/dev/udp/${FAR[4]}/9`]));
b.close();
seen['of our own'] = await sends(4, async () => execFileSync('bash', ['-c', `echo hello >/dev/udp/${FAR[4]}/9`]));

// What bears the mark is led to a gateway that does not exist, by the same device; the same program with another mark is not.
ip('route add default via 192.0.2.99 dev wan-a onlink table 200', `rule add pref 10 fwmark ${MARK} lookup 200`);
seen['marked'] = await sends(4, () => ask(a, '/bin/bash', ['-c', `echo hello >/dev/udp/${FAR[4]}/9`]), 300);
const otherwise = openAsker({ ...line('a', 4), mark: 0x1b0000 });
seen['marked otherwise'] = await sends(4, () => ask(otherwise, '/bin/bash', ['-c', `echo hello >/dev/udp/${FAR[4]}/9`]));
otherwise.close();
ip('rule del pref 10');

ip('link set wan-a down');
seen['line down'] = await sends(4, () => ask(a, '/bin/bash', ['-c', `echo hello >/dev/udp/${FAR[4]}/9`]), 300);
a.close();
await until(() => groupsOf().length === 0);
seen['groups left'] = groupsOf();
console.log(JSON.stringify(seen));

/** Datagrams that reached each ISP meanwhile. The first one waits for neighbour discovery on links that have just come up. */
async function sends(family: Family, act: () => Promise<unknown>, withinMs?: number): Promise<{ readonly a: number; readonly b: number }> {
  const before = { a: datagramsAt('a', family), b: datagramsAt('b', family) };
  await act();
  await until(() => datagramsAt('a', family) + datagramsAt('b', family) > before.a + before.b, withinMs);
  return { a: datagramsAt('a', family) - before.a, b: datagramsAt('b', family) - before.b };
}

/** To the closed port of `discard`. */
function datagramsAt(side: Side, family: Family): number {
  const read = (name: string): string => execFileSync('ip', ['netns', 'exec', `isp-${side}`, 'cat', `/proc/net/${name}`], { encoding: 'utf8' });
  if (family === 6) return Number(/^Udp6NoPorts\s+(\d+)/m.exec(read('snmp6'))?.[1]);
  const [names = [], values = []] = read('snmp').split('\n').filter((row) => row.startsWith('Udp:')).map((row) => row.split(' '));
  return Number(values[names.indexOf('NoPorts')]);
}

function build(): void {
  execFileSync('mount', ['-t', 'tmpfs', 'tmpfs', '/run']);
  execFileSync('sysctl', ['-qw', 'net.ipv6.conf.default.accept_dad=0']);
  ip('link set lo up');
  for (const [side, number] of [['a', 2], ['b', 3]] as const) {
    ip(`netns add isp-${side}`);
    execFileSync('ip', ['netns', 'exec', `isp-${side}`, 'sysctl', '-qw', 'net.ipv6.conf.default.accept_dad=0']);
    ip(`link add wan-${side} type veth peer name eth0 netns isp-${side}`, `addr add 192.0.2.${number}/24 dev wan-${side}`, `addr add 2001:db8:${number}::2/64 dev wan-${side}`, `link set wan-${side} up`);
    execFileSync('ip', ['-n', `isp-${side}`, '-batch', '-'], {
      input: `link set lo up\naddr add ${FAR[4]}/32 dev lo\naddr add ${FAR[6]}/128 dev lo\naddr add 192.0.2.1/24 dev eth0\naddr add 2001:db8:${number}::1/64 dev eth0\nlink set eth0 up\n`,
    });
    for (const [family, gateway] of [['-4', '192.0.2.1'], ['-6', `2001:db8:${number}::1`]] as const) {
      execFileSync('ip', [family, 'rule', 'add', 'pref', `10${number}`, 'oif', `wan-${side}`, 'lookup', `10${number}`]);
      execFileSync('ip', [family, 'route', 'add', 'default', 'via', gateway, 'dev', `wan-${side}`, 'onlink', 'table', `10${number}`]);
    }
  }
  ip('route add default via 192.0.2.1 dev wan-b', 'route add default via 2001:db8:3::1 dev wan-b');
}

function ip(...commands: readonly string[]): void {
  execFileSync('ip', ['-batch', '-'], { input: `${commands.join('\n')}\n`, stdio: ['pipe', 'ignore', 'inherit'] });
}

function line(side: Side, family: Family): ProbeLine {
  const [link] = JSON.parse(execFileSync('ip', ['-j', 'link', 'show', 'dev', `wan-${side}`], { encoding: 'utf8' })) as readonly { readonly ifindex: number }[];
  return { uplink: side, family, interface: `wan-${side}`, ifindex: link!.ifindex, source: '', gateway: '192.0.2.1', mark: MARK };
}
