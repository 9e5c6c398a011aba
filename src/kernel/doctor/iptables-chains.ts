/** From the text of iptables-save(8) to chains. What is not understood is a condition `other`, so that nothing is said that is not known. */
import type { Condition, FilterChain, FilterRule, MarkUse, Verdict } from './chains.js';

const HOOKS: Readonly<Record<string, string>> = { PREROUTING: 'prerouting', INPUT: 'input', FORWARD: 'forward', OUTPUT: 'output', POSTROUTING: 'postrouting' };
/** Matches that ask nothing of the packet by themselves, or whose options are read below. */
const MATCHES_READ = ['conntrack', 'state', 'comment', 'rpfilter', 'mark', 'connmark'];

/** @param family `ip` or `ip6` */
export function chainsOfSave(saved: string, family: string): readonly FilterChain[] {
  const chains: (FilterChain & { readonly rules: FilterRule[] })[] = [];
  let byName = new Map<string, { readonly rules: FilterRule[] }>();
  let table = '';
  for (const line of saved.split('\n')) {
    if (line.startsWith('*')) [table, byName] = [line.slice(1).trim(), new Map()];
    const [, declared, policy] = /^:(\S+) (\S+)/.exec(line) ?? [];
    if (declared !== undefined) {
      const hook = policy === '-' ? '' : (HOOKS[declared] ?? '');
      const chain = { tool: 'iptables' as const, family, table, name: declared, hook, type: table === 'nat' ? 'nat' : 'filter', drops: policy === 'DROP', rules: [] };
      chains.push(chain);
      byName.set(declared, chain);
    }
    const [, name, rest] = /^-A (\S+) ?(.*)$/.exec(line) ?? [];
    if (name !== undefined && rest !== undefined) byName.get(name)?.rules.push(...rulesOf(wordsOf(rest), byName));
  }
  return chains;
}

/** One, or two where a program decides how it ends. */
function rulesOf(words: readonly string[], chains: ReadonlyMap<string, unknown>): readonly FilterRule[] {
  const rule = ruleOf(words, chains);
  if (!words.includes('NFQUEUE')) return [rule];
  return (['accept', 'drop'] as const).map((to) => ({ ...rule, conditions: [...rule.conditions, { is: 'other' }], verdict: { to } }));
}

function ruleOf(words: readonly string[], chains: ReadonlyMap<string, unknown>): FilterRule {
  const jump = words.findIndex((word) => word === '-j' || word === '-g');
  const target = jump === -1 ? '' : (words[jump + 1] ?? '');
  const options = jump === -1 ? [] : words.slice(jump + 2);
  return {
    conditions: conditionsOf(words.slice(0, jump === -1 ? undefined : jump)),
    verdict: verdictOf(target, words[jump] === '-g', chains),
    marks: [...marksRead(words), ...marksWritten(target, options)],
    helper: target === 'CT' ? valueOf(options, '--helper') : '',
  };
}

function conditionsOf(words: readonly string[]): readonly Condition[] {
  const conditions: Condition[] = [];
  let not = false;
  for (let i = 0; i < words.length; i++) {
    const [word = '', next = ''] = words.slice(i, i + 2);
    const wasNot = not;
    not = word === '!';
    if (word === '!') continue;
    if (word === '-i' || word === '-o') conditions.push({ is: word === '-i' ? 'in' : 'out', names: [next.replace(/\+$/, '*')], not: wasNot });
    else if (word === '--ctstate' || word === '--state') conditions.push(stateOf(next, wasNot));
    else if (word === '--comment') continue;
    else if (word === '-m') {
      if (!MATCHES_READ.includes(next)) conditions.push({ is: 'other' });
      // xt_rpfilter fits what passes the test, with --invert what does not.
      if (next === 'rpfilter') conditions.push({ is: 'way back', strict: !words.includes('--loose'), not: words.includes('--invert') });
    } else if (word.startsWith('-') && word !== '--loose' && word !== '--invert' && word !== '--validmark') conditions.push({ is: 'other' });
  }
  return conditions;
}

function stateOf(list: string, not: boolean): Condition {
  const states = list.toLowerCase().split(',');
  return states.length === 1 && states[0] === 'dnat' ? { is: 'dnat', not } : { is: 'state', states, not };
}

function verdictOf(target: string, goes: boolean, chains: ReadonlyMap<string, unknown>): Verdict {
  if (chains.has(target)) return { to: goes ? 'goto' : 'jump', chain: target };
  if (target === 'ACCEPT') return { to: 'accept' };
  if (target === 'DROP' || target === 'REJECT') return { to: 'drop' };
  return { to: target === 'RETURN' ? 'return' : 'none' };
}

function marksRead(words: readonly string[]): readonly MarkUse[] {
  const value = valueOf(words, '--mark');
  return value === '' ? [] : [{ what: 'reads', bits: maskOf(value), words: `--mark ${value}` }];
}

function marksWritten(target: string, options: readonly string[]): readonly MarkUse[] {
  if (target !== 'MARK' && target !== 'CONNMARK') return [];
  const words = `${target} ${options.join(' ')}`;
  const [value, mask = ''] = valueOf(options, '--set-xmark').split('/');
  if (value !== undefined && value !== '') return [{ what: 'writes', bits: (Number(value) | (mask === '' ? -1 : Number(mask))) >>> 0, words }];
  const written = options.includes('--restore-mark') ? '--nfmask' : '--ctmask';
  return [{ what: 'writes', bits: Number(valueOf(options, written) || 0xffffffff) >>> 0, words }];
}

/** `0x1/0xff` → 0xff; without a mask all bits are meant. */
function maskOf(value: string): number {
  const [, mask] = value.split('/');
  return mask === undefined ? 0xffffffff : Number(mask) >>> 0;
}

function valueOf(words: readonly string[], option: string): string {
  const at = words.indexOf(option);
  return at === -1 ? '' : (words[at + 1] ?? '');
}

/** Comments are quoted, with `\"` inside. */
function wordsOf(text: string): readonly string[] {
  return [...text.matchAll(/"((?:\\.|[^"\\])*)"|(\S+)/g)].map(([, quoted, plain]) => quoted ?? plain ?? '');
}
