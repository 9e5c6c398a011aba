/**
 * How long, how often at once and how often in a row something slow is asked. Who may only read must not be able to keep the daemon
 * from its work, however much he asks.
 */
import { setTimeout as pause } from 'node:timers/promises';

/** What came of it, or undefined when it took longer; then it goes on, and nobody hears of its end. */
export async function inTime<T extends object>(asked: Promise<T>, atMostMs: number): Promise<T | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), atMostMs);
  });
  return Promise.race([asked, late]).finally(() => clearTimeout(timer));
}

/** One run at a time: who asks while one is under way gets what that one finds. However many ask, the work is bounded. */
export function oneAtATime<T>(run: () => Promise<T>): () => Promise<T> {
  let underWay: Promise<T> | undefined;
  return () => {
    underWay ??= run().finally(() => {
      underWay = undefined;
    });
    return underWay;
  };
}

/**
 * One after the other what holds up the loop while it is made, and after each as long a pause as it took: half of the time is the daemon's.
 * @returns a function that gives undefined where `atMost` wait already
 */
export function inTurns(atMost: number): <T>(run: () => T) => Promise<T> | undefined {
  let before: Promise<void> = Promise.resolve();
  let waiting = 0;
  return (run) => {
    if (waiting >= atMost) return undefined;
    waiting++;
    let beganAt = 0;
    const turn = before.then(() => {
      beganAt = performance.now();
      return run();
    });
    const rest = () => {
      waiting--;
      return pause(performance.now() - beganAt);
    };
    before = turn.then(rest, rest);
    return turn;
  };
}
