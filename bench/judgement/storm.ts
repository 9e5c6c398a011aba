/**
 * A storm: two to four lines over one to three hours, what the weather does to them, and what the LAN sends meanwhile. All of it is drawn from
 * one seed before anybody looks at it, so that every contestant meets the very same storm.
 *
 * Each line has a temper of its own (how long it is left in peace, and which kinds of weather it is prone to). The first minute is calm:
 * nobody is judged by how he starts.
 */
import { openDice, type Dice } from '../../test/sim/dice.js';
import { openLine, type Base, type Line, type Overlay } from './line.js';
import { KINDS, logBetween, pickWeighted, SHARED_KINDS } from './weather.js';

/** One connection of the LAN; it goes where new connections go when it begins, and sends at a steady pace. */
export interface Flow {
  readonly beginAt: number;
  readonly endAt: number;
  readonly packetsPerSecond: number;
  readonly bytesPerPacket: number;
}

/** For people: what the weather was. `line` undefined = all of them, or a target. */
export interface Spell {
  readonly name: string;
  readonly line: number | undefined;
  readonly from: number;
  readonly to: number;
}

export interface Storm {
  readonly seed: number;
  readonly lengthMs: number;
  /** In order of preference. */
  readonly lines: readonly Line[];
  /** In order of their beginning. */
  readonly flows: readonly Flow[];
  readonly spells: readonly Spell[];
}

export const CALM_MS = 60_000;

const SECOND = 1000;
const MINUTE = 60 * SECOND;

export function drawStorm(seed: number): Storm {
  const dice = openDice(seed);
  const lengthMs = dice.between(60, 180) * MINUTE;
  const count = dice.pick([2, 2, 2, 3, 3, 4]);
  const spells: Spell[] = [];
  const overlays: Overlay[][] = Array.from({ length: count }, () => []);
  for (let line = 0; line < count; line++) overlays[line]!.push(...drawWeather(openDice(seed * 31 + 7 * line + 1), lengthMs, line, spells));
  drawShared(openDice(seed * 37 + 5), lengthMs, overlays, spells);
  const metered = dice.chance(0.4) ? count - 1 : -1;
  const lines = overlays.map((own, index) => openLine({ name: LINE_NAMES[index]!, index, metered: index === metered, base: drawBase(dice) }, own));
  spells.sort((a, b) => a.from - b.from);
  return { seed, lengthMs, lines, flows: drawFlows(openDice(seed * 41 + 3), lengthMs), spells };
}

/** For tests and single questions: exactly this weather. */
export function craftStorm(lengthMs: number, overlays: readonly (readonly Overlay[])[], flows: readonly Flow[] = [], base: Partial<Base> = {}): Storm {
  const plain: Base = { gatewayRttMs: 1, rttMs: 20, jitterMs: 0.5, loss: 0, ...base };
  return { seed: 0, lengthMs, flows, spells: [], lines: overlays.map((own, index) => openLine({ name: LINE_NAMES[index]!, index, metered: false, base: plain }, own)) };
}

/** A stream of dice for one contestant on one storm: what his probes suffer does not depend on what others did. */
export function diceOf(storm: Storm, contestant: string): Dice {
  let hash = storm.seed;
  for (const char of contestant) hash = Math.imul(hash ^ char.charCodeAt(0), 0x01000193);
  return openDice(hash);
}

/** Connections as an office makes them, in busy and in quiet times. */
export function drawFlows(dice: Dice, lengthMs: number): readonly Flow[] {
  const flows: Flow[] = [];
  for (let at = 0, busy = dice.chance(0.7); at < lengthMs; busy = !busy) {
    const until = Math.min(lengthMs, at + (busy ? logBetween(dice, 5 * MINUTE, 60 * MINUTE) : logBetween(dice, MINUTE, 20 * MINUTE)));
    const everyMs = busy ? logBetween(dice, 700, 10 * SECOND) : logBetween(dice, 20 * SECOND, 3 * MINUTE);
    for (let beginAt = at - Math.log(1 - dice.next()) * everyMs; beginAt < until; beginAt -= Math.log(1 - dice.next()) * everyMs) flows.push(drawFlow(dice, beginAt));
    at = until;
  }
  return flows;
}

const LINE_NAMES = ['fibre', 'cable', 'lte', 'radio'] as const;

/** Most are short, one in twelve is a call, a tunnel or a download. */
function drawFlow(dice: Dice, beginAt: number): Flow {
  const lastsMs = dice.chance(1 / 12) ? logBetween(dice, MINUTE, 60 * MINUTE) : logBetween(dice, 200, MINUTE);
  return { beginAt, endAt: beginAt + lastsMs, packetsPerSecond: logBetween(dice, 1, 100), bytesPerPacket: dice.between(80, 1400) };
}

function drawBase(dice: Dice): Base {
  const rttMs = logBetween(dice, 5, 80);
  return { gatewayRttMs: Math.min(rttMs / 2, logBetween(dice, 0.3, 8)), rttMs, jitterMs: rttMs * logBetween(dice, 0.01, 0.15), loss: dice.chance(0.4) ? 0 : logBetween(dice, 0.0001, 0.005) };
}

function drawWeather(dice: Dice, lengthMs: number, line: number, spells: Spell[]): readonly Overlay[] {
  const peaceMs = logBetween(dice, 3 * MINUTE, 40 * MINUTE);
  const kinds = KINDS.map((kind) => ({ ...kind, weight: kind.weight * logBetween(dice, 0.2, 5) }));
  const overlays: Overlay[] = [];
  for (let at = CALM_MS - Math.log(1 - dice.next()) * peaceMs; at < lengthMs;) {
    const kind = pickWeighted(dice, kinds);
    const to = at + logBetween(dice, ...kind.lastsMs);
    overlays.push(...kind.draw(dice, at, to));
    spells.push({ name: kind.name, line, from: at, to });
    at = to + 5 * SECOND - Math.log(1 - dice.next()) * peaceMs;
  }
  return overlays;
}

function drawShared(dice: Dice, lengthMs: number, overlays: readonly Overlay[][], spells: Spell[]): void {
  const peaceMs = logBetween(dice, 15 * MINUTE, 120 * MINUTE);
  let targetUntil = -Infinity;
  for (let at = CALM_MS - Math.log(1 - dice.next()) * peaceMs; at < lengthMs; at += SECOND - Math.log(1 - dice.next()) * peaceMs) {
    const kind = pickWeighted(dice, SHARED_KINDS);
    const to = at + logBetween(dice, ...kind.lastsMs);
    if (kind.ofTarget && at < targetUntil) continue;
    if (kind.ofTarget) targetUntil = to;
    kind.draw(dice, at, to, overlays.length).forEach((own, line) => overlays[line]!.push(...own));
    spells.push({ name: kind.name, line: undefined, from: at, to });
  }
}
