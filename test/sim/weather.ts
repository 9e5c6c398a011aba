/**
 * What goes wrong in one seed: a policy, and forty seconds of trouble of one kind; then everything is put right and left alone, so that
 * it can be seen whether all comes back.
 */
import type { Sensitivity } from '../../src/config/schema.js';
import { ACTIVE_TABLE, MAIN_TABLE, OUR_PROTOCOL } from '../../src/core/layout.js';
import type { Policy, Route } from '../../src/model.js';
import { foreignDefault, LINES, policyOf, uplinkPolicy, type LineName } from '../core/fixture.js';
import type { Dice } from './dice.js';
import { leased, type Isp } from './isps.js';
import type { ShakyKernel } from './shaky-kernel.js';
import { defaultsIn, type World } from './world.js';

export const TROUBLE_MS = 40_000;
export const QUIET_MS = 45_000;
/** Trouble begins when the first decision stands. */
const BEGIN_MS = 6000;

export interface Weather {
  readonly name: string;
  /** Nothing is wrong that should move anything. */
  readonly fair?: boolean;
  /** Silences are too short for old flows to be cut. */
  readonly brief?: boolean;
  readonly sensitivities?: readonly Sensitivity[];
  /** 0: a missed reply is believed. */
  readonly burst?: number;
  readonly gateways?: 'given';
  readonly begin: (world: World) => void;
}

export const WEATHERS: readonly Weather[] = [
  { name: 'fair', fair: true, begin: () => undefined },
  { name: 'drizzle', fair: true, begin: (world) => world.isps.all.forEach((isp) => repeat(world, 4000, 9000, () => isp.swallow++)) },
  {
    name: 'starved', fair: true, burst: 0,
    begin: (world) => { world.isps.all.forEach((isp) => { isp.jitterMs = 0; }); repeat(world, 800, 4000, () => world.starve(world.dice.pick([15, 80, 400, 2500]))); },
  },
  {
    name: 'hiccups', brief: true, sensitivities: ['balanced', 'calm'],
    begin: (world) => repeat(world, 3500, 8000, () => brief(world, world.dice.pick(world.isps.all), world.dice.between(10, 400))),
  },
  { name: 'one target dead', fair: true, begin: (world) => later(world, BEGIN_MS, () => world.isps.all.forEach((isp) => mute(world, isp))) },
  { name: 'leaders', begin: (world) => repeat(world, 12_000, 15_000, () => leader(world)) },
  { name: 'relapses', begin: (world) => repeat(world, 9000, 12_000, () => relapse(world, world.isps.all[0]!)) },
  { name: 'faults', begin: (world) => trouble(world, FAULTS) },
  { name: 'mute targets', begin: (world) => { world.isps.all.forEach((isp) => mute(world, isp)); trouble(world, [silence, gatewayDies, cable]); } },
  { name: 'cables', begin: (world) => trouble(world, [cable, cable, flap]) },
  { name: 'eclipse', begin: (world) => repeat(world, 9000, 16_000, () => eclipse(world, world.dice.pick([300, 900, 3000, 8000]))) },
  { name: 'devices', begin: (world) => trouble(world, [switchOff, remake, readdress, cable, silence]) },
  { name: 'lost notices', begin: (world) => mood(world, { loseChance: 0.8, lateMs: 900 }, () => trouble(world, [...FAULTS, switchOff, remake, readdress])) },
  { name: 'foreign hands', begin: (world) => { repeat(world, 500, 4000, () => world.foreignHand((kernel) => meddle(world, kernel))); trouble(world, [silence, cable]); } },
  { name: 'quarrel', fair: true, begin: (world) => repeat(world, 20, 60, () => world.foreignHand((kernel) => deleteLeading(kernel))) },
  { name: 'liar', begin: (world) => { lieNowAndThen(world); trouble(world, [...FAULTS, switchOff, remake]); } },
  { name: 'starved faults', begin: (world) => { repeat(world, 2000, 6000, () => world.starve(world.dice.pick([30, 200, 1500]))); trouble(world, FAULTS); } },
  { name: 'operator', begin: (world) => { repeat(world, 3000, 9000, () => order(world)); trouble(world, [silence, cable, gatewayDies]); } },
  { name: 'reloads', begin: (world) => { repeat(world, 3000, 9000, () => reload(world)); trouble(world, [silence, cable]); } },
  { name: 'restarts', gateways: 'given', begin: (world) => { repeat(world, 5000, 12_000, () => world.restart()); trouble(world, [silence, cable]); } },
];

/** Drawn from the seed before anything else is. */
export function drawPolicy(dice: Dice, weather: Weather): Policy {
  const names = LINES.map((line) => line.name).slice(0, dice.pick([1, 2, 2, 2, 3, 3, 3, 4]));
  const hosts = dice.pick([['gateway', '1.1.1.1', '9.9.9.9'], ['gateway', '1.1.1.1', '9.9.9.9'], ['gateway'], ['1.1.1.1'], ['gateway', '1.1.1.1', '8.8.8.8', '9.9.9.9']]);
  const sensitivity = dice.pick(weather.sensitivities ?? (['fast', 'balanced', 'balanced', 'calm'] as const));
  const quorum = hosts.length === 4 ? 2 : 1;
  const share = dice.chance(0.2);
  const uplinks = names.map((name: LineName, i) => uplinkPolicy(name, {
    sensitivity, hosts, quorum, priority: share ? 1 + (i >> 1) : 1 + i, weight: dice.whole(1, 3), timeoutMaxMs: dice.pick([1000, 2000]),
    ...(weather.burst !== undefined && dice.chance(0.4) ? { burst: weather.burst } : {}),
    ...(weather.gateways !== 'given' && dice.chance(0.3) ? { gateway: 'auto' as const } : {}),
  }));
  return policyOf(uplinks, { holdMs: dice.pick([0, 3000, 10_000]), mode: dice.chance(0.1) ? 'manual' : 'automatic' });
}

type Fault = (world: World, isp: Isp, forMs: number) => void;

const silence: Fault = (world, isp, forMs) => forAWhile(world, isp, forMs, () => { isp.upstreamUp = false; }, () => { isp.upstreamUp = true; });
const gatewayDies: Fault = (world, isp, forMs) => forAWhile(world, isp, forMs, () => { isp.gatewayUp = false; }, () => { isp.gatewayUp = true; });
const lossy: Fault = (world, isp, forMs) => forAWhile(world, isp, forMs, () => { isp.lossChance = world.dice.pick([0.05, 0.3, 0.8]); }, () => { isp.lossChance = 0; });
const cable: Fault = (world, isp, forMs) => forAWhile(world, isp, forMs, () => world.kernel.cable(isp.ifindex, false), () => world.kernel.cable(isp.ifindex, true));
const flap: Fault = (world, isp, forMs) => {
  for (let t = 0; t < Math.min(forMs, 3000); t += 240) later(world, t, () => world.isps.touch(isp, () => world.kernel.cable(isp.ifindex, (t / 240) % 2 === 1)));
  later(world, Math.min(forMs, 3000) + 300, () => world.isps.touch(isp, () => world.kernel.cable(isp.ifindex, true)));
};
const slower: Fault = (world, isp, forMs) => {
  const { rttMs, jitterMs } = isp;
  isp.timeoutAtMostMs = isp.policy.probe.timeoutMaxMs;
  forAWhile(world, isp, forMs, () => { isp.rttMs = rttMs * 3 + 40; isp.jitterMs = isp.rttMs * 0.4; }, () => { isp.rttMs = rttMs; isp.jitterMs = jitterMs; });
};
const switchOff: Fault = (world, isp, forMs) => world.switchOff(isp, forMs);
const remake: Fault = (world, isp, forMs) => world.remake(isp, Math.min(forMs, 4000));
const readdress: Fault = (world, isp, forMs) => world.readdress(isp, Math.min(forMs, 4000));

const FAULTS: readonly Fault[] = [silence, silence, gatewayDies, lossy, slower, cable, flap];

/** One fault after the other on each uplink, with a breath between. */
function trouble(world: World, faults: readonly Fault[]): void {
  for (const isp of world.isps.all) {
    const next = (from: number): void => {
      const begin = from + world.dice.between(500, 12_000);
      const forMs = world.dice.pick([120, 700, 2500, 6000, 12_000]);
      if (begin + forMs > BEGIN_MS + TROUBLE_MS - 6000) return;
      world.agenda.at(world.agenda.now + begin, () => world.dice.pick(faults)(world, isp, forMs));
      next(begin + forMs + 5000);
    };
    next(BEGIN_MS);
  }
}

/** Many gateways never answer, and some targets never do. */
function mute(world: World, isp: Isp): void {
  const { targets, quorum } = isp.policy.probe;
  if (targets.length > quorum + 1) world.isps.touch(isp, () => isp.deadHosts.add(world.dice.pick(['gateway', '9.9.9.9'])));
}

/** At times we are starved just when it is noticed. */
function brief(world: World, isp: Isp, forMs: number): void {
  if (isp.deadSince !== undefined) return;
  world.dice.pick([silence, gatewayDies])(world, isp, forMs);
  if (world.dice.chance(0.5)) later(world, forMs * world.dice.next(), () => world.starve(world.dice.pick([200, 2400])));
}

/** It dies, comes back, and stutters before it has proved itself. */
function relapse(world: World, isp: Isp): void {
  const { probe, health } = isp.policy;
  cable(world, isp, 1000);
  const upMs = 1400 + health.up.successes * probe.intervalMs;
  later(world, upMs + world.dice.between(0, 2000), () => silence(world, isp, 600 + health.suspect.failures * probe.intervalMs));
}

/** Whoever leads falls silent, while the others are well. */
function leader(world: World): void {
  const leading = defaultsIn(world.kernel.truth(), ACTIVE_TABLE)[0];
  const isp = world.isps.all.find((other) => other.ifindex === leading?.hops[0]?.ifindex);
  if (isp !== undefined) world.dice.pick([silence, gatewayDies, cable])(world, isp, world.dice.between(300, 10_000));
}

/** A fault of all, or of the targets: the same to us. */
function eclipse(world: World, forMs: number): void {
  for (const isp of world.isps.all) silence(world, isp, forMs);
}

function meddle(world: World, kernel: ShakyKernel): void {
  const { dice } = world;
  const { routes, rules } = kernel.truth();
  const ours = (route: Route): boolean => route.protocol === OUR_PROTOCOL;
  const guest = foreignDefault(world.policy.uplinks[0]!.name as LineName, dice.pick([0, 20, 30, 31, 100]), { protocol: 4 });
  const isp = dice.pick(world.isps.all);
  switch (dice.whole(0, 6)) {
    case 0: return void kernel.outside.deleteRoute(dice.pick(routes));
    case 1: return routes.filter((route) => ours(route) && route.table === MAIN_TABLE).forEach((route) => kernel.outside.deleteRoute(route));
    case 2: return routes.filter(ours).forEach((route) => kernel.outside.deleteRoute(route));
    case 3: return rules.length === 0 ? undefined : void kernel.outside.deleteRule(dice.pick(rules));
    case 4: return void kernel.outside.addRoute({ ...guest, hops: [{ ...guest.hops[0]!, ifindex: world.isps.all[0]!.ifindex }] });
    case 5: return routes.filter((route) => route.protocol === 4).forEach((route) => kernel.outside.deleteRoute(route));
    case 6: return isp.policy.gateway === 'auto' ? void kernel.outside.deleteRoute(leased(isp)) : undefined;
  }
}

function deleteLeading(kernel: ShakyKernel): void {
  const leading = defaultsIn(kernel.truth(), ACTIVE_TABLE)[0];
  if (leading !== undefined) kernel.outside.deleteRoute(leading);
}

function lieNowAndThen(world: World): void {
  const { kernel, dice } = world;
  repeat(world, 1500, 5000, () => {
    const only = dice.pick(['add', 'delete', 'replace']);
    const mode = dice.whole(0, 3);
    if (mode === 0) kernel.moods.refuse = (change) => (change.op === only ? 'ENOBUFS: no memory for that' : '');
    if (mode === 1) kernel.moods.refuse = () => (dice.chance(0.4) ? 'ENOBUFS: no memory for that' : '');
    if (mode === 2) kernel.moods.lieChance = 0.4;
    if (mode === 3) kernel.moods.staleMs = 300;
    later(world, dice.between(50, 1500), () => calm(world));
  });
}

function calm(world: World): void {
  Object.assign(world.kernel.moods, { refuse: () => '', lieChance: 0, staleMs: 0 });
}

function mood(world: World, moods: Partial<ShakyKernel['moods']>, then: () => void): void {
  Object.assign(world.kernel.moods, moods);
  later(world, BEGIN_MS + TROUBLE_MS, () => Object.assign(world.kernel.moods, { loseChance: 0, lateMs: 0 }));
  then();
}

function order(world: World): void {
  const { dice } = world;
  const { name } = dice.pick(world.policy.uplinks);
  if (dice.chance(0.2)) return world.clear();
  const confirm = dice.chance(0.3) ? { confirmMs: dice.between(500, 4000) } : {};
  if ('confirmMs' in confirm && dice.chance(0.5)) later(world, 300, () => world.confirm());
  world.override({ uplink: name, ifDead: dice.pick(['fall-through', 'fall-through', 'obey']), forMs: dice.between(800, 8000), ...confirm });
}

function reload(world: World): void {
  const { dice } = world;
  const edited = dice.pick(world.policy.uplinks).name;
  const priority = dice.whole(1, 4);
  const weight = dice.whole(1, 3);
  world.reload((uplink) => (uplink.name === edited ? { ...uplink, priority, weight } : uplink));
}

function forAWhile(world: World, isp: Isp, forMs: number, begin: () => void, end: () => void): void {
  world.isps.touch(isp, begin);
  later(world, forMs, () => world.isps.touch(isp, end));
}

function repeat(world: World, fromMs: number, toMs: number, run: () => void): void {
  const end = world.agenda.now + BEGIN_MS + TROUBLE_MS - 9000;
  const next = (when: number): void => {
    if (when > end) return;
    world.agenda.at(when, () => {
      run();
      next(when + world.dice.between(fromMs, toMs));
    });
  };
  const begin = world.agenda.now + BEGIN_MS + world.dice.between(0, toMs);
  next(begin);
}

function later(world: World, ms: number, run: () => void): void {
  world.agenda.at(world.agenda.now + ms, run);
}
