/**
 * A config laid over its profile: what the config says wins, key by key; lists are replaced whole. Two rules beyond
 * that make the result what people expect:
 *
 * - The devices of a profile are examples. As soon as the config names uplinks, these are all there are, its own
 *   `lan` is all the LAN, and policies speak of the examples no more; an uplink that has the name of an example takes
 *   from it the keys that it does not write, and is found as it says itself.
 * - `sensitivity` stands for a set of numbers. Written in the config, it puts aside those numbers of the profile in
 *   the same place, or else `sensitivity: fast` would be fast in name only.
 */
import type { Entry, MapNode, TreeNode } from './tree.js';

export function overlay(profile: MapNode, config: MapNode): MapNode {
  return merge(profile, config, []);
}

/** The keys of `health` that a sensitivity governs; beside them `probe.interval`. */
const GOVERNED = new Set(['suspect', 'down', 'up']);

/** An uplink's device is found by one of these. */
const FINDERS = ['interface', 'match'];

function merge(under: MapNode, over: MapNode, path: readonly string[]): MapNode {
  const kept = keptOf(under, over, path);
  const entries = over.entries.map((own): Entry => {
    const below = kept.find((entry) => entry.key === own.key)?.value;
    if (below?.kind !== 'map') return own;
    // A key with nothing after it adds nothing.
    if (own.value.kind === 'scalar' && own.value.empty) return { ...own, value: below };
    return own.value.kind === 'map' ? { ...own, value: merge(below, own.value, [...path, own.key]) } : own;
  });
  return { ...over, entries: [...entries, ...kept.filter((entry) => valueOf(over, entry.key) === undefined)] };
}

/** What of the profile may show through. */
function keptOf(under: MapNode, over: MapNode, path: readonly string[]): readonly Entry[] {
  if (path.length === 1 && path[0] === 'uplinks') return under.entries.filter((entry) => valueOf(over, entry.key) !== undefined);
  const kept = putAside(under, over);
  const ownDevices = path.length === 0 && valueOf(over, 'uplinks')?.kind === 'map';
  if (ownDevices) return kept.filter((entry) => entry.key !== 'lan' && entry.key !== 'policies');
  const foundAnew = path[0] === 'uplinks' && path.length === 2 && FINDERS.some((key) => valueOf(over, key) !== undefined);
  return foundAnew ? kept.filter((entry) => !FINDERS.includes(entry.key)) : kept;
}

/** In a place where the config states a sensitivity, the profile's entries without the numbers it governs. */
function putAside(under: MapNode, over: MapNode): readonly Entry[] {
  if (valueOf(valueOf(over, 'health'), 'sensitivity') === undefined) return under.entries;
  return under.entries.map((entry) => {
    if (entry.key === 'health') return without(entry, GOVERNED);
    return entry.key === 'probe' ? without(entry, new Set(['interval'])) : entry;
  });
}

function without(entry: Entry, keys: ReadonlySet<string>): Entry {
  if (entry.value.kind !== 'map') return entry;
  return { ...entry, value: { ...entry.value, entries: entry.value.entries.filter((below) => !keys.has(below.key)) } };
}

function valueOf(node: TreeNode | undefined, key: string): TreeNode | undefined {
  return node?.kind === 'map' ? node.entries.find((entry) => entry.key === key)?.value : undefined;
}
