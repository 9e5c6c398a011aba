/** One seed, from the first read to the quiet end, with every law watching. */
import { createHash } from 'node:crypto';
import { openDice } from './dice.js';
import { drawWorld } from './draw.js';
import { viewOf, type Law, type View, type Watch } from './laws/law.js';
import * as decisions from './laws/decisions.js';
import * as evidence from './laws/evidence.js';
import * as families from './laws/families.js';
import * as flows from './laws/flows.js';
import * as forecasts from './laws/forecasts.js';
import * as routes from './laws/routes.js';
import * as ways from './laws/policies.js';
import * as opinions from './laws/verdicts.js';
import { QUIET_MS, TROUBLE_MS, WEATHERS } from './weather.js';
import { openWorld } from './world.js';

export const LAWS: readonly Law[] = [routes, opinions, evidence, decisions, flows, ways, families, forecasts].flatMap((room): readonly Law[] => Object.values(room));

const TICK_MS = 100;

export interface Breach {
  readonly law: string;
  readonly atMs: number;
  readonly what: string;
}

export interface Played {
  readonly seed: number;
  readonly weather: string;
  /** The first of each law. */
  readonly breaches: readonly Breach[];
  /** Hash of all that came out of the core; '' unless asked for. */
  readonly transcript: string;
  readonly steps: number;
  readonly simulatedMs: number;
}

export interface Wish {
  readonly weather?: string;
  readonly transcript?: boolean;
  readonly tell?: (line: string) => void;
}

export const DETERMINISTIC = 'deterministic';

/**
 * deterministic: the same seed gives the same transcript, also when every clock of the machine jumps about.
 * The core has no way to look at them, and time comes in with the events alone.
 */
export function playTwice(seed: number, wish: Wish = {}): Played {
  const first = play(seed, { ...wish, transcript: true });
  const second = withJumpingClocks(() => play(seed, { ...wish, transcript: true }));
  if (first.transcript === second.transcript) return first;
  return { ...first, breaches: [...first.breaches, { law: DETERMINISTIC, atMs: 0, what: `${first.steps} steps, then ${second.steps}, and not the same` }] };
}

export function play(seed: number, wish: Wish = {}): Played {
  const weather = WEATHERS.find((other) => other.name === wish.weather) ?? WEATHERS[seed % WEATHERS.length]!;
  const world = openWorld(seed, drawWorld(openDice(seed), weather));
  const begunAt = world.agenda.now;
  const endsAt = begunAt + 6000 + TROUBLE_MS + QUIET_MS + (weather.longerMs ?? 0);
  const breaches = new Map<string, Breach>();
  const views = ([4, 6] as const).map((family) => viewOf(world, family)).filter((view) => view.isps.length > 0);
  const watches = views.flatMap((view, i) => LAWS.filter((law) => i === 0 || law.once !== true).map((law) => ({ law, view, watch: law.watch(view, weather) })));
  const hash = wish.transcript === true ? createHash('sha256') : undefined;
  let steps = 0;

  const breach = (law: string, what: string): void => {
    if (what === '' || breaches.has(law)) return;
    breaches.set(law, { law, atMs: Math.round(world.agenda.now - begunAt), what });
    wish.tell?.(`${stamp()} LAW BROKEN ${law}: ${what}`);
  };
  const all = (look: (watch: Watch, view: View) => string | undefined): void => {
    for (const { law, watch, view } of watches) breach(law.name, look(watch, view) ?? '');
  };
  const stamp = (): string => ((world.agenda.now - begunAt) / 1000).toFixed(3).padStart(8);

  world.kernel.onChange = (change, before, after) => all((watch) => watch.change?.(change, before, after));
  world.beforeTurn = (event) => all((watch) => watch.before?.(event));
  world.onSettled = () => all((watch) => watch.settled?.());
  world.onTurn = (event, effects, wakeAt) => {
    steps++;
    hash?.update(JSON.stringify([event.at, event.type, effects, wakeAt]));
    const verdicts = new Map(views.map((view) => [view, view.verdicts()]));
    all((watch, view) => watch.turn?.({ event, effects, wakeAt, verdicts: verdicts.get(view)! }));
    if (wish.tell !== undefined) for (const effect of effects) if (effect.type === 'tell') wish.tell(`${stamp()} ${effect.news.text}`);
  };
  const tick = (): void => {
    all((watch) => watch.tick?.());
    world.agenda.at(world.agenda.now + TICK_MS, tick);
  };

  weather.begin(world);
  try {
    world.process.start();
    tick();
    world.agenda.runUntil(endsAt);
    all((watch) => watch.end?.());
  } catch (error) {
    // A core that throws or runs hot has broken a law, too: which one, the message says.
    const text = error instanceof Error ? error.message : String(error);
    breach(text.startsWith('wake-is-sane') ? 'wake-is-sane' : 'does-not-throw', text);
  }
  return { seed, weather: weather.name, breaches: [...breaches.values()], transcript: hash?.digest('hex') ?? '', steps, simulatedMs: endsAt - begunAt };
}

function withJumpingClocks<T>(run: () => T): T {
  const { now } = Date;
  const performanceNow = performance.now.bind(performance);
  let jumps = 0;
  Date.now = () => now() + (jumps++ % 3) * 3_600_000 - 86_400_000;
  performance.now = () => performanceNow() * -1;
  try {
    return run();
  } finally {
    Date.now = now;
    performance.now = performanceNow;
  }
}
