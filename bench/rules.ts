/** What the packet filter's rules cost to write and to read, by backend, and how soon a notice of the kernel is heard. Big against small in the same run. */
import { inside } from './inside.js';
import { quantile, row, type Row } from './figures.js';

/** What rules-inside.ts prints. */
export interface RuleFigures {
  readonly sorts: readonly {
    readonly name: string;
    /** Two lines and no policy. */
    readonly small: Turn;
    /** 64 lines and 256 policies. */
    readonly big: Turn;
  }[];
  /** Counters of two and of 64 uplinks. */
  readonly countMs: { readonly two: readonly number[]; readonly many: readonly number[] };
  /** From a route that is changed to the notice of it. */
  readonly noticeMs: readonly number[];
}

export interface Turn {
  readonly writeMs: readonly number[];
  readonly nothingDiffersMs: readonly number[];
}

const BAR_MS = { write: 1000, count: 2, notice: 1 } as const;

export async function rules(): Promise<readonly Row[]> {
  const { sorts, countMs, noticeMs } = await inside<RuleFigures>('rules-inside');
  return [
    ...sorts.flatMap(({ name, small, big }) => [
      row(`${name}: two lines are written`, small.writeMs, 'ms'),
      row(`${name}: 64 lines and 256 policies are written`, big.writeMs, 'ms', `<= ${BAR_MS.write} ms`, BAR_MS.write),
      row(`${name}: the same / two lines`, [quantile(big.writeMs, 0.5) / quantile(small.writeMs, 0.5)], 'x'),
      row(`${name}: two lines, nothing differs`, small.nothingDiffersMs, 'ms'),
      row(`${name}: 64 lines and 256 policies, nothing differs`, big.nothingDiffersMs, 'ms'),
    ]),
    row('counters of two uplinks are read', countMs.two, 'ms'),
    row('counters of 64 uplinks are read', countMs.many, 'ms', `<= ${BAR_MS.count} ms`, BAR_MS.count),
    row('a notice of a changed route is heard', noticeMs, 'ms', `<= ${BAR_MS.notice} ms`, BAR_MS.notice),
  ];
}
