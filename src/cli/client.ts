/**
 * One request to the REST API: over the unix socket, or to a URL with a token. What cannot be reached is said in words that
 * name the place and the next step; what was reached is handed on as it came.
 */
import { request as requestHttp, type RequestOptions } from 'node:http';
import { request as requestHttps } from 'node:https';
import { plain } from './reading.js';

export type Where = { readonly socketPath: string } | { readonly url: URL; readonly token: string };

export type Reply =
  | { readonly reached: true; readonly status: number; /** Exactly as it came; valid JSON. */ readonly text: string; readonly json: unknown; /** When it was answered, by the clock of the other end. */ readonly dateMs: number }
  | { readonly reached: false; readonly why: string };

export interface Call {
  readonly method: 'GET' | 'PUT' | 'POST' | 'DELETE';
  readonly path: string;
  readonly body?: object;
  readonly timeoutMs: number;
}

const ANSWER_BYTES_AT_MOST = 8 * 1024 * 1024;

export function callApi(where: Where, call: Call): Promise<Reply> {
  return new Promise((resolve) => {
    const unreached = (why: string) => resolve({ reached: false, why });
    const payload = call.body === undefined ? undefined : JSON.stringify(call.body);
    const headers = {
      accept: 'application/json, application/problem+json',
      'user-agent': 'uplinkctl',
      ...(payload === undefined ? {} : { 'content-type': 'application/json', 'content-length': String(Buffer.byteLength(payload)) }),
      ...('url' in where && where.token !== '' ? { authorization: `Bearer ${where.token}` } : {}),
    };
    const options: RequestOptions = { method: call.method, headers, agent: false, signal: AbortSignal.timeout(call.timeoutMs) };
    const request = 'url' in where
      ? (where.url.protocol === 'https:' ? requestHttps : requestHttp)(new URL(`${where.url.pathname.replace(/\/$/, '')}${call.path}`, where.url), options)
      : requestHttp({ ...options, socketPath: where.socketPath, host: 'localhost', path: call.path });
    request.on('error', (error: NodeJS.ErrnoException) => unreached(whyUnreached(where, error, call.timeoutMs)));
    request.on('response', (response) => {
      const parts: Buffer[] = [];
      let bytes = 0;
      response.on('data', (part: Buffer) => {
        parts.push(part);
        bytes += part.length;
        if (bytes > ANSWER_BYTES_AT_MOST) request.destroy(new Error(`its answer is larger than ${ANSWER_BYTES_AT_MOST} bytes`));
      });
      response.on('error', (error: NodeJS.ErrnoException) => unreached(whyUnreached(where, error, call.timeoutMs)));
      response.on('end', () => {
        const text = Buffer.concat(parts).toString('utf8');
        const json = parsed(text);
        if (json === undefined) unreached(`${placeOf(where)} answers, but not as uplinkd does (status ${response.statusCode ?? 0}, no JSON). Is it the right address?`);
        else resolve({ reached: true, status: response.statusCode ?? 0, text, json: json.value, dateMs: Date.parse(response.headers.date ?? '') });
      });
    });
    request.end(payload);
  });
}

function parsed(text: string): { readonly value: unknown } | undefined {
  try {
    return { value: JSON.parse(text) };
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

function placeOf(where: Where): string {
  return 'url' in where ? where.url.href : `the socket ${where.socketPath}`;
}

function whyUnreached(where: Where, error: NodeJS.ErrnoException, timeoutMs: number): string {
  const place = placeOf(where);
  if (error.name === 'TimeoutError' || error.name === 'AbortError') return `uplinkd did not answer on ${place} within ${timeoutMs / 1000} s. See what it does: systemctl status uplinkd, journalctl -u uplinkd`;
  if ('url' in where) return `cannot reach uplinkd at ${place}: ${plain(error.message)}. Is it running there, and does its api.listen have this address?`;
  switch (error.code ?? '') {
    case 'ENOENT':
      return `cannot reach uplinkd: there is no socket ${where.socketPath}. Is uplinkd running (systemctl status uplinkd)? Another place: --socket PATH`;
    case 'ECONNREFUSED':
      return `cannot reach uplinkd: nobody listens on ${place}. uplinkd is not running: systemctl status uplinkd`;
    case 'EACCES':
    case 'EPERM':
      return `you may not use ${place}. Be root (sudo uplinkctl ...) or a member of the group uplinkd`;
    default:
      return `cannot reach uplinkd on ${place}: ${plain(error.message)}. Is it running (systemctl status uplinkd)?`;
  }
}
