/**
 * The config that `plan` sends: read here, so that it may lie where only its writer can read, or come through a pipe.
 * What cannot be read is said as `uplinkd check` says it: FILE: what is wrong.
 */
import { createReadStream } from 'node:fs';
import { plain } from './reading.js';

/** As much as the daemon takes in one request, and of a name. */
const BYTES_AT_MOST = 1024 * 1024;
const NAME_AT_MOST = 1024;

export interface ConfigFile {
  /** What problems shall call it. */
  readonly name: string;
  readonly text: string;
}

/** @param file `-` = the standard input */
export async function readConfig(file: string): Promise<ConfigFile | { readonly invalid: string }> {
  const name = file === '-' ? 'stdin' : plain(file).slice(-NAME_AT_MOST);
  const parts: Buffer[] = [];
  let length = 0;
  try {
    for await (const part of file === '-' ? process.stdin : createReadStream(file)) {
      parts.push(part as Buffer);
      length += (part as Buffer).length;
      if (length > BYTES_AT_MOST) return tooLarge(name);
    }
  } catch (error) {
    // `ENOENT: no such file or directory, open 'x'`
    const why = error instanceof Error ? error.message.replace(/, [^,]*$/, '') : String(error);
    return { invalid: `${name}: the file cannot be read (${plain(why)}): name another with --config FILE` };
  }
  const bytes = Buffer.concat(parts);
  const text = bytes.toString('utf8');
  // Else a character that nobody wrote would be complained of.
  if (!Buffer.from(text).equals(bytes)) return { invalid: `${name}: this is not UTF-8 text: save the file in UTF-8` };
  // JSON writes some characters as two or more. A daemon that is sent too much hangs up before it has been told why.
  return Buffer.byteLength(JSON.stringify({ config: text, file: name })) > BYTES_AT_MOST ? tooLarge(name) : { name, text };
}

function tooLarge(name: string): { readonly invalid: string } {
  return { invalid: `${name}: a config has 1 MiB at most: is it the right file?` };
}
