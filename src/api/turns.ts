/**
 * The API's share of the event loop. All that readers cost is a job: one request parsed and answered, one long poll
 * that ends, one forecast.
 *
 *   timers, probes, netlink │ one job │ timers, probes, netlink │ one job │ ...
 *
 * A turn of the loop has room for one job, after everything that was ready to be read. A job is followed by a rest
 * that is REST_PER_JOB times as long, so that however much is asked, the API has a quarter of the time and the router
 * the other three. Jobs of the unix socket come before those of TCP.
 */
export type Door = 'unix' | 'tcp';

export interface Turns {
  /** Called once, in its turn. Must not throw. */
  ask(door: Door, job: () => void): void;
}

const REST_PER_JOB = 3;
/** A job that was stopped with the whole process (a debugger, a suspended machine) took long and cost nothing. */
const REST_AT_MOST_MS = 200;

export function openTurns(): Turns {
  const jobs: Readonly<Record<Door, (() => void)[]>> = { unix: [], tcp: [] };
  let armed = false;
  let restUntil = 0;

  function arm(): void {
    if (armed || jobs.unix.length + jobs.tcp.length === 0) return;
    armed = true;
    const restMs = restUntil - performance.now();
    // Less than the step of a timer stays owed. After a timer the poll phase comes first, too.
    if (restMs >= 1) setTimeout(rested, restMs);
    else setImmediate(turn);
  }

  /** Node counts from the beginning of the turn that set the timer: it may ring too soon by as long as that took. */
  function rested(): void {
    armed = false;
    arm();
  }

  function turn(): void {
    const job = jobs.unix.shift() ?? jobs.tcp.shift();
    const beganAt = performance.now();
    job?.();
    // What was promised is done in microtasks, and they are all done when a tick that one of them asked for comes.
    queueMicrotask(() => process.nextTick(() => {
      const endedAt = performance.now();
      restUntil = Math.max(restUntil, endedAt) + Math.min(REST_PER_JOB * (endedAt - beganAt), REST_AT_MOST_MS);
      armed = false;
      arm();
    }));
  }

  return {
    ask(door, job) {
      jobs[door].push(job);
      arm();
    },
  };
}

/**
 * For work that is worth waiting for, by those who can wait for it: few for each door.
 * @returns a function that gives undefined where `atMost` of this door wait already
 */
export function inTurns(turns: Turns, atMost: number): <T>(door: Door, run: () => T) => Promise<T> | undefined {
  const waiting: Record<Door, number> = { unix: 0, tcp: 0 };
  return <T>(door: Door, run: () => T) => {
    if (waiting[door] >= atMost) return undefined;
    waiting[door]++;
    return new Promise<void>((resolve) => turns.ask(door, resolve)).then(run).finally(() => waiting[door]--);
  };
}
