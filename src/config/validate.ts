/**
 * A tree held against the schema: settings of the right type, and every problem with its place.
 *
 * What is wrong yields no setting, so one slip does not make others up. Nothing is defaulted here.
 */
import type { AddressField, Field, IntegerField, LeafField, ListField, NamedField, OrderField, SectionField, SpecialField } from './fields.js';
import { readOrder, USE_EXAMPLE } from './order.js';
import { listed, nearest, type Path, type Place, type Problem, problemAt, shown } from './problem.js';
import { SCHEMA, type Settings } from './schema.js';
import type { Entry, ListNode, MapNode, ScalarNode, TreeNode } from './tree.js';
import { expected, readValue, uplinkNameWrong } from './values.js';

export interface Validated {
  readonly settings: Settings;
  readonly problems: readonly Problem[];
}

/** @param whole false: the text is broken further down, so a missing key proves nothing */
export function validate(root: MapNode, whole: boolean): Validated {
  const reader: Reader = { problems: [], whole };
  // The schema's type is the type of what it yields; fields.ts says how.
  const settings = readSection(reader, SCHEMA, root, root.at, []) as Settings;
  return { settings, problems: reader.problems };
}

interface Reader {
  readonly problems: Problem[];
  readonly whole: boolean;
}

function readField(reader: Reader, field: Field, node: TreeNode, at: Place, path: Path): unknown {
  if (field.type === 'section') return readSection(reader, field, node, at, path);
  if (field.type === 'named') return readNamed(reader, field, node, at, path);
  if (field.type === 'list') return readList(reader, field, node, path);
  if (field.type === 'order') return readOrder(node, path, reader.problems);
  return readLeaf(reader, field, node, path);
}

function readLeaf(reader: Reader, field: LeafField, node: TreeNode, path: Path): unknown {
  const wrong = (text: string): undefined => void reader.problems.push(problemAt(node.at, path, text));
  if (node.kind === 'broken') return undefined;
  if (node.kind !== 'scalar') {
    return wrong(`${node.kind === 'list' ? 'a list stands here' : 'further keys stand here'}, but one value is wanted: write ${expected(field)}`);
  }
  if (node.empty || node.text === '') {
    return wrong(`nothing is written here: write ${expected(field)}${isRequired(field) ? '' : ', or take the key away'}`);
  }
  const read = readValue(field, node.text);
  return 'value' in read ? read.value : wrong(read.wrong);
}

/** A key with nothing after it (all its lines commented out) is an empty section. */
function readSection(reader: Reader, section: SectionField, node: TreeNode, at: Place, path: Path): Record<string, unknown> | 'off' | undefined {
  if (node.kind === 'scalar' && node.empty) {
    if (section.one === true) return missingOne(reader, example(section), node.at, path);
    const short = section.short === undefined ? undefined : section.keys[section.short];
    return short !== undefined && isRequired(short) ? missingOne(reader, requiredTakes(short), node.at, path) : requireKeys(reader, section, {}, [], at, path);
  }
  if (node.kind === 'broken') return undefined;
  if (node.kind === 'scalar' && section.off === true && node.text === 'off') return 'off';
  if (node.kind === 'scalar' && section.short !== undefined) return readShort(reader, section, section.short, node, path);
  if (node.kind !== 'map') {
    reader.problems.push(problemAt(node.at, path, notSection(section, node)));
    return undefined;
  }
  const settings: Record<string, unknown> = {};
  for (const entry of node.entries) {
    const field = Object.hasOwn(section.keys, entry.key) ? section.keys[entry.key] : undefined;
    const below = [...path, entry.key];
    if (field === undefined) reader.problems.push(problemAt(entry.keyAt, below, unknownText(section, entry, node.entries)));
    else settings[entry.key] = readField(reader, field, entry.value, entry.keyAt, below);
  }
  if (section.one === true && node.entries.length === 0) return missingOne(reader, example(section), node.at, path);
  if (section.one === true) allowOne(reader, section, node.entries, path);
  return requireKeys(reader, section, settings, node.entries, at, path);
}

/** A value in place of the section: its key, alone. */
function readShort(reader: Reader, section: SectionField, key: string, node: ScalarNode, path: Path): Record<string, unknown> | undefined {
  const field = section.keys[key];
  const value = field === undefined ? undefined : readField(reader, field, node, node.at, path);
  return value === undefined ? undefined : { [key]: value };
}

type RequiredField = SpecialField | AddressField | IntegerField | OrderField | NamedField;

function isRequired(field: Field): field is RequiredField {
  return 'required' in field && field.required === true;
}

function missingOne(reader: Reader, what: string, at: Place, path: Path): undefined {
  reader.problems.push(problemAt(at, path, `nothing is written here: write ${what}`));
}

function allowOne(reader: Reader, section: SectionField, entries: readonly Entry[], path: Path): void {
  const [first, ...more] = entries.filter(({ key }) => Object.hasOwn(section.keys, key));
  for (const { key, keyAt } of more) {
    reader.problems.push(problemAt(keyAt, [...path, key], `${shown(key)} stands beside ${shown(first?.key ?? '')}, and each item holds one: begin an item of its own with ${shown(`- ${key}:`)}`));
  }
}

function requireKeys(
  reader: Reader, section: SectionField, settings: Record<string, unknown>, entries: readonly Entry[], at: Place, path: Path,
): Record<string, unknown> {
  const written = (key: string): Entry | undefined => entries.find((entry) => entry.key === key);
  // A misspelt one was reported already, with the right word.
  const misspelt = (key: string): boolean => entries.some((entry) => !Object.hasOwn(section.keys, entry.key) && meantKey(section, entry.key) === key);
  for (const [key, field] of Object.entries(section.keys)) {
    if (!isRequired(field)) continue;
    const instead = 'orElse' in field ? field.orElse : undefined;
    const other = instead === undefined ? undefined : written(instead);
    if (other !== undefined && written(key) !== undefined) {
      reader.problems.push(problemAt(other.keyAt, [...path, other.key], `${shown(other.key)} stands beside ${shown(key)}: write one of the two`));
    }
    if (!reader.whole || other !== undefined || written(key) !== undefined || misspelt(key) || (instead !== undefined && misspelt(instead))) continue;
    reader.problems.push(problemAt(at, [...path, key], `${shown(key)} is missing: write ${requiredTakes(field)}`));
  }
  if (section.some === true && entries.length === 0) {
    reader.problems.push(problemAt(at, path, `nothing is written here: write ${listed(Object.keys(section.keys), 'or')}`));
  }
  return settings;
}

function requiredTakes(field: RequiredField): string {
  if (field.type === 'named') return 'a name and its `interface` for each line to the internet';
  if (field.type === 'order') return `uplinks in order of preference, such as ${shown(USE_EXAMPLE)}`;
  if (!('orElse' in field)) return expected(field);
  return `${expected(field)}${field.orElse === undefined ? '' : `, or ${shown(field.orElse)} with what it is known by`}`;
}

function notSection(section: SectionField, node: ScalarNode | ListNode): string {
  if (section.one === true) return node.kind === 'scalar' ? `write ${itemOf(section, node.text)}` : `a list stands here: write ${example(section)}`;
  if (section.off === true && node.kind === 'scalar' && /^(none|no|false|never|disabled?|0)$/i.test(node.text)) return `write \`off\`, not ${shown(node.text)}`;
  const short = section.short === undefined ? undefined : section.keys[section.short];
  if (short !== undefined && isLeaf(short) && node.kind === 'list') return `a list stands here, but one value is wanted: write ${expected(short)}`;
  const keys = listed(Object.keys(section.keys), 'and');
  const names = Object.keys(section.keys);
  const first = Object.entries(section.keys).find(([, field]) => isRequired(field))?.[0] ?? section.main ?? (names.length === 1 ? names[0] : undefined);
  if (node.kind !== 'scalar') return `a list stands here, but keys are wanted (${keys}): take the \`- \` away`;
  const value = first !== undefined && section.keys[first]?.type === 'list' ? `[${node.text}]` : node.text;
  return first !== undefined ? `${shown(node.text)} stands here, but keys are wanted: write ${shown(`${first}: ${value}`)} on a line below`
    : `${shown(node.text)} stands here, but keys of its own are wanted, each on a line below: ${keys}${section.off === true ? '; or the word `off`' : ''}`;
}

/** An item as it was probably meant: of the first kind that takes such a value. */
function itemOf(section: SectionField, text: string): string {
  const kinds = Object.entries(section.keys);
  const fits = kinds.find(([, kind]) => {
    const short = kind.type === 'section' && kind.short !== undefined ? kind.keys[kind.short] : undefined;
    return short !== undefined && isLeaf(short) && 'value' in readValue(short, text);
  });
  return shown(`- ${(fits ?? kinds[0])?.[0] ?? ''}: ${text}`);
}

function isLeaf(field: Field): field is LeafField {
  return field.type !== 'section' && field.type !== 'named' && field.type !== 'list' && field.type !== 'order';
}

function example(section: SectionField): string {
  return shown(section.example ?? `- ${Object.keys(section.keys)[0] ?? ''}:`);
}

function readNamed(reader: Reader, field: NamedField, node: TreeNode, at: Place, path: Path): unknown {
  const wrong = (place: Place, text: string): undefined => void reader.problems.push(problemAt(place, path, text));
  if (node.kind === 'broken') return undefined;
  if (node.kind === 'list') {
    return wrong(node.at, 'a list stands here, but names are wanted: write the name of each line as a key (`fibre:`) and its `interface` below it');
  }
  if (node.kind === 'scalar' && !node.empty) {
    return wrong(node.at, `${shown(node.text)} stands here, but names are wanted, each on a line below with its \`interface\``);
  }
  const entries = node.kind === 'map' ? node.entries : [];
  if (entries.length === 0 && reader.whole) {
    return wrong(at, 'there is no uplink: write a name (`fibre:`) and its `interface` for each line to the internet');
  }
  if (entries.length > field.most) wrong(at, `these are ${entries.length} uplinks, and ${field.most} at most are possible`);
  const named = new Map<string, unknown>();
  for (const entry of entries) {
    const below = [...path, entry.key];
    if (Object.hasOwn(SCHEMA.keys, entry.key) && !hasKey(entry.value, 'interface') && !hasKey(entry.value, 'match')) {
      reader.problems.push(problemAt(entry.keyAt, below, `${shown(entry.key)} stands among the uplinks and has no \`interface\`: is it indented too far?`));
      continue;
    }
    const bad = uplinkNameWrong(entry.key);
    if (bad !== undefined) reader.problems.push(problemAt(entry.keyAt, below, bad));
    const item = readSection(reader, field.item, entry.value, entry.keyAt, below);
    if (item !== undefined && bad === undefined) named.set(entry.key, item);
  }
  return named;
}

function hasKey(node: TreeNode, key: string): boolean {
  return node.kind === 'map' && node.entries.some((entry) => entry.key === key);
}

/** With one bad item the whole list yields nothing: half a list would be judged wrongly. */
function readList(reader: Reader, field: ListField, node: TreeNode, path: Path): unknown {
  const wrong = (text: string): undefined => void reader.problems.push(problemAt(node.at, path, text));
  const item = field.item;
  const one = item.type === 'section' ? example(item) : undefined;
  if (node.kind === 'broken') return undefined;
  if (field.single === true && node.kind === 'scalar' && !node.empty) {
    const value = readField(reader, item, node, node.at, path);
    return value === undefined ? undefined : [value];
  }
  if (node.kind !== 'list') {
    if (node.kind === 'scalar' && node.empty && field.least === 0) return [];
    if (node.kind === 'scalar' && node.empty) return wrong(`nothing is written here: write ${one ?? 'a list'}, or take the key away`);
    if (node.kind === 'scalar') return wrong(`a list is wanted: write ${one === undefined ? shown(`[${node.text}]`) : item.type === 'section' && item.one === true ? itemOf(item, node.text) : one}`);
    return wrong(`a list is wanted: begin each item with \`- \`${one === undefined ? '' : `, as in ${one}`}`);
  }
  if (node.items.length < field.least) return wrong(`the list is empty: write ${one ?? 'one item at least'}, or take the key away for the default`);
  if (node.items.length > field.most) return wrong(`these are ${node.items.length} items, and ${field.most} at most are possible`);
  const before = reader.problems.length;
  const items = node.items.map((each, i) => readField(reader, item, each, each.at, [...path, i]));
  return reader.problems.length > before || items.includes(undefined) ? undefined : items;
}

function unknownText(section: SectionField, entry: Entry, beside: readonly Entry[]): string {
  const key = entry.key;
  const later = section.later !== undefined && Object.hasOwn(section.later, key) ? section.later[key] : undefined;
  if (later !== undefined) return `${shown(key)} is not in this version yet (${later}): take it away`;
  const belongs = section.one === true ? beside.find((other) => holds(section.keys[other.key], key)) : undefined;
  if (belongs !== undefined) return inlineText(section, belongs, entry);
  const meant = meantKey(section, key);
  if (meant !== undefined) return `${shown(key)} is not known here: did you mean ${shown(meant)}?`;
  for (const [name, field] of Object.entries(section.keys)) {
    if (holds(field.type === 'list' ? field.item : field, key)) return `${shown(key)} is not known here, but in ${shown(name)}: write it below ${shown(`${name}:`)}`;
  }
  const elsewhere = Object.hasOwn(SCHEMA.keys, key)
    ? ', but at the left margin: is it indented too far?'
    : `; known are ${listed(Object.keys(section.keys), 'and')}`;
  return `${shown(key)} is not known here${elsewhere}`;
}

function holds(field: Field | undefined, key: string): boolean {
  return field?.type === 'section' && Object.hasOwn(field.keys, key);
}

/** A key that stands beside the kind it belongs to: `- tcp: 9.9.9.9:443` with `interval: 5s` in the line below. */
function inlineText(section: SectionField, kind: Entry, { key, value }: Entry): string {
  const field = section.keys[kind.key];
  const short = field?.type === 'section' ? field.short : undefined;
  if (short === undefined || kind.value.kind !== 'scalar') return `${shown(key)} belongs to ${shown(kind.key)}: indent it as the keys below that`;
  return `${shown(key)} belongs to ${shown(kind.key)}: write ${shown(`- ${kind.key}: { ${short}: ${kind.value.text}, ${key}: ${value.kind === 'scalar' ? value.text : '...'} }`)}`;
}

function meantKey(section: SectionField, key: string): string | undefined {
  const keys = Object.entries(section.keys);
  return keys.find(([, field]) => field.alsoCalled?.includes(key.toLowerCase()) === true)?.[0] ?? nearest(key, keys.map(([name]) => name));
}
