/**
 * Uplinks compared with each other. Who was left and is back takes the lead only when it loses next to nothing, and when no target that used to answer by it
 * is silent there and answers by the one that leads.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { reachesLess } from '../../src/core/correlate.js';
import { misses } from '../../src/core/record.js';
import { openDice } from '../sim/dice.js';
import { at, factsOf, policyOf, uplinkPolicy } from './fixture.js';
import { openRouter, type Router } from './router.js';

const NINE = 'icmp 9.9.9.9';
const MINUTE_MS = 60_000;
const HOLD_MS = 30_000;
/** Hold, one round of questions, and a little. */
const BACK_WITHIN_MS = HOLD_MS + 20_000;

interface Three {
  readonly router: Router;
  /** Does this target answer by this uplink? */
  answers: (target: string, uplink: string) => boolean;
  leader(): string | undefined;
  after(ms: number): Three;
}

/** Fibre (preferred), cable and lte, whose every probe is answered as the test says, within 8 ms. */
function openThree(answers: Three['answers']): Three {
  const names = ['fibre', 'cable', 'lte'] as const;
  const policy = policyOf(names.map((name) => uplinkPolicy(name)), { holdMs: HOLD_MS });
  const router = openRouter(policy, factsOf(names), []);
  const lines: Three = {
    router, answers,
    leader: () => router.state.planes.get(4)!.decision?.ranks[0]?.members[0]?.uplink,
    after(ms) {
      for (const end = router.now + ms; router.now < end;) {
        const orders = router.effects.flatMap((effect) => (effect.type === 'probe' ? [effect.order] : []));
        router.fresh().until(router.now + 8);
        for (const { uplink, family, target, seq } of orders) {
          if (lines.answers(target.id, uplink)) router.give({ type: 'reply', at: at(router.now), uplink, family, target: target.id, seq, rttMs: 8 });
        }
      }
      return lines;
    },
  };
  return lines;
}

/** Fibre led, was silent for a while, and cable leads: from here on fibre answers as `answers` says. */
function afterOutage(before: Three['answers'], answers: Three['answers']): Three {
  const lines = openThree(before).after(MINUTE_MS);
  assert.equal(lines.leader(), 'fibre');
  lines.answers = (target, uplink) => uplink !== 'fibre' && before(target, uplink);
  lines.after(MINUTE_MS / 2);
  assert.equal(lines.leader(), 'cable');
  lines.answers = answers;
  return lines;
}

const all = (): boolean => true;
const nineLost = (target: string, uplink: string): boolean => target !== NINE || uplink !== 'fibre';
const state = (lines: Three): string => lines.router.state.planes.get(4)!.health.get('fibre')!.state;

test('who is back and answers as it used to takes the lead', () => {
  assert.equal(afterOutage(all, all).after(BACK_WITHIN_MS).leader(), 'fibre');
});

test('a target that used to answer by it and answers by the leader alone keeps it from the lead, until it answers again', () => {
  const lines = afterOutage(all, nineLost).after(5 * MINUTE_MS);
  assert.deepEqual([state(lines), lines.leader()], ['up', 'cable'], 'it is up, and reaches less');
  lines.answers = all;
  assert.equal(lines.after(5000).leader(), 'fibre', 'its time was over long ago');
});

test('a target silent for 15 minutes counts as not to be had by this uplink, and keeps it from nothing any more', () => {
  const lines = afterOutage(all, nineLost).after(14 * MINUTE_MS);
  assert.deepEqual([state(lines), lines.leader()], ['up', 'cable'], 'silent for 14 and a half minutes');
  assert.equal(lines.after(MINUTE_MS).leader(), 'fibre', 'for 15 and a half');
});

test('a target that never answered by it keeps it from nothing', () => {
  assert.equal(afterOutage(nineLost, nineLost).after(BACK_WITHIN_MS).leader(), 'fibre');
});

test('a target that is silent everywhere keeps nobody from the lead', () => {
  assert.equal(afterOutage(all, (target) => target !== NINE).after(BACK_WITHIN_MS).leader(), 'fibre');
});

test('what another one reaches that does not lead is nobody\'s measure', () => {
  const byLte = (target: string, uplink: string): boolean => target !== NINE || uplink === 'lte';
  assert.equal(afterOutage(all, byLte).after(BACK_WITHIN_MS).leader(), 'fibre');
});

test('three of a target\'s answers lost in a row are silence, one or two are not', () => {
  const lines = afterOutage(all, all).after(1000);
  const plane = lines.router.state.planes.get(4)!;
  const health = plane.health.get('fibre')!;
  const record = health.records.find(({ target }) => target.id === NINE)!;
  const seen = new Set<number>();
  const dice = openDice(3);
  lines.answers = (target, uplink) => nineLost(target, uplink) || dice.chance(0.3);
  while (lines.router.now < HOLD_MS + 2 * MINUTE_MS && lines.leader() === 'cable') {
    lines.after(8);
    const row = misses(record, at(lines.router.now));
    const less = reachesLess(health, plane, at(lines.router.now));
    if (lines.leader() === 'cable') assert.equal(less, row >= 3, `${row} in a row`);
    seen.add(row);
  }
  assert.ok([0, 1, 2, 3].every((row) => seen.has(row)), [...seen].join());
});

test('who leads is not left because somebody else reaches more', () => {
  const lines = openThree(all).after(MINUTE_MS);
  lines.answers = nineLost;
  assert.equal(lines.after(2 * MINUTE_MS).leader(), 'fibre');
});

test('who is back and loses one in fifteen is up, and does not take the lead before it loses less', () => {
  const lost = new Set<string>();
  const lines = afterOutage(all, (target, uplink) => {
    const turn = `${target} ${Math.floor(lines.router.now / 15_000)}`;
    if (uplink !== 'fibre' || lost.has(turn)) return true;
    lost.add(turn);
    return false;
  });
  lines.after(3 * MINUTE_MS);
  assert.deepEqual([state(lines), lines.leader()], ['up', 'cable']);
  lines.answers = all;
  assert.equal(lines.after(MINUTE_MS).leader(), 'fibre');
});
