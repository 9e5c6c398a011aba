/**
 * What the doctor's tests share: a question about two uplinks and a LAN, and made-up machines: trees of files with the answers of programs.
 */
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { TestContext } from 'node:test';
import type { System } from '../../src/kernel/doctor/machine.js';
import type { Question } from '../../src/kernel/doctor/scene.js';
import type { Survey } from '../../src/kernel/netlink/survey.js';
import type { Ran } from '../../src/kernel/spawn.js';
import type { Address, Family, Finding, HealthPolicy, KernelFacts, Link, Policy, Route, UplinkPolicy } from '../../src/model.js';

const QUALITY: HealthPolicy['quality'] = { lossPercent: { down: 20, up: 5 }, latencyMs: { down: 500, up: 300 }, jitterMs: { down: Infinity, up: Infinity }, windowMs: 30_000 };

export const NOTHING: Survey = { rules: [], routes: [], defaults: [] };

export function uplink(name: string, device: string, slot: number, more: Partial<UplinkPolicy> = {}): UplinkPolicy {
  return {
    name, slot, interface: device, match: undefined, gateways: { 4: 'auto', 6: 'auto' }, priority: slot, weight: 1, metered: false,
    translate: { 4: { kind: 'masquerade' }, 6: { kind: 'masquerade' } }, prefix6: '', mss: 'auto',
    probe: { intervalMs: 1000, timeoutMs: 'auto', timeoutMinMs: 100, timeoutMaxMs: 1000, targets: [], quorum: 1, rotate: 0, budgetBytes: undefined, passive: false },
    health: { suspect: { failures: 1, burst: 3 }, down: { afterMs: 2000 }, up: { successes: 5 }, quality: QUALITY, damping: { halfLifeMs: 300_000, suppress: 3, reuse: 1 } },
    ...more,
  };
}

export function policyOf(uplinks: readonly UplinkPolicy[], more: Partial<Policy> = {}): Policy {
  return {
    uplinks, policies: [], flows: [], lanInterfaces: ['lan0'], routed: [],
    failback: { mode: 'automatic', holdMs: 30_000, flows: 'keep', drainMs: 0 },
    nat: { backend: 'auto' }, forwarding: { firewall: 'auto' }, stop: 'keep', markMask: 0x3f80, ...more,
  };
}

export function link(index: number, name: string, more: Partial<Link> = {}): Link {
  return { index, name, adminUp: true, carrier: true, mtu: 1500, mac: `02:00:00:00:00:0${index}`, permanentMac: '', path: '', altNames: [], ...more };
}

export function address(ifindex: number, cidr: string): Address {
  const [ip = '', length] = cidr.split('/');
  return { family: ip.includes(':') ? 6 : 4, ifindex, address: ip, prefixLength: Number(length), peer: '', scope: 0, deprecated: false, protocol: 0 };
}

export function defaultRoute(family: Family, ifindex: number, via: string, metric: number, protocol: number, table = 254): Route {
  return { family, table, destination: 'default', metric, protocol, scope: 0, source: '', hops: [{ ifindex, via, weight: 1, onlink: true }] };
}

/** lan0, wan0 (fibre, slot 1), wan1 (cable, slot 2), IPv4. */
export function question(more: { policy?: Partial<Policy>; facts?: Partial<KernelFacts>; survey?: Partial<Survey> } = {}): Question {
  const policy = policyOf([uplink('fibre', 'wan0', 1), uplink('cable', 'wan1', 2)], more.policy);
  const facts: KernelFacts = {
    links: [link(2, 'lan0'), link(3, 'wan0'), link(4, 'wan1')],
    addresses: [address(2, '10.0.0.1/24'), address(3, '198.51.100.2/24'), address(4, '203.0.113.2/24')],
    routes: [defaultRoute(4, 3, '198.51.100.1', 30, 147), defaultRoute(4, 4, '203.0.113.1', 31, 147), defaultRoute(4, 3, '198.51.100.1', 0, 147, 9401), defaultRoute(4, 4, '203.0.113.1', 0, 147, 9402)],
    rules: [], foreignDefaults: [], foreignRoutes: [], ...more.facts,
  };
  return { policy, facts, survey: { ...NOTHING, ...more.survey } };
}

/** The sysctls of a machine that is well. */
const WELL: Readonly<Record<string, string>> = {
  'net/ipv4/ip_forward': '1', 'net/ipv4/conf/all/rp_filter': '0', 'net/ipv4/conf/wan0/rp_filter': '2', 'net/ipv4/conf/wan1/rp_filter': '2',
  'net/ipv4/conf/wan0/ignore_routes_with_linkdown': '1', 'net/ipv4/conf/wan1/ignore_routes_with_linkdown': '1', 'net/ipv4/tcp_mtu_probing': '0',
  'net/netfilter/nf_conntrack_count': '10', 'net/netfilter/nf_conntrack_max': '262144', 'net/netfilter/nf_conntrack_tcp_loose': '1',
};

export interface MadeUp {
  readonly files?: Readonly<Record<string, string>>;
  readonly links?: Readonly<Record<string, string>>;
  readonly sysctls?: Readonly<Record<string, string>>;
  /** Command lines of processes, started so many seconds ago. */
  readonly processes?: readonly { readonly words: readonly string[]; readonly ageS?: number; readonly net?: string }[];
  /** What `program arguments` prints; other programs are not installed. */
  readonly prints?: Readonly<Record<string, string>>;
}

/** A machine that is well but for what is said. */
export function madeUp(t: TestContext, made: MadeUp = {}): System {
  const root = mkdtempSync(join(tmpdir(), 'uplinkd-doctor-'));
  t.after(() => rmSync(root, { recursive: true }));
  const put = (path: string, text: string): void => {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  };
  const point = (path: string, target: string): void => {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    symlinkSync(target, join(root, path));
  };
  for (const [path, value] of Object.entries({ ...WELL, ...made.sysctls })) put(`/proc/sys/${path}`, `${value}\n`);
  for (const [path, text] of Object.entries(made.files ?? {})) put(path, text);
  for (const [path, target] of Object.entries(made.links ?? {})) point(path, target);
  put('/proc/uptime', '1000.00 3000.00\n');
  point('/proc/self/ns/net', 'net:[1]');
  (made.processes ?? []).forEach(({ words, ageS = 900, net = 'net:[1]' }, at) => {
    const pid = 100 + at;
    put(`/proc/${pid}/cmdline`, `${words.join('\0')}\0`);
    put(`/proc/${pid}/stat`, `${pid} (a (b) c) S ${'0 '.repeat(18)}${(1000 - ageS) * 100} 0\n`);
    point(`/proc/${pid}/ns/net`, net);
  });
  const run = (program: string, args: readonly string[]): Promise<Ran> => {
    const stdout = made.prints?.[[program, ...args].join(' ')];
    return Promise.resolve(stdout === undefined ? { ok: false, missing: true, stdout: '', error: `${program} is not installed` } : { ok: true, missing: false, stdout, error: '' });
  };
  return { root, run, pid: 1 };
}

/** `level subject: text`, without the summary. */
export function told(findings: readonly Finding[]): readonly string[] {
  return findings.filter((finding) => finding.level !== 'ok').map((finding) => `${finding.level} ${finding.subject}: ${finding.text}`);
}

export function only(findings: readonly Finding[], subject: string): Finding {
  const found = findings.filter((finding) => finding.subject === subject && finding.level !== 'ok');
  if (found.length !== 1) throw new Error(`${found.length} findings about ${subject}:\n${told(findings).join('\n')}`);
  return found[0]!;
}
