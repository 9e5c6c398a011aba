/**
 * The iptables backend: chains UPLINKD_* of our own, one jump to each from a built-in chain, everything of one table replaced
 * in one transaction by `iptables-restore --noflush` (a line `:CHAIN - [0:0]` empties that chain alone). Works with
 * iptables-nft and iptables-legacy; IPv6 is the same data with ip6tables.
 *
 * Order against the rules of others: in nat and mangle our jump goes first (a stray `-j SNAT` without `-o` would send the address
 * of one uplink out of another one); in FORWARD it goes last, so that the user's own rules have the first word. A jump that
 * somebody pushed down is left where it is: no war about positions.
 *
 * What stands is compared as iptables-save prints it. Versions differ in spelling, so the reference is what was printed right after
 * our own write of the very same wish: a first turn always writes, later ones only when the print changed.
 */
import type { Family } from '../../model.js';
import { run } from '../spawn.js';
import { hex, NEIGHBOUR_DISCOVERY, type NatBackend, type NatRules, type Outcome } from './rules.js';

/** `iptables` is whichever of the two the system chose. */
export type IptablesProgram = 'iptables' | 'iptables-nft' | 'iptables-legacy';

export const FORWARD_CHAIN = 'UPLINKD_FWD';

const CHAINS = [
  { table: 'nat', from: 'POSTROUTING', chain: 'UPLINKD_NAT', insert: '-I POSTROUTING 1' },
  { table: 'mangle', from: 'PREROUTING', chain: 'UPLINKD_PRE', insert: '-I PREROUTING 1' },
  { table: 'mangle', from: 'OUTPUT', chain: 'UPLINKD_OUT', insert: '-I OUTPUT 1' },
  { table: 'mangle', from: 'POSTROUTING', chain: 'UPLINKD_POST', insert: '-I POSTROUTING 1' },
  { table: 'filter', from: 'FORWARD', chain: FORWARD_CHAIN, insert: '-A FORWARD' },
] as const;

type ChainName = (typeof CHAINS)[number]['chain'];
/** The rules of each chain, without `-A CHAIN`; undefined = the chain is not wished. */
type WishedChains = Readonly<Record<ChainName, readonly string[] | undefined>>;

/** What iptables-save shows of ours. */
interface Standing {
  readonly exists: boolean;
  readonly rules: readonly string[];
  /** Jumps from the built-in chain; one is right. */
  readonly jumps: number;
}
type Standings = ReadonlyMap<ChainName, Standing>;

export function openIptables(families: readonly Family[], program: IptablesProgram = 'iptables'): NatBackend {
  const learned = new Map<Family, { readonly wish: string; readonly print: string }>();
  let swept = false;

  const syncFamily = async (family: Family, rules: NatRules): Promise<Outcome> => {
    const chains = wishedChains(family, rules);
    const wish = JSON.stringify(chains);
    const before = await run(command(family, program, 'save'), []);
    if (!before.ok) return { state: before.missing ? 'absent' : 'failed', error: before.error };
    const known = learned.get(family);
    if (known?.wish === wish && known.print === print(standings(before.stdout))) return { state: 'in sync', changed: false };

    const written = await run(command(family, program, 'restore'), ['-w', '5', '--noflush'], restoreScript(standings(before.stdout), chains));
    if (!written.ok) return { state: 'failed', error: written.error };
    const after = await run(command(family, program, 'save'), []);
    const now = standings(after.stdout);
    if (!isShapedLike(now, chains)) return { state: 'failed', error: `${program} took the rules, but does not show them: another program changes the chains UPLINKD_* at the same time` };
    learned.set(family, { wish, print: print(now) });
    return { state: 'in sync', changed: true };
  };

  return {
    name: 'iptables',
    async sync(rules) {
      const outcomes = await Promise.all(families.map((family) => syncFamily(family, rules)));
      const bad = outcomes.find((outcome) => outcome.state !== 'in sync');
      if (bad !== undefined) return bad;
      if (!swept) await removeFrom(families, await otherKind(families, program));
      swept = true;
      return { state: 'in sync', changed: outcomes.some((outcome) => outcome.state === 'in sync' && outcome.changed) };
    },
    async remove() {
      learned.clear();
      swept = false;
      for (const each of new Set<IptablesProgram>([program, 'iptables-nft', 'iptables-legacy'])) await removeFrom([4, 6], each);
    },
  };
}

/** The rules as iptables-restore reads them. */
export function wishedChains(family: Family, rules: NatRules): WishedChains {
  const mask = hex(rules.markMask);
  const uplinks = rules.lines.map((line) => line.interface);
  const discovery = family === 4 ? [] : NEIGHBOUR_DISCOVERY.map((type) => `-p ipv6-icmp -m icmp6 --icmpv6-type ${type} -j RETURN`);
  const restore = `-m connmark ! --mark 0x0/${mask} -j CONNMARK --restore-mark --nfmask ${mask} --ctmask ${mask}`;
  return {
    UPLINKD_NAT: rules.lines.filter((line) => line.masquerade).map((line) => `-o ${line.interface} -j MASQUERADE`),
    UPLINKD_PRE: [
      ...discovery,
      ...rules.lines.map((line) => `-i ${line.interface} -m conntrack --ctstate NEW -j CONNMARK --set-xmark ${hex(line.mark)}/${mask}`),
      ...uplinks.map((uplink) => `-i ${uplink} -j RETURN`),
      restore,
    ],
    UPLINKD_OUT: [...discovery, restore],
    UPLINKD_POST: [
      ...discovery,
      ...rules.lines.map((line) => `-m connmark --mark ${hex(line.mark)}/${mask} -j RETURN`),
      ...rules.lines.map((line) => `-o ${line.interface} -j CONNMARK --set-xmark ${hex(line.mark)}/${mask}`),
    ],
    UPLINKD_FWD: rules.lanInterfaces.length === 0 ? undefined : rules.lanInterfaces.flatMap((lan) => uplinks.flatMap((uplink) => [
      `-i ${lan} -o ${uplink} -j ACCEPT`,
      `-i ${uplink} -o ${lan} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT`,
      `-i ${uplink} -o ${lan} -m conntrack --ctstate NEW -m conntrack ! --ctstate DNAT -j DROP`,
    ])),
  };
}

/** One transaction per table: jumps too many go, chains are refilled, missing jumps come. */
function restoreScript(before: Standings, wished: WishedChains): string {
  return perTable((spec) => {
    const standing = before.get(spec.chain);
    const rules = wished[spec.chain];
    const jumps = standing?.jumps ?? 0;
    const surplus = Array<string>(rules === undefined ? jumps : Math.max(0, jumps - 1)).fill(`-D ${spec.from} -j ${spec.chain}`);
    if (rules === undefined) return standing?.exists === true ? [...surplus, `-F ${spec.chain}`, `-X ${spec.chain}`] : [];
    return [
      `:${spec.chain} - [0:0]`,
      ...surplus,
      ...rules.map((rule) => `-A ${spec.chain} ${rule}`),
      ...(jumps === 0 ? [`${spec.insert} -j ${spec.chain}`] : []),
    ];
  });
}

function perTable(linesOf: (spec: (typeof CHAINS)[number]) => readonly string[]): string {
  return [...new Set(CHAINS.map((spec) => spec.table))]
    .map((table) => ({ table, lines: CHAINS.filter((spec) => spec.table === table).flatMap(linesOf) }))
    .filter(({ lines }) => lines.length > 0)
    .map(({ table, lines }) => [`*${table}`, ...lines.filter(isDeclaration), ...lines.filter((line) => !isDeclaration(line)), 'COMMIT', ''].join('\n'))
    .join('');
}

function isDeclaration(line: string): boolean {
  return line.startsWith(':');
}

function standings(saved: string): Standings {
  const byTable = new Map<string, string[]>();
  let lines: string[] = [];
  for (const line of saved.split('\n')) {
    if (line.startsWith('*')) byTable.set(line.slice(1), (lines = []));
    else lines.push(line);
  }
  return new Map(CHAINS.map((spec) => {
    const table = byTable.get(spec.table) ?? [];
    return [spec.chain, {
      exists: table.some((line) => line.startsWith(`:${spec.chain} `)),
      rules: table.filter((line) => line.startsWith(`-A ${spec.chain} `)),
      jumps: table.filter((line) => line === `-A ${spec.from} -j ${spec.chain}`).length,
    }];
  }));
}

function print(now: Standings): string {
  return JSON.stringify([...now]);
}

/** As many rules and jumps as were written; how each is spelt is iptables' affair. */
function isShapedLike(now: Standings, wished: WishedChains): boolean {
  return CHAINS.every(({ chain }) => {
    const standing = now.get(chain);
    const rules = wished[chain];
    return standing?.exists === (rules !== undefined) && standing.jumps === (rules === undefined ? 0 : 1) && standing.rules.length === (rules?.length ?? 0);
  });
}

const NOTHING: WishedChains = { UPLINKD_NAT: undefined, UPLINKD_PRE: undefined, UPLINKD_OUT: undefined, UPLINKD_POST: undefined, UPLINKD_FWD: undefined };

/** @throws Error with the program's own words */
async function removeFrom(families: readonly Family[], program: IptablesProgram): Promise<void> {
  for (const family of families) {
    const before = await run(command(family, program, 'save'), []);
    const script = restoreScript(standings(before.stdout), NOTHING);
    if (script === '') continue;
    const removed = await run(command(family, program, 'restore'), ['-w', '5', '--noflush'], script);
    if (!removed.ok) throw new Error(`the chains UPLINKD_* of ${program} could not be removed: ${removed.error}`);
  }
}

/** The kind that `program` is not: the system may have been changed from one to the other since a former run. */
async function otherKind(families: readonly Family[], program: IptablesProgram): Promise<IptablesProgram> {
  const saved = await run(command(families[0] ?? 4, program, 'save'), []);
  return saved.stdout.includes('(nf_tables)') ? 'iptables-legacy' : 'iptables-nft';
}

function command(family: Family, program: IptablesProgram, verb: 'save' | 'restore'): string {
  return `${family === 4 ? program : program.replace('iptables', 'ip6tables')}-${verb}`;
}
