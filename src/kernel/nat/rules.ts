/**
 * What both backends are asked for, and what a backend is.
 *
 * Rules match interfaces by NAME, so they stand ready for every configured uplink whether it is up or not and survive the
 * device being deleted and made again. Their effect, the same in iptables and nftables:
 *
 *   masquerade  whatever leaves an uplink gets the uplink's address (unless its line says otherwise)
 *   stamp       a connection carries the mark of the uplink that it first left or came in by, until it is forgotten. Were it stamped
 *               anew as it moves, a running flow would escape those who look for the connections of the uplink that died: with a
 *               fixed translation it would go on under the dead uplink's address for ever
 *   restore     packets that did not arrive by an uplink, and the router's own, get the mark of their connection, so that
 *               they are routed by the uplink's own table. Never on packets that arrive by an uplink: a reply towards the LAN
 *               would be sent back out
 *   forward     nothing NEW gets from an uplink into a LAN interface unless it was DNATed
 *
 * Only the bits of `markMask` are ever read or written, in packet marks and in connection marks.
 */
import type { NatLine, NatWish } from '../../model.js';

export interface NatRules {
  readonly markMask: number;
  /** At least one; each interface once; names are safe to write into a rule. */
  readonly lines: readonly NatLine[];
  /** Interfaces behind the forward firewall; empty = no forward firewall. */
  readonly lanInterfaces: readonly string[];
}

export type Outcome =
  /** The rules stand, as read back. `changed`: they had to be written. */
  | { readonly state: 'in sync'; readonly changed: boolean }
  | { readonly state: 'absent'; readonly error: string }
  | { readonly state: 'failed'; readonly error: string };

export interface NatBackend {
  readonly name: 'iptables' | 'nftables';
  /** Reads what stands, writes only if it differs, atomically, and reads back. Never rejects. */
  sync(rules: NatRules): Promise<Outcome>;
  /** Removes whatever is ours, of this and of former runs. @throws Error with the program's own words */
  remove(): Promise<void>;
}

/** ICMPv6 types of neighbour discovery (RFC 4861): never marked, or the neighbours of an uplink could not be found. */
export const NEIGHBOUR_DISCOVERY: readonly number[] = [133, 134, 135, 136, 137];

/** The lines and interfaces that can be written as rules, and a problem text for each that cannot. */
export function usableRules(wish: NatWish): { readonly rules: NatRules; readonly problems: readonly string[] } {
  const problems: string[] = [];
  const taken = new Map<string, string>();
  const lines = wish.lines.filter((line) => {
    const other = taken.get(line.interface);
    if (!isPlainName(line.interface)) problems.push(unwritable(`uplink ${line.uplink}`, line.interface));
    else if (other !== undefined) problems.push(`uplinks ${other} and ${line.uplink} share ${line.interface}: their flows cannot be told apart by interface; ${line.uplink} gets no NAT and no mark`);
    else taken.set(line.interface, line.uplink);
    return taken.get(line.interface) === line.uplink;
  });
  const lanInterfaces = wish.lanInterfaces.filter((name) => {
    if (!isPlainName(name)) problems.push(unwritable('lan', name));
    return isPlainName(name);
  });
  return { rules: { markMask: wish.markMask, lines, lanInterfaces }, problems };
}

export function hex(bits: number): string {
  return `0x${(bits >>> 0).toString(16)}`;
}

/** No wildcards (`+` of iptables, `*` of nft), no quotes, nothing that reads as an option. */
function isPlainName(name: string): boolean {
  return /^[A-Za-z0-9_][A-Za-z0-9_.@:-]{0,14}$/.test(name);
}

function unwritable(whose: string, name: string): string {
  return `${whose}: the interface name ${JSON.stringify(name)} cannot be written in a firewall rule, so it gets none; rename the interface (ip link set ... name ...)`;
}
