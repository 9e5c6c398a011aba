/**
 * What a contestant's choices cost, told from the truth of the lines. Definitions, each of them the same for everybody:
 *
 *   outage          time in which the active line is dead, or there is none, while some other line is usable (line.ts says what that is)
 *   poor            time in which the active line is poor, likewise
 *   false failover  a change of the active line away from one that is fine, and was so all through the last 2 s and for more than 90 % of the last minute.
 *                   Fine: usable with a round trip under 500 ms, or slowed down by our own upload alone. A change to a more preferred line that is usable is
 *                   none. (Who leaves a line soon after it was bad, or a slow one, has the benefit of the doubt.)
 *   flap            any change of the active line
 *   broken flow     a connection that was cut by the contestant (a flush, or taken off its line), or that got no answer for more than 60 s because its
 *                   line was dead, or, where connections follow the route and not their line, because the active line was another
 *
 * The first minute does not count. Everything is per simulated day.
 */
import { CALM_MS, type Storm } from './storm.js';
import { openView, type Condition, type View } from './line.js';

/** What a contestant did. Lines by their position in the order of preference; -1 = none. */
export interface Trace {
  readonly changes: readonly Change[];
  /** Connections of this line were cut at that instant. */
  readonly cuts: readonly { readonly at: number; readonly line: number }[];
  /** `line`: a connection stays on the line that it began on. `route`: it is sent wherever the active line is, with an address of its first line. */
  readonly flowsFollow: 'line' | 'route';
}

/** In order of time; the first says where it began. */
export interface Change {
  readonly at: number;
  readonly line: number;
  /** Why, where the contestant says it. */
  readonly because?: string;
}

export interface Score {
  readonly simulatedMs: number;
  readonly outageMs: number;
  readonly poorMs: number;
  readonly falseFailovers: number;
  readonly flaps: number;
  readonly brokenFlows: number;
  readonly flows: number;
}

export const NO_SCORE: Score = { simulatedMs: 0, outageMs: 0, poorMs: 0, falseFailovers: 0, flaps: 0, brokenFlows: 0, flows: 0 };

const FLOW_PATIENCE_MS = 60_000;
const SETTLED_MS = 2000;
const LOOK_BACK_MS = 60_000;
const BAD_SHARE = 0.1;
const SLOW_MS = 500;

export function scoreOf(storm: Storm, trace: Trace): Score {
  const changes = trace.changes.filter(({ at, line }, i) => at > CALM_MS && line !== trace.changes[i - 1]?.line);
  const { outageMs, poorMs } = lostTime(storm, trace.changes);
  return {
    simulatedMs: storm.lengthMs - CALM_MS, outageMs, poorMs, flaps: changes.length,
    falseFailovers: changes.filter(({ at, line }) => isFalse(storm, activeAt(trace.changes, at, 'before'), line, at)).length,
    ...brokenFlows(storm, trace),
  };
}

export function addScores(a: Score, b: Score): Score {
  return {
    simulatedMs: a.simulatedMs + b.simulatedMs, outageMs: a.outageMs + b.outageMs, poorMs: a.poorMs + b.poorMs, falseFailovers: a.falseFailovers + b.falseFailovers,
    flaps: a.flaps + b.flaps, brokenFlows: a.brokenFlows + b.brokenFlows, flows: a.flows + b.flows,
  };
}

/** Per simulated day. */
export function perDay(amount: number, { simulatedMs }: Pick<Score, 'simulatedMs'>): number {
  return simulatedMs === 0 ? 0 : amount / (simulatedMs / 86_400_000);
}

/** The line that was active then, or just before; -1 = none. */
export function activeAt(changes: readonly Change[], when: number, side: 'before' | 'after' = 'after'): number {
  let low = 0;
  let high = changes.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (side === 'before' ? changes[middle]!.at < when : changes[middle]!.at <= when) low = middle + 1;
    else high = middle;
  }
  return changes[low - 1]?.line ?? -1;
}

/** Calls `visit` for each stretch of time in which neither the lines nor the active one change. */
export function sweep(storm: Storm, changes: readonly Change[], visit: (from: number, to: number, active: number, now: readonly Condition[]) => void): void {
  const views = storm.lines.map(openView);
  let next = 0;
  let active = -1;
  for (let from = CALM_MS; from < storm.lengthMs;) {
    while (next < changes.length && changes[next]!.at <= from) active = changes[next++]!.line;
    const to = Math.min(storm.lengthMs, changes[next]?.at ?? Infinity, ...views.map((view) => view.nextAfter(from)));
    visit(from, to, active, views.map((view) => view.at(from)));
    from = to;
  }
}

function lostTime(storm: Storm, changes: readonly Change[]): Pick<Score, 'outageMs' | 'poorMs'> {
  let outageMs = 0;
  let poorMs = 0;
  sweep(storm, changes, (from, to, active, now) => {
    const truth = now[active]?.truth ?? 'dead';
    if (truth === 'usable' || !now.some((condition) => condition.truth === 'usable')) return;
    if (truth === 'dead') outageMs += to - from;
    else poorMs += to - from;
  });
  return { outageMs, poorMs };
}

export function isFalse(storm: Storm, left: number, taken: number, at: number): boolean {
  const line = storm.lines[left];
  if (line === undefined) return false;
  const other = storm.lines[taken];
  if (other !== undefined && taken < left && openView(other).at(at).truth === 'usable') return false;
  const view = openView(line);
  if (!isFine(view.at(at))) return false;
  return share(view, at - SETTLED_MS, at, (condition) => !isFine(condition)) === 0 && share(view, at - LOOK_BACK_MS, at, (condition) => !isFine(condition)) < BAD_SHARE;
}

function isFine({ truth, rttMs, full }: Condition): boolean {
  return truth === 'usable' && (rttMs < SLOW_MS || full);
}

/** The share of a span of time in which something held, 0..1. */
function share(view: View, from: number, to: number, holds: (condition: Condition) => boolean): number {
  let held = 0;
  for (let at = from; at < to;) {
    const until = Math.min(to, view.nextAfter(at));
    if (holds(view.at(at))) held += until - at;
    at = until;
  }
  return held / (to - from);
}

function brokenFlows(storm: Storm, trace: Trace): Pick<Score, 'flows' | 'brokenFlows'> {
  const views = storm.lines.map(openView);
  const silences = storm.lines.map((_, line) => silencesOf(storm, trace, line));
  const cuts = storm.lines.map((_, line) => trace.cuts.filter((cut) => cut.line === line).map((cut) => cut.at).sort((a, b) => a - b));
  let flows = 0;
  let broken = 0;
  for (const { beginAt, endAt } of storm.flows) {
    const line = activeAt(trace.changes, beginAt);
    // What could not begin was not broken; it is told by the outage.
    if (beginAt < CALM_MS || line < 0 || views[line]!.at(beginAt).truth === 'dead') continue;
    flows++;
    const end = Math.min(endAt, storm.lengthMs);
    if (cuts[line]!.some((at) => at > beginAt && at < end) || silences[line]!.some(({ from, to }) => Math.max(from, beginAt) + FLOW_PATIENCE_MS < Math.min(to, end))) broken++;
  }
  return { flows, brokenFlows: broken };
}

/** When connections that began on this line got no answers for longer than they bear. */
function silencesOf(storm: Storm, { changes, flowsFollow }: Trace, line: number): readonly { readonly from: number; readonly to: number }[] {
  const silences: { from: number; to: number }[] = [];
  sweep(storm, changes, (from, to, active, now) => {
    if (now[line]!.truth !== 'dead' && (flowsFollow === 'line' || active === line)) return;
    const last = silences[silences.length - 1];
    if (last?.to === from) last.to = to;
    else silences.push({ from, to });
  });
  return silences.filter(({ from, to }) => to - from > FLOW_PATIENCE_MS);
}
