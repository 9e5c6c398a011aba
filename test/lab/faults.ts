/**
 * Everything that may befall an uplink, as verbs (what other programs do to the router is in foreign.ts). Each returns when the kernel has done it, with the instants before and after.
 *
 *   cutCable       carrier is lost at the router's end (the ISP's end of the veth is set down)
 *   gatewayDead    carrier stays; the ISP's box answers nothing at all, not even ARP, and forwards nothing
 *   upstreamDead   the gateway still answers; everything beyond it is dropped without a word, both ways
 *   loss           so many per cent of the packets get lost on the way up (default) or down
 *   hiccup         the upstream is dead for so long, and then as it was
 *   heal           ends any of the above and all troubles (troubles.ts), and gives a deleted interface back
 *
 * Faults of different kinds add up on one line; a second dead-verb replaces the first. All but loss (nft, about 30 ms) take less than 1 ms.
 * In a lab with IPv6 they hit both families, or one on wish; a cable has none.
 */
import type { Family } from '../../src/model.js';
import type { Anchor } from './anchor.js';
import { RULE_BEFORE_LOCAL, RULE_BEHIND_LOCAL, ispLine, ispRules, layCable, returnRoutes, routerLine } from './build.js';
import { stamped } from './ip-batch.js';
import type { Applied } from './ip-batch.js';
import { cableOf, prefixLengthOf } from './topology.js';
import type { Cable, Isp, Topology } from './topology.js';
import type { Troubles } from './troubles.js';
import type { Wire } from './tun.js';
import { until } from './wait.js';

export type { Applied } from './ip-batch.js';

export interface NewAddress {
  readonly router: string;
  /** With `gateway` for a line that moves to another network. */
  readonly prefix?: string;
  readonly gateway?: string;
}

export interface NewNetwork {
  readonly prefix?: string;
  readonly gateway?: string;
  /** Of IPv6, /64; the gateway keeps its link-local address. */
  readonly prefix6?: string;
  /** What is routed to the router from now on, in place of what was. */
  readonly delegated6?: string;
}

export interface OneFamily {
  /** Default: all that the lab has. */
  readonly family?: Family;
}

export interface Hands {
  readonly ip: (host: string, ...commands: readonly string[]) => Promise<Applied>;
  /** `ip -6`: rules are of IPv4 unless told. */
  readonly ip6: Hands['ip'];
  /** To be called where devices were made anew: `ip` remembers indexes by name. */
  readonly renewed: (...hosts: readonly string[]) => Promise<void>;
  readonly wires: ReadonlyMap<string, Wire>;
  readonly troubles: Pick<Troubles, 'endAll'>;
}

export interface Faults {
  /** The lines as they are now: addresses change, interfaces get new indexes. */
  isps(): readonly Isp[];
  /** @throws Error for a name that the topology does not have */
  isp(name: string): Isp;
  cutCable(isp: string): Promise<Applied>;
  plugCable(isp: string): Promise<Applied>;
  gatewayDead(isp: string, of?: OneFamily): Promise<Applied>;
  upstreamDead(isp: string, of?: OneFamily): Promise<Applied>;
  /** Resolves when it is over. */
  hiccup(isp: string, ms: number, of?: OneFamily): Promise<Applied>;
  loss(isp: string, percent: number, direction?: 'up' | 'down', of?: OneFamily): Promise<Applied>;
  /** With a family: ends only what befell that family alone. */
  heal(isp: string, of?: OneFamily): Promise<Applied>;
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
  /** The provider moves the line to another network; the router is not told, and its old addresses are spoofed ones from now on. */
  renumberIsp(isp: string, to: NewNetwork): Promise<Applied>;
}

type Death = 'no' | 'gateway' | 'upstream';

interface Line {
  isp: Isp;
  cut: boolean;
  deleted: boolean;
  dead: Readonly<Record<Family, Death>>;
  lossy: boolean;
}

export function createFaults(anchor: Anchor, topology: Topology, { ip, ip6, renewed, wires, troubles }: Hands): Faults {
  const lines = new Map(topology.isps.map((isp): [string, Line] => [isp.name, { isp, cut: false, deleted: false, dead: { 4: 'no', 6: 'no' }, lossy: false }]));
  const families: readonly Family[] = topology.ipv6 ? [4, 6] : [4];
  const pulledSpares = new Set<number>();
  let nextIndex = topology.nextIndex;
  const line = (name: string): Line => {
    const found = lines.get(name);
    if (found === undefined) throw new Error(`the lab has no ISP "${name}"; it has ${[...lines.keys()].join(', ')}`);
    return found;
  };

  const plug = async (name: string, plugged: boolean): Promise<Applied> => {
    const one = line(name);
    one.cut = !plugged;
    const wire = wires.get(name);
    if (wire !== undefined) return wire.carrier(plugged);
    return plugged ? ip(name, ...ispLine(one.isp)) : ip(name, 'link set line down');
  };
  const kill = async (name: string, death: Death, of: readonly Family[]): Promise<Applied> => {
    const one = line(name);
    const former = one.dead;
    one.dead = { ...former, ...Object.fromEntries(of.map((family) => [family, death])) };
    const changed = of.filter((family) => former[family] !== death);
    if (changed.length === 0) return ip(name);
    return span(await Promise.all(changed.map(async (family) => {
      const [strike, revive] = [deadRules(death).map((rule) => `rule add ${rule}`), deadRules(former[family]).map((rule) => `rule del ${rule}`)];
      return (family === 4 ? ip : ip6)(name, ...strike, ...revive);
    })));
  };
  const recreate = async (name: string): Promise<Applied> => {
    const one = line(name);
    one.deleted = false;
    one.cut = false;
    const wire = wires.get(name);
    const made = wire === undefined ? await relay(name, one) : await wire.dial();
    await renewed('router');
    const addressed = await ip('router', ...routerLine(one.isp));
    return { beganAt: made.beganAt, doneAt: addressed.doneAt };
  };
  const relay = async (name: string, one: Line): Promise<Applied> => {
    const cable = replaced(cableOf(nextIndex++, topology.indexEqual, ['router', one.isp.device], [name, 'line']), one.isp.cable);
    one.isp = { ...one.isp, cable };
    const laid = await ip('router', ...layCable(cable));
    await renewed(name);
    await ip(name, ...ispLine(one.isp));
    return laid;
  };
  const heal = async (name: string, of?: OneFamily): Promise<Applied> => {
    const one = line(name);
    if (of?.family !== undefined) return kill(name, 'no', [of.family]);
    const done: Applied[] = [];
    if (one.deleted) done.push(await recreate(name));
    if (one.cut) done.push(await plug(name, true));
    if (one.lossy) done.push(await stamped(() => anchor.text(name, ['nft', '-f', '-'], families.map((family) => `flush chain ${tableOf(family)} loss\n`).join(''))));
    one.lossy = false;
    done.push(await troubles.endAll(name), await kill(name, 'no', families));
    return span(done);
  };
  const renumber = async (name: string, to: NewNetwork): Promise<Applied> => {
    const one = line(name);
    const old = one.isp;
    const isp = renumbered(old, to);
    if (isp.gateway === old.gateway && isp.prefix === old.prefix && isp.six?.prefix === old.six?.prefix && isp.six?.delegated === old.six?.delegated) return ip(name);
    one.isp = isp;
    one.lossy = false;
    const moved = await ip(name, 'addr flush dev line scope global', ...ispLine(isp));
    await ip('internet', ...returnRoutes(isp));
    await anchor.text(name, ['nft', '-f', '-'], ispRules(isp));
    return moved;
  };
  const chosen = (of: OneFamily = {}): readonly Family[] => (of.family === undefined ? families : [of.family]);

  return {
    isps: () => [...lines.values()].map((one) => one.isp),
    isp: (name) => line(name).isp,
    cutCable: async (name) => plug(name, false),
    plugCable: async (name) => plug(name, true),
    gatewayDead: async (name, of) => kill(name, 'gateway', chosen(of)),
    upstreamDead: async (name, of) => kill(name, 'upstream', chosen(of)),
    async hiccup(name, ms, of) {
      const former = line(name).dead;
      const struck = await kill(name, 'upstream', chosen(of));
      await until(struck.doneAt + ms);
      return span([struck, ...await Promise.all(chosen(of).map(async (family) => kill(name, former[family], [family])))]);
    },
    async loss(name, percent, direction = 'up', of) {
      line(name).lossy = true;
      const rule = `iifname "${direction === 'up' ? 'line' : 'core'}" numgen random mod 1000 < ${Math.round(percent * 10)} drop`;
      const rules = chosen(of).map((family) => `flush chain ${tableOf(family)} loss\n${percent > 0 ? `add rule ${tableOf(family)} loss ${rule}\n` : ''}`);
      return stamped(() => anchor.text(name, ['nft', '-f', '-'], rules.join('')));
    },
    heal,
    allDead: async () => span(await Promise.all([...lines.keys()].map((name) => kill(name, 'upstream', families)))),
    allBack: async () => span(await Promise.all([...lines.keys()].map(async (name) => heal(name)))),
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
      return wires.get(name)?.hangUp() ?? ip('router', `link del ${line(name).isp.device}`);
    },
    recreateInterface: recreate,
    async changeAddress(name, to) {
      const old = line(name).isp;
      await renumber(name, to);
      const isp = { ...line(name).isp, router: to.router };
      line(name).isp = isp;
      return ip('router', `addr del ${old.router}/${old.prefixLength} dev ${old.device}`, `addr add ${isp.router}/${isp.prefixLength} dev ${isp.device}`);
    },
    renumberIsp: renumber,
  };
}

/** The rules that make an ISP's box dead. A blackhole by rule says nothing to anybody; a blackhole before the local table stops ARP replies as well. */
function deadRules(dead: Death): readonly string[] {
  switch (dead) {
    case 'no':
      return [];
    case 'gateway':
      return [`pref ${RULE_BEFORE_LOCAL} iif line blackhole`, `pref ${RULE_BEFORE_LOCAL} iif core blackhole`];
    case 'upstream':
      return [`pref ${RULE_BEHIND_LOCAL} iif line blackhole`, `pref ${RULE_BEHIND_LOCAL} iif core blackhole`];
  }
}

function tableOf(family: Family): string {
  return family === 4 ? 'ip lab' : 'ip6 lab';
}

/** A new cable in the old one's place: the MACs belong to the boxes. */
function replaced(fresh: Cable, old: Cable): Cable {
  return { wire: fresh.wire, near: { ...fresh.near, mac: old.near.mac }, far: { ...fresh.far, mac: old.far.mac } };
}

function renumbered(old: Isp, to: NewNetwork): Isp {
  const prefix = to.prefix ?? old.prefix;
  const { prefix: line, delegated } = { prefix: to.prefix6 ?? old.six?.prefix ?? '', delegated: to.delegated6 ?? old.six?.delegated ?? '' };
  const six = old.six === undefined ? undefined : { ...old.six, prefix: line, global: line.replace(/\/64$/, '1'), delegated };
  return { ...old, prefix, prefixLength: prefixLengthOf(prefix), gateway: to.gateway ?? old.gateway, six };
}

function span(all: readonly Applied[]): Applied {
  return { beganAt: Math.min(...all.map((one) => one.beganAt)), doneAt: Math.max(...all.map((one) => one.doneAt)) };
}
