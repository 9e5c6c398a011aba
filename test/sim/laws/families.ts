/** Laws about the two families side by side. */
import { FAMILIES, OUR_PROTOCOL } from '../../../src/core/layout.js';
import { isOrdinary, type Law } from './law.js';

export const nothingWithoutPlane: Law = {
  name: 'nothing-without-a-line',
  says: 'In a family that no uplink has nothing of ours stands.',
  once: true,
  watch: (view) => ({
    tick() {
      const { planes } = view.world.process.state;
      if (!isOrdinary(view, 5600)) return '';
      const { routes, rules } = view.world.kernel.truth();
      const left = [...routes, ...rules].find((item) => item.protocol === OUR_PROTOCOL && !FAMILIES.some((family) => family === item.family && planes.has(family)));
      return left === undefined ? '' : `nobody has IPv${left.family}, and this stands: ${JSON.stringify(left)}`;
    },
  }),
};

export const oneGeneration: Law = {
  name: 'one-generation',
  says: 'The generation never falls, grows with each change of who leads in any family, and no two changes share one.',
  once: true,
  watch({ world }) {
    let { process } = world;
    let before = new Map<number, string>();
    let highest = 0;
    return {
      turn() {
        const { planes, generation } = world.process.state;
        if (process !== world.process) [before, highest] = [new Map(), 0];
        process = world.process;
        if (generation < highest) return `${generation} after ${highest}`;
        for (const [family, { decision }] of planes) {
          if (decision === undefined) continue;
          const told = `${decision.generation} ${(decision.ranks[0]?.members ?? []).map(({ uplink, weight }) => `${uplink}*${weight}`).sort().join('+')}`;
          const was = before.get(family);
          before.set(family, told);
          if (was === undefined || was === told) continue;
          if (was.split(' ')[0] === told.split(' ')[0]) return `IPv${family} is led by others under the same generation: ${was}, then ${told}`;
          if (decision.generation <= highest) return `IPv${family} changed under generation ${decision.generation}, and ${highest} was given out`;
        }
        highest = generation;
        return '';
      },
    };
  },
};
