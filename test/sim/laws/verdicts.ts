/** Laws about what is believed of an uplink. */
import { QUIET_MS, TROUBLE_MS } from '../weather.js';
import type { Instant } from '../../../src/model.js';
import { verdictOf } from '../../../src/core/verdict.js';
import { openRecords } from '../../../src/core/health.js';
import { detectMs, findMs, isOrdinary, type Law, type View } from './law.js';

export const foundAgain: Law = {
  name: 'every-healthy-uplink-found-again',
  says: 'An uplink that surely lives is up within bounded time, and in use as soon as it has rested.',
  watch: (view) => ({
    tick() {
      const { world } = view;
      const { state } = world.process;
      for (const isp of view.isps) {
        const boundMs = findMs(isp);
        const { now } = world.agenda;
        if (isp.aliveSince === undefined || now - isp.troubledAt < boundMs || now - world.startedAt < boundMs || !isOrdinary(view, boundMs)) continue;
        const health = state.planes.get(view.family)!.health.get(isp.policy.name)!;
        // What it lost lately counts for the length of a window, and for another one until it is believed again.
        if (health.state === 'degraded' && now - isp.troubledAt < 2 * isp.policy.health.quality.windowMs + boundMs) continue;
        if (health.state !== 'up') return `${isp.policy.name} has lived for ${Math.round(now - isp.aliveSince)} ms and is ${health.state}: ${health.because}`;
        if ((verdictOf(health).holdUntil ?? 0) + 100 > now || state.override?.ifDead === 'obey') continue;
        const used = view.decision?.ranks.some((rank) => rank.members.some((member) => member.uplink === isp.policy.name)) ?? false;
        if (!used) return `${isp.policy.name} is up and rested, and in no rank`;
      }
      return '';
    },
  }),
};

export const noCryWolf: Law = {
  name: 'no-cry-wolf',
  says: 'Nobody is suspected without a fault of his: not for one lost packet, not for a slow line, not because we were starved.',
  watch(view) {
    const { world } = view;
    const before = new Map<string, string>();
    return {
      turn({ event, verdicts }) {
        for (const [name, verdict] of verdicts) {
          const was = before.get(name);
          before.set(name, verdict.state);
          if (was !== 'up' || verdict.state === 'up' || verdict.state === 'unknown') continue;
          const isp = view.isp(name);
          // What went wrong in the last window may make it degraded yet.
          const echoMs = verdict.state === 'degraded' ? isp.policy.health.quality.windowMs : 0;
          const outside = verdict.domain === 'outside';
          // A deadline in the last moments of a starvation: too little to notice it by, and where a miss is believed as it is nobody asks again.
          const unnoticed = event.type === 'wake' && event.lateMs <= 10 && world.agenda.now - world.starvedAt < 12 && isp.policy.health.suspect.burst === 0;
          const innocent = !outside && !unnoticed && isp.aliveSince !== undefined && world.agenda.now - isp.troubledAt > detectMs(view, isp) + echoMs + 500;
          if (innocent && isUndisturbed(view)) return `${name} is ${verdict.state} though nothing is wrong: ${verdict.because}`;
        }
        return '';
      },
    };
  },
};

export const noSwitchInFairWeather: Law = {
  name: 'no-switch-in-fair-weather',
  says: 'When nothing is wrong the active uplink does not change.',
  watch(view, weather) {
    const { world } = view;
    let settledAs: number | undefined;
    return {
      tick() {
        if (weather.fair !== true || world.agenda.now - world.startedAt < 5500) return '';
        const generation = view.decision?.generation;
        // The last uplinks to answer may still be held back for their hold.
        settledAs ??= world.agenda.now - world.startedAt > 15_000 || isSettled(view) ? generation : undefined;
        return settledAs === undefined || settledAs === generation ? '' : `switched: ${view.decision?.because}`;
      },
    };
  },
};

export const hiccupsCutNothing: Law = {
  name: 'hiccups-cut-nothing',
  says: 'A silence of 400 ms never cuts old flows in balanced or calm.',
  watch: (_view, weather) => ({
    turn({ effects, verdicts }) {
      if (weather.brief !== true) return '';
      if (effects.some((effect) => effect.type === 'forget' && effect.order.which === 'all')) return 'all connections of an uplink were forgotten';
      const down = [...verdicts.values()].find((verdict) => verdict.state === 'down');
      return down === undefined ? '' : `${down.uplink} is down: ${down.because}`;
    },
  }),
};

export const asksSparingly: Law = {
  name: 'asks-sparingly',
  says: 'In fair weather no more is asked than agreed: the grid, and a burst now and then; a dead target costs one burst.',
  watch: (view, weather) => ({
    end() {
      if (weather.fair !== true || weather.name === 'drizzle') return '';
      for (const isp of view.isps) {
        const { intervalMs } = isp.policy.probe;
        const asks = openRecords(isp.policy, view.family, 0 as Instant, []).length;
        const agreed = (asks * (TROUBLE_MS + QUIET_MS + 6000 + (weather.longerMs ?? 0))) / intervalMs;
        if (isp.sent > agreed * 1.25 + 80) return `${isp.policy.name} was asked ${isp.sent} times, ${Math.round(agreed)} were agreed`;
      }
      return '';
    },
  }),
};

/** Starvation is no excuse here. */
function isUndisturbed({ world }: View): boolean {
  const since = world.agenda.now - 6000;
  return world.kernel.dishonestAt < since && world.foreignAt < since;
}

function isSettled({ isps, decision }: View): boolean {
  const first = Math.min(...isps.map((isp) => isp.policy.priority));
  const leads = decision?.ranks[0]?.members ?? [];
  const preferred = isps.filter((isp) => isp.policy.priority === first);
  return preferred.length === leads.length && preferred.every((isp) => leads.some((member) => member.uplink === isp.policy.name));
}
