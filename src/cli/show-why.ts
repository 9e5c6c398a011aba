/**
 * `uplinkctl why`: the choice and its reason; then of each uplink, family by family, the verdict, where it broke, the figures that it
 * hangs on, and the evidence as a table. What has nothing to say has no line.
 */
import type { FamilyView, StatusView, TrafficView, UplinkView } from './answers.js';
import {
  decisionHeads, durationText, familyText, hasIpv6, msText, outsideText, overrideLines, percentText, sinceText, stateTone, untilText, type Judged,
} from './show.js';
import { bytesText } from './show-questions.js';
import { table, type Paint } from './table.js';
import type { FaultDomain } from '../model.js';

/** As the REST API describes them. */
export const FAULT_WORDS = {
  none: 'nothing is known to be broken',
  device: 'the network interface is absent or switched off',
  link: 'the cable or the radio, there is no carrier',
  address: 'the interface has no address of this family, or no gateway is known',
  gateway: 'the gateway does not answer',
  hops: 'between the gateway and the first router beyond it that is watched',
  upstream: 'beyond the gateway',
  target: 'a target, not the line',
  dns: 'names cannot be looked up',
  portal: 'a captive portal wants somebody to log in',
  mtu: 'large packets do not pass',
  quality: 'it works, badly',
  connections: 'targets answer, connections do not',
  everything: 'all uplinks at once, so perhaps this machine',
  prober: 'this machine cannot ask, so nothing is said about the line',
  outside: 'somebody else says so',
} as const satisfies Readonly<Record<FaultDomain, string>>;

/** @param name of the only uplink to speak of, '' = all; one that is not there has no chapter */
export function showWhy(view: StatusView, name: string, paint: Paint): string {
  const now = view.atMs;
  const heads = [...decisionHeads(view, now, paint), ...overrideLines(view.override, now).map((line): [string, string] => ['override', line])];
  const uplinks = view.uplinks.filter((uplink) => name === '' || uplink.name === name);
  return [table(heads), ...uplinks.flatMap((uplink) => chapters(uplink, hasIpv6(view), now, paint))].join('\n');
}

function chapters(uplink: UplinkView, byFamily: boolean, nowMs: number, paint: Paint): string[] {
  if (!byFamily || uplink.families.length === 0) return [chapter(uplink, uplink, '', wholeLines(uplink, nowMs), nowMs, paint)];
  return uplink.families.map((part: FamilyView, i) => chapter(uplink, part, `  ${familyText(part.family)}`, i === 0 ? wholeLines(uplink, nowMs) : [], nowMs, paint));
}

function chapter(uplink: UplinkView, part: Judged, family: string, whole: readonly [string, string][], nowMs: number, paint: Paint): string {
  const title = `${uplink.name}${family}  ${uplink.interface}${part.gateway === '' ? '' : ` via ${part.gateway}`}`;
  const evidence = part.evidence.map(({ witness, name, says, text }) => [`  ${witness}`, name, says, text]);
  return [
    `${title}\n`,
    table([...judgedLines(part, nowMs, paint), ...whole].map(([key, value]) => [`  ${key}`, value])),
    evidence.length === 0 ? '' : table([['  WITNESS', 'NAME', 'SAYS', 'TEXT'], ...evidence], (row, column, cell) =>
      row === 0 ? paint('faint', cell) : column === 2 ? paint(toneOf(cell.trim()), cell) : cell),
  ].join('');
}

function judgedLines(part: Judged, nowMs: number, paint: Paint): [string, string][] {
  const { quality, damping, traffic, domain } = part;
  const place = part.active ? 'active' : Number.isNaN(part.rank) ? 'not in use' : `place ${part.rank + 1} in the order of preference`;
  const lines: [string, string][] = [
    ['state', `${paint(stateTone(part.state), part.state)} for ${sinceText(part.sinceMs, nowMs)}, ${place}`],
    ['because', part.because],
  ];
  if (domain !== 'none' && domain !== '') lines.push(['fault', domainText(domain)]);
  if (!Number.isNaN(part.holdUntilMs)) lines.push(['hold', `new flows stay away ${untilText(part.holdUntilMs, nowMs)}`]);
  if (damping.awaits !== '' && damping.awaits !== 'nothing') lines.push(['awaited', proofText(damping.awaits)]);
  if (!Number.isNaN(damping.suppressedUntilMs)) lines.push(['suppressed', `comes last ${untilText(damping.suppressedUntilMs, nowMs)}`]);
  if (!Number.isNaN(damping.penalty)) lines.push(['penalty', `${Math.round(damping.penalty * 100) / 100}; after its next death it must hold ${durationText(damping.holdMs)} before it leads`]);
  const busy = quality.busy ? '; the line is full of our own traffic, so they do not count' : '';
  lines.push(['quality', `loss ${percentText(quality.lossPercent)}, latency ${msText(quality.latencyMs)}, jitter ${msText(quality.jitterMs)}${busy}`]);
  if (traffic !== undefined) lines.push(['traffic', trafficText(traffic)]);
  return lines;
}

/** What is told of the uplink and not of its families. */
function wholeLines({ probeBytes, outside }: UplinkView, nowMs: number): [string, string][] {
  const budget = Number.isNaN(probeBytes.budget) ? '' : ` of ${bytesText(probeBytes.budget)}`;
  const probes: [string, string][] = Number.isNaN(probeBytes.spent) ? [] : [['probes', `${bytesText(probeBytes.spent)}${budget} in the last 24 h`]];
  return [...probes, ...outside.map((one): [string, string] => ['outside', outsideText(one, nowMs)])];
}

/** Another version of the daemon may know others. */
function domainText(domain: string): string {
  const words: Readonly<Record<string, string>> = FAULT_WORDS;
  return Object.hasOwn(words, domain) ? `${domain}: ${words[domain] ?? ''}` : domain;
}

function trafficText({ sent, answered, progressing }: TrafficView): string {
  const verdict = progressing === undefined ? 'too little to say more' : progressing ? 'connections get their answers' : 'connections do not get their answers';
  return `${perSecond(sent)} out, ${perSecond(answered)} back; ${verdict}`;
}

function perSecond(count: number): string {
  return Number.isNaN(count) ? 'an unknown number of packets' : `${Math.round(count)} packets/s`;
}

function toneOf(says: string): Parameters<Paint>[0] {
  switch (says) {
    case 'alive':
      return 'good';
    case 'silent':
    case 'wrong':
      return 'bad';
    case 'poor':
      return 'doubt';
    default:
      return 'faint';
  }
}

/** What an uplink that has held is to show before it takes the lead back. */
function proofText(awaits: string): string {
  switch (awaits) {
    case 'less loss':
      return 'it has held; it takes the lead back when it loses less';
    case 'targets':
      return 'it has held; it takes the lead back when the targets that answer by the active uplink answer by it, too';
    case 'answer':
      return 'it has held; it takes the lead back at its next answer';
    default:
      return awaits;
  }
}
