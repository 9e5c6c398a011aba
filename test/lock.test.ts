/** One uplinkd per network namespace. The name is claimed by child processes in namespaces of their own. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { labUnavailable } from './lab/lab.js';
import { inFreshSpaces } from './lab/mortal.js';
import { deadline } from './lab/wait.js';

const skip = (await labUnavailable()) ?? false;
const LOCK = new URL('../src/lock.js', import.meta.url).href;

/** Claims twice in one namespace; `uid` is whom the kernel names as the holder. */
function claimTwice(uid: string, second: string): string {
  const script = `
    import { claimNamespace } from '${LOCK}';
    import { spawnSync } from 'node:child_process';
    await claimNamespace(() => ${uid});
    const again = spawnSync(process.execPath, ['--input-type=module', '-e', process.argv[1]], { encoding: 'utf8' });
    process.stdout.write(again.stdout + again.stderr);
    process.exit();`;
  // The holder must run its loop to accept, so the second one is told without being answered: the kernel completes the connect.
  return inNewNamespace(script, second);
}

function inNewNamespace(...script: readonly string[]): string {
  const [program, args] = inFreshSpaces(['--user', '--map-root-user', '--net'], [process.execPath, '--input-type=module', '-e', ...script]);
  const { stdout, stderr } = spawnSync(program, args, { encoding: 'utf8', timeout: deadline(), killSignal: 'SIGKILL' });
  return stdout + stderr;
}

const claim = (uid: string): string => `
  import { claimNamespace } from '${LOCK}';
  try { console.log('claimed, warning:', await claimNamespace(() => ${uid})); } catch (error) { console.log('refused:', error.message); }
  process.exit();`;

test('a second uplinkd in the same network namespace is refused, in words', { skip }, () => {
  assert.match(claimTwice('0', claim('0')), /^refused: another uplinkd runs in this network namespace/);
});

test('a name held by somebody else is no uplinkd: a warning, and no refusal', { skip }, () => {
  assert.match(claimTwice('1000', claim('1000')), /^claimed, warning: user 1000 holds the name/);
});

test('another network namespace is another matter', { skip }, () => {
  for (const turn of ['one', 'beside it']) assert.equal(inNewNamespace(claim('0')), 'claimed, warning: \n', turn);
});
