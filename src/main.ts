#!/usr/bin/env node
/**
 * uplinkd: arguments → config → shells → daemon. The one file that knows everybody; it reads as the data-flow diagram.
 *
 *   kernel ──facts──►┐                                  ┌──► kernel (routes, rules, NAT)
 *   prober ──replies►├──► daemon: step(state, event) ──►├──► prober
 *   api ────wishes──►┘                                  └──► board ──► api, log
 */
import { randomBytes } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { buildServer, descriptorOf, type Server } from './api/server.js';
import { openBoard } from './board.js';
import { loadConfig, loadText, showProblem, type Config } from './config/load.js';
import { showForget } from './core/news.js';
import { showChange } from './core/plan.js';
import { openState, type State } from './core/state.js';
import { status } from './core/status.js';
import { openDaemon, type Daemon } from './daemon.js';
import { clock, openTimers } from './clock.js';
import type { Door } from './kernel/door.js';
import { openDryKernel } from './kernel/dry.js';
import { culprit } from './kernel/doctor/culprit.js';
import { examine } from './kernel/doctor/examine.js';
import { openHost } from './kernel/host.js';
import { openKernel } from './kernel/kernel.js';
import { programs, takesLonger } from './kernel/spawn.js';
import { boundSendBuffer, peerUid } from './libc/sockets.js';
import { claimNamespace } from './lock.js';
import { openLog, type Log } from './log.js';
import { openMemory, type Memory } from './memory.js';
import type { News } from './model.js';
import type { Prober, Questions } from './ports.js';
import { openProber } from './probes/prober.js';
import { openQuestions } from './questions.js';
import { ownVersion } from './version.js';

const EXIT = { done: 0, failed: 1, usage: 2, config: 78 } as const;

/** systemd gives us ten seconds: for what runs, and for each program that takes something back. */
const STOP_MS = { grace: 1000, program: 2000 } as const;

const USAGE = `uplinkd: keeps a router on the internet through several uplinks

  uplinkd run   [--config FILE] [--run-dir DIR] [--state-dir DIR] [--dry-run]
                stay in the foreground and route; logs JSON lines to stdout
  uplinkd check [--config FILE]
                say everything that is wrong with a config, and exit

  --config FILE     default /etc/uplinkd/uplinkd.yaml
  --run-dir DIR     the unix socket stands here; default /run/uplinkd
  --state-dir DIR   what survives a restart; default /var/lib/uplinkd
  --dry-run         probe and decide, but change nothing in the kernel; an uplink that has no default route there
                    yet gets no answers, and is told as down; links and addresses are read once, at the start
  --help, --version

Signals: TERM and INT stop it (what that leaves in the kernel: config key stop), HUP reads the config again.
Exit codes: 0 done, 1 failed, 2 wrong usage, 78 the config is invalid.
`;

const PROFILES = fileURLToPath(new URL('../../profiles', import.meta.url));

interface Arguments {
  readonly verb: 'run' | 'check';
  readonly config: string;
  readonly runDir: string;
  readonly stateDir: string;
  readonly dryRun: boolean;
}

await main(process.argv.slice(2));

async function main(argv: readonly string[]): Promise<void> {
  const wish = readArguments(argv);
  if (typeof wish === 'string') {
    process.stdout.write(wish);
    return;
  }
  if (wish === undefined) {
    process.exitCode = EXIT.usage;
    return;
  }
  if (wish.verb === 'check') {
    const config = readConfig(wish.config, new Map());
    if (config === undefined) process.exitCode = EXIT.config;
    else process.stdout.write(`${config.files.join(' with ')}: valid, ${config.policy.uplinks.length} ${config.policy.uplinks.length === 1 ? 'uplink' : 'uplinks'}\n`);
    return;
  }
  await run(wish);
}

async function run(wish: Arguments): Promise<void> {
  // Looked at before anything is made: an invalid config leaves no trace on the machine.
  if (readConfig(wish.config, new Map()) === undefined) {
    process.exitCode = EXIT.config;
    return;
  }
  const log = openLog();
  try {
    const memory = memoryFor(wish, log);
    const config = readConfig(wish.config, memory.slots);
    if (config === undefined) {
      process.exitCode = EXIT.config;
      return;
    }
    await live(wish, config, memory, log);
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    const advice = /\bE(PERM|ACCES)\b/.test(text) ? '; run it as root, or give it CAP_NET_ADMIN and CAP_NET_RAW' : '';
    log.error(`uplinkd cannot start: ${text}${advice}`);
    process.exitCode = EXIT.failed;
    process.exit();
  }
}

async function live(wish: Arguments, config: Config, memory: Memory, log: Log): Promise<void> {
  const warning = wish.dryRun ? '' : await claimNamespace((socket) => peerUid(descriptorOf(socket) ?? -1));
  if (warning !== '') log.warn(warning);
  programs.onStuck = (text) => log.warn(text);
  const kernel = openDoor(wish, log);
  const state = openState(config.policy, clock.now(), memory.generationBefore);
  state.override = memory.override();
  memory.save({ slots: slotsOf(config) });

  const board = openBoard(() => status(state, clock.now()));
  const prober: Prober = openProber({ now: clock.now, report: (fact) => daemon.report(fact) });
  const daemon = openDaemon(state, {
    ...clock, timers: openTimers(), kernel, prober, clockSet: () => (wish.dryRun ? state.override : memory.clockSet()), publish: () => board.publish(), tell: (news) => tellNews(news, log),
    save: (override) => memory.save({ override }),
  });
  const options = (): { profilesDir: string; slots: ReadonlyMap<string, number> } => ({ profilesDir: PROFILES, slots: memory.slots });
  const questions = openQuestions({
    state, now: clock.now, standing: config,
    load: () => loadConfig(wish.config, options()),
    loadText: (text, file) => loadText(text, { file, ...options() }),
    async enforce(next, by) {
      memory.save({ slots: slotsOf(next) });
      const outcome = await daemon.reload(next.policy);
      if (outcome.error === '') log.info(`the config was read again for ${by} and is in force`, { by });
      return outcome;
    },
    preview: (host) => kernel.preview(host), counters: () => kernel.counters(),
    examine: (policy, facts, prefixes) => examine({ policy, facts, prefixes, survey: kernel.survey() }),
  });
  mkdirSync(wish.runDir, { recursive: true });
  const server = buildServer({
    board, ask: daemon, questions, log: apiLog(log), clock: { now: clock.now, wallMs: clock.wall },
    identity: { version: ownVersion(), boot: randomBytes(6).toString('hex') },
    socketPath: join(wish.runDir, 'uplinkd.sock'), tcp: config.api.listen, peerUid, boundSendBuffer,
  });
  await server.listen();
  log.info(`uplinkd ${ownVersion()} runs on ${config.files.join(' with ')}${wish.dryRun ? '; dry run: nothing is changed in the kernel' : ''}`);
  daemon.start();
  onSignals({ log, daemon, server, kernel, prober, state, questions });
}

/** What was put back is told with a guess at who took it away, which takes some milliseconds to make. */
function tellNews(news: News, log: Log): void {
  const loss = news.data['repaired'];
  if (loss !== 'routes' && loss !== 'rules' && loss !== 'filter') return log.tell(news);
  void culprit(loss).then((guess) => log.tell(guess === '' ? news : { ...news, text: `${news.text}; ${guess}` }));
}

/** A dry run may lie beside a real one: it reads the memory of that one and leaves it alone. */
function memoryFor(wish: Arguments, log: Log): Memory {
  const memory = openMemory(wish.stateDir, clock, (text) => log.error(text));
  return wish.dryRun ? { ...memory, save: () => undefined } : memory;
}

/** The real kernel, or one in memory that begins with what the real one has. */
function openDoor(wish: Arguments, log: Log): Door {
  const host = openHost({ stateDir: wish.stateDir });
  const real = openKernel(host);
  if (!wish.dryRun) return real;
  const facts = real.readAll();
  const survey = real.survey();
  real.close();
  const dry = openDryKernel(facts);
  let shown = '';
  return {
    ...dry,
    survey: () => survey,
    preview: (wished) => host.preview(wished),
    apply(plan) {
      for (const change of plan.changes) log.info(`would run: ${showChange(change, facts.links)}`);
      return dry.apply(plan);
    },
    forget(order) {
      log.info(`would ${showForget(order)}`);
      return dry.forget(order);
    },
    async host(wished) {
      const { filter, sysctls } = await host.preview(wished);
      const text = JSON.stringify([filter, sysctls]);
      if (text !== shown) for (const line of [...filter, ...sysctls]) log.info(`would run: ${line}`);
      shown = text;
      return dry.host(wished);
    },
  };
}

interface Running {
  readonly log: Log;
  readonly questions: Questions;
  readonly daemon: Daemon;
  readonly server: Server;
  readonly kernel: Door;
  readonly prober: Prober;
  readonly state: State;
}

function onSignals(running: Running): void {
  const { log, questions } = running;
  let stopping = false;
  const end = (signal: string): void => {
    if (stopping) return;
    stopping = true;
    void stop(running, signal);
  };
  process.on('SIGTERM', () => end('SIGTERM'));
  process.on('SIGINT', () => end('SIGINT'));
  process.on('SIGHUP', () => {
    questions.reload('signal HUP').then(
      (outcome) => tellReload(outcome, log),
      (failure: unknown) => log.error(`the config could not be read again: ${String(failure)}`),
    );
  });
}

function tellReload(outcome: Awaited<ReturnType<Questions['reload']>>, log: Log): void {
  if ('preview' in outcome) {
    for (const note of outcome.preview.notes) log.warn(note);
    return;
  }
  for (const problem of 'problems' in outcome ? outcome.problems : [outcome.error]) log.error(problem);
  if ('problems' in outcome) log.error('the old config keeps running');
}

async function stop({ state, log, daemon, server, kernel, prober }: Running, signal: string): Promise<void> {
  const keep = state.policy.stop === 'keep';
  log.info(`${signal}: stopping; routes, rules and NAT ${keep ? 'stay as they are' : 'are taken back'} (stop: ${state.policy.stop})`);
  await server.close();
  const stopped = daemon.stop();
  if (await takesLonger(stopped, STOP_MS.grace)) programs.end();
  await stopped;
  prober.close();
  try {
    programs.resume(STOP_MS.program);
    if (!keep) await kernel.restore();
  } catch (error) {
    log.error(`not everything could be taken back: ${String(error)}`);
    process.exitCode = EXIT.failed;
  }
  kernel.close();
  process.exit();
}

function slotsOf(config: Config): ReadonlyMap<string, number> {
  return new Map(config.policy.uplinks.map((uplink) => [uplink.name, uplink.slot]));
}

/** @returns undefined after every problem was told on stderr */
function readConfig(file: string, slots: ReadonlyMap<string, number>): Config | undefined {
  const loaded = loadConfig(file, { profilesDir: PROFILES, slots });
  if ('config' in loaded) return loaded.config;
  for (const problem of loaded.problems) process.stderr.write(`${showProblem(problem)}\n`);
  return undefined;
}

/** @returns text to print for --help and --version; undefined after telling what is wrong */
function readArguments(argv: readonly string[]): Arguments | string | undefined {
  try {
    const { values, positionals } = parseArgs({
      args: [...argv], allowPositionals: true,
      options: {
        'config': { type: 'string', default: '/etc/uplinkd/uplinkd.yaml' },
        'run-dir': { type: 'string', default: '/run/uplinkd' },
        'state-dir': { type: 'string', default: '/var/lib/uplinkd' },
        'dry-run': { type: 'boolean', default: false },
        'help': { type: 'boolean', short: 'h', default: false },
        'version': { type: 'boolean', default: false },
      },
    });
    if (values.help) return USAGE;
    if (values.version) return `uplinkd ${ownVersion()}\n`;
    const [verb, ...more] = positionals;
    if ((verb !== 'run' && verb !== 'check') || more.length > 0) {
      throw new Error(verb === undefined ? 'say what to do: run or check' : `unknown: ${[verb, ...more].join(' ')}`);
    }
    return { verb, config: values.config, runDir: values['run-dir'], stateDir: values['state-dir'], dryRun: values['dry-run'] };
  } catch (error) {
    process.stderr.write(`uplinkd: ${error instanceof Error ? error.message : String(error)}\n\n${USAGE}`);
    return undefined;
  }
}

function apiLog(log: Log): { info(data: object, text: string): void; warn(data: object, text: string): void; error(data: object, text: string): void } {
  return { info: (data, text) => log.info(text, data), warn: (data, text) => log.warn(text, data), error: (data, text) => log.error(text, data) };
}
