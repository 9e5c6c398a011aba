/**
 * Children that do not outlive the test process, in whatever way it ends: by Ctrl-C, by the runner, by kill -9.
 *
 *   test process ──► setpriv ──► unshare ──► process 1 of a new pid namespace, and everything in it
 *
 * `setpriv` asks the kernel to kill what it becomes once its parent has ended (PR_SET_PDEATHSIG), `unshare --kill-child` asks the same for process 1,
 * and a pid namespace ends with its process 1.
 */

/** Put before a command: its process ends with ours. */
export const MORTAL = ['setpriv', '--pdeathsig', 'KILL', '--'] as const;

/** For spawn: a command in fresh namespaces that end with us. */
export function inFreshSpaces(flags: readonly string[], command: readonly string[]): readonly [program: string, args: readonly string[]] {
  const [program, ...args] = MORTAL;
  return [program, [...args, 'unshare', ...flags, '--pid', '--fork', '--kill-child=KILL', '--', ...command]];
}
