/**
 * Tunnels among the uplinks, and the way of their own packets.
 *
 * A tunnel puts what it carries into packets to its far end. Once it leads, the rule that steers would send those into
 * the tunnel again: nothing comes through, the tunnel is left, comes back, leads, and so on. So what the router itself
 * sends to the far end of a tunnel goes by OUTER, a table with the same order of uplinks but without tunnels. It
 * follows a failover as ACTIVE does.
 *
 *   9490  with a mark that leads into a tunnel: VXLAN and Geneve look for the way with the mark of what is inside
 *   9570  without: after the rules by source, so that a running tunnel stays on its line until that is down, as any
 *         flow of the router does
 *
 * Where packets are bound to the address of a line, they go by that line's own table: no other provider takes them. A
 * far end that main knows a way to (a network inside another tunnel, a host route) never comes here. Docs: decision 25.
 */
import type { Family, KernelFacts, Policy, Rank, Rule, Tunnel, UplinkPolicy } from '../model.js';
import { familyOf } from './address.js';
import type { PolicyClass } from './classes.js';
import { OUTER_TABLE, OUR_PROTOCOL, PREFERENCE, markOf, tableOf } from './layout.js';
import { linkOf } from './link.js';

type Facts = Pick<KernelFacts, 'links' | 'addresses' | 'tunnels'>;

/** undefined = the uplink is no tunnel. `remotes` are empty where nobody knows the far end. */
export function tunnelOf(
  uplink: UplinkPolicy, facts: Pick<Facts, 'links' | 'tunnels'>,
): Omit<Tunnel, 'ifindex'> | undefined {
  const ifindex = linkOf(uplink, facts)?.index;
  const told = facts.tunnels?.find((tunnel) => tunnel.ifindex === ifindex);
  const { endpoints = [] } = uplink;
  if (told === undefined && endpoints.length === 0) return undefined;
  const remotes = [...new Set([...told?.remotes ?? [], ...endpoints])];
  return { kind: told?.kind ?? '', local: told?.local ?? '', remotes };
}

/** The uplinks that are tunnels. */
export function tunnelsAmong({ uplinks }: Policy, facts: Pick<Facts, 'links' | 'tunnels'>): readonly UplinkPolicy[] {
  return uplinks.filter((uplink) => tunnelOf(uplink, facts) !== undefined);
}

/**
 * The order in which lines carry the packets of tunnels. Where the choice names tunnels alone: the others by
 * priority, dead or not.
 */
export function outerRanks(policy: Policy, facts: Facts, ranks: readonly Rank[]): readonly Rank[] {
  const tunnels = tunnelsAmong(policy, facts);
  const lines = policy.uplinks.filter((uplink) => !tunnels.includes(uplink));
  const isLine = (name: string): boolean => lines.some((line) => line.name === name);
  const below = ranks
    .map(({ members }) => ({ members: members.filter(({ uplink }) => isLine(uplink)) }))
    .filter(({ members }) => members.length > 0);
  if (below.length > 0) return below;
  const byPriority = lines.toSorted((a, b) => a.priority - b.priority);
  return byPriority.map(({ name, weight }) => ({ members: [{ uplink: name, weight }] }));
}

/** @param carries whether an uplink's own table may be led to */
export function outerRules(
  policy: Policy, facts: Facts, family: Family, classes: readonly PolicyClass[],
  carries: (uplink: UplinkPolicy) => boolean,
): readonly Rule[] {
  const tunnels = tunnelsAmong(policy, facts);
  const isTunnel = (name: string): boolean => tunnels.some((uplink) => uplink.name === name);
  const mayLead = ({ order }: PolicyClass): boolean =>
    order.some(({ members }) => members.some(({ uplink }) => isTunnel(uplink)));
  const leading = [...tunnels, ...classes.filter(mayLead)].map(({ slot }) => slot);
  const hasAddress = (line: UplinkPolicy, wanted: string): boolean =>
    facts.addresses.some(({ address, ifindex }) => address === wanted && ifindex === linkOf(line, facts)?.index);
  const tables = new Map<string, number>();
  for (const uplink of tunnels) {
    const { remotes, local } = tunnelOf(uplink, facts)!;
    const bound = policy.uplinks.find((line) =>
      !isTunnel(line.name) && local !== '' && hasAddress(line, local) && carries(line));
    const table = bound === undefined ? OUTER_TABLE : tableOf(bound.slot);
    for (const remote of remotes) if (familyOf(remote) === family && !tables.has(remote)) tables.set(remote, table);
  }
  return [...tables].flatMap(([remote, table]) => {
    const rule: Rule = {
      family, preference: PREFERENCE.outer, protocol: OUR_PROTOCOL, table, from: '',
      to: `${remote}/${family === 4 ? 32 : 128}`, own: true, outInterface: '', mark: 0, markMask: 0,
      suppressPrefixLength: -1,
    };
    const { markMask } = policy;
    const marked = { ...rule, preference: PREFERENCE.outerMarked, markMask };
    return [...leading.map((slot) => ({ ...marked, mark: markOf(slot, markMask) })), rule];
  });
}
