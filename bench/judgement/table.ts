/** How the scores are printed: one row per contestant, the best peer of each column marked, definitions below. */
import { perDay, type Score } from './score.js';

export interface Entry {
  readonly name: string;
  readonly about: string;
  readonly isPeer: boolean;
  readonly score: Score;
}

interface Column {
  readonly title: string;
  /** We mean to be better than every peer here. */
  readonly counts?: true;
  readonly valueOf: (score: Score) => number;
}

const COLUMNS: readonly Column[] = [
  { title: 'outage min', counts: true, valueOf: (score) => perDay(score.outageMs / 60_000, score) },
  { title: 'poor min', valueOf: (score) => perDay(score.poorMs / 60_000, score) },
  { title: 'false failovers', counts: true, valueOf: (score) => perDay(score.falseFailovers, score) },
  { title: 'flaps', valueOf: (score) => perDay(score.flaps, score) },
  { title: 'broken flows', valueOf: (score) => perDay(score.brokenFlows, score) },
];

const DEFINITIONS = `All per simulated day, on the same storms. Less is better; * = the best peer of the column.
outage min       the active line is dead (no carrier, >= 50 % loss, or < 40 % of the destinations in reach), or there is none, and another is usable
                 (< 10 % loss, < 1 s round trip, >= 80 % of the destinations in reach)
poor min         the active line is neither usable nor dead, and another is usable
false failovers  changes away from a line that is usable and faster than 500 ms (or full of our own upload alone), and was so all through the last 2 s and for
                 90 % of the last minute; a return to a preferred line that is usable is none
flaps            all changes of the active line
broken flows     connections that were cut, or got no answer for more than 60 s`;

/** Markdown, so that it can be pasted into the README. */
export function tableOf(entries: readonly Entry[]): string {
  const peers = entries.filter((entry) => entry.isPeer);
  const best = COLUMNS.map(({ valueOf }) => Math.min(...peers.map(({ score }) => valueOf(score))));
  const cells = entries.map(({ name, isPeer, score }) => [name, ...COLUMNS.map(({ valueOf }, i) => `${shown(valueOf(score))}${isPeer && valueOf(score) === best[i] ? ' *' : ''}`)]);
  const rows = [['', ...COLUMNS.map(({ title }) => title)], ...cells];
  const widths = rows[0]!.map((_, i) => Math.max(...rows.map((row) => row[i]!.length)));
  const lineOf = (row: readonly string[]): string => `| ${row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))).join(' | ')} |`;
  const rule = `| ${widths.map((width, i) => (i === 0 ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`)).join(' | ')} |`;
  return [lineOf(rows[0]!), rule, ...rows.slice(1).map(lineOf)].join('\n');
}

/** Ours against the best peer of the two columns that count most. */
export function verdictsOf(entries: readonly Entry[]): readonly { readonly text: string; readonly better: boolean }[] {
  const peers = entries.filter((entry) => entry.isPeer);
  return entries.filter((entry) => !entry.isPeer).flatMap(({ name, score }) => COLUMNS.filter(({ counts }) => counts === true).map(({ title, valueOf }) => {
    const best = peers.reduce((a, b) => (valueOf(b.score) < valueOf(a.score) ? b : a));
    const better = valueOf(score) < valueOf(best.score);
    return { text: `${name}, ${title}: ${shown(valueOf(score))}, best peer ${shown(valueOf(best.score))} (${best.name}): ${better ? 'better' : 'NOT BETTER'}`, better };
  }));
}

export function legendOf(entries: readonly Entry[]): string {
  const width = Math.max(...entries.map(({ name }) => name.length));
  return `${DEFINITIONS}\n\n${entries.map(({ name, about }) => `${name.padEnd(width)}  ${about}`).join('\n')}`;
}

function shown(value: number): string {
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2);
}
