/**
 * What a handler works with (`Desk`) and what it is given (`Request`). Nothing here knows HTTP beyond that.
 */
import type { Ask, Questions } from '../ports.js';
import type { Snapshot } from './snapshot.js';
import type { Door } from './turns.js';
import type { Waiting } from './wait.js';
import type { Identity } from './wire.js';

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
