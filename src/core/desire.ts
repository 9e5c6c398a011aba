/**
 * The whole wish for the kernel, made from scratch each time from policy, facts, verdicts and decision.
 *
 * layout.ts draws the rules and tables; here they are filled in. An uplink's own table and device rule always stand.
 * Its mark and source rules stand until it is down and something better is installed. ACTIVE and main hold one default
 * per rank. Nothing here depends on what was wished before.
 */
import type {
  Address, Decision, Family, HostWish, KernelFacts, Policy, ProbeLine, Route, Rule, UplinkPolicy, Verdict, Wish,
} from '../model.js';
import { ACTIVE_TABLE, FAMILIES, MAIN_TABLE, METRIC_BASES, OUR_PROTOCOL, PREFERENCE, RANKS_AT_MOST, markOf, tableOf } from './layout.js';
import { gatewayOf, globalAddresses, recall, type Learnt } from './gateway.js';
import type { Line } from './health.js';

const SCOPE_UNIVERSE = 0;
const SCOPE_LINK = 253;

/** What the kernel says of an uplink's line; `severed` in words when no frame can leave. */
export function lineOf(uplink: UplinkPolicy, facts: KernelFacts): Line {
  const link = facts.links.find((l) => l.name === uplink.interface);
  const gone = { ifindex: 0, address: '', gateway: '' };
  if (link === undefined) return { ...gone, severed: `there is no interface ${uplink.interface}`, severedDomain: 'device' };
  const address = globalAddresses(link, facts, 4)[0]?.address ?? '';
  const gateway = gatewayOf(uplink, link, facts, 4);
  const line = { ifindex: link.index, address, gateway: gateway ?? '' };
  if (!link.adminUp) return { ...line, severed: `${uplink.interface} is switched off (ip link set ${uplink.interface} up)`, severedDomain: 'link' };
  if (!link.carrier) return { ...line, severed: `no carrier on ${uplink.interface}`, severedDomain: 'link' };
  if (address === '') return { ...line, severed: `${uplink.interface} has no address`, severedDomain: 'address' };
  if (gateway === undefined) return { ...line, severed: `no gateway is known for ${uplink.interface}`, severedDomain: 'gateway' };
  return { ...line, severed: '', severedDomain: 'none' };
}

/** @param learnt gateways for `auto` that the kernel does not show any more */
export function desire(
  wanted: Policy, facts: KernelFacts, learnt: ReadonlyMap<string, Learnt>, verdicts: ReadonlyMap<string, Verdict>, decision: Decision | undefined,
): Wish {
  const policy = { ...wanted, uplinks: wanted.uplinks.map((uplink) => recall(learnt, uplink, facts)) };
  const routes: Route[] = [];
  const rules: Rule[] = [];
  for (const family of FAMILIES) {
    for (const uplink of policy.uplinks) {
      ownTable(routes, uplink, facts, family);
      uplinkRules(rules, uplink, policy, facts, family, mayCarry(uplink, verdicts, decision));
    }
    rules.push({ ...plainRule(family, PREFERENCE.main, MAIN_TABLE), suppressPrefixLength: 0 });
    rules.push(plainRule(family, PREFERENCE.active, ACTIVE_TABLE));
    if (decision !== undefined) steering(routes, policy, facts, family, decision);
  }
  return { routes, rules };
}

/** NAT and marks stand ready for every uplink, up or not: a switch never touches them. */
export function desireHost(policy: Policy): HostWish {
  const sysctls: Record<string, string> = { 'net/ipv4/ip_forward': '1', 'net/ipv4/fib_multipath_hash_policy': '1' };
  for (const uplink of policy.uplinks) {
    sysctls[`net/ipv4/conf/${uplink.interface}/rp_filter`] = '2';
    sysctls[`net/ipv4/conf/${uplink.interface}/ignore_routes_with_linkdown`] = '1';
  }
  if (policy.lanInterfaces.length === 0) delete sysctls['net/ipv4/ip_forward'];
  const lines = policy.uplinks.map((uplink) => ({
    uplink: uplink.name, interface: uplink.interface, mark: markOf(uplink.slot, policy.markMask), masquerade: uplink.masquerade,
  }));
  lines.sort((a, b) => (a.interface < b.interface ? -1 : 1));
  return {
    nat: { backend: policy.nat.backend, markMask: policy.markMask, lines, lanInterfaces: policy.lanInterfaces, firewall: policy.forwarding.firewall },
    sysctls,
  };
}

export function probeLines(policy: Policy, lines: ReadonlyMap<string, Line>): readonly ProbeLine[] {
  return policy.uplinks.map((uplink) => {
    const line = lines.get(uplink.name);
    return { uplink: uplink.name, interface: uplink.interface, ifindex: line?.ifindex ?? 0, source: line?.address ?? '' };
  });
}

/** The first metric of a range that holds no default of somebody else. */
export function metricBase(facts: KernelFacts, family: Family): number {
  const free = METRIC_BASES.find((base) =>
    !facts.foreignDefaults.some((r) => r.family === family && r.table === MAIN_TABLE && r.metric >= base - 2 && r.metric < base + RANKS_AT_MOST));
  return free ?? METRIC_BASES[0]!;
}

/** Default through the gateway, and the prefixes that are on the link: a socket bound to the device finds both here. */
function ownTable(routes: Route[], uplink: UplinkPolicy, facts: KernelFacts, family: Family): void {
  const hop = hopOf(uplink, facts, family, 1);
  if (hop === undefined) return;
  const table = tableOf(uplink.slot);
  const link = facts.links.find((l) => l.index === hop.ifindex)!;
  const seen = new Set<string>();
  for (const address of globalAddresses(link, facts, family)) {
    const prefix = prefixOf(address);
    if (prefix === '' || seen.has(prefix)) continue;
    seen.add(prefix);
    routes.push({
      family, table, destination: prefix, metric: 0, protocol: OUR_PROTOCOL, scope: SCOPE_LINK, source: address.address,
      hops: [{ ifindex: link.index, via: '', weight: 1, onlink: false }],
    });
  }
  routes.push(defaultRoute(family, table, 0, [hop]));
}

function uplinkRules(rules: Rule[], uplink: UplinkPolicy, policy: Policy, facts: KernelFacts, family: Family, carries: boolean): void {
  const table = tableOf(uplink.slot);
  rules.push({ ...plainRule(family, PREFERENCE.device, table), outInterface: uplink.interface });
  if (!carries) return;
  rules.push({ ...plainRule(family, PREFERENCE.mark, table), mark: markOf(uplink.slot, policy.markMask), markMask: policy.markMask });
  const link = facts.links.find((l) => l.name === uplink.interface);
  if (link === undefined) return;
  for (const address of new Set(globalAddresses(link, facts, family).map((a) => a.address))) {
    // An address that two lines share says nothing about the line.
    if (facts.addresses.some((a) => a.address === address && a.ifindex !== link.index)) continue;
    rules.push({ ...plainRule(family, PREFERENCE.source, table), from: `${address}/${family === 4 ? 32 : 128}` });
  }
}

/** Old flows and bound sockets keep to an uplink until it is down and somebody else is installed in its place. */
function mayCarry(uplink: UplinkPolicy, verdicts: ReadonlyMap<string, Verdict>, decision: Decision | undefined): boolean {
  if (verdicts.get(uplink.name)?.state !== 'down') return true;
  if (decision === undefined || decision.ranks.length === 0) return true;
  return decision.ranks.some((rank) => rank.members.some((member) => member.uplink === uplink.name));
}

/** One default per rank in ACTIVE, which steers, and in main, its mirror. */
function steering(routes: Route[], policy: Policy, facts: KernelFacts, family: Family, decision: Decision): void {
  let metric = metricBase(facts, family);
  for (const rank of decision.ranks.slice(0, RANKS_AT_MOST)) {
    const hops = rank.members.flatMap((member) => {
      const uplink = policy.uplinks.find((u) => u.name === member.uplink);
      const hop = uplink === undefined ? undefined : hopOf(uplink, facts, family, rank.members.length === 1 ? 1 : member.weight);
      return hop === undefined ? [] : [hop];
    });
    if (hops.length === 0) continue;
    if (hops.length === 1) hops[0] = { ...hops[0]!, weight: 1 };
    for (const table of [ACTIVE_TABLE, MAIN_TABLE]) routes.push(defaultRoute(family, table, metric, hops));
    metric++;
  }
}

/** The kernel takes no route through a device that is switched off. */
function hopOf(uplink: UplinkPolicy, facts: KernelFacts, family: Family, weight: number): Route['hops'][number] | undefined {
  const link = facts.links.find((l) => l.name === uplink.interface);
  if (link === undefined || !link.adminUp || globalAddresses(link, facts, family).length === 0) return undefined;
  const via = gatewayOf(uplink, link, facts, family);
  return via === undefined ? undefined : { ifindex: link.index, via, weight, onlink: via !== '' };
}

function defaultRoute(family: Family, table: number, metric: number, hops: Route['hops']): Route {
  const direct = hops.every((hop) => hop.via === '');
  return { family, table, destination: 'default', metric, protocol: OUR_PROTOCOL, scope: direct ? SCOPE_LINK : SCOPE_UNIVERSE, source: '', hops };
}

function plainRule(family: Family, preference: number, table: number): Rule {
  return { family, preference, protocol: OUR_PROTOCOL, table, from: '', outInterface: '', mark: 0, markMask: 0, suppressPrefixLength: -1 };
}

/** The IPv4 prefix an address stands in, '' for a host address or a point-to-point line. */
function prefixOf(address: Address): string {
  if (address.family !== 4 || address.prefixLength === 32 || address.peer !== '') return '';
  const bits = address.address.split('.').reduce((sum, byte) => sum * 256 + Number(byte), 0);
  const size = 2 ** (32 - address.prefixLength);
  const network = Math.floor(bits / size) * size;
  return `${[24, 16, 8, 0].map((shift) => Math.floor(network / 2 ** shift) % 256).join('.')}/${address.prefixLength}`;
}
