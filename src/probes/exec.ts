/**
 * Asks by running a program (contract: docs/guides/exec.md). Exit code 0 is an answer, and its running time the RTT; another one is a no; one that
 * cannot be started says nothing about the line.
 *
 * A program that takes longer than its interval is not started twice: questions that come while it runs wait for the same end, and all get its
 * result, with the whole running time. So it has failed at its own limit and not before.
 *
 * Bounded: programs at a time in the whole process, questions that wait for one run. Runs of a closed asker are killed, and hold their
 * place until the last process is gone. When this process exits, in whatever orderly way, all runs are killed.
 */
import type { Instant, LostCause, Method, ProbeLine } from '../model.js';
import { doomGroups, openLineGroup, sweepGroups, type LineGroup, type RunGroup } from './exec-cgroup.js';
import { confine, PROGRAM_PATH } from './exec-confine.js';
import { startRun, type Run, type RunEnd } from './exec-run.js';
import type { Asker, Question } from './method.js';

export interface ExecAsker extends Asker {
  /** Why its programs are not bound to the line, in words; '' = they are. May change with an answer, from '' to a reason. */
  readonly unpinned: string;
}

const RUNS_AT_MOST = 8;
/** What comes beyond is let go without a word. */
const QUESTIONS_AT_MOST = 64;
/** A killed process is gone after milliseconds, or hangs in the kernel. */
const DYING_MS = 1000;
const SWEEP_AFTER_MS = 50;
const SWEEPS_AT_MOST = 100;

/** All of this process, dying ones too. */
const runs = new Set<Run>();
let hooked = false;

/** An `OpenAsker` that throws nothing: what cannot be had is said with the answers. */
export function openExec(line: ProbeLine, now: () => Instant): ExecAsker {
  killAllAtExit();
  const underway = new Map<string, Underway>();
  const opened = openLineGroup(line);
  sweepSoon();
  let group: LineGroup | undefined = typeof opened === 'string' ? undefined : opened;
  let unpinned = typeof opened === 'string' ? opened : '';
  let open = true;

  const unpin = (reason: string): void => {
    unpinned = reason;
    group?.close();
    group = undefined;
  };
  const openRunGroup = (): RunGroup | undefined => {
    try {
      return group?.openRun();
    } catch (error) {
      unpin(`no control group can be made for a program (${(error as Error).message})`);
      return undefined;
    }
  };

  const start = (key: string, order: Program, waiting: Question[]): void => {
    const confinement = confine();
    if (typeof confinement === 'string') return settle(waiting, now(), { kind: 'prober', error: `${order.program} is not started: ${confinement}` }, 0, '');
    if (runs.size >= RUNS_AT_MOST) {
      return settle(waiting, now(), { kind: 'prober', error: `${order.program} is not started: ${RUNS_AT_MOST} programs run already, as many as may; lengthen their interval or shorten their limit` }, 0, '');
    }
    const entry: Underway = { waiting, run: undefined, endedAt: undefined };
    underway.set(key, entry);
    const runGroup = openRunGroup();
    const run = startRun({ ...order, environment: environmentOf(line, runGroup !== undefined), confinement, group: runGroup, now }, {
      ended(end, at, ranMs) {
        if (end.kind === 'unplaced') return unpin(`a program cannot be moved into its control group (${end.error})`);
        entry.endedAt = at;
        settle(entry.waiting.splice(0), at, end, ranMs, runGroup === undefined ? unpinned : '');
      },
      gone() {
        if (entry.run !== undefined) runs.delete(entry.run);
        underway.delete(key);
        runGroup?.close();
        if (!open && underway.size === 0) group?.close();
        sweepSoon();
        if (open && entry.waiting.length > 0) start(key, order, entry.waiting);
      },
    });
    if (run === undefined) return;
    entry.run = run;
    runs.add(run);
  };

  return {
    get unpinned() {
      return unpinned;
    },
    ask(question) {
      const { target } = question.order;
      if (target.kind !== 'exec') throw new TypeError(`${target.id} is not a program`);
      if (!open) return;
      const entry = underway.get(target.id);
      if (entry === undefined) return start(target.id, target, [question]);
      if (entry.endedAt !== undefined && now() - entry.endedAt > DYING_MS) settle([question], now(), { kind: 'prober', error: `${target.program} is not started again: it was killed and does not go (is its file system dead?)` }, 0, '');
      else if (entry.waiting.length < QUESTIONS_AT_MOST) entry.waiting.push(question);
    },
    close() {
      if (!open) return;
      open = false;
      for (const { run } of underway.values()) run?.kill();
      if (underway.size === 0) group?.close();
      sweepSoon();
    },
  };
}

type Program = Extract<Method, { kind: 'exec' }>;

interface Underway {
  readonly waiting: Question[];
  run: Run | undefined;
  /** It was told, and the process has not gone yet: who asks now waits for the next run. */
  endedAt: Instant | undefined;
}

function environmentOf(line: ProbeLine, pinned: boolean): Readonly<Record<string, string>> {
  return {
    PATH: PROGRAM_PATH,
    LANG: 'C',
    UPLINKD_UPLINK: line.uplink,
    UPLINKD_INTERFACE: line.interface,
    UPLINKD_FAMILY: String(line.family),
    UPLINKD_SOURCE: line.source,
    UPLINKD_GATEWAY: line.gateway,
    UPLINKD_MARK: `0x${(line.mark >>> 0).toString(16)}`,
    UPLINKD_PINNED: pinned ? 'cgroup' : 'no',
  };
}

function settle(waiting: readonly Question[], at: Instant, end: RunEnd, ranMs: number, unpinned: string): void {
  for (const question of waiting) {
    if (end.kind === 'answered') question.answered(at, ranMs, unpinned);
    else question.lost(at, causeOf(end.kind), unpinned === '' || end.kind !== 'failed' ? end.error : `${end.error} (it ran unpinned, by the default route)`);
  }
}

function causeOf(kind: 'failed' | 'prober' | 'unplaced'): LostCause {
  return kind === 'failed' ? 'failed' : 'prober';
}

/** A group is busy for a moment after its last process was killed. */
let sweeping: NodeJS.Timeout | undefined;
function sweepSoon(rounds = SWEEPS_AT_MOST): void {
  if (sweeping !== undefined || sweepGroups() === 0 || rounds === 0) return;
  sweeping = setTimeout(() => {
    sweeping = undefined;
    sweepSoon(rounds - 1);
  }, SWEEP_AFTER_MS).unref();
}

function killAllAtExit(): void {
  if (hooked) return;
  hooked = true;
  process.once('exit', () => {
    for (const run of runs) run.kill();
    doomGroups();
    const pause = new Int32Array(new SharedArrayBuffer(4));
    for (let round = 0; round < EXIT_ROUNDS && sweepGroups() > 0; round++) Atomics.wait(pause, 0, 0, EXIT_PAUSE_MS);
  });
}

const EXIT_ROUNDS = 20;
const EXIT_PAUSE_MS = 5;
