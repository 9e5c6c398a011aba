/**
 * One simulated router: a policy, a shaky kernel, its ISPs, the daemon's loop around the real core; and the verbs by which things go
 * wrong. Everything is drawn from one seed.
 */
import { ACTIVE_TABLE, MAIN_TABLE, OUR_PROTOCOL } from '../../src/core/layout.js';
import { openState } from '../../src/core/state.js';
import type { Effect, Event, Instant, KernelFacts, Override, Policy, Route, UplinkPolicy } from '../../src/model.js';
import { linkOf, type LineName } from '../core/fixture.js';
import { openAgenda, type Agenda } from './agenda.js';
import { openDice, type Dice } from './dice.js';
import { leased, lineParts, openIsps, type Isp, type Isps } from './isps.js';
import { openLoop, type Loop } from './loop.js';
import { openShakyKernel, type ShakyKernel } from './shaky-kernel.js';

export interface World {
  readonly policy: Policy;
  readonly agenda: Agenda;
  readonly dice: Dice;
  readonly kernel: ShakyKernel;
  readonly isps: Isps;
  /** The daemon that runs now. */
  readonly loop: Loop;
  /** When the daemon was started; Infinity while none runs. */
  readonly startedAt: number;
  /** When somebody else last laid hands on routes or rules. */
  readonly foreignAt: number;
  /** Until when the daemon was last starved. */
  readonly starvedAt: number;
  /** Called after each step of the core. */
  onTurn: (event: Event, effects: readonly Effect[], wakeAt: number) => void;
  restart(): void;
  /** The operator edits the config. */
  reload(edit: (uplink: UplinkPolicy) => UplinkPolicy): void;
  starve(forMs: number): void;
  override(order: Pick<Override, 'uplink' | 'ifDead'> & { readonly forMs?: number; readonly confirmMs?: number }): void;
  clear(): void;
  confirm(): void;
  switchOff(isp: Isp, forMs: number): void;
  remake(isp: Isp, afterMs: number): void;
  readdress(isp: Isp, afterMs: number): void;
  foreignHand(act: (kernel: ShakyKernel) => void): void;
}

export function openWorld(seed: number, firstPolicy: Policy): World {
  let policy = firstPolicy;
  const agenda = openAgenda(1000 + (seed % 997) / 7);
  const dice = openDice(seed);
  const kernel = openShakyKernel(seedFacts(policy), agenda, dice);
  const isps = openIsps(policy.uplinks, kernel, agenda, dice);
  for (const isp of isps.all) if (isp.policy.gateway === 'auto') kernel.outside.addRoute(leased(isp));
  let saved: Override | undefined;
  let startedAt = agenda.now;
  let foreignAt = -Infinity;
  let starvedAt = -Infinity;
  let loop = open();

  function open(): Loop {
    startedAt = agenda.now;
    const state = openState(policy, agenda.now as Instant);
    state.override = saved;
    return openLoop(state, {
      agenda, dice, kernel: kernel.door, bind: isps.bind, send: isps.send,
      save: (override) => {
        saved = override;
      },
      turned: (event, effects, wakeAt) => world.onTurn(event, effects, wakeAt),
    });
  }

  const later = (ms: number, run: () => void): void => agenda.at(agenda.now + ms, run);
  /** A new lease: address, then the default of the DHCP client. */
  const lease = (isp: Isp, change: () => void): void => {
    isps.touch(isp, change);
    if (isp.policy.gateway === 'auto') later(20, () => isps.touch(isp, () => void kernel.outside.addRoute(leased(isp))));
  };

  const world: World = {
    agenda, dice, kernel, isps, onTurn: () => undefined,
    get policy() { return policy; },
    get loop() { return loop; },
    get startedAt() { return startedAt; },
    get foreignAt() { return foreignAt; },
    get starvedAt() { return starvedAt; },
    restart() {
      loop.kill();
      isps.bind([]);
      startedAt = Infinity;
      later(dice.between(5, 2000), () => {
        loop = open();
        loop.start();
      });
    },
    reload(edit) {
      policy = { ...policy, uplinks: policy.uplinks.map(edit) };
      for (const isp of isps.all) isps.touch(isp, () => { isp.policy = policy.uplinks.find((uplink) => uplink.name === isp.policy.name)!; });
      loop.arrive((at) => ({ type: 'policy', at, policy }));
    },
    starve(forMs) {
      loop.starve(forMs);
      starvedAt = Math.max(starvedAt, agenda.now + forMs);
    },
    override({ uplink, ifDead, forMs, confirmMs }) {
      loop.ask((at, token) => {
        const after = (ms: number | undefined): Instant | undefined => (ms === undefined ? undefined : ((at + ms) as Instant));
        const override = { uplink, ifDead, until: after(forMs), confirmBy: after(confirmMs), reason: 'a test', by: 'noc', since: at };
        return { type: 'override', at, by: 'sim', token, override };
      });
    },
    clear: () => loop.ask((at, token) => ({ type: 'override', at, by: 'sim', token, override: undefined })),
    confirm: () => loop.ask((at, token) => ({ type: 'confirm', at, by: 'sim', token })),
    switchOff(isp, forMs) {
      const { link } = lineParts(isp);
      isps.touch(isp, () => kernel.outside.setLink({ ...link, adminUp: false, carrier: false }));
      later(forMs, () => isps.touch(isp, () => kernel.outside.setLink({ ...link, carrier: kernel.isPlugged(link.index) })));
    },
    remake(isp, afterMs) {
      isps.touch(isp, () => kernel.outside.deleteLink(isp.ifindex));
      later(afterMs, () => {
        isp.ifindex += 100;
        const parts = lineParts(isp);
        isps.touch(isp, () => kernel.outside.setLink(parts.link));
        later(dice.between(1, 500), () => lease(isp, () => kernel.outside.addAddress(parts.address)));
      });
    },
    readdress(isp, afterMs) {
      const { address } = lineParts(isp);
      const old = kernel.truth().addresses.find((other) => other.ifindex === isp.ifindex);
      if (old === undefined) return;
      isps.touch(isp, () => kernel.outside.deleteAddress(old));
      later(afterMs, () => lease(isp, () => kernel.outside.addAddress({ ...address, address: address.address.replace(/\d+$/, String(dice.whole(10, 250))) })));
    },
    foreignHand(act) {
      foreignAt = agenda.now;
      act(kernel);
    },
  };
  return world;
}

/** Our defaults in a table that steers, as the kernel has them, the leading one first. */
export function defaultsIn(facts: Pick<KernelFacts, 'routes'>, table: typeof ACTIVE_TABLE | typeof MAIN_TABLE): readonly Route[] {
  const routes = facts.routes.filter((route) => route.table === table && route.destination === 'default' && route.protocol === OUR_PROTOCOL);
  return routes.sort((a, b) => a.metric - b.metric);
}

function seedFacts(policy: Policy): KernelFacts {
  const parts = policy.uplinks.map((uplink) => lineParts({ policy: uplink, ifindex: linkOf(uplink.name as LineName).index }));
  return { links: parts.map((p) => p.link), addresses: parts.map((p) => p.address), routes: [], rules: [], foreignDefaults: [] };
}
