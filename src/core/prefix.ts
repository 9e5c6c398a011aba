/**
 * The IPv6 prefixes that providers delegate to this router (DHCPv6, RFC 8415), as far as the kernel shows them. Whoever
 * asked for one leaves
 *
 *   a route that refuses the rest of it   `unreachable 2001:db8:100::/56 dev lo proto dhcp` (networkd, dhcpcd, netifd)
 *   addresses of it on LAN devices        with a lifetime, which addresses that people write do not have
 *
 * Neither says by which line the prefix came. It is the uplink's whose written `prefix6` it lies in; else that one's
 * whose own addresses are most like it, because providers number lines and customers from the same blocks; else
 * nobody's, and then it is not used. What was once found out holds as long as the prefix stands, because a line that is
 * dead has no addresses. Docs: decision 26.
 */
import type { Instant, KernelFacts, Policy, UplinkName, UplinkPolicy } from '../model.js';
import { bitsOf, isWithin, prefixOf } from './address.js';
import { globalAddresses } from './gateway.js';
import { linkNamed, linkOf } from './link.js';

export interface Delegation {
  /** '' = not known. */
  readonly uplink: UplinkName;
  /** Seen for the first time. */
  readonly since: Instant;
  /** Hosts are not to begin connections from it any more, as far as that can be seen. */
  readonly deprecated: boolean;
}

/** By prefix (CIDR). */
export type Delegations = ReadonlyMap<string, Delegation>;

/** As `prefix6`: the one that is delegated now. */
export const LEARNT = 'auto';
/** Registries allocate hardly any smaller blocks to providers (RIPE-738, 5.1.1): so many bits make one provider. */
const SAME_PROVIDER_BITS = 32;
/** Global addresses alone (RFC 4291): a ULA that a LAN bears was delegated by nobody. */
const GLOBAL = '2000::/3';
const LAN_PREFIX_LENGTH = 64;

/** Takes note of what is delegated now, and forgets what is not any more. */
export function learnPrefixes(known: Map<string, Delegation>, policy: Policy, facts: KernelFacts, now: Instant): void {
  const shown = shownPrefixes(policy, facts);
  for (const prefix of known.keys()) if (!shown.has(prefix)) known.delete(prefix);
  for (const [prefix, { deprecated }] of shown) {
    const before = known.get(prefix);
    const owner = policy.uplinks.find(({ name, prefix6 }) => name === before?.uplink && prefix6 !== '');
    const uplink = owner?.name ?? ownerOf(prefix, policy, facts);
    known.set(prefix, { uplink, since: before?.since ?? now, deprecated });
  }
}

/** Those of an uplink, the one to use first: one in use before a deprecated one, then the newest. */
export function delegatedTo(name: UplinkName, delegations: Delegations): readonly string[] {
  const first = ([a, one]: [string, Delegation], [b, other]: [string, Delegation]): number =>
    Number(one.deprecated) - Number(other.deprecated) || other.since - one.since || (a < b ? -1 : 1);
  return [...delegations].filter(([, { uplink }]) => uplink === name).sort(first).map(([prefix]) => prefix);
}

/**
 * What the LAN's prefix becomes on this line: what is written down, else the beginning of the delegated one.
 * @param from the LAN's
 * @returns '' where none is known that is large enough
 */
export function translatedTo({ name, prefix6 }: UplinkPolicy, from: string, delegations: Delegations): string {
  if (prefix6 !== LEARNT) return prefix6;
  const length = lengthOf(from);
  const fitting = delegatedTo(name, delegations).find((prefix) => lengthOf(prefix) <= length);
  return fitting === undefined ? '' : prefixOf(fitting.split('/')[0]!, length);
}

/** Prefixes that the LAN bears and this provider routes: the one written down, and those that he delegates. */
export function routedPrefixes(uplink: UplinkPolicy, delegations: Delegations): readonly string[] {
  const { name, prefix6, translate } = uplink;
  if (prefix6 === '' || translate[6].kind !== 'none') return [];
  const delegated = delegatedTo(name, delegations);
  return prefix6 === LEARNT ? delegated : [prefix6, ...delegated.filter((prefix) => !isPart(prefix, prefix6))];
}

/** One lies in the other. */
export function overlap(one: string, other: string): boolean {
  return isPart(one, other) || isPart(other, one);
}

/** The largest ones: what lies in another is not told apart from it. */
function shownPrefixes(policy: Policy, facts: KernelFacts): ReadonlyMap<string, { readonly deprecated: boolean }> {
  const refused = facts.foreignRoutes.filter(({ family, hops }) => family === 6 && hops.length === 0);
  const lans = policy.lanInterfaces.map((name) => linkNamed(name, facts)?.index);
  const leased = facts.addresses.filter(({ family, ifindex, scope, expires }) =>
    family === 6 && scope === 0 && expires === true && lans.includes(ifindex));
  const isLans = (prefix: string): boolean =>
    policy.uplinks.some(({ translate: { 6: wish } }) => wish.kind === 'prefix' && overlap(wish.from, prefix));
  const all = [
    ...refused.map(({ destination }) => ({ prefix: destination, deprecated: false })),
    ...leased.map(({ address, prefixLength, deprecated }) =>
      ({ prefix: prefixOf(address, Math.min(LAN_PREFIX_LENGTH, prefixLength)), deprecated })),
  ].filter(({ prefix }) => isPart(prefix, GLOBAL) && !isLans(prefix));
  const shown = new Map<string, { readonly deprecated: boolean }>();
  for (const { prefix, deprecated } of all) {
    const isPartOfAnother = all.some((other) => other.prefix !== prefix && isPart(prefix, other.prefix));
    if (!isPartOfAnother) shown.set(prefix, { deprecated: deprecated && shown.get(prefix)?.deprecated !== false });
  }
  return shown;
}

function ownerOf(prefix: string, { uplinks }: Policy, facts: KernelFacts): UplinkName {
  const asking = uplinks.filter(({ prefix6 }) => prefix6 !== '');
  const written = asking.find(({ prefix6 }) => prefix6 !== LEARNT && overlap(prefix6, prefix));
  if (written !== undefined) return written.name;
  const alike = new Map(uplinks.map((uplink) => [uplink.name, likeness(prefix, uplink, facts)]));
  const most = Math.max(...alike.values());
  const areKnown = asking.every(({ name }) => alike.get(name)! >= 0);
  if (most < SAME_PROVIDER_BITS && !areKnown) return asking.length === 1 ? asking[0]!.name : '';
  const closest = uplinks.filter(({ name }) => alike.get(name) === most);
  return closest.length === 1 && closest[0]!.prefix6 !== '' ? closest[0]!.name : '';
}

/** How many bits the prefix has in common with that address of the line that has most; -1 where it has none. */
function likeness(prefix: string, uplink: UplinkPolicy, facts: KernelFacts): number {
  const link = linkOf(uplink, facts);
  const bits = bitsOf(prefix.split('/')[0]!);
  const addresses = link === undefined ? [] : globalAddresses(link, facts, 6);
  return addresses.filter(({ address }) => isWithin(address, GLOBAL)).reduce((most, { address }) => {
    const own = bitsOf(address);
    let length = 0;
    while (length < bits.length && bits[length] === own[length]) length++;
    return Math.max(most, length);
  }, -1);
}

function isPart(inner: string, outer: string): boolean {
  return lengthOf(inner) >= lengthOf(outer) && isWithin(inner.split('/')[0]!, outer);
}

function lengthOf(prefix: string): number {
  return Number(prefix.split('/')[1]);
}
