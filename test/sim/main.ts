/**
 * Plays seeds and prints what became of them.
 *
 *   main.js SEED [--weather NAME]                      one seed, told in full
 *   main.js FROM TO [--law NAME] [--weather NAME]      many seeds, one line for each breach; with --law only of that law, and no
 *                                                      further than the first one. Exit 1 when there was a breach
 */
import { parseArgs } from 'node:util';
import { DETERMINISTIC, play, playTwice } from './play.js';

const { values, positionals } = parseArgs({ allowPositionals: true, options: { law: { type: 'string' }, weather: { type: 'string' } } });
const { law } = values;
const weather = values.weather === undefined ? {} : { weather: values.weather };
const [from = 1, to] = positionals.map(Number);

if (to === undefined) {
  const { breaches, weather: name, steps } = play(from, { ...weather, tell: (line) => console.log(line) });
  console.log(`seed ${from} (${name}): ${steps} steps, ${breaches.length} laws broken`);
  process.exitCode = breaches.length > 0 ? 1 : 0;
} else {
  for (let seed = from; seed <= to && !(law !== undefined && process.exitCode === 1); seed++) {
    const { breaches, weather: name } = (law === DETERMINISTIC ? playTwice : play)(seed, weather);
    for (const breach of breaches) {
      if (law !== undefined && breach.law !== law) continue;
      console.log(`seed ${seed} (${name}) at ${breach.atMs} ms ${breach.law}: ${breach.what}`);
      process.exitCode = 1;
    }
  }
}
