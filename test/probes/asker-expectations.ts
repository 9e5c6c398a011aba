/** What the stories of asker-stories.ts must tell, whatever the method; and whether they can be played here. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { inFreshSpaces } from '../lab/mortal.js';

/** By family. */
export type Told = Readonly<Record<string, readonly string[]>>;

/** @param silence what is told when the line is silent */
export function assertPinned(stories: Told, silence = 'silence'): void {
  assert.deepEqual(Object.keys(stories), ['IPv4', 'IPv6']);
  for (const told of Object.values(stories)) {
    const [aliveA, aliveB, silentA, silentB, unpluggedA, unpluggedB, downA, again] = told;
    assert.deepEqual([aliveA, aliveB], ['answered by a', 'answered by b'], 'both lines are alive, and main leads out of b');
    assert.deepEqual([silentA, silentB], [`${silence} by a`, 'answered by b'], 'a is silent');
    assert.deepEqual([unpluggedA, unpluggedB], ['not by b', 'answered by b'], 'a has no carrier');
    assert.match(downA ?? '', /^(unsent|dns): .* by none$/, 'a is down');
    assert.equal(again, 'answered by a', 'a is back');
  }
}

export function assertShared(stories: Told, silence = 'silence'): void {
  assert.deepEqual(Object.keys(stories), ['IPv4', 'IPv6']);
  for (const told of Object.values(stories)) assert.deepEqual(told, ['answered by a', 'answered by b', `${silence} by a`, 'answered by b']);
}

/** For `skip`: false where there are user and network namespaces. */
export function reasonToSkip(): string | false {
  try {
    const [program, args] = inFreshSpaces(['--user', '--map-root-user', '--net', '--mount'], ['true']);
    execFileSync(program, args, { stdio: 'ignore' });
    return false;
  } catch (cause) {
    return `no namespaces of our own here (${cause instanceof Error ? cause.message : String(cause)})`;
  }
}
