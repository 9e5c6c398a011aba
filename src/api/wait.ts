/**
 * Long polls: requests that are answered when something changes. They are few (`atMost` for each door), each has an
 * end (`waitMs`), each is let go when its client hangs up or the server closes. All together are one listener of the
 * board, which does nothing in the daemon's turn: whether the news is theirs is looked at in a turn of the API, and
 * each is answered in one.
 */
import type { Board } from '../board.js';
import type { Snapshot } from './snapshot.js';
import type { Door, Turns } from './turns.js';

/** `full`: so many wait already; ask again later. The other three: answer now. */
export type WaitEnd = 'changed' | 'time' | 'stopped' | 'full';

export interface WaitOrder {
  readonly door: Door;
  /** Whether this is worth an answer; asked at once and after each publish. */
  readonly isNews: (snapshot: Snapshot) => boolean;
  readonly waitMs: number;
  /** Told what to call when the client hangs up. */
  readonly onGone: (leave: () => void) => void;
}

export interface Waiting {
  until(order: WaitOrder): Promise<WaitEnd>;
  /** Answers everybody now; from then on nobody waits. */
  stop(): void;
}

interface Waiter {
  readonly door: Door;
  readonly isNews: (snapshot: Snapshot) => boolean;
  readonly end: (how: WaitEnd) => void;
}

/** @param now the snapshot of this moment */
export function openWaiting(board: Board, now: () => Snapshot, turns: Turns, atMost: number): Waiting {
  const waiters = new Set<Waiter>();
  let stopped = false;
  let unsubscribe: (() => void) | undefined;
  let looking = false;

  const hear = () => {
    if (looking) return;
    looking = true;
    turns.ask('unix', look);
  };

  const look = () => {
    looking = false;
    for (const waiter of waiters) if (waiter.isNews(now())) turns.ask(waiter.door, () => waiter.end('changed'));
  };

  return {
    async until({ door, isNews, waitMs, onGone }) {
      if (isNews(now())) return 'changed';
      if (stopped) return 'stopped';
      if ([...waiters].filter((waiter) => waiter.door === door).length >= atMost) return 'full';
      unsubscribe ??= board.subscribe(hear);
      if (unsubscribe === undefined) return 'full';
      return new Promise((resolve) => {
        const timer = setTimeout(() => turns.ask(door, () => waiter.end('time')), waitMs);
        const waiter: Waiter = {
          door,
          isNews,
          end(how) {
            clearTimeout(timer);
            waiters.delete(waiter);
            if (waiters.size === 0) {
              unsubscribe?.();
              unsubscribe = undefined;
            }
            resolve(how);
          },
        };
        waiters.add(waiter);
        onGone(() => waiter.end('stopped'));
      });
    },
    stop() {
      stopped = true;
      for (const waiter of [...waiters]) waiter.end('stopped');
    },
  };
}
