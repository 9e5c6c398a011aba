/**
 * What is wrong with a config, where, and what to do about it.
 *
 * Whatever people wrote is shown through `shown`: between backticks, shortened, with control characters made
 * visible, so that a message is one line and a config cannot write to the terminal of whoever checks it.
 */

/** Where something stands. Line and column count from 1; line 0 = the file as a whole. */
export interface Place {
  readonly file: string;
  readonly line: number;
  readonly column: number;
}

export interface Problem extends Place {
  /** `uplinks.fibre.gateway`, `probe.targets[0].icmp`; '' = the file as a whole. */
  readonly key: string;
  /** What is wrong and what to do. */
  readonly text: string;
}

/** Keys are names, list items are numbers from 0. */
export type Path = readonly (string | number)[];

export function problemAt(place: Place, path: Path, text: string): Problem {
  return { file: place.file, line: place.line, column: place.column, key: keyText(path), text };
}

/** `probe.targets[0].icmp`; a key that is not a plain word is shown in quotes. */
export function keyText(path: Path): string {
  let text = '';
  for (const part of path) {
    if (typeof part === 'number') text += `[${part}]`;
    else text += (text === '' ? '' : '.') + (/^[\w-]{1,64}$/.test(part) ? part : JSON.stringify(printable(part)));
  }
  return text;
}

/** What people wrote, or are to write, between backticks. */
export function shown(text: string): string {
  return `\`${printable(text)}\``;
}

/** `a`, `b` and `c` */
export function listed(words: readonly string[], last: 'and' | 'or'): string {
  const all = words.map(shown);
  return all.length < 2 ? all.join('') : `${all.slice(0, -1).join(', ')} ${last} ${all[all.length - 1]}`;
}

/**
 * The candidate that was probably meant: the same but for case and hyphens, a few slips of the finger away, or the
 * only one that begins so.
 * @returns undefined when none is near
 */
export function nearest(word: string, candidates: readonly string[]): string | undefined {
  const wanted = bare(word);
  if (wanted.length > 40) return undefined;
  let best: string | undefined;
  let bestSlips = Math.max(1, Math.floor(wanted.length / 3)) + 1;
  for (const candidate of candidates) {
    const slips = distance(wanted, bare(candidate));
    if (slips < bestSlips && slips < candidate.length) [best, bestSlips] = [candidate, slips];
  }
  const longer = wanted.length < 2 ? [] : candidates.filter((candidate) => bare(candidate).startsWith(wanted));
  return best ?? (longer.length === 1 ? longer[0] : undefined);
}

const SHOWN_AT_MOST = 60;

function printable(text: string): string {
  const short = text.length > SHOWN_AT_MOST ? `${text.slice(0, SHOWN_AT_MOST)}…` : text;
  return short.replace(/[^\P{C}]|[\u2028\u2029]/gu, (c) => `\\u${(c.codePointAt(0) ?? 0).toString(16).padStart(4, '0')}`);
}

function bare(word: string): string {
  return word.toLowerCase().replace(/[-_ ]/g, '');
}

/** Optimal string alignment: insertions, deletions, substitutions and swaps of neighbours. */
function distance(a: string, b: string): number {
  const rows: number[][] = [];
  for (let i = 0; i <= a.length; i++) {
    const row: number[] = [];
    for (let j = 0; j <= b.length; j++) row.push(i === 0 ? j : j === 0 ? i : slips(rows, row, a, b, i, j));
    rows.push(row);
  }
  return rows[a.length]?.[b.length] ?? 0;
}

function slips(rows: readonly number[][], row: readonly number[], a: string, b: string, i: number, j: number): number {
  const at = (r: number, c: number): number => rows[r]?.[c] ?? Infinity;
  const same = a[i - 1] === b[j - 1];
  let least = Math.min(at(i - 1, j) + 1, (row[j - 1] ?? Infinity) + 1, at(i - 1, j - 1) + (same ? 0 : 1));
  if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) least = Math.min(least, at(i - 2, j - 2) + 1);
  return least;
}
