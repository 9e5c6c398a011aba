/** A process that runs programs as uplinkd does, and has an end of its own: see exec-life.test.ts and exec-confine.test.ts. Arguments: the story, what it needs. */
import { once } from 'node:events';
import { ask, groupsOf, openAsker } from './exec-asking.js';

/** Until whoever started this closes its input, or is gone. */
const told = (): Promise<unknown> => once(process.stdin.resume(), 'end');
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
    void ask(asker, argument);
    console.log(JSON.stringify({ groups: groupsOf(), unpinned: asker.unpinned }));
    await told();
    break;
  case 'exit':
    void ask(asker, argument);
    await told();
    process.exit(0);
    break;
  case 'throw':
    void ask(asker, argument);
    await told();
    throw new Error('a bug in the daemon');
  default:
    throw new Error(`no story ${story}`);
}
asker.close();
