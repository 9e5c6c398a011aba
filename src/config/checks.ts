/**
 * What no single key can show to be wrong: keys that contradict each other.
 *
 * Each check looks at what is in force for an uplink (the policy) and reports at the most special place where
 * somebody wrote one of the numbers concerned. Nothing is concluded from keys that are wrong already, and a common
 * section that is at odds with itself is reported once, not for every uplink.
 */
import type { Policy, UplinkPolicy } from '../model.js';
import { keyText, type Path, type Place, type Problem, problemAt, shown } from './problem.js';
import type { Settings } from './schema.js';
import type { MapNode, TreeNode } from './tree.js';
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
  }
  return [...check.problems.values()];
}

interface Check {
  readonly root: MapNode;
  readonly settings: Settings;
  readonly policy: Policy;
  /** Key paths that are wrong by themselves. */
  readonly spoiled: readonly string[];
  readonly problems: Map<string, Problem>;
}

function checkDevices(check: Check): void {
  const owners = new Map<string, { readonly what: string; readonly path: Path }>();
  for (const uplink of check.policy.uplinks) {
    const path = ['uplinks', uplink.name, 'interface'];
    const owner = owners.get(uplink.interface);
    if (uplink.interface === '') continue;
    if (owner === undefined) owners.set(uplink.interface, { what: `of uplink ${shown(uplink.name)}`, path });
    else {
      report(check, path, `${shown(uplink.interface)} is the device ${owner.what} already (line ${placeOf(check, owner.path).line}): `
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
  if (!sound(check, [...own, 'gateway'], [...own, 'probe'], ['probe', 'targets'])) return;
  const list = [[...own, 'probe', 'targets'], ['probe', 'targets']].find((path) => lookUp(check.root, path).rest === 0);
  if (uplink.probe.targets.length === 0) {
    report(check, [...own, 'gateway'], 'with `gateway: none` nothing is left to ask, because the common `probe.targets` hold only the gateway: '
      + `give ${shown(uplink.name)} a \`probe.targets\` of its own, such as \`- icmp: 1.1.1.1\``);
  }
  const gateway = uplink.gateway;
  const hosts = list === undefined ? [] : hostsAt(check, list);
  hosts.forEach((host, i) => {
    if (list === undefined) return;
    const path = [...list, i, 'icmp'];
    if (gateway === 'none' && host === 'gateway' && list[0] === 'uplinks') {
      report(check, path, `${shown(uplink.name)} has \`gateway: none\`, so there is no gateway to ask: take this target away`);
    } else if (typeof gateway === 'object' && host === gateway.address) {
      report(check, path, `${shown(host)} is the gateway of ${shown(uplink.name)}: write \`gateway\`, or its answer is taken for that of the internet beyond`);
    }
  });
}

/** The default of 1 also serves lists with nothing beyond the gateway: then the gateway is the witness. */
function checkQuorum(check: Check, uplink: UplinkPolicy): void {
  const own = ['uplinks', uplink.name, 'probe'];
  if (!sound(check, own, ['probe'])) return;
  const { quorum, targets } = uplink.probe;
  const beyond = targets.filter((target) => target.host !== 'gateway').length;
  const stated = written(check, [[...own, 'quorum'], ['probe', 'quorum']]);
  if (stated === undefined || quorum <= beyond) return;
  const place = written(check, [[...own, 'quorum'], [...own, 'targets'], ['probe', 'quorum'], ['probe', 'targets']]) ?? stated;
  const who = place[0] === 'uplinks' ? `for ${shown(uplink.name)}, ` : '';
  const asked = beyond === 0 ? 'none is' : beyond === 1 ? 'only one is' : `only ${beyond} are`;
  const advice = beyond === 0 ? 'take `quorum` away' : `write \`quorum: ${beyond}\` or less`;
  report(check, place, `${who}${quorum} target${quorum === 1 ? '' : 's'} beyond the gateway must answer, but ${asked} asked: add targets or ${advice}`);
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

function report(check: Check, path: Path, text: string): void {
  const problem = problemAt(placeOf(check, path), path, text);
  check.problems.set(`${problem.key}\n${problem.line}\n${text}`, problem);
}

/** Is everything at and below these paths right by itself? */
function sound(check: Check, ...paths: readonly Path[]): boolean {
  return !paths.some((path) => {
    const key = keyText(path);
    return check.spoiled.some((bad) => bad === key || bad.startsWith(`${key}.`) || bad.startsWith(`${key}[`));
  });
}

/** The first of these paths that somebody wrote, in the config itself rather than in its profile: people can change that one. */
function written(check: Check, paths: readonly Path[]): Path | undefined {
  const all = paths.filter((path) => lookUp(check.root, path).rest === 0);
  return all.find((path) => placeOf(check, path).file === check.root.at.file) ?? all[0];
}

function hostsAt(check: Check, list: Path): readonly string[] {
  const targets = list[0] === 'uplinks' ? check.settings.uplinks?.get(String(list[1]))?.probe?.targets : check.settings.probe?.targets;
  return (targets ?? []).map((target) => target.icmp ?? '');
}

/** Where a key's value stands, or the nearest thing above it. */
function placeOf(check: Check, path: Path): Place {
  return lookUp(check.root, path).at;
}

function lookUp(root: TreeNode, path: Path): { readonly at: Place; readonly rest: number } {
  let node = root;
  let at = root.at;
  for (const [i, part] of path.entries()) {
    const entry = node.kind === 'map' ? node.entries.find((candidate) => candidate.key === part) : undefined;
    const next = node.kind === 'list' && typeof part === 'number' ? node.items[part] : entry?.value;
    if (next === undefined) return { at, rest: path.length - i };
    node = next;
    // A section begins at its key, a value where it stands.
    at = next.kind === 'scalar' || entry === undefined ? next.at : entry.keyAt;
  }
  return { at, rest: 0 };
}
