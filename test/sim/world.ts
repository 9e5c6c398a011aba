/**
 * One simulated router: a policy, a shaky kernel, its ISPs, the daemon's loop around the real core; and the verbs by which things go
 * wrong. Everything is drawn from one seed.
 */
import { OUR_PROTOCOL } from '../../src/core/layout.js';
import { openState } from '../../src/core/state.js';
import type { Address, Effect, Event, Family, Instant, KernelFacts, OutsideVerdict, Override, Policy, Route } from '../../src/model.js';
import { linkOf, type LineName } from '../core/fixture.js';
import { openAgenda, type Agenda } from './agenda.js';
import { openDice, type Dice } from './dice.js';
import { leased, lineParts, openIsps, type Isp, type Isps, type Port } from './isps.js';
import { openProcess, type Process } from './process.js';
import { openShakyKernel, type ShakyKernel } from './shaky-kernel.js';

export interface World {
  readonly policy: Policy;
  readonly agenda: Agenda;
  readonly dice: Dice;
  readonly kernel: ShakyKernel;
  readonly isps: Isps;
  /** The daemon that runs now. */
  readonly process: Process;
  /** When the daemon was started; Infinity while none runs. */
  readonly startedAt: number;
  /** When somebody else last laid hands on routes or rules. */
  readonly foreignAt: number;
  /** Until when the daemon was last starved. */
  readonly starvedAt: number;
  /** Called before each step of the core, and when all that an event set off at once has been carried out. */
  beforeTurn: (event: Event) => void;
  onSettled: () => void;
  /** Called after each step of the core. */
  onTurn: (event: Event, effects: readonly Effect[], wakeAt: number) => void;
  restart(): void;
  /** The operator edits the config; the uplinks stay the same ones. */
  reload(edit: (policy: Policy) => Policy): void;
  starve(forMs: number): void;
  override(order: Pick<Override, 'uplink' | 'ifDead'> & { readonly forMs?: number; readonly confirmMs?: number }): void;
  clear(): void;
  /** Somebody outside says so; undefined = has nothing to say any more. */
  verdict(uplink: string, by: string, state: OutsideVerdict['state'] | undefined, forMs: number): void;
  confirm(): void;
  switchOff(port: Port, forMs: number): void;
  remake(port: Port, afterMs: number): void;
  readdress(isp: Isp, afterMs: number): void;
  /** The new address comes first, the old one goes after so long. */
  renumber(isp: Isp, afterMs: number): void;
  foreignHand(act: (kernel: ShakyKernel) => void): void;
}

/** What is drawn from the seed before anything else. */
export interface Draw {
  readonly policy: Policy;
  /** Uplinks that have IPv6, too. */
  readonly six: readonly string[];
}

export function openWorld(seed: number, { policy: firstPolicy, six }: Draw): World {
  let policy = firstPolicy;
  const agenda = openAgenda(1000 + (seed % 997) / 7);
  const dice = openDice(seed);
  const ports = policy.uplinks.map((uplink): Port => ({ policy: uplink, ifindex: linkOf(uplink.name as LineName).index, families: six.includes(uplink.name) ? [4, 6] : [4] }));
  const kernel = openShakyKernel(seedFacts(ports), agenda, dice);
  const isps = openIsps(ports, kernel, agenda, dice);
  for (const isp of isps.all) if (isp.policy.gateways[isp.family] === 'auto') kernel.outside.addRoute(leased(isp));
  let saved: Override | undefined;
  let startedAt = agenda.now;
  let foreignAt = -Infinity;
  let starvedAt = -Infinity;
  let process = open();

  function open(): Process {
    startedAt = agenda.now;
    const state = openState(policy, agenda.now as Instant);
    state.override = saved;
    return openProcess(state, {
      agenda, dice, kernel: kernel.door, bind: isps.bind, send: isps.send, count: isps.count,
      save: (override) => {
        saved = override;
      },
      observer: { before: (event) => world.beforeTurn(event), after: (event, { effects, wakeAt }) => turned(event, effects, wakeAt), settled: () => world.onSettled() },
    });
  }

  function turned(event: Event, effects: readonly Effect[], wakeAt: number): void {
    for (const effect of effects) if (effect.type === 'host') isps.touch([], () => { isps.near = effect.wish.nat.near; });
    world.onTurn(event, effects, wakeAt);
  }

  const later = (ms: number, run: () => void): void => agenda.at(agenda.now + ms, run);
  /** A new lease or advertisement: address, then the default that comes with it. */
  const lease = (isp: Isp, addresses: readonly Address[]): void => {
    isps.touch([isp], () => addresses.forEach((address) => kernel.outside.addAddress(address)));
    if (isp.policy.gateways[isp.family] === 'auto') later(20, () => isps.touch([isp], () => void kernel.outside.addRoute(leased(isp))));
  };
  const addressOf = (isp: Isp): Address | undefined => kernel.truth().addresses.find((other) => other.ifindex === isp.ifindex && other.family === isp.family && other.scope === 0);
  const another = (old: Address): Address => ({ ...old, address: old.address.replace(/[\da-f]+$/, String(dice.whole(10, 250))) });
  const leaseAll = (port: Port, families: readonly Family[]): void => {
    const { addresses } = lineParts(port);
    for (const isp of isps.on(port)) if (families.includes(isp.family)) lease(isp, addresses.filter((address) => address.family === isp.family));
  };

  const world: World = {
    agenda, dice, kernel, isps, onTurn: () => undefined, beforeTurn: () => undefined, onSettled: () => undefined,
    get policy() { return policy; },
    get process() { return process; },
    get startedAt() { return startedAt; },
    get foreignAt() { return foreignAt; },
    get starvedAt() { return starvedAt; },
    restart() {
      process.kill();
      isps.bind([]);
      startedAt = Infinity;
      later(dice.between(5, 2000), () => {
        process = open();
        process.start();
      });
    },
    reload(edit) {
      policy = edit(policy);
      isps.touch(isps.all, () => ports.forEach((port) => { port.policy = policy.uplinks.find((uplink) => uplink.name === port.policy.name)!; }));
      process.arrive((daemon) => void daemon.reload(policy));
    },
    starve(forMs) {
      process.starve(forMs);
      starvedAt = Math.max(starvedAt, agenda.now + forMs);
    },
    override({ uplink, ifDead, forMs, confirmMs }) {
      process.arrive((daemon) => void daemon.override({ uplink, ifDead, forMs, confirmMs, reason: 'a test', by: 'noc' }));
    },
    clear: () => process.arrive((daemon) => void daemon.clear('sim')),
    verdict(uplink, by, state, forMs) {
      const concerned = isps.all.filter((isp) => isp.policy.name === uplink);
      const told = {};
      isps.touch(concerned, () => concerned.forEach((isp) => (state === 'down' ? isp.condemnedBy.set(by, told) : isp.condemnedBy.delete(by))));
      later(forMs, () => isps.touch(concerned, () => concerned.forEach((isp) => isp.condemnedBy.get(by) === told && isp.condemnedBy.delete(by))));
      process.arrive((daemon) => void (state === undefined ? daemon.withdraw(uplink, by) : daemon.verdict({ uplink, state, by, because: 'seen from outside', forMs })));
    },
    confirm: () => process.arrive((daemon) => void daemon.confirm('sim')),
    switchOff(port, forMs) {
      const { link } = lineParts(port);
      isps.touch(isps.on(port), () => kernel.outside.setLink({ ...link, adminUp: false, carrier: false }));
      later(forMs, () => {
        isps.touch(isps.on(port), () => kernel.outside.setLink({ ...link, carrier: kernel.isPlugged(link.index) }));
        // The kernel keeps IPv4 addresses over that, and no IPv6 ones.
        later(dice.between(1, 500), () => leaseAll(port, [6]));
      });
    },
    remake(port, afterMs) {
      isps.touch(isps.on(port), () => kernel.outside.deleteLink(port.ifindex));
      later(afterMs, () => {
        port.ifindex += 100;
        isps.touch(isps.on(port), () => kernel.outside.setLink(lineParts(port).link));
        later(dice.between(1, 500), () => leaseAll(port, [4, 6]));
      });
    },
    readdress(isp, afterMs) {
      const old = addressOf(isp);
      if (old === undefined) return;
      isps.touch([isp], () => kernel.outside.deleteAddress(old));
      later(afterMs, () => lease(isp, [another(old)]));
    },
    renumber(isp, afterMs) {
      const old = addressOf(isp);
      if (old === undefined) return;
      lease(isp, [another(old)]);
      later(afterMs, () => isps.touch([isp], () => kernel.outside.deleteAddress(old)));
    },
    foreignHand(act) {
      foreignAt = agenda.now;
      act(kernel);
    },
  };
  return world;
}

/** Our defaults in a table that steers, as the kernel has them, the leading one first. */
export function defaultsIn(facts: Pick<KernelFacts, 'routes'>, table: number, family: Family): readonly Route[] {
  const routes = facts.routes.filter((route) => route.family === family && route.table === table && route.destination === 'default' && route.protocol === OUR_PROTOCOL);
  return routes.sort((a, b) => a.metric - b.metric);
}

function seedFacts(ports: readonly Port[]): KernelFacts {
  const parts = ports.map(lineParts);
  return { links: parts.map((p) => p.link), addresses: parts.flatMap((p) => p.addresses), routes: [], rules: [], foreignDefaults: [], foreignRoutes: [] };
}
