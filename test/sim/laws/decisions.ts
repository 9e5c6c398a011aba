/** Laws about the choice, the operator's orders, and what is said of them. */
import type { Decision, Verdict } from '../../../src/model.js';
import { isOrdinary, leadingIsps, type Law, type Turn, type View } from './law.js';

export const keepLast: Law = {
  name: 'keep-last',
  says: 'When all are silent the active uplink stays: a silent leader is left only for somebody who lives.',
  watch(view) {
    const { world } = view;
    let before: Decision | undefined;
    return {
      turn({ verdicts }) {
        const was = before;
        const now = view.decision;
        before = now;
        if (was === undefined || now === undefined || was.generation === now.generation || now.rule === 'override' || was.rule === 'override') return '';
        const led = was.ranks[0]?.members.map((member) => verdicts.get(member.uplink)!) ?? [];
        const fellSilent = (verdict: Verdict): boolean => verdict.since >= (view.isp(verdict.uplink).deadSince ?? Infinity);
        const silent = led.length > 0 && led.every((verdict) => !verdict.severed && ['suspect', 'down'].includes(verdict.state) && fellSilent(verdict));
        // Whoever died no later than the leader cannot have answered after the leader fell silent.
        const diedAt = (rank: Decision['ranks'][number] | undefined): number[] => (rank?.members ?? []).map((member) => view.isp(member.uplink).deadSince ?? Infinity);
        const winnerDiedAt = Math.max(...diedAt(now.ranks[0]));
        const noBetter = Number.isFinite(winnerDiedAt) && winnerDiedAt <= Math.min(...diedAt(was.ranks[0]));
        if (!silent || !noBetter || names(was) === names(now) || world.starvedAt > world.agenda.now - 100) return '';
        return `left ${names(was)} for ${names(now)} though all are silent: ${now.because}`;
      },
    };
  },
};

export const holdRespected: Law = {
  name: 'hold-respected',
  says: 'Nobody who was down, or whom a former run passed over, takes over from a leader that works before his hold is over, longer with each recent death.',
  watch(view) {
    const { world } = view;
    const risen = new Map<string, number>();
    const deaths = new Map<string, number[]>();
    const doubtful = new Set<string>();
    let before: Decision | undefined;
    let states = new Map<string, Verdict['state']>();
    let startedAt = 0;
    return {
      turn({ verdicts }) {
        const { now } = world.agenda;
        if (startedAt !== world.startedAt) {
          startedAt = world.startedAt;
          before = undefined;
          states = new Map();
          deaths.clear();
          doubtful.clear();
        }
        for (const [name, { state }] of verdicts) {
          const was = states.get(name);
          if (state === 'up' && was !== 'up' && was !== 'suspect') risen.set(name, now);
          if (state === 'down' && was !== 'down' && was !== 'unknown' && was !== undefined) deaths.set(name, [...(deaths.get(name) ?? []), now]);
          if (state === 'down') doubtful.add(name);
          states.set(name, state);
        }
        const was = before;
        before = view.decision;
        const winner = was === undefined ? undefined : usurper(was, before!, verdicts);
        if (was?.rule === 'adopted') for (const name of verdicts.keys()) if (!was.ranks[0]!.members.some((m) => m.uplink === name)) doubtful.add(name);
        if (winner === undefined || !doubtful.has(winner)) return '';
        const level = (deaths.get(winner) ?? []).reduce((sum, when) => sum + 2 ** ((when - now) / 300_000), 0);
        const holdMs = world.policy.failback.holdMs * 2 ** Math.min(4, Math.max(0, Math.round(level - 0.02) - 1));
        const upMs = now - (risen.get(winner) ?? now);
        return upMs >= holdMs - 1 ? '' : `${winner} took over after ${Math.round(upMs)} ms up; its hold is ${holdMs} ms`;
      },
    };
  },
};

export const overrideObeyed: Law = {
  name: 'override-obeyed',
  says: 'While an order stands and its uplink answers, or it says obey, that uplink alone leads: in the decision at once, and in the kernel.',
  watch: (view) => ({
    turn({ verdicts }) {
      const { override } = view.world.process.state;
      const { decision } = view;
      const verdict = override === undefined ? undefined : verdicts.get(override.uplink);
      if (override === undefined || verdict === undefined || decision === undefined) return '';
      if (override.ifDead !== 'obey' && (verdict.state === 'suspect' || verdict.state === 'down')) return '';
      return names(decision) === override.uplink && decision.rule === 'override' ? '' : `${override.uplink} was ordered, ${names(decision)} leads: ${decision.because}`;
    },
    tick() {
      const { override } = view.world.process.state;
      const { decision } = view;
      if (override === undefined || decision?.rule !== 'override' || decision.since > view.world.agenda.now - 300 || !isOrdinary(view, 6000)) return '';
      const isp = view.isp(override.uplink);
      if (isp.aliveSince === undefined || view.world.agenda.now - isp.aliveSince < 6000) return '';
      const leading = leadingIsps(view);
      return leading.length === 1 && leading[0] === isp ? '' : `${override.uplink} was ordered, the kernel leads through ${leading.map((l) => l.policy.name).join()}`;
    },
  }),
};

export const overrideEnds: Law = {
  name: 'override-ends',
  says: 'An order ends at its time, or when nobody confirms it; then the rules rule again.',
  watch(view) {
    const { world } = view;
    let orderedAt = -Infinity;
    return {
      tick() {
        const { override } = view.world.process.state;
      const { decision } = view;
        const { now } = world.agenda;
        if (override !== undefined || decision?.rule !== 'override') orderedAt = now;
        if (world.starvedAt > now - 100) return '';
        const end = Math.min(override?.until ?? Infinity, override?.confirmBy ?? Infinity);
        if (end < now - 50 && now - world.startedAt > 50) return `the order on ${override?.uplink} should have ended ${Math.round(now - end)} ms ago`;
        // Who is to follow may have to be asked first.
        return now - orderedAt > 3000 ? 'no order stands, but the decision still says so' : '';
      },
    };
  },
};

export const everyOrderAnswered: Law = {
  name: 'every-order-answered',
  says: 'Every order is answered once, soon; and "done" means that the kernel leads as ordered.',
  watch(view) {
    const { world } = view;
    const open = new Map<number, number>();
    let process = world.process;
    return {
      turn({ event, effects }) {
        if (process !== world.process) open.clear();
        process = world.process;
        if (event.type === 'override' || event.type === 'confirm' || event.type === 'verdict' || (event.type === 'policy' && event.token !== 0)) open.set(event.token, world.agenda.now);
        for (const effect of effects) {
          if (effect.type !== 'answer') continue;
          if (!open.delete(effect.token)) return `order ${effect.token} was answered twice, or never given`;
          const { override } = view.world.process.state;
      const { decision } = view;
          if (effect.error.includes('kernel') && isOrdinary(view, 6000)) return `an order was answered: ${effect.error}`;
          if (effect.error !== '' || override === undefined || decision?.rule !== 'override' || !isOrdinary(view, 6000)) continue;
          const leading = leadingIsps(view).map((isp) => isp.policy.name).join('+');
          if (leading !== override.uplink && couldLead(view, override.uplink)) return `"done" was answered, but the kernel leads through ${leading}`;
        }
        return '';
      },
      tick() {
        const late = [...open].find(([, when]) => world.agenda.now - when > 100);
        return late === undefined || process !== world.process ? '' : `order ${late[0]} is not answered`;
      },
    };
  },
};

export const becauseAndSince: Law = {
  name: 'because-and-since',
  says: 'Every verdict, decision and line of news says why, in words, and since when.',
  watch(view) {
    const { world } = view;
    const said = new Map<string, Verdict>();
    return {
      turn({ effects, verdicts }) {
        const { decision } = view;
        const { now } = world.agenda;
        const texts = effects.flatMap((effect) => (effect.type === 'tell' ? [effect.news.text] : []));
        if (decision !== undefined) texts.push(decision.because);
        for (const [name, verdict] of verdicts) {
          const old = said.get(name);
          if (old?.because === verdict.because && old.since === verdict.since) continue;
          said.set(name, verdict);
          texts.push(verdict.because);
          if (!(verdict.since <= now + 1)) return `${name} is ${verdict.state} since ${verdict.since}, and it is ${now}`;
        }
        const bad = texts.find((text) => text.trim() === '' || /undefined|NaN|Infinity|null|\[object/.test(text));
        if (bad !== undefined) return `it was said: "${bad}"`;
        return decision === undefined || decision.since <= now + 1 ? '' : `decided at ${decision.since}, and it is ${now}`;
      },
    };
  },
};

export const wakeIsSane: Law = {
  name: 'wake-is-sane',
  says: 'The core always asks to be woken, soon, and never so often that it runs hot.',
  watch(view) {
    const { world } = view;
    let second = 0;
    let steps = 0;
    return {
      turn({ event, wakeAt }: Turn) {
        const { now } = world.agenda;
        if (!(wakeAt < now + 5001)) return `to be woken at ${wakeAt}, and it is ${now}`;
        if (event.type === 'wake' && wakeAt <= event.at) return `woken at ${event.at}, and to be woken again at ${wakeAt}`;
        if (Math.floor(now / 1000) !== second) {
          second = Math.floor(now / 1000);
          steps = 0;
        }
        return ++steps > 900 ? `${steps} steps within a second` : '';
      },
    };
  },
};

function couldLead(view: View, name: string): boolean {
  return view.isp(name).aliveSince !== undefined;
}

/** A more preferred uplink that took the lead from others who still work; undefined when nothing of the kind happened. */
function usurper(was: Decision, now: Decision, verdicts: ReadonlyMap<string, Verdict>): string | undefined {
  if (was.generation === now.generation || was.rule === 'override' || now.rule === 'override' || was.ranks.length === 0) return undefined;
  const led = was.ranks[0]?.members.map((member) => member.uplink) ?? [];
  if (!led.every((name) => verdicts.get(name)?.state === 'up')) return undefined;
  return now.ranks[0]?.members.map((member) => member.uplink).find((name) => !led.includes(name));
}

function names(decision: Decision): string {
  return decision.ranks[0]?.members.map((member) => member.uplink).join('+') ?? 'none';
}
