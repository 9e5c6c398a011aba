/**
 * GET /metrics: the Status as Prometheus text (exposition format 0.0.4).
 *
 * One family = one name, one type, one help text, and a sample per labelled thing. Base units (seconds, ratios), counters end in
 * `_total`. A value that is not known has no sample: absent is honest, zero is not.
 * Source: prometheus.io/docs/instrumenting/exposition_formats
 */
import type { Family, FamilyStatus, Status, TargetStatus, UplinkState, UplinkStatus } from '../model.js';
import { SAID_STATES } from './request-schemas.js';
import { UPLINK_STATES } from './uplink-schemas.js';
import type { Identity, ShowTime } from './wire.js';

export const METRICS_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

type Labels = Readonly<Record<string, string>>;
interface Sample {
  readonly labels: Labels;
  readonly value: number | undefined;
}
interface Metric {
  readonly name: string;
  readonly type: 'gauge' | 'counter';
  readonly help: string;
  readonly samples: readonly Sample[];
}

export function metricsText(status: Status, identity: Identity, show: ShowTime): string {
  return [...controllerMetrics(status, identity, show), ...kernelMetrics(status), ...uplinkMetrics(status.uplinks), ...familyMetrics(status), ...targetMetrics(status.uplinks)]
    .map(metricText)
    .join('');
}

function controllerMetrics(status: Status, identity: Identity, show: ShowTime): Metric[] {
  const { controller, decision, override } = status;
  return [
    one('build_info', 'gauge', 'Which uplinkd this is; always 1.', 1, { version: identity.version, node: process.versions.node }),
    one('start_time_seconds', 'gauge', 'When the daemon started, seconds since 1970.', Date.parse(show(controller.startedAt)) / 1000),
    one('ready', 'gauge', '1 when the first decision was applied to the kernel and read back.', bit(controller.ready)),
    one('timer_lateness_worst_seconds', 'gauge', 'How late the timer was, the worst of the last minute.', controller.worstLatenessMs / 1000),
    one('steps_total', 'counter', 'Events handled.', controller.steps),
    one('generation', 'gauge', 'Grows with each change of the active uplinks.', decision.generation),
    one('active_uplinks', 'gauge', 'How many uplinks carry new flows; 0: nothing is left.', new Set(status.active.map((active) => active.name)).size),
    one('last_resort', 'gauge', '1 when the active uplinks are kept although they are unfit.', bit(decision.rule === 'last-resort')),
    one('override_active', 'gauge', '1 when an operator chose the uplink.', bit(override !== undefined)),
    { name: 'override_info', type: 'gauge', help: 'Which uplink the operator chose.', samples: override === undefined ? [] : [{ labels: { uplink: override.uplink, if_dead: override.ifDead }, value: 1 }] },
  ];
}

function kernelMetrics(status: Status): Metric[] {
  const { kernel, host } = status;
  return [
    one('kernel_in_sync', 'gauge', '1 when the kernel was read back and has what we want.', bit(kernel.inSync)),
    one('kernel_failures', 'gauge', 'Changes that the kernel refuses now.', kernel.failures.length),
    one('kernel_repairs_total', 'counter', 'How often something of ours had to be put back.', kernel.repairs),
    one('kernel_changes_total', 'counter', 'Changes carried out.', kernel.applied),
    one('nat_in_sync', 'gauge', '1 when the NAT rules are what we want.', host && bit(host.natInSync)),
    one('sysctls_in_sync', 'gauge', '1 when the sysctls are what we want.', host && bit(host.sysctlsInSync)),
    one('host_problems', 'gauge', 'What could not be done to NAT, firewall and sysctls.', host?.problems.length),
  ];
}

function uplinkMetrics(uplinks: readonly UplinkStatus[]): Metric[] {
  const each = (name: string, type: Metric['type'], help: string, value: (uplink: UplinkStatus) => number | undefined): Metric => ({
    name,
    type,
    help,
    samples: uplinks.map((uplink) => ({ labels: uplinkLabels(uplink), value: value(uplink) })),
  });
  return [
    each('uplink_up', 'gauge', '1 when the uplink answers: its state is up, degraded or draining.', (uplink) => bit(answers(uplink.state))),
    {
      name: 'uplink_state',
      type: 'gauge',
      help: '1 for the state that the uplink is in, 0 for the others.',
      samples: uplinks.flatMap((uplink) => UPLINK_STATES.map((state) => ({ labels: { ...uplinkLabels(uplink), state }, value: bit(uplink.state === state) }))),
    },
    each('uplink_active', 'gauge', '1 when the uplink carries new flows.', (uplink) => bit(uplink.active)),
    each('uplink_rank', 'gauge', 'Place in the order of preference, 0 = active; absent: not in use.', (uplink) => uplink.rank),
    each('uplink_priority', 'gauge', 'Priority from the config, lower is preferred.', (uplink) => uplink.priority),
    each('uplink_carrier', 'gauge', '1 when the interface has a carrier.', (uplink) => bit(uplink.carrier)),
    each('uplink_suspicions_total', 'counter', 'How often the uplink was suspected.', (uplink) => uplink.suspicions),
    each('uplink_downs_total', 'counter', 'How often the uplink went down.', (uplink) => uplink.downs),
    each('uplink_probe_last_day_bytes', 'gauge', 'What probes cost in the last 24 hours, both ways, estimated; it falls when the hours before cost more.', (uplink) => uplink.probeBytes.spent),
    each('uplink_probe_budget_bytes', 'gauge', 'What probes may cost in 24 hours; absent: no limit.', (uplink) => uplink.probeBytes.budget),
    {
      name: 'uplink_outside_verdicts',
      type: 'gauge',
      help: 'How many others say that the uplink is down, or up.',
      samples: uplinks.flatMap((uplink) => SAID_STATES.map((state) => ({ labels: { ...uplinkLabels(uplink), state }, value: uplink.outside.filter((verdict) => verdict.state === state).length }))),
    },
  ];
}

/** The same by family, where a line may work in one and be dead in the other. */
function familyMetrics({ uplinks, decisions, active }: Status): Metric[] {
  const of = (family: Family): Labels => ({ family: String(family) });
  const parts = uplinks.flatMap((uplink) => uplink.families.map((part) => ({ part, labels: { ...uplinkLabels(uplink), ...of(part.family) } })));
  const each = (name: string, help: string, value: (part: FamilyStatus) => number | undefined): Metric => ({
    name, type: 'gauge', help, samples: parts.map(({ part, labels }) => ({ labels, value: value(part) })),
  });
  return [
    { name: 'family_generation', type: 'gauge', help: 'Grows with each change of the active uplinks of the family.', samples: decisions.map(({ family, decision }) => ({ labels: of(family), value: decision.generation })) },
    { name: 'family_active_uplinks', type: 'gauge', help: 'How many uplinks carry new flows of the family; 0: nothing is left.', samples: decisions.map(({ family }) => ({ labels: of(family), value: active.filter((one) => one.family === family).length })) },
    { name: 'family_last_resort', type: 'gauge', help: '1 when the active uplinks of the family are kept although they are unfit.', samples: decisions.map(({ family, decision }) => ({ labels: of(family), value: bit(decision.rule === 'last-resort') })) },
    each('uplink_family_up', '1 when the uplink answers in the family.', (part) => bit(answers(part.state))),
    {
      name: 'uplink_family_state',
      type: 'gauge',
      help: '1 for the state that the uplink is in in the family, 0 for the others.',
      samples: parts.flatMap(({ part, labels }) => UPLINK_STATES.map((state) => ({ labels: { ...labels, state }, value: bit(part.state === state) }))),
    },
    each('uplink_family_active', '1 when the uplink carries new flows of the family.', (part) => bit(part.active)),
    each('uplink_family_rank', 'Place in the order of preference of the family, 0 = active; absent: not in use.', (part) => part.rank),
    { name: 'uplink_family_fault_info', type: 'gauge', help: 'Where it broke; always 1, and absent where nothing is known to be broken.', samples: parts.flatMap(({ part, labels }) => (part.domain === 'none' ? [] : [{ labels: { ...labels, domain: part.domain }, value: 1 }])) },
    each('uplink_family_loss_ratio', 'Lost probes in the window of health.quality, 0 to 1; absent: too few to say.', (part) => part.quality.lossPercent && part.quality.lossPercent / 100),
    each('uplink_family_latency_seconds', 'Round trip time in the window of health.quality; absent: too few answers to say.', (part) => perThousand(part.quality.latencyMs)),
    each('uplink_family_jitter_seconds', 'Mean deviation of the round trip time in the window of health.quality.', (part) => perThousand(part.quality.jitterMs)),
    each('uplink_family_busy', '1 when the line is full of our own traffic: loss and latency do not count meanwhile.', (part) => bit(part.quality.busy)),
    each('uplink_family_penalty', 'Recent deaths and degradations, one point each, decayed by health.damping.halfLife.', (part) => part.damping.penalty),
    each('uplink_family_suppressed', '1 when the uplink comes last because of its penalty.', (part) => bit(part.damping.suppressedUntil !== undefined)),
    each('uplink_family_hold_seconds', 'So long the uplink must hold after its next death before it leads again.', (part) => perThousand(part.damping.holdMs)),
    each('uplink_family_sent_packets_per_second', 'Packets that connections from the LAN send out at present; absent: not counted.', (part) => part.traffic?.sentPackets),
    each('uplink_family_answered_packets_per_second', 'Packets that come back for connections from the LAN at present; absent: not counted.', (part) => part.traffic?.answeredPackets),
    each('uplink_family_sent_bytes_per_second', 'Bytes that connections from the LAN send out at present; absent: not counted.', (part) => part.traffic?.sentBytes),
    each('uplink_family_answered_bytes_per_second', 'Bytes that come back for connections from the LAN at present; absent: not counted.', (part) => part.traffic?.answeredBytes),
  ];
}

function targetMetrics(uplinks: readonly UplinkStatus[]): Metric[] {
  const each = (name: string, type: Metric['type'], help: string, value: (target: TargetStatus) => number | undefined): Metric => ({
    name,
    type,
    help,
    samples: uplinks.flatMap((uplink) => uplink.targets.map((target) => ({ labels: { ...uplinkLabels(uplink), family: String(target.family), target: target.target }, value: value(target) }))),
  });
  return [
    each('target_answering', 'gauge', '1 when the last probes of the target were answered.', (target) => bit(target.answering)),
    each('target_rtt_seconds', 'gauge', 'Smoothed round trip time.', (target) => perThousand(target.rttMs)),
    each('target_jitter_seconds', 'gauge', 'Smoothed deviation of the round trip time (RTTVAR of RFC 6298).', (target) => perThousand(target.jitterMs)),
    each('target_loss_ratio', 'gauge', 'Lost probes in the window, 0 to 1.', (target) => target.lossPercent && target.lossPercent / 100),
    each('target_timeout_seconds', 'gauge', 'An answer later than this is missed.', (target) => target.timeoutMs / 1000),
    each('target_probes_sent_total', 'counter', 'Probes sent.', (target) => target.sent),
    each('target_replies_received_total', 'counter', 'Answers received, late ones too.', (target) => target.received),
  ];
}

function one(name: string, type: Metric['type'], help: string, value: number | undefined, labels: Labels = {}): Metric {
  return { name, type, help, samples: [{ labels, value }] };
}

function uplinkLabels(uplink: UplinkStatus): Labels {
  return { uplink: uplink.uplink, interface: uplink.interface };
}

function metricText({ name, type, help, samples }: Metric): string {
  const lines = samples.filter(({ value }) => value !== undefined).map(({ labels, value }) => `uplinkd_${name}${labelsText(labels)} ${String(value)}\n`);
  return `# HELP uplinkd_${name} ${help}\n# TYPE uplinkd_${name} ${type}\n${lines.join('')}`;
}

function labelsText(labels: Labels): string {
  const pairs = Object.entries(labels).map(([key, value]) => `${key}="${escaped(value)}"`);
  return pairs.length === 0 ? '' : `{${pairs.join(',')}}`;
}

/** Label values escape backslash, quote and line feed, and nothing else. */
function escaped(value: string): string {
  return value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
}

function answers(state: UplinkState): boolean {
  return ['up', 'degraded', 'draining'].includes(state);
}

function bit(yes: boolean): number {
  return yes ? 1 : 0;
}

function perThousand(ms: number | undefined): number | undefined {
  return ms === undefined ? undefined : ms / 1000;
}
