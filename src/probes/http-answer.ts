/**
 * Is this the answer that was to be expected? Reads status, headers and as much of the body as it takes, and gives its verdict as soon as one
 * is certain: at the head where no body is asked for, at the text where one is, at the first byte of a page where none was to come.
 *
 * A captive portal shows itself by sending one elsewhere, by a page in place of nothing, or by status 511 (RFC 6585, section 6; RFC 8952).
 * `http://example.org` sending to `https://www.example.org` is no portal: the same site by another name.
 */
import type { IncomingHttpHeaders } from 'node:http';
import { isIP } from 'node:net';
import type { HttpMethod } from '../model.js';

export type HttpVerdict = { readonly kind: 'good' } | { readonly kind: 'bad'; readonly cause: 'answer' | 'portal'; readonly error: string };

export interface HttpHead {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
}

export interface AnswerReader {
  /** undefined = go on. */
  head(head: HttpHead): HttpVerdict | undefined;
  body(chunk: Buffer): HttpVerdict | undefined;
  end(): HttpVerdict;
}

const BODY_BYTES_AT_MOST = 64 * 1024;
const SHOWN_CHARACTERS = 200;

export function readAnswer(target: HttpMethod): AnswerReader {
  const wanted = Buffer.from(target.body);
  let wrongStatus: string | undefined;
  let read = 0;
  let tail: Buffer = Buffer.alloc(0);

  return {
    head({ status, headers }) {
      if (status !== target.status) {
        const words = `status ${status} instead of ${target.status}`;
        if (status === 511) return portal('status 511, network authentication required');
        if (status >= 300 && status < 400 && headers.location !== undefined) return redirected(target, words, headers.location);
        if (status !== 200 || !isEmpty(target.status)) return bad(words);
        if (Number(headers['content-length'] ?? 0) > 0) return portal(`a page came where none was to be expected (${words})`);
        wrongStatus = words;
        return undefined;
      }
      const complaint = headerComplaint(target, headers);
      if (complaint !== '') return bad(complaint);
      return wanted.length === 0 ? GOOD : undefined;
    },
    body(chunk) {
      if (chunk.length === 0) return undefined;
      if (wrongStatus !== undefined) return portal(`a page came where none was to be expected (${wrongStatus})`);
      const seen = Buffer.concat([tail, chunk.subarray(0, BODY_BYTES_AT_MOST - read)]);
      read += chunk.length;
      if (seen.includes(wanted)) return GOOD;
      if (read >= BODY_BYTES_AT_MOST) return bad(`the first 64 KiB of the body do not contain "${shown(target.body)}"`);
      tail = seen.subarray(Math.max(0, seen.length - wanted.length + 1));
      return undefined;
    },
    end: () => bad(wrongStatus ?? `the body (${read} bytes) does not contain "${shown(target.body)}"`),
  };
}

const GOOD: HttpVerdict = { kind: 'good' };

function bad(error: string): HttpVerdict {
  return { kind: 'bad', cause: 'answer', error };
}

function portal(words: string): HttpVerdict {
  return { kind: 'bad', cause: 'portal', error: `${words}: a captive portal` };
}

/** RFC 9110: these never have a body. */
function isEmpty(status: number): boolean {
  return status === 204 || status === 205 || status === 304;
}

function redirected({ url }: HttpMethod, words: string, location: string): HttpVerdict {
  const to = URL.canParse(location, url) ? new URL(location, url) : undefined;
  if (to === undefined || isSameSite(new URL(url).hostname, to.hostname)) return bad(`${words}: redirected to ${shown(location)}`);
  return portal(`redirected to ${shown(to.href)}`);
}

/** The same host, or one of them is within the domain of the other: `example.org` and `www.example.org`. */
function isSameSite(a: string, b: string): boolean {
  if (a === b) return true;
  return [a, b].every((host) => isIP(host.replace(/^\[|\]$/g, '')) === 0) && (a.endsWith(`.${b}`) || b.endsWith(`.${a}`));
}

function headerComplaint({ header }: HttpMethod, headers: IncomingHttpHeaders): string {
  if (header === undefined) return '';
  const present = headers[header.name.toLowerCase()];
  if (present === undefined) return `the header "${header.name}" is missing`;
  const text = Array.isArray(present) ? present.join(', ') : present;
  return text.includes(header.value) ? '' : `the header "${header.name}" is "${shown(text)}" and does not contain "${shown(header.value)}"`;
}

/** What others wrote, fit for a log line. */
function shown(text: string): string {
  const printable = text.replace(/[^\x20-\x7e]/g, '?');
  return printable.length > SHOWN_CHARACTERS ? `${printable.slice(0, SHOWN_CHARACTERS)}...` : printable;
}
