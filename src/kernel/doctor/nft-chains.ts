/**
 * From `nft -j list ruleset` (libnftables-json(5)) to chains. What is not understood is a condition `other`.
 *
 * Rules that iptables-nft wrote with extensions of its own (`xt`) cannot be read here: their tables are named, for iptables-save to read.
 */
import type { Condition, FilterChain, FilterRule, MarkUse, Verdict } from './chains.js';

export interface NftRuleset {
  readonly chains: readonly FilterChain[];
  /** Tables of iptables-nft (`ip filter`) that are left out of `chains`. */
  readonly iptablesTables: readonly { readonly family: string; readonly table: string }[];
  /** Types of the helper objects that are there (`sip`). */
  readonly helpers: readonly string[];
  readonly flowtables: readonly Flowtable[];
}

/** Carries running connections past the forward hook. */
export interface Flowtable {
  /** `inet filter fastpath` */
  readonly name: string;
  readonly devices: readonly string[];
}

type Json = Readonly<Record<string, unknown>>;

/** @throws SyntaxError when it is not JSON */
export function chainsOfNft(text: string): NftRuleset {
  const parsed: unknown = JSON.parse(text);
  const objects = listOf(fieldOf(parsed, 'nftables'));
  const chains = objects.map((object) => fieldOf(object, 'chain')).filter(isObject)
    .map((chain): FilterChain & { readonly rules: FilterRule[] } => ({
      tool: 'nft', family: wordOf(chain, 'family'), table: wordOf(chain, 'table'), name: wordOf(chain, 'name'),
      hook: wordOf(chain, 'hook'), type: wordOf(chain, 'type'), drops: chain['policy'] === 'drop', rules: [],
    }))
    .filter((chain) => ['ip', 'ip6', 'inet'].includes(chain.family));
  const byName = new Map(chains.map((chain) => [`${chain.family} ${chain.table} ${chain.name}`, chain]));
  const foreign = new Map<string, { readonly family: string; readonly table: string }>();
  for (const rule of objects.map((object) => fieldOf(object, 'rule')).filter(isObject)) {
    const [family, table] = [wordOf(rule, 'family'), wordOf(rule, 'table')];
    const expressions = listOf(rule['expr']).filter(isObject);
    if (expressions.some((expression) => 'xt' in expression)) foreign.set(`${family} ${table}`, { family, table });
    byName.get(`${family} ${table} ${wordOf(rule, 'chain')}`)?.rules.push(...rulesOf(expressions));
  }
  return {
    chains: chains.filter((chain) => !foreign.has(`${chain.family} ${chain.table}`)),
    iptablesTables: [...foreign.values()],
    helpers: objects.map((object) => fieldOf(object, 'ct helper')).filter(isObject).map((helper) => wordOf(helper, 'type')),
    flowtables: objects.map((object) => fieldOf(object, 'flowtable')).filter(isObject).map((one) => ({
      name: [wordOf(one, 'family'), wordOf(one, 'table'), wordOf(one, 'name')].join(' '),
      // A single device is written without a list.
      devices: [one['dev'] ?? []].flat().map(String),
    })),
  };
}

/** One rule, or one per element of a verdict map. */
function rulesOf(expressions: readonly Json[]): readonly FilterRule[] {
  const conditions: Condition[] = [];
  const marks: MarkUse[] = [];
  let helper = '';
  for (const expression of expressions) {
    const [kind = ''] = Object.keys(expression);
    const body = expression[kind];
    if (kind === 'match') {
      conditions.push(conditionOf(body));
      marks.push(...marksRead(body));
    } else if (kind === 'mangle') marks.push(...marksWritten(body));
    else if (kind === 'ct helper') helper = String(body);
    else if (kind === 'vmap') return mapRules(body, conditions).map((rule) => ({ ...rule, marks, helper }));
    else if (kind === 'queue') return eitherWay(conditions).map((rule) => ({ ...rule, marks, helper }));
    else if (['limit', 'quota', 'synproxy', 'meter', 'xt'].includes(kind)) conditions.push({ is: 'other' });
    const verdict = verdictOf(expression);
    if (verdict !== undefined) return [{ conditions, verdict, marks, helper }];
  }
  return [{ conditions, verdict: { to: 'none' }, marks, helper }];
}

function mapRules(body: unknown, before: readonly Condition[]): readonly Pick<FilterRule, 'conditions' | 'verdict'>[] {
  const elements = listOf(fieldOf(fieldOf(body, 'data'), 'set'));
  // A map by name: its elements were not asked for.
  if (elements.length === 0) return eitherWay(before);
  return elements.map((element) => {
    const [key, data] = listOf(element);
    const condition = conditionOf({ op: '==', left: fieldOf(body, 'key'), right: key });
    return { conditions: [...before, condition], verdict: (isObject(data) ? verdictOf(data) : undefined) ?? { to: 'none' } };
  });
}

/** Nobody knows how it ends: a program decides, or a map. */
function eitherWay(before: readonly Condition[]): readonly Pick<FilterRule, 'conditions' | 'verdict'>[] {
  return (['accept', 'drop'] as const).map((to) => ({ conditions: [...before, { is: 'other' }], verdict: { to } }));
}

function verdictOf(expression: Json): Verdict | undefined {
  if ('accept' in expression) return { to: 'accept' };
  if ('drop' in expression || 'reject' in expression) return { to: 'drop' };
  if ('return' in expression) return { to: 'return' };
  if ('jump' in expression) return { to: 'jump', chain: wordOf(expression['jump'], 'target') };
  if ('goto' in expression) return { to: 'goto', chain: wordOf(expression['goto'], 'target') };
  return undefined;
}

function conditionOf(match: unknown): Condition {
  const [left, right] = [fieldOf(match, 'left'), fieldOf(match, 'right')];
  const not = fieldOf(match, 'op') === '!=';
  const words = wordsOf(right);
  const meta = fieldOf(fieldOf(left, 'meta'), 'key');
  const ct = fieldOf(fieldOf(left, 'ct'), 'key');
  const fib = fieldOf(left, 'fib');
  if (isObject(fib)) return wayBackOf(fib, right, not);
  if (words.length === 0 || words.some((word) => word.startsWith('@'))) return { is: 'other' };
  if (meta === 'iifname' || meta === 'iif') return { is: 'in', names: words, not };
  if (meta === 'oifname' || meta === 'oif') return { is: 'out', names: words, not };
  if (meta === 'nfproto' && words.length === 1 && !not) return { is: 'family', family: words[0] === 'ipv6' ? 6 : 4 };
  if (ct === 'state') return { is: 'state', states: words, not };
  if (ct === 'status' && words.length === 1 && words[0] === 'dnat') return { is: 'dnat', not };
  return { is: 'other' };
}

/** `fib saddr . iif oif missing`: false, 0 (older ones) or "missing" is no way back; `!= 0` and `exists` that there is one. */
function wayBackOf(fib: Json, right: unknown, not: boolean): Condition {
  const flags = wordsOf(fib['flags']);
  if (fib['result'] === 'type' || !flags.includes('saddr')) return { is: 'other' };
  const missing = right === false || right === 0 || right === 'missing';
  return { is: 'way back', strict: flags.includes('iif'), not: missing !== not };
}

function marksRead(match: unknown): readonly MarkUse[] {
  const left = fieldOf(match, 'left');
  const masked = listOf(fieldOf(left, '&'));
  if (isMark(left)) return [{ what: 'reads', bits: 0xffffffff, words: `${markName(left)} ${String(fieldOf(match, 'op'))} ${JSON.stringify(fieldOf(match, 'right'))}` }];
  if (!isMark(masked[0]) || typeof masked[1] !== 'number') return [];
  return [{ what: 'reads', bits: masked[1] >>> 0, words: `${markName(masked[0])} & 0x${masked[1].toString(16)}` }];
}

function marksWritten(mangle: unknown): readonly MarkUse[] {
  const key = fieldOf(mangle, 'key');
  if (!isMark(key)) return [];
  const bits = bitsChanged(fieldOf(mangle, 'value'), key);
  return bits === 0 ? [] : [{ what: 'writes', bits, words: `${markName(key)} set` }];
}

/** Bits in which the value may differ from the mark `key` itself. */
function bitsChanged(value: unknown, key: unknown): number {
  if (JSON.stringify(value) === JSON.stringify(key)) return 0;
  for (const operator of ['&', '|', '^']) {
    const sides = listOf(fieldOf(value, operator));
    const constant = sides[1];
    if (typeof constant !== 'number') continue;
    return (bitsChanged(sides[0], key) | (operator === '&' ? ~constant : constant)) >>> 0;
  }
  return 0xffffffff;
}

function isMark(expression: unknown): boolean {
  return fieldOf(fieldOf(expression, 'meta'), 'key') === 'mark' || fieldOf(fieldOf(expression, 'ct'), 'key') === 'mark';
}

function markName(expression: unknown): string {
  return isObject(expression) && 'ct' in expression ? 'ct mark' : 'meta mark';
}

/** A word, a list of words, or a set of them; none where anything else is among them. */
function wordsOf(value: unknown): readonly string[] {
  if (typeof value === 'string') return [value];
  const list = Array.isArray(value) ? (value as readonly unknown[]) : listOf(fieldOf(value, 'set'));
  return list.every((one): one is string => typeof one === 'string') ? list : [];
}

function fieldOf(value: unknown, key: string): unknown {
  return isObject(value) ? value[key] : undefined;
}

function wordOf(value: unknown, key: string): string {
  const word = fieldOf(value, key);
  return typeof word === 'string' ? word : '';
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? (value as readonly unknown[]) : [];
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
