/**
 * YAML text as a tree of our own in which everything knows its file, line and column. The only file that knows the
 * `yaml` package.
 *
 * Values stay text here; what they mean is decided by the schema (`on` is a word for one key and nonsense for
 * another, and 0x3f80 is to be shown as it was written). Aliases are followed, with bounds on depth and on the number
 * of nodes, so that no file can blow up. Where the syntax is broken, what stands above the break is still trusted:
 * `brokenAt` is that line.
 */
import { type Alias, type Document, isAlias, isMap, isPair, isScalar, isSeq, LineCounter, type Node as YamlNode, parseDocument, type Scalar } from 'yaml';
import { type Path, type Place, type Problem, problemAt, shown } from './problem.js';
import { breaksStructure, type Span, swallowsTheRest, syntaxPlace, syntaxText } from './syntax.js';

export interface ScalarNode {
  readonly kind: 'scalar';
  readonly at: Place;
  readonly text: string;
  /** Nothing was written, or `~` or `null`. */
  readonly empty: boolean;
}

export interface ListNode {
  readonly kind: 'list';
  readonly at: Place;
  readonly items: readonly TreeNode[];
}

export interface MapNode {
  readonly kind: 'map';
  readonly at: Place;
  readonly entries: readonly Entry[];
}

export interface Entry {
  readonly key: string;
  readonly keyAt: Place;
  readonly value: TreeNode;
}

/** Something that could not be read; reported already. */
export interface BrokenNode {
  readonly kind: 'broken';
  readonly at: Place;
}

export type TreeNode = ScalarNode | ListNode | MapNode | BrokenNode;

export interface Tree {
  readonly root: MapNode;
  readonly problems: readonly Problem[];
  /** The first line from which on the syntax is broken; Infinity = it is whole. */
  readonly brokenAt: number;
}

const DEPTH_AT_MOST = 24;
/** 64 uplinks with 16 targets each are about 4000. */
const NODES_AT_MOST = 20_000;
/** A binary file has one on every line. */
const ERRORS_AT_MOST = 200;

export function parseTree(file: string, text: string): Tree {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, uniqueKeys: false, logLevel: 'error' });
  const place = (offset: number): Place => {
    const { line, col } = lines.linePos(offset);
    return { file, line: Math.max(1, line), column: Math.max(1, col) };
  };
  const errors = [...document.errors, ...document.warnings].slice(0, ERRORS_AT_MOST);
  const builder = new TreeBuilder(place, errors.map((error) => error.pos[0]));
  const root = builder.rootOf(document);

  let brokenAt = Infinity;
  const problems = new Map<number, Problem>();
  for (const error of errors) {
    const at = place(syntaxPlace(error, builder.spans));
    if (breaksStructure(error)) brokenAt = Math.min(brokenAt, at.line);
    // What follows on the same line is mostly a consequence.
    if (!problems.has(at.line)) problems.set(at.line, problemAt(at, [], syntaxText(error, text)));
    if (swallowsTheRest(error)) break;
  }
  return { root, problems: [...problems.values(), ...builder.problems.filter((problem) => problem.line < brokenAt)], brokenAt };
}

/** Walks the document once, in the order of the text. */
class TreeBuilder {
  readonly problems: Problem[] = [];
  /** Quoted texts and bracketed collections. */
  readonly spans: Span[] = [];
  private nodes = 0;
  private full = false;
  /** Anchors met so far; a later one of the same name takes over, as YAML has it. */
  private readonly anchors = new Map<string, YamlNode>();
  private readonly open = new Set<YamlNode>();

  /** @param errors offsets of syntax errors: a value around one is not to be trusted */
  constructor(private readonly place: (offset: number) => Place, private readonly errors: readonly number[]) {}

  rootOf(document: Document): MapNode {
    const top = document.contents;
    const at = this.at(top, this.place(0));
    if (top === null || (isScalar(top) && top.value === null)) {
      this.problems.push(problemAt(this.place(0), [], 'the file is empty: a config needs at least `uplinks:` with a name and its `interface`'));
    } else {
      const root = this.build(top, [], at, 0);
      if (root.kind === 'map') return root;
      if (root.kind !== 'broken') this.problems.push(problemAt(at, [], root.kind === 'list'
        ? 'a config begins with keys such as `uplinks:`, not with a list'
        : `a config begins with keys such as \`uplinks:\`, not with ${shown(root.text)}: is a space missing after a \`:\`?`));
    }
    return { kind: 'map', at, entries: [] };
  }

  private build(node: unknown, path: Path, fallback: Place, depth: number): TreeNode {
    const at = this.at(node, fallback);
    const broken: BrokenNode = { kind: 'broken', at };
    if (this.full) return broken;
    if (++this.nodes > NODES_AT_MOST || depth > DEPTH_AT_MOST) {
      this.full = true;
      this.problems.push(problemAt(at, path, depth > DEPTH_AT_MOST
        ? `this is nested more than ${DEPTH_AT_MOST} deep; no key of a config needs that`
        : `the file unfolds to more than ${NODES_AT_MOST} values: write out what the aliases (\`*name\`) stand for, or take them away`));
      return broken;
    }
    if (isAlias(node)) return this.follow(node, path, at, depth) ?? broken;
    if (node === null || node === undefined) return { kind: 'scalar', at, text: '', empty: true };
    if (!isScalar(node) && !isSeq(node) && !isMap(node)) return broken;
    if (node.anchor !== undefined) this.anchors.set(node.anchor, node);
    const enclosed = isScalar(node) ? node.type === 'QUOTE_DOUBLE' || node.type === 'QUOTE_SINGLE' : node.flow === true;
    if (enclosed && node.range) this.spans.push({ from: node.range[0], to: node.range[1] });
    if (isScalar(node)) return this.spoilt(node) ? broken : { kind: 'scalar', at, text: textOf(node), empty: node.value === null };
    this.open.add(node);
    const built: TreeNode = isSeq(node)
      ? { kind: 'list', at, items: node.items.map((item, i) => this.build(item, [...path, i], at, depth + 1)) }
      : { kind: 'map', at, entries: this.entriesOf(node.items, path, at, depth) };
    this.open.delete(node);
    return built;
  }

  private entriesOf(items: readonly unknown[], path: Path, at: Place, depth: number): Entry[] {
    const entries = new Map<string, Entry>();
    for (const item of items) {
      if (!isPair(item) || this.full) continue;
      const keyAt = this.at(item.key, this.at(item.value, at));
      if (!isScalar(item.key) || item.key.value === null) {
        this.problems.push(problemAt(keyAt, path, 'a key must be a plain word followed by `:`'));
        continue;
      }
      if (item.key.anchor !== undefined) this.anchors.set(item.key.anchor, item.key);
      const key = textOf(item.key);
      const value = this.build(item.value, [...path, key], keyAt, depth + 1);
      const first = entries.get(key);
      if (first === undefined) entries.set(key, { key, keyAt, value });
      else this.problems.push(problemAt(keyAt, [...path, key], `${shown(key)} stands here twice, first on line ${first.keyAt.line}: keep one of them`));
    }
    return [...entries.values()];
  }

  private follow(alias: Alias, path: Path, at: Place, depth: number): TreeNode | undefined {
    const target = this.anchors.get(alias.source);
    if (target !== undefined && !this.open.has(target)) return this.build(target, path, at, depth + 1);
    this.problems.push(problemAt(at, path, target === undefined
      ? `${shown(`*${alias.source}`)} repeats a value that was named ${shown(`&${alias.source}`)} further up, and there is none: put it in quotes if it is meant as text`
      : `${shown(`*${alias.source}`)} stands inside the very value that it repeats: write out what is meant`));
    return undefined;
  }

  private spoilt({ range }: Scalar): boolean {
    return range !== undefined && range !== null && this.errors.some((offset) => offset > range[0] && offset < range[1]);
  }

  private at(node: unknown, fallback: Place): Place {
    const range = isAlias(node) || isScalar(node) || isSeq(node) || isMap(node) ? node.range : undefined;
    return range === undefined || range === null ? fallback : this.place(range[0]);
  }
}

/** As it was written; without the quotes, where there are any. */
function textOf(scalar: Scalar): string {
  return typeof scalar.value === 'string' ? scalar.value : (scalar.source ?? String(scalar.value));
}
