/**
 * As whom a program is started: never with capabilities, and never able to get any (no_new_privs).
 *
 *   we are root                        as user `uplinkd-exec`, or `nobody` where there is none; changing the user drops every capability
 *   root that may not change its user  as root (a container, or a user namespace that has no other user) whose bounding set is empty: setpriv
 *   an unprivileged user               as the same user; ambient and inheritable capabilities are taken away: setpriv
 *
 * The child changes its user itself, between fork and exec (libuv). setpriv(1) of util-linux does the rest in the launcher, and asks for
 * SIGKILL when we die (PR_SET_PDEATHSIG): Node can do neither, and prctl in our own thread could not be taken back. Where setpriv is
 * missing or busybox's, which lacks options, only what is safe without it is started.
 */
import { readFileSync, realpathSync } from 'node:fs';
import { join } from 'node:path';

export interface Confinement {
  /** To become; undefined = stays who we are. */
  readonly user: { readonly uid: number; readonly gid: number } | undefined;
  /** Command line that precedes the program; may be empty. */
  readonly prefix: readonly string[];
  /** `user nobody` */
  readonly as: string;
}

/** What is known of this process and this machine. Bit n of a set is capability n. */
export interface Standing {
  readonly uid: number;
  readonly effective: bigint;
  /** Inheritable and ambient. */
  readonly passedOn: bigint;
  /** May we be this user at all? (user namespaces) */
  readonly mapped: boolean;
  readonly user: { readonly uid: number; readonly gid: number; readonly name: string };
  /** '' = not installed. */
  readonly setpriv: string;
}

export const PROGRAM_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
/** A user of its own. The group `uplinkd` may order switches, so nothing that is run here may be in it. */
const OWN_USER = 'uplinkd-exec';
const NOBODY = { uid: 65_534, gid: 65_534, name: 'nobody' };

/** @returns how, or why no program may be started, in words */
export function confine(standing: Standing = stand()): Confinement | string {
  const { uid, effective, passedOn, mapped, user, setpriv } = standing;
  const staysRoot = uid === 0 && !(mapped && holds(effective, CAP_SETUID) && holds(effective, CAP_SETGID));
  if (staysRoot && !holds(effective, CAP_SETPCAP)) return 'uplinkd is root but may neither change its user nor drop capabilities: give it CAP_SETUID and CAP_SETGID (docs/guides/exec.md has a drop-in for the unit)';
  if ((passedOn !== 0n || staysRoot) && (setpriv === '' || isBusybox(setpriv))) return 'setpriv of util-linux is missing, without which it would have capabilities of uplinkd: install util-linux';
  const prefix = setprivLine(setpriv, passedOn !== 0n || staysRoot, staysRoot);
  if (staysRoot) return { user: undefined, prefix, as: 'root without capabilities' };
  return uid === 0 ? { user: { uid: user.uid, gid: user.gid }, prefix, as: `user ${user.name}` } : { user: undefined, prefix, as: `the user of uplinkd (${uid})` };
}

function stand(): Standing {
  const status = readFileSync('/proc/self/status', 'utf8');
  const user = userNamed(readFileSync('/etc/passwd', 'utf8')) ?? NOBODY;
  return {
    uid: process.geteuid?.() ?? 0,
    effective: capabilities(status, 'CapEff'),
    passedOn: capabilities(status, 'CapInh') | capabilities(status, 'CapAmb'),
    mapped: isMapped(readFileSync('/proc/self/uid_map', 'utf8'), user.uid) && isMapped(readFileSync('/proc/self/gid_map', 'utf8'), user.gid),
    user,
    setpriv: find('setpriv'),
  };
}

function userNamed(passwd: string): Standing['user'] | undefined {
  const [, uid, gid] = new RegExp(`^${OWN_USER}:[^:]*:(\\d+):(\\d+):`, 'm').exec(passwd) ?? [];
  return uid === undefined ? undefined : { uid: Number(uid), gid: Number(gid), name: OWN_USER };
}

function capabilities(status: string, set: string): bigint {
  return BigInt(`0x${new RegExp(`^${set}:\\s*([0-9a-f]+)$`, 'm').exec(status)?.[1] ?? '0'}`);
}

/** user_namespaces(7): first id inside, first id outside, how many. */
function isMapped(map: string, id: number): boolean {
  return map.trim().split('\n').some((row) => {
    const [inside, , count] = row.trim().split(/\s+/).map(Number);
    return inside !== undefined && count !== undefined && id >= inside && id < inside + count;
  });
}

function find(name: string): string {
  for (const directory of PROGRAM_PATH.split(':')) {
    try {
      return realpathSync(join(directory, name));
    } catch (error) {
      if (!['ENOENT', 'EACCES', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
    }
  }
  return '';
}

/** `-all` is asked for where there may be something to take away only: setpriv refuses it on kernels that know more capabilities than itself. */
function setprivLine(setpriv: string, passedOn: boolean, bounding: boolean): readonly string[] {
  if (setpriv === '') return [];
  if (isBusybox(setpriv)) return [setpriv, 'setpriv', '--nnp', '--'];
  return [setpriv, '--no-new-privs', '--pdeathsig=KILL', ...(passedOn ? ['--inh-caps=-all', '--ambient-caps=-all'] : []), ...(bounding ? ['--bounding-set=-all'] : []), '--'];
}

function isBusybox(program: string): boolean {
  return /busybox[^/]*$/.test(program);
}

function holds(set: bigint, capability: number): boolean {
  return ((set >> BigInt(capability)) & 1n) === 1n;
}

const CAP_SETGID = 6;
const CAP_SETUID = 7;
const CAP_SETPCAP = 8;
