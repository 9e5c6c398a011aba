/**
 * mwan3 2.12.2 (mwan3track). A round pings the targets one after the other, `count` 1, `timeout` 4 s, until `reliability` 1 of them answered; then it sleeps
 * `interval` 10 s, which is `failure_interval` and `recovery_interval` too. `down` 5 rounds in a row without an answer take the line out, `up` 5
 * with one bring it back. `initial_state` online: after the carrier's return it counts as up at once. `last_resort` unreachable: with no line up nothing
 * is sent. `flush_conntrack` none: connections keep the mark of their line.
 */
import type { Dice } from '../../../test/sim/dice.js';
import type { View } from '../line.js';
import { apart, type Contestant, type Opinion } from './monitor.js';

const INTERVAL_MS = 10_000;
const TIMEOUT_MS = 4000;
const DOWN = 5;
const UP = 5;

export const MWAN3_SHIPPED = tracked('mwan3, as shipped', 'four targets (1.0.0.1, 1.1.1.1, 208.67.222.222, 208.67.220.220), else defaults', ['1.0.0.1', '1.1.1.1', '208.67.222.222', '208.67.220.220']);
export const MWAN3_ONE_TARGET = tracked('mwan3, one target', 'the defaults of its code with 8.8.8.8', ['8.8.8.8']);

function tracked(name: string, about: string, targets: readonly string[]): Contestant {
  return apart(name, about, (view, dice, storm) => track(view, dice, storm.lengthMs, targets), { nothingUp: 'none', flowsFollow: 'line' });
}

function track(view: View, dice: Dice, lengthMs: number, targets: readonly string[]): readonly Opinion[] {
  const opinions: Opinion[] = [];
  let up = true;
  let failures = 0;
  let successes = 0;
  for (let at = dice.between(0, INTERVAL_MS); at < lengthMs; at += INTERVAL_MS) {
    if (!view.at(at).carrier) {
      // netifd took the interface down; its tracker begins anew with the next ifup.
      while (at < lengthMs && !view.at(at).carrier) at = view.nextAfter(at);
      if (!up) opinions.push({ at, up: true });
      up = true;
      failures = successes = 0;
      continue;
    }
    const round = askInTurn(view, dice, at, targets);
    at = round.endedAt;
    failures = round.answered ? 0 : failures + 1;
    successes = round.answered ? successes + 1 : 0;
    if (up ? failures < DOWN : successes < UP) continue;
    up = !up;
    opinions.push({ at, up });
  }
  return opinions;
}

function askInTurn(view: View, dice: Dice, from: number, targets: readonly string[]): { readonly answered: boolean; readonly endedAt: number } {
  let at = from;
  for (const target of targets) {
    const rttMs = view.ask(target, at, dice);
    if (rttMs !== undefined && rttMs <= TIMEOUT_MS) return { answered: true, endedAt: at + rttMs };
    at += TIMEOUT_MS;
  }
  return { answered: false, endedAt: at };
}
