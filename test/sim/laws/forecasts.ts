/** The law about forecasts: what is foretold is what then happens, and asking changes nothing. */
import { isDeepStrictEqual } from 'node:util';
import { whatIf, whatPolicy, type Forecast } from '../../../src/core/forecast.js';
import { classesOf } from '../../../src/core/classes.js';
import { showChange } from '../../../src/core/plan.js';
import type { Change, Event, ForgetOrder } from '../../../src/model.js';
import type { World } from '../world.js';
import { isOrdinary, type Law } from './law.js';

export const foretoldComesTrue: Law = {
  name: 'foretold-comes-true',
  says: 'What would come of a cut cable or another config, asked just before, is what comes of it: the choice, the changes, the connections; and asking leaves no trace.',
  once: true,
  watch(view) {
    const { world } = view;
    let foretold: Forecast | undefined;
    let changes: Change[] = [];
    let forgets: ForgetOrder[] = [];
    return {
      before(event) {
        if (foretold !== undefined || world.process.state.repair.inFlight || !world.process.state.repair.inSync || !isOrdinary(view, 6000)) return '';
        const question = questionOf(world, event);
        if (question === undefined) return '';
        const before = structuredClone(world.process.state);
        foretold = question();
        [changes, forgets] = [[], []];
        return isDeepStrictEqual(before, world.process.state) ? '' : `to ask for ${event.type} changed the state`;
      },
      turn({ effects }) {
        for (const effect of effects) {
          if (effect.type === 'apply') changes.push(...effect.plan.changes);
          if (effect.type === 'forget') forgets.push(effect.order);
        }
        return '';
      },
      settled() {
        const told = foretold;
        foretold = undefined;
        if (told === undefined || !isOrdinary(view, 100)) return '';
        const { planes, facts } = world.process.state;
        const decisions = [...planes.values()].flatMap(({ family, decision }) => (decision === undefined ? [] : [{ family, decision }]));
        if (!isDeepStrictEqual(told.decisions, decisions)) return `foretold ${JSON.stringify(told.decisions)}, and it came ${JSON.stringify(decisions)}`;
        if (!isDeepStrictEqual(told.forgets, forgets)) return `foretold to forget ${JSON.stringify(told.forgets)}, and it was ${JSON.stringify(forgets)}`;
        const shown = (list: readonly Change[]): string => list.map((change) => showChange(change, facts!.links)).join('; ');
        return shown(told.changes) === shown(changes) ? '' : `foretold ${shown(told.changes)}, and done was ${shown(changes)}`;
      },
    };
  },
};

/** undefined where the event is none that people ask about. */
function questionOf({ process: { state }, isps }: World, event: Event): (() => Forecast) | undefined {
  // The marks of policies that go linger for a while, and in a forecast they do not.
  if (event.type === 'policy' && isDeepStrictEqual(classesOf(event.policy).all, classesOf(state.policy).all)) return () => whatPolicy(state, event.policy, event.at);
  if (event.type !== 'links' || event.links.length !== 1 || event.gone.length > 0) return undefined;
  const [link] = event.links;
  const known = state.facts?.links.find((other) => other.index === link!.index);
  if (!isDeepStrictEqual(known, { ...link!, carrier: true }) || link!.carrier) return undefined;
  const port = isps.ports.find((other) => other.ifindex === link!.index);
  return port === undefined ? undefined : () => whatIf(state, port.policy.name, event.at);
}
