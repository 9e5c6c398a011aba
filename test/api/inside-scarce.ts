/** The API in a process of few descriptors. Lines on stdin take them away and give them back; each is answered by a line. */
import { closeSync, openSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { openWorld, serve } from './fixture.js';

const told: string[] = [];
const taken: number[] = [];
const world = openWorld();
const server = serve(world, {
  socketPath: process.argv[2]!, peerUid: () => 0, limits: { timeoutCheckMs: 20 },
  log: { info: () => undefined, warn: (_data, text) => void told.push(text), error: () => undefined },
});

function takeAllBut(left: number): void {
  try {
    for (;;) taken.push(openSync('/dev/null', 'r'));
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'EMFILE')) throw error;
    taken.splice(0, left).forEach((descriptor) => closeSync(descriptor));
  }
}

function answer(line: string): string {
  const [verb = '', count] = line.split(' ');
  switch (verb) {
    case 'leave':
      takeAllBut(Number(count));
      return `left ${count}`;
    case 'free':
      taken.splice(0).forEach((descriptor) => closeSync(descriptor));
      return 'freed';
    case 'asked':
      return JSON.stringify(world.asked);
    default:
      return told.join('; ');
  }
}

await server.listen();
process.stdout.write('listening\n');
for await (const line of createInterface({ input: process.stdin })) process.stdout.write(`${answer(line)}\n`);
await server.close();
