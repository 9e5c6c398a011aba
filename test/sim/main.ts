/**
 * Plays seeds and prints what became of them.
 *
 *   main.js SEED             one seed, told in full
 *   main.js FROM TO [LAW]    many seeds, one line for each breach (of that law); exit 1 when there was one
 */
import { play } from './play.js';

const [from = '1', to, law] = process.argv.slice(2);
if (to === undefined) {
  const { breaches, weather, steps } = play(Number(from), { tell: (line) => console.log(line) });
  console.log(`seed ${from} (${weather}): ${steps} steps, ${breaches.length} laws broken`);
  process.exitCode = breaches.length > 0 ? 1 : 0;
} else {
  for (let seed = Number(from); seed <= Number(to); seed++) {
    const { breaches, weather } = play(seed);
    for (const breach of breaches) {
      if (law !== undefined && breach.law !== law) continue;
      console.log(`seed ${seed} (${weather}) at ${breach.atMs} ms ${breach.law}: ${breach.what}`);
      process.exitCode = 1;
    }
    if (law !== undefined && process.exitCode === 1) break;
  }
}
