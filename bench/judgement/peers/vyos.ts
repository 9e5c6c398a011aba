/**
 * VyOS load-balancing wan: one loop asks the lines one after the other, an echo each with `resp-time` 5 s, and sleeps 5 s. `failure-count` 1: one lost
 * echo takes a line out; `success-count` 1: one answer brings it back. Changes are made after the pass. Without `test` the nexthop is asked. With no line up
 * packets follow the main table, so the first line that has carrier. `flush-connections` is off: connections keep the mark of their line.
 */
import { openView } from '../line.js';
import type { Trace } from '../score.js';
import { diceOf, type Storm } from '../storm.js';
import { chosen, type Contestant, type Opinion } from './monitor.js';

const SLEEP_MS = 5000;
const RESPONSE_MS = 5000;
/** Without carrier ping fails at once. */
const UNREACHABLE_MS = 10;

export const VYOS_NEXTHOP = balanced('VyOS, nexthop', 'load-balancing wan without a test: the nexthop is asked', 'gateway');
export const VYOS_PUBLIC = balanced('VyOS, 8.8.8.8', 'the same with a ping test to a public address', '8.8.8.8');

function balanced(name: string, about: string, host: string): Contestant {
  return { name, about, play: (storm) => loop(storm, name, host) };
}

function loop(storm: Storm, name: string, host: string): Trace {
  const dice = diceOf(storm, name);
  const views = storm.lines.map(openView);
  const opinions: Opinion[][] = storm.lines.map(() => []);
  const up = storm.lines.map(() => true);
  for (let at = dice.between(0, SLEEP_MS); at < storm.lengthMs; at += SLEEP_MS) {
    const answered = views.map((view) => {
      const rttMs = view.ask(host, at, dice);
      const inTime = rttMs !== undefined && rttMs <= RESPONSE_MS;
      at += inTime ? rttMs : view.at(at).carrier ? RESPONSE_MS : UNREACHABLE_MS;
      return inTime;
    });
    answered.forEach((now, i) => {
      if (now === up[i]) return;
      up[i] = now;
      opinions[i]!.push({ at, up: now });
    });
  }
  return chosen(storm, opinions, { nothingUp: 'first', flowsFollow: 'line' });
}
