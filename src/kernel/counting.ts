/**
 * What connections that pass by each uplink send, and what comes back for them: a table `uplinkd_count` of our own with two named counters per
 * device and family, written by nft in the slow half of the door and read by one netlink request (netlink/counters.ts) in the fast one. It is apart from
 * the NAT rules, so that it works beside iptables too and stays as it is when they are rewritten.
 *
 * It is evidence about a line, so what counts must be chosen well:
 *
 *   forwarded packets alone   what the router itself sends, our own probes above all, must never be evidence about itself
 *   sent                      what connections that the LAN began (original direction) send out by the device
 *   answered                  what comes back for those by the device (reply direction), established only: an ICMP error (related) says
 *                             that somebody on the way could not deliver, and that is no answer
 *   after the firewalls       the chain is last on its hook: what was dropped before was not sent
 *
 * Devices are looked up in maps: seven rules whatever the number of uplinks. Where the table cannot be had, nothing is counted, which is told
 * as one problem and disturbs nothing else. What stands is compared as text with what nft listed after our own write, as in nat/nftables.ts.
 */
import type { Family, NatWish, TrafficCount } from '../model.js';
import { difference, type Places } from './nat/preview.js';
import { COUNT_TABLE } from './nat/nft-text.js';
import { usableRules } from './nat/rules.js';
import { openCounterReader } from './netlink/counters.js';
import { run, type Ran } from './spawn.js';

export interface Counting {
  /** Level-triggered and idempotent. @returns problems. Never rejects. */
  sync(wish: NatWish): Promise<readonly string[]>;
  /** What sync would change, a line each, `+ ` or `- ` in front. Writes nothing. Never rejects. */
  preview(wish: NatWish): Promise<readonly string[]>;
  /** In the order of the wish. A device's numbers begin anew when somebody else took the table away. Empty while the table does not stand. */
  count(): readonly TrafficCount[];
  /** @throws Error with nft's own words */
  remove(): Promise<void>;
  close(): void;
}

/** Two counters. */
interface Pair {
  readonly interface: string;
  readonly family: Family;
  readonly sent: string;
  readonly answered: string;
}

interface Standing {
  readonly counters: readonly string[];
  /** A base chain's hook is its first line. */
  readonly chains: ReadonlyMap<string, readonly string[]>;
}

const OF = `inet ${COUNT_TABLE}`;
const CHAIN = 'passing';
/** Behind whatever drops at `filter`, at `security`, or near them. */
const HOOK = 'type filter hook forward priority 300; policy accept;';

export function openCounting(families: readonly Family[]): Counting {
  const reader = openCounterReader();
  /** What the table that stands counts. */
  let pairs: readonly Pair[] = [];
  let learned = { wish: '', listing: '' };
  /** Nobody else makes a table of this name: once gone it stays gone. */
  let gone = false;

  const forgetWhatStood = (): void => {
    pairs = [];
    learned = { wish: '', listing: '' };
  };

  const remove = async (): Promise<void> => {
    forgetWhatStood();
    const tables = await run('nft', ['list', 'tables']);
    if (tables.stdout.split('\n').includes(`table ${OF}`)) {
      const removed = await run('nft', ['delete', 'table', 'inet', COUNT_TABLE]);
      if (!removed.ok) throw new Error(`nftables table ${COUNT_TABLE} could not be removed: ${removed.error}`);
    }
    gone = tables.ok || tables.missing;
  };

  /** @returns undefined = it stands, else why not */
  const install = async (wished: readonly Pair[]): Promise<Pick<Ran, 'missing' | 'error'> | undefined> => {
    const wish = tableText(wished, new Set());
    const listing = await list();
    if (wish === learned.wish && listing === learned.listing) return undefined;
    forgetWhatStood();
    gone = false;
    const rewritten = await run('nft', ['-f', '-'], rewriteText(wished, standingIn(listing)));
    if (rewritten.missing) return rewritten;
    if (!rewritten.ok) {
      // Somebody made an object of ours another kind of thing. Adding before deleting makes deleting succeed whether it stands or not.
      const replaced = await run('nft', ['-f', '-'], `add table ${OF}\ndelete table ${OF}\n${wish}`);
      if (!replaced.ok) return replaced;
    }
    const now = await list();
    if (shapeOf(standingIn(now)) !== shapeOf(standingIn(wish))) return { missing: false, error: `nft took the rules, but lists other ones: another program changes table ${COUNT_TABLE} at the same time` };
    learned = { wish, listing: now };
    pairs = wished;
    return undefined;
  };

  return {
    async sync(wish) {
      const wished = pairsOf(families, wish);
      if (wished.length > 0) {
        const refused = await install(wished);
        return refused === undefined ? [] : [problemOf(refused)];
      }
      if (gone) return [];
      return await remove().then(() => [], (failure: unknown) => [failure instanceof Error ? failure.message : String(failure)]);
    },
    async preview(wish) {
      const listed = await run('nft', ['-s', 'list', 'table', 'inet', COUNT_TABLE]);
      if (listed.missing) return [];
      const wished = pairsOf(families, wish);
      const text = wished.length === 0 ? '' : tableText(wished, new Set());
      if (text !== '' && text === learned.wish && plain(listed.stdout) === learned.listing) return [];
      return difference(shown(standingIn(listed.stdout)), shown(standingIn(text)), alike);
    },
    count() {
      if (pairs.length === 0) return [];
      const counters = new Map(reader.read(COUNT_TABLE).map((counter) => [counter.name, counter]));
      return pairs.flatMap(({ interface: device, family, sent: sentName, answered: answeredName }) => {
        const [sent, answered] = [counters.get(sentName), counters.get(answeredName)];
        if (sent === undefined || answered === undefined) return [];
        return [{ interface: device, family, sentPackets: sent.packets, sentBytes: sent.bytes, answeredPackets: answered.packets, answeredBytes: answered.bytes }];
      });
    },
    remove,
    close: () => reader.close(),
  };
}

function problemOf({ missing, error }: Pick<Ran, 'missing' | 'error'>): string {
  const remedy = missing ? 'install it (apt install nftables) or set probe.passive: false' : 'probe.passive: false does without';
  return `connections are no evidence, because nothing counts their packets: ${error.replace(/\s+/g, ' ')}; ${remedy}`;
}

/** Providers answer for names themselves, from what they remember: that says nothing about the way beyond them. */
const NAMES = ['dport', 'sport'].map((port) => `meta l4proto { tcp, udp } th ${port} 53 return comment "look-ups (${port}) are no evidence"`);

/** Whoever refuses may stand anywhere on the way, and says nothing about what lies beyond him. */
const REFUSALS = 'tcp flags & rst == rst return comment "refusals are no evidence"';

/** Empty = no table. Lines that cannot be written as rules are the NAT's to complain of. */
function pairsOf(families: readonly Family[], wish: NatWish): readonly Pair[] {
  if (!wish.counting) return [];
  return usableRules(wish).rules.lines.flatMap(({ interface: device }) => families.map((family) => ({
    interface: device, family, sent: `sent${family}_${writable(device)}`, answered: `answered${family}_${writable(device)}`,
  })));
}

/** nft takes letters, digits, `-`, `_`, `.` and `/` in a name; the last is in no name of a device. `ppp0@x` → `ppp0/40x`. */
function writable(device: string): string {
  return device.replace(/[^A-Za-z0-9_.-]/g, (letter) => `/${letter.charCodeAt(0).toString(16)}`);
}

/** @param standing names of counters that are there already and go on counting */
function tableText(pairs: readonly Pair[], standing: ReadonlySet<string>): string {
  const counters = pairs.flatMap(({ sent, answered }) => [sent, answered]).filter((name) => !standing.has(name)).map((name) => `\tcounter ${name} {\n\t}\n`);
  const rules = [...new Set(pairs.map(({ family }) => family))].flatMap((family) => {
    const own = pairs.filter((pair) => pair.family === family);
    const map = (name: (pair: Pair) => string): string => `map { ${own.map((pair) => `"${pair.interface}" : "${name(pair)}"`).join(', ')} }`;
    return [
      `meta nfproto ipv${family} ct direction original ct state established,new counter name oifname ${map(({ sent }) => sent)} comment "IPv${family}: what connections of the LAN send"`,
      `meta nfproto ipv${family} ct direction reply ct state established counter name iifname ${map(({ answered }) => answered)} comment "IPv${family}: what is answered"`,
    ];
  });
  return `table ${OF} {\n${counters.join('')}\tchain ${CHAIN} {\n${[HOOK, ...NAMES, REFUSALS, ...rules].map((line) => `\t\t${line}\n`).join('')}\t}\n}\n`;
}

/** Flushing takes the rules and leaves the counters: those of uplinks that stay go on. */
function rewriteText(pairs: readonly Pair[], standing: Standing): string {
  const wanted = new Set(pairs.flatMap(({ sent, answered }) => [sent, answered]));
  return [
    `add table ${OF}`, `flush table ${OF}`,
    ...[...standing.chains.keys()].filter((name) => name !== CHAIN).map((name) => `delete chain ${OF} ${name}`),
    ...standing.counters.filter((name) => !wanted.has(name)).map((name) => `delete counter ${OF} ${name}`),
    tableText(pairs, new Set(standing.counters)),
  ].join('\n');
}

/** What stands, without numbers; '' where it is missing or cannot be listed (then writing says why). */
async function list(): Promise<string> {
  const listed = await run('nft', ['-s', 'list', 'table', 'inet', COUNT_TABLE]);
  return listed.ok ? plain(listed.stdout) : '';
}

/** Older versions of nft list the numbers of counters in spite of `-s`. */
function plain(listing: string): string {
  return listing.replace(/packets \d+ bytes \d+/g, '');
}

/** Reads what nft lists, and what we write. */
function standingIn(listing: string): Standing {
  const counters: string[] = [];
  const chains = new Map<string, string[]>();
  let rules: string[] | undefined;
  for (const line of listing.split('\n')) {
    const [kind = '', name = ''] = line.trim().split(' ');
    if (/^\t[^\t}]/.test(line)) rules = undefined;
    if (line.startsWith('\tcounter ')) counters.push(name);
    else if (line.startsWith('\tchain ')) chains.set(name, (rules = []));
    else if (rules !== undefined && kind !== '' && kind !== '}') rules.push(line.trim());
  }
  return { counters, chains };
}

/** What every version of nft spells alike: names, and the comments of rules. */
function shapeOf({ counters, chains }: Standing): string {
  return JSON.stringify([[...counters].sort(), [...chains].map(([name, rules]) => [name, rules.map((rule) => /comment "(.*?)"/.exec(rule)?.[1] ?? '')])]);
}

function shown({ counters, chains }: Standing): Places {
  return new Map([
    [`nft add counter ${OF}`, [...counters].sort()],
    ...[...chains].map(([name, rules]): [string, readonly string[]] => [`nft add rule ${OF} ${name}`, rules]),
  ]);
}

/** Elements come back in an order of nft's own. */
function alike(rule: string): string {
  return rule.replace(/map \{ (.*?) \}/, (_, elements: string) => `map { ${elements.split(', ').sort().join(', ')} }`);
}
