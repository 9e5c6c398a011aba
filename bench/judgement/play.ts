/** One storm, met by every contestant; ours under the eyes of the laws. */
import { openLaws, type Fault } from './laws.js';
import { OURS, run, type Sensitivity } from './ours.js';
import { PEERS } from './peers/all.js';
import type { Contestant } from './peers/monitor.js';
import { scoreOf, type Score, type Trace } from './score.js';
import { drawStorm, type Storm } from './storm.js';

/** A law that did not hold. */
export interface Breach extends Fault {
  readonly seed: number;
  readonly contestant: string;
}

export interface Played {
  readonly seed: number;
  /** In the order of `contestants`. */
  readonly scores: readonly Score[];
  readonly breaches: readonly Breach[];
}

/** In the order of the table. */
export function contestants(sensitivities: readonly Sensitivity[]): readonly (Contestant & { readonly isPeer: boolean })[] {
  const ours = OURS.filter(({ sensitivity }) => sensitivities.includes(sensitivity));
  return [...ours.map((each) => ({ ...each, isPeer: false })), ...PEERS.map((each) => ({ ...each, isPeer: true }))];
}

/** @param atMostMs plays only the beginning of the storm */
export function play(seed: number, sensitivities: readonly Sensitivity[], atMostMs = Infinity): Played {
  const whole = drawStorm(seed);
  const storm = { ...whole, lengthMs: Math.min(whole.lengthMs, atMostMs) };
  const ours = OURS.filter(({ sensitivity }) => sensitivities.includes(sensitivity)).map(({ name, sensitivity }) => {
    const { trace, faults } = runWatched(storm, sensitivity);
    return { score: scoreOf(storm, trace), breaches: faults.map((fault): Breach => ({ seed, contestant: name, ...fault })) };
  });
  return { seed, scores: [...ours.map(({ score }) => score), ...PEERS.map((peer) => scoreOf(storm, peer.play(storm)))], breaches: ours.flatMap(({ breaches }) => breaches) };
}

function runWatched(storm: Storm, sensitivity: Sensitivity): { readonly trace: Trace; readonly faults: readonly Fault[] } {
  const laws = openLaws(storm);
  const result = run(storm, sensitivity, laws.watch);
  return { trace: result.trace, faults: laws.verdicts(result) };
}
