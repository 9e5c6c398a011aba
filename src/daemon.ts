/**
 * The loop: inbox, one step at a time, effects in order, one timer.
 *
 * What a switch depends on (probe, apply, read back) is synchronous, so event → decision → kernel → proof happens within one turn of
 * the event loop. NAT, forgetting and the state file are slower and come back as events.
 *
 * Time, timers and the world are handed in: the simulation, the tests of the core and bench/judgement drive this very loop in virtual time.
 */
import { step, type Output } from './core/step.js';
import type { State } from './core/state.js';
import type { Effect, Event, ForgetOrder, HostWish, Instant, KernelFacts, News, Override, Policy } from './model.js';
import type { Ask, Clock, Kernel, Outcome, OverrideOrder, ProbeReport, Prober, Timers } from './ports.js';

export interface World extends Clock {
  readonly timers: Timers;
  readonly kernel: Pick<Kernel, 'readAll' | 'readOurs' | 'look' | 'count' | 'apply' | 'watch' | 'forget' | 'host'>;
  readonly prober: Pick<Prober, 'bind' | 'send'>;
  /** The wall clock was set. @returns the override as it ends now */
  clockSet(): Override | undefined;
  /** Something changed that people may wait for. */
  publish(): void;
  tell(news: News): void;
  /** What must survive a restart. */
  save(override: Override | undefined): void;
  readonly observer?: Observer;
}

/** Sees every step, and changes nothing. */
export interface Observer {
  before(event: Event): void;
  /** Its effects are not carried out yet. */
  after(event: Event, output: Output): void;
  /** Nothing is left to do now. */
  settled(): void;
}

export interface Daemon extends Ask {
  /** Reads the kernel, takes up what a former run left, and begins. */
  start(): void;
  report(fact: ProbeReport): void;
  /** Any event, as it stands: the tests of the core say so what no door of theirs says. */
  take(event: Event): void;
  reload(policy: Policy): Outcome;
  /** Takes no further event and ends the timer; the kernel stays as it is. Resolves when the host is no more at work. */
  stop(): Promise<void>;
}

/** Notices are gathered so long before the kernel is read again, and reads are at least so far apart. */
const GATHER_MS = 5;
const READ_APART_MS = 100;
/** The wall clock may drift; who sets it moves it further at once. */
const CLOCK_SET_MS = 1000;

export function openDaemon(state: State, world: World): Daemon {
  const { kernel, prober, timers, observer } = world;
  const inbox: Event[] = [];
  const answers = new Map<number, (answer: { readonly error: string }) => void>();
  let lastToken = 0;
  let turning = false;
  let stopped = false;
  let wakeAt = Infinity;
  let pendingRead: 'none' | 'ours' | 'all' = 'none';
  let readAt = Infinity;
  let lastReadAt = -Infinity;
  let hostBusy = false;
  let hostNext: HostWish | undefined;
  let onHostIdle = (): void => undefined;
  let wallAhead = world.wall() - world.now();
  /** Orders that wait for the one before them, by uplink. */
  const forgetting = new Map<string, ForgetOrder[]>();

  function submit(event: Event): void {
    if (stopped) return;
    inbox.push(event);
    if (turning) return;
    turning = true;
    try {
      for (let next = inbox.shift(); next !== undefined; next = inbox.shift()) {
        observer?.before(next);
        const output = step(state, next);
        wakeAt = output.wakeAt;
        observer?.after(next, output);
        for (const effect of output.effects) carryOut(effect);
      }
    } finally {
      turning = false;
    }
    observer?.settled();
    arm();
  }

  function carryOut(effect: Effect): void {
    switch (effect.type) {
      case 'bind': return prober.bind(effect.lines);
      case 'probe': return prober.send(effect.order);
      case 'apply': {
        const failures = kernel.apply(effect.plan);
        const what = effect.plan.changes.some((change) => 'address' in change) ? 'all' : 'ours';
        submit({ type: 'applied', at: world.now(), failures, facts: facts(what) });
        return world.publish();
      }
      case 'read': return read(effect.what);
      case 'look': return submit({ type: 'links', at: world.now(), told: false, ...kernel.look(effect.ifindexes) });
      case 'count': return submit({ type: 'traffic', at: world.now(), counts: kernel.count(effect.devices) });
      case 'host':
        hostNext = effect.wish;
        return keepHost();
      case 'forget': return forget(effect.order);
      case 'save': return world.save(effect.override);
      case 'answer':
        answers.get(effect.token)?.({ error: effect.error });
        answers.delete(effect.token);
        return world.publish();
      case 'tell':
        world.tell(effect.news);
        return world.publish();
    }
  }

  function read(what: 'ours' | 'all'): void {
    lastReadAt = world.now();
    submit({ type: 'kernel', at: lastReadAt as Instant, facts: facts(what) });
  }

  /** Where others change the tables all the time, every dump may be interrupted: nothing was learnt, and it is read again soon. */
  function facts(what: 'ours' | 'all'): Partial<KernelFacts> {
    try {
      return what === 'all' ? kernel.readAll() : kernel.readOurs();
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'EINTR')) throw error;
      again(what);
      return {};
    }
  }

  /** One at a time; only the newest wish counts. */
  function keepHost(): void {
    const wish = hostNext;
    if (hostBusy || wish === undefined || stopped) return;
    hostNext = undefined;
    hostBusy = true;
    void kernel.host(wish).then((report) => {
      hostBusy = false;
      onHostIdle();
      submit({ type: 'host', at: world.now(), wish, report });
      keepHost();
    });
  }

  /** Those of one uplink one after the other: what is named first in the config moves first. */
  function forget(order: ForgetOrder): void {
    const waiting = forgetting.get(order.uplink);
    if (waiting !== undefined) {
      waiting.push(order);
      return;
    }
    forgetting.set(order.uplink, []);
    beginToForget(order);
  }

  function beginToForget(order: ForgetOrder): void {
    const done = (count: number, error: string): void => {
      submit({ type: 'forgotten', at: world.now(), order, count, error });
      const next = forgetting.get(order.uplink)?.shift();
      if (next === undefined) forgetting.delete(order.uplink);
      else beginToForget(next);
    };
    void kernel.forget(order).then((count) => done(count, ''), (error: unknown) => done(0, String(error)));
  }

  function arm(): void {
    if (stopped) return;
    const at = Math.min(wakeAt, readAt);
    timers.set(Math.max(0, at - world.now()), () => ring(at));
  }

  function ring(askedAt: number): void {
    if (stopped) return;
    const now = world.now();
    if (pendingRead !== 'none' && readAt <= now) {
      const what = pendingRead;
      pendingRead = 'none';
      readAt = Infinity;
      read(what);
    }
    watchClock();
    submit({ type: 'wake', at: world.now(), lateMs: Math.max(0, now - askedAt) });
  }

  function watchClock(): void {
    const ahead = world.wall() - world.now();
    if (Math.abs(ahead - wallAhead) < CLOCK_SET_MS) return;
    wallAhead = ahead;
    submit({ type: 'clock', at: world.now(), override: world.clockSet() });
  }

  function again(what: 'ours' | 'all'): void {
    if (pendingRead !== 'all') pendingRead = what;
    readAt = Math.min(readAt, Math.max(world.now() + GATHER_MS, lastReadAt + READ_APART_MS));
    if (!turning) arm();
  }

  function ask(event: (token: number) => Event): Outcome {
    const token = ++lastToken;
    return new Promise((resolve) => {
      answers.set(token, resolve);
      // In a turn of its own: a bug in the core ends the process, as anywhere else, and not this one request.
      timers.soon(() => submit(event(token)));
    });
  }

  return {
    start() {
      kernel.watch({
        links: (links, gone) => submit({ type: 'links', at: world.now(), told: true, links, gone }),
        again,
        ruleset: () => submit({ type: 'ruleset', at: world.now() }),
      });
      read('all');
    },
    report: submit,
    take: submit,
    reload: (policy) => ask((token) => ({ type: 'policy', at: world.now(), policy, token })),
    override: (order) => ask((token) => ({ type: 'override', at: world.now(), token, by: order.by, override: overrideOf(order, world.now()) })),
    clear: (by) => ask((token) => ({ type: 'override', at: world.now(), token, by, override: undefined })),
    confirm: (by) => ask((token) => ({ type: 'confirm', at: world.now(), token, by })),
    verdict: ({ uplink, state: says, by, because, forMs }) => ask((token) => {
      const at = world.now();
      return { type: 'verdict', at, uplink, by, token, verdict: { uplink, state: says, by, because, since: at, until: (at + forMs) as Instant } };
    }),
    withdraw: (uplink, by) => ask((token) => ({ type: 'verdict', at: world.now(), uplink, by, token, verdict: undefined })),
    stop() {
      stopped = true;
      timers.clear();
      for (const resolve of answers.values()) resolve({ error: 'uplinkd is stopping' });
      return new Promise((resolve) => {
        if (hostBusy) onHostIdle = resolve;
        else resolve();
      });
    },
  };
}

function overrideOf(order: OverrideOrder, now: Instant): Override {
  const after = (ms: number | undefined): Instant | undefined => (ms === undefined ? undefined : ((now + ms) as Instant));
  return {
    uplink: order.uplink, until: after(order.forMs), confirmBy: after(order.confirmMs), reason: order.reason, by: order.by,
    since: now, ifDead: order.ifDead,
  };
}
