/**
 * Long polls: requests that are answered when something changes. They are few (`atMost`), each has an end (`waitMs`),
 * each is let go when its client hangs up or the server closes, and all together are one listener of the board.
 */
import type { Board } from '../board.js';
import type { Status } from '../model.js';

/** `full`: so many wait already; ask again later. The other three: answer now. */
export type WaitEnd = 'changed' | 'time' | 'stopped' | 'full';

export interface Waiting {
  /**
   * @param isNews whether this Status is worth an answer; asked at once and at each publish
   * @param onGone told what to call when the client hangs up
   */
  until(isNews: (status: Status) => boolean, waitMs: number, onGone: (leave: () => void) => void): Promise<WaitEnd>;
  /** Answers everybody now; from then on nobody waits. */
  stop(): void;
}

interface Waiter {
  readonly isNews: (status: Status) => boolean;
  readonly end: (how: WaitEnd) => void;
}

export function openWaiting(board: Board, atMost: number): Waiting {
  const waiters = new Set<Waiter>();
  let stopped = false;
  let unsubscribe: (() => void) | undefined;

  const hear = (status: Status) => {
    for (const waiter of [...waiters]) if (waiter.isNews(status)) waiter.end('changed');
  };

  return {
    async until(isNews, waitMs, onGone) {
      if (isNews(board.get())) return 'changed';
      if (stopped) return 'stopped';
      if (waiters.size >= atMost) return 'full';
      unsubscribe ??= board.subscribe(hear);
      if (unsubscribe === undefined) return 'full';
      return new Promise((resolve) => {
        const timer = setTimeout(() => waiter.end('time'), waitMs);
        const waiter: Waiter = {
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
