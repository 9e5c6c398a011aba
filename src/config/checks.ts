/**
 * What no single key can show to be wrong: keys that contradict each other.
 *
 * Each check looks at what is in force for an uplink (the policy) and reports at the most special place where
 * somebody wrote one of the numbers concerned. Nothing is concluded from keys that are wrong already, and a common
 * section that is at odds with itself is reported once, not for every uplink.
 */
import { familyOf } from '../core/address.js';
import type { Family, Policy, UplinkPolicy } from '../model.js';
import { type Check, lookUp, placeOf, report, sound, written } from './check.js';
import { type Path, type Problem, shown } from './problem.js';
import type { Settings } from './schema.js';
import { checkTraffic } from './traffic-checks.js';
import { checkTranslation } from './translation-checks.js';
import type { MapNode } from './tree.js';
import { durationText } from './values.js';

/** The closest that the probes of a burst follow each other (core/ask.ts). */
const BURST_GAP_LEAST_MS = 10;

/** @param found problems of single keys */
export function crossCheck(root: MapNode, settings: Settings, policy: Policy, found: readonly Problem[]): readonly Problem[] {
  const check: Check = { root, settings, policy, spoiled: found.map((problem) => problem.key), problems: new Map() };
  checkDevices(check);
  checkList(check, ['probe', 'targets'], settings.probe?.targets);
  for (const uplink of policy.uplinks) {
    checkList(check, ['uplinks', uplink.name, 'probe', 'targets'], settings.uplinks?.get(uplink.name)?.probe?.targets);
    checkGateway(check, uplink);
    checkQuorum(check, uplink);
    checkTimes(check, uplink);
    checkTranslation(check, uplink);
  }
  checkDrain(check);
  checkTraffic(check);
  return [...check.problems.values()];
}

function checkDevices(check: Check): void {
  const owners = new Map<string, { readonly what: string; readonly path: Path }>();
  for (const uplink of check.policy.uplinks) {
    const path = ['uplinks', uplink.name, uplink.match === undefined ? 'interface' : 'match'];
    const device = uplink.match === undefined ? uplink.interface : [uplink.match.mac, uplink.match.path].filter((part) => part !== '').join(' ');
    const owner = owners.get(device);
    if (device === '') continue;
    if (owner === undefined) owners.set(device, { what: `of uplink ${shown(uplink.name)}`, path });
    else {
      report(check, path, `${shown(device)} is the device ${owner.what} already (line ${placeOf(check, owner.path).line}): `
        + 'each uplink needs one of its own, for two providers on one port a VLAN each');
    }
  }
  check.policy.lanInterfaces.forEach((device, i) => {
    const path = ['lan', 'interfaces', i];
    const owner = owners.get(device);
    if (owner === undefined) owners.set(device, { what: 'of the LAN', path });
    else if (owner.path[0] === 'lan') report(check, path, `${shown(device)} stands here twice: take one away`);
    else {
      report(check, path, `${shown(device)} is the device ${owner.what} (line ${placeOf(check, owner.path).line}): `
        + 'a device is either an uplink or a LAN interface');
    }
  });
}

function checkList(check: Check, path: Path, targets: readonly { readonly icmp?: string | undefined }[] | undefined): void {
  const first = new Map<string, number>();
  targets?.forEach((target, i) => {
    const host = target.icmp ?? '';
    const before = first.get(host);
    if (before === undefined) first.set(host, i);
    else {
      const line = placeOf(check, [...path, before, 'icmp']).line;
      report(check, [...path, i, 'icmp'], `${shown(host)} is asked twice, first on line ${line}: take one away, the answers would count as one`);
    }
  });
}

function checkGateway(check: Check, uplink: UplinkPolicy): void {
  const own = ['uplinks', uplink.name];
  if (!sound(check, [...own, 'gateway'], [...own, 'gateway6'], [...own, 'probe'], ['probe', 'targets'])) return;
  const list = [[...own, 'probe', 'targets'], ['probe', 'targets']].find((path) => lookUp(check.root, path).rest === 0);
  const none = GATEWAY_KEYS.find(([family]) => uplink.gateways[family] === 'none')?.[1];
  if (none !== undefined && uplink.probe.targets.every((target) => target.host === 'gateway')) {
    const whose = list?.[0] === 'uplinks' ? 'its' : 'the common';
    report(check, [...own, none], `with \`${none}: none\` nothing is left to ask, because ${whose} \`probe.targets\` hold only the gateway: `
      + `give ${shown(uplink.name)} a \`probe.targets\` of its own, such as \`- icmp: 1.1.1.1\``);
  }
  const hosts = list === undefined ? [] : hostsAt(check, list);
  // Nobody who writes `gateway: none` and not a word of IPv6 means a gateway of IPv6 by `gateway`.
  const pointToPoint = uplink.gateways[4] === 'none' && (uplink.gateways[6] === 'none' || check.settings.uplinks?.get(uplink.name)?.gateway6 === undefined);
  hosts.forEach((host, i) => {
    if (list === undefined) return;
    const path = [...list, i, 'icmp'];
    if (host === 'gateway') {
      if (!pointToPoint || list[0] !== 'uplinks') return;
      report(check, path, `${shown(uplink.name)} has \`gateway: none\`, so there is no gateway to ask: take this target away`);
    } else if (GATEWAY_KEYS.some(([family]) => gatewayAddress(uplink, family) === host)) {
      report(check, path, `${shown(host)} is the gateway of ${shown(uplink.name)}: write \`gateway\`, or its answer is taken for that of the internet beyond`);
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
function checkQuorum(check: Check, uplink: UplinkPolicy): void {
  const own = ['uplinks', uplink.name, 'probe'];
  if (!sound(check, own, ['probe'])) return;
  const { quorum, targets } = uplink.probe;
  const stated = written(check, [[...own, 'quorum'], ['probe', 'quorum']]);
  const beyond = targets.filter((target) => target.host !== 'gateway').map((target) => familyOf(target.host));
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

/** A deadline in a profile for flows that the config keeps is no slip. */
function checkDrain(check: Check): void {
  const path = ['failback', 'drainDeadline'];
  const flows = lookUp(check.root, ['failback', 'flows']);
  if (check.policy.failback.flows === 'move' || lookUp(check.root, path).rest > 0 || !sound(check, ['failback'])) return;
  if (flows.rest === 0 && flows.at.file !== placeOf(check, path).file) return;
  report(check, path, 'running connections stay until they end, so there is no deadline: write `flows: move` beside it, or take it away');
}

function checkTimes(check: Check, uplink: UplinkPolicy): void {
  const own = ['uplinks', uplink.name];
  const { timeoutMs, timeoutMinMs, timeoutMaxMs } = uplink.probe;
  if (!sound(check, [...own, 'probe'], ['probe'])) return;
  if (timeoutMinMs > timeoutMaxMs) {
    const bounds: readonly Path[] = [['probe', 'timeoutMin'], ['probe', 'timeoutMax']];
    const place = written(check, [...bounds.map((bound) => [...own, ...bound]), ...bounds]) ?? own;
    report(check, place, `\`timeoutMin\` is ${durationText(timeoutMinMs)} and \`timeoutMax\` ${durationText(timeoutMaxMs)}: `
      + 'the shorter of the two must be `timeoutMin`');
    return;
  }
  if (!sound(check, [...own, 'health'], ['health'])) return;
  const { burst } = uplink.health.suspect;
  const waitMs = timeoutMs === 'auto' ? timeoutMinMs : timeoutMs;
  // The missed probe's timeout, the burst, and the timeout of its last probe.
  const leastMs = burst === 0 ? waitMs : 2 * waitMs + (burst - 1) * BURST_GAP_LEAST_MS;
  if (uplink.health.down.afterMs >= leastMs) return;
  const knobs: readonly Path[] = [
    ['health', 'down', 'after'], ['health', 'suspect', 'burst'], ['probe', 'timeout'], ['probe', 'timeoutMin'], ['health', 'sensitivity'],
  ];
  const place = written(check, [...knobs.map((knob) => [...own, ...knob]), ...knobs]) ?? own;
  const probes = burst === 0 ? 'the timeout' : `a missed probe and a burst of ${burst}`;
  const least = durationText(leastMs);
  report(check, place, `\`health.down.after\` is ${durationText(uplink.health.down.afterMs)}, but ${probes} with a timeout of ${durationText(waitMs)} `
    + `cannot be told in less than ${least}: write \`after: ${least}\` or more, or a shorter timeout`);
}

function hostsAt(check: Check, list: Path): readonly string[] {
  const targets = list[0] === 'uplinks' ? check.settings.uplinks?.get(String(list[1]))?.probe?.targets : check.settings.probe?.targets;
  return (targets ?? []).map((target) => target.icmp ?? '');
}
