/** Runs a script of this folder as root of fresh namespaces and gives back the JSON that it prints; with the namespaces everything goes. */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { inFreshSpaces } from '../test/lab/mortal.js';

export function inside<T>(script: string, ...args: readonly string[]): Promise<T> {
  const path = fileURLToPath(new URL(`${script}.js`, import.meta.url));
  // In two steps, see nat-ground.ts.
  const [program, argv] = inFreshSpaces(['--user', '--map-root-user', 'unshare', '--net', '--mount', '--mount-proc'], [process.execPath, path, ...args]);
  const child = spawn(program, argv, { stdio: ['ignore', 'pipe', 'inherit'] });
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (part: string) => (text += part));
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => (code === 0 ? resolve(JSON.parse(text) as T) : reject(new Error(`${script} ended with ${String(code)}`))));
  });
}
