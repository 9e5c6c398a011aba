/**
 * What uplinkctl reads of the answers of what-if, plan, reload, policies and doctor.
 */
import { readDecision, type DecisionView } from './answers.js';
import { code, isObject, items, lines, member, number, text, texts, yes } from './reading.js';

export interface PreviewView {
  readonly before: readonly DecisionView[];
  readonly after: readonly DecisionView[];
  readonly routing: readonly string[];
  readonly filter: readonly string[];
  readonly sysctls: readonly string[];
  readonly flows: readonly string[];
  readonly notes: readonly string[];
  /** Of a reload; undefined = not told. */
  readonly inSync: boolean | undefined;
}

export interface PolicyView {
  readonly name: string;
  readonly sources: readonly string[];
  readonly destinations: readonly string[];
  readonly protocol: string;
  readonly sourcePorts: readonly string[];
  readonly destinationPorts: readonly string[];
  readonly mark: { readonly value: string; readonly mask: string } | undefined;
  readonly set: { readonly name: string; readonly side: string } | undefined;
  readonly router: boolean;
  readonly order: readonly (readonly { readonly uplink: string; readonly weight: number }[])[];
  readonly otherwise: string;
  /** NaN = not sticky. */
  readonly stickyMs: number;
  readonly active: readonly { readonly family: number; readonly uplinks: readonly string[] }[];
  /** NaN = not known. */
  readonly connections: number;
  readonly bytes: number;
}

export interface FindingView {
  readonly level: string;
  readonly subject: string;
  readonly text: string;
  /** Line by line. */
  readonly remedy: readonly string[];
}

/** @returns undefined when this is no answer of /v1/what-if, /v1/plan or /v1/reload */
export function readPreview(answer: unknown): PreviewView | undefined {
  if (!Array.isArray(member(answer, 'routing')) || !Array.isArray(member(answer, 'after'))) return undefined;
  return {
    before: items(answer, 'before').map(readDecision),
    after: items(answer, 'after').map(readDecision),
    routing: code(answer, 'routing'),
    filter: code(answer, 'filter'),
    sysctls: code(answer, 'sysctls'),
    flows: texts(answer, 'flows'),
    notes: texts(answer, 'notes'),
    inSync: member(answer, 'inSync') === undefined ? undefined : yes(answer, 'inSync'),
  };
}

/** @returns undefined when this is no answer of /v1/policies */
export function readPolicies(answer: unknown): readonly PolicyView[] | undefined {
  return Array.isArray(member(answer, 'policies')) ? items(answer, 'policies').map(readPolicy) : undefined;
}

/** @returns undefined when this is no answer of /v1/doctor */
export function readFindings(answer: unknown): readonly FindingView[] | undefined {
  if (!Array.isArray(member(answer, 'findings'))) return undefined;
  return items(answer, 'findings').map((finding) => ({
    level: text(finding, 'level'), subject: text(finding, 'subject'), text: text(finding, 'text'), remedy: lines(finding, 'remedy'),
  }));
}

/** Everything that is wrong with a config, of a problem document that tells it; else undefined. */
export function readConfigProblems(answer: unknown): readonly string[] | undefined {
  const problems = texts(answer, 'problems');
  return problems.length === 0 ? undefined : problems;
}

function readPolicy(sent: unknown): PolicyView {
  const mark = member(sent, 'mark');
  const set = member(sent, 'set');
  return {
    name: text(sent, 'name'),
    sources: texts(sent, 'sources'),
    destinations: texts(sent, 'destinations'),
    protocol: text(sent, 'protocol'),
    sourcePorts: texts(sent, 'sourcePorts'),
    destinationPorts: texts(sent, 'destinationPorts'),
    mark: isObject(mark) ? { value: text(mark, 'value'), mask: text(mark, 'mask') } : undefined,
    set: isObject(set) ? { name: text(set, 'name'), side: text(set, 'side') } : undefined,
    router: yes(sent, 'router'),
    order: items(sent, 'order').map((rank) => (Array.isArray(rank) ? rank.map((one) => ({ uplink: text(one, 'uplink'), weight: number(one, 'weight') })) : [])),
    otherwise: text(sent, 'otherwise'),
    stickyMs: number(sent, 'stickyMs'),
    active: items(sent, 'active').map((one) => ({ family: number(one, 'family'), uplinks: texts(one, 'uplinks') })),
    connections: number(sent, 'connections'),
    bytes: number(sent, 'bytes'),
  };
}
