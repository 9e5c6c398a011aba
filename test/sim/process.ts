/**
 * The process that runs the daemon's loop in virtual time. It can be starved: then nothing is read and no timer rings until it is let go, and what lay
 * unread is read before the timer rings, as in libuv. It can be killed.
 */
import type { State } from '../../src/core/state.js';
import { openDaemon, type Daemon, type Observer } from '../../src/daemon.js';
import type { HostReport, Instant, Override, ProbeLine, ProbeOrder, TrafficCount } from '../../src/model.js';
import type { Kernel, Timers } from '../../src/ports.js';
import type { Agenda } from './agenda.js';
import type { Dice } from './dice.js';

export interface Surroundings {
  readonly agenda: Agenda;
  readonly dice: Dice;
  readonly kernel: Pick<Kernel, 'readAll' | 'readOurs' | 'look' | 'apply' | 'watch'>;
  readonly observer: Observer;
  bind(lines: readonly ProbeLine[]): void;
  send(order: ProbeOrder, process: Process): void;
  count(): readonly TrafficCount[];
  save(override: Override | undefined): void;
}

export interface Process {
  readonly state: State;
  start(): void;
  /** Something arrives at the process now; it is read as soon as the process runs. */
  arrive(read: (daemon: Daemon, now: Instant) => void): void;
  starve(forMs: number): void;
  /** kill -9 */
  kill(): void;
}

/** So many steps without time passing are a loop that ran hot. */
const STEPS_PER_INSTANT = 500;
export const SOUND_HOST: HostReport = { natBackend: 'nftables', natInSync: true, natRepaired: false, sysctlsInSync: true, problems: [] };
/** When the wall clock stood at 0. */
const WALL_MS = 1_700_000_000_000;

export function openProcess(state: State, around: Surroundings): Process {
  const { agenda, dice, kernel, observer } = around;
  let clock = agenda.now;
  let dead = false;
  let armed = 0;
  let starvedUntil = -Infinity;
  let stepsNow = 0;
  let stepsAt = agenda.now;

  /** Time passes a little with everything that is done. */
  function now(): Instant {
    clock = Math.max(clock + 0.001, agenda.now);
    return clock as Instant;
  }

  /** Not before the process runs again; a few things are still unread when the overdue timer rings. */
  function arrive(read: (daemon: Daemon, now: Instant) => void): void {
    const run = (): void => {
      if (!dead) read(daemon, now());
    };
    if (agenda.now >= starvedUntil) return run();
    agenda.at(starvedUntil + (dice.chance(0.2) ? 3 : 0), run);
  }

  /** What the real door promises, kept at an instant of the agenda. */
  function inTime<T>(ms: number, value: T): PromiseLike<T> {
    return new Promised((done) => agenda.at(agenda.now + ms, () => arrive(() => done(value))));
  }

  const timers: Timers = {
    set(ms, ring) {
      const mine = ++armed;
      // Timers ring up to a millisecond late; after starvation, in the second turn of the loop.
      const rings = (): void => {
        if (mine !== armed || dead) return;
        if (agenda.now < starvedUntil) agenda.at(starvedUntil + 1 + dice.between(0.01, 1), rings);
        else ring();
      };
      const ringAt = agenda.now + ms + dice.between(0.01, 1);
      agenda.at(agenda.now < starvedUntil ? Math.max(ringAt, starvedUntil + 1) : ringAt, rings);
    },
    clear: () => armed++,
    soon: (run) => run(),
  };

  const daemon = openDaemon(state, {
    timers, now, wall: () => WALL_MS + agenda.now, clockSet: () => state.override, publish: () => undefined, tell: () => undefined,
    save: (override) => around.save(override),
    prober: { bind: (lines) => around.bind(lines), send: (order) => around.send(order, process) },
    kernel: {
      ...kernel,
      watch: (tell) => kernel.watch({
        links: (links, gone) => arrive(() => tell.links(links, gone)),
        again: (what) => arrive(() => tell.again(what)),
      }),
      count: () => around.count(),
      host: () => inTime(30, SOUND_HOST),
      forget: () => inTime(dice.between(1, 40), 3),
    },
    observer: {
      ...observer,
      before(event) {
        if (agenda.now !== stepsAt) stepsNow = 0;
        stepsAt = agenda.now;
        if (++stepsNow > STEPS_PER_INSTANT) throw new Error(`wake-is-sane: more than ${STEPS_PER_INSTANT} steps at one instant`);
        observer.before(event);
      },
    },
  });

  const process: Process = {
    state, arrive,
    start: () => daemon.start(),
    starve(forMs) {
      starvedUntil = Math.max(starvedUntil, agenda.now + forMs);
    },
    kill() {
      dead = true;
    },
  };
  return process;
}

/** The daemon's timer where time is a number: whoever moves that rings it. */
export interface Alarm {
  readonly timers: Timers;
  /** Infinity = not set. */
  readonly dueAt: number;
  ring(): void;
}

export function openAlarm(now: () => number): Alarm {
  let [dueAt, ring] = [Infinity, (): void => undefined];
  return {
    timers: {
      set: (ms, then) => { [dueAt, ring] = [now() + ms, then]; },
      clear: () => { dueAt = Infinity; },
      soon: (run) => run(),
    },
    get dueAt() { return dueAt; },
    ring: () => ring(),
  };
}

/** A promise that is kept at once, and not in a later turn of the machine. Never refused. */
export class Promised<T> implements PromiseLike<T> {
  constructor(private readonly begin: (done: (value: T) => void) => void) {}

  then<A = T, B = never>(kept?: ((value: T) => A | PromiseLike<A>) | null): PromiseLike<A | B> {
    this.begin((value) => void kept?.(value));
    return new Promised<A | B>(() => undefined);
  }
}
