/**
 * What a handler works with (`Desk`) and what it is given (`Request`). Nothing here knows HTTP beyond that.
 */
import type { Board } from '../board.js';
import type { Override } from '../model.js';
import type { Waiting } from './wait.js';
import type { Identity, ShowTime } from './wire.js';

export interface OverrideOrder {
  readonly uplink: string;
  /** undefined = until it is dropped. */
  readonly forMs: number | undefined;
  readonly reason: string;
  readonly ifDead: Override['ifDead'];
  readonly confirmMs: number | undefined;
  readonly by: string;
}

/** The daemon's ear. `error` is '' when the kernel was read back and has it; else why not, in words. */
export interface Ask {
  override(order: OverrideOrder): Promise<{ readonly error: string }>;
  clear(by: string): Promise<{ readonly error: string }>;
  confirm(by: string): Promise<{ readonly error: string }>;
}

export interface Desk {
  readonly board: Board;
  readonly ask: Ask;
  readonly askTimeoutMs: number;
  readonly calendar: () => ShowTime;
  readonly waiting: Waiting;
  readonly identity: Identity;
  readonly openapi: object;
}

export interface Request {
  readonly params: Readonly<Record<string, string>>;
  readonly query: unknown;
  readonly body: unknown;
  /** The header If-None-Match, '' if absent. */
  readonly ifNoneMatch: string;
  /** Who asks. */
  readonly by: string;
  readonly onGone: (leave: () => void) => void;
}
