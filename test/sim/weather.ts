/**
 * What goes wrong in one seed: a policy, and forty seconds of trouble of one kind; then everything is put right and left alone, so that
 * it can be seen whether all comes back.
 */
import type { Sensitivity } from '../../src/config/schema.js';
import { ACTIVE_TABLE, MAIN_TABLE, OUR_PROTOCOL } from '../../src/core/layout.js';
import type { Route } from '../../src/model.js';
import { foreignDefault, type LineName } from '../core/fixture.js';
import { drawPolicies } from './draw.js';
import { beyond, leased, type Isp, type Port } from './isps.js';
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
  /** How likely some of the uplinks have IPv6, too. */
  readonly dual?: number;
  /** How likely there are policies, metered uplinks, connections that move. */
  readonly traffic?: number;
  /** How likely the uplinks are asked for a page, too. */
  readonly pages?: true;
  /** Metered uplinks have a budget. */
  readonly budgets?: true;
  /** Longer than the others by so much, ms. */
  readonly longerMs?: number;
  readonly begin: (world: World) => void;
}

export const WEATHERS: readonly Weather[] = [
  { name: 'fair', fair: true, begin: () => undefined },
  { name: 'drizzle', fair: true, begin: (world) => world.isps.all.forEach((isp) => repeat(world, 4000, 9000, () => isp.swallow++)) },
  {
    name: 'starved', fair: true, burst: 0,
    begin: (world) => { steady(world); repeat(world, 800, 4000, () => world.starve(world.dice.pick([15, 80, 400, 2500]))); },
  },
  {
    name: 'hiccups', brief: true, sensitivities: ['balanced', 'calm'],
    begin: (world) => repeat(world, 3500, 8000, () => brief(world, world.dice.pick(world.isps.ports), world.dice.between(10, 400))),
  },
  { name: 'one target dead', fair: true, begin: (world) => later(world, BEGIN_MS, () => world.isps.all.forEach((isp) => mute(world, isp))) },
  { name: 'leaders', begin: (world) => repeat(world, 12_000, 15_000, () => leader(world)) },
  { name: 'relapses', begin: (world) => repeat(world, 9000, 12_000, () => relapse(world, world.isps.ports[0]!)) },
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
  { name: 'one family', dual: 1, begin: (world) => trouble(world, [silence, gatewayDies, lossy, vanish]) },
  { name: 'renumbering', dual: 1, begin: (world) => trouble(world, [renumber, renumber, readdress, vanish, silence]) },
  { name: 'policies', traffic: 1, begin: (world) => trouble(world, [...FAULTS, switchOff]) },
  { name: 'returns', traffic: 1, begin: (world) => { repeat(world, 12_000, 18_000, () => leader(world)); trouble(world, [silence, cable]); } },
  { name: 'operator', begin: (world) => { repeat(world, 3000, 9000, () => order(world)); trouble(world, [silence, cable, gatewayDies]); } },
  { name: 'reloads', begin: (world) => { repeat(world, 3000, 9000, () => reload(world)); trouble(world, [silence, cable]); } },
  { name: 'restarts', gateways: 'given', begin: (world) => { repeat(world, 5000, 12_000, () => world.restart()); trouble(world, [silence, cable]); } },
  { name: 'flows', begin: (world) => { flow(world); trouble(world, FAULTS); } },
  { name: 'busy leaders', begin: (world) => { flow(world); repeat(world, 12_000, 15_000, () => leader(world)); } },
  { name: 'mute resolvers', begin: (world) => { flow(world); trouble(world, [hush, hush, silence, cable]); } },
  { name: 'bad lines', begin: (world) => { trouble(world, [worse, worse, sluggish, silence]); } },
  { name: 'full queues', fair: true, sensitivities: ['balanced', 'calm'], begin: (world) => repeat(world, 20_000, 30_000, () => upload(world)) },
  { name: 'portals', pages: true, begin: (world) => trouble(world, [capture, capture, silence, cable]) },
  { name: 'blind prober', fair: true, begin: (world) => { flow(world); repeat(world, 5000, 12_000, () => goBlind(world)); } },
  { name: 'suspended', fair: true, burst: 0, longerMs: 400_000, begin: (world) => { steady(world); repeat(world, 20_000, 30_000, () => world.starve(world.dice.pick([60_000, 120_000, 300_000]))); } },
  { name: 'outsiders', begin: (world) => { repeat(world, 3000, 7000, () => outsider(world)); trouble(world, [silence, cable]); } },
  { name: 'budgets', traffic: 1, budgets: true, begin: (world) => { flow(world); trouble(world, [silence, gatewayDies, cable]); } },
  { name: 'next door', begin: (world) => { nextDoor(world); trouble(world, [silence, silence, gatewayDies]); } },
  { name: 'hollow lines', longerMs: 120_000, begin: (world) => { hollow(world); trouble(world, [silence]); } },
  {
    name: 'foreign routes', dual: 0.5,
    begin: (world) => { world.isps.all.forEach((isp) => pin(world, isp)); repeat(world, 4000, 9000, () => killSwitch(world)); trouble(world, [silence, silence, gatewayDies, cable]); },
  },
];

type Fault = (world: World, port: Port, forMs: number) => void;

const silence: Fault = (world, port, forMs) => forAWhile(world, someOf(world, port), forMs, (isp) => { isp.upstreamUp = false; }, (isp) => { isp.upstreamUp = true; });
const gatewayDies: Fault = (world, port, forMs) => forAWhile(world, someOf(world, port), forMs, (isp) => { isp.gatewayUp = false; }, (isp) => { isp.gatewayUp = true; });
const lossy: Fault = (world, port, forMs) => forAWhile(world, someOf(world, port), forMs, (isp) => { isp.lossChance = world.dice.pick([0.05, 0.3, 0.8]); }, (isp) => { isp.lossChance = 0; });
const cable: Fault = (world, port, forMs) => {
  world.isps.touch(world.isps.on(port), () => world.kernel.cable(port.ifindex, false));
  later(world, forMs, () => world.isps.touch(world.isps.on(port), () => world.kernel.cable(port.ifindex, true)));
};
const flap: Fault = (world, port, forMs) => {
  const move = (plugged: boolean): void => world.isps.touch(world.isps.on(port), () => world.kernel.cable(port.ifindex, plugged));
  for (let t = 0; t < Math.min(forMs, 3000); t += 240) later(world, t, () => move((t / 240) % 2 === 1));
  later(world, Math.min(forMs, 3000) + 300, () => move(true));
};
const slower: Fault = (world, port, forMs) => {
  for (const isp of someOf(world, port)) {
    const { rttMs, jitterMs } = isp;
    isp.timeoutAtMostMs = isp.policy.probe.timeoutMaxMs;
    forAWhile(world, [isp], forMs, () => { isp.rttMs = rttMs * 3 + 40; isp.jitterMs = isp.rttMs * 0.4; }, () => { isp.rttMs = rttMs; isp.jitterMs = jitterMs; });
  }
};
const switchOff: Fault = (world, port, forMs) => world.switchOff(port, forMs);
const remake: Fault = (world, port, forMs) => world.remake(port, Math.min(forMs, 4000));
const readdress: Fault = (world, port, forMs) => world.readdress(world.dice.pick(world.isps.on(port)), Math.min(forMs, 4000));
/** A new address, and only then the old one goes. */
const renumber: Fault = (world, port, forMs) => world.renumber(world.dice.pick(world.isps.on(port)), Math.min(forMs, 4000));
/** The default that taught us a gateway goes for a while. */
const vanish: Fault = (world, port, forMs) => {
  const isp = world.dice.pick(world.isps.on(port));
  if (isp.policy.gateways[isp.family] !== 'auto') return;
  world.kernel.outside.deleteRoute(leased(isp));
  later(world, forMs, () => void world.kernel.outside.addRoute(leased(isp)));
};

/** It works, and half of all is lost. */
const worse: Fault = (world, port, forMs) => forAWhile(world, someOf(world, port), 2 * forMs, (isp) => { isp.lossChance = world.dice.pick([0.4, 0.6]); }, (isp) => { isp.lossChance = 0; });
/** It works, and all takes more than half a second. */
const sluggish: Fault = (world, port, forMs) => {
  for (const isp of someOf(world, port)) {
    const { rttMs } = isp;
    isp.timeoutAtMostMs = isp.policy.probe.timeoutMaxMs;
    forAWhile(world, [isp], 2 * forMs, () => { isp.rttMs = rttMs + 600; }, () => { isp.rttMs = rttMs; });
  }
};
/** The targets fall silent, and nothing else does. */
const hush: Fault = (world, port, forMs) => forAWhile(world, someOf(world, port).filter((isp) => beyond(isp).length > 0), 2 * forMs, (isp) => { isp.mutedTargets = true; }, (isp) => { isp.mutedTargets = false; });
const capture: Fault = (world, port, forMs) => forAWhile(world, world.isps.on(port), 2 * forMs, (isp) => { isp.portal = true; }, (isp) => { isp.portal = false; });

const FAULTS: readonly Fault[] = [silence, silence, gatewayDies, lossy, slower, cable, flap];

/** What breaks beyond the port breaks in one family, or in all. */
function someOf(world: World, port: Port): readonly Isp[] {
  const all = world.isps.on(port);
  return all.length === 1 || world.dice.chance(0.5) ? all : [world.dice.pick(all)];
}

/** One fault after the other on each uplink, with a breath between. */
function trouble(world: World, faults: readonly Fault[]): void {
  for (const port of world.isps.ports) {
    const next = (from: number): void => {
      const begin = from + world.dice.between(500, 12_000);
      const forMs = world.dice.pick([120, 700, 2500, 6000, 12_000]);
      if (begin + forMs > BEGIN_MS + TROUBLE_MS - 6000) return;
      world.agenda.at(world.agenda.now + begin, () => world.dice.pick(faults)(world, port, forMs));
      next(begin + forMs + 5000);
    };
    next(BEGIN_MS);
  }
}

/** Many gateways never answer, and some targets never do. */
function mute(world: World, isp: Isp): void {
  const { targets, quorum } = isp.policy.probe;
  const others = beyond(isp);
  // A gateway may be mute where it is not the only one to ask, a target where enough others are left.
  const mutes = [...(others.length > 0 && targets.length > quorum + 1 ? ['gateway'] : []), ...(others.length > quorum ? [others[others.length - 1]!.host] : [])];
  if (mutes.length > 0) world.isps.touch([isp], () => isp.deadHosts.add(world.dice.pick(mutes)));
}

/** At times we are starved just when it is noticed. */
function brief(world: World, port: Port, forMs: number): void {
  if (world.isps.on(port).some((isp) => isp.deadSince !== undefined)) return;
  world.dice.pick([silence, gatewayDies])(world, port, forMs);
  if (world.dice.chance(0.5)) later(world, forMs * world.dice.next(), () => world.starve(world.dice.pick([200, 2400])));
}

/** It dies, comes back, and stutters before it has proved itself. */
function relapse(world: World, port: Port): void {
  const { probe, health } = port.policy;
  cable(world, port, 1000);
  const upMs = 1400 + health.up.successes * probe.intervalMs;
  later(world, upMs + world.dice.between(0, 2000), () => silence(world, port, 600 + health.suspect.failures * probe.intervalMs));
}

/** Whoever leads falls silent, while the others are well. */
function leader(world: World): void {
  const leading = defaultsIn(world.kernel.truth(), ACTIVE_TABLE, world.dice.pick([...world.process.state.planes.keys()]))[0];
  const port = world.isps.ports.find((other) => other.ifindex === leading?.hops[0]?.ifindex);
  if (port !== undefined) world.dice.pick([silence, gatewayDies, cable])(world, port, world.dice.between(300, 10_000));
}

/** A fault of all, or of the targets: the same to us. */
function eclipse(world: World, forMs: number): void {
  forAWhile(world, world.isps.all, forMs, (isp) => { isp.upstreamUp = false; }, (isp) => { isp.upstreamUp = true; });
}

/** Where a missed reply is believed, answers have to come evenly. */
function steady(world: World): void {
  for (const isp of world.isps.all) isp.jitterMs = 0;
}

/** Connections of the LAN go by every line, and stay. */
function flow(world: World): void {
  world.isps.touch(world.isps.all, () => world.isps.all.forEach((isp) => { isp.flowPerS = world.dice.pick([0, 20, 200, 1000]); }));
}

/** Behind one line after the other there is nothing for a while, and its targets answer all the same. */
function hollow(world: World): void {
  const { dice, isps, agenda } = world;
  isps.touch(isps.all, () => isps.all.forEach((isp) => { isp.flowPerS = dice.pick([20, 100, 400]); }));
  const isp = dice.pick(isps.all);
  const since = agenda.now + BEGIN_MS + TROUBLE_MS;
  later(world, BEGIN_MS + TROUBLE_MS, () => isps.touch([isp], () => { isp.hollowSince = since; }));
}

/** The LAN is busy with a box beside the gateway, and some of what it asks for is kept in the provider's own house: both go on when the rest is dead. */
function nextDoor(world: World): void {
  const { dice, isps } = world;
  isps.touch(isps.all, () => isps.all.forEach((isp) => { Object.assign(isp, { flowPerS: dice.pick([0, 100, 400]), nearPerS: dice.pick([100, 400]), cached: dice.whole(0, 3) }); }));
}

/** Connections fill the line, and its queue. */
function upload(world: World): void {
  const isp = world.dice.pick(world.isps.all);
  if (isp.flowPerS > 0) return;
  const { rttMs } = isp;
  const bloat = (moreMs: number): void => { isp.rttMs = rttMs + moreMs; };
  isp.timeoutAtMostMs = isp.policy.probe.timeoutMaxMs;
  isp.flowPerS = 800;
  for (let i = 1; i <= 20; i++) later(world, i * 100, () => bloat(20 * i));
  later(world, 15_000, () => {
    isp.rttMs = rttMs;
    isp.flowPerS = 0;
  });
}

function goBlind(world: World): void {
  world.isps.blind = true;
  later(world, world.dice.pick([200, 1500, 4000]), () => { world.isps.blind = false; });
}

function outsider(world: World): void {
  const { dice } = world;
  const { name } = dice.pick(world.policy.uplinks);
  world.verdict(name, dice.pick(['noc', 'monitor']), dice.pick(['down', 'down', 'up', undefined]), dice.between(300, 8000));
}

function meddle(world: World, kernel: ShakyKernel): void {
  const { dice } = world;
  const { routes, rules } = kernel.truth();
  const ours = (route: Route): boolean => route.protocol === OUR_PROTOCOL;
  const isp = dice.pick(world.isps.all);
  const guest = foreignDefault(world.policy.uplinks[0]!.name as LineName, dice.pick([0, 20, 30, 31, 100]), { family: isp.family, protocol: 4 });
  switch (dice.whole(0, 6)) {
    case 0: return void kernel.outside.deleteRoute(dice.pick(routes));
    case 1: return routes.filter((route) => ours(route) && route.table === MAIN_TABLE).forEach((route) => kernel.outside.deleteRoute(route));
    case 2: return routes.filter(ours).forEach((route) => kernel.outside.deleteRoute(route));
    case 3: return rules.length === 0 ? undefined : void kernel.outside.deleteRule(dice.pick(rules));
    case 4: return void kernel.outside.addRoute({ ...guest, hops: [{ ...guest.hops[0]!, ifindex: world.isps.ports[0]!.ifindex }] });
    case 5: return routes.filter((route) => route.protocol === 4).forEach((route) => kernel.outside.deleteRoute(route));
    case 6: return isp.policy.gateways[isp.family] === 'auto' ? void kernel.outside.deleteRoute(leased(isp)) : undefined;
  }
}

/** Something beyond the line that is reached by it and by no other, as networkd, OpenVPN and DHCP option 121 have it. */
function pin({ kernel }: World, isp: Isp): void {
  const host = isp.ifindex % 100;
  const destination = isp.family === 4 ? `192.88.99.${host}/32` : `2001:db8:ffff::${host}/128`;
  kernel.outside.addRoute({ ...leased(isp), destination, metric: isp.family === 4 ? host % 2 : 1024, protocol: 16 });
}

/** Somebody wants nothing to leave by main, for a while. */
function killSwitch(world: World): void {
  const { dice, kernel } = world;
  const isp = dice.pick(world.isps.all);
  const { refuses } = dice.pick([{ refuses: 'blackhole' }, { refuses: 'prohibit' }, { refuses: undefined }] as const);
  const metric = isp.family === 4 ? dice.pick([0, 1, 20]) : dice.pick([5, 20]);
  const route: Route = { ...leased(isp), hops: [], metric, protocol: 4, ...(refuses === undefined ? {} : { refuses }) };
  if (kernel.outside.addRoute(route) === '') later(world, dice.between(500, 3000), () => void kernel.outside.deleteRoute(route));
}

function deleteLeading(kernel: ShakyKernel): void {
  const leading = defaultsIn(kernel.truth(), ACTIVE_TABLE, 4)[0];
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
  if (world.policy.policies.length > 0 && dice.chance(0.5)) return world.reload((policy) => ({ ...policy, policies: drawPolicies(dice, policy.uplinks.map(({ name }) => name)) }));
  const edited = dice.pick(world.policy.uplinks).name;
  const priority = dice.whole(1, 4);
  const weight = dice.whole(1, 3);
  world.reload((policy) => ({ ...policy, uplinks: policy.uplinks.map((uplink) => (uplink.name === edited ? { ...uplink, priority, weight } : uplink)) }));
}

function forAWhile(world: World, isps: readonly Isp[], forMs: number, begin: (isp: Isp) => void, end: (isp: Isp) => void): void {
  world.isps.touch(isps, () => isps.forEach(begin));
  later(world, forMs, () => world.isps.touch(isps, () => isps.forEach(end)));
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
