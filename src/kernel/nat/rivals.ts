/**
 * Who else rules forwarding on this machine: base chains of others on the forward hook that drop by policy or hold rules
 * (docker, firewalld, ufw, libvirt, the user's own). `forwarding.firewall: auto` stays off where there are any.
 *
 * A FORWARD chain that is empty and accepts is no firewall: iptables-nft leaves one behind whenever somebody looks.
 */
import { readFile } from 'node:fs/promises';
import { run } from '../spawn.js';
import { CHAIN_PREFIX } from './iptables-chains.js';
import { COUNT_TABLE, NFT_TABLE } from './nft-text.js';

export interface Rival {
  /** `table ip filter, chain FORWARD (policy drop)`. */
  readonly where: string;
  /** Drops what it does not accept; in nftables nobody else's accept overrules that. */
  readonly dropsByPolicy: boolean;
  /** The chain that iptables calls FORWARD; a rule appended there comes before its policy. */
  readonly isIptablesForward: boolean;
}

/** Empty where nothing can be read: then there is no firewall program either. */
export async function forwardRivals(): Promise<readonly Rival[]> {
  const nft = await run('nft', ['list', 'chains']);
  const native = await Promise.all(forwardChains(nft.stdout).map(nativeRival));
  const saved = [...(await legacySaves()), ...(nft.missing ? [(await run('iptables-save', ['-t', 'filter'])).stdout] : [])];
  return [...native, ...saved.map(savedRival)].filter((rival) => rival !== undefined);
}

interface ForwardChain {
  readonly family: string;
  readonly table: string;
  readonly chain: string;
  readonly drops: boolean;
}

/** Base chains on the forward hook of IP packets, ours left out. */
function forwardChains(listing: string): ForwardChain[] {
  const found: ForwardChain[] = [];
  let [family, table, chain] = ['', '', ''];
  for (const line of listing.split('\n')) {
    const [word = '', second = '', third = ''] = line.trim().split(' ');
    if (word === 'table') [family, table] = [second, third];
    else if (word === 'chain') chain = second;
    else if (word === 'type' && line.includes(' hook forward ') && ['ip', 'ip6', 'inet'].includes(family) && table !== NFT_TABLE && table !== COUNT_TABLE) {
      found.push({ family, table, chain, drops: line.includes('policy drop') });
    }
  }
  return found;
}

async function nativeRival({ family, table, chain, drops }: ForwardChain): Promise<Rival | undefined> {
  const listing = await run('nft', ['list', 'chain', family, table, chain]);
  const ours = new RegExp(`jump ${CHAIN_PREFIX}\\w+$`);
  const rules = listing.stdout.split('\n').map((line) => line.trim()).filter((line) => !/^(#|table |chain |type |}|$)/.test(line) && !ours.test(line));
  if (!drops && rules.length === 0) return undefined;
  return { where: `table ${family} ${table}, chain ${chain}${drops ? ' (policy drop)' : ''}`, dropsByPolicy: drops, isIptablesForward: chain === 'FORWARD' && table === 'filter' };
}

/** What nft cannot see. Only tables that are loaded already: listing an absent one would load it. */
async function legacySaves(): Promise<string[]> {
  const texts: string[] = [];
  for (const [names, program] of [['/proc/net/ip_tables_names', 'iptables'], ['/proc/net/ip6_tables_names', 'ip6tables']] as const) {
    // The file is not there, or not for us to read, when the legacy module is not loaded.
    const loaded = await readFile(names, 'utf8').catch(() => '');
    if (!loaded.split('\n').includes('filter')) continue;
    const saved = await run(`${program}-legacy-save`, ['-t', 'filter']);
    texts.push(saved.missing ? (await run(`${program}-save`, ['-t', 'filter'])).stdout : saved.stdout);
  }
  return texts;
}

function savedRival(saved: string): Rival | undefined {
  const lines = saved.split('\n');
  const drops = lines.some((line) => line.startsWith(':FORWARD DROP'));
  const rules = lines.filter((line) => line.startsWith('-A FORWARD ') && !line.startsWith(`-A FORWARD -j ${CHAIN_PREFIX}`));
  if (!drops && rules.length === 0) return undefined;
  return { where: `iptables chain FORWARD${drops ? ' (policy DROP)' : ''}`, dropsByPolicy: drops, isIptablesForward: true };
}
