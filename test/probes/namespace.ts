/**
 * Runs one of the inside-*.ts scripts as root of fresh user, network, mount and pid namespaces and gives back the JSON it printed.
 * When the script ends, or the test process, however it ends, the kernel takes everything in there away.
 */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { inFreshSpaces } from '../lab/mortal.js';
import { deadline } from '../lab/wait.js';

const SPACES = ['--user', '--map-root-user', '--net', '--mount'];
/** For a story on a quiet machine, many times over. */
const GIVE_UP_MS = 120_000;

export interface Ended {
  readonly stdout: string;
  readonly stderr: string;
  /** Exit code, or the name of the signal that ended it. */
  readonly how: number | NodeJS.Signals | null;
}

/** @param scenario first argument of the script: which of its stories to play */
export async function inside<T>(script: string, scenario: string, nodeArguments: readonly string[] = []): Promise<T> {
  const { stdout, stderr, how } = await runInside(script, scenario, nodeArguments);
  if (how !== 0) throw new Error(`${script} ${scenario} ended with ${String(how)}\n${stdout}${stderr}`);
  return JSON.parse(stdout) as T;
}

export function runInside(script: string, scenario: string, nodeArguments: readonly string[] = []): Promise<Ended> {
  const path = fileURLToPath(new URL(`./${script}.js`, import.meta.url));
  const [program, args] = inFreshSpaces(SPACES, [process.execPath, ...nodeArguments, path, scenario]);
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], timeout: deadline(GIVE_UP_MS), killSignal: 'SIGKILL' });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code, signal) => resolve({ stdout, stderr, how: signal ?? code }));
  });
}
