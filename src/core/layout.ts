/**
 * The numbers that mark the kernel's objects as ours: one table of data, with gaps.
 * Everything per uplink is made of its slot (1..127), never of its position in the config.
 *
 *   protocol    147                   routes and rules; free in iproute2's rt_protos
 *   tables      9400                  ACTIVE, the table that steers
 *               9400 + slot           an uplink's own table
 *   preference  9410                  oif DEV lookup T           probes of a dead uplink still find its gateway
 *               9450                  lookup main, no defaults   connected, VPN, static routes win over marks
 *               9500                  fwmark M lookup T          flows stay where they are
 *               9550                  from A lookup T            the router's own bound sockets
 *               9600                  lookup ACTIVE              above main: beats a foreign default of metric 0
 *   mark        slot << 7, mask 0x3f80    clear of Tailscale 0xff0000, kube-proxy 0xc000, Calico 0xffff0000
 *   metrics     base + rank in main and ACTIVE; base - 1 is the bridge of a switch; base is the first of
 *               30, 130, 230, ... whose whole range holds no foreign default
 */
import type { Family } from '../model.js';

export const OUR_PROTOCOL = 147;
export const MAIN_TABLE = 254;
export const ACTIVE_TABLE = 9400;
export const FAMILIES: readonly Family[] = [4];

export const PREFERENCE = {
  device: 9410,
  main: 9450,
  mark: 9500,
  source: 9550,
  active: 9600,
} as const;
/** Our whole range of rule preferences, inclusive. */
export const PREFERENCE_RANGE = { first: 9400, last: 9699 } as const;

export const METRIC_BASES: readonly number[] = [30, 130, 230, 330, 430];
export const RANKS_AT_MOST = 64;
export const DEFAULT_MARK_MASK = 0x3f80;
export const SLOTS_AT_MOST = 127;

export function tableOf(slot: number): number {
  return ACTIVE_TABLE + slot;
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

/** FNV-1a, 32 bits. */
function fnv1a(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193) >>> 0;
  return hash;
}
