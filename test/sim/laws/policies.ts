/** Laws about connections that policies send by ways of their own. */
import { classesOf } from '../../../src/core/classes.js';
import { classTableOf, markOf, PREFERENCE } from '../../../src/core/layout.js';
import type { KernelFacts, PolicyRank } from '../../../src/model.js';
import type { Isp } from '../isps.js';
import { detectMs, findMs, isOrdinary, leadingIsps, type Law, type View } from './law.js';

export const policiesGoByTheLiving: Law = {
  name: 'policies-go-by-the-living',
  says: 'New connections of a policy leave an uplink that surely died within the detection time if another of its order surely lives, and are refused only while none is up.',
  watch: (view) => ({
    tick() {
      const { world } = view;
      const { now } = world.agenda;
      const verdicts = view.verdicts();
      for (const { slot, order, otherwise } of classesOf(world.policy).all) {
        const leading = leadingIsps(view, classTableOf(slot));
        const mine = view.isps.filter((isp) => includes(order, isp.policy.name));
        // What would be refused otherwise may go by an uplink that rests.
        const toldWithinMs = world.kernel.moods.loseChance > 0 ? 5600 : 400;
        const isUp = ({ policy: { name }, aliveSince, troubledAt }: Isp): boolean => aliveSince !== undefined && now - troubledAt > toldWithinMs && verdicts.get(name)?.state === 'up' && now - verdicts.get(name)!.since > 300;
        const refused = otherwise === 'block' && leading.length === 0 && world.process.state.ready && isOrdinary(view, 5600) ? mine.find(isUp) : undefined;
        if (refused !== undefined) return `${refused.policy.name} is up, and new connections of ${JSON.stringify(order)} are refused`;
        for (const isp of leading) {
          const boundMs = detectMs(view, isp);
          const dead = isp.deadSince !== undefined && now - isp.deadSince > boundMs;
          if (!dead || now - world.startedAt < boundMs + 2500 || !isOrdinary(view, boundMs + 6000)) continue;
          const other = mine.find((o) => !leading.includes(o) && o.aliveSince !== undefined && now - o.aliveSince > findMs(o) && (otherwise === 'block' || hasRested(view, o.policy.name)));
          if (other !== undefined) return `${isp.policy.name} is dead, ${other.policy.name} lives, and new connections of ${JSON.stringify(order)} go by the former`;
        }
      }
      return '';
    },
  }),
};

export const policiesKeepToTheirOrder: Law = {
  name: 'policies-keep-to-their-order',
  says: 'No new connection of a policy is sent by an uplink that is not in its order.',
  watch: (view) => ({
    tick() {
      if (!isOrdinary(view, 5600)) return '';
      for (const { slot, order } of classesOf(view.world.policy).all) {
        const stranger = leadingIsps(view, classTableOf(slot)).find((isp) => !includes(order, isp.policy.name));
        if (stranger !== undefined) return `${stranger.policy.name} carries ${JSON.stringify(order)}`;
      }
      return '';
    },
  }),
};

export const blockedNeverLeaks: Law = {
  name: 'blocked-never-leaks',
  says: 'New connections of a policy that blocks never fall through: its table is never empty while its rule stands, and its rule stands from the first moment.',
  watch: (view) => ({
    change(_change, _before, after) {
      return isOrdinary(view, 400) ? leak(view, after, false) : '';
    },
    tick() {
      const { world } = view;
      return isOrdinary(view, 5600) && world.agenda.now - world.startedAt > 100 && world.process.state.planes.has(view.family) ? leak(view, world.kernel.truth(), true) : '';
    },
  }),
};

function leak({ world, family }: View, { routes, rules }: KernelFacts, ruleStands: boolean): string {
  const { state } = world.process;
  const own = classesOf(state.policy).all;
  for (const { slot, order, otherwise } of own) {
    if (otherwise !== 'block') continue;
    const mark = markOf(slot, state.policy.markMask);
    const rule = rules.some((other) => other.family === family && other.preference === PREFERENCE.policy && other.mark === mark);
    if (ruleStands && !rule) return `no rule for what may go by ${JSON.stringify(order)} alone`;
    if (rule && !routes.some((route) => route.family === family && route.table === classTableOf(slot) && route.destination === 'default')) {
      return `what may go by ${JSON.stringify(order)} alone meets an empty table`;
    }
  }
  return '';
}

function includes(order: readonly PolicyRank[], uplink: string): boolean {
  return order.some((rank) => rank.members.some((member) => member.uplink === uplink));
}

/** After a suspicion new connections stay away for a while, though it answers. */
function hasRested(view: View, uplink: string): boolean {
  return (view.verdicts().get(uplink)?.holdUntil ?? -Infinity) + 100 < view.world.agenda.now;
}
