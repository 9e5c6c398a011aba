/**
 * Settings in the style of systemd and NetworkManager: one main file, and drop-ins whose names decide the order whichever directory
 * they lie in; a drop-in hides those of its name in later directories, and what is read last wins (systemd.syntax(7), NetworkManager.conf(5)).
 */
import type { Machine } from './machine.js';

export interface Setting {
  readonly value: string;
  /** The file that has the last word, '' = nobody says anything and `value` is ''. */
  readonly file: string;
}

export interface Places {
  /** Only the first that exists is read. */
  readonly main: readonly string[];
  /** Directories of drop-ins; the first has precedence. */
  readonly dropIns: readonly string[];
}

/** The setting `key` in `[section]`. Keys and sections are told apart by case, as both programs do. */
export async function settingOf(machine: Machine, places: Places, section: string, key: string): Promise<Setting> {
  let last: Setting = { value: '', file: '' };
  for (const file of await filesOf(machine, places)) {
    for (const value of valuesOf(await machine.read(file), section, key)) last = { value, file };
  }
  return last;
}

/** In the order of reading. */
async function filesOf(machine: Machine, places: Places): Promise<readonly string[]> {
  const mains: string[] = [];
  for (const file of places.main) {
    if (mains.length === 0 && (await machine.exists(file))) mains.push(file);
  }
  const byName = new Map<string, string>();
  for (const dir of places.dropIns) {
    for (const name of await machine.list(dir)) {
      if (name.endsWith('.conf') && !byName.has(name)) byName.set(name, `${dir}/${name}`);
    }
  }
  return [...mains, ...[...byName].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, file]) => file)];
}

function valuesOf(text: string, section: string, key: string): string[] {
  const values: string[] = [];
  let current = '';
  for (const line of text.split('\n')) {
    const [, header] = /^\s*\[(.*)\]\s*$/.exec(line) ?? [];
    if (header !== undefined) current = header;
    const [, name, value] = /^\s*([^#;=\s][^=]*?)\s*=\s*(.*?)\s*$/.exec(line) ?? [];
    if (current === section && name === key && value !== undefined) values.push(value);
  }
  return values;
}
