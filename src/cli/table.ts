/**
 * Columns and colours for the terminal. Colour is a hint beside the word and never instead of it.
 */

/** Colours a cell that is already padded; gives it back as it is where there is no terminal. */
export type Paint = (tone: Tone, text: string) => string;
export type Tone = 'good' | 'doubt' | 'bad' | 'faint';

const SGR = { good: '32', doubt: '33', bad: '31', faint: '2' } as const;

export function paintFor(colours: boolean): Paint {
  return (tone, text) => (colours ? `\u001b[${SGR[tone]}m${text}\u001b[0m` : text);
}

/** Columns as wide as their widest cell; the last one runs free. */
export function table(rows: readonly (readonly string[])[], paintCell: (row: number, column: number, padded: string) => string = (_row, _column, cell) => cell): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => [...(row[column] ?? '')].length)));
  const line = (row: readonly string[], index: number) => row.map((cell, column) => paintCell(index, column, column === row.length - 1 ? cell : cell + ' '.repeat((widths[column] ?? 0) - [...cell].length))).join('  ').trimEnd();
  return rows.map((row, index) => `${line(row, index)}\n`).join('');
}
