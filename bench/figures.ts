/** Figures and how they are printed: p50 and p95 of runs, each beside its bar and beside its reference. */

export interface Row {
  readonly what: string;
  readonly values: readonly number[];
  readonly unit: string;
  /** The bar of the project, as text; '' where the row is a reference. */
  readonly bar: string;
  /** Is p50 within the bar? undefined for a reference. */
  readonly within: boolean | undefined;
}

export function quantile(values: readonly number[], q: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  if (sorted.length === 0) return NaN;
  return sorted[Math.min(sorted.length - 1, Math.ceil(q * sorted.length) - 1)]!;
}

export function row(what: string, values: readonly number[], unit: string, bar = '', atMost: number = NaN): Row {
  return { what, values, unit, bar, within: Number.isNaN(atMost) ? undefined : quantile(values, 0.5) <= atMost };
}

export function printTable(title: string, rows: readonly Row[]): void {
  const width = Math.max(...rows.map((r) => r.what.length));
  console.log(`\n${title}\n`);
  console.log(`${'what'.padEnd(width)}  ${'p50'.padStart(10)}  ${'p95'.padStart(10)}  runs  bar`);
  for (const { what, values, unit, bar, within } of rows) {
    const cell = (q: number): string => `${shown(quantile(values, q))} ${unit}`.padStart(10);
    const verdict = within === undefined ? '' : within ? '  met' : '  MISSED';
    console.log(`${what.padEnd(width)}  ${cell(0.5)}  ${cell(0.95)}  ${String(values.length).padStart(4)}  ${bar}${verdict}`);
  }
}

function shown(value: number): string {
  if (Number.isNaN(value)) return '-';
  return value >= 100 ? value.toFixed(0) : value >= 1 ? value.toFixed(1) : value.toFixed(3).replace(/0+$/, '').replace(/\.$/, '');
}
