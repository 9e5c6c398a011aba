/**
 * The loop of src/daemon.ts in virtual time: inbox, one step at a time, effects in order, one timer. It can be starved: then
 * nothing is read and no timer rings until it is let go, and what lay unread is read before the timer rings, as in libuv.
 */
import type { KernelDoor } from '../../src/daemon.js';
import { step } from '../../src/core/step.js';
import type { State } from '../../src/core/state.js';
import type { Effect, Event, Instant, Override, ProbeLine, ProbeOrder, TrafficCount } from '../../src/model.js';
import type { Agenda } from './agenda.js';
import type { Dice } from './dice.js';

export interface LoopWorld {
  readonly agenda: Agenda;
  readonly dice: Dice;
  readonly kernel: Pick<KernelDoor, 'readAll' | 'readOurs' | 'look' | 'apply' | 'watch'>;
  bind(lines: readonly ProbeLine[]): void;
  send(order: ProbeOrder, loop: Loop): void;
  count(): readonly TrafficCount[];
  save(override: Override | undefined): void;
  /** Before each step, and when an event and all that follows from it at once has been carried out. */
  turns(event: Event): void;
  settled(): void;
  /** After each step, with what came out of it, before that is carried out. */
  turned(event: Event, effects: readonly Effect[], wakeAt: number): void;
}

export interface Loop {
  readonly state: State;
  start(): void;
  /** Something arrives at the process now; it is read as soon as the process runs. */
  arrive(make: (now: Instant) => Event): void;
  /** As the operator's call. */
  ask(make: (now: Instant, token: number) => Event): void;
  starve(forMs: number): void;
  /** kill -9 */
  kill(): void;
}

const GATHER_MS = 5;
const READ_APART_MS = 100;
/** So many steps without time passing are a loop that ran hot. */
const STEPS_PER_INSTANT = 500;

export function openLoop(state: State, world: LoopWorld): Loop {
  const { agenda, dice, kernel } = world;
  const inbox: Event[] = [];
  let clock = agenda.now;
  let turning = false;
  let dead = false;
  let wakeAt = Infinity;
  let armed = 0;
  let pendingRead: 'none' | 'ours' | 'all' = 'none';
  let readAt = Infinity;
  let lastReadAt = -Infinity;
  let starvedUntil = -Infinity;
  let lastToken = 0;
  let stepsNow = 0;
  let stepsAt = agenda.now;

  /** Time passes a little with everything that is done. */
  function now(): Instant {
    clock = Math.max(clock + 0.001, agenda.now);
    return clock as Instant;
  }

  function submit(event: Event): void {
    if (dead) return;
    inbox.push(event);
    if (turning) return;
    turning = true;
    for (let next = inbox.shift(); next !== undefined; next = inbox.shift()) {
      countStep();
      world.turns(next);
      const output = step(state, next);
      wakeAt = output.wakeAt;
      world.turned(next, output.effects, output.wakeAt);
      for (const effect of output.effects) carryOut(effect);
    }
    turning = false;
    world.settled();
    arm();
  }

  function countStep(): void {
    if (agenda.now !== stepsAt) stepsNow = 0;
    stepsAt = agenda.now;
    if (++stepsNow > STEPS_PER_INSTANT) throw new Error(`wake-is-sane: more than ${STEPS_PER_INSTANT} steps at one instant`);
  }

  function carryOut(effect: Effect): void {
    switch (effect.type) {
      case 'bind': return world.bind(effect.lines);
      case 'probe': return world.send(effect.order, loop);
      case 'apply': {
        const failures = kernel.apply(effect.plan);
        const facts = effect.plan.changes.some((change) => 'address' in change) ? kernel.readAll() : kernel.readOurs();
        return submit({ type: 'applied', at: now(), failures, facts });
      }
      case 'read': return read(effect.what);
      case 'look': return submit({ type: 'links', at: now(), told: false, ...kernel.look(effect.ifindexes) });
      case 'count': return arriveIn(0.2, (at) => ({ type: 'traffic', at, counts: world.count() }));
      case 'host':
        return arriveIn(30, (at) => ({ type: 'host', at, wish: effect.wish, report: { natBackend: 'nftables', natInSync: true, natRepaired: false, sysctlsInSync: true, problems: [] } }));
      case 'forget': return arriveIn(dice.between(1, 40), (at) => ({ type: 'forgotten', at, order: effect.order, count: 3, error: '' }));
      case 'save': return world.save(effect.override);
      case 'answer':
      case 'tell':
        return undefined;
    }
  }

  function read(what: 'ours' | 'all'): void {
    lastReadAt = now();
    submit({ type: 'kernel', at: lastReadAt as Instant, facts: what === 'all' ? kernel.readAll() : kernel.readOurs() });
  }

  /** Not before the process runs again; a few things are still unread when the overdue timer rings. */
  function arrive(make: (now: Instant) => Event): void {
    if (agenda.now >= starvedUntil) return submit(make(now()));
    agenda.at(starvedUntil + (dice.chance(0.2) ? 3 : 0), () => submit(make(now())));
  }

  function arriveIn(ms: number, make: (now: Instant) => Event): void {
    agenda.at(agenda.now + ms, () => arrive(make));
  }

  function arm(): void {
    const mine = ++armed;
    const at = Math.min(wakeAt, readAt);
    // Timers ring up to a millisecond late; after starvation, in the second turn of the loop.
    const ringAt = Math.max(at, agenda.now) + dice.between(0.01, 1);
    agenda.at(agenda.now < starvedUntil ? Math.max(ringAt, starvedUntil + 1) : ringAt, () => {
      if (mine === armed) ring(at);
    });
  }

  function ring(askedAt: number): void {
    if (dead) return;
    if (agenda.now < starvedUntil) return arm();
    const rangAt = now();
    if (pendingRead !== 'none' && readAt <= rangAt) {
      const what = pendingRead;
      pendingRead = 'none';
      readAt = Infinity;
      read(what);
    }
    submit({ type: 'wake', at: now(), lateMs: Math.max(0, rangAt - askedAt) });
  }

  function again(what: 'ours' | 'all'): void {
    if (dead) return;
    if (pendingRead !== 'all') pendingRead = what;
    readAt = Math.min(readAt, Math.max(agenda.now + GATHER_MS, lastReadAt + READ_APART_MS));
    if (!turning) arm();
  }

  const loop: Loop = {
    state, arrive,
    ask: (make) => arrive((at) => make(at, ++lastToken)),
    start() {
      kernel.watch({ links: (links, gone) => arrive((at) => ({ type: 'links', at, told: true, links, gone })), again });
      read('all');
    },
    starve(forMs) {
      starvedUntil = Math.max(starvedUntil, agenda.now + forMs);
    },
    kill() {
      dead = true;
    },
  };
  return loop;
}
