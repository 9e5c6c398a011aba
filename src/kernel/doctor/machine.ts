/**
 * What the doctor sees of the machine: files, directories, links, processes and the output of programs. Nothing is ever changed,
 * whatever cannot be read reads as absent, and every program has seconds to answer. Tests give another root, or other programs.
 *
 * A process counts only if it lives in our network namespace: a firewalld inside a container is no rival.
 */
import { lstat, readdir, readFile, readlink } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { run, type Ran } from '../spawn.js';

/** Where to look; all of it has a default, the machine itself. */
export interface System {
  /** Before `/etc`, `/proc`, `/sys`, ...: '' or a directory. */
  readonly root?: string;
  readonly run?: (program: string, args: readonly string[]) => Promise<Ran>;
  /** Our own process, which is not a foreign hand. */
  readonly pid?: number;
}

export interface Process {
  readonly pid: number;
  /** File name of the program, also where an interpreter runs it: `firewalld`. */
  readonly name: string;
  readonly words: readonly string[];
  /** How long ago it started, in seconds. */
  readonly ageS: number;
}

export interface Machine {
  /** '' where it cannot be read. */
  read(path: string): Promise<string>;
  exists(path: string): Promise<boolean>;
  /** Names in a directory, sorted; none where it cannot be read. */
  list(path: string): Promise<readonly string[]>;
  /** Where a symbolic link points to, '' where there is none. */
  link(path: string): Promise<string>;
  /** Seconds since the link or file itself was made or changed, undefined = it is not there. */
  ageS(path: string): Promise<number | undefined>;
  run(program: string, args: readonly string[]): Promise<Ran>;
  processes(): Promise<readonly Process[]>;
  readonly pid: number;
}

const PROGRAM_MS = 2_000;
/** More processes than that are looked at no closer. */
const PROCESSES_AT_MOST = 20_000;
/** Files are read by the threads that also bring the kernel's news: leave them gaps. */
const PROCESSES_AT_ONCE = 16;
/** proc(5): USER_HZ, the same on every architecture that Node runs on. */
const TICKS_PER_S = 100;
const INTERPRETERS = /^(python[\d.]*|perl|sh|bash|node|ruby)$/;

export function openMachine(system: System = {}): Machine {
  const root = system.root ?? '';
  const at = (path: string): string => (root === '' ? path : join(root, path));
  const read = async (path: string): Promise<string> => readFile(at(path), 'utf8').catch(() => '');
  const list = async (path: string): Promise<readonly string[]> => (await readdir(at(path)).catch((): string[] => [])).sort();
  const link = async (path: string): Promise<string> => readlink(at(path)).catch(() => '');
  const changedAt = async (path: string): Promise<number | undefined> => lstat(at(path)).then((stat) => stat.mtimeMs, () => undefined);
  const machine: Machine = {
    read,
    list,
    link,
    exists: async (path) => (await changedAt(path)) !== undefined,
    async ageS(path) {
      const changed = await changedAt(path);
      return changed === undefined ? undefined : Math.max(0, (Date.now() - changed) / 1000);
    },
    run: system.run ?? ((program, args) => run(program, args, '', PROGRAM_MS)),
    processes: () => processes(machine),
    pid: system.pid ?? process.pid,
  };
  return machine;
}

/** The value of a sysctl (`net/ipv4/ip_forward`), '' where it does not exist. */
export async function sysctl(machine: Machine, path: string): Promise<string> {
  return (await machine.read(`/proc/sys/${path}`)).trim();
}

/** `net/ipv4/conf/eth0.5/rp_filter` → `net.ipv4.conf.eth0/5.rp_filter`, as sysctl(8) wants it. */
export function dotted(path: string): string {
  return path.replaceAll('.', '%').replaceAll('/', '.').replaceAll('%', '/');
}

async function processes(machine: Machine): Promise<readonly Process[]> {
  const pids = (await machine.list('/proc')).filter((name) => /^\d+$/.test(name)).slice(0, PROCESSES_AT_MOST);
  const [uptime = ''] = (await machine.read('/proc/uptime')).split(' ');
  const here = await machine.link('/proc/self/ns/net');
  const found: Process[] = [];
  for (let first = 0; first < pids.length; first += PROCESSES_AT_ONCE) {
    const some = await Promise.all(pids.slice(first, first + PROCESSES_AT_ONCE).map((pid) => processOf(machine, pid, Number(uptime), here)));
    found.push(...some.filter((one) => one !== undefined));
  }
  return found;
}

async function processOf(machine: Machine, pid: string, uptimeS: number, here: string): Promise<Process | undefined> {
  const words = (await machine.read(`/proc/${pid}/cmdline`)).split('\0').filter((word) => word !== '');
  // Kernel threads have no command line.
  if (words.length === 0) return undefined;
  const there = await machine.link(`/proc/${pid}/ns/net`);
  if (here !== '' && there !== '' && there !== here) return undefined;
  // The name in brackets may hold spaces and brackets; the start is the 20th field after it.
  const stat = await machine.read(`/proc/${pid}/stat`);
  const startTicks = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]);
  return { pid: Number(pid), name: nameOf(words), words, ageS: Math.max(0, uptimeS - startTicks / TICKS_PER_S) };
}

/** `/usr/bin/python3 -s /usr/sbin/firewalld --nofork` is firewalld. */
function nameOf(words: readonly string[]): string {
  // Daemons write over their command line: `nginx: master process`, `keepalived -D`.
  const own = basename(words[0]!.split(' ')[0]!).replace(/:$/, '');
  const script = words.slice(1).find((word) => !word.startsWith('-'));
  return INTERPRETERS.test(own) && script !== undefined ? basename(script).replace(/\.(js|py|sh)$/, '') : own;
}
