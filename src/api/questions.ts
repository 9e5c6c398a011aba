/**
 * The calls that ask the planner, the packet filter or the machine, as rows of the table of routes.ts, and their handlers.
 * They take longer than a look at the board, so each has a time after which it is not waited for.
 */
import { document, nobody, problem, type Answer } from './answer.js';
import type { InvalidConfig } from '../ports.js';
import type { Desk, Request } from './desk.js';
import type { Endpoint } from './endpoint.js';
import { inTime } from './patience.js';
import {
  doctorAnswer, PLAN_BODY_BYTES, planRequest, policiesAnswer, previewAnswer, reloadAnswer, whatIfQuery, type PlanRequest, type WhatIfQuery,
} from './question-schemas.js';
import { noQuery } from './schema-parts.js';
import { wireFinding, wirePolicy, wirePreview } from './wire-questions.js';

const LATE = { 504: 'the daemon did not answer in time' } as const;

export const QUESTIONS: readonly Endpoint[] = [
  {
    method: 'GET',
    path: '/v1/what-if',
    right: 'read',
    summary: 'What would happen if an uplink died now',
    description: 'Decision and kernel plan, made by the planner that would make them then. Nothing is changed. `down` names the uplink; it dies in both families.',
    query: whatIfQuery,
    answer: previewAnswer,
    others: { 404: 'there is no such uplink; the problem lists those that are', 503: 'too many ask this already' },
    example: '"http://localhost/v1/what-if?down=fibre"',
    handle: getWhatIf,
  },
  {
    method: 'POST',
    path: '/v1/plan',
    right: 'operate',
    summary: 'What a new config would change',
    description: 'Decision and kernel plan, as a reload with this config would carry them out. Nothing is changed; but a config says what this machine looks at, so asking is not for everybody.',
    query: noQuery,
    body: planRequest,
    bodyBytesAtMost: PLAN_BODY_BYTES,
    answer: previewAnswer,
    others: { 403: 'asked over TCP', 413: 'the body is larger than 1 MiB', 422: 'the config is invalid; the problem lists everything that is wrong with it', ...LATE },
    example: '-H "content-type: application/json" -d "$(jq -Rs \'{config:., file:"new.yaml"}\' new.yaml)" http://localhost/v1/plan',
    handle: postPlan,
  },
  {
    method: 'POST',
    path: '/v1/reload',
    right: 'operate',
    summary: 'Read the config file again',
    description: 'The difference is applied: what stays the same is not touched. The answer comes after the kernel has been read back and tells what was changed. An invalid config changes nothing, and the old one keeps running.',
    query: noQuery,
    answer: reloadAnswer,
    others: {
      403: 'asked over TCP, which may only read', 409: 'the daemon refused, with its reason',
      422: 'the config is invalid; the problem lists everything that is wrong with it', 504: 'the daemon did not answer; look at the status',
    },
    example: '-X POST http://localhost/v1/reload',
    handle: postReload,
  },
  {
    method: 'GET',
    path: '/v1/policies',
    right: 'read',
    summary: 'Every policy, what carries it now, and its counters',
    description: 'Who asks while another is being answered gets the same answer.',
    query: noQuery,
    answer: policiesAnswer,
    others: LATE,
    example: 'http://localhost/v1/policies',
    handle: getPolicies,
  },
  {
    method: 'GET',
    path: '/v1/doctor',
    right: 'read',
    summary: 'What on this machine is in the way, and the remedy',
    description: 'Looks at the machine at this moment and changes nothing. Who asks while another is being answered gets the same answer.',
    query: noQuery,
    answer: doctorAnswer,
    others: LATE,
    example: 'http://localhost/v1/doctor',
    handle: getDoctor,
  },
];

async function getWhatIf(desk: Desk, request: Request): Promise<Answer> {
  const { down } = request.query as WhatIfQuery;
  const { uplinks } = desk.now().status;
  if (!uplinks.some((uplink) => uplink.uplink === down)) return nobody('no-such-uplink', down, uplinks);
  const forecast = desk.inTurn(request.door, () => ({ before: desk.now().status.decisions, preview: { ...desk.questions.whatIf(down), notes: [] } }));
  if (forecast === undefined) return problem('too-many-waiters', 'So many ask what would happen that no more are let in. Ask again in a second.', {}, { 'retry-after': '1' });
  const { before, preview } = await forecast;
  return document(wirePreview(before, preview, desk.now().show));
}

async function postPlan(desk: Desk, request: Request): Promise<Answer> {
  const { config, file } = request.body as PlanRequest;
  const { decisions } = desk.now().status;
  const plan = await inTime(desk.questions.plan(config, file ?? 'config'), desk.askTimeoutMs);
  if (plan === undefined) return late(desk, 'Nothing was changed.');
  return 'problems' in plan ? invalid(plan) : document(wirePreview(decisions, plan, desk.now().show));
}

async function postReload(desk: Desk, request: Request): Promise<Answer> {
  const { decisions } = desk.now().status;
  const outcome = await inTime(desk.questions.reload(request.by), desk.askTimeoutMs);
  if (outcome === undefined) return late(desk, 'The new config may or may not be in force: look at /v1/status before you ask again.');
  if ('problems' in outcome) return invalid(outcome);
  if ('error' in outcome) return problem('refused', outcome.error);
  return document({ ...wirePreview(decisions, outcome.preview, desk.now().show), inSync: desk.now().status.kernel.inSync });
}

async function getPolicies(desk: Desk): Promise<Answer> {
  const policies = await inTime(desk.questions.policies(), desk.askTimeoutMs);
  return policies === undefined ? late(desk, 'Ask again in some seconds.') : document({ policies: policies.map(wirePolicy) });
}

async function getDoctor(desk: Desk): Promise<Answer> {
  const findings = await inTime(desk.questions.doctor(), desk.askTimeoutMs);
  return findings === undefined ? late(desk, 'Ask again in some seconds.') : document({ findings: findings.map(wireFinding) });
}

function invalid({ problems }: InvalidConfig): Answer {
  const more = problems.length > 1 ? ` (and ${problems.length - 1} more)` : '';
  return problem('invalid-config', `Nothing was changed: ${problems[0] ?? 'the config is invalid'}${more}.`, { problems });
}

function late(desk: Desk, then: string): Answer {
  return problem('no-answer', `The daemon gave no answer within ${desk.askTimeoutMs} ms. ${then}`);
}
