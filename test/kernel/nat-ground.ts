/**
 * The ground of the NAT and sysctl tests: the test file runs itself again inside fresh user, network, mount and pid namespaces
 * (everything dies with them), where the test process itself is the router:
 *
 *   client eth0 10.0.0.2 ── lan0 10.0.0.1 [router] wan0 198.51.100.2 ── i0 198.51.100.1 ┐ server 192.0.2.1
 *                                                  wan1 203.0.113.2  ── i1 203.0.113.1  ┘ (strict rp_filter = BCP 38)
 *
 * IPv6 alike: fd00:10::/64, 2001:db8:a::/64, 2001:db8:b::/64, server 2001:db8:ffff::1. An agent in the client and in the server
 * sends and answers datagrams; an answer is the sender's address as the answerer saw it.
 *
 * Silence is proved without a clock. A packet passes the kernel's part of the way while it is sent; so what has not been answered once the
 * answerer and then the asker have taken in all that lay in their sockets (`settled`) is not answered at all.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, test, type TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { Family, NatLine, NatPolicy, NatWish } from '../../src/model.js';
import type { HostDoor } from '../../src/ports.js';
import { openHost } from '../../src/kernel/host.js';
import type { IptablesProgram } from '../../src/kernel/nat/iptables.js';
import { inTurn } from '../turns.js';
import { inFreshSpaces } from '../lab/mortal.js';
import { deadline } from '../lab/wait.js';
import { agentIn, PORT, TCP_PORT, type Agent, type Sysctls } from './nat-agent.js';

export { PORT, TCP_PORT };

export const SERVER = '192.0.2.1';
export const SERVER6 = '2001:db8:ffff::1';
/** The client answers there. */
export const PUBLISHED_PORT = 9000;
export const MASK = 0x3f80;
export const CUT = 0x3f80;
/** For all tests of a file, on a quiet machine, many times over. */
const TIME_LIMIT_MS = 600_000;
const INSIDE = 'UPLINKD_TEST_INSIDE';

export interface Sort {
  readonly name: string;
  readonly backend: NatWish['backend'];
  readonly iptables: IptablesProgram;
}

export const SORTS: readonly Sort[] = [
  { name: 'nftables', backend: 'nftables', iptables: 'iptables' },
  { name: 'iptables-nft', backend: 'iptables', iptables: 'iptables-nft' },
  { name: 'iptables-legacy', backend: 'iptables', iptables: 'iptables-legacy' },
];

/** One run takes one of them: three hours of runs take all. */
export const SORTS_OF_THIS_RUN = inTurn(SORTS);

/** Masqueraded in both families, sizes as they are. */
export function line(uplink: string, device: string, mark: number, changes: Partial<NatLine> = {}): NatLine {
  return { uplink, interface: device, mark, translate: { 4: { kind: 'masquerade' }, 6: { kind: 'masquerade' } }, mss: 'off', ...changes };
}

export const LINES: readonly NatLine[] = [line('fibre', 'wan0', 0x80), line('cable', 'wan1', 0x100)];

export function natWish(changes: Partial<NatWish>): NatWish {
  return { backend: 'auto', markMask: MASK, lines: LINES, policies: [], routed: [], lanInterfaces: ['lan0'], firewall: 'off', cutMark: CUT, counting: false, near: [], ...changes };
}

/** Fits everything from the LAN. */
export function policy(name: string, classMark: number, match: Partial<NatPolicy['match']> = {}, changes: Partial<NatPolicy> = {}): NatPolicy {
  return {
    name, classMark, mark: undefined, set: undefined, sticky: undefined, router: false,
    match: { sources: [], destinations: [], protocol: 'any', sourcePorts: [], destinationPorts: [], ...match }, ...changes,
  };
}

/** Defines the tests when inside the namespaces; outside, one test that goes inside. */
export function inNamespaces(fileUrl: string, title: string, define: () => void): void {
  if (process.env[INSIDE] === 'yes') {
    execFileSync('mount', ['-t', 'tmpfs', 'tmpfs', '/run']);
    execFileSync('ip', ['link', 'set', 'lo', 'up']);
    define();
    return;
  }
  // In two steps: a network namespace made before root is mapped gives its files in /proc/net to nobody, and iptables-legacy-save reads one.
  const spaces = ['--user', '--map-root-user', 'unshare', '--net', '--mount', '--mount-proc'];
  const [program, usable] = inFreshSpaces(spaces, ['true']);
  const tried = spawnSync(program, usable);
  test(title, { skip: tried.status === 0 ? false : `no namespaces here: ${String(tried.stderr ?? tried.error)}` }, () => {
    const env: NodeJS.ProcessEnv = { ...process.env, [INSIDE]: 'yes' };
    delete env['NODE_TEST_CONTEXT'];
    const [, args] = inFreshSpaces(spaces, [process.execPath, '--test-reporter=spec', fileURLToPath(fileUrl)]);
    const ran = spawnSync(program, args, { env, encoding: 'utf8', maxBuffer: 1 << 26, timeout: deadline(TIME_LIMIT_MS), killSignal: 'SIGKILL' });
    process.stdout.write(ran.stdout);
    if (ran.status !== 0) throw new Error(`failed inside the namespaces (exit ${ran.status}):\n${ran.stdout}\n${ran.stderr}`);
  });
}

/** Runs a program in the router and gives its output. @throws when it fails */
export function out(program: string, ...args: string[]): string {
  return execFileSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}

export function nft(script: string, where: 'router' | 'client' | 'inet' = 'router'): void {
  const prefix = where === 'router' ? [] : ['ip', 'netns', 'exec', where];
  const [program = '', ...args] = [...prefix, 'nft', '-f', '-'];
  execFileSync(program, args, { input: script, encoding: 'utf8' });
}

export interface Ground {
  readonly client: Agent;
  readonly server: Agent;
  /** Sends as `asker.ask` does; the answer, '' = none comes. For what nothing is to answer: takes milliseconds. */
  unanswered(asker: Agent, flow: string, to: string, port?: number, from?: string): Promise<string>;
  end(): Promise<void>;
}

export interface World {
  readonly ground: Ground;
  readonly door: HostDoor;
}

/**
 * The same stories with each backend, on one ground where everything goes by wan0. `world` is complete when the tests begin.
 * @param prepare changes the ground before all of them
 */
export function describeSorts(sorts: readonly Sort[], define: (sort: Sort, world: World) => void, prepare = (): void => undefined): void {
  let ground: Ground;
  before(async () => {
    ground = await openGround();
    steer(0);
    prepare();
  });
  after(() => ground.end());
  for (const sort of sorts) describe(`with ${sort.name}`, () => {
    const door = openHost({ stateDir: mkdtempSync(join('/run', 'uplinkd-host-')), iptables: sort.iptables });
    after(async () => {
      await door.restore();
      out('conntrack', '-F');
    });
    define(sort, { door, get ground() { return ground; } });
  });
}

export async function openGround(): Promise<Ground> {
  batch('router', ['netns add client', 'netns add inet']);
  const [client, server] = [agentIn('client'), agentIn('inet')];
  const noTrials = { 'net/ipv6/conf/all/accept_dad': 0, 'net/ipv6/conf/default/accept_dad': 0 };
  const reverseFilter = (mode: number): Sysctls => ({ 'net/ipv4/conf/all/rp_filter': mode, 'net/ipv4/conf/default/rp_filter': mode });
  setSysctls({ ...noTrials, ...reverseFilter(0) });
  await client.setSysctls(noTrials);
  await server.setSysctls({ ...noTrials, ...reverseFilter(1) });
  const cables = [LAN, uplinkCable(0), uplinkCable(1)];
  batch('router', cables.flatMap(nearEnd));
  batch('client', [...farEnd(LAN), 'route add default via 10.0.0.1', 'route add default via fd00:10::1']);
  batch('inet', [...cables.slice(1).flatMap(farEnd), 'link set lo up', `addr add ${SERVER}/32 dev lo`, `addr add ${SERVER6}/128 dev lo`]);
  await client.answer('10.0.0.2', PUBLISHED_PORT);
  await server.answer(SERVER);
  await server.answer(SERVER6);
  await server.listen(SERVER);
  await server.listen(SERVER6);
  return {
    client,
    server,
    async unanswered(asker, flow, to, port, from) {
      await asker.send(flow, to, port, from);
      await (asker === client ? server : client).settled();
      await asker.settled();
      return asker.heard(flow);
    },
    async end() {
      client.end();
      server.end();
      batch('router', ['netns del client', 'netns del inet']);
      // The veths die with the other end, but not before the kernel got round to it.
      while (/lan0|wan[01]/.test(readFileSync('/proc/net/dev', 'utf8'))) await new Promise((resolve) => setTimeout(resolve, 5));
    },
  };
}

/** Makes the cable of an uplink (also: makes it again after it was deleted). */
export function plugUplink(number: 0 | 1): void {
  batch('router', nearEnd(uplinkCable(number)));
  batch('inet', farEnd(uplinkCable(number)));
}

/** The default route of the router, in main or in a table of the steering layout. */
export function steer(number: 0 | 1, table = 'main'): void {
  batch('router', steering(number, table));
}

export function steering(number: 0 | 1, table: string): readonly string[] {
  const gateways = number === 0 ? ['198.51.100.1', '2001:db8:a::1'] : ['203.0.113.1', '2001:db8:b::1'];
  return gateways.map((gateway) => `route replace default via ${gateway} table ${table}`);
}

/** A datagram socket of the router itself. */
export async function routerSocket(t: TestContext, bind: string, peer?: string): Promise<{ ask(): Promise<string> }> {
  const socket = createSocket('udp4').unref();
  await new Promise<void>((resolve) => socket.bind(peer === undefined ? PORT : 0, bind, resolve));
  t.after(() => socket.close());
  if (peer === undefined) socket.on('message', (_, from) => socket.send(from.address, from.port, from.address));
  else await new Promise<void>((resolve) => socket.connect(PORT, peer, resolve));
  const ask = (): Promise<string> => new Promise((resolve) => {
    const timer = setTimeout(() => resolve(''), deadline());
    socket.once('message', (message) => {
      clearTimeout(timer);
      resolve(message.toString());
    });
    socket.send('?');
  });
  return { ask };
}

/** A TCP connection of the router itself. */
export async function routerConnection(t: TestContext, host: string): Promise<{ say(): Promise<string> }> {
  const socket = connect(TCP_PORT, host);
  t.after(() => void socket.destroy());
  await new Promise((resolve, reject) => socket.once('connect', resolve).once('error', reject));
  return {
    say: () => new Promise((resolve) => {
      const timer = setTimeout(() => resolve(''), deadline());
      const tell = (text: string): void => {
        clearTimeout(timer);
        socket.removeAllListeners();
        socket.on('error', () => socket.destroy());
        resolve(text);
      };
      socket.removeAllListeners().once('data', (data) => tell(data.toString())).once('error', (failure: NodeJS.ErrnoException) => tell(failure.code ?? ''));
      socket.write('?');
    }),
  };
}

export function inNetns(where: string, ...command: string[]): string {
  return out('ip', 'netns', 'exec', where, ...command);
}

interface Cable {
  readonly near: string;
  readonly nearAddresses: readonly string[];
  readonly far: string;
  readonly farAddresses: readonly string[];
  readonly where: string;
}

const LAN: Cable = { near: 'lan0', nearAddresses: ['10.0.0.1/24', 'fd00:10::1/64'], far: 'eth0', farAddresses: ['10.0.0.2/24', 'fd00:10::2/64'], where: 'client' };

function uplinkCable(number: 0 | 1): Cable {
  const [net, net6] = number === 0 ? ['198.51.100', '2001:db8:a'] : ['203.0.113', '2001:db8:b'];
  return { near: `wan${number}`, nearAddresses: [`${net}.2/24`, `${net6}::2/64`], far: `i${number}`, farAddresses: [`${net}.1/24`, `${net6}::1/64`], where: 'inet' };
}

function nearEnd({ near, far, where, nearAddresses }: Cable): readonly string[] {
  return [`link add ${near} type veth peer name ${far} netns ${where}`, ...nearAddresses.map((address) => `addr add ${address} dev ${near}`), `link set ${near} up`];
}

function farEnd({ far, farAddresses }: Cable): readonly string[] {
  return [...farAddresses.map((address) => `addr add ${address} dev ${far}`), `link set ${far} up`];
}

/** Of the router. */
export function setSysctls(values: Sysctls): void {
  for (const [file, value] of Object.entries(values)) writeFileSync(`/proc/sys/${file}`, `${value}`);
}

/**
 * One program for many `ip` commands: starting one costs more than all that it does.
 * @param family what is meant where a command names no address
 */
export function batch(where: string, lines: readonly string[], family: Family = 4): void {
  execFileSync('ip', [...(where === 'router' ? [] : ['-n', where]), ...(family === 6 ? ['-6'] : []), '-batch', '-'], { input: lines.join('\n') });
}
