/**
 * `uplinkctl check`: one line, performance data and an exit code as monitoring-plugins.org wants them.
 *
 *   CRITICAL  no uplink is active, or one is kept as a last resort although it is unfit
 *   WARNING   the active uplink is not of the best priority of the config (running on a backup), an operator chose it,
 *             or routes, NAT or sysctls are not what they should be: an uplink that is not masqueraded serves nobody
 *   UNKNOWN   uplinkd cannot be reached, or has not applied its first decision
 */
import type { StatusView, UplinkView } from './answers.js';

export interface CheckResult {
  readonly code: 0 | 1 | 2 | 3;
  /** One line, with a line feed. */
  readonly line: string;
}

const WORDS = ['OK', 'WARNING', 'CRITICAL', 'UNKNOWN'] as const;

export function checkStatus(status: StatusView): CheckResult {
  const names = status.active.map((one) => one.name).join(', ');
  const data = performanceData(status);
  if (!status.controller.ready) return result(3, `not ready: the first decision has not been applied yet`, data);
  if (names === '') return result(2, `no uplink is active: ${status.because}`, data);
  if (status.rule === 'last-resort') return result(2, `no uplink is fit, ${names} is kept as a last resort: ${status.because}`, data);
  const warnings = [...backupWarning(status), ...overrideWarning(status), ...hostWarnings(status)];
  if (warnings.length > 0) return result(1, warnings.join('; '), data);
  return result(0, `${names} ${status.active.length === 1 ? 'is' : 'are'} active: ${status.because}`, data);
}

export function checkUnknown(why: string): CheckResult {
  return result(3, why, '');
}

function backupWarning(status: StatusView): string[] {
  const inUse = status.uplinks.filter((uplink) => uplink.active);
  const candidates = status.uplinks.filter((uplink) => uplink.state !== 'disabled');
  const best = Math.min(...candidates.map((uplink) => uplink.priority));
  if (inUse.some((uplink) => uplink.priority === best)) return [];
  const better = candidates.filter((uplink) => uplink.priority === best).map((uplink) => `${uplink.name} is ${uplink.state}: ${uplink.because}`);
  return [`running on a backup, ${status.active.map((one) => one.name).join(', ')}; ${better.join('; ')}`];
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
  return [...figure('active', status.active.length, '', ';;;0'), ...figure('up', up, '', `;;;0;${status.uplinks.length}`), ...perUplink].join(' ');
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
