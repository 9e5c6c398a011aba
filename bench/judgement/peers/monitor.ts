/**
 * What the models of the peers have in common: each judges its lines apart, by probes, and takes the most preferred one that it holds for up.
 *
 * A model is generous wherever the documentation leaves something open: carrier loss is seen at once, applying a change costs no time, the
 * standby lines were found up long ago, and a gateway that came back with the carrier is trusted after a second.
 */
import type { Dice } from '../../../test/sim/dice.js';
import { openView, type View } from '../line.js';
import type { Trace } from '../score.js';
import { diceOf, type Storm } from '../storm.js';

export interface Contestant {
  readonly name: string;
  /** In a few words, for below the table: what is modelled. */
  readonly about: string;
  readonly play: (storm: Storm) => Trace;
}

/** What one line is held for, from then on. In order of time. */
export interface Opinion {
  readonly at: number;
  readonly up: boolean;
}

/** One line's monitor: gives its opinions over the whole storm. */
export type Monitor = (view: View, dice: Dice, storm: Storm) => readonly Opinion[];

export interface Rules {
  /** When no line is held for up: none at all, or the most preferred one that has carrier. */
  readonly nothingUp: 'none' | 'first';
  readonly flowsFollow: Trace['flowsFollow'];
  /** The last line stands by without being watched. */
  readonly lastIsTrusted?: boolean;
}

/** Between the carrier's return and an address, a route, a first trust. */
const PLUGGED_AFTER_MS = 1000;

/** Each line watched by a monitor of its own. */
export function apart(name: string, about: string, monitor: Monitor, rules: Rules): Contestant {
  return {
    name, about,
    play: (storm) => chosen(storm, storm.lines.map((line, i) => monitor(openView(line), diceOf(storm, `${name} ${i}`), storm)), rules),
  };
}

/** From opinions to the active line. */
export function chosen(storm: Storm, opinions: readonly (readonly Opinion[])[], rules: Rules): Trace {
  const plugged = storm.lines.map((line) => pluggedOf(openView(line), storm.lengthMs));
  const times = [...new Set([0, ...opinions.flatMap((own) => own.map(({ at }) => at)), ...plugged.flatMap((own) => own.map(({ at }) => at))])].sort((a, b) => a - b);
  const cursors = storm.lines.map(() => ({ opinion: 0, plug: 0 }));
  const changes: { at: number; line: number }[] = [];
  for (const at of times) {
    let best = -1;
    let first = -1;
    storm.lines.forEach((_, i) => {
      const cursor = cursors[i]!;
      const own = opinions[i]!;
      const plugs = plugged[i]!;
      while (cursor.opinion < own.length && own[cursor.opinion]!.at <= at) cursor.opinion++;
      while (cursor.plug < plugs.length && plugs[cursor.plug]!.at <= at) cursor.plug++;
      const hasCarrier = plugs[cursor.plug - 1]?.up ?? true;
      const trusted = rules.lastIsTrusted === true && i === storm.lines.length - 1;
      if (!hasCarrier) return;
      if (first < 0) first = i;
      if (best < 0 && (trusted || (own[cursor.opinion - 1]?.up ?? true))) best = i;
    });
    const line = best >= 0 || rules.nothingUp === 'none' ? best : first;
    if (changes[changes.length - 1]?.line !== line) changes.push({ at, line });
  }
  return { changes, cuts: [], flowsFollow: rules.flowsFollow };
}


function pluggedOf(view: View, lengthMs: number): readonly Opinion[] {
  const opinions: Opinion[] = [];
  let up = true;
  for (let at = 0; at < lengthMs; at = view.nextAfter(at)) {
    const { carrier } = view.at(at);
    if (carrier === up) continue;
    up = carrier;
    // Lost again before it was trusted: it never came back.
    while (opinions.length > 0 && opinions[opinions.length - 1]!.at >= at) opinions.pop();
    opinions.push({ at: carrier ? at + PLUGGED_AFTER_MS : at, up });
  }
  return opinions;
}
