/** Which line a probe takes, and what a line's life does to it. Prints the facts as JSON; see lines.test.ts for what they must be. */
import { execFileSync } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { deadline } from '../lab/wait.js';
import { playAsked, type Stories } from './asked.js';
import { addLine, addRoutes, answerBy, answerByKernel, buildWorld, echoesAt, FAR, GATEWAY, icmp, ignoreEchoes, ip, ispIp, ispRun, line, line6, listen, now, SILENCE_MS, targetOf, until, type Listener } from './world.js';

const stories: Stories = {
  /** Both lines up, then a's ISP silent, then a's device down: b's ISP must never see a probe of a. */
  async pinned() {
    const { prober, ask } = listen();
    prober.bind([line('a'), line('b')]);
    const before = { a: echoesAt('a'), b: echoesAt('b') };
    const both = [await ask('a', GATEWAY), await ask('b', GATEWAY), await ask('a', FAR), await ask('b', FAR)];
    const after = { a: echoesAt('a'), b: echoesAt('b') };
    const counted = { a: after.a - before.a, b: after.b - before.b };
    ignoreEchoes('a', true);
    const silentIsp = [await ask('a', GATEWAY, SILENCE_MS), await ask('a', FAR, SILENCE_MS)];
    ispIp('a', 'link set eth0 down');
    const noCarrier = [await ask('a', GATEWAY, SILENCE_MS), await ask('a', FAR, SILENCE_MS)].filter((answer) => answer === 'reply').length;
    ip('link set wan-a down');
    const deviceDown = [await ask('a', GATEWAY), await ask('a', FAR)];
    const leaked = echoesAt('b') - after.b;
    const other = await ask('b', FAR);
    ispIp('a', 'link set eth0 up');
    ip('link set wan-a up');
    addRoutes('a');
    ignoreEchoes('a', false);
    const backUp = await askAgain(ask, 'a', FAR);
    prober.close();
    return { both, counted, silentIsp, noCarrier, deviceDown, leaked, other, backUp };
  },

  /** Counted at the ISP before this script gives the event loop its turn. */
  async atOnce() {
    const { prober, ask, send } = listen();
    prober.bind([line('a')]);
    await ask('a', GATEWAY);
    const before = echoesAt('a');
    for (let i = 0; i < 3; i++) send('a', FAR);
    const left = echoesAt('a') - before;
    prober.close();
    return { left };
  },

  /** The same address dead through a and alive through b, many in flight at once; then a alone with two targets, one of them dead. */
  async crosstalk() {
    const { prober, send, facts } = listen();
    prober.bind([line('a'), line('b')]);
    ignoreEchoes('a', true);
    for (let i = 0; i < 50; i++) for (const side of ['a', 'b'] as const) for (const to of [GATEWAY, FAR]) send(side, to);
    await until(() => facts.length >= 100);
    await sleep(SILENCE_MS);
    const count = (uplink: string, target: string): number => facts.filter((fact) => fact.type === 'reply' && fact.uplink === uplink && fact.target === target).length;
    const sameAddress = { a: count('a', `icmp ${GATEWAY}`) + count('a', `icmp ${FAR}`), b: [count('b', `icmp ${GATEWAY}`), count('b', `icmp ${FAR}`)] };
    ispIp('b', `addr del ${FAR}/32 dev lo`);
    for (let i = 0; i < 50; i++) for (const to of [GATEWAY, FAR]) send('b', to);
    await until(() => facts.length >= 150);
    await sleep(SILENCE_MS);
    const oneDead = [count('b', `icmp ${GATEWAY}`), count('b', `icmp ${FAR}`)];
    const twice = facts.length - new Set(facts.map((fact) => `${fact.uplink} ${fact.target} ${fact.seq}`)).size;
    prober.close();
    ispIp('b', `addr add ${FAR}/32 dev lo`);
    ignoreEchoes('a', false);
    return { sameAddress, oneDead, twice };
  },

  /** Deleted and made again under the same name: the old socket is bound to an index that is no more. */
  async rebind() {
    const { prober, ask } = listen();
    const first = line('a');
    prober.bind([first, line('b')]);
    const before = await ask('a', FAR);
    ip('link del wan-a');
    const deleted = await ask('a', FAR);
    ip('link add filler type veth peer name filler2');
    addLine('a');
    const unbound = await ask('a', FAR);
    const fresh = line('a');
    prober.bind([fresh, line('b')]);
    const rebound = await ask('a', FAR);
    prober.close();
    ip('link del filler');
    return { before, deleted, unbound, rebound, indexChanged: first.ifindex !== fresh.ifindex };
  },

  async refused() {
    const { prober, ask, facts } = listen();
    prober.bind([line('a'), line('b', { interface: 'wan-z', ifindex: 0 })]);
    const answers = { unknownUplink: await ask('c', FAR), noDevice: await ask('b', FAR), family: '', notAddress: await ask('a', 'example.com') };
    prober.bind([line('a'), line6('a')]);
    prober.send({ uplink: 'a', family: 6, target: targetOf(icmp(GATEWAY)), address: GATEWAY, seq: 99 });
    await until(() => facts.some((fact) => fact.seq === 99));
    const wrong = facts.find((fact) => fact.seq === 99);
    answers.family = wrong?.type === 'lost' ? wrong.error : '';
    prober.bind([line('a'), line('b')]);
    const later = await ask('b', FAR);
    prober.bind([line('a', { ifindex: 4_000_000 })]);
    const noSuchIndex = await ask('a', FAR);
    prober.close();
    return { ...answers, later, noSuchIndex };
  },

  /** What else sendto refuses: a broadcast address, a firewall. */
  async sendErrors() {
    const { prober, ask } = listen();
    prober.bind([line('a')]);
    const broadcast = await ask('a', '192.0.2.255');
    execFileSync('nft', ['-f', '-'], { input: 'table ip t { chain c { type filter hook output priority 0; ip daddr 203.0.113.10 drop; }; }\n' });
    const firewall = await ask('a', '203.0.113.10');
    const after = await ask('a', FAR);
    prober.close();
    execFileSync('nft', ['delete', 'table', 'ip', 't']);
    return { broadcast, firewall, after };
  },

  /** Errors as a real router's kernel sends them, with the probes of both families. */
  async routerErrors() {
    ip('addr add 2001:db8::2/64 dev wan-a nodad', 'route add 2001:db8::/64 dev wan-a table 101', 'route add default via 2001:db8::1 dev wan-a table 101');
    const routes = ['unreachable 198.51.100.0/24', 'prohibit 198.51.101.0/24', 'unreachable 2001:db8:1::/48'];
    ispIp('a', 'addr add 2001:db8::1/64 dev eth0 nodad', ...routes.map((route) => `route add ${route}`));
    forward('1');
    const { prober, ask } = listen();
    prober.bind([line('a', { source: '' }), line6('a')]);
    const answers = { unreachable: await ask('a', '198.51.100.1'), prohibited: await ask('a', '198.51.101.1'), noRoute: await ask('a', '2001:db8:1::1'), alive: await ask('a', FAR) };
    prober.close();
    forward('0');
    ispIp('a', 'addr del 2001:db8::1/64 dev eth0', ...routes.map((route) => `route del ${route}`));
    ip('route del default via 2001:db8::1 dev wan-a table 101', 'route del 2001:db8::/64 dev wan-a table 101', 'addr del 2001:db8::2/64 dev wan-a');
    return answers;
  },

  /** Unchanged lines keep their session: a probe in flight on b survives a bind that changes a. */
  async unchanged() {
    await Promise.all([answerBy('a', 'wait:150', 'reply'), answerBy('b', 'wait:150', 'reply')]);
    const { prober, send, ask, factOf } = listen();
    prober.bind([line('a'), line('b')]);
    const inFlightB = send('b', GATEWAY);
    const inFlightA = send('a', GATEWAY);
    prober.bind([line('b'), line('a', { source: '' })]);
    await until(() => factOf(inFlightB) !== undefined);
    await sleep(SILENCE_MS);
    const kept = factOf(inFlightB)?.type ?? 'silence';
    const forgotten = factOf(inFlightA)?.type ?? 'silence';
    const changed = await ask('a', GATEWAY);
    prober.bind([line('a', { source: '' })]);
    const gone = await ask('b', GATEWAY);
    prober.close();
    await Promise.all([answerByKernel('a'), answerByKernel('b')]);
    return { kept, forgotten, changed, gone };
  },

  /** The same link-local gateway on both lines; then a's ISP falls silent. */
  async sameLinkLocal() {
    for (const side of ['a', 'b'] as const) ispIp(side, 'addr add fe80::1/64 dev eth0 nodad');
    const { prober, ask } = listen();
    prober.bind([line6('a'), line6('b')]);
    const before = { a: echoesAt('a', 6), b: echoesAt('b', 6) };
    const both = [await ask('a', 'fe80::1'), await ask('b', 'fe80::1')];
    const after = { a: echoesAt('a', 6), b: echoesAt('b', 6) };
    const counted = { a: after.a - before.a, b: after.b - before.b };
    ignoreEchoes('a', true, 6);
    const silent = await ask('a', 'fe80::1', SILENCE_MS);
    const leaked = echoesAt('b', 6) - after.b;
    const other = await ask('b', 'fe80::1');
    prober.close();
    ignoreEchoes('a', false, 6);
    for (const side of ['a', 'b'] as const) ispIp(side, 'addr del fe80::1/64 dev eth0');
    return { both, counted, silent, other, leaked };
  },

  /** IPv4 answers late; meanwhile the IPv6 line of the same uplink changes, and then the IPv4 one. */
  async families() {
    await answerBy('a', 'wait:150', 'reply');
    ispIp('a', 'addr add fe80::1/64 dev eth0 nodad');
    const { prober, send, ask, factOf } = listen();
    prober.bind([line('a'), line6('a')]);
    const inFlight = send('a', GATEWAY);
    prober.bind([line('a'), line6('a', { source: 'fe80::2' })]);
    await until(() => factOf(inFlight) !== undefined);
    const kept = factOf(inFlight)?.type ?? 'silence';
    const told = factOf(inFlight)?.family ?? 0;
    const dropped = send('a', GATEWAY);
    prober.bind([line('a', { source: '' }), line6('a', { source: 'fe80::2' })]);
    await sleep(300);
    const forgotten = factOf(dropped)?.type ?? 'silence';
    const changed = await ask('a', 'fe80::1');
    prober.bind([line('a')]);
    const gone = await ask('a', 'fe80::1');
    prober.close();
    ispIp('a', 'addr del fe80::1/64 dev eth0');
    await answerByKernel('a');
    return { kept, forgotten, changed, told, gone };
  },

  async ipv6() {
    ip('addr add 2001:db8::2/64 dev wan-a nodad', 'route add 2001:db8::/64 dev wan-a table 101');
    ispIp('a', 'addr add 2001:db8::1/64 dev eth0 nodad');
    const { prober, ask } = listen();
    prober.bind([line('a', { source: '' }), line6('a')]);
    const shown = JSON.parse(ispRun('a', 'ip', '-j', '-6', 'addr', 'show', 'dev', 'eth0', 'scope', 'link')) as readonly { readonly addr_info?: readonly { readonly local?: string }[] }[];
    const gateway = shown.flatMap((device) => device.addr_info ?? []).find((address) => address.local !== undefined)?.local ?? '';
    const answers = {
      global: await ask('a', '2001:db8::1'),
      anotherNotation: await ask('a', '2001:DB8:0:0::1'),
      linkLocal: await ask('a', gateway),
      zoned: await ask('a', `${gateway}%wan-a`),
      dead: await ask('a', '2001:db8::dead', SILENCE_MS),
      ipv4Beside: await ask('a', FAR),
    };
    prober.close();
    ispIp('a', 'addr del 2001:db8::1/64 dev eth0');
    ip('route del 2001:db8::/64 dev wan-a table 101', 'addr del 2001:db8::2/64 dev wan-a');
    return answers;
  },
};

/** Until it is answered: what leaves while a device comes up may be lost. */
async function askAgain(ask: Listener['ask'], side: string, address: string): Promise<string> {
  let said = '';
  for (const endAt = now() + deadline(); said !== 'reply' && now() < endAt; ) said = await ask(side, address, SILENCE_MS);
  return said;
}

function forward(yes: '0' | '1'): void {
  ispRun('a', 'sysctl', '-qw', `net.ipv4.ip_forward=${yes}`, `net.ipv6.conf.all.forwarding=${yes}`);
}

buildWorld();
execFileSync('ip', ['-6', 'rule', 'add', 'pref', '100', 'oif', 'wan-a', 'lookup', '101']);
await playAsked(stories);
