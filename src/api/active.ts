/**
 * GET /v1/active: the one question that other programs ask all the time, so it can be asked cheaply.
 *
 *   If-None-Match   304 while nothing changed
 *   ?wait=30s       held back until something changed: another generation than `generation`, or another ETag than If-None-Match
 *
 * The ETag is `"<boot>-<generation>-<digest>"`. The boot: whoever remembers the ETag hears of a restart at once. The digest: the override and the reason change without a new generation.
 */
import type { Status } from '../model.js';
import { document, problem, type Answer } from './answer.js';
import type { Desk, Request } from './desk.js';
import { WAIT_AT_MOST_MS, type ActiveQuery } from './request-schemas.js';
import { durationMs, wireActive } from './wire.js';

export async function getActive(desk: Desk, request: Request): Promise<Answer> {
  const query = request.query as ActiveQuery;
  const waitMs = query.wait === undefined ? 0 : durationMs(query.wait);
  if (waitMs === undefined || waitMs > WAIT_AT_MOST_MS) {
    return problem('wrong-query', `wait=${query.wait ?? ''} is too long: at most 5m.`);
  }
  const known = request.ifNoneMatch;
  if (waitMs > 0) {
    const end = await desk.waiting.until(newsTest(desk, query.generation, known), waitMs, request.onGone);
    if (end === 'full') {
      return problem('too-many-waiters', 'So many requests wait for a change that no more are let in. Ask without `wait`, or again in some seconds.', {}, { 'retry-after': '5' });
    }
  }
  const active = wireActive(desk.board.get(), desk.calendar());
  const etag = etagOf(desk, active);
  const headers = { etag, 'cache-control': 'no-cache' };
  return matches(known, etag) ? { status: 304, headers, body: '' } : document(active, headers);
}

/** What a client waits for, who knows this generation or this ETag; with neither: a change from now on. */
function newsTest(desk: Desk, generation: string | undefined, known: string): (status: Status) => boolean {
  const nowEtag = (status: Status) => etagOf(desk, wireActive(status, desk.calendar()));
  if (generation !== undefined) {
    return (status) => status.decision.generation !== Number(generation) || (known !== '' && !matches(known, nowEtag(status)));
  }
  const before = known === '' ? nowEtag(desk.board.get()) : known;
  return (status) => !matches(before, nowEtag(status));
}

/** FNV-1a over the document. */
function etagOf(desk: Desk, active: object & { readonly generation: number }): string {
  const text = JSON.stringify(active);
  let digest = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) digest = Math.imul(digest ^ text.charCodeAt(i), 0x01000193) >>> 0;
  return `"${desk.identity.boot}-${active.generation}-${digest.toString(16)}"`;
}

/** RFC 9110, 13.1.2: weak comparison with a list, or `*`. */
function matches(ifNoneMatch: string, etag: string): boolean {
  return ifNoneMatch.split(',').some((one) => one.trim() === '*' || one.trim().replace(/^W\//, '') === etag);
}
