/**
 * The YAML parser's complaints in words for people who do not read YAML's specification, at the place where the
 * slip is. A quotation mark or bracket that is not closed is reported where it was opened: the parser notices it
 * only where the file ends.
 */
import { shown } from './problem.js';

/** What the parser says: a code of the `yaml` package, its message, and character offsets. */
export interface SyntaxError {
  readonly code: string;
  readonly message: string;
  readonly pos: readonly [number, number];
}

/** A quoted text, `[list]` or `{map}`: where it begins and ends, by character offset. */
export interface Span {
  readonly from: number;
  readonly to: number;
}

/** After these the tree is as it was meant, but for one value. All others may shift what belongs to what. */
const HARMLESS = new Set(['BAD_ALIAS', 'BAD_DQ_ESCAPE', 'MULTIPLE_DOCS', 'TAG_RESOLVE_FAILED']);

export function breaksStructure(error: SyntaxError): boolean {
  return !HARMLESS.has(error.code);
}

/** Something was opened and not closed: whatever is complained of further down is a consequence. */
export function swallowsTheRest(error: SyntaxError): boolean {
  return openedBy(error) !== undefined;
}

/** Character offset at which people should look. */
export function syntaxPlace(error: SyntaxError, spans: readonly Span[]): number {
  if (openedBy(error) === undefined) return error.pos[0];
  const around = spans.filter((span) => span.from < error.pos[0] && span.to >= error.pos[0] - 1).map((span) => span.from);
  return around.length === 0 ? error.pos[0] : Math.max(...around);
}

/** @param text the whole file */
export function syntaxText(error: SyntaxError, text: string): string {
  const here = text.slice(error.pos[0], error.pos[1]).split('\n', 1)[0] ?? '';
  const opened = openedBy(error);
  if (opened !== undefined) return `this ${shown(opened)} is not closed: add ${shown(CLOSED_BY[opened] ?? opened)}`;
  switch (error.code) {
    case 'TAB_AS_INDENT':
      return 'a tab stands where the line is indented: YAML wants spaces there';
    case 'BAD_INDENT':
      return 'this line does not line up with its neighbours: indent it exactly as the keys it belongs to';
    case 'BLOCK_AS_IMPLICIT_KEY':
    case 'MULTILINE_IMPLICIT_KEY':
      return 'one key has both a value and further keys: put each key on a line of its own, lined up with its neighbours';
    case 'BAD_SCALAR_START':
      return `a value cannot begin with ${shown(here.slice(0, 1))}: put the whole value in quotes`;
    case 'BAD_DQ_ESCAPE':
      return `${shown(text.slice(error.pos[0], error.pos[0] + 2))} means nothing between double quotes: use single quotes`;
    case 'MULTIPLE_DOCS':
      return 'a second document begins here (`---`): one file holds one config';
    case 'TAG_RESOLVE_FAILED':
      return `a word that begins with \`!\` is a YAML tag, and ${shown(here)} is none that is known here: take it away, or put the value in quotes`;
    case 'MULTIPLE_ANCHORS':
      return 'a value can have one name (`&name`) at most: take the others away';
    case 'BLOCK_IN_FLOW':
      return 'a list of `- ` lines cannot stand between brackets: write `[a, b]`, or each item on a line of its own below the key';
    case 'MISSING_CHAR':
      return missingText(error.message);
    case 'UNEXPECTED_TOKEN':
      return unexpectedText(error.message, here);
    case 'RESOURCE_EXHAUSTION':
      return 'this is nested too deep to be read; no key of a config needs that';
    default:
      return `this is not YAML: ${error.message}`;
  }
}

const CLOSED_BY: Readonly<Record<string, string>> = { '"': '"', "'": "'", '[': ']', '{': '}' };

/** The mark that was opened and not closed, if that is the complaint. */
function openedBy(error: SyntaxError): string | undefined {
  const quote = /^Missing closing (["'])/.exec(error.message)?.[1];
  if (quote !== undefined) return quote;
  const bracket = /^Flow (map|sequence) .*end with a [}\]]/.exec(error.message)?.[1];
  return bracket === undefined ? undefined : bracket === 'map' ? '{' : '[';
}

function missingText(message: string): string {
  if (message.startsWith('Implicit map keys need')) return 'a key needs a `:` and a space after it: is it missing here, or does this line belong to the one above?';
  if (message.startsWith('Comments must be')) return 'a comment needs a space before its `#`; put the value in quotes if `#` belongs to it';
  if (message.startsWith('Missing space after')) return 'a space is missing after the `:`';
  if (message.startsWith('Missing ,')) return 'a comma is missing between two items; a value that has a bracket or a comma in it needs quotes';
  return `something is missing here: ${message}`;
}

function unexpectedText(message: string, here: string): string {
  if (message.includes('block-seq-ind')) return 'a list item (`- `) must begin on a line of its own, below its key';
  if (message.includes('at node end')) return `${shown(here)} follows a value that has ended: put the whole value in quotes`;
  if (/flow-(map|seq)-end/.test(message)) return `${shown(here)} closes nothing: take it away`;
  if (message.includes(',')) return 'a comma too many: take it away';
  return `${shown(here)} does not belong here: take it away, or put the value in quotes`;
}
