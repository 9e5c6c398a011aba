/**
 * The numbers that mark the kernel's objects as ours: one table of data, with gaps.
 * Everything per uplink is made of its slot (1..126), never of its position in the config.
 *
 *   protocol    147                   routes and rules; free in iproute2's rt_protos
 *   tables      9400                  ACTIVE, the table that steers
 *               9400 + slot           an uplink's own table
 *               9590                  OUTER: the order of uplinks without tunnels
 *               9600 + slot           a class of policies: its own order of uplinks
 *   preference  9410                  oif DEV lookup T           probes of a dead uplink still find its gateway
 *               9450                  lookup main, no defaults   connected, VPN, static routes win over marks
 *               9490                  to E iif lo fwmark M lookup OUTER   a tunnel's packets, the mark leads into one
 *               9500                  fwmark M lookup T          flows stay where they are
 *               9540                  fwmark C lookup class T    new connections that a policy sends elsewhere, the router's own too,
 *                                                                which have a source address already
 *               9550                  from A lookup T            the router's own bound sockets, hosts of a routed IPv6 prefix
 *               9570                  to E iif lo lookup OUTER   a tunnel's own packets never go into a tunnel
 *               9600                  lookup ACTIVE              above main: beats a foreign default of metric 0
 *   mark        slot << 7, mask 0x3f80    clear of Tailscale 0xff0000, kube-proxy 0xc000, Calico 0xffff0000; uplinks and
 *                                         classes of policies share the slots, the last one marks connections that were cut
 *   metrics     base + rank in main and ACTIVE; base - 1 is the bridge of a switch; base is the first of
 *               30, 130, 230, ... whose whole range holds no foreign default
 */
import type { Family } from '../model.js';

export const OUR_PROTOCOL = 147;
export const MAIN_TABLE = 254;
export const ACTIVE_TABLE = 9400;
export const OUTER_TABLE = 9590;
export const FAMILIES: readonly Family[] = [4, 6];

export const PREFERENCE = {
  device: 9410,
  main: 9450,
  outerMarked: 9490,
  mark: 9500,
  policy: 9540,
  source: 9550,
  outer: 9570,
  active: 9600,
} as const;
/** Our whole range of rule preferences, inclusive. */
export const PREFERENCE_RANGE = { first: 9400, last: 9699 } as const;

export const METRIC_BASES: readonly number[] = [30, 130, 230, 330, 430];
export const RANKS_AT_MOST = 64;
/** In the tables of classes and OUTER, which are ours alone. */
export const CLASS_METRIC = { first: 30, block: 1000 } as const;
export const DEFAULT_MARK_MASK = 0x3f80;
const SLOTS_AT_MOST = 126;
const CUT_SLOT = 127;
const CLASS_TABLES = 9600;
/** However wide the mask is: tables beyond are others' (wg-quick takes 51820). */
const CLASS_SLOTS_AT_MOST = 1022;

export function tableOf(slot: number): number {
  return ACTIVE_TABLE + slot;
}

export function classTableOf(slot: number): number {
  return CLASS_TABLES + slot;
}

export function isClassTable(table: number): boolean {
  return table > CLASS_TABLES && table <= CLASS_TABLES + CLASS_SLOTS_AT_MOST + 1;
}

/** Of TCP connections that have been cut and whose ends are to be told. */
export function cutMarkOf(mask: number): number {
  return markOf(CUT_SLOT, mask);
}

/** The uplink's mark, shifted into the mask. */
export function markOf(slot: number, mask: number): number {
  return ((slot << Math.log2((mask & -mask) >>> 0)) & mask) >>> 0;
}

/**
 * A slot for each name: the one it had (`known`), else one derived from the name, moved on while taken.
 * @throws RangeError for more than SLOTS_AT_MOST names
 */
export function assignSlots(names: readonly string[], known: ReadonlyMap<string, number>): Map<string, number> {
  if (names.length > SLOTS_AT_MOST) throw new RangeError(`${names.length} uplinks; at most ${SLOTS_AT_MOST} can be told apart by marks`);
  const slots = new Map<string, number>();
  const taken = new Set<number>();
  for (const name of names) {
    const slot = known.get(name);
    if (slot === undefined || taken.has(slot) || slot < 1 || slot > SLOTS_AT_MOST) continue;
    slots.set(name, slot);
    taken.add(slot);
  }
  for (const name of [...names].sort()) {
    if (slots.has(name)) continue;
    let slot = 1 + (fnv1a(name) % SLOTS_AT_MOST);
    while (taken.has(slot)) slot = 1 + (slot % SLOTS_AT_MOST);
    slots.set(name, slot);
    taken.add(slot);
  }
  return slots;
}

/** How many slots a mask has room for; none is 0, and one is kept for connections that were cut. */
export function slotsIn(mask: number): number {
  return Math.min(CLASS_SLOTS_AT_MOST, (mask >>> 0) / ((mask & -mask) >>> 0) - 1);
}

/** A slot derived from a text, moved on while taken; undefined = all are. */
export function freeSlot(text: string, taken: ReadonlySet<number>, mask: number): number | undefined {
  const count = slotsIn(mask) + 1;
  for (let i = 0, slot = fnv1a(text) % count; i < count; i++, slot = (slot + 1) % count) {
    if (slot + 1 !== CUT_SLOT && !taken.has(slot + 1)) return slot + 1;
  }
  return undefined;
}

/** FNV-1a, 32 bits. */
function fnv1a(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193) >>> 0;
  return hash;
}
