/**
 * Single questions with a bar each: long spans of one kind of weather on the active line, with an office at work behind it, and a healthy line
 * standing by.
 */
import { status } from '../../src/core/status.js';
import type { Instant, UplinkStatus } from '../../src/model.js';
import { openDice } from '../../test/sim/dice.js';
import type { Overlay } from './line.js';
import { run, type Sensitivity } from './ours.js';
import { scoreOf, type Score } from './score.js';
import { CALM_MS, craftStorm, drawFlows, type Storm } from './storm.js';

export interface Answer {
  readonly what: string;
  readonly figure: string;
  readonly bar: string;
  readonly within: boolean;
}

/** Each is answered by itself, so that they can be shared out. */
export const QUESTIONS: readonly (() => readonly Answer[])[] = [
  () => randomLoss('balanced'),
  () => randomLoss('calm'),
  () => hiccups('balanced'),
  () => hiccups('calm'),
  () => oneTarget('dead', 1),
  () => oneTarget('rate-limited to 15 %', 0.85),
  () => fullUpload(),
];

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const BASE = { gatewayRttMs: 1.5, rttMs: 18, jitterMs: 1, loss: 0 } as const;

interface Seen {
  readonly score: Score;
  readonly suspicions: number;
  readonly cuts: number;
}

function randomLoss(sensitivity: Sensitivity): readonly Answer[] {
  const hours = 24;
  const { score, suspicions } = see(officeStorm(hours * HOUR, [{ from: CALM_MS, to: Infinity, access: 0.95 }], 1), sensitivity);
  const what = `${sensitivity}, 24 h of 5 % random loss on the active line`;
  return [
    { what: `${what}: changes of active`, figure: String(score.flaps), bar: '0', within: score.flaps === 0 },
    { what: `${what}: suspicions per hour`, figure: (suspicions / hours).toFixed(2), bar: '<= 1', within: suspicions / hours <= 1 },
  ];
}

function hiccups(sensitivity: Sensitivity): readonly Answer[] {
  const overlays: Overlay[] = [];
  // Not in step with anybody's probes.
  for (let at = CALM_MS + 10 * SECOND; at < 24 * HOUR; at += MINUTE + 37) overlays.push({ from: at, to: at + 400, upstream: 0 });
  const { score, cuts } = see(officeStorm(24 * HOUR, overlays, 2), sensitivity);
  return [{
    what: `${sensitivity}, 24 h of hiccups of 400 ms each minute: old flows cut`, figure: `${score.brokenFlows} of ${score.flows} in ${cuts} cuts (${score.flaps} changes of active)`, bar: '0',
    within: score.brokenFlows === 0,
  }];
}

function oneTarget(how: string, chance: number): readonly Answer[] {
  const from = 10 * MINUTE;
  const to = from + 12 * HOUR;
  let asked = 0;
  let named = 0;
  let nextAt = from + 5 * MINUTE;
  const storm = officeStorm(to + 10 * MINUTE, [{ from, to, drop: { operator: 'cloudflare', chance } }], 3);
  const { trace } = run(storm, 'balanced', (state, event) => {
    if (event.at < nextAt || event.at >= to) return;
    nextAt = event.at + MINUTE;
    asked++;
    if (isNamed(status(state, event.at as Instant).uplinks[0]!, '1.1.1.1')) named++;
  });
  const { flaps } = scoreOf(storm, trace);
  return [
    { what: `balanced, one of three targets ${how} for 12 h: failovers`, figure: String(flaps), bar: '0', within: flaps === 0 },
    { what: `balanced, one of three targets ${how} for 12 h: named in the status`, figure: `${((100 * named) / asked).toFixed(0)} % of the time`, bar: '>= 95 %', within: named / asked >= 0.95 },
  ];
}

/** In its own evidence, or as a target that does not answer as it should. */
function isNamed({ evidence, targets }: UplinkStatus, host: string): boolean {
  const said = evidence.some(({ witness, name, says }) => witness === 'target' && name.includes(host) && says !== 'alive');
  return said || targets.some(({ target, answering, lossPercent = 0 }) => target.includes(host) && (!answering || lossPercent >= 50));
}

function fullUpload(): readonly Answer[] {
  const runs = 24;
  let changes = 0;
  for (let i = 1; i <= runs; i++) {
    const from = 10 * MINUTE + i * 1237;
    const to = from + 10 * MINUTE;
    // The queue fills over two seconds.
    const filling = Array.from({ length: 20 }, (_, n): Overlay => ({ from: from + 100 * n, to: from + 100 * (n + 1), full: true, accessDelayMs: 20 * n, jitterMs: n }));
    const storm = officeStorm(to + 5 * MINUTE, [...filling, { from: from + 2000, to, full: true, accessDelayMs: 400, jitterMs: 20, access: 0.99 }], 10 + i);
    changes += see(storm, 'balanced').score.flaps;
  }
  return [{ what: `balanced, full upload (+400 ms) for ten minutes, ${runs} times: failovers`, figure: String(changes), bar: '0', within: changes === 0 }];
}

function officeStorm(lengthMs: number, overlays: readonly Overlay[], seed: number): Storm {
  const until = overlays.map((overlay) => ({ ...overlay, to: Math.min(overlay.to, lengthMs + MINUTE) }));
  return { ...craftStorm(lengthMs, [until, []], drawFlows(openDice(seed), lengthMs), BASE), seed };
}

function see(storm: Storm, sensitivity: Sensitivity): Seen {
  let suspicions = 0;
  let was = '';
  const { trace } = run(storm, sensitivity, (state, event) => {
    const now = state.planes.get(4)?.health.get('fibre')?.state ?? '';
    if (now === 'suspect' && was !== now && event.at > CALM_MS) suspicions++;
    was = now;
  });
  return { score: scoreOf(storm, trace), suspicions, cuts: trace.cuts.length };
}
