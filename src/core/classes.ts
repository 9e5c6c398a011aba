/**
 * Policies by the way they go. All policies with the same order of uplinks and the same `otherwise` are one class: one packet mark,
 * one table. A sticky policy has, beside its own class, one for each of its uplinks, that prefers this uplink to the order.
 *
 * A class's slot is derived from what it says, so that it mostly keeps it when others come and go; uplinks keep theirs anyway.
 */
import type { Policy, PolicyRank, TrafficPolicy, UplinkName } from '../model.js';
import { freeSlot, slotsIn } from './layout.js';

export interface PolicyClass {
  readonly slot: number;
  readonly order: readonly PolicyRank[];
  readonly otherwise: TrafficPolicy['otherwise'];
}

export interface Classes {
  readonly all: readonly PolicyClass[];
  /** By the policy's name. */
  readonly of: ReadonlyMap<string, PolicyClass>;
  /** By the policy's name, for sticky ones: the class that prefers an uplink. */
  readonly sticky: ReadonlyMap<string, ReadonlyMap<UplinkName, PolicyClass>>;
}

/** @throws RangeError when the mark mask has not enough bits for all of them */
export function classesOf(policy: Pick<Policy, 'uplinks' | 'policies' | 'markMask'>): Classes {
  let classes = made.get(policy);
  if (classes === undefined) made.set(policy, (classes = makeClasses(policy)));
  return classes;
}

/** A policy never changes, and its classes are asked for at every turn. */
const made = new WeakMap<object, Classes>();

function makeClasses(policy: Pick<Policy, 'uplinks' | 'policies' | 'markMask'>): Classes {
  const taken = new Set(policy.uplinks.map((uplink) => uplink.slot));
  const known = new Map<string, PolicyClass>();
  const classOf = (order: readonly PolicyRank[], otherwise: TrafficPolicy['otherwise']): PolicyClass => {
    const key = JSON.stringify([order, otherwise]);
    const found = known.get(key);
    if (found !== undefined) return found;
    const slot = freeSlot(key, taken, policy.markMask);
    if (slot === undefined) {
      throw new RangeError(`${policy.uplinks.length} uplinks and ${known.size + 1} different orders of uplinks in policies need more marks than the ${slotsIn(policy.markMask)} that kernel.markMask has room for`);
    }
    taken.add(slot);
    const made = { slot, order, otherwise };
    known.set(key, made);
    return made;
  };
  const of = new Map<string, PolicyClass>();
  const sticky = new Map<string, ReadonlyMap<UplinkName, PolicyClass>>();
  for (const { name, order, otherwise, stickyMs } of policy.policies) {
    of.set(name, classOf(order, otherwise));
    if (stickyMs === undefined) continue;
    const members = order.flatMap((rank) => rank.members.map((member) => member.uplink));
    sticky.set(name, new Map(members.map((uplink) => [uplink, classOf(preferring(uplink, order), otherwise)])));
  }
  return { all: [...known.values()], of, sticky };
}

function preferring(uplink: UplinkName, order: readonly PolicyRank[]): readonly PolicyRank[] {
  const rest = order.map((rank) => ({ members: rank.members.filter((member) => member.uplink !== uplink) }));
  return [{ members: [{ uplink, weight: 1 }] }, ...rest.filter((rank) => rank.members.length > 0)];
}
