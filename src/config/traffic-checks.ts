/**
 * `policies` and `flows` held against the rest of the config: names that are there once, uplinks that exist, keys that
 * need each other, policies that nothing can reach.
 *
 * Every check is one pass; a config with hundreds of policies is judged in the time that it takes to read it.
 */
import { classesOf } from '../core/classes.js';
import type { TrafficPolicy } from '../model.js';
import { type Check, placeOf, report, sound, written } from './check.js';
import { listed, nearest, type Path, shown } from './problem.js';
import type { FlowSettings, PolicySettings } from './schema.js';
import { PORTS_AT_MOST } from './schema-traffic.js';

export function checkTraffic(check: Check): void {
  const { policies = [], flows = [] } = check.settings;
  checkNames(check, 'policies', check.policy.policies);
  checkNames(check, 'flows', check.policy.flows);
  policies.forEach((policy, i) => checkPorts(check, ['policies', i], policy));
  flows.forEach((flow, i) => checkPorts(check, ['flows', i], flow));
  policies.forEach((policy, i) => checkMark(check, i, policy));
  const slips: Slips = { names: check.policy.uplinks.map((uplink) => uplink.name), meant: new Map() };
  const known = new Set(slips.names);
  check.policy.policies.forEach((policy, i) => checkOrder(check, i, policy, known, slips));
  checkReach(check);
  checkClasses(check);
}

interface Slips {
  readonly names: readonly string[];
  /** What was probably meant, by what was written. */
  readonly meant: Map<string, string | undefined>;
}

/** A slip is looked up by trying all names; nobody reads hundreds of proposals. */
const PROPOSALS_AT_MOST = 200;
const NAMES_SHOWN_AT_MOST = 8;

function checkNames(check: Check, list: 'policies' | 'flows', items: readonly { readonly name: string }[]): void {
  const first = new Map<string, number>();
  items.forEach(({ name }, i) => {
    const before = first.get(name);
    if (before === undefined) {
      first.set(name, i);
      return;
    }
    // Of a name that was written and one that was counted, the written one can be changed.
    const path = written(check, [[list, i, 'name'], [list, before, 'name']]) ?? [list, i];
    const line = placeOf(check, [list, path[1] === i ? before : i]).line;
    report(check, path, `${shown(name)} is the name of the one on line ${line} too: every name once, the counters go by it`);
  });
}

function checkPorts(check: Check, path: Path, settings: PolicySettings | FlowSettings): void {
  for (const key of ['ports', 'sourcePorts'] as const) {
    const ports = settings[key];
    if (ports === undefined) continue;
    if (settings.protocol !== 'tcp' && settings.protocol !== 'udp') {
      const present = settings.protocol === undefined ? 'none is written' : `this is ${shown(settings.protocol)}`;
      report(check, [...path, key], `only \`protocol: tcp\` and \`protocol: udp\` have ports, and ${present}: write one of them; for both, an entry for each`);
    }
    const places = ports.reduce((sum, { first, last }) => sum + (first === last ? 1 : 2), 0);
    if (places > PORTS_AT_MOST) {
      report(check, [...path, key], `${PORTS_AT_MOST} ports at most go into one list, a range counts as two, and these are ${places}: write a second entry`);
    }
  }
}

function checkMark(check: Check, i: number, { mark }: PolicySettings): void {
  const ours = check.policy.markMask;
  const asked = mark === undefined ? 0 : mark.mask ?? mark.value;
  if (mark === undefined || (asked & ours) === 0) return;
  const hex = (bits: number): string => `0x${(bits >>> 0).toString(16)}`;
  report(check, ['policies', i, 'mark'], `the bits ${shown(hex(asked & ours))} of it are ours (\`kernel.markMask\` is ${shown(hex(ours))}): use others, or write another \`markMask\``);
}

function checkOrder(check: Check, i: number, policy: TrafficPolicy, known: ReadonlySet<string>, slips: Slips): void {
  const seen = new Set<string>();
  policy.order.forEach((rank, j) => {
    for (const { uplink } of rank.members) {
      const use = ['policies', i, 'use'];
      const place = (): Path => written(check, [[...use, j, uplink], [...use, uplink], [...use, j]]) ?? use;
      if (!known.has(uplink)) report(check, place(), unknownText(uplink, slips));
      else if (seen.has(uplink)) report(check, place(), `${shown(uplink)} stands in this policy twice: keep the one that counts, the first`);
      seen.add(uplink);
    }
  });
}

function unknownText(name: string, slips: Slips): string {
  if (!slips.meant.has(name)) slips.meant.set(name, slips.meant.size < PROPOSALS_AT_MOST ? nearest(name, slips.names) : undefined);
  const meant = slips.meant.get(name);
  if (meant !== undefined) return `there is no uplink ${shown(name)}: did you mean ${shown(meant)}?`;
  const few = slips.names.length <= NAMES_SHOWN_AT_MOST;
  return `there is no uplink ${shown(name)}${few ? `: there ${slips.names.length === 1 ? 'is' : 'are'} ${listed(slips.names, 'and')}` : ': name one of `uplinks`'}`;
}

/** Only what is plain: behind a policy that takes everything. */
function checkReach(check: Check): void {
  let taking: number | undefined;
  let routerToo: number | undefined;
  check.policy.policies.forEach((policy, i) => {
    const before = policy.router ? routerToo : taking;
    if (before !== undefined) {
      const { name } = check.policy.policies[before] ?? policy;
      report(check, ['policies', i], `nothing gets here: ${shown(name)} (line ${placeOf(check, ['policies', before]).line}) has no condition and takes everything before it; put that one last`);
    }
    if (!takesEverything(policy)) return;
    taking ??= i;
    if (policy.router) routerToo ??= i;
  });
}

function takesEverything({ match, mark, set }: TrafficPolicy): boolean {
  const { sources, destinations, protocol } = match;
  // Ports need a protocol.
  return mark === undefined && set === undefined && protocol === 'any' && sources.length === 0 && destinations.length === 0;
}

/** Each order of uplinks needs a mark of its own; a sticky policy one more for each of its uplinks. */
function checkClasses(check: Check): void {
  if (!sound(check, ['kernel', 'markMask'], ['policies'], ['uplinks'])) return;
  try {
    classesOf(check.policy);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    const place = written(check, [['kernel', 'markMask'], ['policies']]) ?? ['policies'];
    report(check, place, `there are too many different orders of uplinks: ${error.message}; write a wider \`kernel.markMask\`, such as \`0x3ff0\`, let policies have `
      + 'the same `use` and `otherwise`, or take `sticky` from some (it needs a mark for each uplink)');
  }
}
