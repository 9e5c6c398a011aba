/** What other people's ICMP on the device costs our probes: their round-trip time and our CPU, with a flood of pings and without, in the same run. */
import { inside } from './inside.js';
import { quantile, row, type Row } from './figures.js';

/** What flood-inside.ts prints. */
export interface FloodFigures {
  readonly flooded: number;
  readonly rttMs: readonly number[];
  readonly cpuPercent: number;
}

const NAMES = { none: 'no flood', theirs: 'echo requests flood us', ours: 'answers to pings of this machine flood us' } as const;
const RTT_BAR_MS = 5;
const CPU_BAR_PERCENT = 30;

export async function flood(): Promise<readonly Row[]> {
  const rows: Row[] = [];
  let quietMs = NaN;
  for (const kind of ['none', 'theirs', 'ours'] as const) {
    const { flooded, rttMs, cpuPercent } = await inside<FloodFigures>('flood-inside', kind);
    const name = NAMES[kind];
    if (kind === 'none') {
      quietMs = quantile(rttMs, 0.5);
      rows.push(row(`${name}: round-trip time of a probe`, rttMs, 'ms'), row(`${name}: CPU at 50 probes a second`, [cpuPercent], '%'));
      continue;
    }
    rows.push(
      row(`${name}: packets a second`, [flooded], ''),
      row(`${name}: round-trip time of a probe`, rttMs, 'ms', `<= ${RTT_BAR_MS} ms`, RTT_BAR_MS),
      row(`${name}: the same / no flood`, [quantile(rttMs, 0.5) / quietMs], 'x'),
      row(`${name}: CPU at 50 probes a second`, [cpuPercent], '%', `<= ${CPU_BAR_PERCENT} % of one core`, CPU_BAR_PERCENT),
    );
  }
  return rows;
}
