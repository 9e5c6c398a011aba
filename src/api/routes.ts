/**
 * The calls of the API as one table: method, path, what they take, what they answer, and the handler.
 * server.ts hangs it into HTTP, openapi.ts and reference.ts describe it. Nothing here knows fastify.
 *
 * A handler gets a request that fits its schemas already; what a schema cannot say (an uplink that exists, bounds of a duration)
 * is checked here. What changes something is asked of the daemon, which answers when the kernel has been read back.
 */
import { parseDuration } from '../duration.js';
import { getActive } from './active.js';
import { document, nobody, problem, type Answer } from './answer.js';
import type { Desk, Request } from './desk.js';
import type { Endpoint } from './endpoint.js';
import { METRICS_TYPE, metricsText } from './metrics.js';
import { inTime } from './patience.js';
import { QUESTIONS } from './questions.js';
import { noQuery } from './schema-parts.js';
import {
  activeQuery, CONFIRM_BOUNDS_MS, FOR_BOUNDS_MS, nameParameter, overrideRequest, TTL_BOUNDS_MS, verdictQuery, verdictRequest,
  type OverrideRequest, type VerdictQuery, type VerdictRequest,
} from './request-schemas.js';
import { activeAnswer, aliveAnswer, readyAnswer, statusAnswer } from './schemas.js';
import { uplinkAnswer, uplinksAnswer } from './uplink-schemas.js';
import { wireStatus, wireUplink } from './wire.js';

const CHANGED = 'The resulting status, after the kernel has been read back.';
const REFUSALS = { 403: 'asked over TCP, which may only read', 409: 'the daemon refused, with its reason', 504: 'the daemon did not answer; look at the status' } as const;
const NO_SUCH_UPLINK = { 404: 'there is no such uplink; the problem lists those that are' } as const;

export const ENDPOINTS: readonly Endpoint[] = [
  {
    method: 'GET',
    path: '/v1/active',
    right: 'read',
    summary: 'Which uplink is active, since when and why',
    description: 'With `wait` the answer is held back until something changes: the generation is another than `generation`, or the ETag another than the one in `If-None-Match`. '
      + 'Give one of them, else it waits for the next change from now on. The ETag begins with the boot of the daemon: a client that remembers it hears of a restart at once. '
      + 'It covers the whole document, the generation only the active uplinks.',
    query: activeQuery,
    answer: activeAnswer,
    others: { 304: 'nothing is new to the ETag in `If-None-Match`', 503: 'too many requests are waiting already' },
    example: '"http://localhost/v1/active?wait=30s&generation=7"',
    handle: getActive,
  },
  {
    method: 'GET',
    path: '/v1/status',
    right: 'read',
    summary: 'Everything, one document',
    description: 'The answer of `/v1/active` and, beside it, every uplink and target, the kernel and the daemon itself.',
    query: noQuery,
    answer: statusAnswer,
    others: {},
    example: 'http://localhost/v1/status',
    handle: (desk) => statusDocument(desk),
    shared: true,
  },
  {
    method: 'GET',
    path: '/v1/uplinks',
    right: 'read',
    summary: 'Every uplink',
    description: 'The part `uplinks` of the status.',
    query: noQuery,
    answer: uplinksAnswer,
    others: {},
    example: 'http://localhost/v1/uplinks',
    handle: getUplinks,
    shared: true,
  },
  {
    method: 'GET',
    path: '/v1/uplinks/:name',
    right: 'read',
    summary: 'One uplink',
    description: 'One of the parts of `/v1/uplinks`.',
    params: nameParameter,
    query: noQuery,
    answer: uplinkAnswer,
    others: NO_SUCH_UPLINK,
    example: 'http://localhost/v1/uplinks/fibre',
    handle: getUplink,
  },
  {
    method: 'PUT',
    path: '/v1/uplinks/:name/verdict',
    right: 'operate',
    summary: 'Say that an uplink is down, or up, for a time',
    description: `${CHANGED} What you say is one more witness: \`down\` takes the uplink out of use whatever our own probes say, \`up\` counts as one target more that answers, so with \`quorum: 1\` it outvotes the silence of all. `
      + 'It is forgotten after `ttl`, so a script that dies does no lasting harm: say it again in time to keep it. Each `by` has one verdict; a new one replaces the former.',
    params: nameParameter,
    query: noQuery,
    body: verdictRequest,
    answer: statusAnswer,
    others: { ...REFUSALS, ...NO_SUCH_UPLINK, 422: 'the body is not what this call takes' },
    example: '-X PUT -H "content-type: application/json" -d \'{"state":"down","ttl":"30s","by":"bgp-watch","because":"the session is lost"}\' http://localhost/v1/uplinks/fibre/verdict',
    handle: putVerdict,
  },
  {
    method: 'DELETE',
    path: '/v1/uplinks/:name/verdict',
    right: 'operate',
    summary: 'Take back what was said of an uplink',
    description: `${CHANGED} With \`by\` the verdict of that witness is dropped, without it all that stand. Where there is none nothing happens, and that is not an error.`,
    params: nameParameter,
    query: verdictQuery,
    answer: statusAnswer,
    others: { ...REFUSALS, ...NO_SUCH_UPLINK },
    example: '-X DELETE "http://localhost/v1/uplinks/fibre/verdict?by=bgp-watch"',
    handle: deleteVerdict,
  },
  {
    method: 'PUT',
    path: '/v1/override',
    right: 'operate',
    summary: 'Choose the uplink',
    description: `${CHANGED} An override that stands already is replaced. New flows take the chosen uplink; running flows stay where they are.`,
    query: noQuery,
    body: overrideRequest,
    answer: statusAnswer,
    others: { ...REFUSALS, 422: 'the body is not what this call takes, or names an uplink that does not exist' },
    example: '-X PUT -H "content-type: application/json" -d \'{"uplink":"cable","for":"2h","reason":"fibre works","confirm":"60s"}\' http://localhost/v1/override',
    handle: putOverride,
  },
  {
    method: 'DELETE',
    path: '/v1/override',
    right: 'operate',
    summary: 'Back to the automatic choice',
    description: `${CHANGED} Without an override nothing happens, and that is not an error.`,
    query: noQuery,
    answer: statusAnswer,
    others: REFUSALS,
    example: '-X DELETE http://localhost/v1/override',
    handle: (desk, request) => changed(desk, desk.ask.clear(request.by)),
  },
  {
    method: 'POST',
    path: '/v1/override/confirm',
    right: 'operate',
    summary: 'Keep the override that waits for a confirmation',
    description: `${CHANGED} Refused where nothing waits for it.`,
    query: noQuery,
    answer: statusAnswer,
    others: REFUSALS,
    example: '-X POST http://localhost/v1/override/confirm',
    handle: (desk, request) => changed(desk, desk.ask.confirm(request.by)),
  },
  ...QUESTIONS,
  {
    method: 'GET',
    path: '/metrics',
    right: 'read',
    summary: 'Metrics for Prometheus',
    description: 'Exposition format 0.0.4. Every name begins with `uplinkd_`.',
    query: noQuery,
    answer: 'text/plain',
    others: {},
    example: 'http://localhost/metrics',
    handle: getMetrics,
    shared: true,
  },
  {
    method: 'GET',
    path: '/healthz',
    right: 'read',
    summary: 'Whether the daemon is alive',
    description: 'Answers as long as the loop turns.',
    query: noQuery,
    answer: aliveAnswer,
    others: {},
    example: 'http://localhost/healthz',
    handle: () => document({ status: 'ok' }),
  },
  {
    method: 'GET',
    path: '/readyz',
    right: 'read',
    summary: 'Whether the first decision is in force',
    description: 'Says nothing about the uplinks: a router with no uplink left is ready too.',
    query: noQuery,
    answer: readyAnswer,
    others: { 503: 'the first decision has not been applied to the kernel yet' },
    example: 'http://localhost/readyz',
    handle: getReady,
  },
  {
    method: 'GET',
    path: '/openapi.json',
    right: 'read',
    summary: 'This API as OpenAPI 3.1',
    description: 'Made of the same schemas that validate requests and write answers.',
    query: noQuery,
    answer: 'application/json',
    others: {},
    example: 'http://localhost/openapi.json',
    handle: (desk) => document(desk.openapi, { 'content-type': 'application/json; charset=utf-8' }),
  },
];

function getUplinks(desk: Desk): Answer {
  const { status, show } = desk.now();
  return document({ uplinks: status.uplinks.map((uplink) => wireUplink(uplink, show)) });
}

function getUplink(desk: Desk, request: Request): Answer {
  const name = request.params['name'] ?? '';
  const { status: { uplinks }, show } = desk.now();
  const found = uplinks.find((uplink) => uplink.uplink === name);
  if (found !== undefined) return document(wireUplink(found, show));
  return nobody('no-such-uplink', name, uplinks);
}

function getMetrics(desk: Desk): Answer {
  const { status, show } = desk.now();
  return document(metricsText(status, desk.identity, show), { 'content-type': METRICS_TYPE });
}

function getReady(desk: Desk): Answer {
  if (desk.now().status.controller.ready) return document({ ready: true });
  const detail = 'The first decision has not been applied to the kernel and read back yet. Ask again in a second; /v1/status tells what is missing.';
  return problem('not-ready', detail, {}, { 'retry-after': '1' });
}

function putOverride(desk: Desk, request: Request): Answer | Promise<Answer> {
  const body = request.body as OverrideRequest;
  const { uplinks } = desk.now().status;
  if (!uplinks.some((uplink) => uplink.uplink === body.uplink)) return nobody('unknown-uplink', body.uplink, uplinks);
  const forMs = body.for === undefined ? undefined : parseDuration(body.for);
  const confirmMs = body.confirm === undefined ? undefined : parseDuration(body.confirm);
  const errors: { pointer: string; detail: string }[] = [];
  if (forMs !== undefined && !within(forMs, FOR_BOUNDS_MS)) errors.push({ pointer: '/for', detail: `"for" is ${body.for}; it must be 1s to 30d` });
  if (confirmMs !== undefined && !within(confirmMs, CONFIRM_BOUNDS_MS)) errors.push({ pointer: '/confirm', detail: `"confirm" is ${body.confirm}; it must be 5s to 1h` });
  if (errors.length > 0) return problem('invalid-body', `${errors.map((error) => error.detail).join('; ')}.`, { errors });
  return changed(desk, desk.ask.override({ uplink: body.uplink, forMs, reason: body.reason ?? '', ifDead: body.ifDead ?? 'fall-through', confirmMs, by: request.by }));
}

function putVerdict(desk: Desk, request: Request): Answer | Promise<Answer> {
  const uplink = request.params['name'] ?? '';
  const { state, ttl, by, because } = request.body as VerdictRequest;
  const { uplinks } = desk.now().status;
  if (!uplinks.some((one) => one.uplink === uplink)) return nobody('no-such-uplink', uplink, uplinks);
  const forMs = parseDuration(ttl);
  if (forMs === undefined || !within(forMs, TTL_BOUNDS_MS)) {
    const detail = `"ttl" is ${ttl}; it must be 1s to 24h`;
    return problem('invalid-body', `${detail}.`, { errors: [{ pointer: '/ttl', detail }] });
  }
  return changed(desk, desk.ask.verdict({ uplink, state, forMs, by: by ?? request.by, because: because ?? '' }));
}

function deleteVerdict(desk: Desk, request: Request): Answer | Promise<Answer> {
  const uplink = request.params['name'] ?? '';
  const { by } = request.query as VerdictQuery;
  const { uplinks } = desk.now().status;
  if (!uplinks.some((one) => one.uplink === uplink)) return nobody('no-such-uplink', uplink, uplinks);
  return changed(desk, desk.ask.withdraw(uplink, by ?? ''));
}

/** Waits for the daemon's word and answers with what stands then. */
async function changed(desk: Desk, asked: Promise<{ readonly error: string }>): Promise<Answer> {
  const outcome = await inTime(asked, desk.askTimeoutMs);
  if (outcome === undefined) {
    return problem('no-answer', `The daemon gave no answer within ${desk.askTimeoutMs} ms. The change may or may not be in force: look at /v1/status before you ask again.`);
  }
  return outcome.error === '' ? statusDocument(desk) : problem('refused', outcome.error);
}

function statusDocument(desk: Desk): Answer {
  const { status, show } = desk.now();
  return document(wireStatus(status, desk.identity, show));
}

function within(ms: number, bounds: { readonly least: number; readonly most: number }): boolean {
  return ms >= bounds.least && ms <= bounds.most;
}
