/**
 * The iptables backend: chains UPLINKD_* of our own, a jump to each from a built-in chain, everything of one table replaced
 * in one transaction by `iptables-restore --noflush` (a line `:CHAIN - [0:0]` empties that chain alone). Works with
 * iptables-nft and iptables-legacy; IPv6 is the same data with ip6tables.
 *
 * Order against the rules of others: in nat and mangle our jumps go first (a stray `-j SNAT` without `-o` would send the address
 * of one uplink out of another one), but for the policies', which go last: a policy may ask for a mark that somebody gives in
 * mangle. In filter the resets of cut connections go first, the forward firewall last, so that the user's own rules have the
 * first word. A jump that somebody pushed down is left where it is: no war about positions.
 *
 * What stands is compared as iptables-save prints it. Versions differ in spelling, so the reference is what was printed right after
 * our own write of the very same wish: a first turn always writes, later ones only when the print changed.
 *
 * Sets of policies are ipsets: NAME for IPv4; for IPv6 NAME6 where there is one, else NAME if it holds IPv6 (or is a list:set).
 */
import { readFile } from 'node:fs/promises';
import type { Family } from '../../model.js';
import { run, type Ran } from '../spawn.js';
import { destroyIpsetsBut, listIpsets, makeIpsets, type Ipset } from './ipset.js';
import { CHAIN_PREFIX, chainsOf, POLICY_CHAINS, stickyIpset, type Chain } from './iptables-chains.js';
import { difference } from './preview.js';
import { rulesFor, withOrWithout, type FamilyPolicy, type FamilyRules, type NatBackend, type NatRules, type Outcome } from './rules.js';

/** `iptables` is whichever of the two the system chose. */
export type IptablesProgram = 'iptables' | 'iptables-nft' | 'iptables-legacy';

const JUMPS = [
  { table: 'nat', from: 'POSTROUTING', chain: 'UPLINKD_NAT', insert: '-I POSTROUTING 1' },
  { table: 'mangle', from: 'PREROUTING', chain: 'UPLINKD_PRE', insert: '-I PREROUTING 1' },
  { table: 'mangle', from: 'PREROUTING', chain: 'UPLINKD_NEW', insert: '-A PREROUTING' },
  { table: 'mangle', from: 'OUTPUT', chain: 'UPLINKD_OUT', insert: '-I OUTPUT 1' },
  { table: 'mangle', from: 'OUTPUT', chain: 'UPLINKD_OWN', insert: '-A OUTPUT' },
  { table: 'mangle', from: 'FORWARD', chain: 'UPLINKD_BRIDGED', insert: '-I FORWARD 1' },
  { table: 'mangle', from: 'FORWARD', chain: 'UPLINKD_MSS', insert: '-I FORWARD 1' },
  { table: 'mangle', from: 'POSTROUTING', chain: 'UPLINKD_POST', insert: '-I POSTROUTING 1' },
  { table: 'filter', from: 'FORWARD', chain: 'UPLINKD_STRAY', insert: '-I FORWARD 1' },
  { table: 'filter', from: 'OUTPUT', chain: 'UPLINKD_CUT', insert: '-I OUTPUT 1' },
  { table: 'filter', from: 'FORWARD', chain: 'UPLINKD_FWD', insert: '-A FORWARD' },
] as const;

/** Policies per message, where one message does not take all. */
const POLICIES_AT_ONCE = 64;

type Jump = (typeof JUMPS)[number];

/** What iptables-save shows of ours. */
interface Standings {
  /** By table and chain. */
  readonly chains: ReadonlyMap<string, readonly string[]>;
  /** How often each of JUMPS stands; once is right. */
  readonly jumps: readonly number[];
}

/** The rules of each family that can be written, and the sets that they need. */
interface Prepared {
  readonly chains: ReadonlyMap<Family, readonly Chain[]>;
  readonly sets: ReadonlySet<string>;
  readonly problems: readonly string[];
}

export function openIptables(families: readonly Family[], program: IptablesProgram = 'iptables'): NatBackend {
  const learned = new Map<Family, { readonly wish: string; readonly print: string }>();
  let swept = false;
  /** The kind that wrote what was read last. */
  let isNftables = false;
  /** There may be sets of ours. */
  let hasSets = false;

  /** In one go, or where that message is too long (rootless containers may not send long ones), the policies' chains first. */
  const restore = async (family: Family, before: Standings, chains: readonly Chain[]): Promise<Ran> => {
    const write = (script: string): Promise<Ran> => run(command(family, program, 'restore'), ['-w', '5', '--noflush'], script);
    const whole = await write(restoreScript(before, chains));
    if (!whole.error.includes('Message too long')) return whole;
    const policies = POLICY_CHAINS.map((pattern) => chains.filter(({ name }) => pattern.test(name)));
    for (const some of policies) {
      for (let i = 0; i < some.length; i += POLICIES_AT_ONCE) {
        const part = await write(restoreScript({ chains: new Map(), jumps: [] }, some.slice(i, i + POLICIES_AT_ONCE)));
        if (!part.ok) return part;
      }
    }
    return await write(restoreScript(before, chains, new Set(policies.flat().map(({ name }) => name))));
  };

  const syncFamily = async (family: Family, chains: readonly Chain[]): Promise<Outcome> => {
    const wish = JSON.stringify(chains);
    const before = await run(command(family, program, 'save'), []);
    if (!before.ok) return { state: before.missing ? 'absent' : 'failed', error: before.error };
    isNftables = before.stdout.includes('(nf_tables)');
    const known = learned.get(family);
    if (known?.wish === wish && known.print === print(standings(before.stdout))) return { state: 'in sync', changed: false, problems: [] };

    const written = await restore(family, standings(before.stdout), chains);
    if (!written.ok) return { state: 'failed', error: written.error };
    const after = await run(command(family, program, 'save'), []);
    isNftables = after.stdout.includes('(nf_tables)');
    const now = standings(after.stdout);
    if (!isShapedLike(now, chains)) return { state: 'failed', error: `${program} took the rules, but does not show them: another program changes the chains UPLINKD_* at the same time` };
    learned.set(family, { wish, print: print(now) });
    return { state: 'in sync', changed: true, problems: [] };
  };

  const syncAll = async (rules: NatRules): Promise<Outcome> => {
    hasSets ||= rules.policies.some(({ sticky }) => sticky !== undefined);
    const { chains, sets, problems } = await prepare(families, rules, makeIpsets);
    const outcomes = await Promise.all(families.map((family) => syncFamily(family, chains.get(family) ?? [])));
    const bad = outcomes.find((outcome) => outcome.state !== 'in sync');
    if (bad !== undefined) return bad;
    // The system may have been changed from one kind to the other since a former run.
    if (!swept) await removeFrom(families, isNftables ? 'iptables-legacy' : 'iptables-nft');
    const changed = outcomes.some((outcome) => outcome.state === 'in sync' && outcome.changed);
    if (!swept || (changed && hasSets)) hasSets = !(await destroyIpsetsBut(sets)) || sets.size > 0;
    swept = true;
    return { state: 'in sync', changed, problems };
  };

  return {
    name: 'iptables',
    sync: (rules) => withOrWithout(rules, syncAll),
    async preview(rules) {
      const wished = rules === undefined ? undefined : await prepare(families, rules, () => Promise.resolve(''));
      const previews = await Promise.all(families.map(async (family) => {
        const saved = await run(command(family, program, 'save'), []);
        if (saved.missing) return undefined;
        const [chains, now] = [wished?.chains.get(family) ?? [], standings(saved.stdout)];
        const known = learned.get(family);
        return known?.wish === JSON.stringify(chains) && known.print === print(now) ? [] : difference(shown(family, now), shown(family, wishedStandings(chains)));
      }));
      return previews.some((lines) => lines === undefined) ? undefined : previews.flatMap((lines) => lines ?? []);
    },
    async counters() {
      const saved = await Promise.all(families.map((family) => run(command(family, program, 'save'), ['-t', 'mangle', '-c'])));
      return saved.flatMap(({ stdout }) => [...stdout.matchAll(/^\[(\d+):(\d+)\] -A UPLINKD_P\d+ -m comment --comment "?policy ([^" ]+)/gm)])
        .map(([, packets, bytes, policy = '']) => ({ policy, packets: Number(packets), bytes: Number(bytes) }));
    },
    async remove() {
      learned.clear();
      swept = false;
      const kinds = [await removeFrom([4, 6], 'iptables-nft'), await removeFrom([4, 6], 'iptables-legacy')];
      // Where both kinds are installed, it is one of them.
      if (kinds.includes('missing')) await removeFrom([4, 6], program);
      await destroyIpsetsBut(new Set());
    },
  };
}

/** @param make makes the sets of sticky policies; '' = they are there, else why not */
async function prepare(families: readonly Family[], wish: NatRules, make: typeof makeIpsets): Promise<Prepared> {
  const problems: string[] = [];
  const named = wish.policies.some((policy) => policy.set !== undefined) ? await listIpsets() : [];
  const policies = wish.policies.filter(({ name, set }) => {
    const why = set === undefined ? '' : whyNoSet(set.name, named);
    if (why !== '') problems.push(`policy ${name} is left out: ${why}`);
    return why === '';
  });
  const perFamily = families.map((family) => withIpsets(rulesFor(family, { ...wish, policies }), named ?? []));
  const sticky = perFamily.flatMap((rules) => rules.policies.flatMap((policy) => (policy.sticky?.marks ?? []).map(({ mark }) => ({ name: stickyIpset(rules, policy, mark), family: rules.family }))));
  const refused = sticky.length === 0 ? '' : await make(sticky);
  if (refused !== '') problems.push(`sticky needs nat.backend: nftables, or ipset beside iptables (apt install ipset); until then each connection of these policies is for itself (${refused})`);
  const written = refused === '' ? perFamily : perFamily.map((rules) => ({ ...rules, policies: rules.policies.map((policy) => ({ ...policy, sticky: undefined })) }));
  return { chains: new Map(written.map((rules) => [rules.family, chainsOf(rules)])), sets: new Set(refused === '' ? sticky.map(({ name }) => name) : []), problems };
}

/** '' = there is a set to match addresses with. */
function whyNoSet(name: string, sets: readonly Ipset[] | undefined): string {
  if (sets === undefined) return `with iptables a set is an ipset, and ipset does not work here; install it (apt install ipset), or set nat.backend: nftables`;
  const found = sets.filter((set) => set.name === name || set.name === `${name}6`);
  if (found.length === 0) return `there is no ipset ${name}; make it (ipset create ${name} hash:net)`;
  const odd = found.find((set) => !/^(hash:(ip|net)|bitmap:ip|list:set)$/.test(set.type));
  return odd === undefined ? '' : `the ipset ${odd.name} is of type ${odd.type}; sets of addresses are hash:ip, hash:net, bitmap:ip and list:set`;
}

/** The policies with the name of this family's set; without those whose set is of the other family. */
function withIpsets(rules: FamilyRules, sets: readonly Ipset[]): FamilyRules {
  const policies = rules.policies.flatMap((policy): FamilyPolicy[] => {
    if (policy.set === undefined) return [policy];
    const wanted = rules.family === 4 ? [policy.set.name] : [`${policy.set.name}6`, policy.set.name];
    const found = wanted.flatMap((name) => sets.filter((set) => set.name === name && (set.family ?? rules.family) === rules.family))[0];
    return found === undefined ? [] : [{ ...policy, set: { ...policy.set, name: found.name } }];
  });
  return { ...rules, policies };
}

/**
 * One transaction per table: jumps too many go, chains are refilled, missing jumps come, then what is wished no more goes.
 * @param written chains that have been written already
 */
function restoreScript(before: Standings, wished: readonly Chain[], written: ReadonlySet<string> = new Set()): string {
  const script = (['nat', 'mangle', 'filter'] as const).map((table) => {
    const chains = wished.filter((chain) => chain.table === table);
    const gone = [...before.chains.keys()].flatMap((key) => (key.startsWith(`${table} `) && !chains.some(({ name }) => key === `${table} ${name}`) ? [key.slice(table.length + 1)] : []));
    const jumps = JUMPS.flatMap((jump, i) => (jump.table === table ? [{ ...jump, stands: before.jumps[i] ?? 0, wished: chains.some(({ name }) => name === jump.chain) }] : []));
    const lines = [
      ...chains.filter(({ name }) => !written.has(name)).map(({ name }) => `:${name} - [0:0]`),
      ...jumps.flatMap((jump) => Array<string>(Math.max(0, jump.stands - (jump.wished ? 1 : 0))).fill(`-D ${jump.from} -j ${jump.chain}`)),
      ...gone.map((name) => `-F ${name}`),
      ...chains.filter(({ name }) => !written.has(name)).flatMap(({ name, rules }) => rules.map((rule) => `-A ${name} ${rule}`)),
      ...jumps.filter((jump) => jump.wished && jump.stands === 0).map((jump) => `${jump.insert} -j ${jump.chain}`),
      ...gone.map((name) => `-X ${name}`),
    ];
    return lines.length === 0 ? '' : [`*${table}`, ...lines, 'COMMIT', ''].join('\n');
  });
  return script.join('');
}

function standings(saved: string): Standings {
  const chains = new Map<string, string[]>();
  const jumps = JUMPS.map(() => 0);
  let table = '';
  for (const line of saved.split('\n')) {
    const [word = '', name = ''] = line.split(' ');
    if (word.startsWith('*')) table = word.slice(1);
    else if (word.startsWith(`:${CHAIN_PREFIX}`)) chains.set(`${table} ${word.slice(1)}`, []);
    else if (word === '-A' && name.startsWith(CHAIN_PREFIX)) chains.get(`${table} ${name}`)?.push(line.slice(word.length + name.length + 2));
    else if (word === '-A') JUMPS.forEach((jump, i) => (jump.table === table && line === jumpLine(jump) ? (jumps[i] = (jumps[i] ?? 0) + 1) : undefined));
  }
  return { chains, jumps };
}

function wishedStandings(chains: readonly Chain[]): Standings {
  return { chains: new Map(chains.map(({ table, name, rules }) => [`${table} ${name}`, rules])), jumps: JUMPS.map((jump) => (chains.some(({ name }) => name === jump.chain) ? 1 : 0)) };
}

/** By the part of a command that comes before the rule. */
function shown(family: Family, { chains, jumps }: Standings): ReadonlyMap<string, readonly string[]> {
  const program = family === 4 ? 'iptables' : 'ip6tables';
  return new Map([
    ...[...chains].map(([key, rules]): [string, readonly string[]] => [`${program} -t ${key.replace(' ', ' -A ')}`, rules]),
    ...JUMPS.map((jump, i): [string, readonly string[]] => [`${program} -t ${jump.table} ${jump.insert}`, Array<string>(jumps[i] ?? 0).fill(`-j ${jump.chain}`)]),
  ]);
}

function jumpLine(jump: Jump): string {
  return `-A ${jump.from} -j ${jump.chain}`;
}

function print(now: Standings): string {
  return JSON.stringify([[...now.chains], now.jumps]);
}

/** As many rules and jumps as were written; how each is spelt is iptables' affair. */
function isShapedLike(now: Standings, wished: readonly Chain[]): boolean {
  const { chains, jumps } = wishedStandings(wished);
  return now.chains.size === chains.size && [...chains].every(([key, rules]) => now.chains.get(key)?.length === rules.length) && JSON.stringify(now.jumps) === JSON.stringify(jumps);
}

/** @throws Error with the program's own words */
async function removeFrom(families: readonly Family[], program: IptablesProgram): Promise<'removed' | 'missing'> {
  for (const family of families) {
    if (program === 'iptables-legacy' && !(await hasLegacyTables(family))) continue;
    const before = await run(command(family, program, 'save'), []);
    if (before.missing) return 'missing';
    const script = restoreScript(standings(before.stdout), []);
    if (script === '') continue;
    const removed = await run(command(family, program, 'restore'), ['-w', '5', '--noflush'], script);
    if (!removed.ok) throw new Error(`the chains UPLINKD_* of ${program} could not be removed: ${removed.error}`);
  }
  return 'removed';
}

/** Where the kernel has loaded none, iptables-legacy-save has nothing to show. */
async function hasLegacyTables(family: Family): Promise<boolean> {
  return (await readFile(`/proc/net/${family === 4 ? 'ip' : 'ip6'}_tables_names`, 'utf8').catch(() => '')) !== '';
}

function command(family: Family, program: IptablesProgram, verb: 'save' | 'restore'): string {
  return `${family === 4 ? program : program.replace('iptables', 'ip6tables')}-${verb}`;
}
