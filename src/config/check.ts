/**
 * What every cross check works with: the tree with its places, the settings, the policy in force, and what is known to
 * be wrong by itself. Each reports at the most special place where somebody wrote one of the keys concerned.
 */
import type { Policy } from '../model.js';
import { keyText, type Path, type Place, type Problem, problemAt } from './problem.js';
import type { Settings } from './schema.js';
import type { MapNode, TreeNode } from './tree.js';

export interface Check {
  readonly root: MapNode;
  readonly settings: Settings;
  readonly policy: Policy;
  /** Key paths that are wrong by themselves. */
  readonly spoiled: readonly string[];
  readonly problems: Map<string, Problem>;
}

export function report(check: Check, path: Path, text: string): void {
  const problem = problemAt(placeOf(check, path), path, text);
  check.problems.set(`${problem.key}\n${problem.line}\n${text}`, problem);
}

/** Is everything at and below these paths right by itself? */
export function sound(check: Check, ...paths: readonly Path[]): boolean {
  return check.spoiled.length === 0 || !paths.some((path) => {
    const key = keyText(path);
    return check.spoiled.some((bad) => bad === key || bad.startsWith(`${key}.`) || bad.startsWith(`${key}[`));
  });
}

/** The first of these paths that somebody wrote, in the config itself rather than in its profile: people can change that one. */
export function written(check: Check, paths: readonly Path[]): Path | undefined {
  const all = paths.filter((path) => lookUp(check.root, path).rest === 0);
  return all.find((path) => placeOf(check, path).file === check.root.at.file) ?? all[0];
}

/** Where a key's value stands, or the nearest thing above it. */
export function placeOf(check: Check, path: Path): Place {
  return lookUp(check.root, path).at;
}

/** `rest`: how many parts of the path are not there. */
export function lookUp(root: TreeNode, path: Path): { readonly at: Place; readonly rest: number } {
  let node = root;
  let at = root.at;
  for (const [i, part] of path.entries()) {
    const entry = node.kind === 'map' ? node.entries.find((candidate) => candidate.key === part) : undefined;
    const next = node.kind === 'list' && typeof part === 'number' ? node.items[part] : entry?.value;
    if (next === undefined) return { at, rest: path.length - i };
    node = next;
    // A section begins at its key, a value where it stands.
    at = next.kind === 'scalar' || entry === undefined ? next.at : entry.keyAt;
  }
  return { at, rest: 0 };
}
