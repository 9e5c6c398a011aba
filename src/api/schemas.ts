/**
 * The JSON of the REST API, written down once, here and in question-schemas.ts. From these schemas come
 *   the TypeScript types (`Shape`), the validation of requests, the serialisation of answers (fastify),
 *   the OpenAPI document (openapi.ts) and docs/rest.md (reference.ts).
 *
 * A property that stands in a schema and not in the answer is an error, and so is the reverse.
 * Answers never leave a key out: what is not known is null. Durations in requests are texts (`2h`), in answers numbers with
 * their unit in the name. Times are RFC 3339, UTC, milliseconds.
 */
import type { Decision, FaultDomain, UplinkState } from '../model.js';
import { family, list, number, orNull, text, time, timeOrNull, whole, yesNo, type Shape } from './schema-parts.js';

export const UPLINK_STATES = ['up', 'suspect', 'degraded', 'down', 'draining', 'disabled', 'unknown'] as const satisfies readonly UplinkState[];
const FAULT_DOMAINS = ['none', 'device', 'link', 'address', 'gateway', 'upstream', 'target', 'everything', 'prober'] as const satisfies readonly FaultDomain[];

const DECISION_RULES = ['adopted', 'automatic', 'override', 'last-resort'] as const satisfies readonly Decision['rule'][];

// --------------------------------------------------------------------------------------------------- requests

/** As in the config (`250ms`, `90s`, `1h30m`, `1.5h`), and days. */
export const DURATION_PATTERN = '^(?=.)(?:([0-9]{1,9}(?:[.][0-9]{1,3})?)d)?(?:([0-9]{1,9}(?:[.][0-9]{1,3})?)h)?(?:([0-9]{1,9}(?:[.][0-9]{1,3})?)m)?(?:([0-9]{1,9}(?:[.][0-9]{1,3})?)s)?(?:([0-9]{1,9})ms)?$';

export const FOR_BOUNDS_MS = { least: 1_000, most: 30 * 86_400_000 } as const;
export const CONFIRM_BOUNDS_MS = { least: 5_000, most: 3_600_000 } as const;
export const WAIT_AT_MOST_MS = 300_000;

export const overrideRequest = {
  title: 'OverrideRequest',
  description: 'Which uplink to use, for how long, and what happens when it dies.',
  type: 'object',
  additionalProperties: false,
  required: ['uplink'],
  properties: {
    uplink: { type: 'string', minLength: 1, maxLength: 64, description: 'name of an uplink, 1 to 64 characters' },
    for: { type: 'string', pattern: DURATION_PATTERN, description: 'a duration such as 90s, 30m or 2h, 1s to 30d; without it the override stays until it is dropped' },
    reason: { type: 'string', maxLength: 200, pattern: '^[^\\p{Cc}\\p{Cf}\\p{Cs}\\p{Zl}\\p{Zp}]*$', description: 'one line for those who come later, at most 200 printable characters' },
    ifDead: { type: 'string', enum: ['fall-through', 'obey'], description: 'when the uplink dies: fall-through (the default) lets the automatic choice rule meanwhile, obey stays on it whatever comes' },
    confirm: { type: 'string', pattern: DURATION_PATTERN, description: 'a duration such as 60s, 5s to 1h: the override is dropped after it unless it was confirmed' },
  },
} as const;
export type OverrideRequest = Shape<typeof overrideRequest>;

export const activeQuery = {
  type: 'object',
  additionalProperties: false,
  required: [],
  properties: {
    wait: { type: 'string', pattern: DURATION_PATTERN, description: 'a duration such as 30s, at most 5m: hold the answer back until something changes, at most so long' },
    generation: { type: 'string', pattern: '^[0-9]{1,15}$', description: 'the generation you know, a whole number; with `wait`: answer as soon as it is another' },
  },
} as const;
export type ActiveQuery = Shape<typeof activeQuery>;

export const nameParameter = {
  type: 'object',
  required: ['name'],
  properties: { name: { type: 'string', description: 'name of an uplink' } },
} as const;

// ---------------------------------------------------------------------------------------------------- answers

export const activeUplink = {
  title: 'ActiveUplink',
  type: 'object',
  required: ['name', 'interface', 'gateway', 'family', 'weight'],
  properties: {
    name: text('the uplink'),
    interface: text('its network interface'),
    gateway: orNull('string', 'where its packets go next; null on a point-to-point line'),
    family,
    weight: whole('its share among uplinks of equal priority'),
  },
} as const;

export const override = {
  title: 'Override',
  description: 'An operator chose the uplink; null when the choice is automatic.',
  type: ['object', 'null'],
  required: ['uplink', 'until', 'confirmBy', 'reason', 'by', 'since', 'ifDead'],
  properties: {
    uplink: text('the uplink that was chosen'),
    until: timeOrNull('when it ends by itself; null: when it is dropped'),
    confirmBy: timeOrNull('dropped at this time unless confirmed; null: nothing to confirm'),
    reason: text('why, in the words of who asked'),
    by: text('who asked'),
    since: time('since when'),
    ifDead: { type: 'string', enum: ['fall-through', 'obey'], description: 'what happens when the uplink dies' },
  },
} as const;

export const decision = {
  title: 'Decision',
  description: 'Which uplinks carry the new flows of one family, in order, and why.',
  type: 'object',
  required: ['family', 'order', 'rule', 'because', 'since', 'generation'],
  properties: {
    family,
    order: list({ type: 'array', items: { type: 'string' } }, 'the uplinks in order of preference; each rank is a list: one uplink, or several that share the load. The first rank carries new flows; empty: nothing to route by'),
    rule: { type: 'string', enum: DECISION_RULES, description: 'what made it: it was found in the kernel at start; priority and health; the operator; nothing better was left' },
    because: text('why, in words'),
    since: time('since when'),
    generation: whole('grows with each change of its first rank'),
  },
} as const;
export type DecisionPart = Shape<typeof decision>;

const decisionParts = {
  generation: whole('grows with each change of the active uplinks'),
  active: list(activeUplink, 'the uplinks that new flows take; several share the load; empty when nothing is left'),
  since: time('since when'),
  because: text('why, in words'),
  override,
} as const;

export const activeAnswer = {
  title: 'Active',
  description: 'Which uplink carries new flows, since when and why.',
  type: 'object',
  required: ['generation', 'active', 'since', 'because', 'override'],
  properties: decisionParts,
} as const;
export type ActiveAnswer = Shape<typeof activeAnswer>;

export const target = {
  title: 'Target',
  type: 'object',
  required: ['family', 'target', 'kind', 'address', 'answering', 'rttMs', 'jitterMs', 'lossPercent', 'timeoutMs', 'lastReplyAt', 'lastError', 'sent', 'received'],
  properties: {
    family,
    target: text('`gateway`, or the method and the host: `icmp 1.1.1.1`'),
    kind: text('how it is asked'),
    address: orNull('string', 'the address that is asked; null while it is not known'),
    answering: yesNo('the last probes were answered'),
    rttMs: orNull('number', 'smoothed round trip time; null before the first answer'),
    jitterMs: orNull('number', 'its mean deviation'),
    lossPercent: orNull('number', 'of the probes in the window; null before the first'),
    timeoutMs: number('an answer later than this is missed'),
    lastReplyAt: timeOrNull('the last answer'),
    lastError: text('what went wrong last, in words; empty: nothing'),
    sent: whole('probes sent'),
    received: whole('answers received, late ones too'),
  },
} as const;

const judged = {
  state: { type: 'string', enum: UPLINK_STATES, description: 'what we make of it' },
  since: time('since when it is in this state'),
  because: text('why, in words'),
  domain: { type: 'string', enum: FAULT_DOMAINS, description: 'the fault domain: where it broke; `none`: nothing is known to be broken' },
  active: yesNo('carries new flows now'),
  rank: orNull('integer', 'its place in the order of preference, 0 = active; null: not in use'),
  gateway: orNull('string', 'where its packets go next; null: point-to-point, or not known yet'),
  severed: yesNo('no packet can leave: no device, no carrier or no gateway'),
  inDoubt: yesNo('a missed answer is being checked by a burst of probes'),
  holdUntil: timeOrNull('new flows stay away until then although it answers again; null: no hold'),
} as const;

export const uplinkFamily = {
  title: 'UplinkFamily',
  description: 'How an uplink fares in IPv4 or in IPv6. A line may work in one and be dead in the other.',
  type: 'object',
  required: ['family', 'state', 'since', 'because', 'domain', 'gateway', 'active', 'rank', 'severed', 'inDoubt', 'holdUntil'],
  properties: { family, ...judged },
} as const;
export type UplinkFamilyPart = Shape<typeof uplinkFamily>;

export const uplinkAnswer = {
  title: 'Uplink',
  description: 'What is known of one uplink. What `families` tells of each family stands beside it too, as it is in the first of them.',
  type: 'object',
  required: [
    'name', 'state', 'since', 'because', 'domain', 'active', 'rank', 'interface', 'ifindex', 'addresses', 'gateway', 'carrier', 'priority', 'weight',
    'metered', 'severed', 'inDoubt', 'holdUntil', 'mark', 'table', 'suspicions', 'downs', 'families', 'targets',
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

export const kernel = {
  title: 'Kernel',
  description: 'Our routes and rules in the kernel.',
  type: 'object',
  required: ['inSync', 'lastReadAt', 'failures', 'repairs', 'applied'],
  properties: {
    inSync: yesNo('the kernel was read back and has what we want'),
    lastReadAt: timeOrNull('when it was read last'),
    failures: list({ type: 'string' }, 'changes that the kernel refused, in words'),
    repairs: whole('how often something of ours had to be put back'),
    applied: whole('changes carried out'),
  },
} as const;

export const host = {
  title: 'Host',
  description: 'NAT, marks, firewall and sysctls; null before the first look.',
  type: ['object', 'null'],
  required: ['natBackend', 'natInSync', 'sysctlsInSync', 'problems'],
  properties: {
    natBackend: { type: 'string', enum: ['iptables', 'nftables', 'none'], description: 'what makes the NAT rules' },
    natInSync: yesNo('the NAT rules were read back and are what we want'),
    sysctlsInSync: yesNo('the sysctls were read back and are what we want'),
    problems: list({ type: 'string' }, 'what could not be done and what to do about it'),
  },
} as const;

export const controller = {
  title: 'Controller',
  description: 'The daemon itself.',
  type: 'object',
  required: ['version', 'boot', 'startedAt', 'ready', 'worstLatenessMs', 'steps'],
  properties: {
    version: text('of uplinkd'),
    boot: text('another one after each start of the daemon; the first part of the ETag'),
    startedAt: time('when the daemon started'),
    ready: yesNo('the first decision was applied to the kernel and read back'),
    worstLatenessMs: number('how late the timer was, the worst of the last minute'),
    steps: whole('events handled'),
  },
} as const;

export const statusAnswer = {
  title: 'Status',
  description: 'Everything, one document.',
  type: 'object',
  required: ['at', 'generation', 'active', 'since', 'because', 'rule', 'override', 'decisions', 'uplinks', 'kernel', 'host', 'controller'],
  properties: {
    at: time('when this was judged'),
    ...decisionParts,
    rule: { type: 'string', enum: DECISION_RULES, description: 'what made the decision: it was found in the kernel at start; priority and health; the operator; nothing better was left' },
    decisions: list(decision, 'the same for each family by itself; `rule`, `because` and the like beside it are what to tell first'),
    uplinks: list(uplinkAnswer, 'in the order of the config'),
    kernel,
    host,
    controller,
  },
} as const;
export type StatusAnswer = Shape<typeof statusAnswer>;

export const aliveAnswer = { title: 'Alive', type: 'object', required: ['status'], properties: { status: { type: 'string', enum: ['ok'], description: 'always `ok`' } } } as const;
export const readyAnswer = { title: 'Ready', type: 'object', required: ['ready'], properties: { ready: { type: 'boolean', description: 'always true; until then the answer is 503' } } } as const;

export const problemAnswer = {
  title: 'Problem',
  description: 'RFC 9457, application/problem+json.',
  type: 'object',
  required: ['type', 'title', 'status', 'detail'],
  properties: {
    type: text('`urn:uplinkd:problem:` and the kind'),
    title: text('the kind in words'),
    status: whole('the HTTP status'),
    detail: text('what was wrong with this request, and what to do'),
    errors: list({ type: 'object', properties: { pointer: text('JSON pointer into the body, or name of the query parameter'), detail: text('what is wrong there') } }, 'each single fault, where there are several places to look at'),
    uplinks: list({ type: 'string' }, 'the uplinks that exist, where an unknown one was named'),
    problems: list({ type: 'string' }, 'every problem of an invalid config: `file:line: key: text`'),
  },
} as const;
