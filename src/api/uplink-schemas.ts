/**
 * The JSON of an uplink: how it fares in each family, on what evidence, and what is asked through it.
 * Written as schemas.ts is, which says what comes from it.
 */
import type { Evidence, FaultDomain, LostCause, Proof, Target, UplinkState } from '../model.js';
import { SAID_STATES } from './request-schemas.js';
import { family, list, number, orNull, text, time, timeOrNull, whole, yesNo, type Shape } from './schema-parts.js';

export const UPLINK_STATES = ['up', 'suspect', 'degraded', 'down', 'draining', 'disabled', 'unknown'] as const satisfies readonly UplinkState[];
const TARGET_KINDS = ['icmp', 'arp', 'hop', 'tcp', 'dns', 'http', 'exec'] as const satisfies readonly Target['kind'][];
const WITNESSES = ['line', 'target', 'flows', 'outside'] as const satisfies readonly Evidence['witness'][];
const PROOFS = ['less loss', 'targets', 'answer', 'nothing'] as const satisfies readonly Proof[];
const SAYINGS = ['alive', 'silent', 'wrong', 'poor', 'nothing'] as const satisfies readonly Evidence['says'][];

/** Where it broke, in words; uplinkctl has the same. */
export const FAULT_MEANINGS = {
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

const LOST_CAUSE_MEANINGS = {
  unsent: 'the kernel would not send it',
  prober: 'our own socket or program is at fault',
  unreachable: 'a router says that it cannot be reached (ICMP)',
  refused: 'closed by a reset',
  answer: 'not the answer expected',
  portal: 'a captive portal answered',
  dns: 'the name could not be looked up',
  failed: 'the program said no',
} as const satisfies Readonly<Record<LostCause, string>>;

const FAULT_DOMAINS = keysOf(FAULT_MEANINGS);
const LOST_CAUSES = keysOf(LOST_CAUSE_MEANINGS);

export const evidence = {
  title: 'Evidence',
  description: 'What one witness had to say when the verdict was made.',
  type: 'object',
  required: ['witness', 'name', 'says', 'text'],
  properties: {
    witness: { type: 'string', enum: WITNESSES, description: '`line`: the kernel; `target`: one that is asked; `flows`: connections that pass through; `outside`: somebody else' },
    name: text('which one: a target, an interface, who said it'),
    says: { type: 'string', enum: SAYINGS, description: '`wrong`: an answer that is not the one expected; `poor`: it works, badly; `nothing`: it has nothing to say at present' },
    text: text('in words'),
  },
} as const;

export const quality = {
  title: 'Quality',
  description: 'How well it answers, over the window of `health.quality`.',
  type: 'object',
  required: ['lossPercent', 'latencyMs', 'jitterMs', 'busy'],
  properties: {
    lossPercent: orNull('number', 'lost probes; null: too few to say'),
    latencyMs: orNull('number', 'round trip time; null: too few answers to say'),
    jitterMs: orNull('number', 'mean deviation from it; null: too few answers to say'),
    busy: yesNo('the line is full of our own traffic: loss and latency do not count meanwhile'),
  },
} as const;

export const damping = {
  title: 'Damping',
  description: 'Whether it may lead yet, after what happened lately (`health.damping`, `failback.hold`).',
  type: 'object',
  required: ['penalty', 'suppressedUntil', 'holdMs', 'awaits'],
  properties: {
    penalty: number('its recent deaths and degradations, one point each, decayed by their half-life'),
    suppressedUntil: timeOrNull('it comes last until then; null: it does not'),
    holdMs: number('so long it must hold after its next death before it leads again; grows with each flap'),
    awaits: { type: 'string', enum: PROOFS, description: 'it has held, and is to show this before it takes the lead back: `less loss`, half of `quality.loss.up` at the most; `targets`, those that used to answer by it and answer by the active one; `answer`, one more' },
  },
} as const;

export const traffic = {
  title: 'Traffic',
  description: 'What passes through at present: what connections from the LAN send out, and what comes back for them. Null: nothing counts it.',
  type: ['object', 'null'],
  required: ['sentPacketsPerSecond', 'answeredPacketsPerSecond', 'sentBytesPerSecond', 'answeredBytesPerSecond', 'progressing'],
  properties: {
    sentPacketsPerSecond: number('packets out'),
    answeredPacketsPerSecond: number('packets back'),
    sentBytesPerSecond: number('bytes out'),
    answeredBytesPerSecond: number('bytes back'),
    progressing: orNull('boolean', 'connections get their answers at the usual rate; null: too little traffic to say'),
  },
} as const;

export const probeBytes = {
  title: 'ProbeBytes',
  description: 'What probes cost in the last 24 hours, both ways.',
  type: 'object',
  required: ['spent', 'budget'],
  properties: {
    spent: whole('bytes on the line, estimated'),
    budget: orNull('integer', 'what they may cost in 24 hours (`probe.budget`); null: no limit'),
  },
} as const;

export const outsideVerdict = {
  title: 'OutsideVerdict',
  description: 'What somebody else says of the uplink, for a time.',
  type: 'object',
  required: ['state', 'by', 'because', 'since', 'until'],
  properties: {
    state: { type: 'string', enum: SAID_STATES, description: '`down`: it is down, whatever answers; `up`: one witness more that answers' },
    by: text('who says so'),
    because: text('why, in their words; empty: they gave no reason'),
    since: time('since when'),
    until: time('when it is forgotten'),
  },
} as const;

export const target = {
  title: 'Target',
  type: 'object',
  required: ['family', 'target', 'kind', 'address', 'answering', 'rttMs', 'jitterMs', 'lossPercent', 'timeoutMs', 'lastReplyAt', 'lastError', 'lastCause', 'sent', 'received'],
  properties: {
    family,
    target: text('`gateway`, or the method and the host: `icmp 1.1.1.1`'),
    kind: { type: 'string', enum: TARGET_KINDS, description: 'how it is asked' },
    address: orNull('string', 'the address that is asked; null while it is not known'),
    answering: yesNo('the last probes were answered'),
    rttMs: orNull('number', 'smoothed round trip time; null before the first answer'),
    jitterMs: orNull('number', 'its smoothed deviation (RTTVAR of RFC 6298)'),
    lossPercent: orNull('number', 'of the probes in the window; null before the first'),
    timeoutMs: number('an answer later than this is missed'),
    lastReplyAt: timeOrNull('the last answer'),
    lastError: text('what went wrong last, in words; empty: nothing'),
    lastCause: { type: ['string', 'null'], enum: [...LOST_CAUSES, null], description: `why there was no answer last, beyond silence. ${listed(LOST_CAUSE_MEANINGS)}; null: nothing but silence` },
    sent: whole('probes sent'),
    received: whole('answers received, late ones too'),
  },
} as const;

const judged = {
  state: { type: 'string', enum: UPLINK_STATES, description: 'what we make of it' },
  since: time('since when it is in this state'),
  because: text('why, in words'),
  domain: { type: 'string', enum: FAULT_DOMAINS, description: `the fault domain: where it broke. ${listed(FAULT_MEANINGS)}` },
  evidence: list(evidence, 'what it was made of'),
  active: yesNo('carries new flows now'),
  rank: orNull('integer', 'its place in the order of preference, 0 = active; null: not in use'),
  gateway: orNull('string', 'where its packets go next; null: point-to-point, or not known yet'),
  severed: yesNo('no packet can leave: no device, no carrier or no gateway'),
  inDoubt: yesNo('a missed answer is being checked by a burst of probes'),
  holdUntil: timeOrNull('new flows stay away until then although it answers again; null: no hold'),
  quality,
  damping,
  traffic,
} as const;
const JUDGED_KEYS = [
  'state', 'since', 'because', 'domain', 'evidence', 'active', 'rank', 'gateway', 'severed', 'inDoubt', 'holdUntil', 'quality', 'damping', 'traffic',
] as const;

export const uplinkFamily = {
  title: 'UplinkFamily',
  description: 'How an uplink fares in IPv4 or in IPv6. A line may work in one and be dead in the other.',
  type: 'object',
  required: ['family', ...JUDGED_KEYS],
  properties: { family, ...judged },
} as const;
export type UplinkFamilyPart = Shape<typeof uplinkFamily>;

export const uplinkAnswer = {
  title: 'Uplink',
  description: 'What is known of one uplink. What `families` tells of each family stands beside it too, as it is in the first of them.',
  type: 'object',
  required: [
    'name', ...JUDGED_KEYS, 'interface', 'ifindex', 'addresses', 'carrier', 'priority', 'weight', 'metered', 'mark', 'table', 'suspicions', 'downs', 'probeBytes', 'outside',
    'families', 'targets',
  ],
  properties: {
    name: text('the uplink'),
    ...judged,
    interface: text('its network interface'),
    ifindex: orNull('integer', 'the kernel\'s number of the interface; null: there is no such interface'),
    addresses: list({ type: 'string' }, 'addresses of the interface'),
    carrier: yesNo('the cable is in and the other end is alive'),
    priority: whole('lower is preferred'),
    weight: whole('its share among uplinks of equal priority'),
    metered: yesNo('costs by volume'),
    mark: text('packet mark of its flows, hexadecimal'),
    table: whole('its routing table'),
    suspicions: whole('how often it was suspected'),
    downs: whole('how often it went down'),
    probeBytes,
    outside: list(outsideVerdict, 'what others say of it at present'),
    families: list(uplinkFamily, 'how it fares in each family that it has'),
    targets: list(target, 'what is asked through it'),
  },
} as const;
export type UplinkAnswer = Shape<typeof uplinkAnswer>;

export const uplinksAnswer = {
  title: 'Uplinks',
  type: 'object',
  required: ['uplinks'],
  properties: { uplinks: list(uplinkAnswer, 'in the order of the config') },
} as const;
export type UplinksAnswer = Shape<typeof uplinksAnswer>;

function keysOf<const M extends object>(meanings: M): readonly (keyof M & string)[] {
  return Object.keys(meanings) as (keyof M & string)[];
}

function listed(meanings: Readonly<Record<string, string>>): string {
  return Object.entries(meanings).map(([key, meaning]) => `\`${key}\`: ${meaning}`).join('; ');
}
