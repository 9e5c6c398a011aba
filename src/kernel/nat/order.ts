/**
 * Which backend `auto` tries first. nftables costs less per packet (decision 20), and where iptables is the variant that writes nftables rules the
 * machine has both in one place. iptables comes first where it is the legacy one, and where rules of the user need its order: what he accepts
 * or translates before our jump is his there, while our own nftables chains come before all of his, and a drop in them is final.
 */
import { accepts, isOurs, type Specimen } from '../doctor/chains.js';
import { chainsOfSave } from '../doctor/iptables-chains.js';
import { run } from '../spawn.js';
import type { IptablesProgram } from './iptables.js';
import { CHAIN_PREFIX } from './iptables-chains.js';
import type { NatRules } from './rules.js';

/** Targets that leave the packet's addresses to who comes next; masquerade does what we do. */
const NO_VERDICT: readonly string[] = ['', 'MASQUERADE', 'RETURN', 'LOG', 'NFLOG', 'MARK', 'CONNMARK', 'TRACE'];

/** @param rules as they will be written: with LAN interfaces only where the forward firewall is ours */
export async function prefersNftables(program: IptablesProgram, rules: NatRules): Promise<boolean> {
  const version = await run(program, ['-V']);
  if (!version.ok || !version.stdout.includes('(nf_tables)')) return false;
  const programs = [program, program.replace('iptables', 'ip6tables')];
  const saved = await Promise.all(programs.map((each) => run(`${each}-save`, [])));
  return !saved.some(({ stdout }, i) => needsOrder(stdout, i === 0 ? 4 : 6, rules));
}

/** @param saved by iptables-save */
export function needsOrder(saved: string, family: 4 | 6, { lines, lanInterfaces }: Pick<NatRules, 'lines' | 'lanInterfaces'>): boolean {
  const uplinks = lines.map((line) => line.interface);
  return translates(tableIn(saved, 'nat'), uplinks) || letsIn(tableIn(saved, 'filter'), family, uplinks, lanInterfaces);
}

/** A rule that decides about addresses of what may leave an uplink, in POSTROUTING or where it leads. */
function translates(rules: readonly string[], uplinks: readonly string[]): boolean {
  const seen = new Set<string>();
  const decides = (chain: string): boolean => {
    if (seen.has(chain) || chain.startsWith(CHAIN_PREFIX)) return false;
    seen.add(chain);
    return rules.some((rule) => {
      const [, name = '', conditions = ''] = /^-A (\S+) ?(.*)$/.exec(rule) ?? [];
      const [, target = ''] = / -[jg] (\S+)/.exec(` ${conditions}`) ?? [];
      const [, not, device] = /(! )?-o (\S+)/.exec(conditions) ?? [];
      const leavesElsewhere = device !== undefined && not === undefined && !uplinks.some((uplink) => isNamed(uplink, device));
      if (name !== chain || leavesElsewhere) return false;
      if (rules.some((other) => other.startsWith(`-A ${target} `))) return decides(target);
      return target === 'RETURN' ? chain === 'POSTROUTING' : !NO_VERDICT.includes(target) && !target.startsWith(CHAIN_PREFIX);
    });
  };
  return decides('POSTROUTING');
}

/** A rule that accepts what our forward firewall is to drop. */
function letsIn(rules: readonly string[], family: 4 | 6, uplinks: readonly string[], lans: readonly string[]): boolean {
  const chains = chainsOfSave(['*filter', ...rules].join('\n'), family === 4 ? 'ip' : 'ip6').filter((chain) => !isOurs(chain));
  const base = chains.find(({ hook }) => hook === 'forward');
  const strangers = uplinks.flatMap((from) => lans.map((to): Specimen => ({ family, from, to, state: 'new' })));
  return base !== undefined && accepts(base, chains, strangers);
}

function tableIn(saved: string, table: string): readonly string[] {
  const [, text = ''] = new RegExp(`^\\*${table}\\n([^]*?)^COMMIT`, 'm').exec(saved) ?? [];
  return text.split('\n');
}

function isNamed(name: string, pattern: string): boolean {
  return pattern.endsWith('+') ? name.startsWith(pattern.slice(0, -1)) : name === pattern;
}
