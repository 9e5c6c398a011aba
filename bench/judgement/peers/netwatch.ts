/**
 * MikroTik netwatch, type simple, to a public address that is pinned to the line by a host route: one echo each 10 s, 3 s to answer; the first lost one runs
 * the down-script, which disables the line's default route, the first answered one enables it. The last line's route is not touched by any script. The routes are
 * those of everybody, so connections go wherever the default goes, with the address that they began with: until it is back they get no answer.
 */
import { apart, type Contestant, type Opinion } from './monitor.js';

const INTERVAL_MS = 10_000;
const TIMEOUT_MS = 3000;

export const NETWATCH: Contestant = apart('netwatch, 8.8.8.8', 'type simple with scripts that disable and enable a default route', (view, dice, storm) => {
  const opinions: Opinion[] = [];
  let up = true;
  for (let at = dice.between(0, INTERVAL_MS); at < storm.lengthMs; at += INTERVAL_MS) {
    const rttMs = view.ask('8.8.8.8', at, dice);
    const answered = rttMs !== undefined && rttMs <= TIMEOUT_MS;
    if (answered === up) continue;
    up = answered;
    opinions.push({ at: at + (answered ? rttMs : TIMEOUT_MS), up });
  }
  return opinions;
}, { nothingUp: 'first', flowsFollow: 'route', lastIsTrusted: true });
