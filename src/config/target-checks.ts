/**
 * What is wrong with a list of targets as a whole: the same asked twice, a way that leads nowhere, a gateway that
 * there is none of, more answers wanted than there are targets.
 *
 * A list is looked at where it is written, once; what it means for a line is looked at for every uplink.
 */
import { isIPv4, isIPv6 } from 'node:net';
import type { Family, UplinkPolicy } from '../model.js';
import { literalHost } from './asking.js';
import { type Check, lookUp, placeOf, report, sound, written } from './check.js';
import { type Path, shown } from './problem.js';
import type { TargetSettings } from './schema-probe.js';
import { idOf, isBeyond, targetsOf } from './targets.js';

/** @param items of the list that is written at `path`, if one is */
export function checkList(check: Check, path: Path, items: readonly TargetSettings[] | undefined): void {
  const first = new Map<string, number>();
  items?.forEach((item, i) => {
    const id = idOf(item);
    const place = [...path, i, kindOf(item)];
    const before = first.get(id);
    if (before === undefined) first.set(id, i);
    else {
      const line = placeOf(check, [...path, before, kindOf(items[before] ?? item)]).line;
      report(check, place, `${shown(id)} is asked twice, first on line ${line}: take one away, the answers would count as one`);
    }
    if (item.hop !== undefined && targetsOf([item, ...items], 0).every(({ kind }) => kind !== 'hop')) {
      report(check, place, 'no address beyond the gateway stands in this list, so there is no way to go along: add one, such as `- icmp: 1.1.1.1`');
    }
    if (item.http !== undefined) checkLookup(check, place, item.http);
  });
}

/** A name is looked up, an address is not. */
function checkLookup(check: Check, path: Path, { url = '', family = '4', resolver }: NonNullable<TargetSettings['http']>): void {
  const literal = URL.canParse(url) ? literalHost(new URL(url)) : undefined;
  const wanted: readonly Family[] = family === 'both' ? [4, 6] : [family === '6' ? 6 : 4];
  if (literal === undefined) {
    const alone = wanted.find((each) => resolver?.every((server) => (each === 4 ? !isIPv4(server) : !isIPv6(server))) === true);
    if (alone !== undefined) report(check, [...path, 'resolver'], `the name is asked over IPv${alone}, and no IPv${alone} address stands here to look it up: add one, or take \`resolver\` away`);
    return;
  }
  if (resolver !== undefined) report(check, [...path, 'resolver'], `the URL has the address ${shown(literal)} in it, so there is no name to look up: take \`resolver\` away`);
  const own = isIPv6(literal) ? 6 : 4;
  if (lookUp(check.root, [...path, 'family']).rest === 0 && (family === 'both' || wanted[0] !== own)) {
    report(check, [...path, 'family'], `the URL has the address ${shown(literal)} in it, which is asked over IPv${own}: take \`family\` away, or write a name`);
  }
}

export function checkGateway(check: Check, uplink: UplinkPolicy): void {
  const own = ['uplinks', uplink.name];
  if (!sound(check, [...own, 'gateway'], [...own, 'gateway6'], [...own, 'probe'], ['probe', 'targets'])) return;
  const list = [[...own, 'probe', 'targets'], ['probe', 'targets']].find((path) => lookUp(check.root, path).rest === 0);
  const none = GATEWAY_KEYS.find(([family]) => uplink.gateways[family] === 'none')?.[1];
  if (none !== undefined && uplink.probe.targets.every((target) => target.host === 'gateway')) {
    const whose = list?.[0] === 'uplinks' ? 'its' : 'the common';
    report(check, [...own, none], `with \`${none}: none\` nothing is left to ask, because ${whose} \`probe.targets\` hold only the gateway: `
      + `give ${shown(uplink.name)} a \`probe.targets\` of its own, such as \`- icmp: 1.1.1.1\``);
  }
  const items = list === undefined ? [] : itemsAt(check, list);
  // Nobody who writes `gateway: none` and not a word of IPv6 means a gateway of IPv6 by `gateway`.
  const pointToPoint = uplink.gateways[4] === 'none' && (uplink.gateways[6] === 'none' || check.settings.uplinks?.get(uplink.name)?.gateway6 === undefined);
  items.forEach((item, i) => {
    if (list === undefined) return;
    const path = [...list, i, kindOf(item)];
    const host = item.icmp?.host ?? item.tcp?.to?.host;
    if (item.arp !== undefined || host === 'gateway') {
      if (!pointToPoint || list[0] !== 'uplinks') return;
      report(check, path, `${shown(uplink.name)} has \`gateway: none\`, so there is no gateway to ask: take this target away`);
    } else if (host !== undefined && GATEWAY_KEYS.some(([family]) => gatewayAddress(uplink, family) === host)) {
      const instead = item.icmp === undefined ? 'write an address beyond it' : 'write `gateway`';
      report(check, path, `${shown(host)} is the gateway of ${shown(uplink.name)}: ${instead}, or its answer is taken for that of the internet beyond`);
    }
  });
}

const GATEWAY_KEYS: readonly (readonly [Family, 'gateway' | 'gateway6'])[] = [[4, 'gateway'], [6, 'gateway6']];

function gatewayAddress(uplink: UplinkPolicy, family: Family): string | undefined {
  const gateway = uplink.gateways[family];
  return typeof gateway === 'object' ? gateway.address : undefined;
}

/**
 * Each family is judged by its own targets. One without any beyond the gateway has the gateway for a witness, and the
 * default of 1 serves that too; only a number that was written can be more than there is.
 */
export function checkQuorum(check: Check, uplink: UplinkPolicy): void {
  const own = ['uplinks', uplink.name, 'probe'];
  if (!sound(check, own, ['probe'])) return;
  const { quorum, targets } = uplink.probe;
  const stated = written(check, [[...own, 'quorum'], ['probe', 'quorum']]);
  const beyond = targets.filter(isBeyond).flatMap((target) => target.families);
  const counts = ([4, 6] as const).map((family) => ({ family, count: beyond.filter((candidate) => candidate === family).length })).filter(({ count }) => count > 0);
  const least = Math.min(...counts.map(({ count }) => count));
  const short = counts.filter(({ count }) => count < quorum && count === least);
  if (stated === undefined || (short.length === 0 && beyond.length > 0)) return;
  const place = written(check, [[...own, 'quorum'], [...own, 'targets'], ['probe', 'quorum'], ['probe', 'targets']]) ?? stated;
  const who = place[0] === 'uplinks' ? `for ${shown(uplink.name)}, ` : '';
  const asked = short.length === 0 ? 'none is asked'
    : `only ${short[0]?.count === 1 ? 'one is' : `${short[0]?.count ?? 0} are`} asked${counts.length > 1 ? ` over ${short.map(({ family }) => `IPv${family}`).join(' and ')}` : ''}`;
  const advice = short.length === 0 ? 'take `quorum` away' : `write \`quorum: ${least}\` or less`;
  report(check, place, `${who}${quorum} target${quorum === 1 ? '' : 's'} beyond the gateway must answer, but ${asked}: add targets or ${advice}`);
}

function itemsAt(check: Check, list: Path): readonly TargetSettings[] {
  return (list[0] === 'uplinks' ? check.settings.uplinks?.get(String(list[1]))?.probe?.targets : check.settings.probe?.targets) ?? [];
}

function kindOf(item: TargetSettings): string {
  return Object.keys(item)[0] ?? '';
}
