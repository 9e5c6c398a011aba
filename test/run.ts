/**
 * `npm test`: every dist/test/**\/*.test.js, each file in a process of its own (raw sockets and koffi want that), a few at a time.
 * Arguments are parts of file names: `npm test -- kernel sim`.
 */
import { readdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { run } from 'node:test';
import { spec } from 'node:test/reporters';
import { fileURLToPath } from 'node:url';

const here = fileURLToPath(new URL('.', import.meta.url));
const wanted = process.argv.slice(2);
const files = (readdirSync(here, { recursive: true, encoding: 'utf8' }))
  .filter((name) => name.endsWith('.test.js') && (wanted.length === 0 || wanted.some((part) => name.includes(part))))
  // The long ones stand far back in the alphabet: begun first, they are not waited for at the end.
  .sort((a, b) => (a < b ? 1 : -1))
  .map((name) => join(here, name));

if (files.length === 0) {
  console.error(`no test file has ${wanted.join(' or ')} in its name`);
  process.exit(2);
}
// Most of them wait most of the time.
const stream = run({ files, concurrency: Math.max(2, availableParallelism()), timeout: 240_000 });
stream.on('test:fail', () => {
  process.exitCode = 1;
});
stream.compose(new spec()).pipe(process.stdout);
