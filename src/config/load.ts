/**
 * Reads the config file and its profile: the only place of this room that touches the disk.
 *
 * Nothing here throws for what people wrote or for what a disk does; it comes back as problems, all at once.
 */
import { closeSync, constants, fstatSync, openSync, readdirSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { compile, type Loaded, type Source } from './compile.js';
import { listed, nearest, type Problem, shown } from './problem.js';

export type { Config, Loaded } from './compile.js';
export type { Problem } from './problem.js';

export interface LoadOptions {
  /** Folder of `NAME.yaml` profiles. */
  readonly profilesDir: string;
  /** Slots that uplinks had before, by name: they keep them. */
  readonly slots: ReadonlyMap<string, number>;
}

export function loadConfig(file: string, options: LoadOptions): Loaded {
  const read = readText(file);
  if ('wrong' in read) return { problems: [{ file, line: read.line, column: read.line, key: '', text: read.wrong }] };
  return compile({ file, text: read.text }, (name) => openProfile(options.profilesDir, name), options.slots);
}

/** The same for a text that came another way than from a file: `file` is what its problems are to call it. */
export function loadText(text: string, options: LoadOptions & { readonly file: string }): Loaded {
  const { file, profilesDir, slots } = options;
  const bytes = Buffer.byteLength(text);
  if (bytes > BYTES_AT_MOST) return { problems: [{ file, line: 0, column: 0, key: '', text: tooLong(bytes) }] };
  return compile({ file, text: text.replace(/^\ufeff/, '') }, (name) => openProfile(profilesDir, name), slots);
}

/** `FILE:LINE: uplinks.fibre.gateway: what is wrong and what to do` */
export function showProblem(problem: Problem): string {
  const place = problem.line === 0 ? problem.file : `${problem.file}:${problem.line}`;
  return `${place}: ${problem.key === '' ? '' : `${problem.key}: `}${problem.text}`;
}

const BYTES_AT_MOST = 1024 * 1024;

type Text = { readonly text: string } | { readonly wrong: string; readonly line: number; readonly code: string };

function openProfile(dir: string, name: string): Source | { readonly wrong: string } {
  const file = join(dir, `${name}.yaml`);
  const read = readText(file);
  if ('text' in read) return { file, text: read.text };
  if (read.code !== 'ENOENT') return { wrong: `the profile ${shown(name)} cannot be used: ${file}: ${read.wrong}` };
  const names = profileNames(dir);
  const meant = nearest(name, names);
  const others = names.length > 0 ? `there are ${listed(names, 'and')}` : 'there is none at all';
  const advice = meant !== undefined ? `did you mean ${shown(meant)}?` : others;
  return { wrong: `there is no profile ${shown(name)} in ${dir}: ${advice}` };
}

function profileNames(dir: string): readonly string[] {
  try {
    return readdirSync(dir).filter((entry) => entry.endsWith('.yaml')).map((entry) => entry.slice(0, -'.yaml'.length)).sort();
  } catch (error) {
    // A folder that cannot be listed holds nothing to propose.
    errorCode(error);
    return [];
  }
}

function readText(file: string): Text {
  const failed = (wrong: string, code = '', line = 0): Text => ({ wrong, code, line });
  let descriptor: number | undefined;
  try {
    // Without O_NONBLOCK a named pipe would hold us for ever.
    descriptor = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK);
    const stat = fstatSync(descriptor);
    if (stat.isDirectory()) return failed('this is a directory: name the file in it');
    if (!stat.isFile()) return failed('this is a device or a pipe: name an ordinary file');
    const bytes = readBytes(descriptor);
    if (bytes.length > BYTES_AT_MOST) return failed(tooLong(stat.size));
    return decode(bytes, failed);
  } catch (error) {
    const code = errorCode(error);
    return failed(readErrorText(code), code);
  } finally {
    if (descriptor !== undefined) closeSync(descriptor);
  }
}

function tooLong(bytes: number): string {
  return `the file has ${bytes} bytes, and a config has 1 MiB at most: is it the right one?`;
}

/** At most one byte more than is allowed. */
function readBytes(descriptor: number): Buffer {
  const buffer = Buffer.alloc(BYTES_AT_MOST + 1);
  let length = 0;
  for (;;) {
    const count = readSync(descriptor, buffer, length, buffer.length - length, null);
    length += count;
    if (count === 0 || length === buffer.length) return buffer.subarray(0, length);
  }
}

function decode(bytes: Buffer, failed: (wrong: string, code: string, line: number) => Text): Text {
  const text = new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes);
  const again = Buffer.from(text);
  if (bytes.equals(again)) return { text: text.replace(/^\ufeff/, '') };
  const bad = bytes.findIndex((byte, i) => byte !== again[i]);
  const line = bytes.subarray(0, bad).filter((byte) => byte === 0x0a).length + 1;
  return failed('this is not UTF-8 text: save the file in UTF-8', '', line);
}

/** @throws whatever is not an error of the operating system: that would be ours */
function errorCode(error: unknown): string {
  if (error instanceof Error && 'code' in error && typeof error.code === 'string' && 'syscall' in error) return error.code;
  throw error;
}

function readErrorText(code: string): string {
  switch (code) {
    case 'ENOENT':
    case 'ENOTDIR':
      return 'there is no such file: write one (the profiles are complete examples), or name another with `--config FILE`';
    case 'EACCES':
    case 'EPERM':
      return 'this user may not read the file: start as root, or change its owner or mode';
    case 'ELOOP':
      return 'the symbolic links go round in a circle: name the file itself';
    default:
      return `the file cannot be read (${code})`;
  }
}
