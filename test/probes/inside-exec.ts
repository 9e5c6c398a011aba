/** A process that runs programs as uplinkd does, and has an end of its own: see exec-life.test.ts and exec-confine.test.ts. Arguments: the story, what it needs. */
import { setTimeout as sleep } from 'node:timers/promises';
import { ask, groupsOf, openAsker } from './exec-asking.js';

const [story = '', argument = ''] = process.argv.slice(2);
const asker = openAsker();

switch (story) {
  /** What a program sees of itself. */
  case 'look': {
    const { what, error } = await ask(asker, '/bin/sh', ['-c', `grep -E '^(${argument}):' /proc/self/status | tr -s '\\n\\t' ' '; exit 1`]);
    console.log(JSON.stringify({ what, error, unpinned: asker.unpinned }));
    break;
  }
  /** The program `argument` runs; then comes whatever the test does. */
  case 'wait':
    void ask(asker, argument, [], 60_000);
    console.log(JSON.stringify({ groups: groupsOf(), unpinned: asker.unpinned }));
    await sleep(20_000);
    break;
  case 'exit':
    void ask(asker, argument, [], 60_000);
    await sleep(300);
    process.exit(0);
    break;
  case 'throw':
    void ask(asker, argument, [], 60_000);
    await sleep(300);
    throw new Error('a bug in the daemon');
  default:
    throw new Error(`no story ${story}`);
}
asker.close();
