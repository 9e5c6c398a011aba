/**
 * How long and how often at once something slow is asked. Who may only read must not be able to keep the daemon from
 * its work, however much he asks; see turns.ts, too.
 */

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
