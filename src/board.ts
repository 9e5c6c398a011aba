/**
 * The board: the latest Status, for everybody who tells people something (REST, later alerts, followers, the page).
 *
 *   daemon ──publish()──► board ──► listeners        something changed: ask when you have time
 *   teller ──get()──────► board ──► read()           judged at this moment, never stored
 *
 * The daemon alone publishes. A listener is called inside the daemon's turn, between a decision and the kernel: it
 * notes that there is news, judges nothing there, and must not throw.
 */
import type { Status } from './model.js';

export interface Board {
  /** The Status as of now. */
  get(): Status;
  /** Of the decision in force; grows with each change of the active uplinks. */
  readonly generation: number;
  /** Called by the daemon when something changed. */
  publish(): void;
  /** @returns the way out, or undefined when `listenersAtMost` are here already */
  subscribe(listener: () => void): (() => void) | undefined;
}

/** @param read makes the Status of this moment; called at each get() */
export function openBoard(read: () => Status, listenersAtMost = 64): Board {
  const listeners = new Set<{ readonly tell: () => void }>();
  return {
    get: read,
    get generation() {
      return read().decision.generation;
    },
    publish() {
      for (const listener of [...listeners]) if (listeners.has(listener)) listener.tell();
    },
    subscribe(tell) {
      if (listeners.size >= listenersAtMost) return undefined;
      const listener = { tell };
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
  };
}
