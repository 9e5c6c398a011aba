/**
 * What is counted of connections that pass, as nft writes it. It is evidence about a line, so what counts must be chosen well:
 *
 *   forwarded packets alone   what the router itself sends, our own probes above all, must never be evidence about itself
 *   beyond the lines          what is exchanged with networks that the lines are in, with gateways, with private and multicast addresses and with
 *                             the addresses of targets (`near`) says nothing about the internet
 *   sent                      what connections that the LAN began (original direction) send out by the device
 *   answered                  what comes back for those by the device (reply direction), established only: an ICMP error (related) says
 *                             that somebody on the way could not deliver, and that is no answer
 *   no tunnels                what an IPsec policy takes, or brings, travels inside other packets: whoever answers there is no evidence about the line
 *   after the firewalls       the chain is last on its hook: what was dropped before was not sent
 *
 * By group of destinations, so that one lively destination does not speak for many silent ones: a hash of the address beyond, the same in both
 * directions. A packet is counted once, whatever the number of groups. Devices are looked up in maps, so that the number of rules does not depend
 * on the number of uplinks.
 */
import type { Family, NatWish } from '../model.js';
import { reduced } from './nat/cidr.js';
import { COUNT_TABLE } from './nat/nft-text.js';
import { usableRules } from './nat/rules.js';

/** The counters of one device and family. */
export interface Pair {
  readonly interface: string;
  readonly family: Family;
  readonly groups: readonly { readonly sent: string; readonly answered: string }[];
}

/** What does not count. */
export interface LeftOut {
  /** CIDRs of both families. */
  readonly near: readonly string[];
  /** What IPsec takes or brings; false where nft or the kernel knows none, and nobody has such tunnels. */
  readonly ipsec: boolean;
}

/** Enough to tell a few from many, and few enough to be read tens of times a second (docs/decisions/0018-what-lies-beyond.md). */
const GROUPS_AT_MOST = 8;
/** So many lines times groups make a table that an unprivileged user's socket still takes in one message. */
const COUNTED_AT_MOST = 128;
const FAMILIES: readonly Family[] = [4, 6];
/** Without one, nft draws one for each rule, and the two directions would not agree. */
const SEED = '0x75706c6b';

/** Behind whatever drops at `filter`, at `security`, or near them. */
const HOOK = 'type filter hook forward priority 300; policy accept;';
const TUNNELS = ['rt ipsec exists return comment "what IPsec takes is no evidence"', 'meta ipsec exists return comment "what IPsec brings is no evidence"'];
/** Whoever refuses may stand anywhere on the way, and says nothing about what lies beyond him. */
const REFUSALS = 'tcp flags & rst == rst return comment "refusals are no evidence"';

/** Empty = no table. Lines that cannot be written as rules are the NAT's to complain of. */
export function pairsOf(families: readonly Family[], wish: NatWish): readonly Pair[] {
  if (!wish.counting) return [];
  const { lines } = usableRules(wish).rules;
  const groups = Math.max(1, Math.min(GROUPS_AT_MOST, Math.floor(COUNTED_AT_MOST / Math.max(1, lines.length))));
  return lines.flatMap(({ interface: device }) => families.map((family) => ({
    interface: device, family, groups: Array.from({ length: groups }, (_, group) => group).map((group) => ({ sent: `sent${family}_${group}_${writable(device)}`, answered: `answered${family}_${group}_${writable(device)}` })),
  })));
}

/**
 * @param pairs at least one
 * @param standing names of counters that are there already and go on counting
 */
export function tableText(pairs: readonly Pair[], { near, ipsec }: LeftOut, standing: ReadonlySet<string>): string {
  const names = pairs.flatMap(({ groups }) => groups.flatMap(({ sent, answered }) => [sent, answered]));
  const counters = names.filter((name) => !standing.has(name)).map((name) => `\tcounter ${name} {\n\t}\n`);
  const families = FAMILIES.filter((family) => pairs.some((pair) => pair.family === family));
  const numbers = [...pairs[0]!.groups.keys()];
  const leaves = families.flatMap((family) => {
    const own = pairs.filter((pair) => pair.family === family);
    return numbers.flatMap((group) => [
      chain(`sent${family}_${group}`, [`counter name oifname ${map(own.map((pair) => `"${pair.interface}" : "${pair.groups[group]!.sent}"`))}`]),
      chain(`answered${family}_${group}`, [`counter name iifname ${map(own.map((pair) => `"${pair.interface}" : "${pair.groups[group]!.answered}"`))}`]),
    ]);
  });
  const chains = [
    ...leaves,
    chain('going', [lookUps('dport'), ...families.map((family) => grouped(family, 'daddr', 'established,new', 'sent', numbers, near, `IPv${family}: what connections of the LAN send`))]),
    chain('coming', [lookUps('sport'), ...families.map((family) => grouped(family, 'saddr', 'established', 'answered', numbers, near, `IPv${family}: what is answered`))]),
    chain('passing', [HOOK, ...(ipsec ? TUNNELS : []), REFUSALS, 'ct direction vmap { original : jump going, reply : jump coming } comment "which way"']),
  ];
  return `table inet ${COUNT_TABLE} {\n${counters.join('')}${chains.join('')}}\n`;
}

/** Providers answer for names themselves, from what they remember: that says nothing about the way beyond them. */
function lookUps(port: 'dport' | 'sport'): string {
  return `meta l4proto { tcp, udp } th ${port} 53 return comment "look-ups (${port}) are no evidence"`;
}

function grouped(family: Family, side: 'saddr' | 'daddr', states: string, what: 'sent' | 'answered', numbers: readonly number[], near: readonly string[], comment: string): string {
  const address = `${family === 4 ? 'ip' : 'ip6'} ${side}`;
  const left = reduced(near, family);
  const beyond = left.length === 0 ? '' : ` ${address} != { ${left.join(', ')} }`;
  const verdicts = numbers.map((group) => `${group} : jump ${what}${family}_${group}`).join(', ');
  return `ct state ${states}${beyond} jhash ${address} mod ${numbers.length} seed ${SEED} vmap { ${verdicts} } comment "${comment}"`;
}

function chain(name: string, rules: readonly string[]): string {
  return `\tchain ${name} {\n${rules.map((rule) => `\t\t${rule}\n`).join('')}\t}\n`;
}

function map(elements: readonly string[]): string {
  return `map { ${elements.join(', ')} }`;
}

/** nft takes letters, digits, `-`, `_`, `.` and `/` in a name; the last is in no name of a device. `ppp0@x` → `ppp0/40x`. */
function writable(device: string): string {
  return device.replace(/[^A-Za-z0-9_.-]/g, (letter) => `/${letter.charCodeAt(0).toString(16)}`);
}
