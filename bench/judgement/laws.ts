/**
 * What our own rules promise, watched on every storm. Each law says in one sentence what must hold; a breach names the seed.
 *
 * Silence is `total` when no target of ours and no connection gets through. Half-dead lines are left out of laws about time: whether they are seen
 * depends on which half is asked.
 */
import type { State } from '../../src/core/state.js';
import { status } from '../../src/core/status.js';
import type { Event, Instant, Policy, UplinkPolicy, UplinkState } from '../../src/model.js';
import { flowChance, openView, type Condition } from './line.js';
import type { Run, Watcher } from './ours.js';
import { scoreOf, sweep, type Trace } from './score.js';
import { CALM_MS, type Storm } from './storm.js';

export interface Fault {
  readonly law: string;
  readonly atMs: number;
  readonly what: string;
}

export const LAWS = {
  evidence: 'No verdict of suspect, degraded or down is without evidence.',
  hold: 'No decision is reversed within its hold unless the line that took over failed.',
  'found again': 'A line that is healthy again is up again within its bound.',
  'leads again': 'The most preferred line, healthy for long enough, leads again.',
  'best static choice': 'The outage is never more than that of the best fixed choice plus the time of detection for each silence.',
} as const;

export interface LawWatch {
  readonly watch: Watcher;
  /** After the run. */
  readonly verdicts: (run: Run) => readonly Fault[];
}

/** A suspicion that proved wrong keeps new connections away at least so long. */
const REST_MS = 5000;
/** Beyond the time in which the answers come in. */
const SLACK_MS = 1000;
/** Probing of a standby line may be stretched by its budget up to so much. */
const INTERVAL_AT_MOST_MS = 10_000;
const LEADS_AGAIN_MS = 40 * 60_000;

export function openLaws(storm: Storm): LawWatch {
  const faults = new Map<string, Fault>();
  const last = storm.lines.map(() => ({ state: 'unknown' as UplinkState, upSince: 0, cameFrom: 'unknown' as UplinkState }));
  const views = storm.lines.map(openView);
  let active = -1;
  let lookedAt = 0;

  function breach(law: keyof typeof LAWS, atMs: number, what: string): void {
    if (!faults.has(law)) faults.set(law, { law, atMs, what });
  }

  function noteStates(state: State, at: number): void {
    const plane = state.planes.get(4);
    if (plane === undefined) return;
    storm.lines.forEach(({ name }, i) => {
      const now = plane.health.get(name)?.state ?? 'unknown';
      const own = last[i]!;
      if (now === own.state) return;
      if (now === 'up') Object.assign(own, { upSince: at, cameFrom: own.state });
      own.state = now;
      if (now !== 'suspect' && now !== 'degraded' && now !== 'down') return;
      const verdict = status(state, at as Instant).uplinks[i];
      if (verdict !== undefined && verdict.evidence.length === 0) breach('evidence', at, `${name} is ${now} (${verdict.because}), and nothing is named`);
    });
  }

  function noteSwitch({ policy }: State, event: Event, to: number): void {
    const from = active;
    active = to;
    if (from < 0 || to < 0 || event.at < CALM_MS || last[from]!.state !== 'up') return;
    const taken = last[to]!;
    const holdMs = taken.cameFrom === 'suspect' ? REST_MS : policy.failback.holdMs;
    const heldMs = event.at - taken.upSince;
    if (to < from && taken.state === 'up' && taken.upSince > CALM_MS && heldMs < holdMs - 1) {
      breach('hold', event.at, `${storm.lines[to]!.name} leads again after ${(heldMs / 1000).toFixed(1)} of ${holdMs / 1000} s although ${storm.lines[from]!.name} is up`);
    }
  }

  /** Once a second is often enough. */
  function lookForLost({ policy }: State, at: number): void {
    if (at - lookedAt < 1000) return;
    lookedAt = at;
    storm.lines.forEach(({ name, base }, i) => {
      const view = views[i]!;
      const now = view.at(at);
      if (!isPlain(now, base.rttMs)) return;
      const healthyMs = at - Math.max(0, now.from);
      const own = last[i]!;
      const boundMs = foundAgainMs(policy.uplinks[i]!);
      if (healthyMs > boundMs && own.state !== 'up' && own.state !== 'suspect') breach('found again', at, `${name} is ${own.state} ${(healthyMs / 1000).toFixed(0)} s after its weather ended`);
      if (i === 0 && healthyMs > LEADS_AGAIN_MS && active !== 0) breach('leads again', at, `${name} does not lead ${(healthyMs / 60_000).toFixed(0)} minutes after its weather ended`);
    });
  }

  return {
    watch(state, event, to) {
      noteStates(state, event.at);
      if (to !== active) noteSwitch(state, event, to);
      lookForLost(state, event.at);
    },
    verdicts(run) {
      const fault = holdAgainstStatic(storm, run);
      return [...faults.values(), ...(fault === undefined ? [] : [fault])];
    },
  };
}

/** What was bad leaves the window of quality; then so many answers in a row, with a broken row or two on the way. Standby lines may be asked more seldom. */
function foundAgainMs({ metered, probe, health }: UplinkPolicy): number {
  const intervalMs = metered ? INTERVAL_AT_MOST_MS : probe.intervalMs;
  return health.quality.windowMs + 30_000 + (2 * health.up.successes + 2) * intervalMs;
}

/** Nothing lies over it. */
function isPlain({ carrier, truth, blocked, full, drops, reach, upstream, rttMs }: Condition, usualRttMs: number): boolean {
  return carrier && truth === 'usable' && !blocked && !full && drops.length === 0 && reach.length === 0 && upstream === 1 && rttMs <= usualRttMs + 1;
}

function holdAgainstStatic(storm: Storm, { trace, policy }: Run): Fault | undefined {
  const { outageMs } = scoreOf(storm, trace);
  const best = Math.min(...storm.lines.map((_, line) => scoreOf(storm, fixed(line)).outageMs));
  const { events, partialMs } = silences(storm, trace);
  const allowedMs = best + partialMs + events * detectionMs(policy);
  if (outageMs <= allowedMs) return undefined;
  const figures = `${(outageMs / 1000).toFixed(1)} s of outage, ${(best / 1000).toFixed(1)} s of the best fixed line, ${events} silences, ${(partialMs / 1000).toFixed(1)} s on lines that were dead in part`;
  return { law: 'best static choice', atMs: storm.lengthMs, what: figures };
}

function fixed(line: number): Trace {
  return { changes: [{ at: 0, line }], cuts: [], flowsFollow: 'line' };
}

/** A missed probe at the worst phase, its longest deadline, and a burst. */
function detectionMs(policy: Policy): number {
  return Math.max(...policy.uplinks.map(({ probe, health }) => {
    const longestMs = probe.timeoutMs === 'auto' ? probe.timeoutMaxMs : probe.timeoutMs;
    return health.suspect.failures * probe.intervalMs + 2 * longestMs + 100 * health.suspect.burst + SLACK_MS;
  }));
}

/** How often the active line fell silent while another one was usable, and how long it was dead without being silent. */
function silences(storm: Storm, trace: Trace): { readonly events: number; readonly partialMs: number } {
  let events = 0;
  let partialMs = 0;
  let wasSilent = false;
  sweep(storm, trace.changes, (from, to, active, now) => {
    const condition = now[active];
    const silent = condition === undefined || flowChance(condition) === 0;
    const matters = now.some(({ truth }) => truth === 'usable');
    if (silent && matters && !wasSilent) events++;
    wasSilent = silent && matters;
    if (condition?.truth === 'dead' && !silent && matters) partialMs += to - from;
  });
  return { events, partialMs };
}
