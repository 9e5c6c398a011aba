/**
 * Who else rules forwarding on this machine: base chains of others on the forward hook that decide which strangers get into the LAN
 * (docker, firewalld, ufw, the user's own). `forwarding.firewall: auto` stays off where there are any.
 *
 * Judged by what becomes of a stranger's packet, not by whether there are rules: a chain that offloads flows, counts, logs, accepts, or drops
 * a few addresses that it knows keeps nobody out, and were it taken for a firewall, nobody would.
 */
import { readFile } from 'node:fs/promises';
import type { Family } from '../../model.js';
import { decides, isOurs, type FilterChain, type Specimen } from '../doctor/chains.js';
import { chainsOfSave } from '../doctor/iptables-chains.js';
import { chainsOfNft } from '../doctor/nft-chains.js';
import { run } from '../spawn.js';

export interface Rival {
  /** `table ip filter, chain FORWARD (policy drop)`. */
  readonly where: string;
  /** Drops what it does not accept; in nftables nobody else's accept overrules that. */
  readonly dropsByPolicy: boolean;
  /** The chain that iptables calls FORWARD; a rule appended there comes before its policy. */
  readonly isIptablesForward: boolean;
}

interface ForwardChain {
  readonly family: string;
  readonly table: string;
  readonly chain: string;
  readonly drops: boolean;
}

/** Longer ones would hold up the loop, and nobody writes so many rules who does not rule. */
const LISTING_CHARS_AT_MOST = 2_000_000;

/** Empty where nothing can be read: then there is no firewall program either. */
export async function forwardRivals(uplinks: readonly string[], lans: readonly string[]): Promise<readonly Rival[]> {
  const strangers = ([4, 6] as const).flatMap((family) => uplinks.flatMap((from) => lans.map((to): Specimen => ({ family, from, to, state: 'new' }))));
  const nft = await run('nft', ['list', 'chains']);
  const native = await Promise.all(forwardChains(nft.stdout).map((found) => nativeRival(found, strangers)));
  const saved = [...(await legacySaves()), ...(nft.missing ? [{ family: 4, text: (await run('iptables-save', ['-t', 'filter'])).stdout } as const] : [])];
  return [...native, ...saved.map((each) => savedRival(each, strangers))].filter((rival) => rival !== undefined);
}

/** Base chains on the forward hook of IP packets, ours left out. */
function forwardChains(listing: string): ForwardChain[] {
  const found: ForwardChain[] = [];
  let [family, table, chain] = ['', '', ''];
  for (const line of listing.split('\n')) {
    const [word = '', second = '', third = ''] = line.trim().split(' ');
    if (word === 'table') [family, table] = [second, third];
    else if (word === 'chain') chain = second;
    else if (word === 'type' && line.includes(' hook forward ') && ['ip', 'ip6', 'inet'].includes(family) && !isOurs({ table, name: chain })) {
      found.push({ family, table, chain, drops: line.includes('policy drop') });
    }
  }
  return found;
}

async function nativeRival(found: ForwardChain, strangers: readonly Specimen[]): Promise<Rival | undefined> {
  const { family, table, chain, drops } = found;
  if (!drops && !(await isDeciding(found, strangers))) return undefined;
  return { where: `table ${family} ${table}, chain ${chain}${drops ? ' (policy drop)' : ''}`, dropsByPolicy: drops, isIptablesForward: chain === 'FORWARD' && table === 'filter' };
}

async function isDeciding({ family, table, chain }: ForwardChain, strangers: readonly Specimen[]): Promise<boolean> {
  const chains = await chainsOfTable(family, table);
  const base = chains?.find(({ name, hook, type }) => name === chain && hook === 'forward' && type === 'filter');
  if (chains === undefined) return true;
  return base !== undefined && decides(base, withoutOurs(chains), strangers);
}

/** undefined = too long to be read. */
async function chainsOfTable(family: string, table: string): Promise<readonly FilterChain[] | undefined> {
  const listed = await run('nft', ['-j', '-t', 'list', 'table', family, table]);
  if (listed.stdout.length > LISTING_CHARS_AT_MOST) return undefined;
  const nft = listed.ok ? chainsOfNft(listed.stdout) : { chains: [], iptablesTables: [] };
  if (nft.iptablesTables.length === 0) return nft.chains;
  const program = family === 'ip6' ? 'ip6tables' : 'iptables';
  const saved = await run(`${program}-nft-save`, ['-t', table]);
  return chainsOfSave(saved.missing ? (await run(`${program}-save`, ['-t', table])).stdout : saved.stdout, family);
}

/** What nft cannot see. Only tables that are loaded already: listing an absent one would load it. */
async function legacySaves(): Promise<{ readonly family: Family; readonly text: string }[]> {
  const texts: { readonly family: Family; readonly text: string }[] = [];
  for (const [names, program, family] of [['/proc/net/ip_tables_names', 'iptables', 4], ['/proc/net/ip6_tables_names', 'ip6tables', 6]] as const) {
    // The file is not there, or not for us to read, when the legacy module is not loaded.
    const loaded = await readFile(names, 'utf8').catch(() => '');
    if (!loaded.split('\n').includes('filter')) continue;
    const saved = await run(`${program}-legacy-save`, ['-t', 'filter']);
    texts.push({ family, text: saved.missing ? (await run(`${program}-save`, ['-t', 'filter'])).stdout : saved.stdout });
  }
  return texts;
}

function savedRival({ family, text }: { readonly family: Family; readonly text: string }, strangers: readonly Specimen[]): Rival | undefined {
  const chains = chainsOfSave(text, family === 4 ? 'ip' : 'ip6');
  const base = chains.find(({ hook }) => hook === 'forward');
  if (base === undefined || !decides(base, withoutOurs(chains), strangers)) return undefined;
  return { where: `iptables chain FORWARD${base.drops ? ' (policy DROP)' : ''}`, dropsByPolicy: base.drops, isIptablesForward: true };
}

/** A jump to a chain that is not there lets pass. */
function withoutOurs(chains: readonly FilterChain[]): readonly FilterChain[] {
  return chains.filter((chain) => !isOurs(chain));
}
