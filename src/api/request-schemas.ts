/**
 * What requests of the REST API carry, and the bounds that a schema cannot say. Written as schemas.ts is, which says what comes from it.
 */
import { DURATION_PATTERN } from '../duration.js';
import type { OutsideVerdict } from '../model.js';
import type { Shape } from './schema-parts.js';

/** No control characters, line separators, nor what turns the direction of writing. */
const PRINTABLE = '^[^\\p{Cc}\\p{Cf}\\p{Cs}\\p{Zl}\\p{Zp}]*$';
export const SAID_STATES = ['down', 'up'] as const satisfies readonly OutsideVerdict['state'][];

export const FOR_BOUNDS_MS = { least: 1_000, most: 30 * 86_400_000 } as const;
export const CONFIRM_BOUNDS_MS = { least: 5_000, most: 3_600_000 } as const;
export const TTL_BOUNDS_MS = { least: 1_000, most: 86_400_000 } as const;
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
    reason: { type: 'string', maxLength: 200, pattern: PRINTABLE, description: 'one line for those who come later, at most 200 printable characters' },
    ifDead: { type: 'string', enum: ['fall-through', 'obey'], description: 'when the uplink dies: fall-through (the default) lets the automatic choice rule meanwhile, obey stays on it whatever comes' },
    confirm: { type: 'string', pattern: DURATION_PATTERN, description: 'a duration such as 60s, 5s to 1h: the override is dropped after it unless it was confirmed' },
  },
} as const;
export type OverrideRequest = Shape<typeof overrideRequest>;

export const verdictRequest = {
  title: 'VerdictRequest',
  description: 'What you say of an uplink, and for how long. It is one witness beside our own probes; who says something new takes back what they said before.',
  type: 'object',
  additionalProperties: false,
  required: ['state', 'ttl'],
  properties: {
    state: { type: 'string', enum: SAID_STATES, description: '`down`: it is down, whatever answers; `up`: one witness more that answers' },
    ttl: { type: 'string', pattern: DURATION_PATTERN, description: 'a duration such as 30s, 1s to 24h, after which it is forgotten; say it again in time to keep it' },
    by: { type: 'string', minLength: 1, maxLength: 64, pattern: PRINTABLE, description: 'a name of 1 to 64 printable characters: who says so; without it, who you are to the daemon, such as `root@unix`' },
    because: { type: 'string', maxLength: 200, pattern: PRINTABLE, description: 'one line of at most 200 printable characters that says why' },
  },
} as const;
export type VerdictRequest = Shape<typeof verdictRequest>;

export const verdictQuery = {
  type: 'object',
  additionalProperties: false,
  required: [],
  properties: {
    by: { type: 'string', minLength: 1, maxLength: 64, pattern: PRINTABLE, description: 'a name of 1 to 64 printable characters: whose verdict is dropped; without it, everybody\'s' },
  },
} as const;
export type VerdictQuery = Shape<typeof verdictQuery>;

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
