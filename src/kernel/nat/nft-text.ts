/**
 * The table `uplinkd` of one family, as data and as `nft -f` reads it. Every rule has a comment: people see why it is there.
 *
 * Marks and interfaces are looked up in verdict maps and sets: the cost per packet does not grow with the number of uplinks, and
 * policies are walked for the first packet of a connection only.
 *
 * Sets of policies live in the table, one in each family's table under the same name, and belong to whoever fills them:
 *   nft add element ip uplinkd NAME { 192.0.2.0/24 }      nft add element ip6 uplinkd NAME { 2001:db8::/32 timeout 1h }
 */
import type { PortRange } from '../../model.js';
import { hex, NEIGHBOUR_DISCOVERY, quotable, stickySet, type FamilyLine, type FamilyPolicy, type FamilyRules } from './rules.js';

export const NFT_TABLE = 'uplinkd';
/** Of the family inet: what counts the packets of connections (counting.ts). */
export const COUNT_TABLE = 'uplinkd_count';

export type TableFamily = 'ip' | 'ip6' | 'inet';

export interface Chain {
  readonly name: string;
  /** '' = entered by a jump. */
  readonly hook: string;
  readonly rules: readonly string[];
}

export interface NftSet {
  readonly name: string;
  readonly type: 'ipv4_addr' | 'ipv6_addr';
  readonly rest: string;
}

export interface Table {
  readonly family: 'ip' | 'ip6';
  readonly sets: readonly NftSet[];
  readonly chains: readonly Chain[];
}

/** Chains of one policy or one line each, and what they lead to: most of the table where there are many. */
export const SMALL_CHAIN = /^(policy_\d+|cut_answer|(stamp|restore|stray)_0x[0-9a-f]+)$/;
/** Our own sets; the others are filled by people. */
export const STICKY_PREFIX = 'sticky_';
const SYN = 'tcp flags & (syn | rst) == syn';

export function tableOf(rules: FamilyRules): Table {
  return {
    family: rules.family === 4 ? 'ip' : 'ip6',
    sets: setsOf(rules),
    chains: [...translation(rules), ...bridged(rules), ...marks(rules), ...clamps(rules), ...classification(rules), ...remembering(rules), ...cut(rules), ...firewall(rules)],
  };
}

/** @param standing names of sets that are there already and keep their elements */
export function tableText({ family, sets, chains }: Table, standing: ReadonlySet<string>): string {
  const setTexts = sets.filter(({ name }) => !standing.has(name)).map(({ name, type, rest }) => `\tset ${name} {\n\t\ttype ${type}\n\t\t${rest}\n\t}\n`);
  const chainTexts = chains.map(({ name, hook, rules }) => `\tchain ${name} {\n${[hook, ...rules].filter((line) => line !== '').map((line) => `\t\t${line}\n`).join('')}\t}\n`);
  return `table ${family} ${NFT_TABLE} {\n${[...setTexts, ...chainTexts].join('')}}\n`;
}

function setsOf({ family, policies }: FamilyRules): readonly NftSet[] {
  const type = family === 4 ? 'ipv4_addr' : 'ipv6_addr';
  const named = new Set(policies.flatMap(({ set }) => (set === undefined ? [] : [set.name])));
  const sticky = policies.flatMap((policy) => (policy.sticky?.marks ?? []).map(({ mark }) => stickySet(policy, mark)));
  return [
    ...[...named].map((name) => ({ name, type, rest: 'flags interval,timeout' } as const)),
    ...sticky.map((name) => ({ name, type, rest: 'size 65535; flags dynamic,timeout' } as const)),
  ];
}

function translation(rules: FamilyRules): readonly Chain[] {
  const ip = rules.family === 4 ? 'ip' : 'ip6';
  const special = (line: FamilyLine): readonly string[] => {
    switch (line.translate.kind) {
      case 'none':
      case 'masquerade':
        return [];
      case 'address':
        return [`oifname "${line.interface}" snat to ${line.translate.address} comment "always this address"`];
      case 'prefix':
        return [`oifname "${line.interface}" ${ip} saddr ${line.translate.from} snat prefix to ${line.translate.to} comment "the provider's prefix for ours"`];
    }
  };
  const masqueraded = rules.lines.filter((line) => line.translate.kind === 'masquerade' || line.translate.kind === 'prefix').map((line) => line.interface);
  return [chain('leave', 'type nat hook postrouting priority srcnat - 5; policy accept;', [
    ...notOurs(rules),
    ...(rules.routed.length === 0 ? [] : [`${ip} saddr ${addressSet(rules.routed)} return comment "routed: never translated"`]),
    ...rules.lines.flatMap(special),
    ...(masqueraded.length === 0 ? [] : [`oifname ${nameSet(masqueraded)} masquerade comment "the uplink's own address"`]),
  ])];
}

/** What leaves and is no traffic of the uplink's (see rules.ts). */
function notOurs({ ipsec, bridges, cutMark, markMask: mask }: FamilyRules): readonly string[] {
  return [
    ...(ipsec ? ['rt ipsec exists return comment "an IPsec policy takes it"'] : []),
    ...(bridges.length === 0 ? [] : [`meta mark & ${hex(mask)} == ${hex(cutMark)} return comment "bridged, not routed"`]),
  ];
}

/** What a bridge passes from port to port is seen by IP's hooks as if it came and left by the bridge. The mark on the packet tells POSTROUTING, which is not told whence. */
function bridged({ bridges, cutMark, markMask: mask }: FamilyRules): readonly Chain[] {
  if (bridges.length === 0) return [];
  return [chain('bridged', 'type filter hook forward priority mangle; policy accept;', [
    `${withinBridge(bridges)} meta mark set ${replaced('meta mark', cutMark, mask)} ct mark set ct mark & ${hex(~mask)} comment "from port to port of a bridge"`,
  ])];
}

function withinBridge(bridges: readonly string[]): string {
  return `iifname . oifname { ${bridges.map((name) => `"${name}" . "${name}"`).join(', ')} }`;
}

function marks(rules: FamilyRules): readonly Chain[] {
  const { lines, markMask: mask, cutMark, family } = rules;
  const uplinks = nameSet(lines.map((line) => line.interface));
  const stamps = lines.map((line) => `"${line.interface}" : goto stamp_${hex(line.mark)}`).join(', ');
  const discovery = family === 4 ? [] : [`icmpv6 type { ${Object.values(NEIGHBOUR_DISCOVERY).join(', ')} } return comment "neighbour discovery is never marked"`];
  const restore = `ct mark & ${hex(mask)} vmap { ${lines.map((line) => `${hex(line.mark)} : goto restore_${hex(line.mark)}`).join(', ')} } comment "flows stay on their uplink"`;
  const stamped = [...lines.map((line) => line.mark), ...(cutMark === 0 ? [] : [cutMark])].map((mark) => `${hex(mark)} : return`).join(', ');
  // The kernel leaves the mark of what is inside on a tunnel's packet, and would send it by a line whose address it does not bear.
  const tunnels = ['meta l4proto esp', 'udp sport 4500'].map((what) => `${what} meta mark & ${hex(mask)} != 0x0 meta mark set meta mark & ${hex(~mask)} comment "IPsec goes by its own source"`);
  const remembers = rules.policies.some((policy) => policy.sticky !== undefined) ? [`meta mark & ${hex(mask)} != 0x0 oifname ${uplinks} jump whose comment "sticky policies remember"`] : [];
  return [
    chain('arrive', 'type filter hook prerouting priority mangle; policy accept;', [
      ...discovery,
      `iifname ${uplinks} goto brought comment "never restored on what an uplink brings"`,
      restore,
    ]),
    chain('brought', '', [
      ...(cutMark === 0 ? [] : [`ct mark & ${hex(mask)} == ${hex(cutMark)} drop comment "cut"`]),
      ...(rules.ipsec ? ['meta ipsec exists return comment "came by IPsec"'] : []),
      `ct state new iifname vmap { ${stamps} } comment "answers leave by the uplink of arrival"`,
    ]),
    chain('own', 'type route hook output priority mangle; policy accept;', [...discovery, ...(rules.ipsec ? tunnels : []), restore]),
    chain('stamp', 'type filter hook postrouting priority mangle; policy accept;', [
      ...discovery, `ct mark & ${hex(mask)} vmap { ${stamped} } comment "stamped once"`, ...notOurs(rules), ...remembers, `oifname vmap { ${stamps} } comment "the uplink it leaves by"`,
    ]),
    ...lines.flatMap((line) => [
      chain(`stamp_${hex(line.mark)}`, '', [
        `ct mark & ${hex(mask)} != ${hex(line.mark)} ct mark set ${replaced('ct mark', line.mark, mask)} comment "uplink ${quotable(line.uplink)}"`,
      ]),
      chain(`restore_${hex(line.mark)}`, '', [`meta mark set ${replaced('meta mark', line.mark, mask)} comment "uplink ${quotable(line.uplink)}"`]),
    ]),
  ];
}

/** The kernel never raises what is announced. */
function clamps({ lines }: FamilyRules): readonly Chain[] {
  const sizes = [...new Set(lines.flatMap((line) => line.mss ?? []))];
  if (sizes.length === 0) return [];
  const rules = (side: 'iifname' | 'oifname'): readonly string[] => sizes.map((mss) => {
    const names = nameSet(lines.filter((line) => line.mss === mss).map((line) => line.interface));
    return `${side} ${names} ${SYN} tcp option maxseg size set ${mss === 'auto' ? 'rt mtu' : mss} comment "mss ${mss}"`;
  });
  return [
    chain('clamp_in', 'type filter hook forward priority mangle; policy accept;', rules('iifname')),
    chain('clamp_out', 'type filter hook postrouting priority mangle; policy accept;', rules('oifname')),
  ];
}

/** After mangle's own turn, so that a policy can ask for a mark that somebody gives there, and before addresses are translated. */
function classification(rules: FamilyRules): readonly Chain[] {
  const { policies, markMask: mask, family } = rules;
  if (policies.length === 0) return [];
  const ip = family === 4 ? 'ip' : 'ip6';
  const uplinks = nameSet(rules.lines.map((line) => line.interface));
  const unmarked = `ct state new ct mark & ${hex(mask)} == 0x0`;
  const choices = (some: (policy: FamilyPolicy) => boolean): readonly string[] => policies.flatMap((policy, i) => (some(policy) ? [`${matchOf(policy, rules)}goto policy_${i} comment "policy ${quotable(policy.name)}"`] : []));
  const own = choices((policy) => policy.router);
  return [
    chain('choose', 'type filter hook prerouting priority mangle + 5; policy accept;', [`${unmarked} iifname != ${uplinks} jump policies comment "first packets"`]),
    chain('policies', '', [
      `fib daddr type { local,${family === 4 ? ' broadcast,' : ''} multicast } return comment "not for outside"`,
      ...(rules.lans.length === 0 ? [] : [`fib daddr oifname ${nameSet(rules.lans)} return comment "to the lan"`]),
      ...choices(() => true),
    ]),
    ...(own.length === 0 ? [] : [
      chain('choose_own', 'type route hook output priority mangle + 5; policy accept;', [`${unmarked} oifname ${uplinks} jump policies_own comment "first packets of the router"`]),
      chain('policies_own', '', own),
    ]),
    ...policies.map((policy, i) => chain(`policy_${i}`, '', [
      `counter meta mark set ${replaced('meta mark', policy.classMark, mask)} comment "policy ${quotable(policy.name)}"`,
      ...(policy.sticky?.marks ?? []).map(({ interface: device, mark }) => `${ip} saddr @${stickySet(policy, mark)} meta mark set ${replaced('meta mark', mark, mask)} comment "last by ${device}"`),
    ])),
  ];
}

/**
 * A mark does not tell the policy, since policies of one order share it, so the match is asked once more. The router's own
 * packets have a local source here: addresses are translated later.
 */
function remembering(rules: FamilyRules): readonly Chain[] {
  const { policies, family } = rules;
  const ip = family === 4 ? 'ip' : 'ip6';
  const last = policies.findLastIndex((policy) => policy.sticky !== undefined);
  if (last < 0) return [];
  const asked = (some: (policy: FamilyPolicy) => boolean): readonly string[] => policies.slice(0, last + 1)
    .flatMap((policy, i) => (some(policy) ? [`${matchOf(policy, rules)}${policy.sticky === undefined ? 'return' : `goto remember_${i}`} comment "policy ${quotable(policy.name)}"`] : []));
  return [
    chain('whose', '', ['fib saddr type local goto whose_own comment "of the router"', ...asked(() => true)]),
    chain('whose_own', '', asked((policy) => policy.router)),
    ...policies.flatMap((policy, i) => {
      const { marks: all, forMs } = policy.sticky ?? { marks: [], forMs: 0 };
      return policy.sticky === undefined ? [] : [chain(`remember_${i}`, '', all.flatMap((here) => [
        ...all.filter((other) => other !== here).map((other) => `oifname "${here.interface}" delete @${stickySet(policy, other.mark)} { ${ip} saddr } comment "no more by ${other.interface}"`),
        `oifname "${here.interface}" update @${stickySet(policy, here.mark)} { ${ip} saddr timeout ${forMs}ms } comment "by ${here.interface}"`,
      ]))];
    }),
  ];
}

/** What arrives by an uplink never comes here: `brought` drops it. Before everybody else's filter, whose verdict would be final. */
/**
 * Not in output: there the interface is that of the way before the mark led the packet to another one.
 * Connections that bear nobody's address (neither translated nor published) may well go on by another uplink.
 */
function cut({ cutMark, markMask: mask, lines }: FamilyRules): readonly Chain[] {
  if (cutMark === 0) return [];
  const ask = [`ct mark & ${hex(mask)} == ${hex(cutMark)} meta l4proto tcp jump cut_answer comment "cut"`];
  return [
    chain('cut_answer', '', [
      'tcp flags & rst == rst return comment "a reset needs no answer"',
      'tcp flags & (fin | syn | rst | ack) == syn return comment "begins anew"',
      'reject with tcp reset comment "told that it was cut"',
    ]),
    ...lines.map((line) => chain(`stray_${hex(line.mark)}`, '', [`ct mark & ${hex(mask)} != ${hex(line.mark)} goto cut_answer comment "not of ${quotable(line.uplink)}"`])),
    chain('cut', 'type filter hook forward priority filter - 10; policy accept;', [
      ...ask,
      `meta l4proto tcp ct status snat,dnat ct mark & ${hex(mask)} != 0x0 oifname vmap { ${lines.map((line) => `"${line.interface}" : goto stray_${hex(line.mark)}`).join(', ')} } comment "another uplink than its own"`,
    ]),
    chain('cut_own', 'type filter hook output priority filter - 10; policy accept;', ask),
  ];
}

/**
 * An accept in one nft chain does not overrule a drop in another one, so nothing needs to be accepted here: what is not NEW
 * passes, and so does whatever goes from the LAN to the uplinks.
 */
function firewall({ lanInterfaces, lines, bridges, ipsec }: FamilyRules): readonly Chain[] {
  if (lanInterfaces.length === 0) return [];
  const uplinks = lines.map((line) => line.interface).filter((name) => !lanInterfaces.includes(name));
  if (uplinks.length === 0) return [];
  return [
    chain('strangers', '', [
      'ct status dnat accept comment "published by DNAT"',
      ...(ipsec ? ['meta ipsec exists accept comment "came by IPsec"'] : []),
      'drop comment "nothing new from outside"',
    ]),
    chain('forward', 'type filter hook forward priority filter; policy accept;', [
      ...(bridges.length === 0 ? [] : [`${withinBridge(bridges)} accept comment "from port to port of a bridge"`]),
      `iifname ${nameSet(uplinks)} ct state new goto strangers comment "begun outside"`,
    ]),
  ];
}

/** Ends in a space where it is not empty, for the statement to follow. */
function matchOf(policy: FamilyPolicy, { family }: FamilyRules): string {
  const ip = family === 4 ? 'ip' : 'ip6';
  const { sourcePorts, destinationPorts, mark, set } = policy;
  const hasPorts = sourcePorts.length + destinationPorts.length > 0;
  const transport = policy.protocol === 'any' ? 'th' : policy.protocol;
  const protocol = { any: hasPorts ? 'meta l4proto { tcp, udp }' : '', tcp: hasPorts ? '' : 'meta l4proto tcp', udp: hasPorts ? '' : 'meta l4proto udp', icmp: `meta l4proto ${family === 4 ? 'icmp' : 'ipv6-icmp'}` }[policy.protocol];
  const parts = [
    policy.sources.length === 0 ? '' : `${ip} saddr ${addressSet(policy.sources)}`,
    policy.destinations.length === 0 ? '' : `${ip} daddr ${addressSet(policy.destinations)}`,
    protocol,
    sourcePorts.length === 0 ? '' : `${transport} sport ${portSet(sourcePorts)}`,
    destinationPorts.length === 0 ? '' : `${transport} dport ${portSet(destinationPorts)}`,
    mark === undefined ? '' : `meta mark & ${hex(mark.mask)} == ${hex(mark.value)}`,
    set === undefined ? '' : `${ip} ${set.side === 'source' ? 'saddr' : 'daddr'} @${set.name}`,
  ];
  return parts.filter((part) => part !== '').map((part) => `${part} `).join('');
}

/** The bits of the mask become `mark`, all others stay. */
function replaced(of: 'meta mark' | 'ct mark', mark: number, mask: number): string {
  return `${of} & ${hex(~mask | mark)} | ${hex(mark)}`;
}

function chain(name: string, hook: string, rules: readonly string[]): Chain {
  return { name, hook, rules };
}

function nameSet(names: readonly string[]): string {
  return `{ ${names.map((name) => `"${name}"`).join(', ')} }`;
}

/** nft prints a host without its length. */
function addressSet(cidrs: readonly string[]): string {
  return oneOrSet(cidrs.map((cidr) => cidr.replace(cidr.includes(':') ? /\/128$/ : /\/32$/, '')));
}

function portSet(ranges: readonly PortRange[]): string {
  return oneOrSet(ranges.map(({ first, last }) => (first === last ? `${first}` : `${first}-${last}`)));
}

/** A set is an object of its own in the kernel; a single element needs none. */
function oneOrSet(elements: readonly string[]): string {
  return elements.length === 1 ? elements.join('') : `{ ${elements.join(', ')} }`;
}
