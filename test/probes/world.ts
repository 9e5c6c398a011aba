/**
 * The world of the probe tests, inside namespaces of its own. Two lines with the same gateway address, told apart by the device alone:
 *
 *                    wan-a 192.0.2.2 ──── 192.0.2.1 isp-a  (lo 203.0.113.9)
 *   this namespace ──┤
 *                    wan-b 192.0.2.3 ──── 192.0.2.1 isp-b  (lo 203.0.113.9)
 *
 * `oif` rules as the daemon's layout has them; main's default leads out of wan-b, to tempt the probes of line a.
 */
import { execFileSync, spawn, type ChildProcessByStdio } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import type { Readable, Writable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { Family, Instant, Method, ProbeLine, ProbeOrder, Target } from '../../src/model.js';
import type { ProbeReport, Prober } from '../../src/ports.js';
import { openProber } from '../../src/probes/prober.js';
import { inNetns } from '../lab/netns.js';
import { deadline } from '../lab/wait.js';

export const GATEWAY = '192.0.2.1';
export const FAR = '203.0.113.9';
export type Side = 'a' | 'b';
const answerers = new Map<Side, ChildProcessByStdio<Writable, Readable, null>>();
/** How long to wait where nothing is to come. What is to come is waited for until the deadline. */
export const SILENCE_MS = 250;
/** Looking takes processor time that others want. */
const SELDOM_MS = 20;
/** IPv6 addresses are usable at once, without two seconds of duplicate address detection. */
const ACCEPT_DAD = '/proc/sys/net/ipv6/conf/default/accept_dad';

export function buildWorld(): void {
  execFileSync('mount', ['-t', 'tmpfs', 'tmpfs', '/run']);
  ip('link set lo up', 'netns add isp-a', 'netns add isp-b');
  writeFileSync(ACCEPT_DAD, '0');
  for (const side of ['a', 'b'] as const) {
    inNetns(`isp-${side}`, () => writeFileSync(ACCEPT_DAD, '0'));
    addLine(side);
    ip(`rule add pref ${side === 'a' ? 100 : 101} oif wan-${side} lookup ${table(side)}`);
  }
  ip(`route add default via ${GATEWAY} dev wan-b`);
}

/** The line's two ends, and the routes in its table; also after `cut`. */
export function addLine(side: Side): void {
  const dev = `wan-${side}`;
  ip(
    `link add ${dev} type veth peer name eth0 netns isp-${side}`,
    `addr add 192.0.2.${side === 'a' ? 2 : 3}/24 dev ${dev}`,
    `link set ${dev} up`,
  );
  ispIp(side, 'link set lo up', `addr replace ${FAR}/32 dev lo`, `addr add ${GATEWAY}/24 dev eth0`, 'link set eth0 up');
  addRoutes(side);
  // The kernel may take its time until the cable is plugged in for both of its ends; what is sent before is lost.
  for (const endAt = now() + deadline(); now() < endAt && !(isUp(dev) && inNetns(`isp-${side}`, () => isUp('eth0'))); );
}

function isUp(device: string): boolean {
  return execFileSync('ip', ['-o', 'link', 'show', 'dev', device], { encoding: 'utf8' }).includes(' state UP ');
}

export function addRoutes(side: Side): void {
  ip(`route replace 192.0.2.0/24 dev wan-${side} table ${table(side)}`, `route replace default via ${GATEWAY} dev wan-${side} onlink table ${table(side)}`);
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

/** Echo requests that reached this ISP's kernel, whether it answers or not. */
export function echoesAt(side: Side, family: Family = 4): number {
  const read = (name: string): string => inNetns(`isp-${side}`, () => readFileSync(`/proc/self/net/${name}`, 'utf8'));
  if (family === 6) return Number(read('snmp6').match(/^Icmp6InEchos\s+(\d+)/m)?.[1]);
  const [names, values] = read('snmp').split('\n').filter((line) => line.startsWith('Icmp:'));
  return Number(values?.split(' ')[names?.split(' ').indexOf('InEchos') ?? -1]);
}

/** The ISP's kernel falls silent, and answerer.ts plays the given answers instead, the same ones for every request. */
export async function answerBy(side: Side, ...answers: readonly string[]): Promise<void> {
  ignoreEchoes(side, true);
  const answerer = answerers.get(side) ?? startAnswerer(side);
  answerers.set(side, answerer);
  const ready = once(answerer.stdout, 'data');
  answerer.stdin.write(`${answers.join(' ')}\n`);
  await ready;
}

/** The ISP's kernel answers again, and nobody else. */
export async function answerByKernel(side: Side): Promise<void> {
  await answerBy(side);
  ignoreEchoes(side, false);
}

export function ignoreEchoes(side: Side, ignored: boolean, family: Family = 4): void {
  const path = family === 4 ? 'ipv4/icmp_echo_ignore_all' : 'ipv6/icmp/echo_ignore_all';
  inNetns(`isp-${side}`, () => writeFileSync(`/proc/sys/net/${path}`, ignored ? '1' : '0'));
}

/** Ends with the process namespace. */
function startAnswerer(side: Side): ChildProcessByStdio<Writable, Readable, null> {
  const script = fileURLToPath(new URL('./answerer.js', import.meta.url));
  return inNetns(`isp-${side}`, () => spawn(process.execPath, [script], { stdio: ['pipe', 'pipe', 'inherit'] }));
}

export function line(side: Side, change: Partial<ProbeLine> = {}): ProbeLine {
  return { uplink: side, family: 4, interface: `wan-${side}`, ifindex: indexOf(`wan-${side}`), source: side === 'a' ? '192.0.2.2' : '192.0.2.3', gateway: GATEWAY, mark: 0, ...change };
}

/** The same device's line in IPv6. */
export function line6(side: Side, change: Partial<ProbeLine> = {}): ProbeLine {
  return line(side, { family: 6, source: '', gateway: 'fe80::1', ...change });
}

export function targetOf(method: Method, id = `${method.kind} ${method.host}`): Target {
  return { id, families: [4, 6], intervalMs: undefined, ...method };
}

export function icmp(host: string, sizeBytes = 0): Method {
  return { kind: 'icmp', host, sizeBytes };
}

export function indexOf(device: string): number {
  const links = JSON.parse(execFileSync('ip', ['-j', 'link', 'show', 'dev', device], { encoding: 'utf8' })) as readonly { readonly ifindex: number }[];
  return links[0]?.ifindex ?? 0;
}

export function now(): Instant {
  return (Number(process.hrtime.bigint()) / 1e6) as Instant;
}

/** A prober and everything that it reported. */
export interface Listener {
  readonly prober: Prober;
  readonly facts: ProbeReport[];
  /** Sends and waits for its fact: `reply`, the error of `lost`, or `silence`. Where silence is expected, say SILENCE_MS. */
  ask(side: string, address: string, withinMs?: number, method?: Method): Promise<string>;
  /** In the family of the address (IPv4 for what is none); by ICMP echo if nothing else is said. */
  send(side: string, address: string, method?: Method): ProbeOrder;
  factOf(order: ProbeOrder): ProbeReport | undefined;
}

export function listen(): Listener {
  const facts: ProbeReport[] = [];
  const prober = openProber({ now, report: (fact) => facts.push(fact) });
  let seq = 0;
  const listener: Listener = {
    prober,
    facts,
    send(side, address, method = icmp(address)) {
      const order: ProbeOrder = { uplink: side, family: address.includes(':') ? 6 : 4, target: targetOf(method), address, seq: ++seq };
      prober.send(order);
      return order;
    },
    factOf: (order) => facts.find((fact) => fact.uplink === order.uplink && fact.seq === order.seq),
    async ask(side, address, withinMs = deadline(), method) {
      const order = listener.send(side, address, method);
      await until(() => listener.factOf(order) !== undefined, withinMs);
      const fact = listener.factOf(order);
      return fact === undefined ? 'silence' : fact.type === 'reply' ? 'reply' : fact.error;
    },
  };
  return listener;
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

/** The raw ICMP sockets of this namespace, as the kernel lists them. */
export function rawSockets(): readonly string[] {
  return readFileSync('/proc/self/net/raw', 'utf8').trim().split('\n').slice(1);
}

function table(side: Side): number {
  return side === 'a' ? 101 : 102;
}
