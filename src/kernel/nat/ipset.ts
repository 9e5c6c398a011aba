/**
 * ipset, as far as the iptables backend needs it: which sets of others there are for policies to match, and our own ones, in which
 * sticky policies remember sources (`uplinkd4_...`, `uplinkd6_...`). A set that rules refer to cannot be destroyed.
 */
import type { Family } from '../../model.js';
import { run } from '../spawn.js';

export interface Ipset {
  readonly name: string;
  /** `hash:net`; those with a comma match more than an address. */
  readonly type: string;
  /** undefined = holds sets of either. */
  readonly family: Family | undefined;
}

const OURS = /^uplinkd[46]_/;

/** @returns undefined = ipset is not installed, or the kernel has none */
export async function listIpsets(): Promise<readonly Ipset[] | undefined> {
  const listed = await run('ipset', ['list', '-t']);
  if (!listed.ok) return undefined;
  return listed.stdout.split('\n\n').flatMap((block) => {
    const [, name] = /^Name: (.+)$/m.exec(block) ?? [];
    const [, type = ''] = /^Type: (.+)$/m.exec(block) ?? [];
    return name === undefined ? [] : [{ name, type, family: familyOf(type, block) }];
  });
}

/** Makes what is not there yet; what is there keeps its elements. @returns '' = done, else why not */
export async function makeIpsets(sets: readonly { readonly name: string; readonly family: Family }[]): Promise<string> {
  const script = sets.map(({ name, family }) => `create ${name} hash:ip family ${family === 4 ? 'inet' : 'inet6'} timeout 0 maxelem 65536\n`).join('');
  return (await run('ipset', ['restore', '-exist'], script)).error;
}

/** Destroys all of ours but these. What rules still refer to stays. @returns whether none stayed */
export async function destroyIpsetsBut(kept: ReadonlySet<string>): Promise<boolean> {
  const names = (await listIpsets() ?? []).map(({ name }) => name).filter((name) => OURS.test(name) && !kept.has(name));
  let isDone = true;
  for (const name of names) isDone = (await run('ipset', ['destroy', name])).ok && isDone;
  return isDone;
}

function familyOf(type: string, block: string): Family | undefined {
  if (type === 'list:set') return undefined;
  return / family inet6 /.test(block) ? 6 : 4;
}
