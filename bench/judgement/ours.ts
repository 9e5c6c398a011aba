/**
 * The shipped daemon on a storm, in virtual time. The kernel is the dry one; probes are
 * answered by the storm's lines; the timer rings a little late, as timers do. The config is the shipped defaults and names three things: the
 * devices, their gateways and the sensitivity.
 */
import { fileURLToPath } from 'node:url';
import { loadText, showProblem } from '../../src/config/load.js';
import { openState, type State } from '../../src/core/state.js';
import { openDaemon } from '../../src/daemon.js';
import { openDryKernel } from '../../src/kernel/dry.js';
import type { Address, Event, ForgetOrder, Instant, KernelFacts, Link, Policy, ProbeOrder } from '../../src/model.js';
import { openAlarm, Promised, SOUND_HOST } from '../../test/sim/process.js';
import { openView } from './line.js';
import { openLan } from './lan.js';
import type { Contestant } from './peers/monitor.js';
import type { Trace } from './score.js';
import { diceOf, type Storm } from './storm.js';

export type Sensitivity = 'fast' | 'balanced' | 'calm';

/** Looks over the shoulder of a run: after each step. */
export type Watcher = (state: State, event: Event, active: number) => void;

export const OURS: readonly (Contestant & { readonly sensitivity: Sensitivity })[] = (['balanced', 'fast', 'calm'] as const).map((sensitivity) => ({
  name: `uplinkd, ${sensitivity}`, sensitivity, about: `the real core, default config, sensitivity: ${sensitivity}`, play: (storm: Storm) => run(storm, sensitivity).trace,
}));

export interface Run {
  readonly trace: Trace;
  readonly policy: Policy;
  readonly steps: number;
  /** As it was at the end. */
  readonly state: State;
}

/** Network behind each device, by position: `198.51.100.0/24` and so on. */
const NETWORKS = ['198.51.100', '203.0.113', '192.0.2', '100.64.0'] as const;
const FIRST_IFINDEX = 2;
const HOST_MS = 30;
const FORGET_MS = 5;

export function run(storm: Storm, sensitivity: Sensitivity, watch: Watcher = () => undefined): Run {
  const policy = policyOf(storm, sensitivity);
  const dice = diceOf(storm, `uplinkd ${sensitivity}`);
  const lan = openLan(storm, diceOf(storm, `lan ${sensitivity}`));
  const views = storm.lines.map(openView);
  const interfaces = storm.lines.map((_, i) => `eth${i}`);
  const kernel = openDryKernel(factsOf(storm));
  const state = openState(policy, 0 as Instant);
  const changes: { at: number; line: number; because: string }[] = [];
  const cuts: { at: number; line: number }[] = [];
  const agenda = openQueue();
  let clock = 0;
  const alarm = openAlarm(() => clock);
  let active = -1;

  const now = (): Instant => (clock += 0.0005) as Instant;
  const later = <T>(ms: number, value: T): PromiseLike<T> => new Promised((done) => agenda.add(clock + ms, () => done(value)));

  /** A switch is in force with the step that decides it: the plan is carried out in the same turn. */
  function follow(event: Event): void {
    const decision = state.planes.get(4)?.decision;
    const name = decision?.ranks[0]?.members[0]?.uplink;
    const line = name === undefined ? -1 : storm.lines.findIndex((other) => other.name === name);
    if (line !== active) {
      lan.advance(event.at, active);
      active = line;
      changes.push({ at: event.at, line, because: decision?.because ?? '' });
    }
    watch(state, event, active);
  }

  function forget(order: ForgetOrder): PromiseLike<number> {
    const line = storm.lines.findIndex(({ name }) => name === order.uplink);
    if (order.which === 'all' && line >= 0) {
      lan.advance(clock, active);
      lan.cut(line);
      cuts.push({ at: clock, line });
    }
    return later(FORGET_MS, 0);
  }

  function send({ uplink, family, target, seq }: ProbeOrder): void {
    const line = storm.lines.findIndex(({ name }) => name === uplink);
    const rttMs = views[line]!.ask(target.kind === 'hop' ? 'hop' : target.host, clock, dice);
    if (rttMs !== undefined) agenda.add(clock + rttMs, () => daemon.report({ type: 'reply', at: now(), uplink, family, target: target.id, seq, rttMs }));
  }

  const daemon = openDaemon(state, {
    now, wall: () => clock, clockSet: () => state.override, publish: () => undefined, tell: () => undefined, save: () => undefined,
    timers: alarm.timers,
    prober: { bind: () => undefined, send },
    kernel: {
      ...kernel, forget,
      count() {
        lan.advance(clock, active);
        return lan.counts(interfaces);
      },
      host: () => later(HOST_MS, SOUND_HOST),
    },
    observer: { before: () => undefined, after: follow, settled: () => undefined },
  });

  for (const [i, line] of storm.lines.entries()) {
    line.conditions.forEach(({ from, carrier }, n) => {
      if (n > 0 && carrier !== line.conditions[n - 1]!.carrier) agenda.add(from, () => kernel.outside.setLink(linkOf(i, carrier)));
    });
  }
  daemon.start();
  while (clock < storm.lengthMs) {
    if (agenda.nextAt() <= alarm.dueAt) {
      clock = Math.max(clock, agenda.nextAt());
      agenda.take()();
      continue;
    }
    clock = Math.max(clock, alarm.dueAt) + dice.next() * 0.5;
    alarm.ring();
  }
  return { trace: { changes, cuts, flowsFollow: 'line' }, policy, steps: state.steps, state };
}

/** What is to happen, in order; short, so that it is kept sorted, the next one last. */
interface Queue {
  nextAt(): number;
  take(): () => void;
  add(when: number, what: () => void): void;
}

function openQueue(): Queue {
  const entries: { readonly when: number; readonly what: () => void }[] = [];
  return {
    nextAt: () => entries[entries.length - 1]?.when ?? Infinity,
    take: () => entries.pop()!.what,
    add(when, what) {
      let low = 0;
      let high = entries.length;
      while (low < high) {
        const middle = (low + high) >> 1;
        if (entries[middle]!.when > when) low = middle + 1;
        else high = middle;
      }
      entries.splice(low, 0, { when, what });
    },
  };
}

const policies = new Map<string, Policy>();

/** As an operator would write it, read by the very code that reads the operator's. */
function policyOf(storm: Storm, sensitivity: Sensitivity): Policy {
  const uplinks = storm.lines.map(({ name, metered }, i) => `  ${name}: { interface: eth${i}, gateway: ${NETWORKS[i]}.1, priority: ${i + 1}${metered ? ', metered: true' : ''} }`);
  const text = ['uplinks:', ...uplinks, 'lan: { interfaces: [lan0] }', `health: { sensitivity: ${sensitivity} }`].join('\n');
  const known = policies.get(text);
  if (known !== undefined) return known;
  const loaded = loadText(text, { file: 'bench', profilesDir: fileURLToPath(new URL('../../../profiles', import.meta.url)), slots: new Map() });
  if ('problems' in loaded) throw new Error(loaded.problems.map(showProblem).join('\n'));
  policies.set(text, loaded.config.policy);
  return loaded.config.policy;
}

function factsOf(storm: Storm): KernelFacts {
  return {
    links: storm.lines.map((_, i) => linkOf(i, true)), addresses: storm.lines.map((_, i) => addressOf(i)), routes: [], rules: [], foreignDefaults: [], foreignRoutes: [],
  };
}

function linkOf(line: number, carrier: boolean): Link {
  return { index: FIRST_IFINDEX + line, name: `eth${line}`, adminUp: true, carrier, mtu: 1500, mac: '', permanentMac: '', path: '', altNames: [] };
}

function addressOf(line: number): Address {
  return { family: 4, ifindex: FIRST_IFINDEX + line, address: `${NETWORKS[line]}.2`, prefixLength: 24, peer: '', scope: 0, deprecated: false, protocol: 0 };
}
