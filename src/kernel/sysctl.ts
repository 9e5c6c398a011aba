/**
 * Sysctls: writes only what differs from the wish, in the order of the wish (some must stand before others: accept_ra=2 before
 * forwarding, which ends listening to routers otherwise), and remembers the value that it found before its first write
 * of each, in `<stateDir>/sysctl-before.json`, so that restore() can give them back (also after a restart).
 *
 * A path that does not exist belongs to a device that is away: no error; it is written when the device is back, and a device
 * made anew is set again. /proc/sys/net is that of the network namespace of this process.
 *
 * Source: Documentation/networking/ip-sysctl.rst.
 */
import { mkdir, open, readFile, rename, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { SysctlWish } from '../model.js';

type Values = Readonly<Record<string, string>>;

export interface SysctlReport {
  readonly sysctlsInSync: boolean;
  readonly problems: readonly string[];
}

export interface SysctlShell {
  /** Never rejects. */
  sync(wish: readonly SysctlWish[]): Promise<SysctlReport>;
  /** What sync would write, as `sysctl -w net.ipv4.ip_forward=1`. Never rejects. */
  preview(wish: readonly SysctlWish[]): Promise<readonly string[]>;
  /** Gives the former values back, the last first. @throws Error that names what could not be given back; that is kept for another try */
  restore(): Promise<void>;
}

export function openSysctls(stateDir: string): SysctlShell {
  const path = join(stateDir, 'sysctl-before.json');
  return {
    async sync(wish) {
      const problems = wish.filter(({ path: key }) => !isSafeKey(key)).map(({ path: key }) => `sysctl ${JSON.stringify(key)} is not a path below /proc/sys: left alone`);
      const differing = await differingFrom(wish);
      if (differing.length > 0) problems.push(...(await remember(path, Object.fromEntries(differing.map(({ key, found }) => [key, found])))));
      for (const { key, wished } of differing) problems.push(...(await write(key, wished)));
      const sysctlsInSync = wish.every(({ path: key }) => isSafeKey(key)) && (await differingFrom(wish)).length === 0;
      return { sysctlsInSync, problems };
    },
    preview: async (wish) => (await differingFrom(wish)).map(({ key, wished }) => command(key, wished)),
    async restore() {
      const before = await readBefore(path);
      const kept: Record<string, string> = {};
      const problems: string[] = [];
      for (const [key, value] of Object.entries(before).reverse()) {
        const found = await read(key);
        const complaints = found === undefined || found === value ? [] : await write(key, value);
        if (complaints.length > 0) kept[key] = value;
        problems.push(...complaints);
      }
      if (Object.keys(kept).length > 0) await writeAtomically(path, kept);
      else await unlink(path).catch(unlessAbsent);
      if (problems.length > 0) throw new Error(problems.join('; '));
    },
  };
}

/** Device names may contain dots (`eth0.100`), but no name is `.` or `..` and none holds a slash. */
function isSafeKey(key: string): boolean {
  return key.split('/').every((name) => name !== '' && name !== '.' && name !== '..' && !name.includes('\0'));
}

/** undefined = no such path now; '' = cannot be read (writing it then says why). */
async function read(key: string): Promise<string | undefined> {
  try {
    return plain(await readFile(`/proc/sys/${key}`, 'utf8'));
  } catch (failure) {
    if (isAbsent(failure)) return undefined;
    return '';
  }
}

/** In the order of the wish; what has its `unless` is as it should be, and so is what is not there. */
async function differingFrom(wish: readonly SysctlWish[]): Promise<{ readonly key: string; readonly found: string; readonly wished: string }[]> {
  const found = await Promise.all(wish.map(async ({ path: key }) => (isSafeKey(key) ? await read(key) : undefined)));
  return wish.flatMap(({ path: key, value, unless }, i) => {
    const now = found[i];
    if (now === undefined || now === plain(value) || (unless !== undefined && now === plain(unless))) return [];
    return [{ key, found: now, wished: value }];
  });
}

/** '4096\t131072\t6291456\n' → '4096 131072 6291456'. */
function plain(value: string): string {
  return value.trim().replace(/\s+/g, ' ');
}

async function write(key: string, value: string): Promise<string[]> {
  try {
    await writeFile(`/proc/sys/${key}`, value);
    return [];
  } catch (failure) {
    if (isAbsent(failure)) return [];
    const why = failure instanceof Error ? failure.message : String(failure);
    return [`sysctl ${key} could not be set to ${value} (${why}); set it on the host: ${command(key, value)}`];
  }
}

/** sysctl writes slashes as dots, and the dots of a device's name as slashes. */
function command(key: string, value: string): string {
  return `sysctl -w ${key.replaceAll('.', '%').replaceAll('/', '.').replaceAll('%', '/')}=${value.includes(' ') ? `'${value}'` : value}`;
}

/** Adds what is not remembered yet: the first value found is the one to give back. Traffic matters more than memory, so a failure is only told. */
async function remember(path: string, found: Values): Promise<string[]> {
  try {
    const before = await readBefore(path);
    const added = Object.entries(found).filter(([key, value]) => before[key] === undefined && value !== '');
    if (added.length > 0) await writeAtomically(path, { ...before, ...Object.fromEntries(added) });
    return [];
  } catch (failure) {
    return [`the former sysctls could not be remembered in ${path}, so stopping will not give them back: ${failure instanceof Error ? failure.message : String(failure)}`];
  }
}

/** @throws Error when the file is there and is not ours to understand */
async function readBefore(path: string): Promise<Values> {
  const text = await readFile(path, 'utf8').catch((failure: unknown) => {
    if (isAbsent(failure)) return '{}';
    throw failure;
  });
  const parsed = parse(text);
  if (typeof parsed !== 'object' || parsed === null) throw new Error(`${path} is damaged (no JSON object); look at the file and remove it`);
  const entries = Object.entries(parsed).filter((entry): entry is [string, string] => typeof entry[1] === 'string' && isSafeKey(entry[0]));
  return Object.fromEntries(entries);
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (failure) {
    if (failure instanceof SyntaxError) return undefined;
    throw failure;
  }
}

/** Whole or not at all, also when the power goes. */
async function writeAtomically(path: string, values: Values): Promise<void> {
  await mkdir(join(path, '..'), { recursive: true });
  const file = await open(`${path}.new`, 'w', 0o600);
  try {
    await file.writeFile(`${JSON.stringify(values, null, 2)}\n`);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(`${path}.new`, path);
}

function unlessAbsent(failure: unknown): void {
  if (!isAbsent(failure)) throw failure;
}

function isAbsent(failure: unknown): boolean {
  return failure instanceof Error && 'code' in failure && failure.code === 'ENOENT';
}
