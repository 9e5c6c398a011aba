/**
 * The nftables backend: a table `uplinkd` of our own in each family, rewritten in one transaction, so that there is never an
 * instant without masquerade. Chains are flushed and filled anew; sets stay, and so do their elements: those that people put in and
 * the sources that sticky policies remember. Where that cannot be done (somebody made an object of ours another kind of thing) the
 * tables are deleted and made, still in one transaction.
 *
 * Where policies or the IPv6 table are refused, the rest is written without them and the refusal told: masquerade and marks
 * matter more.
 *
 * What stands is compared as text, without counters and elements. Every version of nft spells a rule its own way (`0x80` comes back as
 * `0x00000080`), so the reference is what nft listed right after our own write of the very same wish: a first turn always writes,
 * later ones only when the listing changed.
 *
 * Order against the rules of others: translation at `srcnat - 5`, before iptables' own; marks at `mangle`, policies at `mangle + 5`, after
 * whoever marks there; resets of cut connections at `filter - 10`, the forward firewall at `filter`. A drop is final whoever
 * says it, an accept only for its own chain.
 */
import type { Family } from '../../model.js';
import { run, type Ran } from '../spawn.js';
import { NFT_TABLE, SMALL_CHAIN, STICKY_PREFIX, tableOf, tableText, type Table, type TableFamily } from './nft-text.js';
import { difference } from './preview.js';
import { rulesFor, withOrWithout, type NatBackend, type NatRules, type Outcome } from './rules.js';

/** Policies per message, where one message does not take all. */
const CHAINS_AT_ONCE = 64;

/** What stands of one table; nothing where there is none. */
interface Standing {
  /** Type by name. */
  readonly sets: ReadonlyMap<string, string>;
  /** A base chain's hook is its first line. */
  readonly chains: ReadonlyMap<string, readonly string[]>;
}

export function openNftables(families: readonly Family[]): NatBackend {
  /** Families to try, best first. */
  let layouts: readonly (readonly Family[])[] = families.length < 2 ? [families] : [families, families.filter((family) => family === 4)];
  let lacking: readonly string[] = [];
  /** The best of them has stood: from then on what fails is a hiccup, and no reason to give up a family that is translated. */
  let stood = false;
  let learned = { wish: '', listing: '' };
  /** Tables of our name in further families are of a former run; once gone they stay gone. */
  let swept = false;

  const write = async (wish: string, tables: readonly Table[], listing: string): Promise<Outcome> => {
    const others = swept ? [] : oursAmong(await listTables());
    const gone = others.filter((family) => !tables.some((table) => table.family === family));
    const rewritten = await run('nft', ['-f', '-'], clearing(gone) + tables.map((table) => rewriteText(table, standingIn(listing, table.family))).join(''));
    if (rewritten.missing) return { state: 'absent', error: rewritten.error };
    const staged = rewritten.error.includes('Message too long') && (await inStages(tables, listing));
    if (!rewritten.ok && !staged) {
      const all = new Set([...others, ...tables.map(({ family }) => family)]);
      const replaced = await run('nft', ['-f', '-'], clearing(all) + tables.map((table) => tableText(table, new Set())).join(''));
      if (!replaced.ok) return { state: 'failed', error: replaced.error };
    }
    const now = await list(tables);
    if (tables.some((table) => !isShapedLike(standingIn(now, table.family), table))) return { state: 'failed', error: `nft took the rules, but lists other ones: another program changes table ${NFT_TABLE} at the same time` };
    [learned, swept] = [{ wish, listing: now }, gone.length === 0];
    return { state: 'in sync', changed: true, problems: [] };
  };

  const install = async (layout: readonly Family[], rules: NatRules): Promise<Outcome> => {
    const listing = await list(layout.map((family) => ({ family: family === 4 ? 'ip' : 'ip6' })));
    const { tables, problems } = fitting(layout, rules, listing);
    const wish = tables.map((table) => tableText(table, new Set())).join('');
    if (wish === learned.wish && listing === learned.listing) return { state: 'in sync', changed: false, problems };
    const outcome = await write(wish, tables, listing);
    return outcome.state === 'in sync' ? { ...outcome, problems } : outcome;
  };

  return {
    name: 'nftables',
    async sync(rules) {
      let first = '';
      for (const layout of stood ? layouts.slice(0, 1) : layouts) {
        const outcome = await withOrWithout(rules, (some) => install(layout, some));
        if (outcome.state === 'absent') return outcome;
        if (outcome.state === 'in sync') {
          stood = true;
          if (layouts[0] !== layout) [layouts, lacking] = [[layout], [`nft refuses the table for IPv6, so IPv6 is neither translated nor marked: ${first}`]];
          return { ...outcome, problems: [...outcome.problems, ...lacking] };
        }
        if (first === '') first = outcome.error;
      }
      return { state: 'failed', error: first };
    },
    async preview(rules) {
      const listed = await listTables();
      if (listed.missing) return undefined;
      const layout = layouts[0] ?? [];
      const listing = await list(oursAmong(listed).map((family) => ({ family })));
      const tables = rules === undefined ? [] : fitting(layout, rules, listing).tables;
      const isLearned = tables.length > 0 && learned.wish === tables.map((table) => tableText(table, new Set())).join('') && learned.listing === await list(tables);
      if (isLearned) return [];
      const wished = (family: TableFamily): Standing => standingIn(tables.filter((table) => table.family === family).map((table) => tableText(table, new Set())).join(''), family);
      return (['inet', 'ip', 'ip6'] as const).flatMap((family) => difference(shown(family, standingIn(listing, family)), shown(family, wished(family)), alike));
    },
    async counters() {
      const listed = await Promise.all(oursAmong(await listTables()).map((family) => run('nft', ['-t', 'list', 'table', family, NFT_TABLE])));
      return listed.flatMap(({ stdout }) => [...stdout.matchAll(/counter packets (\d+) bytes (\d+) .*comment "policy (.*?)"/g)])
        .map(([, packets, bytes, policy = '']) => ({ policy, packets: Number(packets), bytes: Number(bytes) }));
    },
    async remove() {
      [learned, swept] = [{ wish: '', listing: '' }, false];
      const tables = await listTables();
      const ours = oursAmong(tables);
      if (tables.ok && ours.length === 0) return;
      const removed = await run('nft', ['-f', '-'], clearing(ours));
      if (!removed.ok && !removed.missing) throw new Error(`nftables table ${NFT_TABLE} could not be removed: ${removed.error}`);
    },
  };
}

/** Without the policies whose set stands already and is of another kind. */
function fitting(families: readonly Family[], rules: NatRules, listing: string): { readonly tables: readonly Table[]; readonly problems: readonly string[] } {
  const problems = new Map<string, string>();
  for (const table of families.map((family) => tableOf(rulesFor(family, rules)))) {
    const standing = standingIn(listing, table.family).sets;
    for (const { name, type } of table.sets) {
      const found = standing.get(name) ?? type;
      if (found !== type) problems.set(name, `the set ${name} in table ${table.family} ${NFT_TABLE} holds ${found}, and ${type} is needed; remove it (nft delete set ${table.family} ${NFT_TABLE} ${name})`);
    }
  }
  const policies = rules.policies.filter(({ set }) => !problems.has(set?.name ?? ''));
  return {
    tables: families.map((family) => tableOf(rulesFor(family, { ...rules, policies }))),
    problems: rules.policies.flatMap(({ name, set }) => (problems.has(set?.name ?? '') ? [`policy ${name} is left out: ${problems.get(set?.name ?? '')}`] : [])),
  };
}

/**
 * Without the privilege of the first user namespace (rootless containers) a message to the kernel is bounded by net.core.wmem_default.
 * Then the families are written one by one, and the chains of single policies and lines before the rest: for some milliseconds a new connection may
 * be taken by a neighbour of its policy, but translation, marks and the order of policies still change at one instant.
 */
async function inStages(tables: readonly Table[], listing: string): Promise<boolean> {
  for (const table of tables) {
    const [standing, of] = [standingIn(listing, table.family), `${table.family} ${NFT_TABLE}`];
    const [small, rest] = [table.chains.filter(({ name }) => SMALL_CHAIN.test(name)), table.chains.filter(({ name }) => !SMALL_CHAIN.test(name))];
    const parts = [`add table ${of}\n${tableText({ ...table, chains: [] }, new Set(standing.sets.keys()))}`];
    for (let i = 0; i < small.length; i += CHAINS_AT_ONCE) {
      const some = small.slice(i, i + CHAINS_AT_ONCE);
      parts.push(some.map(({ name }) => `add chain ${of} ${name}\nflush chain ${of} ${name}\n`).join('') + tableText({ ...table, sets: [], chains: some }, new Set()));
    }
    parts.push(rewriteText({ ...table, chains: rest }, standing, new Set(small.map(({ name }) => name))));
    for (const part of parts) if (!(await run('nft', ['-f', '-'], part)).ok) return false;
  }
  return true;
}

/**
 * Flushing takes the rules, not the sets. What is wished no more goes; sets of people stay.
 * @param written chains that have been written already, and all sets with them
 */
function rewriteText(table: Table, standing: Standing, written: ReadonlySet<string> = new Set()): string {
  const of = `${table.family} ${NFT_TABLE}`;
  const flushed = written.size === 0 ? [`flush table ${of}`] : [...standing.chains.keys()].filter((name) => !written.has(name)).map((name) => `flush chain ${of} ${name}`);
  const chainsGone = [...standing.chains.keys()].filter((name) => !written.has(name) && !table.chains.some((chain) => chain.name === name));
  const setsGone = [...standing.sets.keys()].filter((name) => name.startsWith(STICKY_PREFIX) && !table.sets.some((set) => set.name === name));
  const lines = [`add table ${of}`, ...flushed, ...chainsGone.map((name) => `delete chain ${of} ${name}`), ...setsGone.map((name) => `delete set ${of} ${name}`)];
  return `${lines.join('\n')}\n${tableText(written.size === 0 ? table : { ...table, sets: [] }, new Set(standing.sets.keys()))}`;
}

/** Adding before deleting makes deleting succeed whether the table stands or not. */
function clearing(tables: Iterable<TableFamily>): string {
  return [...tables].map((family) => `add table ${family} ${NFT_TABLE}\ndelete table ${family} ${NFT_TABLE}\n`).join('');
}

/** What stands of ours, without counters and elements; '' where a table is missing or cannot be listed (then writing says why). */
async function list(tables: readonly { readonly family: TableFamily }[]): Promise<string> {
  const listings = await Promise.all(tables.map(({ family }) => run('nft', ['-s', '-t', 'list', 'table', family, NFT_TABLE])));
  return listings.map((listing) => (listing.ok ? listing.stdout : '')).join('');
}

async function listTables(): Promise<Ran> {
  return await run('nft', ['list', 'tables']);
}

/** The families that have a table of our name, also those of a former version, which had one for both. */
function oursAmong(tables: Ran): readonly TableFamily[] {
  const families: readonly TableFamily[] = ['ip', 'ip6', 'inet'];
  return families.filter((family) => tables.stdout.split('\n').includes(`table ${family} ${NFT_TABLE}`));
}

/** Reads what nft lists, and what we write. */
function standingIn(listing: string, wanted: TableFamily): Standing {
  const [sets, chains] = [new Map<string, string>(), new Map<string, string[]>()];
  let [family, kind, name] = ['', '', ''];
  for (const line of listing.split('\n')) {
    const words = line.trim().split(' ');
    if (line.startsWith('table ')) family = words[1] ?? '';
    else if (family !== wanted || line.trim() === '') continue;
    else if (/^\t(chain|set) /.test(line)) [kind = '', name = ''] = words;
    else if (/^\t\S/.test(line)) kind = '';
    else if (kind === 'set' && words[0] === 'type') sets.set(name, words.slice(1).join(' '));
    else if (kind === 'chain') chains.get(name)?.push(line.trim());
    if (/^\tchain /.test(line)) chains.set(name, []);
  }
  return { sets, chains };
}

/** As many rules in each chain, with the same comments: the part of a rule that every nft version spells alike. */
function isShapedLike(now: Standing, { chains, sets }: Table): boolean {
  const remarks = (lines: readonly string[]): string => lines.map((line) => /comment "(.*?)"/.exec(line)?.[1] ?? '').join('\n');
  return now.chains.size === chains.length && sets.every(({ name }) => now.sets.has(name))
    && chains.every(({ name, hook, rules }) => remarks(now.chains.get(name) ?? ['']) === remarks([...(hook === '' ? [] : [hook]), ...rules]));
}

function shown(family: TableFamily, { chains }: Standing): ReadonlyMap<string, readonly string[]> {
  return new Map([...chains].map(([name, rules]) => [`nft add rule ${family} ${NFT_TABLE} ${name}`, rules]));
}

/** Spellings of nft that mean the same: leading zeros, the order in a set, braces around a single element, flags, times. */
function alike(rule: string): string {
  return rule
    .replace(/0x0*([0-9a-f]+)/g, '0x$1')
    .replace(/\{ ([^}]*?),? \}/g, (_, elements: string) => {
      const sorted = elements.split(', ').sort();
      return sorted.length === 1 && !elements.includes(' ') ? elements : `{ ${sorted.join(', ')} }`;
    })
    .replace(/flags & \(([^)]*)\) == (\S+)/g, (_, flags: string, wanted: string) => `flags ${wanted} / ${flags.replaceAll(' | ', ',')}`)
    .replace(/flags & rst == rst/, 'flags rst')
    .replace(/timeout \S+/, 'timeout')
    .replace(/counter packets \d+ bytes \d+/, 'counter');
}
