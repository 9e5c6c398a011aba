/** Connections of an uplink that died: how long it takes to forget them, who is held up by it, and when TCP clients know. */
import { inside } from './inside.js';
import { quantile, row, type Row } from './figures.js';

/** What flows-inside.ts prints. */
export interface FlowFigures {
  readonly emptyMs: readonly number[];
  /** 300 in a table of 200,000. */
  readonly fewMs: readonly number[];
  readonly allMs: readonly number[];
  readonly cutMs: readonly number[];
  readonly longestBlockMs: readonly number[];
  /** Of the loop while nothing at all is done: what the machine's other load makes of it. */
  readonly idleBlockMs: readonly number[];
  /** Until a client knew, counted from the switch; 2000 where it did not within 2 s. */
  readonly told: readonly { readonly family: 4 | 6; readonly kind: 'sends' | 'receives'; readonly help: 'cut' | 'deleted' | 'none'; readonly farEnd: 'answers' | 'silent'; readonly ms: readonly number[] }[];
}

const HELP = { cut: 'cut', deleted: 'deleted only', none: 'no help' } as const;

export async function flowsRows(): Promise<readonly Row[]> {
  const figures = await inside<FlowFigures>('flows-inside');
  const emptyMs = quantile(figures.emptyMs, 0.5);
  return [
    row('forget in an empty table', figures.emptyMs, 'ms'),
    row('forget 300 of 200,000', figures.fewMs, 'ms'),
    row('forget 200,000 of 200,000', figures.allMs, 'ms'),
    row('200,000 TCP connections cut, 20,000 of their clients provoked', figures.cutMs, 'ms'),
    row('200,000 forgotten / empty table', figures.allMs.map((ms) => ms / emptyMs), 'x'),
    row('longest block of the event loop meanwhile, per run', figures.longestBlockMs, 'ms'),
    row('the same of a loop that does nothing for as long', figures.idleBlockMs, 'ms'),
    row('longest block of all runs', [Math.max(...figures.longestBlockMs)], 'ms', '<= 10 ms', 10),
    ...figures.told.map(({ family, kind, help, farEnd, ms }) => {
      const what = `IPv${family} client that ${kind} knows: ${HELP[help]}${farEnd === 'silent' ? ', far end silent' : ''}`;
      return help === 'cut' ? row(what, ms, 'ms', '<= 100 ms', 100) : row(what, ms, 'ms');
    }),
  ];
}
