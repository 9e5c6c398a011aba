/**
 * Runs one of the inside-*.ts scripts as root of fresh user, network, mount and pid namespaces and gives back the JSON it printed.
 * When the script ends, or the test process, however it ends, the kernel takes everything in there away.
 *
 * `inside` gives a story a process of its own; a stage has one process, and one world, for all stories of a test file.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
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

export interface Stage {
  /** Asks for a story by name. One is played after the other; the next one after one that failed is played in a fresh world. */
  play<T>(story: string): Promise<T>;
  close(): Promise<void>;
}

/** @param script plays the stories with `playAsked` (asked.ts); it is started when the first one is asked for */
export function openStage(script: string, nodeArguments: readonly string[] = []): Stage {
  let begun: Player | undefined;
  let last: Promise<unknown> = Promise.resolve();
  const perform = async (story: string): Promise<unknown> => {
    begun ??= startPlayer(script, nodeArguments);
    const told = await begun.ask(story);
    if (told !== undefined) return JSON.parse(told);
    const { stdout, stderr, how } = await begun.ended;
    begun = undefined;
    throw new Error(`${script} ${story} ended with ${String(how)}\n${stdout}${stderr}`);
  };
  return {
    async play<T>(story: string): Promise<T> {
      const played = last.then(async () => perform(story));
      last = Promise.allSettled([played]);
      return (await played) as T;
    },
    async close() {
      begun?.child.stdin?.end();
      await begun?.ended;
    },
  };
}

interface Player {
  readonly child: ChildProcess;
  readonly ended: Promise<Ended>;
  /** One line; undefined when it ended instead. */
  ask(story: string): Promise<string | undefined>;
}

function startPlayer(script: string, nodeArguments: readonly string[]): Player {
  const { child, ended } = start(script, [], nodeArguments);
  const lines = createInterface({ input: child.stdout! });
  child.stdin!.on('error', () => undefined); // it ended: `ended` tells
  const giveUp = (): void => void child.kill('SIGKILL');
  return {
    child,
    ended,
    async ask(story) {
      const timer = setTimeout(giveUp, deadline(GIVE_UP_MS));
      const told = new Promise<string>((resolve) => lines.once('line', resolve));
      child.stdin!.write(`${story}\n`);
      try {
        return await Promise.race([told, ended.then(() => undefined)]);
      } finally {
        clearTimeout(timer);
      }
    },
  };
}

/** @param scenario first argument of the script: which of its stories to play */
export async function inside<T>(script: string, scenario: string): Promise<T> {
  const { child, ended } = start(script, [scenario]);
  child.stdin!.end();
  const timer = setTimeout(() => child.kill('SIGKILL'), deadline(GIVE_UP_MS));
  const { stdout, stderr, how } = await ended.finally(() => clearTimeout(timer));
  if (how !== 0) throw new Error(`${script} ${scenario} ended with ${String(how)}\n${stdout}${stderr}`);
  return JSON.parse(stdout) as T;
}

function start(script: string, scenario: readonly string[], nodeArguments: readonly string[] = []): { readonly child: ChildProcess; readonly ended: Promise<Ended> } {
  const path = fileURLToPath(new URL(`./${script}.js`, import.meta.url));
  const [program, args] = inFreshSpaces(SPACES, [process.execPath, ...nodeArguments, path, ...scenario]);
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'] });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  const ended = new Promise<Ended>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code, signal) => resolve({ stdout, stderr, how: signal ?? code }));
  });
  return { child, ended };
}
