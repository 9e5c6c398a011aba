/**
 * The JSON of the calls that ask the planner, the packet filter or the machine: what-if, plan, reload, policies, doctor.
 * Written as schemas.ts is, which says what comes from it.
 */
import type { Finding, Match, TrafficPolicy } from '../model.js';
import { family, list, orNull, text, whole, yesNo, type Shape } from './schema-parts.js';
import { decision } from './schemas.js';

const PROTOCOLS = ['any', 'tcp', 'udp', 'icmp'] as const satisfies readonly Match['protocol'][];
const SIDES = ['source', 'destination'] as const satisfies readonly NonNullable<TrafficPolicy['set']>['side'][];
const OTHERWISE = ['fall-through', 'block'] as const satisfies readonly TrafficPolicy['otherwise'][];
const LEVELS = ['ok', 'note', 'warning', 'error'] as const satisfies readonly Finding['level'][];

/** Of a body that carries a config: the config itself has 1 MiB at most, and JSON writes some characters as two. */
export const PLAN_BODY_BYTES = 1024 * 1024;

// --------------------------------------------------------------------------------------------------- requests

export const whatIfQuery = {
  type: 'object',
  additionalProperties: false,
  required: ['down'],
  properties: { down: { type: 'string', minLength: 1, maxLength: 64, description: 'name of an uplink, 1 to 64 characters' } },
} as const;
export type WhatIfQuery = Shape<typeof whatIfQuery>;

export const planRequest = {
  title: 'PlanRequest',
  description: 'A config that is to be tried.',
  type: 'object',
  additionalProperties: false,
  required: ['config'],
  properties: {
    config: { type: 'string', description: 'the text of a config file, YAML' },
    file: {
      type: 'string', minLength: 1, maxLength: 1024, pattern: '^[^\\p{Cc}\\p{Cf}\\p{Cs}\\p{Zl}\\p{Zp}]*$',
      description: 'what the problems shall call the file, 1 to 1024 printable characters; `config` without it',
    },
  },
} as const;
export type PlanRequest = Shape<typeof planRequest>;

// ---------------------------------------------------------------------------------------------------- answers

const previewParts = {
  before: list(decision, 'the decisions as they stood when this was asked'),
  after: list(decision, 'the decisions that result'),
  routing: list({ type: 'string' }, 'routes, rules and addresses, in the order of carrying out: `ip route add …`, `ip rule delete …`'),
  filter: list({ type: 'string' }, 'NAT and firewall: lines of nft or iptables-restore that come (`+`) or go (`-`)'),
  sysctls: list({ type: 'string' }, '`sysctl -w net.ipv4.ip_forward=1`'),
  flows: list({ type: 'string' }, 'what happens to running connections, in words'),
  notes: list({ type: 'string' }, 'what the config says that takes effect at the next start only, in words'),
} as const;
const PREVIEW_KEYS = ['before', 'after', 'routing', 'filter', 'sysctls', 'flows', 'notes'] as const;

export const previewAnswer = {
  title: 'Preview',
  description: 'What would be done, in order, as lines that a person could type. Nothing of it has been done.',
  type: 'object',
  required: PREVIEW_KEYS,
  properties: previewParts,
} as const;
export type PreviewAnswer = Shape<typeof previewAnswer>;

export const reloadAnswer = {
  title: 'Reload',
  description: 'What was changed, in the words of [Preview](#preview).',
  type: 'object',
  required: [...PREVIEW_KEYS, 'inSync'],
  properties: { ...previewParts, inSync: yesNo('the kernel was read back and has the routes and rules that we want; false: see `kernel` of the status') },
} as const;
export type ReloadAnswer = Shape<typeof reloadAnswer>;

export const policyMember = {
  title: 'PolicyMember',
  type: 'object',
  required: ['uplink', 'weight'],
  properties: { uplink: text('an uplink'), weight: whole('its share among the uplinks of its rank') },
} as const;

export const policyCarrier = {
  title: 'PolicyCarrier',
  type: 'object',
  required: ['family', 'uplinks'],
  properties: { family, uplinks: list({ type: 'string' }, 'the uplinks that take its new connections; empty: none of its own order is fit') },
} as const;

export const policyMark = {
  title: 'PolicyMark',
  description: 'A packet mark of somebody else; null: not looked at.',
  type: ['object', 'null'],
  required: ['value', 'mask'],
  properties: { value: text('hexadecimal'), mask: text('the bits that count, hexadecimal') },
} as const;

export const policySet = {
  title: 'PolicySet',
  description: 'A set of addresses by name, of nftables or an ipset; null: not looked at.',
  type: ['object', 'null'],
  required: ['name', 'side'],
  properties: { name: text('its name'), side: { type: 'string', enum: SIDES, description: 'whose address must be in it' } },
} as const;

export const policy = {
  title: 'Policy',
  description: 'New connections of a kind that go their own way. What is empty fits everything; all that is given must fit.',
  type: 'object',
  required: [
    'name', 'sources', 'destinations', 'protocol', 'sourcePorts', 'destinationPorts', 'mark', 'set', 'router', 'order', 'otherwise', 'stickyMs', 'active', 'connections', 'bytes',
  ],
  properties: {
    name: text('the policy'),
    sources: list({ type: 'string' }, 'prefixes of the source'),
    destinations: list({ type: 'string' }, 'prefixes of the destination'),
    protocol: { type: 'string', enum: PROTOCOLS, description: 'the protocol; icmp: of either family' },
    sourcePorts: list({ type: 'string' }, 'ports (`443`) and ranges (`5060-5080`)'),
    destinationPorts: list({ type: 'string' }, 'ports and ranges'),
    mark: policyMark,
    set: policySet,
    router: yesNo('it holds for what the router itself sends too'),
    order: list({ type: 'array', items: policyMember }, 'its uplinks in order of preference; each rank is a list: one uplink, or several that share by weight'),
    otherwise: { type: 'string', enum: OTHERWISE, description: 'when none of them is fit: go by the order of all others, or be refused' },
    stickyMs: orNull('integer', 'so long a source\'s next connections take the uplink of its last one; null: each for itself'),
    active: list(policyCarrier, 'what carries its new connections now'),
    connections: orNull('integer', 'new connections that it took since its rules were written; null: the packet filter does not say'),
    bytes: orNull('integer', 'bytes of their first packets; null: the packet filter does not say'),
  },
} as const;
export type PolicyPart = Shape<typeof policy>;

export const policiesAnswer = {
  title: 'Policies',
  type: 'object',
  required: ['policies'],
  properties: { policies: list(policy, 'in the order of the config; the first that fits wins') },
} as const;
export type PoliciesAnswer = Shape<typeof policiesAnswer>;

export const finding = {
  title: 'Finding',
  description: 'Something on this machine that is in the way or will be, or that was looked at and is well.',
  type: 'object',
  required: ['level', 'subject', 'text', 'remedy'],
  properties: {
    level: { type: 'string', enum: LEVELS, description: 'how bad it is' },
    subject: text('what was looked at: `rp_filter`, `networkd`, `docker`'),
    text: text('what was found, and what comes of it'),
    remedy: text('what to do: commands or the contents of a file, with line feeds; empty: nothing'),
  },
} as const;

export const doctorAnswer = {
  title: 'Findings',
  type: 'object',
  required: ['findings'],
  properties: { findings: list(finding, 'in the order of looking') },
} as const;
export type DoctorAnswer = Shape<typeof doctorAnswer>;
