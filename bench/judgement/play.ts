/** One storm, met by every contestant. */
import { PEERS } from './peers/all.js';
import type { Contestant } from './peers/monitor.js';
import { scoreOf, type Score } from './score.js';
import { drawStorm } from './storm.js';

/** A law that did not hold, as far as it is ours to hold. */
export interface Breach {
  readonly seed: number;
  readonly contestant: string;
  readonly law: string;
  readonly atMs: number;
  readonly what: string;
}

export interface Played {
  readonly seed: number;
  /** In the order of `CONTESTANTS`. */
  readonly scores: readonly Score[];
  readonly breaches: readonly Breach[];
}

export const CONTESTANTS: readonly Contestant[] = [...PEERS];

export function play(seed: number): Played {
  const storm = drawStorm(seed);
  return { seed, scores: CONTESTANTS.map((contestant) => scoreOf(storm, contestant.play(storm))), breaches: [] };
}
