/** Laws about what verdicts rest on: probes, connections, what others say; and what is done about lines that work badly. */
import type { Verdict } from '../../../src/model.js';
import { carries, type Isp } from '../isps.js';
import { isOrdinary, leadingIsps, type Law, type View } from './law.js';

export const noVerdictWithoutEvidence: Law = {
  name: 'no-verdict-without-evidence',
  says: 'Whoever is suspect, degraded or down is so for reasons that are there as data, and at least one of them speaks against him.',
  watch() {
    const said = new Map<string, Verdict['evidence']>();
    return {
      turn({ verdicts }) {
        for (const [name, { state, evidence, because }] of verdicts) {
          if (said.get(name) === evidence) continue;
          said.set(name, evidence);
          if (state === 'unknown' || state === 'up') continue;
          if (evidence.length === 0 || evidence.some((each) => each.name === '' || each.text === '')) return `${name} is ${state} (${because}) without evidence`;
          // Who came up again has to prove himself first, whatever answers.
          const returns = /waiting for|can ask again/.test(because);
          const badly = state === 'degraded';
          if (!returns && !badly && evidence.every((each) => each.says === 'alive')) return `${name} is ${state} (${because}), and all the evidence speaks for it`;
        }
        return '';
      },
    };
  },
};

export const reasonsHaveASubject: Law = {
  name: 'reasons-have-a-subject',
  says: 'What is said of an uplink is a sentence: somebody answers, or is silent.',
  watch: () => ({
    turn({ verdicts }) {
      for (const [name, { because, evidence }] of verdicts) {
        for (const text of [because, ...evidence.map((each) => each.text)]) if (/^ | {2}|, ?,|^answers? again|from( to|$|;)/.test(text)) return `${name}: "${text}"`;
      }
      return '';
    },
  }),
};

/** 20 s, a second's look, and a round trip. */
const HOLLOW_MS = 23_000;

export const hollowLinesAreLeft: Law = {
  name: 'hollow-lines-are-left',
  says: 'A line that leads, whose targets answer and whose connections get nothing for long, is left for one that is well; and nobody else is accused of that.',
  watch(view) {
    let since = Infinity;
    return {
      tick() {
        const { world } = view;
        const now = world.agenda.now;
        const leading = leadingIsps(view);
        const hollow = leading.find((isp) => isp.hollowSince !== undefined);
        const better = view.isps.some((isp) => isp.hollowSince === undefined && isp.aliveSince !== undefined && now - isp.aliveSince > HOLLOW_MS);
        if (hollow === undefined || !better || !isOrdinary(view, HOLLOW_MS) || world.process.state.override !== undefined) since = Infinity;
        else since = Math.min(since, now);
        return now - since > HOLLOW_MS ? `${hollow!.policy.name} leads, and there is nothing behind it` : '';
      },
      turn({ verdicts }) {
        for (const [name, { domain }] of verdicts) if (domain === 'connections' && view.isp(name).hollowSince === undefined) return `${name} is accused, and connections get their answers by it`;
        return '';
      },
    };
  },
};

export const progressVetoes: Law = {
  name: 'progress-vetoes',
  says: 'Where connections go on getting their answers, silent targets alone make nobody suspect.',
  watch(view) {
    const { world } = view;
    const lived = new Set<string>();
    return {
      turn({ verdicts }) {
        for (const [name, { state, because, domain }] of verdicts) {
          if (state === 'up' || state === 'degraded') lived.add(name);
          else if (lived.delete(name) && (state === 'suspect' || state === 'down') && domain !== 'outside') {
            const isp = view.isp(name);
            if (flowsSince(view, isp) > 15_000 && isOrdinary(view, 6000) && world.agenda.now - world.startedAt > 15_000) return `${name} is ${state}, and its connections get their answers: ${because}`;
          }
        }
        return '';
      },
      tick() {
        for (const isp of view.isps) noteFlows(view, isp);
        return '';
      },
    };
  },
};

export const outsideObeyed: Law = {
  name: 'outside-obeyed',
  says: 'Whoever is said to be down from outside is down in the same turn and for as long as it is said, and no longer for that reason.',
  watch: (view) => ({
    turn({ event, verdicts }) {
      for (const [name, { state, domain, severed }] of verdicts) {
        const { outside } = view.world.process.state;
        const condemned = outside.some((each) => each.uplink === name && each.state === 'down' && each.until > event.at);
        if (condemned && state !== 'down') return `${name} is said to be down, and is ${state}`;
        if (!condemned && domain === 'outside') return `nobody says that ${name} is down, and it still is for that`;
        if (event.type === 'verdict' && event.uplink === name && event.verdict?.state === 'down' && !severed && domain !== 'outside') return `${name} was said to be down: domain ${domain}`;
      }
      return '';
    },
    tick() {
      const { now } = view.world.agenda;
      const late = view.world.process.state.outside.find(({ until }) => until < now - 20);
      return late === undefined || !isOrdinary(view, 100) || view.world.startedAt === Infinity ? '' : `what ${late.by} said of ${late.uplink} should have ended ${Math.round(now - late.until)} ms ago`;
    },
  }),
};

export const poorOnlyAlone: Law = {
  name: 'poor-only-alone',
  says: 'An uplink that works badly leads only while nobody who is well and rested stands by.',
  watch(view) {
    let since = 0;
    return {
      tick() {
        const { world, decision } = view;
        const { now } = world.agenda;
        const verdicts = view.verdicts();
        const led = decision?.ranks[0]?.members.map((member) => verdicts.get(member.uplink)!) ?? [];
        const well = [...verdicts.values()].find((each) => each.state === 'up' && !each.inDoubt && (each.holdUntil ?? 0) <= now && !led.includes(each));
        const wrong = led.length > 0 && led.every(({ state }) => state === 'degraded') && well !== undefined && decision?.rule !== 'override';
        if (!wrong || world.starvedAt > now - 200 || world.startedAt === Infinity) since = now;
        return now - since > 400 ? `${led[0]!.uplink} is degraded and leads, though ${well?.uplink} is well` : '';
      },
    };
  },
};

export const allAtOnceIsSaid: Law = {
  name: 'all-at-once-is-said',
  says: 'When all uplinks fall silent together their verdicts say so, and somebody goes on carrying.',
  watch(view) {
    let well = false;
    return {
      tick() {
        const { world, isps, decision } = view;
        const { now } = world.agenda;
        const verdicts = [...view.verdicts().values()];
        const begun = isps.map((isp) => isp.deadSince ?? Infinity);
        const from = Math.max(...begun);
        if (begun.every((at) => at === Infinity)) well = isps.length > 1 && verdicts.length === isps.length && verdicts.every(({ state }) => state === 'up');
        else if (from - Math.min(...begun) > 1) well = false;
        const certain = verdicts.some(({ severed, domain }) => severed || domain === 'outside');
        const silent = verdicts.every(({ state }) => state === 'suspect' || state === 'down');
        if (!well || certain || !silent || now - from < 100 || !isOrdinary(view, now - from + 6000) || now - world.startedAt < now - from) return '';
        if ((decision?.ranks.length ?? 0) === 0) return 'all are silent, and nobody leads';
        const other = verdicts.find(({ domain }) => domain !== 'everything');
        return other === undefined ? '' : `all fell silent at once, and of ${other.uplink} it is said: ${other.because} (${other.domain})`;
      },
    };
  },
};

/** Since when the truth is that connections of this line get answers, and are many enough to tell. */
const flowing = new WeakMap<Isp, number>();

function noteFlows({ world }: View, isp: Isp): void {
  const well = isp.flowPerS >= 200 && isp.lossChance === 0 && carries(isp, world.kernel) && isp.condemnedBy.size === 0;
  if (!well || world.startedAt === Infinity) flowing.delete(isp);
  else if (!flowing.has(isp)) flowing.set(isp, world.agenda.now);
}

function flowsSince({ world }: View, isp: Isp): number {
  const since = flowing.get(isp);
  return since === undefined || !carries(isp, world.kernel) ? 0 : world.agenda.now - since;
}
