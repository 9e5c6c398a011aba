/**
 * Every interface between rooms, once: what the daemon needs of the world, and what the API needs of the daemon. No logic; the shells fit these
 * structurally, and so do the simulation's.
 *
 *   Timers, Clock     time, real or virtual
 *   Kernel, HostDoor  the only door to Linux: kernel/kernel.ts, and kernel/dry.ts in memory
 *   Prober            probes/prober.ts
 *   Ask               orders to the daemon: daemon.ts
 *   Questions         what needs more than the board: questions.ts
 */
import type {
  ChangeFailure, DevicesToo, Event, Finding, ForgetOrder, HostReport, HostWish, Instant, KernelFacts, Link, OutsideVerdict, Override, Plan, PolicyCounter, PolicyStatus,
  Preview, ProbeLine, ProbeOrder, TrafficCount,
} from './model.js';

// ------------------------------------------------------------------------------------------------------- time

export interface Clock {
  /** Milliseconds of the monotonic clock. */
  now(): Instant;
  /** Milliseconds since 1970, UTC. */
  wall(): number;
}

/** How the daemon is called later. */
export interface Timers {
  /** Calls `ring` once, in so many ms, after everything that has arrived by then was read. What was set before counts no more. */
  set(ms: number, ring: () => void): void;
  clear(): void;
  /** Calls `run` in a turn of its own, before anything else arrives. */
  soon(run: () => void): void;
}

// ----------------------------------------------------------------------------------------------------- kernel

/**
 * The only door to Linux. Synchronous where a switch depends on it. Errors of the kernel are data; KernelError is thrown only when netlink itself
 * fails. test/kernel/contract.ts holds every implementation to it.
 */
export interface Kernel extends HostDoor {
  /** Everything, true at one instant of each part; interrupted dumps are repeated. */
  readAll(): KernelFacts;
  /** Our routes, in every table, and our rules (kernel-filtered dumps). */
  readOurs(): Pick<KernelFacts, 'routes' | 'rules'>;
  /** Asks for these devices one by one, which makes a kernel ≥ 6.8 look at their carrier at once; an index that does not exist any more is in `gone`. */
  look(ifindexes: readonly number[]): { readonly links: readonly Link[]; readonly gone: readonly number[] };
  /** In order, going on after a refusal; a change whose `needs` was refused or skipped is skipped. @returns the refusals */
  apply(plan: Plan): readonly ChangeFailure[];
  /** One watch at a time; it ends with `close`. What our own `apply` changes in routes and rules is not told; in addresses it is. */
  watch(tell: Watcher): void;
  /** Forgets connections by mark, in parts, without blocking the loop for more than a few ms. @returns how many */
  forget(order: ForgetOrder): PromiseLike<number>;
}

export interface Watcher {
  /** States of links, told at once; `gone` are indexes of deleted devices. */
  links(links: readonly Link[], gone: readonly number[]): void;
  /** Something else of interest changed, or notifications were lost: look again. */
  again(what: 'ours' | 'all'): void;
  /** Somebody, perhaps we, changed the rules of nftables (and so of iptables-nft). */
  ruleset?(): void;
}

/** The slow half: NAT, marks, firewall, counters, sysctls. */
export interface HostDoor {
  /** Brings them to the wish and reads them back; idempotent; serialised by the caller. Operating errors are in `problems`. Never rejects. */
  host(wish: HostWish): PromiseLike<HostReport>;
  /** What `host` would change: rules with `+ ` or `- ` in front, and `sysctl -w ...`. Nothing is written. Never rejects. */
  preview(wish: HostWish): Promise<{ readonly filter: readonly string[]; readonly sysctls: readonly string[] }>;
  /** New connections that the policies of the last wish took since their rules were written. Never rejects. */
  counters(): Promise<readonly PolicyCounter[]>;
  /**
   * What connections that pass sent and were answered, by device and family: one netlink request, some ten microseconds, tens of times a second.
   * Empty where `host` was not asked to count, or could not. Never throws for what the kernel says.
   * @param devices what the devices carried, too: a few more requests. 'no' unless said
   */
  count(devices?: DevicesToo): readonly TrafficCount[];
  /** Removes everything of ours, NAT in both backends, and gives sysctls (and addresses) back. @throws Error that names all that could not be undone */
  restore(): Promise<void>;
  close(): void;
}

// ----------------------------------------------------------------------------------------------------- probes

/** What the prober reports. */
export type ProbeReport = Extract<Event, { type: 'reply' | 'lost' }>;

export interface Prober {
  /** All lines there are; those not named any more are closed. Probes in flight on a changed line are forgotten. */
  bind(lines: readonly ProbeLine[]): void;
  send(order: ProbeOrder): void;
  /** Nothing is sent or reported any more, and nothing keeps the process alive. */
  close(): void;
}

// ----------------------------------------------------------------------------------------------------- orders

/** The operator's choice of an uplink. */
export interface OverrideOrder extends Pick<Override, 'uplink' | 'reason' | 'ifDead' | 'by'> {
  /** undefined = until it is cleared. */
  readonly forMs: number | undefined;
  readonly confirmMs: number | undefined;
}

/** An external verdict on an uplink. */
export interface VerdictOrder extends Pick<OutsideVerdict, 'uplink' | 'state' | 'by' | 'because'> {
  readonly forMs: number;
}

/** `error` is '' when the kernel was read back and has it; else why not, in words. */
export type Outcome = Promise<{ readonly error: string }>;

/** The daemon's ear. */
export interface Ask {
  override(order: OverrideOrder): Outcome;
  clear(by: string): Outcome;
  confirm(by: string): Outcome;
  verdict(order: VerdictOrder): Outcome;
  /** @param by whose verdict is dropped; '' = everybody's */
  withdraw(uplink: string, by: string): Outcome;
}

// -------------------------------------------------------------------------------------------------- questions

/** Every problem of a config, each one line: `file:line: key: text`. */
export interface InvalidConfig {
  readonly problems: readonly string[];
}

/** A preview, and what a new config says that takes effect at the next start only, in words. */
export interface ConfigPreview extends Preview {
  readonly notes: readonly string[];
}

/** What needs the planner, the packet filter or a look at the machine. Nothing of it changes anything, but `reload`. */
export interface Questions {
  /** The uplink dies at this moment, in both families. Called with names that the board has. */
  whatIf(name: string): Preview;
  /** @param file its name in the problems */
  plan(configText: string, file: string): Promise<ConfigPreview | InvalidConfig>;
  /** In the order of the config. Asked by one caller at a time. */
  policies(): Promise<readonly PolicyStatus[]>;
  /** Asked by one caller at a time. */
  doctor(): Promise<readonly Finding[]>;
  /** Reads the config file again. Resolves when the kernel was read back; `preview`: what was changed. `error`: nothing was, and why. */
  reload(by: string): Promise<{ readonly preview: ConfigPreview } | InvalidConfig | { readonly error: string }>;
}
