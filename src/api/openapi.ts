/**
 * GET /openapi.json: the table of calls and their schemas as an OpenAPI 3.1 document. Schemas with a name become components,
 * wherever they stand in another schema.
 * Source: spec.openapis.org/oas/v3.1.0
 */
import { PROBLEM_TYPE } from './answer.js';
import { NAMED_SCHEMAS } from './documents.js';
import type { Endpoint } from './endpoint.js';
import { problemAnswer } from './schemas.js';

type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json };

export function openapiDocument(endpoints: readonly Endpoint[], version: string): object {
  const paths: Record<string, Record<string, unknown>> = {};
  for (const endpoint of endpoints) {
    const path = endpoint.path.replace(/:([a-z]+)/g, '{$1}');
    paths[path] = { ...paths[path], [endpoint.method.toLowerCase()]: operation(endpoint) };
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'uplinkd',
      version,
      description: 'Multi-WAN failover for Linux. Served on the unix socket (may change things) and on loopback TCP (may read).',
      license: { name: 'MIT', identifier: 'MIT' },
    },
    servers: [{ url: 'http://127.0.0.1:9474' }],
    paths,
    components: { schemas: Object.fromEntries(NAMED_SCHEMAS.map((schema) => [schema.title, referring(schema as unknown as Json, true)])) },
  };
}

function operation(endpoint: Endpoint): object {
  return {
    operationId: `${endpoint.method.toLowerCase()}${endpoint.path.replace(/[^a-z]+([a-z]?)/g, (_, next: string) => next.toUpperCase())}`,
    summary: endpoint.summary,
    description: endpoint.description,
    parameters: [...parameters(endpoint.params, 'path'), ...parameters(endpoint.query, 'query')],
    ...(endpoint.body === undefined ? {} : { requestBody: { required: true, content: { 'application/json': { schema: referring(endpoint.body as Json) } } } }),
    responses: {
      200: { description: 'Done.', content: answerContent(endpoint.answer) },
      ...Object.fromEntries(Object.entries(endpoint.others).map(([status, description]) => [status, status === '304' ? { description } : { description, ...problemContent() }])),
      default: { description: 'Anything else that is wrong with the request.', ...problemContent() },
    },
  };
}

function parameters(schema: object | undefined, where: 'path' | 'query'): object[] {
  if (schema === undefined || !('properties' in schema)) return [];
  const required = 'required' in schema ? (schema.required as readonly string[]) : [];
  return Object.entries(schema.properties as Record<string, { readonly description: string }>).map(([name, { description, ...rest }]) => ({
    name,
    in: where,
    required: required.includes(name),
    description,
    schema: rest,
  }));
}

function answerContent(answer: object | string): object {
  return typeof answer === 'string' ? { [answer]: {} } : { 'application/json': { schema: referring(answer as Json) } };
}

function problemContent(): object {
  return { content: { [PROBLEM_TYPE]: { schema: referring(problemAnswer as unknown as Json) } } };
}

/** The schema with each named schema in it replaced by a reference; `itself`: but not the outermost. */
function referring(schema: Json, itself = false): Json {
  if (schema === null || typeof schema !== 'object') return schema;
  if (Array.isArray(schema)) return schema.map((item: Json) => referring(item));
  const named = NAMED_SCHEMAS.find((one) => (one as unknown) === schema);
  if (named !== undefined && !itself) return { $ref: `#/components/schemas/${named.title}` };
  return Object.fromEntries(Object.entries(schema).map(([key, value]) => [key, referring(value)]));
}
