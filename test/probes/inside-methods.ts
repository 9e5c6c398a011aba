/**
 * Echo with a size, hops, ARP and neighbour discovery, in both families. Prints the facts as JSON; see methods.test.ts for what they must be.
 *
 * Beyond what world.ts builds: IPv6 on both lines, with the gateway fe80::1 on both; behind each ISP a network that passes 1400 bytes. Each ISP
 * counts what it is asked; neighbours are written down, so that our kernel asks for none by itself.
 */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { openCounterReader, type CounterReader } from '../../src/kernel/netlink/counters.js';
import type { Family, Method, ProbeLine } from '../../src/model.js';
import { inNetns } from '../lab/netns.js';
import { advertise } from './advertiser.js';
import { playAsked, type Stories } from './asked.js';
import { addRoutes, answerBy, answerByKernel, buildWorld, FAR, GATEWAY, icmp, indexOf, ip, ispIp, ispRun, line, line6, listen, now, SILENCE_MS, targetOf, until, type Listener, type Side } from './world.js';
import { deadline } from '../lab/wait.js';

const GATEWAY6 = 'fe80::1';
const FAR6 = '2001:db8:f::9';
const BEYOND = '198.51.100.1';
const BEYOND6 = '2001:db8:1::1';
/** Echo requests by family, and who asks for the gateways' own addresses: fe80::1 stands 64 bits behind the beginning of a solicitation. */
const COUNTERS = `
  table inet seen {
    counter echo4 { }
    counter echo6 { }
    counter asknd { }
    chain c {
      type filter hook prerouting priority -300;
      icmp type echo-request counter name echo4
      icmpv6 type echo-request counter name echo6
      icmpv6 type nd-neighbor-solicit @th,64,128 0xfe800000000000000000000000000001 counter name asknd
    }
  }
  table arp seen {
    counter askarp { }
    chain c {
      type filter hook input priority -300;
      arp operation request arp daddr ip ${GATEWAY} counter name askarp
    }
  }
`;
/** What a dead ISP does: its carrier stays, and nothing is heard. */
const DEAD = `
  table inet dead { chain c { type filter hook prerouting priority -200; policy drop; }; }
  table arp dead { chain c { type filter hook input priority 0; policy drop; }; }
`;

interface Way {
  readonly name: string;
  readonly family: Family;
  readonly method: Method;
  readonly address: string;
  readonly counter: 'echo4' | 'echo6' | 'asknd' | 'askarp';
}

const ways: readonly Way[] = [
  { name: 'icmp', family: 4, method: icmp(FAR), address: FAR, counter: 'echo4' },
  { name: 'icmp', family: 6, method: icmp(FAR6), address: FAR6, counter: 'echo6' },
  { name: 'icmp of the gateway', family: 6, method: icmp('gateway'), address: GATEWAY6, counter: 'echo6' },
  { name: 'size', family: 4, method: icmp(FAR, 1500), address: FAR, counter: 'echo4' },
  { name: 'size', family: 6, method: icmp(FAR6, 1500), address: FAR6, counter: 'echo6' },
  { name: 'hop', family: 4, method: { kind: 'hop', host: BEYOND, hops: 1 }, address: BEYOND, counter: 'echo4' },
  { name: 'hop', family: 6, method: { kind: 'hop', host: BEYOND6, hops: 1 }, address: BEYOND6, counter: 'echo6' },
  { name: 'arp', family: 4, method: { kind: 'arp', host: 'gateway' }, address: GATEWAY, counter: 'askarp' },
  { name: 'arp', family: 6, method: { kind: 'arp', host: 'gateway' }, address: GATEWAY6, counter: 'asknd' },
];

const stories: Stories = {
  egress: () => egress(sides('a'), sides('b')),
  /** The same address on both lines. */
  async egressShared() {
    addressB('192.0.2.2', '2001:db8::2');
    const told = await egress(sides('a'), [line('b', { source: '192.0.2.2' }), line6('b', { source: '2001:db8::2' })]);
    addressB('192.0.2.3', '2001:db8::3');
    return told;
  },

  async size() {
    const listener = asking(sides('a'));
    const before = received('a');
    const whole = [await heard(listener, FAR, icmp(FAR, 1500)), await heard(listener, FAR6, icmp(FAR6, 1500))];
    const bytes = received('a') - before;
    const sizes = [100, 1400].map((size) => icmp(BEYOND, size));
    const here = [await heard(listener, FAR, icmp(FAR, 1501)), await heard(listener, FAR6, icmp(FAR6, 1501))];
    const there: unknown[] = [];
    for (let i = 0; i < 2; i++) there.push(await heard(listener, BEYOND, icmp(BEYOND, 1401)), await heard(listener, BEYOND6, icmp(BEYOND6, 1401)));
    const fits = [await heard(listener, BEYOND, sizes[1] ?? icmp(BEYOND), SILENCE_MS), await heard(listener, BEYOND6, icmp(BEYOND6, 1400), SILENCE_MS)];
    listener.prober.close();
    return { whole, bytes, here, there, fits };
  },

  /** RFC 6724 would have the kernel take the address of b, which is not deprecated (rule 3), before that of the device (rule 5). */
  async deprecated() {
    ip('addr change 2001:db8::2/64 dev wan-a nodad preferred_lft 0');
    const listener = asking(sides('a'));
    const seen = [await heard(listener, FAR6, icmp(FAR6)), await heard(listener, GATEWAY6, icmp(GATEWAY6))];
    listener.prober.bind([line6('a', { source: '2001:db8::77' })]);
    const notYet = [await heard(listener, FAR6, icmp(FAR6)), await heard(listener, GATEWAY6, icmp(GATEWAY6))];
    listener.prober.close();
    ip('addr change 2001:db8::2/64 dev wan-a nodad preferred_lft forever');
    return [...seen, ...notYet];
  },

  /** One of each kind, whose answer needs nobody at the other end. */
  async kinds() {
    const listener = asking(sides('a'));
    const { prober } = listener;
    const http: Method = { kind: 'http', host: GATEWAY, url: `http://${GATEWAY}/`, resolvers: [], status: 204, body: '', header: undefined };
    const exec = (program: string): Method => ({ kind: 'exec', host: '', program, args: [], limitMs: 1000 });
    const asked: readonly (readonly [string, Method])[] = [
      [GATEWAY, { kind: 'tcp', host: GATEWAY, port: 1 }], [GATEWAY, { kind: 'dns', host: GATEWAY, port: 53, name: 'example.com', expect: [] }], [GATEWAY, http],
      ['', exec('/bin/true')], ['', exec('/bin/false')],
    ];
    const seen: Record<string, string> = {};
    for (const [address, method] of asked) {
      const order = listener.send('a', address, method);
      await until(() => listener.factOf(order) !== undefined);
      const fact = listener.factOf(order);
      seen[method.kind === 'exec' ? method.program : method.kind] = fact?.type === 'lost' ? fact.cause : (fact?.type ?? 'silence');
    }
    prober.close();
    return seen;
  },

  /** The ISP's kernel answers with less than it was sent. */
  async truncated() {
    await answerBy('a', 'short');
    const listener = asking(sides('a'));
    const seen = [await heard(listener, GATEWAY, icmp(GATEWAY, 1000)), await heard(listener, GATEWAY, icmp(GATEWAY))];
    listener.prober.close();
    await answerByKernel('a');
    return seen;
  },

  async hops() {
    const listener = asking(sides('a'));
    const hop = (host: string, hops: number): Method => ({ kind: 'hop', host, hops });
    const answers = {
      router: [await heard(listener, BEYOND, hop(BEYOND, 1)), await heard(listener, BEYOND6, hop(BEYOND6, 1))],
      nearer: [await heard(listener, GATEWAY, hop(GATEWAY, 1)), await heard(listener, FAR6, hop(FAR6, 3))],
      nobody: [await heard(listener, BEYOND, hop(BEYOND, 2), SILENCE_MS), await heard(listener, BEYOND6, hop(BEYOND6, 2), SILENCE_MS)],
    };
    ispIp('a', 'route add unreachable 198.51.101.0/24');
    const unreachable = await heard(listener, '198.51.101.1', hop('198.51.101.1', 2));
    listener.prober.close();
    ispIp('a', 'route del unreachable 198.51.101.0/24');
    return { ...answers, unreachable };
  },

  /** A time exceeded that is not about how far a probe may go. */
  async exceeded() {
    await answerBy('a', 'exceeded');
    const listener = asking(sides('a'));
    const seen = [await heard(listener, GATEWAY, icmp(GATEWAY)), await heard(listener, GATEWAY, { kind: 'hop', host: GATEWAY, hops: 5 })];
    listener.prober.close();
    await answerByKernel('a');
    return seen;
  },

  async arpLife() {
    const arp: Method = { kind: 'arp', host: 'gateway' };
    const listener = asking(sides('a'));
    const { prober } = listener;
    const first = [await heard(listener, GATEWAY, arp), await heard(listener, GATEWAY6, arp)];
    ip('link set wan-a down');
    const down = [await heard(listener, GATEWAY, arp), await heard(listener, GATEWAY6, arp)];
    ip('link set wan-a up');
    for (const giveUpAt = now() + deadline(); now() < giveUpAt && (await heard(listener, GATEWAY6, arp, SILENCE_MS))[0] !== 'reply';) await sleep(50);
    const again = [await heard(listener, GATEWAY, arp), await heard(listener, GATEWAY6, arp)];
    // Somebody else's answers come to all who listen there.
    const other = asking(sides('a'));
    const asked = [listener.send('a', '192.0.2.99', arp), listener.send('a', 'fe80::99', arp)];
    const others = [await heard(other, GATEWAY, arp), await heard(other, GATEWAY6, arp)];
    other.prober.close();
    const nobody = asked.map((order) => listener.factOf(order)?.type ?? 'silence');
    const gatewayless = await heard(listener, '', arp);
    ip('link add quiet0 type veth peer name quiet1', 'link set quiet0 arp off up');
    const quiet = { interface: 'quiet0', ifindex: indexOf('quiet0'), source: '' };
    prober.bind([line('a', quiet), line6('a', quiet)]);
    const noArp = [await heard(listener, GATEWAY, arp), await heard(listener, GATEWAY6, arp)];
    prober.bind([line('a', { ...quiet, interface: 'gone0', ifindex: 4_000_000 })]);
    const gone = await heard(listener, GATEWAY, arp);
    prober.close();
    ip('link del quiet0');
    addressLine('a');
    return { first, down, again, others, nobody, gatewayless, noArp, gone };
  },

  /** Two in flight, one answer; and how much of the segment's chatter comes up to us. */
  async arpNewest() {
    const listener = asking(sides('a'));
    const arp: Method = { kind: 'arp', host: 'gateway' };
    const orders = [listener.send('a', GATEWAY, arp), listener.send('a', GATEWAY, arp)];
    await until(() => orders.some((order) => listener.factOf(order) !== undefined));
    await sleep(SILENCE_MS);
    listener.prober.close();
    return orders.map((order) => listener.factOf(order)?.type ?? 'silence');
  },

  /** Advertisements as anybody might send them (advertiser.ts): only that of a neighbour counts. */
  async advertised() {
    const arp: Method = { kind: 'arp', host: 'gateway' };
    const listener = asking(sides('a'));
    const seen: Record<string, unknown> = {};
    for (const kind of ['routed', 'unasked', 'right'] as const) {
      const end = await advertise('isp-a', kind, 'fe80::77', '2001:db8::2');
      seen[kind] = (await heard(listener, 'fe80::77', arp, kind === 'right' ? undefined : SILENCE_MS))[0];
      end();
    }
    listener.prober.close();
    return seen;
  },
};

/** Each way of asking through both lines, then each with the ISP of a dead: what was counted where. */
async function egress(a: readonly ProbeLine[], b: readonly ProbeLine[]): Promise<unknown> {
  const { prober, ask, send, factOf } = listen();
  prober.bind([...a, ...b]);
  const seen: Record<string, object> = {};
  for (const { name, family, method, address, counter } of ways) {
    const before = { a: counted('a', counter), b: counted('b', counter) };
    const both = [await ask('a', address, undefined, method), await ask('b', address, undefined, method)];
    seen[`${name} ${family}`] = { both, counted: [counted('a', counter) - before.a, counted('b', counter) - before.b] };
  }
  ispNft('a', DEAD);
  for (const { name, family, method, address, counter } of ways) {
    const before = counted('b', counter);
    // Both at once: an answer that came in by b is none for a.
    const unanswered = send('a', address, method);
    const other = await ask('b', address, undefined, method);
    await until(() => factOf(unanswered) !== undefined, SILENCE_MS / 2);
    const dead = factOf(unanswered)?.type ?? 'silence';
    seen[`${name} ${family}`] = { ...seen[`${name} ${family}`], dead, leaked: counted('b', counter) - before - 1, other };
  }
  ispNft('a', 'delete table inet dead; delete table arp dead;');
  prober.close();
  return seen;
}

/** In the place of those that the line had. */
function addressB(four: string, six: string): void {
  ip('addr flush dev wan-b scope global', `addr add ${four}/24 dev wan-b`, `addr add ${six}/64 dev wan-b nodad`,
    'route replace 192.0.2.0/24 dev wan-b table 102', `route replace default via ${GATEWAY} dev wan-b onlink table 102`, `route replace default via ${GATEWAY} dev wan-b`,
    'route replace 2001:db8::/64 dev wan-b table 102', `route replace default via ${GATEWAY6} dev wan-b table 102`);
}

function sides(side: Side): readonly ProbeLine[] {
  return [line(side), line6(side, { source: side === 'a' ? '2001:db8::2' : '2001:db8::3' })];
}

function asking(lines: readonly ProbeLine[]): Listener {
  const listener = listen();
  listener.prober.bind(lines);
  return listener;
}

/** Through a: what was said, and for what cause. */
async function heard(listener: Listener, address: string, method: Method, withinMs?: number): Promise<readonly string[]> {
  const order = listener.send('a', address, method);
  await until(() => listener.factOf(order) !== undefined, withinMs);
  const fact = listener.factOf(order);
  if (fact !== undefined && fact.target !== targetOf(method).id) throw new Error(`told of ${fact.target}`);
  return fact === undefined ? ['silence'] : fact.type === 'reply' ? ['reply'] : [fact.cause, fact.error];
}

function prepare(): void {
  execFileSync('sysctl', ['-qw', 'net.ipv4.conf.all.rp_filter=0']);
  for (const side of ['a', 'b'] as const) {
    const table = side === 'a' ? 101 : 102;
    ispRun(side, 'sysctl', '-qw', 'net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1', 'net.ipv4.icmp_ratemask=0', 'net.ipv6.icmp.ratelimit=0');
    ispIp(side, 'link add beyond type veth peer name nobody', 'link set nobody up', 'link set beyond mtu 1400 arp off up', 'addr add 2001:db8::1/64 dev eth0 nodad', `addr add ${GATEWAY6}/64 dev eth0 nodad`, `addr add ${FAR6}/128 dev lo`,
      'route add 198.51.100.0/24 dev beyond', 'route add 2001:db8:1::/48 dev beyond');
    addressLine(side);
    execFileSync('ip', ['-6', 'rule', 'add', 'pref', `${table}`, 'oif', `wan-${side}`, 'lookup', `${table}`]);
    ispNft(side, COUNTERS);
  }
  execFileSync('ip', ['-6', 'route', 'add', 'default', 'via', GATEWAY6, 'dev', 'wan-b']);
}

/** What our end of a line has beyond world.ts, and loses when it is set down. */
function addressLine(side: Side): void {
  const [table, dev] = [side === 'a' ? 101 : 102, `wan-${side}`];
  const mac = /link\/ether (\S+)/.exec(ispRun(side, 'ip', 'link', 'show', 'dev', 'eth0'))?.[1] ?? '';
  addRoutes(side);
  ip(`addr replace 2001:db8::${side === 'a' ? 2 : 3}/64 dev ${dev} nodad`, `route replace 2001:db8::/64 dev ${dev} table ${table}`, `route replace default via ${GATEWAY6} dev ${dev} table ${table}`,
    `neigh replace ${GATEWAY} lladdr ${mac} dev ${dev} nud permanent`, `neigh replace ${GATEWAY6} lladdr ${mac} dev ${dev} nud permanent`);
}

function counted(side: Side, counter: Way['counter']): number {
  if (counter !== 'askarp') return counters[side].read('seen').find(({ name }) => name === counter)?.packets ?? NaN;
  // The reader knows the family inet alone.
  return Number(/packets (\d+)/.exec(ispRun(side, 'nft', 'list', 'counter', 'arp', 'seen', counter))?.[1]);
}

/** Its socket stays where it was opened: by the first question. */
function counterReaderIn(side: Side): CounterReader {
  const reader = openCounterReader();
  inNetns(`isp-${side}`, () => reader.read('seen'));
  return reader;
}

function ispNft(side: Side, ruleset: string): void {
  inNetns(`isp-${side}`, () => execFileSync('nft', ['-f', '-'], { input: `${ruleset}\n`, stdio: ['pipe', 'inherit', 'inherit'] }));
}

/** Bytes of frames. */
function received(side: Side): number {
  const table = inNetns(`isp-${side}`, () => readFileSync('/proc/self/net/dev', 'utf8'));
  return Number(/eth0: *(\d+)/.exec(table)?.[1]);
}

buildWorld();
prepare();
const counters = { a: counterReaderIn('a'), b: counterReaderIn('b') };
await playAsked(stories);
