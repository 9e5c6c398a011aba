/**
 * One call of the API as data: what server.ts hangs into HTTP, and what openapi.ts and reference.ts describe.
 */
import type { Answer } from './answer.js';
import type { Desk, Request } from './desk.js';

export interface Endpoint {
  readonly method: 'GET' | 'PUT' | 'POST' | 'DELETE';
  /** A segment `:name` is a parameter. */
  readonly path: string;
  /** `operate`: it changes something, or looks at what is not for everybody. */
  readonly right: 'read' | 'operate';
  readonly summary: string;
  /** Markdown. */
  readonly description: string;
  readonly params?: object;
  readonly query: object;
  readonly body?: object;
  /** Where it takes more than the others. */
  readonly bodyBytesAtMost?: number;
  /** Schema of the answer 200; a media type where it is not JSON. */
  readonly answer: object | string;
  /** Other statuses that this call has a meaning for. */
  readonly others: Readonly<Record<number, string>>;
  /** Arguments of curl. */
  readonly example: string;
  readonly handle: (desk: Desk, request: Request) => Answer | Promise<Answer>;
  /** The same for all who ask, made of the snapshot alone and at once: it is written once for each snapshot. */
  readonly shared?: true;
}
