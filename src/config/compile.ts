/**
 * From the text of a config (and of its profile) to the policy, or to everything that is wrong with it at once. Pure.
 *
 *   text ── tree ──┬─ overlay ── validate ── cross checks ── policy
 *   profile ─ tree ┘
 *
 * Where the syntax of a file is broken, its problems above the break are reported too; below it, they would be made up.
 */
import type { Policy } from '../model.js';
import type { Listen } from './fields.js';
import { crossCheck } from './checks.js';
import { overlay } from './merge.js';
import { policyOf } from './policy.js';
import { type Problem, problemAt } from './problem.js';
import { SCHEMA } from './schema.js';
import { type Entry, type MapNode, parseTree, type Tree } from './tree.js';
import { validate } from './validate.js';
import { readValue } from './values.js';

/** A valid config. */
export interface Config {
  readonly policy: Policy;
  readonly api: {
    /** undefined = unix socket only. Loopback only in this version. */
    readonly listen: Listen | undefined;
    /** Path of the token file; always undefined in this version. */
    readonly tokens: string | undefined;
  };
  /** The files that were read: the config, then its profile if it names one. */
  readonly files: readonly string[];
}

export interface Source {
  readonly file: string;
  readonly text: string;
}

/** Finds a profile by its name; `wrong`: why there is none, and what to do. */
export type OpenProfile = (name: string) => Source | { readonly wrong: string };

export type Loaded = { readonly config: Config } | { readonly problems: readonly Problem[] };

/** More would scroll away; the first ones are mostly the cause of the rest. */
const PROBLEMS_AT_MOST = 200;

export function compile(source: Source, openProfile: OpenProfile, knownSlots: ReadonlyMap<string, number>): Loaded {
  const own = parseTree(source.file, source.text);
  const profile = profileOf(own.root, openProfile);
  const trees: readonly Tree[] = profile.tree === undefined ? [own] : [own, profile.tree];
  const files = profile.file === undefined ? [source.file] : [source.file, profile.file];
  const found = [...trees.flatMap((tree) => tree.problems), ...profile.problems];

  const root = profile.tree === undefined ? own.root : overlay(profile.tree.root, own.root);
  const whole = profile.found && own.root.entries.length > 0 && trees.every((tree) => tree.brokenAt === Infinity);
  const { settings, problems } = validate(root, whole);
  const brokenAt = new Map(trees.map((tree, i) => [files[i], tree.brokenAt]));
  found.push(...problems.filter((problem) => problem.line < (brokenAt.get(problem.file) ?? Infinity)));
  const policy = tooMany(settings.uplinks?.size) ? undefined : policyOf(settings, knownSlots);
  // A syntax error (no key) may have swallowed anything.
  if (whole && policy !== undefined && found.every((problem) => problem.key !== '')) found.push(...crossCheck(root, settings, policy, found));

  if (found.length > 0 || policy === undefined) return { problems: inOrder(found, files) };
  return { config: { policy, api: { listen: settings.api?.listen, tokens: undefined }, files } };
}

interface Profile {
  readonly tree: Tree | undefined;
  readonly file: string | undefined;
  readonly problems: readonly Problem[];
  /** False: one was named and cannot be had, so what is missing in the config may have stood there. */
  readonly found: boolean;
}

function profileOf(root: MapNode, openProfile: OpenProfile): Profile {
  const none = { tree: undefined, file: undefined, problems: [] };
  const entry = root.entries.find(({ key }) => key === 'profile');
  if (entry === undefined) return { ...none, found: true };
  // A value of the wrong kind is reported by `validate`.
  const name = entry.value.kind === 'scalar' && !entry.value.empty ? readValue(SCHEMA.keys.profile, entry.value.text) : undefined;
  if (name === undefined || !('value' in name)) return { ...none, found: false };
  const opened = openProfile(String(name.value));
  if ('wrong' in opened) return { ...none, problems: [problemAt(entry.value.at, ['profile'], opened.wrong)], found: false };
  const tree = parseTree(opened.file, opened.text);
  return { tree: withoutProfile(tree), file: opened.file, problems: nested(tree.root), found: true };
}

function nested(root: MapNode): readonly Problem[] {
  const text = 'a profile cannot be built on another one: take `profile` away here';
  return root.entries.filter(isProfile).map((entry) => problemAt(entry.keyAt, ['profile'], text));
}

function withoutProfile(tree: Tree): Tree {
  return { ...tree, root: { ...tree.root, entries: tree.root.entries.filter((entry) => !isProfile(entry)) } };
}

function isProfile(entry: Entry): boolean {
  return entry.key === 'profile';
}

/** More uplinks than can be given slots; reported by `validate`. */
function tooMany(count: number | undefined): boolean {
  return (count ?? 0) > SCHEMA.keys.uplinks.most;
}

/** By file (the config first), line and column. */
function inOrder(problems: readonly Problem[], files: readonly string[]): readonly Problem[] {
  const sorted = [...problems].sort((a, b) => files.indexOf(a.file) - files.indexOf(b.file) || a.line - b.line || a.column - b.column);
  const last = sorted[PROBLEMS_AT_MOST - 1];
  if (last === undefined || sorted.length === PROBLEMS_AT_MOST) return sorted;
  const rest = sorted.length - PROBLEMS_AT_MOST;
  return [...sorted.slice(0, PROBLEMS_AT_MOST), problemAt(last, [], `and ${rest} more problem${rest === 1 ? '' : 's'} below: solve these first`)];
}
