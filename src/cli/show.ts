/**
 * The status as text for people: aligned columns, durations in words, the reason beside everything.
 * Texts from the daemon come through reading.ts and are plain already.
 *
 * Families: nothing is said of them while there is only IPv4. As soon as any uplink has IPv6, each of its families has a line of
 * its own in the table, so that a line which works in one and is dead in the other shows at first sight.
 */
import type { ActiveView, DecisionView, FamilyView, OutsideView, OverrideView, StatusView, TargetView, UplinkView } from './answers.js';
import { table, type Paint, type Tone } from './table.js';

/** Of an uplink as a whole, or in one family. */
export type Judged = Omit<FamilyView, 'family'>;

export function showActive(view: ActiveView, nowMs: number): string {
  const names = view.active.map((one) => `${one.name}  ${one.interface}${one.gateway === '' ? '' : ` via ${one.gateway}`}${one.family === 6 ? '  (IPv6)' : ''}\n`);
  return `${names.length === 0 ? 'none\n' : names.join('')}for ${sinceText(view.sinceMs, nowMs)}, because ${view.because}\n${overrideLines(view.override, nowMs).map((line) => `override: ${line}\n`).join('')}`;
}

export function showStatus(view: StatusView, paint: Paint): string {
  const now = view.atMs;
  const heads: [string, string][] = [
    ...decisionHeads(view, now, paint),
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
    uplinkTable(view, now, paint),
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

/** After verdict: what the uplink is now, and what stands of what others said. */
export function showSaid(view: StatusView, name: string): string {
  const uplink = view.uplinks.find((one) => one.name === name);
  if (uplink === undefined) return showActive(view, view.atMs);
  const said = uplink.outside.map((one) => `verdict: ${outsideText(one, view.atMs)}\n`).join('');
  return `${uplink.name} is ${uplink.state}, because ${uplink.because}\n${said === '' ? 'verdict: none from outside\n' : said}active: ${activeNames(view)}\n`;
}

/** `bgp-watch says down for another 20s, until 12:01:20: the session is lost` */
export function outsideText({ by, state, because, untilMs }: OutsideView, nowMs: number): string {
  return `${by} says ${state} ${untilText(untilMs, nowMs)}${because === '' ? '' : `: ${because}`}`;
}

/** `for another 20s, until 12:01:20` */
export function untilText(untilMs: number, nowMs: number): string {
  return `for another ${durationText(untilMs - nowMs)}, until ${clockText(untilMs, nowMs)}`;
}

export function familyText(family: number): string {
  return Number.isNaN(family) ? 'an unknown family' : `IPv${family}`;
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

/** `12:01:20` by the clock of who reads it, with the date where it is another day. */
export function clockText(ms: number, nowMs: number): string {
  if (Number.isNaN(ms)) return 'an unknown time';
  const date = new Date(ms);
  const two = (value: number) => String(value).padStart(2, '0');
  const clock = [date.getHours(), date.getMinutes(), date.getSeconds()].map(two).join(':');
  const sameDay = date.toDateString() === new Date(nowMs).toDateString();
  return sameDay ? clock : `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} ${clock}`;
}

/** One choice for both families in two lines; two choices in two lines each. */
export function decisionHeads(view: StatusView, nowMs: number, paint: Paint): [string, string][] {
  const heads = (names: readonly string[], where: string, { sinceMs, because }: { readonly sinceMs: number; readonly because: string }): [string, string][] => [
    ['active', names.length === 0 ? `${paint('bad', 'none')}${where}` : `${names.join(', ')}${where}, for ${sinceText(sinceMs, nowMs)}`],
    ['because', because],
  ];
  const shown = hasIpv6(view) ? view.decisions.filter(({ family }) => view.uplinks.some((uplink) => uplink.families.some((one) => one.family === family))) : [];
  const names = (one: DecisionView) => one.order[0] ?? [];
  const [first, ...others] = shown;
  if (first === undefined) return heads([...new Set(view.active.map((one) => one.name))], '', view);
  const same = others.every((one) => names(one).join() === names(first).join() && one.because === first.because);
  if (same) return heads(names(first), ` in ${shown.map((one) => familyText(one.family)).join(' and ')}`, first);
  return shown.flatMap((one) => heads(names(one), ` in ${familyText(one.family)}`, one));
}

/** Lines at most so long, but for words that are longer. */
const COLUMNS_AT_MOST = 100;

/** What is to be compared stands in columns; the reason, which may be long, stands below. */
function uplinkTable(view: StatusView, nowMs: number, paint: Paint): string {
  if (view.uplinks.length === 0) return 'no uplinks\n';
  const byFamily = hasIpv6(view);
  const parts = view.uplinks.flatMap((uplink): { readonly part: Judged; readonly cells: readonly string[] }[] => {
    if (!byFamily || uplink.families.length === 0) return [{ part: uplink, cells: uplinkRow(uplink, uplink, byFamily ? ['-'] : []) }];
    return uplink.families.map((part, i) => {
      const cells = uplinkRow(uplink, part, [familyText(part.family)]);
      return { part, cells: i === 0 ? cells : cells.map((cell, column) => (column === 0 ? cell.slice(0, 1) : SAID_ONCE.includes(column) ? '' : cell)) };
    });
  });
  const head = ['  UPLINK', ...(byFamily ? ['IP'] : []), 'STATE', 'DEVICE', 'GATEWAY', 'PRIO', 'LOSS', 'LATENCY', 'FAULT'];
  const state = head.indexOf('STATE');
  const rows = table([head, ...parts.map(({ cells }) => cells)], (row, column, cell) => (row === 0 ? paint('faint', cell) : column === state ? paint(stateTone(cell.trim()), cell) : cell));
  const [first, ...others] = rows.trimEnd().split('\n');
  return [`${first}\n`, ...others.map((row, i) => `${row}\n${reasonLines(parts[i]?.part, nowMs)}`)].join('');
}

/** Columns of an uplink's first line only, where it has one for each family: DEVICE, PRIO. */
const SAID_ONCE: readonly number[] = [3, 5];

function uplinkRow(uplink: UplinkView, part: Judged, family: readonly string[]): string[] {
  const { quality, domain } = part;
  return [
    `${part.active ? '*' : ' '} ${uplink.name}`, ...family, part.state, uplink.interface, orDash(part.gateway), numberText(uplink.priority),
    percentText(quality.lossPercent), msText(quality.latencyMs), domain === 'none' ? '-' : orDash(domain),
  ];
}

function reasonLines(part: Judged | undefined, nowMs: number): string {
  if (part === undefined) return '';
  const busy = part.quality.busy ? '; the line is full of our own traffic' : '';
  return wrapped(`for ${sinceText(part.sinceMs, nowMs)}, because ${part.because}${busy}`, COLUMNS_AT_MOST - 6).map((line) => `      ${line}\n`).join('');
}

/** Broken between words. */
export function wrapped(text: string, columns: number): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && [...line].length + 1 + [...word].length > columns) {
      lines.push(line);
      line = word;
    } else line = line === '' ? word : `${line} ${word}`;
  }
  return [...lines, line];
}

function targetTable(uplinks: readonly UplinkView[], paint: Paint): string {
  const rows = uplinks.flatMap((uplink) => uplink.targets.map((target) => targetRow(uplink, target)));
  if (rows.length === 0) return '';
  return table([['  UPLINK', 'TARGET', 'ADDRESS', 'ANSWERS', 'RTT', 'JITTER', 'LOSS', 'LAST ERROR'], ...rows], (row, column, cell) =>
    row === 0 ? paint('faint', cell) : column === 3 ? paint(cell.trim() === 'yes' ? 'good' : 'bad', cell) : cell);
}

function targetRow(uplink: UplinkView, target: TargetView): string[] {
  const unknown = target.family === 6 ? '- (IPv6)' : '-';
  return [
    `  ${uplink.name}`, target.target, target.address === '' ? unknown : target.address, target.answering ? 'yes' : 'no', msText(target.rttMs), msText(target.jitterMs),
    percentText(target.lossPercent), target.answering ? '' : target.lastError,
  ];
}

export function hasIpv6(view: StatusView): boolean {
  return view.uplinks.some((uplink) => uplink.families.some(({ family }) => family === 6));
}

export function overrideLines(override: OverrideView | undefined, nowMs: number): string[] {
  if (override === undefined) return [];
  const until = Number.isNaN(override.untilMs) ? 'until "uplinkctl auto"' : `for another ${durationText(override.untilMs - nowMs)}`;
  const reason = override.reason === '' ? '' : `: ${override.reason}`;
  const obey = override.ifDead === 'obey' ? ', even if it dies' : '';
  const lines = [`${override.uplink} ${until}${obey}, by ${override.by}${reason}`];
  if (!Number.isNaN(override.confirmByMs)) lines.push(`dropped in ${durationText(override.confirmByMs - nowMs)} unless "uplinkctl confirm" comes before`);
  return lines;
}

export function stateTone(state: string): Tone {
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

function activeNames(view: ActiveView): string {
  const names = [...new Set(view.active.map((one) => one.name))];
  return names.length === 0 ? 'none' : names.join(', ');
}

/** With a tenth where a percent matters: `1.3%`, `40%`. */
export function percentText(percent: number): string {
  return Number.isNaN(percent) ? '-' : `${percent < 9.95 ? Math.round(percent * 10) / 10 : Math.round(percent)}%`;
}

export function sinceText(sinceMs: number, nowMs: number): string {
  return durationText(nowMs - sinceMs);
}

export function msText(ms: number): string {
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
