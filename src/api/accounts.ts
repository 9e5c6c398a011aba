/**
 * Users and groups of this machine, by the local files passwd(5) and group(5): Node has no getpwuid(3), getgrnam(3).
 * Accounts of a directory service are not found; they are shown by their number.
 */
import { readFileSync } from 'node:fs';

/** `root`, or `uid 1000` where the name is not known. */
export function userName(uid: number, passwd = '/etc/passwd'): string {
  return entries(passwd).find((entry) => entry[2] === String(uid))?.[0] ?? `uid ${uid}`;
}

/** @returns undefined where there is no such group */
export function groupId(name: string, group = '/etc/group'): number | undefined {
  const gid = entries(group).find((entry) => entry[0] === name)?.[2];
  return gid !== undefined && /^[0-9]+$/.test(gid) ? Number(gid) : undefined;
}

/** Nobody has a name where the file cannot be read: a minimal container has none, and descriptors may run out (EMFILE). */
function entries(path: string): string[][] {
  try {
    return readFileSync(path, 'utf8').split('\n').map((line) => line.split(':'));
  } catch (error) {
    if (error instanceof Error && 'code' in error) return [];
    throw error;
  }
}
