/**
 * What is wrong with a request, in words: from the errors of the HTTP parser, of fastify and of its validator (ajv) to problems.
 */
import { problem, quoted, type Answer } from './answer.js';
import type { Endpoint } from './endpoint.js';

/** Where a call does not say that it takes more. */
export const BODY_BYTES = 16 * 1024;

/** So many faults of one body are told; a body of thousands of unknown keys is still one problem. */
const FAULTS_AT_MOST = 8;

/** The errors of fastify that are told here, structurally. */
export interface RequestError {
  readonly message: string;
  readonly code?: string;
  readonly statusCode?: number | undefined;
  readonly validation?: readonly ValidationFault[] | undefined;
  readonly validationContext?: string | undefined;
}

/** One error of ajv, with `verbose`. */
interface ValidationFault {
  readonly keyword: string;
  readonly instancePath: string;
  readonly params: Readonly<Record<string, unknown>>;
  readonly parentSchema?: unknown;
  readonly data?: unknown;
}

export function brokenRequest(error: RequestError, endpoint: Endpoint | undefined): Answer {
  if (error.validation !== undefined) return invalid(error.validation, error.validationContext === 'body', endpoint);
  switch (error.code ?? '') {
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE':
      return problem('wrong-content-type', 'Send the body as JSON, with the header "Content-Type: application/json".');
    case 'FST_ERR_CTP_BODY_TOO_LARGE':
      return problem('body-too-large', `The body is larger than ${(endpoint?.bodyBytesAtMost ?? BODY_BYTES) / 1024} KiB, the most that this call takes.`);
    case 'FST_ERR_BAD_URL':
      return problem('malformed-request', 'The path is not a valid URL: a "%" must be followed by two hexadecimal digits.');
    case 'FST_ERR_MAX_PARAM_LENGTH':
      return problem('path-too-long', 'A name in the path is longer than 64 characters. /v1/uplinks lists the names.');
    default:
      if (error.statusCode !== undefined && error.statusCode >= 400 && error.statusCode < 500) return problem('malformed-request', error.message);
      return problem('internal', 'This should not happen. The log of the daemon (journalctl -u uplinkd) has the details; please report it.');
  }
}

/** No such path, or not by this method. */
export function nowhere(method: string, url: string, endpoints: readonly Endpoint[]): Answer {
  const path = url.split('?', 1)[0] ?? '';
  const here = endpoints.filter((endpoint) => fits(endpoint.path, path)).map((endpoint) => endpoint.method);
  if (here.length === 0) {
    const paths = [...new Set(endpoints.map((endpoint) => endpoint.path.replace(/:([a-z]+)/g, (_, name: string) => name.toUpperCase())))];
    return problem('no-such-route', `There is nothing at ${quoted(path)}. There is: ${paths.join(', ')}.`);
  }
  const allowed = here.flatMap((one) => (one === 'GET' ? ['GET', 'HEAD'] : [one])).join(', ');
  return problem('wrong-method', `${quoted(path)} does not know ${method}; it knows ${allowed}.`, {}, { allow: allowed });
}

/** @param code of the error of node:http or of its parser (llhttp) */
export function brokenConnection(code: string, message: string): Answer {
  switch (code) {
    case 'HPE_HEADER_OVERFLOW':
      return problem('headers-too-large', 'The request line and the headers are larger than 8 KiB together.');
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return problem('too-slow', 'The headers must be here within 5 s, the whole request within 10 s.');
    default:
      return problem('malformed-request', `This is not HTTP/1.1: ${message}.`);
  }
}

function invalid(faults: readonly ValidationFault[], inBody: boolean, endpoint: Endpoint | undefined): Answer {
  const schema = inBody ? endpoint?.body : endpoint?.query;
  const keys = Object.keys((schema as { readonly properties?: object } | undefined)?.properties ?? {});
  const errors = faults.slice(0, FAULTS_AT_MOST).map((fault) => ({ pointer: pointer(fault, inBody), detail: words(fault, inBody, keys) }));
  const more = faults.length > FAULTS_AT_MOST ? `; and ${faults.length - FAULTS_AT_MOST} more` : '';
  return problem(inBody ? 'invalid-body' : 'wrong-query', `${errors.map((error) => error.detail).join('; ')}${more}.`, { errors });
}

function pointer(fault: ValidationFault, inBody: boolean): string {
  const key = fault.params['additionalProperty'] ?? fault.params['missingProperty'];
  const path = typeof key === 'string' ? `${fault.instancePath}/${key.slice(0, 60).replaceAll('~', '~0').replaceAll('/', '~1')}` : fault.instancePath;
  return inBody ? path : path.replace(/^\//, '');
}

function words(fault: ValidationFault, inBody: boolean, keys: readonly string[]): string {
  const name = `"${fault.instancePath.slice(1)}"`;
  const known = keys.length === 0 ? 'it takes none' : `it takes ${keys.join(', ')}`;
  switch (fault.keyword) {
    case 'additionalProperties':
      return `${inBody ? 'the body has an unknown key' : 'the query has an unknown parameter'} ${quoted(String(fault.params['additionalProperty']))}; ${known}`;
    case 'required':
      return `${inBody ? 'the key' : 'the query parameter'} "${String(fault.params['missingProperty'])}" is missing`;
    default:
      if (fault.instancePath === '') return `the body must be a JSON object; ${known}`;
      return `${name} is ${shown(fault.data)}; it must be ${meaning(fault.parentSchema)}`;
  }
}

function shown(data: unknown): string {
  return typeof data === 'string' ? quoted(data) : Array.isArray(data) ? 'a list (or given twice)' : data === null ? 'null' : typeof data === 'object' ? 'an object' : String(data);
}

/** The description of a property says what it must be, in words that fit behind "must be". */
function meaning(schema: unknown): string {
  if (typeof schema !== 'object' || schema === null) return 'something else';
  if ('enum' in schema && Array.isArray(schema.enum)) return `one of ${schema.enum.join(', ')}`;
  return 'description' in schema ? String(schema.description) : 'something else';
}

/** Whether a path of the table (`/v1/uplinks/:name`) is the one that was asked for. */
function fits(pattern: string, path: string): boolean {
  const wanted = pattern.split('/');
  const given = path.split('/');
  return wanted.length === given.length && wanted.every((part, i) => (part.startsWith(':') ? given[i] !== '' : part === given[i]));
}
