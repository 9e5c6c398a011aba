/**
 * `use:` of a policy: uplinks in order of preference, as people write it in three ways.
 *
 *   [fibre, lte]                      one after the other
 *   { fibre: 3, cable: 1 }            shared by weight
 *   [{ fibre: 3, cable: 1 }, lte]     both
 *
 * Whether there are such uplinks is a matter of the cross checks, which see the whole config.
 */
import type { PolicyRank } from '../model.js';
import { type Path, type Place, type Problem, problemAt, shown } from './problem.js';
import type { MapNode, TreeNode } from './tree.js';
import { readValue, uplinkNameWrong } from './values.js';

export const USE_EXAMPLE = 'use: [fibre, lte]';

/** @returns undefined where something is wrong; `problems` has it then */
export function readOrder(node: TreeNode, path: Path, problems: Problem[]): readonly PolicyRank[] | undefined {
  if (node.kind === 'broken') return undefined;
  const before = problems.length;
  const wrong = (at: Place, text: string): void => void problems.push(problemAt(at, path, text));
  const ranks: PolicyRank[] = [];
  if (node.kind === 'map') ranks.push(sharedRank(node, path, problems));
  else if (node.kind === 'list') node.items.forEach((item, i) => ranks.push(rankOf(item, [...path, i], problems)));
  else if (node.empty || node.text === '') wrong(node.at, `nothing is written here: write uplinks in order of preference, such as ${shown(USE_EXAMPLE)}`);
  else ranks.push(rankOf(node, path, problems));

  const names = ranks.flatMap((rank) => rank.members);
  if (problems.length === before && names.length === 0) wrong(node.at, `no uplink is named here: write some in order of preference, such as ${shown(USE_EXAMPLE)}`);
  if (names.length > UPLINKS_AT_MOST) wrong(node.at, `these are ${names.length} uplinks, and ${UPLINKS_AT_MOST} at most are possible`);
  return problems.length > before ? undefined : ranks;
}

/** As many as there can be uplinks. */
const UPLINKS_AT_MOST = 64;
const WEIGHT = { type: 'integer', min: 1, max: 256, default: 1, apply: 'live', about: '' } as const;

function rankOf(node: TreeNode, path: Path, problems: Problem[]): PolicyRank {
  if (node.kind === 'map') return sharedRank(node, path, problems);
  if (node.kind === 'list') problems.push(problemAt(node.at, path, 'a list stands within the list: write uplinks that share as `{ fibre: 3, cable: 1 }`'));
  if (node.kind !== 'scalar') return { members: [] };
  const bad = node.empty || node.text === '' ? 'nothing is written here: write the name of an uplink' : uplinkNameWrong(node.text);
  if (bad !== undefined) problems.push(problemAt(node.at, path, bad));
  return { members: [{ uplink: node.text, weight: 1 }] };
}

function sharedRank(node: MapNode, path: Path, problems: Problem[]): PolicyRank {
  if (node.entries.length === 0) problems.push(problemAt(node.at, path, 'nothing is written between the braces: write names and weights, such as `{ fibre: 3, cable: 1 }`'));
  const members = node.entries.map(({ key, keyAt, value }) => {
    const below = [...path, key];
    const bad = uplinkNameWrong(key);
    if (bad !== undefined) problems.push(problemAt(keyAt, below, bad));
    // `- fibre:` is what people write who want a name alone.
    if (value.kind === 'scalar' && value.empty) return { uplink: key, weight: 1 };
    const read = value.kind === 'scalar' ? readValue(WEIGHT, value.text) : { wrong: 'one number is wanted: write a weight from 1 to 256' };
    if ('wrong' in read && value.kind !== 'broken') problems.push(problemAt(value.at, below, `${read.wrong}, the weight of the uplink`));
    return { uplink: key, weight: 'value' in read ? Number(read.value) : 1 };
  });
  return { members };
}
