/** Laws about what stands in the kernel. */
import { ACTIVE_TABLE, MAIN_TABLE, markOf, OUR_PROTOCOL, PREFERENCE } from '../../../src/core/layout.js';
import { desire } from '../../../src/core/desire.js';
import { plan } from '../../../src/core/plan.js';
import { allHealth } from '../../../src/core/state.js';
import type { KernelFacts, Route } from '../../../src/model.js';
import type { Isp } from '../isps.js';
import { QUIET_MS } from '../weather.js';
import { defaultsIn } from '../world.js';
import { detectMs, findMs, isOrdinary, leadingIsps, type Law, type View } from './law.js';

const TABLES = [ACTIVE_TABLE, MAIN_TABLE] as const;

export const neverWithoutDefault: Law = {
  name: 'never-without-default',
  says: 'While a route could stand, neither ACTIVE nor main is empty: not between two changes of a plan, not for longer than a re-read takes.',
  watch(view) {
    const { world, family } = view;
    const emptySince = new Map<number, number>();
    return {
      change(change, before, after) {
        if (!('route' in change) || change.op !== 'delete' || change.route.family !== family || !couldStand(view) || !isOrdinary(view, 400)) return '';
        const emptied = TABLES.find((table) => defaultsIn(before, table, family).length > 0 && defaultsIn(after, table, family).length === 0);
        return emptied === undefined ? '' : `table ${emptied} stands empty after a change of ours`;
      },
      tick() {
        const facts = world.kernel.truth();
        for (const table of TABLES) {
          if (defaultsIn(facts, table, family).length > 0 || !couldStand(view) || !isOrdinary(view, 100)) emptySince.delete(table);
          else if (!emptySince.has(table)) emptySince.set(table, world.agenda.now);
          else if (world.agenda.now - emptySince.get(table)! > 10_500) return `table ${table} has been empty for ten seconds`;
        }
        return '';
      },
    };
  },
};

export const activeIsAlive: Law = {
  name: 'active-is-alive',
  says: 'An uplink that surely died leaves ACTIVE within the detection time, if another surely lives.',
  watch: (view) => ({
    tick() {
      const { world } = view;
      const { override } = world.process.state;
      for (const isp of leadingIsps(view)) {
        const boundMs = detectMs(view, isp);
        const { now } = world.agenda;
        const dead = isp.deadSince !== undefined && now - isp.deadSince > boundMs;
        if (!dead || override?.ifDead === 'obey' || now - world.startedAt < boundMs + 2500 || !isOrdinary(view, boundMs + 6000)) continue;
        const other = view.isps.find((o) => o !== isp && o.aliveSince !== undefined && now - o.aliveSince > findMs(o));
        if (other !== undefined && !leadingIsps(view).includes(other)) {
          return `${isp.policy.name} has been dead for ${Math.round(now - (isp.deadSince ?? now))} ms (bound ${Math.round(boundMs)}), ${other.policy.name} lives, and it still leads`;
        }
      }
      return '';
    },
  }),
};

export const mainLeadsSomewhere: Law = {
  name: 'main-leads-somewhere',
  says: 'A foreign route in main that refuses, or leads into a dead line, has ours by another line before it; one into a line that works has not.',
  watch(view) {
    const { world, family } = view;
    const silentAt = new Map<number, number>();
    const refusedSince = new Map<string, number>();
    return {
      tick() {
        const { now } = world.agenda;
        const facts = world.kernel.truth();
        const verdicts = view.verdicts();
        for (const isp of view.isps) if (['suspect', 'down'].includes(verdicts.get(isp.policy.name)?.state ?? 'down')) silentAt.set(isp.ifindex, now);
        const foreign = [...facts.foreignDefaults, ...facts.foreignRoutes].filter((route) => route.family === family);
        const refusing = foreign.filter(({ hops, metric }) => hops.length === 0 && metric < 30);
        for (const key of refusedSince.keys()) if (!refusing.some((route) => String(route.metric) === key)) refusedSince.delete(key);
        for (const { metric } of refusing) if (!refusedSince.has(String(metric))) refusedSince.set(String(metric), now);
        if (!couldStand(view) || !isOrdinary(view, 5600) || now - world.startedAt < 5600) return '';
        const ours = facts.routes.filter((route) => route.table === MAIN_TABLE && route.family === family);
        const before = ({ destination, metric }: Route): Route | undefined => ours.find((one) => one.destination === destination && (family === 4 ? one.metric === metric : one.metric < metric));
        const unheeded = refusing.find((route) => now - refusedSince.get(String(route.metric))! > 300 && before(route) === undefined);
        if (unheeded !== undefined) return `everything is refused by a default of metric ${unheeded.metric}`;
        for (const route of foreign.filter(({ destination }) => destination !== 'default')) {
          const isp = view.isps.find(({ ifindex }) => ifindex === route.hops[0]?.ifindex);
          if (isp === undefined) continue;
          const standIn = before(route);
          const silent = isSurelySilent(view, isp);
          if (silent && standIn?.hops.some(({ ifindex }) => ifindex === isp.ifindex) !== false) return `${route.destination} leads into ${isp.policy.name}, which is dead`;
          if (!silent && standIn !== undefined && now - (silentAt.get(isp.ifindex) ?? -Infinity) > 300) return `${route.destination} does not lead into ${isp.policy.name}, which works`;
        }
        return '';
      },
    };
  },
};

/** For so long that it must have been seen, and another one lives that leads instead. */
function isSurelySilent(view: View, isp: Isp): boolean {
  const { world, isps } = view;
  const { now } = world.agenda;
  const boundMs = detectMs(view, isp) + 300;
  const isDead = isp.deadSince !== undefined && now - isp.deadSince > boundMs;
  if (!isDead || now - world.startedAt < boundMs + 2500 || !world.kernel.isPlugged(isp.ifindex) || leadingIsps(view).includes(isp)) return false;
  return isps.some((other) => other !== isp && other.aliveSince !== undefined && now - other.aliveSince > findMs(other)) && !leadingIsps(view).some(({ deadSince }) => deadSince !== undefined);
}

export const foreignUntouched: Law = {
  name: 'foreign-untouched',
  says: 'No change touches a route or rule that does not carry our protocol, nor a rule outside our preferences.',
  once: true,
  watch: () => ({
    change(change, before, after) {
      const touched = 'address' in change ? change.address : 'route' in change ? change.route : change.rule;
      if (touched.protocol !== OUR_PROTOCOL) return `a change of protocol ${touched.protocol}`;
      return foreign(before) === foreign(after) ? '' : `somebody else's part changed: ${JSON.stringify(change)}`;
    },
  }),
};

export const converges: Law = {
  name: 'converges',
  says: 'When nothing changes any more the kernel comes to be as wished and is left alone; a quarrel does not run hot.',
  once: true,
  watch({ world }, weather) {
    const applies: number[] = [];
    const switches: number[] = [];
    let decided: readonly unknown[] = [];
    const begunAt = world.agenda.now;
    return {
      turn({ effects }) {
        for (const effect of effects) if (effect.type === 'apply') applies.push(world.agenda.now);
        const now = [...world.process.state.planes.values()].map(({ decision }) => decision);
        if (now.some((decision, i) => decision !== decided[i])) switches.push(world.agenda.now);
        decided = now;
        if (weather.name !== 'quarrel') return '';
        const lately = applies.filter((when) => when > world.agenda.now - 20_000 && when > begunAt + 5000).length;
        return lately > 16 ? `${lately} plans in 20 s of quarrel` : '';
      },
      end() {
        const { state } = world.process;
        // A hold may still end, and somebody return.
        const late = (times: readonly number[]): number => times.filter((when) => when > world.agenda.now - QUIET_MS / 4).length;
        if (late(applies) > 1 + 2 * late(switches)) return `${late(applies)} plans in the last seconds, with nothing going on`;
        const wish = desire({ ...state, facts: state.facts! });
        const rest = plan(wish, ours(world.kernel.truth())).changes;
        return rest.length === 0 && state.repair.inSync ? '' : `still to be done at the end: ${JSON.stringify(rest[0] ?? 'in sync, but not believed')}`;
      },
    };
  },
};

export const flowsKeepTheirWay: Law = {
  name: 'flows-keep-their-way',
  says: 'While an uplink is not down its mark rule stands, and its device rule always does: old flows and probes find their way.',
  watch: (view) => ({
    tick() {
      const { world, family } = view;
      if (!isOrdinary(view, 5600) || !world.process.state.ready || world.agenda.now - world.startedAt < 1000) return '';
      const rules = world.kernel.truth().rules.filter((rule) => rule.family === family);
      for (const [name, verdict] of view.verdicts()) {
        const { slot, interface: device } = view.isp(name).policy;
        if (!rules.some((rule) => rule.preference === PREFERENCE.device && rule.outInterface === device)) return `no device rule for ${name}`;
        const marked = rules.some((rule) => rule.preference === PREFERENCE.mark && rule.mark === markOf(slot, world.policy.markMask));
        if (!marked && verdict.state !== 'down') return `no mark rule for ${name}, which is ${verdict.state}`;
      }
      return '';
    },
  }),
};

export const nothingRefused: Law = {
  name: 'nothing-refused',
  says: 'In ordinary times the kernel is asked for nothing that it must refuse: no metric collides, no device is missing.',
  once: true,
  watch: (view) => ({
    turn({ event }) {
      if (event.type !== 'applied' || !isOrdinary(view, 5600)) return '';
      // Devices come and go faster than anybody is told.
      const { world } = view;
      const settled = world.isps.all.every((isp) => world.agenda.now - isp.troubledAt > 5600);
      const refused = event.failures.find((failure) => settled || failure.error.startsWith('EEXIST'));
      return refused === undefined ? '' : `${refused.error}: ${JSON.stringify(refused.change)}`;
    },
  }),
};

/** Is there a line that the core, too, knows to be whole? */
function couldStand({ world, family }: View): boolean {
  const { state } = world.process;
  if (!state.ready || state.override?.ifDead === 'obey') return false;
  return [...allHealth(state)].some((health) => health.family === family && health.line.severed === '');
}

function ours({ routes, rules, addresses }: KernelFacts): Pick<KernelFacts, 'routes' | 'rules' | 'addresses'> {
  return { routes: routes.filter((route) => route.protocol === OUR_PROTOCOL), rules: rules.filter((rule) => rule.protocol === OUR_PROTOCOL), addresses };
}

function foreign(facts: KernelFacts): string {
  const everything = [...facts.routes, ...facts.foreignDefaults].filter((route) => route.protocol !== OUR_PROTOCOL);
  return JSON.stringify([everything, facts.rules.filter((rule) => rule.protocol !== OUR_PROTOCOL)]);
}
