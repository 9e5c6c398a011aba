/**
 * `uplinkctl check`: one line, performance data and an exit code as monitoring-plugins.org wants them.
 *
 *   CRITICAL  no uplink is active, or one is kept as a last resort although it is unfit
 *   WARNING   the active uplink is not of the best priority of the config (running on a backup), in either family, or works badly, an operator
 *             chose it, or routes, NAT or sysctls are not what they should be: an uplink that is not masqueraded serves nobody
 *   UNKNOWN   uplinkd cannot be reached, or has not applied its first decision
 */
import type { DecisionView, StatusView, UplinkView } from './answers.js';
import { familyText, type Judged } from './show.js';

export interface CheckResult {
  readonly code: 0 | 1 | 2 | 3;
  /** One line, with a line feed. */
  readonly line: string;
}

const WORDS = ['OK', 'WARNING', 'CRITICAL', 'UNKNOWN'] as const;

export function checkStatus(status: StatusView): CheckResult {
  const data = performanceData(status);
  if (!status.controller.ready) return result(3, `not ready: the first decision has not been applied yet`, data);
  const first = firstFamily(status);
  const names = namesIn(status, first);
  if (names.length === 0) return result(2, `no uplink is active${status.active.length === 0 ? '' : inFamily(first)}: ${status.because}`, data);
  if (status.rule === 'last-resort' && !worksBadly(status, first)) return result(2, `no uplink is fit, ${names.join(', ')} is kept as a last resort: ${status.because}`, data);
  const others = status.decisions.filter(({ family }) => family !== first);
  const warnings = [...backupWarning(status, first, ''), ...degradedWarnings(status), ...others.flatMap((decision) => familyWarning(status, decision)), ...overrideWarning(status), ...hostWarnings(status)];
  if (warnings.length > 0) return result(1, warnings.join('; '), data);
  return result(0, `${names.join(', ')} ${names.length === 1 ? 'is' : 'are'} active: ${status.because}`, data);
}

export function checkUnknown(why: string): CheckResult {
  return result(3, why, '');
}

/** The one that `because` and `rule` of the status speak of: the first that has an uplink; NaN = the daemon knows of no families. */
function firstFamily({ decisions }: StatusView): number {
  return (decisions.find(({ order }) => order.length > 0) ?? decisions[0])?.family ?? Number.NaN;
}

function namesIn(status: StatusView, family: number): string[] {
  const active = status.active.filter((one) => Number.isNaN(family) || one.family === family);
  return [...new Set(active.map((one) => one.name))];
}

/** An uplink as it fares in a family. */
interface Candidate {
  readonly name: string;
  readonly priority: number;
  readonly state: string;
  readonly because: string;
}

/** Without those that are disabled, and those that seem to have no such family: no address, and never an answer. */
function candidatesIn(status: StatusView, family: number): Candidate[] {
  return status.uplinks.flatMap(({ name, priority, families, targets, ...whole }) => {
    const { state, because, domain } = families.find((one) => one.family === family) ?? { ...whole, domain: families.length === 0 ? '' : 'address' };
    const never = domain === 'address' && !targets.some((target) => target.family === family && target.received > 0);
    return state === 'disabled' || never ? [] : [{ name, priority, state, because }];
  });
}

function backupWarning(status: StatusView, family: number, where: string): string[] {
  const candidates = candidatesIn(status, family);
  const names = namesIn(status, family);
  const best = Math.min(...candidates.map(({ priority }) => priority));
  const better = candidates.filter(({ priority }) => priority === best);
  if (better.length === 0 || better.some(({ name }) => names.includes(name))) return [];
  return [`running on a backup${where}, ${names.join(', ')}; ${better.map(({ name, state, because }) => `${name} is ${state}: ${because}`).join('; ')}`];
}

/** What serves people by IPv4 may be a backup, or nothing, in IPv6. */
function familyWarning(status: StatusView, { family, rule, because }: DecisionView): string[] {
  const where = inFamily(family);
  if (candidatesIn(status, family).length === 0) return [];
  const names = namesIn(status, family);
  if (names.length === 0) return [`no uplink is active${where}: ${because}`];
  if (rule === 'last-resort' && !worksBadly(status, family)) return [`no uplink is fit${where}, ${names.join(', ')} is kept as a last resort: ${because}`];
  // What was said of the first family is not said twice.
  return backupWarning(status, family, '').join() === backupWarning(status, firstFamily(status), '').join() ? [] : backupWarning(status, family, where);
}

/** One warning for each uplink, of the first family that it is degraded in. */
function degradedWarnings(status: StatusView): string[] {
  return status.uplinks.flatMap((uplink) => {
    const bad = activeParts(uplink, Number.NaN).find(({ state }) => state === 'degraded');
    return bad === undefined ? [] : [`${uplink.name} is active and degraded: ${bad.because}`];
  });
}

/** What is kept as a last resort is not dead: every uplink that is active works, if badly. */
function worksBadly(status: StatusView, family: number): boolean {
  const parts = status.uplinks.flatMap((uplink) => activeParts(uplink, family));
  return parts.length > 0 && parts.every(({ state }) => state === 'degraded');
}

/** @param family NaN = any */
function activeParts(uplink: UplinkView, family: number): readonly Judged[] {
  if (uplink.families.length === 0) return uplink.active ? [uplink] : [];
  return uplink.families.filter((part) => part.active && (Number.isNaN(family) || part.family === family));
}

function inFamily(family: number): string {
  return ` in ${familyText(family)}`;
}

function overrideWarning(status: StatusView): string[] {
  const { override } = status;
  if (override === undefined) return [];
  return [`override is set: ${override.uplink} by ${override.by}${override.reason === '' ? '' : `, ${override.reason}`}`];
}

/** A kernel that is out of sync and refuses nothing is being repaired at this moment: no reason to wake anybody. */
function hostWarnings({ kernel, host }: StatusView): string[] {
  const undone = host === undefined ? [] : [...(host.natInSync ? [] : ['NAT']), ...(host.sysctlsInSync ? [] : ['sysctls'])];
  return [
    ...kernel.failures.map((failure) => `the kernel refused: ${failure}`),
    ...(undone.length === 0 ? [] : [`${undone.join(' and ')} not in sync: ${host?.problems.join('; ') ?? ''}`]),
  ];
}

/** 'label'=value[unit];warn;crit;min;max, after the first "|". */
function performanceData(status: StatusView): string {
  const perUplink = status.uplinks.flatMap((uplink) => [
    ...figure(`${uplink.name}_rtt`, best(uplink, (target) => target.rttMs), 'ms', ';;;0'),
    ...figure(`${uplink.name}_loss`, best(uplink, (target) => target.lossPercent), '%', ';;;0;100'),
  ]);
  const up = status.uplinks.filter((uplink) => uplink.state === 'up').length;
  return [...figure('active', namesIn(status, Number.NaN).length, '', ';;;0'), ...figure('up', up, '', `;;;0;${status.uplinks.length}`), ...perUplink].join(' ');
}

/** The best of the targets beyond the gateway; of the gateway where there is no other. */
function best(uplink: UplinkView, value: (target: UplinkView['targets'][number]) => number): number {
  const beyond = uplink.targets.filter((target) => target.target !== 'gateway');
  const values = (beyond.length > 0 ? beyond : uplink.targets).map(value).filter((one) => !Number.isNaN(one));
  return values.length === 0 ? Number.NaN : Math.min(...values);
}

function figure(label: string, value: number, unit: string, rest: string): string[] {
  return Number.isNaN(value) ? [] : [`'${label.replace(/['=]/g, '_')}'=${value}${unit}${rest}`];
}

function result(code: CheckResult['code'], text: string, data: string): CheckResult {
  return { code, line: `UPLINKD ${WORDS[code]} - ${text.replaceAll('|', '/')}${data === '' ? '' : ` | ${data}`}\n` };
}
