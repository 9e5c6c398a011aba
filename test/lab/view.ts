/**
 * The kernel of one host as text that can be compared: routes by table, rules, packet filters, connection marks. What changes by itself
 * (counters, handles, timers, packet counts) is left out; order is the kernel's where it means something, sorted where it does not.
 */
import type { Family } from '../../src/model.js';
import type { Anchor } from './anchor.js';

export interface KernelView {
  /** `9410: from all oif isp0 lookup 9401 proto 147`, in order of preference. */
  readonly rules: readonly string[];
  /** Table name or number → routes in the kernel's order; `local` and multicast are left out. */
  readonly tables: Readonly<Record<string, readonly string[]>>;
  /** The routes of main. */
  readonly main: readonly string[];
  /** Our ACTIVE table, 9400. */
  readonly active: readonly string[];
  /** `nft list ruleset`, iptables-nft included, without counters. */
  readonly nft: readonly string[];
  /** `iptables-save`, `ip6tables-save`; empty where iptables is not installed. */
  readonly iptables: readonly string[];
  /** `17 × udp mark=128 ASSURED`: connections counted by protocol, mark and state, sorted. */
  readonly flows: readonly string[];
  /** All of the above as one text with headings. */
  readonly text: string;
}

/** @param family of the rules and routes */
export async function viewKernel(anchor: Anchor, host: string, family: Family): Promise<KernelView> {
  const [rules, routes, nft, iptables, conntrack] = await Promise.all([
    anchor.text(host, ['ip', `-${family}`, 'rule']),
    anchor.text(host, ['ip', `-${family}`, 'route', 'show', 'table', 'all']),
    anchor.text(host, ['nft', '-s', 'list', 'ruleset']),
    // env tells a missing program by exit code 127
    anchor.run(host, ['env', family === 4 ? 'iptables-save' : 'ip6tables-save']),
    anchor.run(host, ['conntrack', '-L', '-f', `ipv${family}`]),
  ]);
  const tables = routesByTable(routes);
  const view = {
    rules: linesOf(rules),
    tables,
    main: tables['main'] ?? [],
    active: tables['9400'] ?? [],
    nft: linesOf(nft),
    iptables: linesOf(iptables.stdout).filter((line) => !line.startsWith('#')).map((line) => line.replace(/ ?\[\d+:\d+\]/, '')),
    flows: flowsOf(conntrack.stdout),
  };
  return { ...view, text: textOf(host, view) };
}

function routesByTable(text: string): Record<string, readonly string[]> {
  const tables: Record<string, string[]> = {};
  for (const raw of joinedHops(text)) {
    const table = / table (\S+)/.exec(raw)?.[1] ?? 'main';
    if (table === 'local' || /^(multicast|anycast) |^ff00::/.test(raw)) continue;
    (tables[table] ??= []).push(raw.replace(/ table \S+/, ''));
  }
  return tables;
}

/** A multipath route stands on several lines, its hops indented. */
function joinedHops(text: string): readonly string[] {
  return linesOf(text.replace(/\n\s+nexthop/g, ' nexthop'));
}

function flowsOf(conntrack: string): readonly string[] {
  const counts = new Map<string, number>();
  for (const line of linesOf(conntrack)) {
    const protocol = line.split(' ')[0] ?? '';
    const mark = / mark=(\d+)/.exec(line)?.[1] ?? '0';
    const state = /\[UNREPLIED\]/.test(line) ? 'UNREPLIED' : /\[ASSURED\]/.test(line) ? 'ASSURED' : 'SEEN';
    const tcp = /^tcp \d+ (?:\d+ )?([A-Z_]+)/.exec(line)?.[1];
    const key = `${protocol} mark=${mark} ${tcp === undefined ? state : `${tcp} ${state}`}`;
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  return [...counts].map(([key, count]) => `${count} × ${key}`).sort();
}

function linesOf(text: string): readonly string[] {
  return text.split('\n').map((line) => line.replace(/\s+/g, ' ').trim()).filter((line) => line !== '');
}

function textOf(host: string, view: Omit<KernelView, 'text'>): string {
  const sections: readonly (readonly [string, readonly string[]])[] = [
    ['rules', view.rules],
    ...Object.entries(view.tables).map(([table, routes]): [string, readonly string[]] => [`table ${table}`, routes]),
    ['nft', view.nft],
    ['iptables', view.iptables],
    ['flows', view.flows],
  ];
  return sections.map(([title, lines]) => [`== ${host}: ${title}`, ...lines.map((line) => `  ${line}`)].join('\n')).join('\n');
}
