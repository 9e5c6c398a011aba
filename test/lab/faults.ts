/**
 * Everything that may befall an uplink, as verbs (what other programs do to the router is in foreign.ts). Each returns when the kernel has done it, with the instants before and after.
 *
 *   cutCable       carrier is lost at the router's end (the ISP's end of the veth is set down)
 *   gatewayDead    carrier stays; the ISP's box answers nothing at all, not even ARP, and forwards nothing
 *   upstreamDead   the gateway still answers; everything beyond it is dropped without a word, both ways
 *   loss           so many per cent of the packets get lost on the way up (default) or down
 *   heal           ends any of the above, and gives a deleted interface back
 *
 * Faults of different kinds add up on one line; a second dead-verb replaces the first. All but loss (nft, about 30 ms) take less than 1 ms.
 */
import type { Anchor } from './anchor.js';
import { RULE_BEFORE_LOCAL, RULE_BEHIND_LOCAL, ispRules, layCable, returnRoutes } from './build.js';
import { stamped } from './ip-batch.js';
import type { Applied } from './ip-batch.js';
import { cableOf, prefixLengthOf } from './topology.js';
import type { Cable, Isp, Topology } from './topology.js';

export type { Applied } from './ip-batch.js';

export interface NewAddress {
  readonly router: string;
  /** With `gateway` for a line that moves to another network. */
  readonly prefix?: string;
  readonly gateway?: string;
}

export interface Faults {
  /** The lines as they are now: addresses change, interfaces get new indexes. */
  isps(): readonly Isp[];
  /** @throws Error for a name that the topology does not have */
  isp(name: string): Isp;
  cutCable(isp: string): Promise<Applied>;
  plugCable(isp: string): Promise<Applied>;
  gatewayDead(isp: string): Promise<Applied>;
  upstreamDead(isp: string): Promise<Applied>;
  loss(isp: string, percent: number, direction?: 'up' | 'down'): Promise<Applied>;
  heal(isp: string): Promise<Applied>;
  /** Every ISP loses its upstream within about 1 ms. */
  allDead(): Promise<Applied>;
  allBack(): Promise<Applied>;
  /** Pulls the cable of an unused port; the next call puts it back, and so on: one link event each. */
  flipPort(spare?: number): Promise<Applied>;
  deleteInterface(isp: string): Promise<Applied>;
  /** Under another ifindex, same name, MAC and address; its routes and sysctls do not come back by themselves. */
  recreateInterface(isp: string): Promise<Applied>;
  /** What a DHCP client does for a new lease: delete the old address, add the new one. With the old one the kernel drops every route of the device. */
  changeAddress(isp: string, to: NewAddress): Promise<Applied>;
}

interface Line {
  isp: Isp;
  cable: Cable;
  cut: boolean;
  deleted: boolean;
  dead: 'no' | 'gateway' | 'upstream';
  lossy: boolean;
}

export function createFaults(anchor: Anchor, topology: Topology, ip: (host: string, ...commands: readonly string[]) => Promise<Applied>): Faults {
  const lines = new Map(topology.isps.map((isp): [string, Line] => [isp.name, { isp, cable: isp.cable, cut: false, deleted: false, dead: 'no', lossy: false }]));
  const pulledSpares = new Set<number>();
  let nextIndex = topology.nextIndex;
  const line = (name: string): Line => {
    const found = lines.get(name);
    if (found === undefined) throw new Error(`the lab has no ISP "${name}"; it has ${[...lines.keys()].join(', ')}`);
    return found;
  };

  const plug = async (name: string, plugged: boolean): Promise<Applied> => {
    line(name).cut = !plugged;
    return ip(name, `link set line ${plugged ? 'up' : 'down'}`);
  };
  const kill = async (name: string, dead: Line['dead']): Promise<Applied> => {
    const one = line(name);
    if (one.dead === dead) return ip(name);
    const revive = deadRules(one.dead).map((rule) => `rule del ${rule}`);
    const strike = deadRules(dead).map((rule) => `rule add ${rule}`);
    one.dead = dead;
    return ip(name, ...strike, ...revive);
  };
  const recreate = async (name: string): Promise<Applied> => {
    const one = line(name);
    const { device } = one.isp;
    one.cable = replaced(cableOf(nextIndex++, topology.indexEqual, ['router', device], [name, 'line']), one.cable);
    one.deleted = false;
    one.cut = false;
    const laid = await ip('router', ...layCable(one.cable));
    await ip(name, `addr add ${one.isp.gateway}/${one.isp.prefixLength} dev line`, 'link set line up');
    const addressed = await ip('router', `addr add ${one.isp.router}/${one.isp.prefixLength} dev ${device}`, `link set ${device} up`);
    return { beganAt: laid.beganAt, doneAt: addressed.doneAt };
  };
  const heal = async (name: string): Promise<Applied> => {
    const one = line(name);
    const done: Applied[] = [];
    if (one.deleted) done.push(await recreate(name));
    if (one.cut) done.push(await plug(name, true));
    if (one.lossy) done.push(await stamped(() => anchor.text(name, ['nft', 'flush', 'chain', 'ip', 'lab', 'loss'])));
    one.lossy = false;
    done.push(await kill(name, 'no'));
    return span(done);
  };

  return {
    isps: () => [...lines.values()].map((one) => one.isp),
    isp: (name) => line(name).isp,
    cutCable: async (name) => plug(name, false),
    plugCable: async (name) => plug(name, true),
    gatewayDead: async (name) => kill(name, 'gateway'),
    upstreamDead: async (name) => kill(name, 'upstream'),
    async loss(name, percent, direction = 'up') {
      line(name).lossy = true;
      const rule = `add rule ip lab loss iifname "${direction === 'up' ? 'line' : 'core'}" numgen random mod 1000 < ${Math.round(percent * 10)} drop`;
      return stamped(() => anchor.text(name, ['nft', '-f', '-'], `flush chain ip lab loss\n${percent > 0 ? rule : ''}\n`));
    },
    heal,
    allDead: async () => span(await Promise.all([...lines.keys()].map((name) => kill(name, 'upstream')))),
    allBack: async () => span(await Promise.all([...lines.keys()].map(heal))),
    async flipPort(spare = 0) {
      const device = topology.spares[spare];
      if (device === undefined) throw new Error(`the router has no spare port ${spare}; openLab({ spares: ${spare + 1} }) gives it one`);
      const pulled = pulledSpares.has(spare);
      if (pulled) pulledSpares.delete(spare);
      else pulledSpares.add(spare);
      return ip('shed', `link set ${device} ${pulled ? 'up' : 'down'}`);
    },
    async deleteInterface(name) {
      line(name).deleted = true;
      return ip('router', `link del ${line(name).isp.device}`);
    },
    recreateInterface: recreate,
    changeAddress: async (name, to) => move(anchor, ip, line(name), to),
  };
}

/** The rules that make an ISP's box dead. A blackhole by rule says nothing to anybody; a blackhole before the local table stops ARP replies as well. */
function deadRules(dead: Line['dead']): readonly string[] {
  switch (dead) {
    case 'no':
      return [];
    case 'gateway':
      return [`pref ${RULE_BEFORE_LOCAL} iif line blackhole`, `pref ${RULE_BEFORE_LOCAL} iif core blackhole`];
    case 'upstream':
      return [`pref ${RULE_BEHIND_LOCAL} iif line blackhole`, `pref ${RULE_BEHIND_LOCAL} iif core blackhole`];
  }
}

/** A new cable in the old one's place: the MACs belong to the boxes. */
function replaced(fresh: Cable, old: Cable): Cable {
  return { near: { ...fresh.near, mac: old.near.mac }, far: { ...fresh.far, mac: old.far.mac } };
}

async function move(anchor: Anchor, ip: (host: string, ...commands: readonly string[]) => Promise<Applied>, line: Line, to: NewAddress): Promise<Applied> {
  const old = line.isp;
  const prefix = to.prefix ?? old.prefix;
  const isp: Isp = { ...old, router: to.router, prefix, prefixLength: prefixLengthOf(prefix), gateway: to.gateway ?? old.gateway };
  line.isp = isp;
  if (isp.gateway !== old.gateway || isp.prefix !== old.prefix) {
    await ip(isp.name, `addr add ${isp.gateway}/${isp.prefixLength} dev line`, `addr del ${old.gateway}/${old.prefixLength} dev line`);
    await ip('internet', ...returnRoutes(isp));
    await anchor.text(isp.name, ['nft', '-f', '-'], ispRules(isp));
    line.lossy = false;
  }
  return ip('router', `addr del ${old.router}/${old.prefixLength} dev ${old.device}`, `addr add ${isp.router}/${isp.prefixLength} dev ${isp.device}`);
}

function span(all: readonly Applied[]): Applied {
  return { beganAt: Math.min(...all.map((one) => one.beganAt)), doneAt: Math.max(...all.map((one) => one.doneAt)) };
}
