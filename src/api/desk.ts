/**
 * What a handler works with (`Desk`) and what it is given (`Request`). Nothing here knows HTTP beyond that.
 */
import type { Finding, OutsideVerdict, Override, PolicyStatus, Preview } from '../model.js';
import type { Snapshot } from './snapshot.js';
import type { Door } from './turns.js';
import type { Waiting } from './wait.js';
import type { Identity } from './wire.js';

export interface OverrideOrder {
  readonly uplink: string;
  /** undefined = until it is dropped. */
  readonly forMs: number | undefined;
  readonly reason: string;
  readonly ifDead: Override['ifDead'];
  readonly confirmMs: number | undefined;
  readonly by: string;
}

/** What somebody outside says of an uplink. */
export interface VerdictOrder {
  readonly uplink: string;
  readonly state: OutsideVerdict['state'];
  readonly forMs: number;
  readonly by: string;
  readonly because: string;
}

/** The daemon's ear. `error` is '' when the kernel was read back and has it; else why not, in words. */
export interface Ask {
  override(order: OverrideOrder): Promise<{ readonly error: string }>;
  clear(by: string): Promise<{ readonly error: string }>;
  confirm(by: string): Promise<{ readonly error: string }>;
  verdict(order: VerdictOrder): Promise<{ readonly error: string }>;
  /** @param by whose verdict is dropped; '' = everybody's */
  withdraw(uplink: string, by: string): Promise<{ readonly error: string }>;
}

/** Every problem of a config, each one line: `file:line: key: text`. */
export interface InvalidConfig {
  readonly problems: readonly string[];
}

/** A preview, and what a new config says that takes effect at the next start only, in words. */
export interface ConfigPreview extends Preview {
  readonly notes?: readonly string[];
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

export interface Desk {
  /** The status of this moment, as all readers get it. */
  readonly now: () => Snapshot;
  readonly ask: Ask;
  readonly questions: Questions;
  /** For what holds up the loop; undefined: too many of this door wait for their turn already. */
  readonly inTurn: <T>(door: Door, run: () => T) => Promise<T> | undefined;
  readonly askTimeoutMs: number;
  readonly waiting: Waiting;
  readonly identity: Identity;
  readonly openapi: Buffer;
}

export interface Request {
  readonly params: Readonly<Record<string, string>>;
  readonly query: unknown;
  readonly body: unknown;
  /** The header If-None-Match, '' if absent. */
  readonly ifNoneMatch: string;
  /** Who asks, and by which door. */
  readonly by: string;
  readonly door: Door;
  readonly onGone: (leave: () => void) => void;
}
