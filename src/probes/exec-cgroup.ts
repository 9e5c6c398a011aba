/**
 * Pins programs to a line as `ip vrf exec` does: a control group (cgroup v2) for the line carries a BPF program that binds every socket made
 * in it to the line's device and gives it the line's mark. Each run of a program has a group of its own below it, by which it is
 * killed with all its descendants, whatever sessions they made.
 *
 *   OWN/uplinkd-exec-PIDNS-PID-N      a line's; OWN is the group that the daemon is in
 *   OWN/uplinkd-exec-PIDNS-PID-N/rM   a run's
 *
 * Where this cannot be had, programs run unpinned, and the reason is said. A group goes when its last process has ended; one that is still busy
 * waits in `doomed`. Those that a killed daemon left are emptied and removed by the next one in the same place: PIDNS (the pid namespace)
 * and PID tell whose they are.
 */
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, readdirSync, rmdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { getSystemErrorName } from 'node:util';
import { attachSocketBinder, loadSocketBinder } from '../libc/process.js';
import type { ProbeLine } from '../model.js';

export interface LineGroup {
  /** For one run. @throws Error when there can be none */
  openRun(): RunGroup;
  /** Its runs must have been closed. */
  close(): void;
}

export interface RunGroup {
  /** A descriptor for the launcher, which writes 0 to it and so moves itself in; whoever opened it must have the right to do so, not the launcher. */
  openEntry(): number;
  /** SIGKILL to all that are in it. */
  kill(): void;
  close(): void;
}

/** All that this process made and that are still there; of these, the doomed are removed as soon as they are empty, inner ones first. */
const made = new Set<string>();
const doomed = new Set<string>();
let groups = 0;
let swept = false;

/** @returns the line's group, or why there is none, in words */
export function openLineGroup(line: ProbeLine): LineGroup | string {
  const own = ownGroup(readFileSync('/proc/self/mountinfo', 'utf8'), readFileSync('/proc/self/cgroup', 'utf8'));
  if (own === undefined) return 'no control groups of version 2 (cgroup2) are mounted here';
  if (!swept) sweepStale(own);
  swept = true;
  const path = join(own, `${prefix()}${process.pid}-${++groups}`);
  try {
    mkdirSync(path);
    made.add(path);
  } catch (error) {
    return `no control group can be made in ${own} (${codeOf(error)}): it must be writable; under systemd, give the service Delegate=yes and ReadWritePaths= for it`;
  }
  const failure = bind(path, line);
  if (failure !== '') {
    remove(path);
    return failure;
  }
  return { openRun: () => openRunGroup(path), close: () => remove(path) };
}

/** Tries again to remove what was busy. @returns how many groups still are */
export function sweepGroups(): number {
  for (const path of [...doomed].sort((a, b) => b.length - a.length)) remove(path);
  return doomed.size;
}

/** This process ends: all of its groups are to go. */
export function doomGroups(): void {
  for (const path of made) doomed.add(path);
}

/**
 * The directory of the group that this process is in; undefined without cgroup2, or when the group lies outside of what is mounted.
 * @param mountinfo,membership /proc/self/mountinfo and /proc/self/cgroup (proc(5), cgroups(7))
 */
export function ownGroup(mountinfo: string, membership: string): string | undefined {
  const member = /^0::(\/.*)$/m.exec(membership)?.[1];
  if (member === undefined) return undefined;
  for (const mount of mountinfo.split('\n')) {
    const [, root, point] = /^\S+ \S+ \S+ (\S+) (\S+) .* - cgroup2 /.exec(mount) ?? [];
    if (root === undefined || point === undefined) continue;
    const below = root === '/' ? member : member === root || member.startsWith(`${root}/`) ? member.slice(root.length) : undefined;
    if (below !== undefined) return join(point, below).replace(/\/$/, '');
  }
  return undefined;
}

function bind(path: string, line: ProbeLine): string {
  const binder = loadSocketBinder(line.ifindex, line.mark);
  if (binder < 0) return `the kernel takes no BPF program from us (${getSystemErrorName(binder)}): that needs CAP_BPF (before Linux 5.8 CAP_SYS_ADMIN) and CAP_NET_ADMIN, outside of user namespaces`;
  try {
    const group = openSync(path, 'r');
    const attached = attachSocketBinder(group, binder);
    closeSync(group);
    return attached < 0 ? `the kernel attaches no BPF program to ${path} (${getSystemErrorName(attached)})` : '';
  } finally {
    closeSync(binder);
  }
}

function openRunGroup(parent: string): RunGroup {
  sweepGroups();
  const path = join(parent, `r${++groups}`);
  mkdirSync(path);
  made.add(path);
  return { openEntry: () => openSync(join(path, 'cgroup.procs'), 'w'), kill: () => killAll(path), close: () => remove(path) };
}

/** By cgroup.kill, which is there since Linux 5.14; else one by one, in a few rounds because they may fork meanwhile. */
function killAll(path: string): void {
  if (!existsSync(path)) return;
  const all = join(path, 'cgroup.kill');
  if (existsSync(all)) return writeFileSync(all, '1');
  for (let round = 0; round < KILL_ROUNDS; round++) {
    const pids = readFileSync(join(path, 'cgroup.procs'), 'utf8').split('\n').filter((pid) => pid !== '');
    if (pids.length === 0) return;
    for (const pid of pids) killOne(Number(pid));
  }
}

function killOne(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    // EPERM: it runs as another user and we are root without CAP_KILL. It ends by itself or not at all; that is no reason for us to.
    if (codeOf(error) !== 'ESRCH' && codeOf(error) !== 'EPERM') throw error;
  }
}

function remove(path: string): void {
  doomed.add(path);
  try {
    rmdirSync(path);
  } catch (error) {
    if (codeOf(error) === 'EBUSY' || codeOf(error) === 'ENOTEMPTY') return;
    if (codeOf(error) !== 'ENOENT') throw error;
  }
  doomed.delete(path);
  made.delete(path);
}

/** Of daemons that are no more, and of whoever had our process id before us. */
function sweepStale(own: string): void {
  if (!existsSync(own)) return;
  for (const name of readdirSync(own)) {
    const pid = name.startsWith(prefix()) ? Number(name.slice(prefix().length).split('-')[0]) : NaN;
    if (!Number.isInteger(pid) || (pid !== process.pid && isAlive(pid))) continue;
    const line = join(own, name);
    // What another user left is his to sweep: we may not.
    if (statSync(line).uid !== process.geteuid?.()) continue;
    for (const entry of readdirSync(line, { withFileTypes: true })) {
      if (!entry.isDirectory()) continue;
      killAll(join(line, entry.name));
      remove(join(line, entry.name));
    }
    remove(line);
  }
}

/** Not by /proc, which may be that of another pid namespace. */
function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return codeOf(error) !== 'ESRCH';
  }
}

function prefix(): string {
  return `uplinkd-exec-${statSync('/proc/self/ns/pid').ino}-`;
}

function codeOf(error: unknown): string {
  return (error as NodeJS.ErrnoException).code ?? String(error);
}

const KILL_ROUNDS = 10;
