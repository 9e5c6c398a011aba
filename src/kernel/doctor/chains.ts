/**
 * The packet filter of the machine as plain data, whoever wrote it: chains of rules, told apart by what they ask of a packet.
 * Conditions that are not modelled (addresses, ports, limits, sets) are `other`: nobody knows whether they fit.
 *
 * Marks: which bits a rule writes or reads, so that two programs that share bits are found.
 */
import type { Family } from '../../model.js';
import { COUNT_TABLE, NFT_TABLE } from '../nat/nft-text.js';

export type Condition =
  /** Interface names; a trailing `*` fits every rest. */
  | { readonly is: 'in' | 'out'; readonly names: readonly string[]; readonly not: boolean }
  /** `new`, `established`, ... */
  | { readonly is: 'state'; readonly states: readonly string[]; readonly not: boolean }
  | { readonly is: 'dnat'; readonly not: boolean }
  | { readonly is: 'family'; readonly family: Family }
  /** The way back to the sender is by the device that the packet came in by (`strict`), or there is one; `not`: it is not. */
  | { readonly is: 'way back'; readonly strict: boolean; readonly not: boolean }
  | { readonly is: 'other' };

export type Verdict =
  | { readonly to: 'accept' | 'drop' | 'return' | 'none' }
  | { readonly to: 'jump' | 'goto'; readonly chain: string };

export interface MarkUse {
  readonly what: 'writes' | 'reads';
  readonly bits: number;
  /** What is written or compared, in words: `MARK --set-xmark 0x1/0x1`. */
  readonly words: string;
}

export interface FilterRule {
  readonly conditions: readonly Condition[];
  readonly verdict: Verdict;
  readonly marks: readonly MarkUse[];
  /** `sip`: connection tracking helper that it gives to a connection, else ''. */
  readonly helper: string;
}

export interface FilterChain {
  readonly tool: 'nft' | 'iptables';
  /** `inet`, `ip`, `ip6`. */
  readonly family: string;
  readonly table: string;
  readonly name: string;
  /** `forward`, `prerouting`, ...; '' = only other chains lead here. */
  readonly hook: string;
  readonly type: string;
  readonly drops: boolean;
  readonly rules: readonly FilterRule[];
}

/** A packet to try on the chains. */
export interface Specimen {
  readonly family: Family;
  readonly from: string;
  readonly to: string;
  readonly state: 'new' | 'established';
}

export interface Fate {
  /** The chain lets it pass, for certain or perhaps. */
  readonly accept: boolean;
  readonly drop: boolean;
}

/** nft: our own tables; iptables: our own chains. */
export function isOurs({ table, name }: Pick<FilterChain, 'table' | 'name'>): boolean {
  return table === NFT_TABLE || table === COUNT_TABLE || name.startsWith('UPLINKD_');
}

export function hears(chain: FilterChain, family: Family): boolean {
  return chain.family === 'inet' || chain.family === (family === 4 ? 'ip' : 'ip6');
}

/** What a base chain makes of a packet that was not DNATed. Both = it depends on what is not modelled. */
export function fateIn(base: FilterChain, chains: readonly FilterChain[], packet: Specimen): Fate {
  const { accept, drop, through } = walkFrom(base, chains, packet);
  return { accept: accept || (through && !base.drops), drop: drop || (through && base.drops) };
}

/**
 * Does a chain of somebody else decide which of these packets get through? One that drops none of them (it offloads, counts, logs, accepts), or
 * some that it knows by name and lets all others pass (a list of evil addresses), leaves that to others.
 */
export function decides(base: FilterChain, chains: readonly FilterChain[], packets: readonly Specimen[]): boolean {
  return base.drops || packets.filter(({ family }) => hears(base, family)).some((packet) => {
    const { accept, drop, through } = walkFrom(base, chains, packet);
    return drop && (accept || !through);
  });
}

/** Does a rule of the chain, not its policy, perhaps accept one of these packets? */
export function accepts(base: FilterChain, chains: readonly FilterChain[], packets: readonly Specimen[]): boolean {
  return packets.some((packet) => hears(base, packet.family) && walkFrom(base, chains, packet).accept);
}

interface Passage extends Fate {
  /** It comes out at the end, or by a return. */
  readonly through: boolean;
}

function walkFrom(base: FilterChain, chains: readonly FilterChain[], packet: Specimen): Passage {
  const siblings = new Map(chains.filter((c) => c.tool === base.tool && c.family === base.family && c.table === base.table).map((c) => [c.name, c]));
  return walk(base, siblings, packet, new Map());
}

/** @param seen what is known of a chain already; a loop, which the kernel forbids, lets pass */
function walk(chain: FilterChain, chains: ReadonlyMap<string, FilterChain>, packet: Specimen, seen: Map<string, Passage>): Passage {
  const known = seen.get(chain.name);
  if (known !== undefined) return known;
  seen.set(chain.name, { accept: false, drop: false, through: true });
  let [accept, drop, through] = [false, false, false];
  const done = (): Passage => {
    const passage = { accept, drop, through };
    seen.set(chain.name, passage);
    return passage;
  };
  for (const { conditions, verdict } of chain.rules) {
    const answers = conditions.map((condition) => fits(condition, packet));
    if (answers.includes('no') || verdict.to === 'none') continue;
    const certain = !answers.includes('perhaps');
    if (verdict.to === 'return') through = true;
    else if (verdict.to === 'accept') accept = true;
    else if (verdict.to === 'drop') drop = true;
    else if ('chain' in verdict) {
      const target = chains.get(verdict.chain);
      const inside = target === undefined ? { accept: false, drop: false, through: true } : walk(target, chains, packet, seen);
      accept ||= inside.accept;
      drop ||= inside.drop;
      if (verdict.to === 'goto') through ||= inside.through;
      else if (inside.through) continue;
    }
    if (certain) return done();
  }
  through = true;
  return done();
}

function fits(condition: Condition, packet: Specimen): 'yes' | 'no' | 'perhaps' {
  switch (condition.is) {
    case 'in':
      return yesNo(condition.names.some((name) => isNamed(packet.from, name)) !== condition.not);
    case 'out':
      return yesNo(condition.names.some((name) => isNamed(packet.to, name)) !== condition.not);
    case 'state':
      return yesNo(condition.states.includes(packet.state) !== condition.not);
    case 'dnat':
      return yesNo(condition.not);
    case 'family':
      return yesNo(condition.family === packet.family);
    case 'way back':
    case 'other':
      return 'perhaps';
  }
}

function isNamed(name: string, pattern: string): boolean {
  return pattern.endsWith('*') ? name.startsWith(pattern.slice(0, -1)) : name === pattern;
}

function yesNo(answer: boolean): 'yes' | 'no' {
  return answer ? 'yes' : 'no';
}
