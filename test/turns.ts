/**
 * What is proved by turns: one run takes one part, chosen by the hour, so that a day of runs takes all of them. UPLINKD_TEST_PART=2 takes that one,
 * UPLINKD_TEST_PART=whole all at once (`npm run sim`).
 *
 * For what is proved many times over (seeds of the simulation, mutants, stories that each backend of NAT tells alike), and for what proves the lab or the bench alone.
 */
import assert from 'node:assert/strict';

const WANTED = process.env['UPLINKD_TEST_PART'] ?? '';
assert.match(WANTED, /^(\d+|whole|)$/, 'UPLINKD_TEST_PART is a number or "whole"');

/** Those of this run, of so many parts that are numbered from 0. */
export function turnsOf(parts: number): readonly number[] {
  if (WANTED === 'whole') return Array.from({ length: parts }, (_, part) => part);
  return [(WANTED === '' ? Math.floor(Date.now() / 3_600_000) : Number(WANTED)) % parts];
}

/** Those of this run, of things that take turns. */
export function inTurn<T>(all: readonly T[]): readonly T[] {
  return turnsOf(all.length).map((turn) => all[turn]!);
}
