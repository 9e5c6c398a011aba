/**
 * The judgement bench holds still: its models of the peers take the time that their documentation and source say, its storms are the same for the
 * same seed, and its score is plain arithmetic.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { answerChance, flowChance, openLine, openView, type Overlay } from '../../bench/judgement/line.js';
import { PEERS } from '../../bench/judgement/peers/all.js';
import { OPNSENSE_PUBLIC, PFSENSE_GATEWAY, PFSENSE_PUBLIC } from '../../bench/judgement/peers/dpinger.js';
import type { Contestant } from '../../bench/judgement/peers/monitor.js';
import { MWAN3_ONE_TARGET, MWAN3_SHIPPED } from '../../bench/judgement/peers/mwan3.js';
import { NETWATCH } from '../../bench/judgement/peers/netwatch.js';
import { VYOS_NEXTHOP, VYOS_PUBLIC } from '../../bench/judgement/peers/vyos.js';
import { addScores, NO_SCORE, perDay, scoreOf, type Trace } from '../../bench/judgement/score.js';
import { craftStorm, drawStorm, type Flow, type Storm } from '../../bench/judgement/storm.js';
import { KINDS, SHARED_KINDS } from '../../bench/judgement/weather.js';
import { openDice } from './dice.js';

const MINUTE = 60_000;
const DIES_AT = 10 * MINUTE;
const LIVES_AT = 25 * MINUTE;
const PHASES = 60;

/** One outage of the first line, met by the model at many phases of its clockwork: how long until it left, and until it was back. */
function metAtManyPhases(peer: Contestant, overlay: Omit<Overlay, 'from' | 'to'>): { readonly left: readonly number[]; readonly back: readonly number[] } {
  const met = Array.from({ length: PHASES }, (_, i) => {
    const [from, to] = [DIES_AT + 137 * i, LIVES_AT + 211 * i];
    const { changes } = peer.play({ ...craftStorm(40 * MINUTE, [[{ from, to, ...overlay }], []]), seed: i + 1 });
    return { left: (changes.find(({ line }) => line !== 0)?.at ?? Infinity) - from, back: (changes.find(({ at, line }) => at > to && line === 0)?.at ?? Infinity) - to };
  });
  return { left: met.map(({ left }) => left), back: met.map(({ back }) => back) };
}

/** Worst cases as computed from the peers' source and documentation, ms; `spread`: how much earlier the worst of a few phases may be. A round that is under way when the
 * line comes back is part of the way back. */
const DETECTION: readonly { readonly peer: Contestant; readonly downMs: number; readonly upMs: number; readonly spreadMs: number }[] = [
  { peer: MWAN3_SHIPPED, downMs: 130_000, upMs: 54_200, spreadMs: 1500 },
  { peer: MWAN3_ONE_TARGET, downMs: 70_000, upMs: 54_200, spreadMs: 1500 },
  { peer: PFSENSE_PUBLIC, downMs: 16_000, upMs: 58_600, spreadMs: 1000 },
  { peer: OPNSENSE_PUBLIC, downMs: 18_000, upMs: 50_100, spreadMs: 1500 },
  { peer: VYOS_PUBLIC, downMs: 10_100, upMs: 10_100, spreadMs: 1500 },
  { peer: NETWATCH, downMs: 13_000, upMs: 10_100, spreadMs: 1500 },
];

for (const { peer, downMs, upMs, spreadMs } of DETECTION) {
  test(`the model of ${peer.name} needs at worst ${downMs / 1000} s to leave a silent line`, () => {
    const { left, back } = metAtManyPhases(peer, { upstream: 0 });
    const [worst, worstBack] = [Math.max(...left), Math.max(...back)];
    assert.ok(worst <= downMs && worst >= downMs - spreadMs, `left after ${worst} ms at worst`);
    assert.ok(worstBack <= upMs && worstBack >= upMs - 2 * spreadMs, `back after ${worstBack} ms at worst`);
  });
}

test('who asks the gateway sees a dead gateway, and never a dead provider behind a live one', () => {
  for (const [peer, downMs] of [[PFSENSE_GATEWAY, 16_000], [VYOS_NEXTHOP, 10_100]] as const) {
    const worst = Math.max(...metAtManyPhases(peer, { access: 0 }).left);
    assert.ok(worst <= downMs && worst > downMs / 2, `${peer.name}: ${worst} ms`);
    assert.equal(Math.min(...metAtManyPhases(peer, { upstream: 0 }).left), Infinity, peer.name);
  }
});

test('every model leaves a line without carrier at once', () => {
  for (const peer of PEERS) {
    const { left } = metAtManyPhases(peer, { severed: true });
    assert.equal(Math.max(...left), 0, peer.name);
  }
});

test('one lost echo costs VyOS and netwatch the line, and neither mwan3 nor dpinger', () => {
  const storm = craftStorm(30 * MINUTE, [[{ from: 0, to: 30 * MINUTE, access: 0.97 }], []]);
  const leaves = (peer: Contestant): boolean => peer.play(storm).changes.some(({ line }) => line !== 0);
  assert.deepEqual([MWAN3_SHIPPED, MWAN3_ONE_TARGET, PFSENSE_GATEWAY, PFSENSE_PUBLIC, OPNSENSE_PUBLIC].map(leaves), [false, false, false, false, false]);
  assert.deepEqual([VYOS_NEXTHOP, VYOS_PUBLIC, NETWATCH].map(leaves), [true, true, true]);
});

test('a quarter of the echoes lost, or 600 ms of round trip, is an alarm for dpinger and nothing for mwan3', () => {
  const weathers: readonly Omit<Overlay, 'from' | 'to'>[] = [{ access: 0.7 }, { accessDelayMs: 600 }];
  for (const weather of weathers) {
    const storm = craftStorm(30 * MINUTE, [[{ from: DIES_AT, to: 30 * MINUTE, ...weather }], []]);
    const leaves = (peer: Contestant): boolean => peer.play(storm).changes.some(({ line }) => line !== 0);
    assert.deepEqual([MWAN3_SHIPPED, PFSENSE_GATEWAY, PFSENSE_PUBLIC, OPNSENSE_PUBLIC].map(leaves), [false, true, true, true]);
  }
});

test('with every line silent mwan3 has none, and the others keep the first', () => {
  const dead: Overlay = { from: DIES_AT, to: 40 * MINUTE, access: 0 };
  const storm = craftStorm(40 * MINUTE, [[dead], [dead]]);
  const last = (peer: Contestant): number => peer.play(storm).changes.at(-1)!.line;
  assert.deepEqual([MWAN3_SHIPPED, PFSENSE_PUBLIC, VYOS_PUBLIC].map(last), [-1, 0, 0]);
});

test('the truth of a line: usable, poor, dead', () => {
  const truth = (overlay: Omit<Overlay, 'from' | 'to'>): string => craftStorm(1000, [[{ from: 0, to: 1000, ...overlay }]]).lines[0]!.conditions[1]!.truth;
  assert.deepEqual([{}, { access: 0.95 }, { blocked: true as const }, { upstreamDelayMs: 900 }, { reach: { share: 0.85, key: 1 } }].map(truth), Array(5).fill('usable'));
  assert.deepEqual([{ access: 0.89 }, { access: 0.94, upstream: 0.94 }, { upstreamDelayMs: 1000 }, { reach: { share: 0.6, key: 1 } }].map(truth), Array(4).fill('poor'));
  assert.deepEqual([{ severed: true as const }, { access: 0.5 }, { upstream: 0 }, { reach: { share: 0.3, key: 1 } }].map(truth), Array(4).fill('dead'));
});

test('overlays add up while they lie over each other, and are gone afterwards', () => {
  const base = { gatewayRttMs: 1, rttMs: 20, jitterMs: 0, loss: 0 };
  const line = openLine({ name: 'fibre', index: 0, metered: false, base }, [{ from: 100, to: 300, access: 0.5, accessDelayMs: 10 }, { from: 200, to: 400, upstream: 0.5, drop: { operator: 'google', chance: 1 } }]);
  const view = openView(line);
  const chances = [50, 150, 250, 350, 450].map((at) => [answerChance(view.at(at), 'gateway'), answerChance(view.at(at), '1.1.1.1'), answerChance(view.at(at), '8.8.8.8'), flowChance(view.at(at))]);
  assert.deepEqual(chances, [[1, 1, 1, 1], [0.5, 0.5, 0.5, 0.5], [0.5, 0.25, 0, 0.25], [1, 0.5, 0, 0.5], [1, 1, 1, 1]]);
  assert.deepEqual([50, 150, 350].map((at) => view.at(at).rttMs), [20, 30, 20]);
});

test('an answer that is on its way when the line dies does not arrive', () => {
  const view = openView(craftStorm(1000, [[{ from: 500, to: 1000, upstream: 0 }]], [], { rttMs: 100, jitterMs: 0 }).lines[0]!);
  const dice = { next: () => 0, between: () => 0, whole: () => 0, chance: (probability: number) => probability > 0, pick: <T>(list: readonly T[]): T => list[0]! };
  assert.equal(view.ask('1.1.1.1', 399, dice), 100);
  assert.equal(view.ask('1.1.1.1', 401, dice), undefined);
});

const outage: Overlay = { from: 10 * MINUTE, to: 20 * MINUTE, upstream: 0 };
const stay = (changes: Trace['changes'], rest: Partial<Trace> = {}): Trace => ({ changes, cuts: [], flowsFollow: 'line', ...rest });

test('outage counts while the active line is dead and another is usable, poor likewise', () => {
  const storm = craftStorm(30 * MINUTE, [[outage], [{ from: 15 * MINUTE, to: 30 * MINUTE, access: 0.8 }]]);
  assert.equal(scoreOf(storm, stay([{ at: 0, line: 0 }])).outageMs, 5 * MINUTE, 'from 15 on the other one is poor: nothing to be gained');
  assert.equal(scoreOf(storm, stay([{ at: 0, line: 0 }, { at: 12 * MINUTE, line: 1 }])).outageMs, 2 * MINUTE);
  assert.equal(scoreOf(storm, stay([{ at: 0, line: 0 }, { at: 12 * MINUTE, line: 1 }])).poorMs, 10 * MINUTE, 'from 20 on the first one would be usable');
  assert.equal(scoreOf(storm, stay([{ at: 0, line: -1 }])).outageMs, 24 * MINUTE, 'none at all is as bad as a dead one; the first minute does not count');
});

test('a failover is false when it leaves a line that was usable, fast and steady, unless a usable preferred one takes over', () => {
  const storm = craftStorm(30 * MINUTE, [[outage], [], [{ from: 0, to: 30 * MINUTE, accessDelayMs: 600 }]]);
  const falseOnes = (from: number, at: number, to: number): number => scoreOf(storm, stay([{ at: 0, line: from }, { at, line: to }])).falseFailovers;
  assert.equal(falseOnes(0, 5 * MINUTE, 1), 1, 'nothing was wrong');
  assert.equal(falseOnes(0, 5 * MINUTE, -1), 1, 'nor is it better to have none');
  assert.equal(falseOnes(0, 10 * MINUTE, 1), 0, 'it dies at this very instant, as a cut cable does');
  assert.equal(falseOnes(0, 10 * MINUTE + 100, 1), 0, 'it is dead');
  assert.equal(falseOnes(0, 20 * MINUTE + 1000, 1), 0, 'it has just come back');
  assert.equal(falseOnes(0, 20 * MINUTE + 50_000, 1), 0, 'it was bad for more than 10 % of the last minute');
  assert.equal(falseOnes(0, 20 * MINUTE + 55_000, 1), 1, 'too late to leave');
  assert.equal(falseOnes(1, 25 * MINUTE, 0), 0, 'a fail-back');
  assert.equal(falseOnes(1, 15 * MINUTE, 0), 1, 'a fail-back to a dead line');
  assert.equal(falseOnes(2, 25 * MINUTE, -1), 0, 'slow');
});

test('a hiccup may be fled from while it is fresh; a line full of our own upload may not', () => {
  const storm = craftStorm(30 * MINUTE, [[{ from: 10 * MINUTE, to: 10 * MINUTE + 400, upstream: 0 }, { from: 15 * MINUTE, to: 25 * MINUTE, accessDelayMs: 550, full: true }], []]);
  const falseOnes = (at: number): number => scoreOf(storm, stay([{ at: 0, line: 0 }, { at, line: 1 }])).falseFailovers;
  assert.deepEqual([10 * MINUTE + 300, 10 * MINUTE + 2300, 10 * MINUTE + 2500, 20 * MINUTE].map(falseOnes), [0, 0, 1, 1]);
});

test('who averages over a minute may leave a line that was slow until a moment ago', () => {
  const storm = craftStorm(30 * MINUTE, [[{ from: 10 * MINUTE, to: 11 * MINUTE, accessDelayMs: 600 }], []]);
  const falseOnes = (at: number): number => scoreOf(storm, stay([{ at: 0, line: 0 }, { at, line: 1 }])).falseFailovers;
  assert.deepEqual([10.5 * MINUTE, 11 * MINUTE + 10_000, 11 * MINUTE + 55_000].map(falseOnes), [0, 0, 1]);
});

test('flaps are all changes after the first minute, and a choice of the same line is none', () => {
  const storm = craftStorm(30 * MINUTE, [[], []]);
  assert.equal(scoreOf(storm, stay([{ at: 0, line: 1 }, { at: 2000, line: 0 }, { at: 2 * MINUTE, line: 0 }, { at: 3 * MINUTE, line: 1 }, { at: 4 * MINUTE, line: 0 }])).flaps, 2);
});

test('connections break by a cut, by more than a minute of death, and where they follow the route by more than a minute elsewhere', () => {
  const flow = (beginAt: number, endAt: number): Flow => ({ beginAt, endAt, packetsPerSecond: 10, bytesPerPacket: 500 });
  const flows = [flow(2 * MINUTE, 5 * MINUTE), flow(9 * MINUTE, 11.5 * MINUTE), flow(9 * MINUTE, 10.9 * MINUTE), flow(12 * MINUTE, 13 * MINUTE), flow(22 * MINUTE, 28 * MINUTE)];
  const storm = craftStorm(30 * MINUTE, [[outage], []], flows);
  const broken = (trace: Trace): readonly number[] => [scoreOf(storm, trace).flows, scoreOf(storm, trace).brokenFlows];
  assert.deepEqual(broken(stay([{ at: 0, line: 0 }])), [4, 1], 'one could not even begin; one ended within a minute of the death');
  assert.deepEqual(broken(stay([{ at: 0, line: 0 }], { cuts: [{ at: 3 * MINUTE, line: 0 }, { at: 3 * MINUTE, line: 1 }, { at: 10.5 * MINUTE, line: 0 }] })), [4, 3]);
  const away: Trace['changes'] = [{ at: 0, line: 0 }, { at: 23 * MINUTE, line: 1 }, { at: 25 * MINUTE, line: 0 }];
  assert.deepEqual(broken(stay(away)), [4, 1]);
  assert.deepEqual(broken(stay(away, { flowsFollow: 'route' })), [4, 2]);
});

test('scores add up, and a day is a day', () => {
  const one = { simulatedMs: 3_600_000, outageMs: 1, poorMs: 2, falseFailovers: 3, flaps: 4, brokenFlows: 5, flows: 6 };
  assert.deepEqual(addScores(addScores(NO_SCORE, one), one), { simulatedMs: 7_200_000, outageMs: 2, poorMs: 4, falseFailovers: 6, flaps: 8, brokenFlows: 10, flows: 12 });
  assert.equal(perDay(2, one), 48);
  assert.equal(perDay(2, NO_SCORE), 0);
});

test('the same seed gives the same storm and the same choices, and another one another', () => {
  const [a, b, c] = [drawStorm(17), drawStorm(17), drawStorm(18)];
  assert.deepEqual(a, b);
  assert.notDeepEqual(a.spells, c.spells);
  for (const peer of PEERS) assert.deepEqual(peer.play(a), peer.play(b), peer.name);
});

test('one target is dead or rate-limited at a time', () => {
  for (let seed = 1; seed <= 60; seed++) {
    for (const { conditions } of drawStorm(seed).lines) assert.ok(conditions.every(({ drops }) => drops.length <= 1), `seed ${seed}`);
  }
});

test('a line that fills up slows down step by step, over half a second at least', () => {
  for (let seed = 1; seed <= 20; seed++) {
    const overlays = KINDS.find(({ name }) => name === 'full upload')!.draw(openDice(seed), 0, 60_000);
    const delays = overlays.map(({ accessDelayMs = 0 }) => accessDelayMs);
    assert.ok(delays.every((delay, i) => i === 0 || (delay > delays[i - 1]! && delay - delays[i - 1]! <= 100)), `seed ${seed}: ${delays.join(', ')}`);
    assert.ok(overlays.at(-1)!.from >= 500 && overlays.every(({ to, from }, i) => to === (overlays[i + 1]?.from ?? 60_000) && to > from));
  }
});

test('the storms bring every kind of weather, most of the time nothing, and every line is usable again and again', () => {
  const storms: readonly Storm[] = Array.from({ length: 120 }, (_, i) => drawStorm(i + 1));
  const seen = new Set(storms.flatMap(({ spells }) => spells.map(({ name }) => name)));
  assert.deepEqual([...KINDS, ...SHARED_KINDS].map(({ name }) => name).filter((name) => !seen.has(name)), []);
  const spent = { usable: 0, poor: 0, dead: 0 };
  for (const { lines, lengthMs } of storms) {
    for (const { conditions } of lines) conditions.forEach(({ from, truth }, i) => (spent[truth] += Math.max(0, Math.min(lengthMs, conditions[i + 1]?.from ?? lengthMs) - Math.max(0, from))));
  }
  const total = spent.usable + spent.poor + spent.dead;
  assert.ok(spent.usable / total > 0.7 && spent.dead / total > 0.02 && spent.poor / total > 0.01, JSON.stringify(spent));
  assert.deepEqual(new Set(storms.map(({ lines }) => lines.length)), new Set([2, 3, 4]));
});
