/** Laws about connections that are forgotten: whose, when, and that those who should be are. */
import { ACTIVE_TABLE, cutMarkOf, markOf } from '../../../src/core/layout.js';
import type { ForgetOrder, Verdict } from '../../../src/model.js';
import { defaultsIn } from '../world.js';
import { isOrdinary, leadingIsps, type Law, type View } from './law.js';

export const forgetOnlyAfterProof: Law = {
  name: 'forget-only-after-proof',
  says: 'Connections of an uplink are forgotten when it fails or is left for good, and only once the kernel shows another in its place, one that answers.',
  watch: (view) => ({
    turn({ effects, verdicts }) {
      for (const effect of effects) {
        if (effect.type !== 'forget' || effect.order.family !== view.family || effect.order.translatedTo !== '' || effect.order.astray !== undefined) continue;
        const broken = unproven(view, effect.order, verdicts);
        if (broken !== '') return `${effect.order.uplink}: ${effect.order.which} forgotten ${broken}`;
      }
      return '';
    },
  }),
};

export const byItsMarkAlone: Law = {
  name: 'by-its-mark-alone',
  says: 'Only connections that bear the mark of the uplink are forgotten, and only where addresses are translated do they get the mark of the cut ones.',
  watch: (view) => ({
    turn({ effects }) {
      const { policy } = view.world;
      for (const effect of effects) {
        if (effect.type !== 'forget' || effect.order.family !== view.family) continue;
        const { uplink, mark, markMask, cutMark, which } = effect.order;
        const { slot, translate } = view.isp(uplink).policy;
        if (mark !== markOf(slot, policy.markMask) || markMask !== policy.markMask) return `mark ${mark} is not that of ${uplink}`;
        const cut = which === 'all' && translate[view.family].kind !== 'none' ? cutMarkOf(policy.markMask) : 0;
        if (cutMark !== cut) return `${uplink}: cut mark ${cutMark}, and it should be ${cut}`;
      }
      return '';
    },
  }),
};

export const oldAddressesAreForgotten: Law = {
  name: 'old-addresses-are-forgotten',
  says: 'Connections of an address are forgotten only when the line has that address no more.',
  watch: (view) => ({
    turn({ effects }) {
      if (!isOrdinary(view, 5600)) return '';
      for (const effect of effects) {
        if (effect.type !== 'forget' || effect.order.translatedTo === '' || effect.order.family !== view.family) continue;
        const { uplink, translatedTo } = effect.order;
        const isp = view.isp(uplink);
        const quiet = view.world.agenda.now - isp.troubledAt > 350;
        const has = view.world.kernel.truth().addresses.some((address) => address.ifindex === isp.ifindex && address.address === translatedTo);
        if (has && quiet) return `${translatedTo} of ${uplink} is forgotten, and stands`;
      }
      return '';
    },
  }),
};

export const leadersKeepTheirConnections: Law = {
  name: 'leaders-keep-their-connections',
  says: 'No connection of an uplink that leads is forgotten, but for those of an address that it has no more.',
  watch: (view) => ({
    turn({ effects }) {
      for (const effect of effects) {
        if (effect.type !== 'forget' || effect.order.family !== view.family || effect.order.translatedTo !== '' || effect.order.astray !== undefined) continue;
        const { uplink } = effect.order;
        if (leads(view, uplink)) return `${uplink} leads, and its connections are forgotten`;
      }
      return '';
    },
  }),
};

const SOON_MS = 400;

export const leftBehindIsCut: Law = {
  name: 'left-behind-is-cut',
  says: 'A metered uplink that led, and any where flows are to move, loses its connections when something better has taken over, for metered ones at once.',
  watch(view) {
    const { world } = view;
    const led = new Set<string>();
    const owedSince = new Map<string, number>();
    let { process } = world;
    return {
      turn({ effects, verdicts }) {
        const { now } = world.agenda;
        // What a former run still owed is not known to this one.
        if (process !== world.process) [led, owedSince].forEach((known) => known.clear());
        process = world.process;
        const better = view.decision?.ranks[0]?.members.some((member) => verdicts.get(member.uplink)?.state === 'up') === true;
        for (const [name, { state }] of verdicts) {
          if (leads(view, name)) led.add(name);
          else if (led.delete(name)) owedSince.set(name, now);
          if (leads(view, name)) owedSince.delete(name);
          // Time counts only while it works, something better stands, and all is in order.
          if (owedSince.has(name) && (state === 'suspect' || state === 'down' || !better || !isOrdinary(view, 5600))) owedSince.set(name, now);
        }
        for (const effect of effects) {
          if (effect.type !== 'forget' || effect.order.family !== view.family) continue;
          const { uplink, which, only, translatedTo } = effect.order;
          if (which === 'all' && only === undefined && translatedTo === '') owedSince.delete(uplink);
        }
        return '';
      },
      tick() {
        const { failback } = world.policy;
        // While no daemon runs nobody cuts anything.
        if (world.startedAt === Infinity) owedSince.clear();
        for (const [name, since] of owedSince) {
          const { metered } = view.isp(name).policy;
          const boundMs = SOON_MS + (metered ? 0 : failback.drainMs);
          if ((metered || failback.flows === 'move') && world.agenda.now - since > boundMs) return `${name} was left ${Math.round(world.agenda.now - since)} ms ago and keeps its connections`;
        }
        return '';
      },
    };
  },
};

function leads(view: View, uplink: string): boolean {
  return view.decision?.ranks[0]?.members.some((member) => member.uplink === uplink) === true;
}

function unproven(view: View, { uplink, which, only }: ForgetOrder, verdicts: ReadonlyMap<string, Verdict>): string {
  const isp = view.isp(uplink);
  const { policy } = view.world;
  const state = verdicts.get(uplink)?.state;
  const silent = state === 'suspect' || state === 'down';
  const hollow = which === 'unanswered' && verdicts.get(uplink)?.domain === 'connections';
  const wantsIt = isp.policy.metered || policy.failback.flows === 'move' || (only !== undefined && policy.flows.some((flow) => flow.name === only.name && flow.failback === 'move'));
  if (!hollow && (silent ? which === 'all' && state !== 'down' && !wantsIt : !wantsIt || which !== 'all')) return `while it is ${state}`;
  if (!isOrdinary(view, 5500)) return '';
  const leading = leadingIsps(view);
  // What broke at this very instant nobody can know.
  if (leading.length === 0 && view.isps.every((other) => view.world.agenda.now - other.troubledAt > 50)) return 'with nothing in its place';
  if (leading.length === 0) return '';
  if (!leading.some((other) => ['up', 'degraded'].includes(verdicts.get(other.policy.name)?.state ?? ''))) return 'though nobody who leads answers';
  // Who works may go on standing behind the one that leads.
  const stands = defaultsIn(view.world.kernel.truth(), ACTIVE_TABLE, view.family).slice(silent ? 0 : undefined, silent ? undefined : 1);
  return stands.some((route) => route.hops.some((hop) => hop.ifindex === isp.ifindex)) ? 'while it stands in ACTIVE' : '';
}
