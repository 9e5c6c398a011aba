/**
 * What every look of the doctor is given: the question, the machine, and what several looks need, read once.
 * A look gives the findings of one subject; none = nothing is in the way there.
 */
import { markOf } from '../../core/layout.js';
import type { Family, Finding, KernelFacts, Link, Policy, UplinkPolicy } from '../../model.js';
import type { Survey } from '../netlink/survey.js';
import { chainsOfSave } from './iptables-chains.js';
import type { FilterChain } from './chains.js';
import { openMachine, type Machine, type Process, type System } from './machine.js';
import { chainsOfNft, type Flowtable } from './nft-chains.js';

export interface Question {
  readonly policy: Policy;
  readonly facts: KernelFacts;
  /** What others have put into the kernel's routing beside us. */
  readonly survey: Survey;
  /** Prefixes of IPv6 that lead nowhere, as the core sees it. */
  readonly prefixes?: readonly PrefixTrouble[];
}

export interface PrefixTrouble {
  readonly uplink: string;
  readonly kind: 'written' | 'unknown' | 'small' | 'unanswered';
  /** What the LAN leaves as; '' = the line's own address. */
  readonly prefix: string;
  /** What is delegated now; '' = not known. */
  readonly delegated: string;
  readonly text: string;
}

/** An uplink with its device of now. */
export interface Uplink {
  readonly policy: UplinkPolicy;
  readonly name: string;
  /** As configured where the device is away; '' where it is found by `match` and is away. */
  readonly interface: string;
  readonly link: Link | undefined;
  readonly mark: number;
}

export interface PacketFilter {
  readonly chains: readonly FilterChain[];
  /** Connection tracking helpers that rules or objects name. */
  readonly helpers: readonly string[];
  readonly flowtables: readonly Flowtable[];
  /** Why something of it could not be read. */
  readonly problems: readonly string[];
}

export interface Scene extends Question {
  readonly machine: Machine;
  readonly uplinks: readonly Uplink[];
  readonly processes: readonly Process[];
  readonly filter: PacketFilter;
}

export interface Look {
  readonly subject: string;
  look(scene: Scene): Promise<readonly Finding[]> | readonly Finding[];
}

export async function openScene(question: Question, system: System | undefined): Promise<Scene> {
  const machine = openMachine(system);
  const [processes, filter] = await Promise.all([machine.processes(), readFilter(machine)]);
  return { ...question, machine, processes, filter, uplinks: question.policy.uplinks.map((uplink) => uplinkOf(uplink, question)) };
}

/** Global addresses of a device, the deprecated ones too. */
export function addressesOf(facts: KernelFacts, ifindex: number | undefined, family: Family): KernelFacts['addresses'] {
  return facts.addresses.filter((address) => address.ifindex === ifindex && address.family === family && address.scope === 0);
}

export function linkNamed(facts: KernelFacts, name: string): Link | undefined {
  return facts.links.find((link) => link.name === name || link.altNames.includes(name));
}

/** `a, b and c` */
export function list(words: readonly string[]): string {
  const unique = [...new Set(words)];
  return unique.length < 2 ? unique.join('') : `${unique.slice(0, -1).join(', ')} and ${unique.at(-1)!}`;
}

/** A command that writes a file, as a person would paste it. */
export function fileWith(path: string, lines: readonly string[]): string {
  return [`mkdir -p ${path.slice(0, path.lastIndexOf('/'))}`, `cat > ${path} <<'EOF'`, ...lines, 'EOF'].join('\n');
}

function uplinkOf(policy: UplinkPolicy, { facts, policy: { markMask } }: Question): Uplink {
  const { match } = policy;
  const fits = (link: Link, { mac, path }: NonNullable<typeof match>): boolean =>
    (mac === '' || [link.mac, link.permanentMac].includes(mac.toLowerCase()))
    && (path === '' || link.path === path);
  const link = match === undefined ? linkNamed(facts, policy.interface) : facts.links.find((one) => fits(one, match));
  return { policy, name: policy.name, interface: link?.name ?? policy.interface, link, mark: markOf(policy.slot, markMask) };
}

/** Larger ones would keep the daemon's one thread from its work for too long. */
const LISTING_CHARS_AT_MOST = 8_000_000;

/** Whole rule sets, both kinds. Nothing is asked for that would load or make a table. */
async function readFilter(machine: Machine): Promise<PacketFilter> {
  const problems: string[] = [];
  const ask = async (program: string, ...args: string[]): Promise<string> => {
    const ran = await machine.run(program, args);
    if (!ran.ok && !ran.missing) problems.push(ran.error);
    if (ran.stdout.length <= LISTING_CHARS_AT_MOST) return ran.stdout;
    problems.push(`${program} lists too many rules (${ran.stdout.length} characters)`);
    return '';
  };
  const listing = await ask('nft', '-j', '-t', 'list', 'ruleset');
  const nft = parsed(listing, problems);
  const chains = [...nft.chains];
  for (const { family, table } of nft.iptablesTables) {
    const program = family === 'ip6' ? 'ip6tables' : 'iptables';
    const saved = await ask(`${program}-nft-save`, '-t', table);
    chains.push(...chainsOfSave(saved === '' ? await ask(`${program}-save`, '-t', table) : saved, family));
  }
  for (const [names, program, family] of [['/proc/net/ip_tables_names', 'iptables', 'ip'], ['/proc/net/ip6_tables_names', 'ip6tables', 'ip6']] as const) {
    for (const table of (await machine.read(names)).split('\n').filter((name) => name !== '')) {
      chains.push(...chainsOfSave(await ask(`${program}-legacy-save`, '-t', table), family));
    }
  }
  const byRule = chains.flatMap((chain) => chain.rules.map((rule) => rule.helper)).filter((helper) => helper !== '');
  return { chains, helpers: [...byRule, ...nft.helpers], flowtables: nft.flowtables, problems };
}

function parsed(listing: string, problems: string[]): ReturnType<typeof chainsOfNft> {
  try {
    if (listing.trim() !== '') return chainsOfNft(listing);
  } catch (failure) {
    problems.push(`nft -j answered with something else than JSON (${failure instanceof Error ? failure.message : String(failure)})`);
  }
  return { chains: [], iptablesTables: [], helpers: [], flowtables: [] };
}
