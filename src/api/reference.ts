/**
 * docs/rest.md, made from the table of calls and the schemas. A test holds the file against this text, and writes it when told to
 * (UPDATE_DOCS=1 node --test dist/test/api/reference.test.js).
 */
import { PROBLEMS } from './answer.js';
import { NAMED_SCHEMAS } from './documents.js';
import type { Endpoint } from './endpoint.js';
import { ENDPOINTS } from './routes.js';

/** What is read here of a schema. */
interface Described {
  readonly title?: string;
  readonly description?: string;
  readonly type?: string | readonly string[];
  readonly format?: string;
  readonly enum?: readonly (string | number | null)[];
  readonly items?: Described;
  readonly required?: readonly string[];
  readonly properties?: Readonly<Record<string, Described>>;
}

/** The whole page, Markdown. */
export function restReference(): string {
  return `${[INTRODUCTION, callsTable(), ...ENDPOINTS.map(callChapter), DOCUMENTS, ...NAMED_SCHEMAS.map(documentChapter), problemsChapter()].join('\n\n')}\n`;
}

const INTRODUCTION = `# REST API

<!-- Made from src/api/routes.ts and schemas.ts. Change it there, then: UPDATE_DOCS=1 node --test dist/test/api/reference.test.js -->

The daemon listens on the unix socket \`/run/uplinkd/uplinkd.sock\` (mode 0660, root and the group \`uplinkd\` if there is one), where
everything is allowed, and on the loopback address of \`api.listen\`, where everything may be read and nothing changed. The same,
for machines: \`GET /openapi.json\`. \`uplinkctl\` is a client of this API and nothing else.

- Answers are JSON. A key is never left out: what is not known is \`null\`. New keys may come with new versions; ignore what you
  do not know.
- Times are RFC 3339, UTC, with milliseconds. They are kept by the monotonic clock and turned into wall time when you ask: when the
  clock of the machine is set right, all times move together and the distances between them stay true.
- Durations in requests are written \`90s\`, \`30m\`, \`1h30m\`, \`2d\`; in answers they are numbers, and the name ends with the unit.
- Whatever is wrong with a request is answered with a [problem](#problems) that says what, and what to do.
- Bounds, for the unix socket and for TCP apart: 16 KiB of body (1 MiB where it carries a config), 8 KiB of headers, 64 connections, 32
  requests that wait for a change, 8 that ask what would happen. Where 64 are connected already, the next one takes the place of the one that
  has been silent longest. A connection that sends nothing is closed after 5 s, after 30 s between two requests; an answer must be taken within 30 s.
- Requests on one connection are answered one after the other. All answers together take a quarter of the daemon's time at most, and those
  of the unix socket come first: what needs longer waits. The status, its parts and the metrics are made at most ten times a second, and at
  once when something changed.
- No browser reaches this by accident. Over TCP the header \`Host\` must be an address, \`localhost\` or the name of the machine. Nothing is shared
  with pages from elsewhere (no CORS). Calls that change something want \`Content-Type: application/json\`; on the unix socket it may be left out
  where there is no body.`;

const DOCUMENTS = '## Documents';

function callsTable(): string {
  const rows = ENDPOINTS.map((endpoint) => `| [\`${heading(endpoint)}\`](#${anchor(heading(endpoint))}) | ${endpoint.summary} |`);
  return `| call | what it is |\n| --- | --- |\n${rows.join('\n')}`;
}

function callChapter(endpoint: Endpoint): string {
  const query = endpoint.query as Described;
  const body = endpoint.body as Described | undefined;
  const answer = typeof endpoint.answer === 'string' ? `\`${endpoint.answer}\`` : link(endpoint.answer as Described);
  const others = Object.entries(endpoint.others).map(([status, description]) => `- ${status}: ${description}`);
  return [
    `## ${heading(endpoint)}`,
    `${endpoint.summary}. ${endpoint.description}`,
    ...(endpoint.right === 'operate' ? ['On the unix socket only.'] : []),
    ...(Object.keys(query.properties ?? {}).length === 0 ? [] : [`Query:\n\n${membersTable(query, true)}`]),
    ...(body === undefined ? [] : [`Takes: ${link(body)}`]),
    [`Answers ${answer}`, ...(others.length === 0 ? [] : ['']), ...others].join('\n'),
    `\`\`\`sh\ncurl --unix-socket /run/uplinkd/uplinkd.sock ${endpoint.example}\n\`\`\``,
  ].join('\n\n');
}

function documentChapter(schema: Described): string {
  const isRequest = ENDPOINTS.some((endpoint) => endpoint.body === schema);
  return [`### ${schema.title ?? ''}`, ...(schema.description === undefined ? [] : [schema.description]), membersTable(schema, isRequest)].join('\n\n');
}

/** @param needs whether to tell which members must be there */
function membersTable(schema: Described, needs: boolean): string {
  const rows = Object.entries(schema.properties ?? {}).map(([name, member]) => {
    const must = needs && schema.required?.includes(name) === true ? ', **required**' : '';
    return `| \`${name}\` | ${typeText(member)}${must} | ${member.description ?? ''} |`;
  });
  return `| name | type | meaning |\n| --- | --- | --- |\n${rows.join('\n')}`;
}

function problemsChapter(): string {
  const rows = Object.entries(PROBLEMS).map(([kind, { status, title }]) => `| ${status} | \`urn:uplinkd:problem:${kind}\` | ${title} |`);
  return `## Problems\n\nRFC 9457, \`application/problem+json\`: see [Problem](#problem). \`type\` and \`status\` are for programs, \`title\` and \`detail\` for people.\n\n| status | type | title |\n| --- | --- | --- |\n${rows.join('\n')}`;
}

function typeText(schema: Described): string {
  const types = typeof schema.type === 'string' ? [schema.type] : (schema.type ?? []);
  return types.map((type) => (type === 'null' ? 'null' : oneTypeText(type, schema))).join(' or ');
}

function oneTypeText(type: string, schema: Described): string {
  if (schema.enum !== undefined) return schema.enum.filter((value) => value !== null).map((value) => `\`${value}\``).join(', ');
  if (type === 'array') return `list of ${schema.items === undefined ? 'anything' : listed(schema.items)}`;
  if (type === 'object' && schema.title !== undefined) return link(schema);
  if (schema.format === 'date-time') return 'time';
  return type === 'boolean' ? 'true, false' : type;
}

function listed(items: Described): string {
  if (items.type === 'array') return `lists of ${items.items === undefined ? 'anything' : listed(items.items)}`;
  return items.title === undefined ? `${typeText(items)}s` : link(items);
}

function link(schema: Described): string {
  return `[${schema.title ?? ''}](#${anchor(schema.title ?? '')})`;
}

function heading(endpoint: Endpoint): string {
  return `${endpoint.method} ${endpoint.path.replace(/:([a-z]+)/g, (_, name: string) => name.toUpperCase())}`;
}

/** As GitHub makes them of headings. */
function anchor(text: string): string {
  return text.toLowerCase().replace(/[^a-z0-9 _-]/g, '').replaceAll(' ', '-');
}
