/**
 * What both backends are asked for, and what a backend is.
 *
 * Rules match interfaces by NAME, so they stand ready for every configured uplink whether it is up or not and survive the
 * device being deleted and made again. Their effect, the same in iptables and nftables and in both families:
 *
 *   translate   whatever is routed out of an uplink gets the uplink's address, unless its line says otherwise; sources in `routed` never do
 *   leave be    what an IPsec policy takes (it has to keep the addresses that the policy names, and leaves as somebody else's packet), and what
 *               an uplink that is a bridge passes from port to port: neither translated nor stamped
 *   stamp       a connection carries the mark of the uplink that it first left or came in by, until it is forgotten. Were it stamped
 *               anew as it moves, a running flow would escape those who look for the connections of the uplink that died: with a
 *               fixed translation it would go on under the dead uplink's address for ever
 *   restore     packets that did not arrive by an uplink, and the router's own, get the mark of their connection, so that
 *               they are routed by the uplink's own table. Never on packets that arrive by an uplink: a reply towards the LAN
 *               would be sent back out
 *   classify    the first packets of a connection that is not stamped yet get the class mark of the first policy that fits, after
 *               everybody who marks packets in mangle had his turn. Class marks are on packets only, never on connections
 *   remember    a sticky policy's source and the uplink that its connection left by, in a set per uplink, for a time
 *   cut         a TCP connection with the cut mark: whoever sends on it from this side gets a reset, what an uplink brings is
 *               dropped. A plain SYN passes: it begins a connection, or makes an end that only listens speak (RFC 5961).
 *               The same reset for a translated connection whose packet is about to leave by another uplink than its own: its
 *               own is down, and masquerade would forget it without a word before anybody can mark it
 *   clamp       the segment size that SYNs announce, leaving and arriving
 *   forward     nothing NEW gets from an uplink to anywhere, another uplink above all, unless it was DNATed or came by IPsec
 *
 * Only the bits of `markMask` are ever read or written, in packet marks and in connection marks; policies may read others.
 */
import { createHash } from 'node:crypto';
import type { Family, NatLine, NatPolicy, NatWish, PolicyCounter, PortRange, Translation } from '../../model.js';
import { hasPolicies } from '../netlink/xfrm.js';
import { prefixOf, reduced } from './cidr.js';

/** The wish, as far as it can be written. Names of interfaces and sets are safe to write into a rule. */
export interface NatRules {
  readonly markMask: number;
  /** 0 = none. */
  readonly cutMark: number;
  /** At least one; each interface once. */
  readonly lines: readonly NatLine[];
  readonly policies: readonly NatPolicy[];
  readonly routed: readonly string[];
  /** Interfaces behind the forward firewall; empty = no forward firewall. */
  readonly lanInterfaces: readonly string[];
  /** Interfaces that policies do not look at the way to. */
  readonly lans: readonly string[];
  /** Uplinks that are bridges whose frames the kernel shows to the packet filter of IP, too (br_netfilter). */
  readonly bridges: readonly string[];
  /** Can the packet filter be asked what IPsec takes? */
  readonly ipsec: boolean;
}

/** The same for one family: addresses of this family only, in canonical form; what does not concern it is left out. */
export interface FamilyRules {
  readonly family: Family;
  readonly markMask: number;
  readonly cutMark: number;
  readonly lines: readonly FamilyLine[];
  readonly policies: readonly FamilyPolicy[];
  readonly routed: readonly string[];
  readonly lanInterfaces: readonly string[];
  readonly lans: readonly string[];
  readonly bridges: readonly string[];
  readonly ipsec: boolean;
}

export interface FamilyLine {
  readonly uplink: string;
  readonly interface: string;
  readonly mark: number;
  readonly translate: Translation;
  /** In bytes; 'auto' = by the path's MTU; undefined = as it is. */
  readonly mss: number | 'auto' | undefined;
}

export interface FamilyPolicy {
  readonly name: string;
  /** Stands for the name where only letters and digits may stand. */
  readonly id: string;
  readonly sources: readonly string[];
  readonly destinations: readonly string[];
  readonly protocol: NatPolicy['match']['protocol'];
  readonly sourcePorts: readonly PortRange[];
  readonly destinationPorts: readonly PortRange[];
  readonly mark: NatPolicy['mark'];
  readonly set: NatPolicy['set'];
  readonly classMark: number;
  readonly sticky: NatPolicy['sticky'];
  readonly router: boolean;
}

export type Outcome =
  /** The rules stand, as read back. `changed`: they had to be written. `problems`: policies that had to be left out, and the like. */
  | { readonly state: 'in sync'; readonly changed: boolean; readonly problems: readonly string[] }
  | { readonly state: 'absent'; readonly error: string }
  | { readonly state: 'failed'; readonly error: string };

export interface NatBackend {
  readonly name: 'iptables' | 'nftables';
  /** Reads what stands, writes only if it differs, atomically, and reads back. Never rejects. */
  sync(rules: NatRules): Promise<Outcome>;
  /**
   * What sync would change, a line each, `+ ` or `- ` in front; writes nothing.
   * @param rules undefined = nothing is wished
   * @returns undefined = the program is not installed
   */
  preview(rules: NatRules | undefined): Promise<readonly string[] | undefined>;
  /** By the name as written in the rules' comments, a policy that has rules in two families twice. */
  counters(): Promise<readonly PolicyCounter[]>;
  /** Removes whatever is ours, of this and of former runs. @throws Error with the program's own words */
  remove(): Promise<void>;
}

/** ICMPv6 types of neighbour discovery (RFC 4861): never marked, or the neighbours of an uplink could not be found. */
export const NEIGHBOUR_DISCOVERY = { 133: 'nd-router-solicit', 134: 'nd-router-advert', 135: 'nd-neighbor-solicit', 136: 'nd-neighbor-advert', 137: 'nd-redirect' } as const;

/** An IPv6 header is so much longer. */
const IPV6_EXTRA_BYTES = 20;

/**
 * The lines and interfaces that can be written as rules, and a problem text for each that cannot.
 * @param bridges names of devices that are bridges, where their frames come by IP's hooks
 */
export function usableRules(wish: NatWish, bridges: readonly string[] = []): { readonly rules: NatRules; readonly problems: readonly string[] } {
  const problems: string[] = [];
  const taken = new Map<string, string>();
  const lines = wish.lines.filter((line) => {
    const other = taken.get(line.interface);
    if (!isPlainName(line.interface)) problems.push(unwritable(`uplink ${line.uplink}`, line.interface));
    else if (other !== undefined) problems.push(`uplinks ${other} and ${line.uplink} share ${line.interface}: their flows cannot be told apart by interface; ${line.uplink} gets no NAT and no mark`);
    else taken.set(line.interface, line.uplink);
    return taken.get(line.interface) === line.uplink;
  });
  const lans = wish.lanInterfaces.filter((name) => {
    if (!isPlainName(name)) problems.push(unwritable('lan', name));
    return isPlainName(name);
  });
  const policies = wish.policies.filter((policy) => {
    const flaw = flawOf(policy);
    if (flaw !== '') problems.push(`policy ${policy.name} is left out: ${flaw}`);
    return flaw === '';
  });
  for (const cidr of wish.routed) if (prefixOf(cidr) === undefined) problems.push(`routed: ${JSON.stringify(cidr)} is no prefix, so it is translated like everything else`);
  const { markMask, cutMark, routed } = wish;
  return {
    rules: {
      markMask, cutMark, lines, policies: policies.map((policy) => withPlainDevices(policy, taken)), routed, lanInterfaces: lans, lans, ipsec: true,
      // Where the LAN is on the very device, what goes in and out by it may as well be routed.
      bridges: bridges.filter((name) => taken.has(name) && !lans.includes(name)).sort(),
    },
    problems,
  };
}

/** @returns the rules for one family, addresses in canonical form */
export function rulesFor(family: Family, rules: NatRules): FamilyRules {
  const { markMask, cutMark, lanInterfaces, lans, ipsec } = rules;
  return {
    family, markMask, cutMark, lanInterfaces, lans, ipsec, bridges: cutMark === 0 ? [] : rules.bridges,
    lines: rules.lines.map(({ uplink, interface: device, mark, translate, mss }) => ({
      uplink, interface: device, mark, translate: writable(translate[family], family), mss: mss === 'off' ? undefined : mss === 'auto' || family === 4 ? mss : mss - IPV6_EXTRA_BYTES,
    })),
    routed: reduced(rules.routed, family),
    policies: rules.policies.flatMap((policy) => policyFor(family, policy) ?? []),
  };
}

/** What programs say when they, or the kernel, do not know what a rule asks for. */
export const UNKNOWN = /ipsec|match .?policy|not supported|no such file|by that name|syntax error|kernel module/i;

/**
 * Writes all. Where the question about IPsec is what is refused (kernels and firewall programs without it), all but that; where policies
 * are and writing failed twice, all but the policies; and tells: masquerade and marks matter more. Once may be somebody who is in the way for
 * a moment, and a policy that is left out lets pass what it was to block.
 * @param write writes such rules
 */
export async function withOrWithout(rules: NatRules, write: (rules: NatRules) => Promise<Outcome>): Promise<Outcome> {
  const first = await write(rules);
  if (first.state !== 'failed') return first;
  if (rules.ipsec && UNKNOWN.test(first.error)) {
    const plain = await withOrWithout({ ...rules, ipsec: false }, write);
    return plain.state === 'in sync' ? { ...plain, problems: [...plain.problems, ...ipsecProblems(first.error)] } : plain;
  }
  if (rules.policies.length === 0) return first;
  const outcome = await write(rules);
  if (outcome.state !== 'failed') return outcome;
  const plain = await write({ ...rules, policies: [] });
  return plain.state === 'in sync' ? { ...plain, problems: [...plain.problems, `all policies are left out, because their rules were refused: ${outcome.error}`] } : outcome;
}

/** None where nobody uses IPsec. */
function ipsecProblems(error: string): readonly string[] {
  if (!hasPolicies()) return [];
  return [`what IPsec policies take is translated like everything else and leaves in clear, because the packet filter cannot ask for IPsec (modules xt_policy, nft_rt): ${error}`];
}

export function hex(bits: number): string {
  return `0x${(bits >>> 0).toString(16)}`;
}

/** Into a comment: neither program has an escape for a quote, and nft takes 128 characters. */
export function quotable(text: string): string {
  return text.replace(/[^\w.@:-]/g, '_').slice(0, 100);
}

/** The set of sources whose next connections go by the uplink that this mark prefers. */
export function stickySet(policy: FamilyPolicy, mark: number): string {
  return `sticky_${policy.id}_${hex(mark)}`;
}

/** undefined where a policy can never fit a packet of this family. */
function policyFor(family: Family, { match, ...policy }: NatPolicy): FamilyPolicy | undefined {
  const [sources, destinations] = [reduced(match.sources, family), reduced(match.destinations, family)];
  if ((match.sources.length > 0 && sources.length === 0) || (match.destinations.length > 0 && destinations.length === 0)) return undefined;
  return {
    ...policy, sources: unlessAll(sources), destinations: unlessAll(destinations), protocol: match.protocol,
    sourcePorts: merged(match.sourcePorts), destinationPorts: merged(match.destinationPorts),
    id: createHash('sha256').update(policy.name).digest('hex').slice(0, 8),
  };
}

function unlessAll(cidrs: readonly string[]): readonly string[] {
  return cidrs.some((cidr) => cidr.endsWith('/0')) ? [] : cidrs;
}

/** Sorted, and none touches another. */
function merged(ranges: readonly PortRange[]): readonly PortRange[] {
  const done: PortRange[] = [];
  for (const range of [...ranges].sort((a, b) => a.first - b.first)) {
    const last = done.at(-1);
    if (last !== undefined && range.first <= last.last + 1) done[done.length - 1] = { first: last.first, last: Math.max(last.last, range.last) };
    else done.push(range);
  }
  return done;
}

/** A translation that cannot be written is a masquerade: traffic that goes out under a wrong address never comes back. */
function writable(translate: Translation, family: Family): Translation {
  switch (translate.kind) {
    case 'masquerade':
    case 'none':
      return translate;
    case 'address': {
      const [address] = reduced([translate.address], family);
      return address === undefined ? { kind: 'masquerade' } : { kind: 'address', address: address.replace(/\/.*/, '') };
    }
    case 'prefix': {
      const [[from], [to]] = [reduced([translate.from], family), reduced([translate.to], family)];
      return family === 4 || from === undefined || to === undefined ? { kind: 'masquerade' } : { kind: 'prefix', from, to };
    }
  }
}

/** Why a policy cannot be written; '' = it can. */
function flawOf({ match, set }: NatPolicy): string {
  const bad = [...match.sources, ...match.destinations].find((cidr) => prefixOf(cidr) === undefined);
  if (bad !== undefined) return `${JSON.stringify(bad)} is no prefix`;
  if (match.protocol === 'icmp' && match.sourcePorts.length + match.destinationPorts.length > 0) return 'icmp has no ports';
  if (set !== undefined && !/^[A-Za-z][A-Za-z0-9_.-]{0,30}$/.test(set.name)) return `the name of the set, ${JSON.stringify(set.name)}, cannot be written in a firewall rule; use a letter and up to 30 letters, digits, "_", "-" or "."`;
  if (set?.name.startsWith('sticky_') === true) return `sets named sticky_... are uplinkd's own; rename ${set.name}`;
  return '';
}

function withPlainDevices(policy: NatPolicy, lines: ReadonlyMap<string, string>): NatPolicy {
  if (policy.sticky === undefined) return policy;
  return { ...policy, sticky: { ...policy.sticky, marks: policy.sticky.marks.filter((mark) => lines.has(mark.interface)) } };
}

/** No wildcards (`+` of iptables, `*` of nft), no quotes, nothing that reads as an option. */
function isPlainName(name: string): boolean {
  return /^[A-Za-z0-9_][A-Za-z0-9_.@:-]{0,14}$/.test(name);
}

function unwritable(whose: string, name: string): string {
  return `${whose}: the interface name ${JSON.stringify(name)} cannot be written in a firewall rule, so it gets none; rename the interface (ip link set ... name ...)`;
}
