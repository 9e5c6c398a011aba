/**
 * GET /v1/active: the one question that other programs ask all the time, so it can be asked cheaply.
 *
 *   If-None-Match   304 while nothing changed
 *   ?wait=30s       held back until something changed: another generation than `generation`, or another ETag than If-None-Match
 *
 * The ETag is `"<boot>-<generation>-<digest>"`. The boot: whoever remembers the ETag hears of a restart at once. The digest: the override and the reason change without a new generation.
 */
import { parseDuration } from '../duration.js';
import { problem, type Answer } from './answer.js';
import type { Desk, Request } from './desk.js';
import { WAIT_AT_MOST_MS, type ActiveQuery } from './request-schemas.js';
import type { Snapshot } from './snapshot.js';
import { wireActive } from './wire.js';

export async function getActive(desk: Desk, request: Request): Promise<Answer> {
  const query = request.query as ActiveQuery;
  const waitMs = query.wait === undefined ? 0 : parseDuration(query.wait);
  if (waitMs === undefined || waitMs > WAIT_AT_MOST_MS) {
    return problem('wrong-query', `wait=${query.wait ?? ''} is too long: at most 5m.`);
  }
  const known = request.ifNoneMatch;
  if (waitMs > 0) {
    const isNews = newsTest(desk, query.generation, known);
    const end = await desk.waiting.until({ door: request.door, isNews, waitMs, onGone: request.onGone });
    if (end === 'full') {
      const detail = 'So many requests wait for a change that no more are let in. '
        + 'Ask without `wait`, or again in some seconds.';
      return problem('too-many-waiters', detail, {}, { 'retry-after': '5' });
    }
  }
  const answer = current(desk, desk.now());
  return matches(known, answer.headers.etag) ? { status: 304, headers: answer.headers, body: '' } : answer;
}

/** What a client waits for, who knows this generation or this ETag; with neither: a change from now on. */
function newsTest(desk: Desk, generation: string | undefined, known: string): (snapshot: Snapshot) => boolean {
  const etag = (snapshot: Snapshot) => current(desk, snapshot).headers.etag;
  if (generation !== undefined) {
    return (snapshot) => snapshot.status.decision.generation !== Number(generation)
      || (known !== '' && !matches(known, etag(snapshot)));
  }
  const before = known === '' ? etag(desk.now()) : known;
  return (snapshot) => !matches(before, etag(snapshot));
}

/** Made once for each snapshot, however many ask and wait. */
function current(desk: Desk, snapshot: Snapshot): Answer & { readonly headers: { readonly etag: string } } {
  return snapshot.once('active', () => {
    const active = wireActive(snapshot.status, snapshot.show);
    return { status: 200, headers: { etag: etagOf(desk, active), 'cache-control': 'no-cache' }, body: active };
  });
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
