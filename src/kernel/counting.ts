/**
 * What connections that pass by each uplink send, and what comes back for them: a table `uplinkd_count` of our own with named counters (what is
 * counted, and why: counting-text.ts), written by nft in the slow half of the door and read by one netlink request (netlink/counters.ts) in the
 * fast one. It is apart from the NAT rules, so that it works beside iptables too and stays as it is when they are rewritten.
 *
 * Where the table cannot be had, nothing is counted, which is told as one problem and disturbs nothing else. What stands is compared as text with
 * what nft listed after our own write, as in nat/nftables.ts.
 */
import type { DevicesToo, Family, GroupCount, NatWish, TrafficCount } from '../model.js';
import { pairsOf, tableText, type LeftOut, type Pair } from './counting-text.js';
import { difference, type Places } from './nat/preview.js';
import { COUNT_TABLE } from './nat/nft-text.js';
import { UNKNOWN } from './nat/rules.js';
import { openCounterReader } from './netlink/counters.js';
import { openDeviceReader, type DeviceBytes } from './netlink/device-bytes.js';
import { run, type Ran } from './spawn.js';

export interface Counting {
  /** Level-triggered and idempotent. @returns problems. Never rejects. */
  sync(wish: NatWish): Promise<readonly string[]>;
  /** What sync would change, a line each, `+ ` or `- ` in front. Writes nothing. Never rejects. */
  preview(wish: NatWish): Promise<readonly string[]>;
  /** In the order of the wish. A device's numbers begin anew when somebody else took the table away. Empty while the table does not stand. */
  count(devices?: DevicesToo): readonly TrafficCount[];
  /** @throws Error with nft's own words */
  remove(): Promise<void>;
  close(): void;
}

interface Standing {
  readonly counters: readonly string[];
  /** A base chain's hook is its first line. */
  readonly chains: ReadonlyMap<string, readonly string[]>;
}

const OF = `inet ${COUNT_TABLE}`;

export function openCounting(families: readonly Family[]): Counting {
  const reader = openCounterReader();
  const deviceReader = openDeviceReader();
  /** What the table that stands counts. */
  let pairs: readonly Pair[] = [];
  let learned = { wish: '', listing: '' };
  /** Nobody else makes a table of this name: once gone it stays gone. */
  let gone = false;
  let ipsec = true;

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
  const install = async (wished: readonly Pair[], leftOut: LeftOut): Promise<Pick<Ran, 'missing' | 'error'> | undefined> => {
    const wish = tableText(wished, leftOut, new Set());
    const listing = await list();
    if (wish === learned.wish && listing === learned.listing) return undefined;
    forgetWhatStood();
    gone = false;
    const rewritten = await run('nft', ['-f', '-'], rewriteText(wished, leftOut, standingIn(listing)));
    if (rewritten.missing) return rewritten;
    if (!rewritten.ok) {
      // Somebody made an object of ours another kind of thing. Adding before deleting makes deleting succeed whether it stands or not.
      const replaced = await run('nft', ['-f', '-'], `add table ${OF}\ndelete table ${OF}\n${wish}`);
      if (!replaced.ok && leftOut.ipsec && UNKNOWN.test(replaced.error)) {
        ipsec = false;
        return await install(wished, { ...leftOut, ipsec });
      }
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
        const refused = await install(wished, { near: wish.near, ipsec });
        return refused === undefined ? [] : [problemOf(refused)];
      }
      if (gone) return [];
      return await remove().then(() => [], (failure: unknown) => [failure instanceof Error ? failure.message : String(failure)]);
    },
    async preview(wish) {
      const listed = await run('nft', ['-s', 'list', 'table', 'inet', COUNT_TABLE]);
      if (listed.missing) return [];
      const wished = pairsOf(families, wish);
      const text = wished.length === 0 ? '' : tableText(wished, { near: wish.near, ipsec }, new Set());
      if (text !== '' && text === learned.wish && plain(listed.stdout) === learned.listing) return [];
      return difference(shown(standingIn(listed.stdout)), shown(standingIn(text)), alike);
    },
    count(devices = 'no') {
      if (pairs.length === 0) return [];
      const counters = new Map(reader.read(COUNT_TABLE).map((counter) => [counter.name, counter]));
      const counts = pairs.flatMap(({ interface: device, family, groups }): readonly TrafficCount[] => {
        const counted: GroupCount[] = [];
        let [sentPackets, sentBytes, answeredPackets, answeredBytes] = [0, 0, 0, 0];
        for (const names of groups) {
          const [sent, answered] = [counters.get(names.sent), counters.get(names.answered)];
          if (sent === undefined || answered === undefined) return [];
          counted.push({ sent: sent.packets, answered: answered.packets });
          sentPackets += sent.packets;
          sentBytes += sent.bytes;
          answeredPackets += answered.packets;
          answeredBytes += answered.bytes;
        }
        return [{ interface: device, family, sentPackets, sentBytes, answeredPackets, answeredBytes, groups: counted }];
      });
      if (devices === 'no' || (devices === 'flowtable' && !deviceReader.hasFlowtable())) return counts;
      return withDevices(counts, deviceReader.read(counts.map((one) => one.interface)));
    },
    remove,
    close() {
      reader.close();
      deviceReader.close();
    },
  };
}

function withDevices(
  counts: readonly TrafficCount[], devices: ReadonlyMap<string, DeviceBytes>,
): readonly TrafficCount[] {
  return counts.map((one) => {
    const bytes = devices.get(one.interface);
    if (bytes === undefined) return one;
    const ofDevice = counts.filter((each) => each.interface === one.interface);
    const answeredBytes = ofDevice.reduce((sum, each) => sum + each.answeredBytes, 0);
    return { ...one, device: { ...bytes, answeredBytes } };
  });
}

function problemOf({ missing, error }: Pick<Ran, 'missing' | 'error'>): string {
  const remedy = missing ? 'install it (apt install nftables) or set probe.passive: false' : 'probe.passive: false does without';
  return `connections are no evidence, because nothing counts their packets: ${error.replace(/\s+/g, ' ')}; ${remedy}`;
}

/** Flushing takes the rules and leaves the counters: those of uplinks that stay go on. */
function rewriteText(pairs: readonly Pair[], leftOut: LeftOut, standing: Standing): string {
  const wanted = standingIn(tableText(pairs, leftOut, new Set()));
  return [
    `add table ${OF}`, `flush table ${OF}`,
    ...[...standing.chains.keys()].filter((name) => !wanted.chains.has(name)).map((name) => `delete chain ${OF} ${name}`),
    ...standing.counters.filter((name) => !wanted.counters.includes(name)).map((name) => `delete counter ${OF} ${name}`),
    tableText(pairs, leftOut, new Set(standing.counters)),
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

/** What every version of nft spells alike, and lists in whatever order: names, and the comments of rules. */
function shapeOf({ counters, chains }: Standing): string {
  return JSON.stringify([[...counters].sort(), [...chains].sort(([one], [other]) => (one < other ? -1 : 1)).map(([name, rules]) => [name, rules.map((rule) => /comment "(.*?)"/.exec(rule)?.[1] ?? '')])]);
}

/** Groups are alike, so each is shown once for all of them. */
function shown({ counters, chains }: Standing): Places {
  const places = new Map([[`nft add counter ${OF}`, [...new Set(counters.map(ungrouped))].sort()]]);
  for (const [name, rules] of chains) {
    const place = `nft add rule ${OF} ${ungrouped(name)}`;
    places.set(place, [...new Set([...(places.get(place) ?? []), ...rules.map((rule) => (ungrouped(name) === name ? rule : ungrouped(rule)))])]);
  }
  return places;
}

/** `sent4_3_wan0` → `sent4_wan0` */
function ungrouped(text: string): string {
  return text.replace(/\b((?:sent|answered)[46])_\d+/g, '$1');
}

/** Elements come back in an order of nft's own. */
function alike(rule: string): string {
  return rule.replace(/\{ (.*?) \}/g, (_, elements: string) => `{ ${elements.split(', ').sort().join(', ')} }`);
}
