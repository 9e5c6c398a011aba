/**
 * The rules as iptables-restore reads them, spelt as iptables-save prints them. IPv6 is the same data for ip6tables.
 *
 * Established connections are kept short: whoever walks a rule per uplink or per policy does so for the first packet of a connection
 * only, but for one comparison of the interface per uplink. A chain that is entered by `-g` does not come back.
 */
import { hex, NEIGHBOUR_DISCOVERY, quotable, type FamilyLine, type FamilyPolicy, type FamilyRules } from './rules.js';
import type { PortRange } from '../../model.js';

export interface Chain {
  readonly table: 'nat' | 'mangle' | 'filter';
  readonly name: string;
  /** Without `-A CHAIN`. */
  readonly rules: readonly string[];
}

export const CHAIN_PREFIX = 'UPLINKD_';
/** Chains of policies, all there is much of where policies are many, in an order in which they can be made: to jump to a chain it must be there. */
export const POLICY_CHAINS: readonly RegExp[] = [/^UPLINKD_[PR]\d+$/, /^UPLINKD_CHOOSE$/, /^UPLINKD_OWNNEW$/, /^UPLINKD_WHOSEOWN$/, /^UPLINKD_WHOSE$/];
const NEW = '-m conntrack --ctstate NEW';
const NOT_NEW = '-m conntrack ! --ctstate NEW';
const SYN = '-p tcp -m tcp --tcp-flags SYN,RST SYN';
/** Multiport takes 15 ports; a range counts twice. */
const PORTS_AT_MOST = 15;

export function chainsOf(rules: FamilyRules): readonly Chain[] {
  return [...translation(rules), ...bridged(rules), ...marks(rules), ...clamps(rules), ...classification(rules), ...remembering(rules), ...cut(rules), ...firewall(rules)];
}

/** The ipset that stands for `stickySet` of rules.ts. */
export function stickyIpset(rules: Pick<FamilyRules, 'family'>, policy: FamilyPolicy, mark: number): string {
  return `uplinkd${rules.family}_${policy.id}_${hex(mark)}`;
}

function translation(rules: FamilyRules): readonly Chain[] {
  const perLine = (line: FamilyLine): readonly string[] => {
    const own = `-o ${line.interface} -j MASQUERADE`;
    switch (line.translate.kind) {
      case 'none':
        return [];
      case 'masquerade':
        return [own];
      case 'address':
        return [`-o ${line.interface} -j SNAT --to-source ${line.translate.address}`];
      case 'prefix':
        return [`-s ${line.translate.from} -o ${line.interface} -j NETMAP --to ${line.translate.to}`, own];
    }
  };
  return [{ table: 'nat', name: 'UPLINKD_NAT', rules: [...notOurs(rules), ...rules.routed.map((cidr) => `${from('-s', cidr)}-j RETURN`), ...rules.lines.flatMap(perLine)] }];
}

/** What leaves and is no traffic of the uplink's (see rules.ts). */
function notOurs({ ipsec, bridges, cutMark, markMask }: FamilyRules): readonly string[] {
  return [
    ...(ipsec ? ['-m policy --dir out --pol ipsec -j RETURN'] : []),
    ...(bridges.length === 0 ? [] : [`-m mark --mark ${bits(cutMark, markMask)} -j RETURN`]),
  ];
}

/**
 * What a bridge passes from port to port is seen by IP's hooks as if it came and left by the bridge. The mark on the packet tells POSTROUTING,
 * which is not told whence. Not by `physdev`, which would load br_netfilter.
 */
function bridged({ bridges, cutMark, markMask }: FamilyRules): readonly Chain[] {
  if (bridges.length === 0) return [];
  const targets = [`MARK --set-xmark ${bits(cutMark, markMask)}`, `CONNMARK --set-xmark 0x0/${hex(markMask)}`];
  return [{ table: 'mangle', name: 'UPLINKD_BRIDGED', rules: bridges.flatMap((name) => targets.map((target) => `-i ${name} -o ${name} -j ${target}`)) }];
}

function marks(rules: FamilyRules): readonly Chain[] {
  const { lines, markMask, cutMark, family } = rules;
  const mask = hex(markMask);
  const discovery = family === 4 ? [] : Object.keys(NEIGHBOUR_DISCOVERY).map((type) => `-p ipv6-icmp -m icmp6 --icmpv6-type ${type} -j RETURN`);
  const isCut = `-m connmark --mark ${bits(cutMark, markMask)}`;
  const leaveCut = cutMark === 0 ? [] : [`${isCut} -j RETURN`];
  const restore = [...leaveCut, `-m connmark ! --mark ${bits(0, markMask)} -j CONNMARK --restore-mark --nfmask ${mask} --ctmask ${mask}`];
  const stamps = (side: '-i' | '-o'): readonly string[] => lines.map((line) => `${side} ${line.interface} -j CONNMARK --set-xmark ${hex(line.mark)}/${mask}`);
  // The kernel leaves the mark of what is inside on a tunnel's packet, and would send it by a line whose address it does not bear.
  const tunnels = ['-p esp', '-p udp -m udp --sport 4500'].map((what) => `${what} -m mark ! --mark ${bits(0, markMask)} -j MARK --set-xmark 0x0/${mask}`);
  const remembers = rules.policies.some((policy) => policy.sticky !== undefined) ? [`-m mark ! --mark ${bits(0, markMask)} -j UPLINKD_WHOSE`] : [];
  const clamped = lines.some((line) => line.mss !== undefined) ? [`${SYN} -j UPLINKD_MSSOUT`] : [];
  return [
    { table: 'mangle', name: 'UPLINKD_PRE', rules: [...discovery, ...lines.map((line) => `-i ${line.interface} -g UPLINKD_IN`), ...restore] },
    { table: 'mangle', name: 'UPLINKD_IN', rules: [...(cutMark === 0 ? [] : [`${isCut} -j DROP`]), `${NOT_NEW} -j RETURN`, ...(rules.ipsec ? ['-m policy --dir in --pol ipsec -j RETURN'] : []), ...stamps('-i')] },
    { table: 'mangle', name: 'UPLINKD_OUT', rules: [...discovery, ...(rules.ipsec ? tunnels : []), ...restore] },
    {
      table: 'mangle', name: 'UPLINKD_POST',
      rules: [...clamped, ...discovery, ...leaveCut, ...lines.map((line) => `-m connmark --mark ${bits(line.mark, markMask)} -j RETURN`), ...notOurs(rules), ...remembers, ...stamps('-o')],
    },
  ];
}

/** Each TCPMSS rule must name the SYN itself; TCPMSS never raises what is announced. */
function clamps({ lines }: FamilyRules): readonly Chain[] {
  const clamped = lines.filter((line) => line.mss !== undefined);
  if (clamped.length === 0) return [];
  const rules = (side: '-i' | '-o'): readonly string[] => clamped.map(({ interface: device, mss }) => `${side} ${device} ${SYN} -j TCPMSS ${mss === 'auto' ? '--clamp-mss-to-pmtu' : `--set-mss ${mss}`}`);
  return [
    { table: 'mangle', name: 'UPLINKD_MSS', rules: [`${SYN} -j UPLINKD_MSSIN`] },
    { table: 'mangle', name: 'UPLINKD_MSSIN', rules: rules('-i') },
    { table: 'mangle', name: 'UPLINKD_MSSOUT', rules: rules('-o') },
  ];
}

function classification(rules: FamilyRules): readonly Chain[] {
  const { lines, policies, markMask, family } = rules;
  if (policies.length === 0) return [];
  const mask = hex(markMask);
  const first = [`-m connmark ! --mark ${bits(0, markMask)} -j RETURN`, `${NOT_NEW} -j RETURN`];
  const choices = (some: (policy: FamilyPolicy) => boolean): readonly string[] => policies.flatMap((policy, i) => (some(policy) ? matches(policy, rules).map((match) => `${match}-g UPLINKD_P${i}`) : []));
  const own = choices((policy) => policy.router);
  // Of several types IPv4 asks for any, IPv6 for all.
  const notOutside = family === 4 ? ['LOCAL,BROADCAST,MULTICAST'] : ['LOCAL', 'MULTICAST'];
  return [
    {
      table: 'mangle', name: 'UPLINKD_NEW',
      rules: [...first, ...lines.map((line) => `-i ${line.interface} -j RETURN`), ...notOutside.map((types) => `-m addrtype --dst-type ${types} -j RETURN`), '-j UPLINKD_CHOOSE'],
    },
    { table: 'mangle', name: 'UPLINKD_CHOOSE', rules: choices(() => true) },
    ...(own.length === 0 ? [] : [
      { table: 'mangle', name: 'UPLINKD_OWN', rules: [...first, ...lines.map((line) => `-o ${line.interface} -g UPLINKD_OWNNEW`)] } as const,
      { table: 'mangle', name: 'UPLINKD_OWNNEW', rules: own } as const,
    ]),
    ...policies.map((policy, i) => ({
      table: 'mangle', name: `UPLINKD_P${i}`,
      rules: [
        `-m comment --comment "policy ${quotable(policy.name)}" -j MARK --set-xmark ${hex(policy.classMark)}/${mask}`,
        ...(policy.sticky?.marks ?? []).map(({ mark }) => `-m set --match-set ${stickyIpset(rules, policy, mark)} src -j MARK --set-xmark ${hex(mark)}/${mask}`),
      ],
    } as const)),
  ];
}

/**
 * A mark does not tell the policy, since policies of one order share it, so the match is asked once more. The router's own
 * packets have a local source here: addresses are translated later.
 */
function remembering(rules: FamilyRules): readonly Chain[] {
  const { policies } = rules;
  const last = policies.findLastIndex((policy) => policy.sticky !== undefined);
  if (last < 0) return [];
  const asked = (some: (policy: FamilyPolicy) => boolean): readonly string[] => policies.slice(0, last + 1).flatMap((policy, i) => (some(policy) ? matches(policy, rules).map((match) => `${match}${policy.sticky === undefined ? '-j RETURN' : `-g UPLINKD_R${i}`}`) : []));
  return [
    { table: 'mangle', name: 'UPLINKD_WHOSE', rules: ['-m addrtype --src-type LOCAL -g UPLINKD_WHOSEOWN', ...asked(() => true)] },
    { table: 'mangle', name: 'UPLINKD_WHOSEOWN', rules: asked((policy) => policy.router) },
    ...policies.flatMap((policy, i) => (policy.sticky === undefined ? [] : [{ table: 'mangle', name: `UPLINKD_R${i}`, rules: remember(rules, policy, policy.sticky) } as const])),
  ];
}

function remember(rules: FamilyRules, policy: FamilyPolicy, { forMs, marks: all }: NonNullable<FamilyPolicy['sticky']>): readonly string[] {
  return all.flatMap((here) => [
    ...all.filter((other) => other !== here).map((other) => `-o ${here.interface} -j SET --del-set ${stickyIpset(rules, policy, other.mark)} src`),
    `-o ${here.interface} -j SET --add-set ${stickyIpset(rules, policy, here.mark)} src --exist --timeout ${Math.ceil(forMs / 1000)}`,
  ]);
}

/** Of what was cut, that which arrives by an uplink never comes here: UPLINKD_IN drops it. The router's own packets stray nowhere: a mark has led them by now. */
function cut({ cutMark, markMask, lines }: FamilyRules): readonly Chain[] {
  if (cutMark === 0) return [];
  const answer: Chain = {
    table: 'filter', name: 'UPLINKD_RESET',
    rules: ['-p tcp -m tcp --tcp-flags RST RST -j RETURN', '-p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -j RETURN', '-p tcp -j REJECT --reject-with tcp-reset'],
  };
  return [
    answer,
    { table: 'filter', name: 'UPLINKD_CUT', rules: [`-p tcp -m connmark --mark ${bits(cutMark, markMask)} -j UPLINKD_RESET`] },
    {
      table: 'filter', name: 'UPLINKD_STRAY',
      rules: [
        `-m connmark --mark ${bits(0, markMask)} -j RETURN`,
        '-j UPLINKD_CUT',
        ...lines.map((line) => `-o ${line.interface} -p tcp -m connmark ! --mark ${bits(line.mark, markMask)} -m conntrack --ctstate SNAT,DNAT -j UPLINKD_RESET`),
      ],
    },
  ];
}

function firewall({ lanInterfaces, lines, bridges, ipsec }: FamilyRules): readonly Chain[] {
  if (lanInterfaces.length === 0) return [];
  const uplinks = lines.map((line) => line.interface).filter((name) => !lanInterfaces.includes(name));
  return [
    {
      table: 'filter', name: 'UPLINKD_FWD',
      rules: [
        ...bridges.map((name) => `-i ${name} -o ${name} -j RETURN`),
        ...lanInterfaces.flatMap((lan) => [`-i ${lan} -j UPLINKD_FWOUT`, `-o ${lan} -m conntrack --ctstate RELATED,ESTABLISHED -j UPLINKD_FWIN`]),
        ...uplinks.map((name) => `-i ${name} -j UPLINKD_FWNEW`),
      ],
    },
    { table: 'filter', name: 'UPLINKD_FWOUT', rules: lines.map((line) => `-o ${line.interface} -j ACCEPT`) },
    { table: 'filter', name: 'UPLINKD_FWIN', rules: lines.map((line) => `-i ${line.interface} -j ACCEPT`) },
    { table: 'filter', name: 'UPLINKD_FWNEW', rules: [...(ipsec ? ['-m policy --dir in --pol ipsec -j RETURN'] : []), `${NEW} -m conntrack ! --ctstate DNAT -j DROP`] },
  ];
}

/** Every combination is a rule; each ends in a space, for the target to follow. */
function matches({ protocol, ...policy }: FamilyPolicy, { family }: FamilyRules): readonly string[] {
  const mark = policy.mark === undefined ? '' : `-m mark --mark ${bits(policy.mark.value, policy.mark.mask)} `;
  const set = policy.set === undefined ? '' : `-m set --match-set ${policy.set.name} ${policy.set.side === 'source' ? 'src' : 'dst'} `;
  const ports = policy.sourcePorts.length + policy.destinationPorts.length > 0;
  const protocols = protocol === 'any' ? (ports ? ['tcp', 'udp'] : []) : [protocol === 'icmp' && family === 6 ? 'ipv6-icmp' : protocol];
  const parts = [
    orAny(policy.sources.map((cidr) => from('-s', cidr))), orAny(policy.destinations.map((cidr) => from('-d', cidr))),
    orAny(protocols.map((name) => `-p ${name} ${singlePorts(name, policy)}`)),
    multiport('--sports', policy.sourcePorts), multiport('--dports', policy.destinationPorts), [mark + set],
  ];
  return parts.reduce<readonly string[]>((heads, tails) => heads.flatMap((head) => tails.map((tail) => head + tail)), ['']);
}

/** One port, or one range, needs no multiport, and costs less. */
function singlePorts(protocol: string, { sourcePorts, destinationPorts }: Pick<FamilyPolicy, 'sourcePorts' | 'destinationPorts'>): string {
  const one = (side: string, ranges: readonly PortRange[]): string => (ranges.length === 1 ? `${side} ${ranges.map(portText).join('')} ` : '');
  const found = one('--sport', sourcePorts) + one('--dport', destinationPorts);
  return found === '' ? '' : `-m ${protocol} ${found}`;
}

function multiport(side: '--sports' | '--dports', ranges: readonly PortRange[]): readonly string[] {
  if (ranges.length < 2) return [''];
  const groups: string[][] = [[]];
  let room = PORTS_AT_MOST;
  for (const range of ranges) {
    const takes = range.first === range.last ? 1 : 2;
    if (takes > room) {
      groups.push([]);
      room = PORTS_AT_MOST;
    }
    room -= takes;
    groups.at(-1)?.push(portText(range));
  }
  return groups.map((group) => `-m multiport ${side} ${group.join(',')} `);
}

function portText({ first, last }: PortRange): string {
  return first === last ? `${first}` : `${first}:${last}`;
}

/** iptables prints no prefix that covers everything. */
function from(side: '-s' | '-d', cidr: string): string {
  return cidr.endsWith('/0') ? '' : `${side} ${cidr} `;
}

function orAny(choices: readonly string[]): readonly string[] {
  return choices.length === 0 ? [''] : choices;
}

/** `0x80/0x3f80`; iptables prints no mask that covers everything. */
function bits(value: number, mask: number): string {
  return mask >>> 0 === 0xffffffff ? hex(value) : `${hex(value)}/${hex(mask)}`;
}
