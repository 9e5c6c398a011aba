/**
 * What no single key can show to be wrong: keys that contradict each other.
 *
 * Each check looks at what is in force for an uplink (the policy) and reports at the most special place where
 * somebody wrote one of the numbers concerned. Nothing is concluded from keys that are wrong already, and a common
 * section that is at odds with itself is reported once, not for every uplink.
 */
import type { Policy, UplinkPolicy } from '../model.js';
import { type Check, lookUp, placeOf, report, sound, written } from './check.js';
import { checkJudgement } from './judgement-checks.js';
import { type Path, type Problem, shown } from './problem.js';
import type { Settings } from './schema.js';
import { checkGateway, checkList, checkQuorum } from './target-checks.js';
import { checkTraffic } from './traffic-checks.js';
import { BURST_GAP_MS } from '../core/tuning.js';
import { writtenDuration } from '../duration.js';
import { checkTranslation } from './translation-checks.js';
import type { MapNode } from './tree.js';

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
    checkJudgement(check, uplink);
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
    report(check, place, `\`timeoutMin\` is ${writtenDuration(timeoutMinMs)} and \`timeoutMax\` ${writtenDuration(timeoutMaxMs)}: `
      + 'the shorter of the two must be `timeoutMin`');
    return;
  }
  if (!sound(check, [...own, 'health'], ['health'])) return;
  const { burst } = uplink.health.suspect;
  const waitMs = timeoutMs === 'auto' ? timeoutMinMs : timeoutMs;
  // The missed probe's timeout, the burst, and the timeout of its last probe.
  const leastMs = burst === 0 ? waitMs : 2 * waitMs + (burst - 1) * BURST_GAP_MS.least;
  if (uplink.health.down.afterMs >= leastMs) return;
  const knobs: readonly Path[] = [
    ['health', 'down', 'after'], ['health', 'suspect', 'burst'], ['probe', 'timeout'], ['probe', 'timeoutMin'], ['health', 'sensitivity'],
  ];
  const place = written(check, [...knobs.map((knob) => [...own, ...knob]), ...knobs]) ?? own;
  const probes = burst === 0 ? 'the timeout' : `a missed probe and a burst of ${burst}`;
  const least = writtenDuration(leastMs);
  report(check, place, `\`health.down.after\` is ${writtenDuration(uplink.health.down.afterMs)}, but ${probes} with a timeout of ${writtenDuration(waitMs)} `
    + `cannot be told in less than ${least}: write \`after: ${least}\` or more, or a shorter timeout`);
}
