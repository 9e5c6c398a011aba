/**
 * The JSON of the REST API, written down once: here, in uplink-schemas.ts, request-schemas.ts and question-schemas.ts. From these schemas come
 *   the TypeScript types (`Shape`), the validation of requests, the serialisation of answers (fastify),
 *   the OpenAPI document (openapi.ts) and docs/rest.md (reference.ts).
 *
 * A property that stands in a schema and not in the answer is an error, and so is the reverse.
 * Answers never leave a key out: what is not known is null. Durations in requests are texts (`2h`), in answers numbers with
 * their unit in the name. Times are RFC 3339, UTC, milliseconds.
 */
import type { Decision } from '../model.js';
import { family, list, number, orNull, text, time, timeOrNull, whole, yesNo, type Shape } from './schema-parts.js';
import { uplinkAnswer } from './uplink-schemas.js';

const DECISION_RULES = ['adopted', 'automatic', 'override', 'last-resort'] as const satisfies readonly Decision['rule'][];

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
