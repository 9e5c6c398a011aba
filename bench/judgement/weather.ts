/**
 * What can happen to a line, each kind drawn from the dice into overlays. Durations are drawn so that short ones are as common as long ones
 * on a logarithmic scale: most outages are seconds, most of the lost time is minutes.
 */
import type { Dice } from '../../test/sim/dice.js';
import { OPERATORS, type Overlay } from './line.js';

export interface Kind {
  readonly name: string;
  /** How often it is drawn, relative to the others. */
  readonly weight: number;
  readonly lastsMs: readonly [least: number, most: number];
  readonly draw: (dice: Dice, from: number, to: number) => readonly Overlay[];
}

const SECOND = 1000;
const MINUTE = 60 * SECOND;

/** Of one line. */
export const KINDS: readonly Kind[] = [
  { name: 'lossy', weight: 3, lastsMs: [10 * SECOND, 10 * MINUTE], draw: drawLossy },
  { name: 'bursty loss', weight: 3, lastsMs: [30 * SECOND, 10 * MINUTE], draw: drawBursty },
  { name: 'slow', weight: 2, lastsMs: [10 * SECOND, 10 * MINUTE], draw: drawSlow },
  { name: 'flapping', weight: 2, lastsMs: [30 * SECOND, 10 * MINUTE], draw: drawFlapping },
  { name: 'upstream dead', weight: 4, lastsMs: [SECOND, 20 * MINUTE], draw: (dice, from, to) => [drawDeath(dice, from, to, 'upstream')] },
  { name: 'gateway dead', weight: 2, lastsMs: [SECOND, 20 * MINUTE], draw: (dice, from, to) => [drawDeath(dice, from, to, 'access')] },
  { name: 'carrier lost', weight: 2, lastsMs: [500, 10 * MINUTE], draw: (_, from, to) => [{ from, to, severed: true }] },
  { name: 'hiccups', weight: 3, lastsMs: [2 * MINUTE, 30 * MINUTE], draw: drawHiccups },
  { name: 'half dead', weight: 2, lastsMs: [10 * SECOND, 10 * MINUTE], draw: drawHalfDead },
  { name: 'one way', weight: 1, lastsMs: [SECOND, 5 * MINUTE], draw: (dice, from, to) => [drawDeath(dice, from, to, dice.pick(['access', 'upstream']))] },
  { name: 'full upload', weight: 3, lastsMs: [30 * SECOND, 10 * MINUTE], draw: drawFull },
  { name: 'echoes blocked', weight: 0.5, lastsMs: [MINUTE, 15 * MINUTE], draw: (_, from, to) => [{ from, to, blocked: true }] },
];

/** Of all lines at once, or of a target, one target at a time. `lines`: how many there are; one list of overlays for each. */
export interface SharedKind {
  readonly name: string;
  readonly ofTarget: boolean;
  readonly weight: number;
  readonly lastsMs: readonly [least: number, most: number];
  readonly draw: (dice: Dice, from: number, to: number, lines: number) => readonly (readonly Overlay[])[];
}

export const SHARED_KINDS: readonly SharedKind[] = [
  { name: 'everything silent', ofTarget: false, weight: 3, lastsMs: [500, 15 * SECOND], draw: drawEverything },
  { name: 'target rate-limited', ofTarget: true, weight: 3, lastsMs: [10 * MINUTE, 180 * MINUTE], draw: drawRateLimited },
  { name: 'target dead', ofTarget: true, weight: 2, lastsMs: [10 * MINUTE, 180 * MINUTE], draw: (dice, from, to, lines) => each(lines, { from, to, drop: { operator: dice.pick(OPERATORS), chance: 1 } }) },
];

/** As likely between 1 and 2 as between 100 and 200. */
export function logBetween(dice: Dice, least: number, most: number): number {
  return least * (most / least) ** dice.next();
}

export function pickWeighted<T extends { readonly weight: number }>(dice: Dice, kinds: readonly T[]): T {
  let left = dice.next() * kinds.reduce((sum, kind) => sum + kind.weight, 0);
  for (const kind of kinds) if ((left -= kind.weight) < 0) return kind;
  return kinds[kinds.length - 1]!;
}

function drawLossy(dice: Dice, from: number, to: number): readonly Overlay[] {
  const survives = 1 - logBetween(dice, 0.03, 0.5);
  return [dice.chance(0.5) ? { from, to, access: survives } : { from, to, upstream: survives }];
}

/** Gilbert and Elliott: a good state with little loss and a bad one with much. */
function drawBursty(dice: Dice, from: number, to: number): readonly Overlay[] {
  const goodMs = logBetween(dice, 2 * SECOND, 30 * SECOND);
  const badMs = logBetween(dice, 200, 3 * SECOND);
  const survives = 1 - dice.between(0.6, 1);
  const place = dice.pick(['access', 'upstream'] as const);
  const overlays: Overlay[] = [];
  for (let at = from + exponential(dice, goodMs); at < to;) {
    const end = Math.min(to, at + exponential(dice, badMs));
    overlays.push({ from: at, to: end, [place]: survives });
    at = end + exponential(dice, goodMs);
  }
  return overlays;
}

function drawSlow(dice: Dice, from: number, to: number): readonly Overlay[] {
  const delayMs = logBetween(dice, 50, 750);
  const jitterMs = delayMs * dice.between(0.02, 0.2);
  return [dice.chance(0.5) ? { from, to, accessDelayMs: delayMs, jitterMs } : { from, to, upstreamDelayMs: delayMs, jitterMs }];
}

function drawFlapping(dice: Dice, from: number, to: number): readonly Overlay[] {
  const downMs = logBetween(dice, 500, MINUTE);
  const upMs = logBetween(dice, SECOND, 2 * MINUTE);
  const how = dice.pick(['severed', 'access', 'upstream'] as const);
  const overlays: Overlay[] = [];
  for (let at = from; at < to;) {
    const end = Math.min(to, at + downMs * dice.between(0.5, 1.5));
    overlays.push(how === 'severed' ? { from: at, to: end, severed: true } : { from: at, to: end, [how]: 0 });
    at = end + upMs * dice.between(0.5, 1.5);
  }
  return overlays;
}

/** Beyond the gateway a few packets may still get through. */
function drawDeath(dice: Dice, from: number, to: number, place: 'access' | 'upstream'): Overlay {
  return { from, to, [place]: dice.chance(0.8) ? 0 : dice.between(0, 0.05) };
}

function drawHiccups(dice: Dice, from: number, to: number): readonly Overlay[] {
  const everyMs = logBetween(dice, 5 * SECOND, 3 * MINUTE);
  const place = dice.pick(['access', 'upstream'] as const);
  const overlays: Overlay[] = [];
  for (let at = from + everyMs * dice.next(); at < to; at += everyMs * dice.between(0.5, 1.5)) overlays.push({ from: at, to: at + dice.between(100, 900), [place]: 0 });
  return overlays;
}

function drawHalfDead(dice: Dice, from: number, to: number): readonly Overlay[] {
  return [{ from, to, reach: { share: 1 - dice.between(0.15, 0.9), key: dice.whole(1, 1e9) } }];
}

/** The queue fills as fast as more is sent than the line takes, and drains when the upload ends. */
function drawFull(dice: Dice, from: number, to: number): readonly Overlay[] {
  const delayMs = dice.between(200, 500);
  const jitterShare = dice.between(0.05, 0.2);
  const access = 1 - dice.between(0, 0.03);
  const fillsMs = Math.min((to - from) / 3, logBetween(dice, 500, 5 * SECOND));
  const steps = Math.ceil(fillsMs / 100);
  const at = (i: number, share: number, end: number): Overlay => ({ from: from + (fillsMs * i) / steps, to: end, full: true, accessDelayMs: delayMs * share, jitterMs: delayMs * share * jitterShare, access });
  const filling = Array.from({ length: steps }, (_, i) => at(i, (i + 1) / (steps + 1), from + (fillsMs * (i + 1)) / steps));
  return [...filling, at(steps, 1, to)];
}

/** Our own switch, or the internet: no gateway answers, or all do and nobody else. */
function drawEverything(dice: Dice, from: number, to: number, lines: number): readonly (readonly Overlay[])[] {
  return each(lines, dice.chance(0.5) ? { from, to, access: 0 } : { from, to, upstream: 0 });
}

function drawRateLimited(dice: Dice, from: number, to: number, lines: number): readonly (readonly Overlay[])[] {
  const overlay: Overlay = { from, to, drop: { operator: dice.pick(OPERATORS), chance: dice.between(0.5, 0.97) } };
  if (dice.chance(0.5)) return each(lines, overlay);
  const only = dice.whole(0, lines - 1);
  return Array.from({ length: lines }, (_, i) => (i === only ? [overlay] : []));
}

function each(lines: number, overlay: Overlay): readonly (readonly Overlay[])[] {
  return Array.from({ length: lines }, () => [overlay]);
}

function exponential(dice: Dice, mean: number): number {
  return -Math.log(1 - dice.next()) * mean;
}
