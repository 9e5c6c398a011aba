/**
 * Questions that need more than the board: what would happen if, what a new config would change, how the policies fare, what is in the
 * way on this machine. And the one deed of this kind, the reload. Nothing is kept here: each answer is made of the state of the moment.
 */
import type { Config, Loaded } from './config/load.js';
import { showProblem } from './config/load.js';
import { classesOf } from './core/classes.js';
import { whatIf, whatPolicy, type Forecast } from './core/forecast.js';
import { showForget } from './core/news.js';
import { showChange } from './core/plan.js';
import { prefixProblems, type PrefixProblem } from './core/renumbered.js';
import type { State } from './core/state.js';
import { policyStatus } from './core/status.js';
import type { Finding, HostWish, Instant, KernelFacts, Policy, PolicyCounter, Preview } from './model.js';
import type { ConfigPreview, InvalidConfig, Outcome, Questions } from './ports.js';

/** What the questions are put to. */
export interface Witnesses {
  readonly state: State;
  now(): Instant;
  /** The config file as it stands now. */
  load(): Loaded;
  loadText(text: string, file: string): Loaded;
  /** It is in force from now on, and remembered. Resolves when the kernel was read back. */
  enforce(config: Config, by: string): Outcome;
  /** What a reload cannot change. */
  readonly standing: Pick<Config, 'api'>;
  preview(wish: HostWish): Promise<{ readonly filter: readonly string[]; readonly sysctls: readonly string[] }>;
  counters(): Promise<readonly PolicyCounter[]>;
  examine(policy: Policy, facts: KernelFacts, prefixes: readonly PrefixProblem[]): Promise<readonly Finding[]>;
}

export function openQuestions(witnesses: Witnesses): Questions {
  const { state, now } = witnesses;
  let reloaded: Promise<unknown> = Promise.resolve();

  const previewOf = async (config: Config, policy: Policy): Promise<ConfigPreview> => {
    const forecast = whatPolicy(state, policy, now());
    return { ...routingOf(state, forecast), ...(await witnesses.preview(forecast.host)), notes: notesOn(config, witnesses) };
  };

  return {
    whatIf: (uplink) => ({ ...routingOf(state, whatIf(state, uplink, now())), filter: [], sysctls: [] }),
    async plan(text, file) {
      const loaded = witnesses.loadText(text, file);
      if ('problems' in loaded) return shown(loaded.problems);
      const live = asFarAsLive(loaded.config, state);
      return 'problems' in live ? live : previewOf(loaded.config, live);
    },
    async policies() {
      const counters = new Map((await witnesses.counters()).map((counter) => [counter.policy, counter]));
      return policyStatus(state).map((each) => {
        const counter = counters.get(each.policy.name);
        return { ...each, connections: counter?.packets, bytes: counter?.bytes };
      });
    },
    doctor: async () => (state.facts === undefined ? [] : witnesses.examine(state.policy, state.facts, prefixProblems(state, now()))),
    reload(by) {
      // One after the other: the file that was read last is the one that stays in force.
      const turn = reloaded.then(() => reload(by));
      reloaded = Promise.allSettled([turn]);
      return turn;
    },
  };

  async function reload(by: string): ReturnType<Questions['reload']> {
    const loaded = witnesses.load();
    if ('problems' in loaded) return shown(loaded.problems);
    const live = asFarAsLive(loaded.config, state);
    if ('problems' in live) return live;
    const preview = await previewOf(loaded.config, live);
    const { error } = await witnesses.enforce({ ...loaded.config, policy: live }, by);
    return error === '' ? { preview } : { error };
  }
}

/** Marks stand on running connections, and listeners are open: these change at the next start only. Policies may need the new marks. */
function asFarAsLive({ policy, files }: Config, state: State): Policy | InvalidConfig {
  const live = { ...policy, markMask: state.policy.markMask };
  try {
    classesOf(live);
    return live;
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    return { problems: [`${files.join(' with ')}: kernel.markMask takes effect at the next start only, and with the one in force ${error.message}: restart uplinkd (no traffic is interrupted)`] };
  }
}

function notesOn({ policy, api }: Config, { state, standing }: Witnesses): readonly string[] {
  return [
    ...(policy.markMask === state.policy.markMask ? [] : ['kernel.markMask takes effect at the next start']),
    ...(JSON.stringify(api) === JSON.stringify(standing.api) ? [] : ['api.listen takes effect at the next start']),
  ];
}

function routingOf(state: State, { decisions, changes, forgets }: Forecast): Pick<Preview, 'decisions' | 'routing' | 'flows'> {
  const links = state.facts?.links ?? [];
  return { decisions, routing: changes.map((change) => showChange(change, links)), flows: forgets.map(showForget) };
}

function shown(problems: Extract<Loaded, { problems: unknown }>['problems']): InvalidConfig {
  return { problems: problems.map(showProblem) };
}
