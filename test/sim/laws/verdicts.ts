/** Laws about what is believed of an uplink. */
import { QUIET_MS, TROUBLE_MS } from '../weather.js';
import type { Isp } from '../isps.js';
import { detectMs, findMs, isOrdinary, type Law } from './law.js';
import type { World } from '../world.js';

export const foundAgain: Law = {
  name: 'every-healthy-uplink-found-again',
  says: 'An uplink that surely lives is up within bounded time, and in use as soon as it has rested.',
  watch: (world) => ({
    tick() {
      const { state } = world.loop;
      for (const isp of world.isps.all) {
        const boundMs = findMs(isp);
        const { now } = world.agenda;
        if (isp.aliveSince === undefined || now - isp.troubledAt < boundMs || now - world.startedAt < boundMs || !isOrdinary(world, boundMs)) continue;
        const health = state.health.get(isp.policy.name)!;
        if (health.state !== 'up') return `${isp.policy.name} has lived for ${Math.round(now - isp.aliveSince)} ms and is ${health.state}: ${health.because}`;
        if ((health.holdUntil ?? 0) + 100 > now || state.override?.ifDead === 'obey') continue;
        const used = state.decision?.ranks.some((rank) => rank.members.some((member) => member.uplink === isp.policy.name)) ?? false;
        if (!used) return `${isp.policy.name} is up and rested, and in no rank`;
      }
      return '';
    },
  }),
};

export const noCryWolf: Law = {
  name: 'no-cry-wolf',
  says: 'Nobody is suspected without a fault of his: not for one lost packet, not for a slow line, not because we were starved.',
  watch(world) {
    const before = new Map<string, string>();
    return {
      turn({ verdicts }) {
        for (const [name, verdict] of verdicts) {
          const was = before.get(name);
          before.set(name, verdict.state);
          if (was !== 'up' || verdict.state === 'up' || verdict.state === 'unknown') continue;
          const isp = world.isps.get(name);
          const innocent = isp.aliveSince !== undefined && world.agenda.now - isp.troubledAt > detectMs(world, isp) + 500;
          if (innocent && isUndisturbed(world)) return `${name} is ${verdict.state} though nothing is wrong: ${verdict.because}`;
        }
        return '';
      },
    };
  },
};

export const noSwitchInFairWeather: Law = {
  name: 'no-switch-in-fair-weather',
  says: 'When nothing is wrong the active uplink does not change.',
  watch(world, weather) {
    let settledAs: number | undefined;
    return {
      tick() {
        if (weather.fair !== true || world.agenda.now - world.startedAt < 5500) return '';
        const generation = world.loop.state.decision?.generation;
        // The last uplinks to answer may still be held back for their hold.
        settledAs ??= world.agenda.now - world.startedAt > 15_000 || isSettled(world) ? generation : undefined;
        return settledAs === undefined || settledAs === generation ? '' : `switched: ${world.loop.state.decision?.because}`;
      },
    };
  },
};

export const hiccupsCutNothing: Law = {
  name: 'hiccups-cut-nothing',
  says: 'A silence of 400 ms never cuts old flows in balanced or calm.',
  watch: (_world, weather) => ({
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
  watch: (world, weather) => ({
    end() {
      if (weather.fair !== true || weather.name === 'drizzle') return '';
      for (const isp of world.isps.all) {
        const { targets, intervalMs } = isp.policy.probe;
        const agreed = (targets.length * (TROUBLE_MS + QUIET_MS + 6000)) / intervalMs;
        const asked = world.isps.sent.get(isp.policy.name) ?? 0;
        if (asked > agreed * 1.25 + 80) return `${isp.policy.name} was asked ${asked} times, ${Math.round(agreed)} were agreed`;
      }
      return '';
    },
  }),
};

/** Starvation is no excuse here. */
function isUndisturbed(world: World): boolean {
  const since = world.agenda.now - 6000;
  return world.kernel.dishonestAt < since && world.foreignAt < since;
}

function isSettled(world: World): boolean {
  const first = Math.min(...world.isps.all.map((isp: Isp) => isp.policy.priority));
  const leads = world.loop.state.decision?.ranks[0]?.members ?? [];
  const preferred = world.isps.all.filter((isp) => isp.policy.priority === first);
  return preferred.length === leads.length && preferred.every((isp) => leads.some((member) => member.uplink === isp.policy.name));
}
