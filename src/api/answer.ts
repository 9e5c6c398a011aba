/**
 * What a handler gives back: a document, or a problem (RFC 9457). Everything that can be wrong with a request is one of PROBLEMS;
 * `detail` says what was wrong with this one and what to do about it.
 *
 *   400  cannot be read: HTTP, JSON or query          422  was read, and asks for what cannot be
 *   403  may not                                      409  the daemon refused, with its reason
 */

export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  /** An object is serialised by the schema of its route; a text, and bytes, are sent as they are. */
  readonly body: object | string | Buffer;
}

export const PROBLEMS = {
  'malformed-request': { status: 400, title: 'The request cannot be read' },
  'wrong-query': { status: 400, title: 'The query is wrong' },
  'read-only': { status: 403, title: 'This connection may only read' },
  'no-such-route': { status: 404, title: 'There is nothing at this path' },
  'no-such-uplink': { status: 404, title: 'There is no such uplink' },
  'wrong-method': { status: 405, title: 'This path does not know this method' },
  'too-slow': { status: 408, title: 'The request did not come in time' },
  refused: { status: 409, title: 'The daemon refused' },
  'body-too-large': { status: 413, title: 'The body is too large' },
  'path-too-long': { status: 414, title: 'The path is too long' },
  'wrong-content-type': { status: 415, title: 'The body is not of a type that is understood' },
  'invalid-body': { status: 422, title: 'The body is not what this call takes' },
  'invalid-config': { status: 422, title: 'The config is invalid' },
  'unknown-uplink': { status: 422, title: 'The body names an uplink that does not exist' },
  'wrong-host': { status: 421, title: 'The request is for another machine' },
  'headers-too-large': { status: 431, title: 'The headers are too large' },
  internal: { status: 500, title: 'The daemon made a mistake' },
  'not-ready': { status: 503, title: 'Not ready yet' },
  'too-many-waiters': { status: 503, title: 'Too many requests are waiting' },
  'no-answer': { status: 504, title: 'The daemon did not answer in time' },
} as const;
export type ProblemKind = keyof typeof PROBLEMS;

/** Members of a problem beyond the four of the RFC. */
export interface ProblemExtras {
  readonly errors?: readonly { readonly pointer: string; readonly detail: string }[];
  readonly uplinks?: readonly string[];
  readonly problems?: readonly string[];
}

export const PROBLEM_TYPE = 'application/problem+json';

export function document(body: object | string | Buffer, headers: Readonly<Record<string, string>> = {}): Answer {
  return { status: 200, headers, body };
}

export function problem(kind: ProblemKind, detail: string, extras: ProblemExtras = {}, headers: Readonly<Record<string, string>> = {}): Answer {
  const { status, title } = PROBLEMS[kind];
  return {
    status,
    headers: { 'content-type': PROBLEM_TYPE, ...headers },
    body: JSON.stringify({ type: `urn:uplinkd:problem:${kind}`, title, status, detail, ...extras }),
  };
}

/** An uplink was named that does not exist; the problem lists those that do. */
export function nobody(kind: 'no-such-uplink' | 'unknown-uplink', name: string, uplinks: readonly { readonly uplink: string }[]): Answer {
  const names = uplinks.map((uplink) => uplink.uplink);
  const there = names.length === 0 ? 'The config has none.' : `The uplinks are: ${names.join(', ')}.`;
  return problem(kind, `There is no uplink ${quoted(name)}. ${there}`, { uplinks: names });
}

/** What somebody sent, fit to stand in a sentence: quoted, escaped and not longer than a line. */
export function quoted(sent: string): string {
  return JSON.stringify(sent.length > 60 ? `${sent.slice(0, 60)}…` : sent);
}
