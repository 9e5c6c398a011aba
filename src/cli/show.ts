/**
 * Answers as text for people: aligned columns, durations in words, the reason beside everything. Colour is a hint beside the word
 * and never instead of it. Texts from the daemon come through answers.ts and are plain already.
 */
import type { ActiveView, OverrideView, StatusView, TargetView, UplinkView } from './answers.js';

/** Colours a cell that is already padded; gives it back as it is where there is no terminal. */
export type Paint = (tone: Tone, text: string) => string;
export type Tone = 'good' | 'doubt' | 'bad' | 'faint';

const SGR = { good: '32', doubt: '33', bad: '31', faint: '2' } as const;

export function paintFor(colours: boolean): Paint {
  return (tone, text) => (colours ? `\u001b[${SGR[tone]}m${text}\u001b[0m` : text);
}

export function showActive(view: ActiveView, nowMs: number): string {
  const names = view.active.map((one) => `${one.name}  ${one.interface}${one.gateway === '' ? '' : ` via ${one.gateway}`}\n`);
  return `${names.length === 0 ? 'none\n' : names.join('')}for ${sinceText(view.sinceMs, nowMs)}, because ${view.because}\n${overrideLines(view.override, nowMs).map((line) => `override: ${line}\n`).join('')}`;
}

export function showStatus(view: StatusView, paint: Paint): string {
  const now = view.atMs;
  const names = view.active.map((one) => one.name).join(', ');
  const heads: [string, string][] = [
    ['active', names === '' ? paint('bad', 'none') : `${names}, for ${sinceText(view.sinceMs, now)}`],
    ['because', view.because],
    ...overrideLines(view.override, now).map((line): [string, string] => ['override', line]),
    ['kernel', `${view.kernel.inSync ? 'in sync' : paint('doubt', 'not in sync')}, ${countText(view.kernel.applied, 'change')}, ${countText(view.kernel.repairs, 'repair')}`],
    ['host', view.host === undefined ? 'not looked at yet' : `NAT by ${view.host.natBackend} ${syncText(view.host.natInSync, paint)}, sysctls ${syncText(view.host.sysctlsInSync, paint)}`],
    ['daemon', `${view.controller.version}, up ${sinceText(view.controller.startedAtMs, now)}${view.controller.ready ? '' : paint('doubt', ', not ready')}, timer at most ${msText(view.controller.worstLatenessMs)} late`],
  ];
  const problems = [
    ...(view.rule === 'last-resort' ? ['no uplink is fit; the last choice is kept because nothing better is left'] : []),
    ...view.kernel.failures.map((failure) => `the kernel refused: ${failure}`),
    ...(view.host?.problems ?? []),
  ];
  return [
    table(heads.map(([key, value]) => [key, value])),
    ...problems.map((problem) => `${paint('bad', '!')} ${problem}\n`),
    '\n',
    uplinkTable(view.uplinks, now, paint),
    '\n',
    targetTable(view.uplinks, paint),
  ].join('');
}

/** After switch-uplink, confirm and auto: what stands now, and whether it is what was asked for. */
export function showOutcome(view: StatusView): string {
  const chosen = view.override?.uplink;
  const unused = chosen === undefined || view.active.some((one) => one.name === chosen) ? undefined : view.uplinks.find((uplink) => uplink.name === chosen);
  const hint = unused === undefined ? '' : `${unused.name} is chosen but not in use: it is ${unused.state}, ${unused.because}\n`;
  return hint + showActive(view, view.atMs);
}

/** `4m12s`: the two largest units; below ten seconds with a tenth. */
export function durationText(ms: number): string {
  if (Number.isNaN(ms)) return 'an unknown time';
  const tenths = Math.max(0, Math.round(ms / 100));
  if (tenths < 100) return `${tenths / 10}s`;
  let rest = Math.round(Math.max(0, ms) / 1000);
  const parts: string[] = [];
  for (const [unit, seconds] of [['d', 86_400], ['h', 3_600], ['m', 60], ['s', 1]] as const) {
    const count = Math.floor(rest / seconds);
    rest -= count * seconds;
    if (count > 0 || parts.length > 0) parts.push(`${count}${unit}`);
  }
  return parts.slice(0, 2).filter((part) => !part.startsWith('0')).join('');
}

function uplinkTable(uplinks: readonly UplinkView[], nowMs: number, paint: Paint): string {
  if (uplinks.length === 0) return 'no uplinks\n';
  return table([
    ['  UPLINK', 'STATE', 'FOR', 'DEVICE', 'GATEWAY', 'PRIORITY', 'BECAUSE'],
    ...uplinks.map((uplink) => [
      `${uplink.active ? '*' : ' '} ${uplink.name}`, uplink.state, sinceText(uplink.sinceMs, nowMs), uplink.interface, orDash(uplink.gateway), numberText(uplink.priority), uplink.because,
    ]),
  ], (row, column, cell) => (column === 1 && row > 0 ? paint(stateTone(cell.trim()), cell) : row === 0 ? paint('faint', cell) : cell));
}

function targetTable(uplinks: readonly UplinkView[], paint: Paint): string {
  const rows = uplinks.flatMap((uplink) => uplink.targets.map((target) => targetRow(uplink, target)));
  if (rows.length === 0) return '';
  return table([['  UPLINK', 'TARGET', 'ADDRESS', 'ANSWERS', 'RTT', 'JITTER', 'LOSS', 'LAST ERROR'], ...rows], (row, column, cell) =>
    column === 3 && row > 0 ? paint(cell.trim() === 'yes' ? 'good' : 'bad', cell) : row === 0 ? paint('faint', cell) : cell);
}

function targetRow(uplink: UplinkView, target: TargetView): string[] {
  return [
    `  ${uplink.name}`, target.target, orDash(target.address), target.answering ? 'yes' : 'no', msText(target.rttMs), msText(target.jitterMs),
    Number.isNaN(target.lossPercent) ? '-' : `${Math.round(target.lossPercent)}%`, target.answering ? '' : target.lastError,
  ];
}

function overrideLines(override: OverrideView | undefined, nowMs: number): string[] {
  if (override === undefined) return [];
  const until = Number.isNaN(override.untilMs) ? 'until "uplinkctl auto"' : `for another ${durationText(override.untilMs - nowMs)}`;
  const reason = override.reason === '' ? '' : `: ${override.reason}`;
  const obey = override.ifDead === 'obey' ? ', even if it dies' : '';
  const lines = [`${override.uplink} ${until}${obey}, by ${override.by}${reason}`];
  if (!Number.isNaN(override.confirmByMs)) lines.push(`dropped in ${durationText(override.confirmByMs - nowMs)} unless "uplinkctl confirm" comes before`);
  return lines;
}

/** Columns as wide as their widest cell; the last one runs free. */
function table(rows: readonly (readonly string[])[], paintCell: (row: number, column: number, padded: string) => string = (_row, _column, cell) => cell): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => [...(row[column] ?? '')].length)));
  const line = (row: readonly string[], index: number) => row.map((cell, column) => paintCell(index, column, column === row.length - 1 ? cell : cell + ' '.repeat((widths[column] ?? 0) - [...cell].length))).join('  ').trimEnd();
  return rows.map((row, index) => `${line(row, index)}\n`).join('');
}

function stateTone(state: string): Tone {
  switch (state) {
    case 'up':
      return 'good';
    case 'down':
      return 'bad';
    default:
      return 'doubt';
  }
}

function syncText(inSync: boolean, paint: Paint): string {
  return inSync ? 'in sync' : paint('doubt', 'not in sync');
}

function sinceText(sinceMs: number, nowMs: number): string {
  return durationText(nowMs - sinceMs);
}

function msText(ms: number): string {
  return Number.isNaN(ms) ? '-' : `${ms < 100 ? ms.toFixed(1) : Math.round(ms)}ms`;
}

function countText(count: number, noun: string): string {
  return Number.isNaN(count) ? `an unknown number of ${noun}s` : `${count} ${noun}${count === 1 ? '' : 's'}`;
}

function numberText(value: number): string {
  return Number.isNaN(value) ? '-' : String(value);
}

function orDash(value: string): string {
  return value === '' ? '-' : value;
}
