/**
 * The loop: inbox, one step at a time, effects in order, one timer.
 *
 * The interfaces below are all that the daemon needs of the world; the shells fit them structurally. What a switch
 * depends on (probe, apply, read back) is synchronous, so event → decision → kernel → proof happens within one turn of
 * the event loop. NAT, forgetting and the state file are slower and come back as events.
 */
import { step } from './core/step.js';
import type { State } from './core/state.js';
import type {
  ChangeFailure, DevicesToo, Effect, Event, ForgetOrder, HostReport, HostWish, Instant, KernelFacts, Link, News,
  OutsideVerdict, Override, Plan, Policy, PolicyCounter, ProbeLine, ProbeOrder, TrafficCount,
} from './model.js';

/** The only door to Linux. Synchronous where a switch depends on it; errors of the kernel are data. */
export interface KernelDoor {
  /** Everything; interrupted dumps are repeated. @throws KernelError when the socket itself fails */
  readAll(): KernelFacts;
  /** Our routes and rules only (kernel-filtered dumps). */
  readOurs(): Pick<KernelFacts, 'routes' | 'rules'>;
  /** Single-device RTM_GETLINK each; an index that does not exist any more is in `gone`. */
  look(ifindexes: readonly number[]): { readonly links: readonly Link[]; readonly gone: readonly number[] };
  /** What passed through the uplinks so far; empty = nothing counts. Tens of times a second. */
  count(devices?: DevicesToo): readonly TrafficCount[];
  /** Carries out the changes in order, skipping those whose `needs` failed; goes on after a failure. */
  apply(plan: Plan): readonly ChangeFailure[];
  /** `links`: told by the kernel, at once; `again`: something else of interest changed or was lost (overrun): look again. */
  watch(tell: {
    links(links: readonly Link[], gone: readonly number[]): void;
    again(what: 'ours' | 'all'): void;
    /** The rules of nftables (and so of iptables-nft) changed. */
    ruleset?(): void;
  }): void;
  /** Forgets connections by mark, in parts, without blocking the loop for more than a few ms. */
  forget(order: ForgetOrder): Promise<number>;
  /** Brings NAT, marks, firewall and sysctls to the wish and reads them back; idempotent; serialised by the caller. */
  host(wish: HostWish): Promise<HostReport>;
  /** What `host` would change, as lines that people read. */
  preview(wish: HostWish): Promise<{ readonly filter: readonly string[]; readonly sysctls: readonly string[] }>;
  /** New connections that each policy took. */
  counters(): Promise<readonly PolicyCounter[]>;
  /** Removes everything of ours and gives the sysctls back their former values (`stop: restore`). */
  restore(): Promise<void>;
  close(): void;
}

export interface ProbeShell {
  bind(lines: readonly ProbeLine[]): void;
  send(order: ProbeOrder): void;
  close(): void;
}

/** What the prober reports. */
export type ProbeReport = Extract<Event, { type: 'reply' | 'lost' }>;

export interface World {
  readonly kernel: KernelDoor;
  readonly prober: ProbeShell;
  /** Milliseconds of the monotonic clock. */
  now(): Instant;
  /** Milliseconds since 1970, UTC. */
  wall(): number;
  /** The wall clock was set. @returns the override as it ends now */
  clockSet(): Override | undefined;
  /** Something changed that people may wait for. */
  publish(): void;
  tell(news: News): void;
  /** What must survive a restart. */
  save(override: Override | undefined): void;
}

export interface OverrideWish {
  readonly uplink: string;
  /** ms; undefined = until `auto` */
  readonly forMs: number | undefined;
  readonly reason: string;
  readonly ifDead: 'fall-through' | 'obey';
  readonly confirmMs: number | undefined;
  readonly by: string;
}

/** What somebody else says of an uplink. */
export interface VerdictWish extends Pick<OutsideVerdict, 'uplink' | 'state' | 'by' | 'because'> {
  /** ms */
  readonly forMs: number;
}

export interface Daemon {
  /** Reads the kernel, takes up what a former run left, and begins. */
  start(): void;
  report(fact: ProbeReport): void;
  /** Each resolves when the kernel was read back; `error` '' = in force, else why not. */
  override(wish: OverrideWish): Promise<{ readonly error: string }>;
  clear(by: string): Promise<{ readonly error: string }>;
  reload(policy: Policy): Promise<{ readonly error: string }>;
  confirm(by: string): Promise<{ readonly error: string }>;
  verdict(wish: VerdictWish): Promise<{ readonly error: string }>;
  /** What this witness said of the uplink counts no more; '' = all of them. */
  withdraw(uplink: string, by: string): Promise<{ readonly error: string }>;
  /** Takes no further event and ends the timer; the kernel stays as it is. */
  stop(): Promise<void>;
}

/** Notices are gathered so long before the kernel is read again, and reads are at least so far apart. */
const GATHER_MS = 5;
const READ_APART_MS = 100;
/** The wall clock may drift; who sets it moves it further at once. */
const CLOCK_SET_MS = 1000;

export function openDaemon(state: State, world: World): Daemon {
  const { kernel, prober } = world;
  const inbox: Event[] = [];
  const answers = new Map<number, (answer: { readonly error: string }) => void>();
  let lastToken = 0;
  let turning = false;
  let stopped = false;
  let wakeAt = Infinity;
  let timer: NodeJS.Timeout | undefined;
  let pendingRead: 'none' | 'ours' | 'all' = 'none';
  let readAt = Infinity;
  let lastReadAt = -Infinity;
  let hostBusy: Promise<void> | undefined;
  let hostNext: HostWish | undefined;
  let wallAhead = world.wall() - world.now();
  const forgetting = new Map<string, Promise<void>>();

  function submit(event: Event): void {
    if (stopped) return;
    inbox.push(event);
    if (turning) return;
    turning = true;
    try {
      for (let next = inbox.shift(); next !== undefined; next = inbox.shift()) {
        const output = step(state, next);
        wakeAt = output.wakeAt;
        for (const effect of output.effects) carryOut(effect);
      }
    } finally {
      turning = false;
    }
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
        hostBusy ??= keepHost();
        return;
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
  async function keepHost(): Promise<void> {
    while (hostNext !== undefined && !stopped) {
      const wish = hostNext;
      hostNext = undefined;
      const report = await kernel.host(wish);
      submit({ type: 'host', at: world.now(), wish, report });
    }
    hostBusy = undefined;
  }

  /** Those of one uplink one after the other: what is named first in the config moves first. */
  function forget(order: ForgetOrder): void {
    const former = forgetting.get(order.uplink) ?? Promise.resolve();
    const turn = former.then(() => kernel.forget(order)).then(
      (count) => submit({ type: 'forgotten', at: world.now(), order, count, error: '' }),
      (error: unknown) => submit({ type: 'forgotten', at: world.now(), order, count: 0, error: String(error) }),
    );
    forgetting.set(order.uplink, turn);
  }

  function arm(): void {
    clearTimeout(timer);
    if (stopped) return;
    const at = Math.min(wakeAt, readAt);
    // Answers that arrived before the timer rang are read first: the poll phase comes next, what it reads is told in the turn after it, and then it rings.
    timer = setTimeout(() => setImmediate(() => setImmediate(ring, at)), Math.max(0, at - world.now()));
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

  function ask(event: (token: number) => Event): Promise<{ readonly error: string }> {
    const token = ++lastToken;
    return new Promise((resolve) => {
      answers.set(token, resolve);
      // In a turn of its own: a bug in the core ends the process, as anywhere else, and not this one request.
      queueMicrotask(() => submit(event(token)));
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
    reload: (policy) => ask((token) => ({ type: 'policy', at: world.now(), policy, token })),
    override: (wish) => ask((token) => ({ type: 'override', at: world.now(), token, by: wish.by, override: overrideOf(wish, world.now()) })),
    clear: (by) => ask((token) => ({ type: 'override', at: world.now(), token, by, override: undefined })),
    confirm: (by) => ask((token) => ({ type: 'confirm', at: world.now(), token, by })),
    verdict: ({ uplink, state: says, by, because, forMs }) => ask((token) => {
      const at = world.now();
      return { type: 'verdict', at, uplink, by, token, verdict: { uplink, state: says, by, because, since: at, until: (at + forMs) as Instant } };
    }),
    withdraw: (uplink, by) => ask((token) => ({ type: 'verdict', at: world.now(), uplink, by, token, verdict: undefined })),
    async stop() {
      stopped = true;
      clearTimeout(timer);
      for (const resolve of answers.values()) resolve({ error: 'uplinkd is stopping' });
      await hostBusy;
    },
  };
}

function overrideOf(wish: OverrideWish, now: Instant): Override {
  const after = (ms: number | undefined): Instant | undefined => (ms === undefined ? undefined : ((now + ms) as Instant));
  return {
    uplink: wish.uplink, until: after(wish.forMs), confirmBy: after(wish.confirmMs), reason: wish.reason, by: wish.by,
    since: now, ifDead: wish.ifDead,
  };
}
