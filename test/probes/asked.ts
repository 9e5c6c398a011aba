/** The inside of a stage (namespace.ts): plays the story that each line of stdin names, and prints what it gives as one line of JSON. */
import { createInterface } from 'node:readline';

/** A story leaves the world as it found it. One that throws ends the process, and the world with it. */
export type Stories = Readonly<Record<string, () => Promise<unknown>>>;

export async function playAsked(stories: Stories): Promise<never> {
  for await (const name of createInterface({ input: process.stdin })) {
    const story = stories[name];
    if (story === undefined) throw new Error(`there is no story "${name}"`);
    process.stdout.write(`${JSON.stringify((await story()) ?? null)}\n`);
  }
  process.exit(0);
}
