/**
 * The world of the methods that ask by TCP and UDP, inside namespaces of its own: two ISPs, and the same server behind each (far-end.ts).
 *
 *                    wan-a 192.0.2.2  2001:db8:a::2 ──── 192.0.2.1  2001:db8:a::1  isp-a ┐ lo 203.0.113.9, .10
 *   this namespace ──┤                                                                   ├
 *                    wan-b 192.0.2.3  2001:db8:b::2 ──── 192.0.2.1  2001:db8:b::1  isp-b ┘    2001:db8:ff::9, ::a
 *
 * `oif` rules as the daemon's layout has them; main's default leads out of wan-b in both families, to tempt what is asked through a. What leaves
 * for the server is counted by the packet filter, by device and family.
 */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { openCounterReader } from '../../src/kernel/netlink/counters.js';
import type { Family, Instant, Method, ProbeLine, Target } from '../../src/model.js';
import type { Asker } from '../../src/probes/method.js';
import { inNetns } from '../lab/netns.js';
import { deadline } from '../lab/wait.js';

export type Side = 'a' | 'b';
export const SERVER = { 4: '203.0.113.9', 6: '2001:db8:ff::9' } as const;
/** The server's other address: answers that come from here were not asked for. */
export const OTHER = { 4: '203.0.113.10', 6: '2001:db8:ff::a' } as const;
export const FAMILIES: readonly Family[] = [4, 6];
const SIDES: readonly Side[] = ['a', 'b'];
const SOURCE = { a: { 4: '192.0.2.2', 6: '2001:db8:a::2' }, b: { 4: '192.0.2.3', 6: '2001:db8:b::2' } } as const;
const TABLE = { a: 101, b: 102 } as const;
const counters = openCounterReader();
let departed: ReadonlyMap<string, number> = new Map();
/** How long to wait where nothing is to come. What is to come is waited for until the deadline. */
export const SILENCE_MS = 250;

/** Looking takes processor time that others want. */
const SELDOM_MS = 20;
/** IPv6 addresses are usable at once, without two seconds of duplicate address detection. And each error of the far end is sent, however many there are. */
const SYSCTLS = ['net.ipv6.conf.default.accept_dad=0', 'net.ipv4.icmp_ratemask=0'];

/** A script that needs a certificate has put it into a /run of its own before. */
export async function buildWorld(): Promise<void> {
  if (!existsSync('/run/cert.pem')) execFileSync('mount', ['-t', 'tmpfs', 'tmpfs', '/run']);
  ip('link set lo up', ...SIDES.map((side) => `netns add isp-${side}`));
  execFileSync('sysctl', ['-qw', ...SYSCTLS]);
  for (const side of SIDES) {
    const dev = `wan-${side}`;
    ispRun(side, 'sysctl', '-qw', ...SYSCTLS);
    ip(`link add ${dev} type veth peer name eth0 netns isp-${side}`, `addr add ${SOURCE[side][4]}/24 dev ${dev}`, `addr add ${SOURCE[side][6]}/64 dev ${dev} nodad`, `link set ${dev} up`);
    ispIp(side, 'link set lo up', ...FAMILIES.flatMap((family) => [SERVER, OTHER].map((host) => `addr add ${host[family]}/${family === 4 ? '32 dev lo' : '128 dev lo nodad'}`)));
    ispIp(side, 'addr add 192.0.2.1/24 dev eth0', `addr add 2001:db8:${side}::1/64 dev eth0 nodad`, 'addr add fe80::1/64 dev eth0 nodad', 'link set eth0 up');
    for (const family of ['-4', '-6']) execFileSync('ip', [family, 'rule', 'add', 'pref', String(TABLE[side]), 'oif', dev, 'lookup', String(TABLE[side])]);
    addRoutes(side);
  }
  ip('route add default via 192.0.2.1 dev wan-b', 'route add default via 2001:db8:b::1 dev wan-b');
  const counters = SIDES.flatMap((side) => FAMILIES.map((family) => ({ name: `${side}${family}`, match: `oifname "wan-${side}" ${family === 4 ? 'ip daddr 203.0.113.0/24' : 'ip6 daddr 2001:db8:ff::/48'}` })));
  nft(`table inet count { ${counters.map(({ name }) => `counter ${name} { };`).join(' ')} chain out { type filter hook postrouting priority 0; ${counters.map(({ name, match }) => `${match} counter name ${name};`).join(' ')} }; }`);
  await Promise.all(SIDES.map(serve));
  await until(() => FAMILIES.every((family) => SIDES.every((side) => pings(side, family))));
}

export function addRoutes(side: Side): void {
  const dev = `wan-${side}`;
  ip(`route replace 192.0.2.0/24 dev ${dev} table ${TABLE[side]}`, `route replace default via 192.0.2.1 dev ${dev} onlink table ${TABLE[side]}`);
  ip(`route replace 2001:db8:${side}::/64 dev ${dev} table ${TABLE[side]}`, `route replace default via 2001:db8:${side}::1 dev ${dev} onlink table ${TABLE[side]}`);
}

/** Both lines with the addresses of line a, as two lines of one provider may have them. */
export function shareAddresses(): void {
  ip('addr flush dev wan-b scope global', 'addr add 192.0.2.2/24 dev wan-b', 'addr add 2001:db8:a::2/64 dev wan-b nodad');
  ispIp('b', 'addr add 2001:db8:a::1/64 dev eth0 nodad');
  addRoutes('b');
  ip('route replace 2001:db8:a::/64 dev wan-b table 102', 'route replace default via 2001:db8:a::1 dev wan-b onlink table 102');
  ip('route replace default via 192.0.2.1 dev wan-b', 'route replace default via 2001:db8:a::1 dev wan-b');
}

/** Line b has its own addresses again. */
export function unshareAddresses(): void {
  ip('route del 2001:db8:a::/64 dev wan-b table 102', 'addr flush dev wan-b scope global', `addr add ${SOURCE.b[4]}/24 dev wan-b`, `addr add ${SOURCE.b[6]}/64 dev wan-b nodad`);
  ispIp('b', 'addr del 2001:db8:a::1/64 dev eth0');
  addRoutes('b');
  ip('route replace default via 192.0.2.1 dev wan-b', 'route replace default via 2001:db8:b::1 dev wan-b');
}

export function line(side: Side, family: Family, change: Partial<ProbeLine> = {}): ProbeLine {
  const device = `wan-${side}`;
  return { uplink: side, family, interface: device, ifindex: indexOf(device), source: SOURCE[side][family], gateway: '192.0.2.1', mark: 0, ...change };
}

/** Packets that left for the server since the last time it was asked, by device and family: `{ a4: 3 }`; none = not listed. */
export function departures(): Readonly<Record<string, number>> {
  const now = new Map(counters.read('count').map(({ name, packets }) => [name, packets]));
  const grown = [...now].map(([name, packets]) => [name, packets - (departed.get(name) ?? 0)] as const);
  departed = now;
  return Object.fromEntries(grown.filter(([, packets]) => packets > 0).sort(([x], [y]) => (x < y ? -1 : 1)));
}

/** What became of a probe: `answered`, `silence`, or `CAUSE: words`. */
export interface Outcome {
  readonly said: string;
  readonly rttMs: number;
}

/** Asks and waits for what becomes of it. Throws when more than one thing does. Where silence is expected, say SILENCE_MS. */
export async function ask(asker: Asker, method: Method, address: string, withinMs = deadline()): Promise<string> {
  return (await askTimed(asker, method, address, withinMs)).said;
}

export async function askTimed(asker: Asker, method: Method, address: string, withinMs = deadline()): Promise<Outcome> {
  const outcomes = put(asker, method, address);
  await until(() => outcomes.length > 0, withinMs);
  if (outcomes.length > 1) throw new Error(`told more than once: ${JSON.stringify(outcomes)}`);
  return outcomes[0] ?? { said: 'silence', rttMs: 0 };
}

/** Asks and gives the list into which what becomes of it will be put. */
export function put(asker: Asker, method: Method, address: string): Outcome[] {
  const outcomes: Outcome[] = [];
  const target: Target = { id: method.kind, families: FAMILIES, intervalMs: undefined, ...method };
  asker.ask({
    order: { uplink: 'a', family: address.includes(':') ? 6 : 4, target, address, seq: 1 },
    answered: (_at, rttMs) => outcomes.push({ said: 'answered', rttMs }),
    lost: (_at, cause, error) => outcomes.push({ said: `${cause}: ${error}`, rttMs: 0 }),
  });
  return outcomes;
}

export function ip(...commands: readonly string[]): void {
  execFileSync('ip', ['-batch', '-'], { input: `${commands.join('\n')}\n`, stdio: ['pipe', 'inherit', 'inherit'] });
}

export function ispIp(side: Side, ...commands: readonly string[]): void {
  execFileSync('ip', ['-n', `isp-${side}`, '-batch', '-'], { input: `${commands.join('\n')}\n`, stdio: ['pipe', 'inherit', 'inherit'] });
}

export function ispRun(side: Side, command: string, ...args: readonly string[]): string {
  return inNetns(`isp-${side}`, () => execFileSync(command, args, { encoding: 'utf8' }));
}

export function nft(rules: string): void {
  execFileSync('nft', ['-f', '-'], { input: `${rules}\n` });
}

/** Rules in the ISP's own packet filter, for what comes in to it. */
export function ispFilter(side: Side, rule: string): void {
  inNetns(`isp-${side}`, () => nft(`table inet t { chain c { type filter hook input priority 0; ${rule}; }; }`));
}

export function ispUnfilter(side: Side): void {
  ispRun(side, 'nft', 'delete', 'table', 'inet', 't');
}

export function indexOf(device: string): number {
  const links = JSON.parse(execFileSync('ip', ['-j', 'link', 'show', 'dev', device], { encoding: 'utf8' })) as readonly { readonly ifindex: number }[];
  return links[0]?.ifindex ?? 0;
}

export function now(): Instant {
  return (Number(process.hrtime.bigint()) / 1e6) as Instant;
}

export function descriptors(): number {
  return readdirSync('/proc/self/fd').length;
}

/** @returns whether it came true in time */
export async function until(holds: () => boolean, withinMs = deadline()): Promise<boolean> {
  const giveUpAt = now() + withinMs;
  for (let restMs = 2; !holds(); restMs = Math.min(SELDOM_MS, restMs * 1.2)) {
    if (now() > giveUpAt) return false;
    await sleep(restMs);
  }
  return true;
}

/** Ends with the process namespace. */
async function serve(side: Side): Promise<void> {
  const script = fileURLToPath(new URL('./far-end.js', import.meta.url));
  const child = inNetns(`isp-${side}`, () => spawn(process.execPath, [script, side], { stdio: ['ignore', 'pipe', 'inherit'] }));
  await once(child.stdout, 'data');
}

/** The neighbours know each other, so that no first probe waits for them. */
function pings(side: Side, family: Family): boolean {
  const gateway = family === 4 ? '192.0.2.1' : `2001:db8:${side}::1`;
  try {
    execFileSync('ping', ['-c', '1', '-W', '1', '-I', `wan-${side}`, gateway], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}
