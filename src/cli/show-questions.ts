/**
 * what-if, plan, reload, policies and doctor as text for people.
 */
import type { DecisionView } from './answers.js';
import type { FindingView, PolicyView, PreviewView } from './question-answers.js';
import { durationText, familyText } from './show.js';
import { table, type Paint, type Tone } from './table.js';

/** @param done of a reload: it was done */
export function showPreview(view: PreviewView, done: boolean, paint: Paint): string {
  const sections: [string, readonly string[]][] = [['routing', view.routing], ['filter', view.filter], ['sysctls', view.sysctls], ['flows', view.flows]];
  const filled = sections.filter(([, lines]) => lines.length > 0);
  return [
    table(choices(view)),
    ...view.notes.map((note) => `${paint('doubt', '!')} ${note}\n`),
    ...(view.inSync === false ? [`${paint('bad', '!')} the kernel does not have all of it yet: see "uplinkctl status"\n`] : []),
    ...(filled.length === 0 ? [done ? '\nnothing had to be changed\n' : '\nnothing would change\n'] : []),
    ...filled.map(([title, lines]) => `\n${title}\n${lines.map((line) => `  ${line}\n`).join('')}`),
  ].join('');
}

export function showPolicies(policies: readonly PolicyView[], paint: Paint): string {
  if (policies.length === 0) return 'no policies\n';
  const head = ['POLICY', 'NOW', 'CONNECTIONS', 'BYTES', 'ORDER', 'WHAT FITS'];
  const rows = policies.map((policy) => [policy.name, carrierText(policy), countText(policy.connections), bytesText(policy.bytes), orderText(policy), matchText(policy)]);
  return table([head, ...rows], (row, _column, cell) => (row === 0 ? paint('faint', cell) : cell));
}

/** The worst first. */
export function showFindings(findings: readonly FindingView[], paint: Paint): string {
  const worst = (finding: FindingView) => (LEVELS.includes(finding.level) ? LEVELS.indexOf(finding.level) : LEVELS.length);
  const sorted = [...findings].sort((a, b) => worst(a) - worst(b));
  const widths = { level: Math.max(0, ...sorted.map(({ level }) => level.length)), subject: Math.max(0, ...sorted.map(({ subject }) => subject.length)) };
  const shown = sorted.map(({ level, subject, text, remedy }) =>
    `${paint(toneOf(level), level.padEnd(widths.level))}  ${subject.padEnd(widths.subject)}  ${text}\n${remedy.map((line) => `    ${line}`.trimEnd() + '\n').join('')}`);
  return shown.length === 0 ? 'nothing was looked at yet\n' : shown.join('');
}

const LEVELS = ['error', 'warning', 'note', 'ok'];

/** The choice before and after and, where it changes, why; families that fare alike are told together. */
function choices({ before, after }: PreviewView): string[][] {
  const told = new Map<string, string[]>();
  for (const { family, order, because } of after) {
    const former = before.find((one) => one.family === family)?.order ?? [];
    // Of a family that nobody has, or had, there is nothing to say.
    if (former.length === 0 && order.length === 0) continue;
    const [then, now] = [ranksText(former), ranksText(order)];
    const text = then === now ? `${now}, as before` : `${then} → ${now}\nbecause ${because}`;
    told.set(text, [...(told.get(text) ?? []), familyText(family)]);
  }
  return [...told].flatMap(([text, families]) => text.split('\n').map((line, i) => [i === 0 ? families.join(' and ') : '', line]));
}

function ranksText(order: DecisionView['order']): string {
  return order.length === 0 ? 'none' : order.map((rank) => rank.join(' and ')).join(', then ');
}

/** `udp from 10.0.0.0/8 to port 5060-5080; destination in set providers` */
function matchText(policy: PolicyView): string {
  const ends = [
    ...(policy.protocol === 'any' || policy.protocol === '' ? [] : [policy.protocol]),
    ...endText('from', policy.sources, policy.sourcePorts),
    ...endText('to', policy.destinations, policy.destinationPorts),
  ];
  const parts = [
    ...(ends.length === 0 ? [] : [ends.join(' ')]),
    ...(policy.set === undefined ? [] : [`${policy.set.side} in set ${policy.set.name}`]),
    ...(policy.mark === undefined ? [] : [`mark ${policy.mark.value}/${policy.mark.mask}`]),
  ];
  return [...(parts.length === 0 ? ['everything'] : parts), ...(policy.router ? ['the router\'s own too'] : [])].join('; ');
}

function endText(word: string, prefixes: readonly string[], ports: readonly string[]): string[] {
  if (prefixes.length === 0 && ports.length === 0) return [];
  return [[word, ...(prefixes.length === 0 ? [] : [someText(prefixes)]), ...(ports.length === 0 ? [] : [`port ${someText(ports)}`])].join(' ')];
}

/** A list as long as a line bears; --json has all of it. */
function someText(items: readonly string[]): string {
  return items.length <= 4 ? items.join(', ') : `${items.slice(0, 3).join(', ')} and ${items.length - 3} more`;
}

/** `fibre 3 and cable 1, then lte; else blocked; sticky 10m` */
function orderText(policy: PolicyView): string {
  const ranks = policy.order.map((rank) => rank.map(({ uplink, weight }) => (rank.length > 1 ? `${uplink} ${weight}` : uplink)).join(' and '));
  const otherwise = policy.otherwise === 'block' ? 'else blocked' : 'else as others';
  return [ranks.join(', then '), otherwise, ...(Number.isNaN(policy.stickyMs) ? [] : [`sticky ${durationText(policy.stickyMs)}`])].join('; ');
}

function carrierText(policy: PolicyView): string {
  const unfit = policy.otherwise === 'block' ? 'blocked' : 'as others';
  const texts = policy.active.map(({ uplinks }) => (uplinks.length === 0 ? unfit : uplinks.join(' and ')));
  if (new Set(texts).size <= 1) return texts[0] ?? '-';
  return policy.active.map(({ family }, i) => `${familyText(family)} ${texts[i] ?? ''}`).join(', ');
}

function toneOf(level: string): Tone {
  switch (level) {
    case 'error':
      return 'bad';
    case 'warning':
      return 'doubt';
    case 'ok':
      return 'good';
    default:
      return 'faint';
  }
}

function countText(count: number): string {
  return Number.isNaN(count) ? '-' : String(count);
}

/** `1.2 MB`: decimal, as traffic is counted. */
export function bytesText(bytes: number): string {
  if (Number.isNaN(bytes)) return '-';
  const steps = ['B', 'kB', 'MB', 'GB', 'TB'];
  let value = bytes;
  let step = 0;
  for (; value >= 999.95 && step < steps.length - 1; step++) value /= 1000;
  return `${step === 0 ? value : value.toFixed(1)} ${steps[step] ?? ''}`;
}
