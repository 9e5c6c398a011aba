/** Virtual time: what is to happen, in order; things of the same instant in the order in which they were written down. */
export interface Agenda {
  readonly now: number;
  at(when: number, run: () => void): void;
  runUntil(end: number): void;
}

interface Entry {
  readonly when: number;
  readonly order: number;
  readonly run: () => void;
}

export function openAgenda(start: number): Agenda {
  const heap: Entry[] = [];
  let now = start;
  let orders = 0;
  const before = (a: Entry, b: Entry): boolean => a.when < b.when || (a.when === b.when && a.order < b.order);

  function push(entry: Entry): void {
    let i = heap.push(entry) - 1;
    while (i > 0) {
      const up = (i - 1) >> 1;
      if (!before(heap[i]!, heap[up]!)) return;
      [heap[i], heap[up]] = [heap[up]!, heap[i]!];
      i = up;
    }
  }

  function pop(): Entry {
    const first = heap[0]!;
    const last = heap.pop()!;
    if (heap.length === 0) return first;
    heap[0] = last;
    for (let i = 0; ;) {
      const left = 2 * i + 1;
      const least = [left, left + 1].filter((child) => child < heap.length).reduce((a, b) => (before(heap[b]!, heap[a]!) ? b : a), i);
      if (least === i) return first;
      [heap[i], heap[least]] = [heap[least]!, heap[i]!];
      i = least;
    }
  }

  return {
    get now() {
      return now;
    },
    at: (when, run) => push({ when: Math.max(when, now), order: orders++, run }),
    runUntil(end) {
      while (heap.length > 0 && heap[0]!.when <= end) {
        const { when, run } = pop();
        now = when;
        run();
      }
      now = end;
    },
  };
}
