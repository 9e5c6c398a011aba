/**
 * The nftables backend: one table `uplinkd` of our own, replaced as a whole in one transaction, so that there is never an
 * instant without masquerade. `inet` where both families are wished and the kernel has NAT there (Linux 5.2), else one per family.
 *
 * What stands is compared as text. Every version of nft spells a rule its own way (`0x80` comes back as `0x00000080`), so the
 * reference is what nft listed right after our own write of the very same wish: a first turn always writes, later ones only
 * when the listing changed.
 *
 * Marks are looked up in verdict maps: the cost per packet does not grow with the number of uplinks.
 */
import type { Family } from '../../model.js';
import { run } from '../spawn.js';
import { hex, NEIGHBOUR_DISCOVERY, type NatBackend, type NatRules, type Outcome } from './rules.js';

export const NFT_TABLE = 'uplinkd';

type TableFamily = 'ip' | 'ip6' | 'inet';

/** Tables to try, best first. */
const LAYOUTS: Readonly<Record<'4' | '6' | '46', readonly (readonly TableFamily[])[]>> = {
  4: [['ip']],
  6: [['ip6']],
  46: [['inet'], ['ip', 'ip6'], ['ip']],
};

export function openNftables(families: readonly Family[]): NatBackend {
  let layouts = LAYOUTS[families.includes(6) ? (families.includes(4) ? '46' : '6') : '4'];
  let learned = { wish: '', listing: '' };

  const writeAndReadBack = async (wish: string, layout: readonly TableFamily[], rules: NatRules): Promise<Outcome> => {
    const tables = new Set([...(await ourTables()), ...layout]);
    const written = await run('nft', ['-f', '-'], clearing(tables) + wish);
    if (!written.ok) return { state: written.missing ? 'absent' : 'failed', error: written.error };
    const listing = await list(layout);
    if (remarks(listing) !== remarks(wish)) return { state: 'failed', error: `nft took the rules for ${rules.lines.length} uplinks, but lists other ones: another program changes table ${NFT_TABLE} at the same time` };
    learned = { wish, listing };
    return { state: 'in sync', changed: true };
  };

  return {
    name: 'nftables',
    async sync(rules) {
      let first: Outcome | undefined;
      for (const layout of layouts) {
        const wish = layout.map((family) => tableText(family, rules)).join('');
        if (wish === learned.wish && (await list(layout)) === learned.listing) return { state: 'in sync', changed: false };
        const outcome = await writeAndReadBack(wish, layout, rules);
        if (outcome.state === 'in sync') layouts = [layout];
        if (outcome.state !== 'failed') return outcome;
        first ??= outcome;
      }
      return first ?? { state: 'failed', error: 'no address family is wished' };
    },
    async remove() {
      learned = { wish: '', listing: '' };
      const removed = await run('nft', ['-f', '-'], clearing(await ourTables()));
      if (!removed.ok && !removed.missing) throw new Error(`nftables table ${NFT_TABLE} could not be removed: ${removed.error}`);
    },
  };
}

/** The whole table as `nft -f` reads it. Every rule has a comment: people see why it is there. */
export function tableText(family: TableFamily, rules: NatRules): string {
  const { lines, lanInterfaces, markMask: mask } = rules;
  const uplinks = nameSet(lines.map((line) => line.interface));
  const masqueraded = lines.filter((line) => line.masquerade).map((line) => line.interface);
  const stamps = lines.map((line) => `"${line.interface}" : goto stamp_${hex(line.mark)}`).join(', ');
  const restores = lines.map((line) => `${hex(line.mark)} : goto restore_${hex(line.mark)}`).join(', ');
  const discovery = family === 'ip' ? [] : [`icmpv6 type { ${NEIGHBOUR_DISCOVERY.join(', ')} } return comment "neighbour discovery is never marked"`];
  const restore = `ct mark & ${hex(mask)} vmap { ${restores} } comment "flows stay on their uplink"`;
  const stamped = `ct mark & ${hex(mask)} vmap { ${lines.map((line) => `${hex(line.mark)} : return`).join(', ')} } comment "stamped once"`;

  const chains = [
    chain('leave', 'type nat hook postrouting priority srcnat - 5; policy accept;',
      masqueraded.length === 0 ? [] : [`oifname ${nameSet(masqueraded)} masquerade comment "the uplink's own address"`]),
    chain('arrive', 'type filter hook prerouting priority mangle; policy accept;', [
      ...discovery,
      `ct state new iifname vmap { ${stamps} } comment "answers leave by the uplink of arrival"`,
      `iifname ${uplinks} return comment "never restored on what an uplink brings"`,
      restore,
    ]),
    chain('own', 'type route hook output priority mangle; policy accept;', [...discovery, restore]),
    chain('stamp', 'type filter hook postrouting priority mangle; policy accept;', [...discovery, stamped, `oifname vmap { ${stamps} } comment "the uplink it leaves by"`]),
    ...lines.flatMap((line) => [
      chain(`stamp_${hex(line.mark)}`, '', [
        `ct mark & ${hex(mask)} != ${hex(line.mark)} ct mark set ct mark & ${hex(~mask)} | ${hex(line.mark)} comment "uplink ${quotable(line.uplink)}"`,
      ]),
      chain(`restore_${hex(line.mark)}`, '', [`meta mark set meta mark & ${hex(~mask)} | ${hex(line.mark)} comment "uplink ${quotable(line.uplink)}"`]),
    ]),
    ...(lanInterfaces.length === 0 ? [] : [forwardChain(uplinks, nameSet(lanInterfaces))]),
  ];
  return `table ${family} ${NFT_TABLE} {\n${chains.join('')}}\n`;
}

/**
 * An accept in one nft chain does not overrule a drop in another one, so nothing needs to be accepted here: what is not NEW
 * passes, and so does whatever goes from the LAN to the uplinks.
 */
function forwardChain(uplinks: string, lans: string): string {
  return chain('forward', 'type filter hook forward priority filter; policy accept;', [
    `iifname ${uplinks} oifname ${lans} ct status dnat accept comment "published by DNAT"`,
    `iifname ${uplinks} oifname ${lans} ct state new drop comment "nothing new from outside into the lan"`,
  ]);
}

function chain(name: string, hook: string, rules: readonly string[]): string {
  return `\tchain ${name} {\n${[hook, ...rules].filter((line) => line !== '').map((line) => `\t\t${line}\n`).join('')}\t}\n`;
}

function nameSet(names: readonly string[]): string {
  return `{ ${names.map((name) => `"${name}"`).join(', ')} }`;
}

/** nft has no escape for a quote inside a string and takes 128 characters of comment. */
function quotable(text: string): string {
  return text.replace(/[^\w.@:-]/g, '_').slice(0, 100);
}

/** Adding before deleting makes deleting succeed whether the table stands or not. */
function clearing(tables: Iterable<TableFamily>): string {
  return [...tables].map((family) => `add table ${family} ${NFT_TABLE}\ndelete table ${family} ${NFT_TABLE}\n`).join('');
}

/** What stands of ours; '' where a table is missing or cannot be listed (then writing says why). */
async function list(layout: readonly TableFamily[]): Promise<string> {
  const listings = await Promise.all(layout.map((family) => run('nft', ['list', 'table', family, NFT_TABLE])));
  return listings.map((listing) => (listing.ok ? listing.stdout : '')).join('');
}

/** The families that have a table of our name, also those of a former layout. */
async function ourTables(): Promise<TableFamily[]> {
  const tables = await run('nft', ['list', 'tables']);
  const families: readonly TableFamily[] = ['ip', 'ip6', 'inet'];
  return families.filter((family) => tables.stdout.split('\n').includes(`table ${family} ${NFT_TABLE}`));
}

/** The comments in order: the part of a rule that every nft version spells alike. */
function remarks(text: string): string {
  return (text.match(/^\tchain \S+|comment ".*?"/gm) ?? []).join('\n');
}
