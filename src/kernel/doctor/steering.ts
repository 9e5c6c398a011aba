/**
 * Routes and rules of others beside ours: what is asked before us, what comes too late since we are there, what only looks odd.
 * layout.ts draws our own order; main's connected and static routes come before everything else of ours.
 */
import { ACTIVE_TABLE, FAMILIES, MAIN_TABLE, PREFERENCE, PREFERENCE_RANGE, tableOf } from '../../core/layout.js';
import { refusalsIn } from '../../core/stand-in.js';
import type { Family, Finding, Route } from '../../model.js';
import type { ForeignRule, Survey } from '../netlink/survey.js';
import type { Machine } from './machine.js';
import { list, type Look, type Scene } from './scene.js';

const DEFAULT_TABLE = 253;
const LOCAL_TABLE = 255;
/** rt_protos of iproute2, those that people meet. */
const PROTOCOLS: Readonly<Record<number, string>> = { 2: 'the kernel', 3: 'boot', 4: 'static', 9: 'ra', 11: 'zebra (FRR)', 12: 'bird', 16: 'dhcp', 18: 'keepalived', 42: 'babel', 186: 'bgp', 188: 'ospf' };
/** Routes of one kind that are named one by one. */
const NAMED_AT_MOST = 4;
const TABLES_ASKED_AT_MOST = 8;
const WG_QUICK_TABLE = 51820;
/** Of the kernel's own IPv6 entry for `no route` (ip6_null_entry). */
const NO_ROUTE_METRIC = 0xffffffff;

export const ourTables: Look = {
  subject: 'tables',
  look({ survey, facts, policy }) {
    // Those that rules of ours lead to. The numbers kept free for classes of policies reach far beyond, to wg-quick's 51820.
    const ours = new Set([ACTIVE_TABLE, ...policy.uplinks.map((uplink) => tableOf(uplink.slot)), ...facts.rules.map((rule) => rule.table)]);
    const intruders = survey.routes.filter((route) => route.table !== MAIN_TABLE && ours.has(route.table));
    if (intruders.length === 0) return [];
    const some = intruders.slice(0, NAMED_AT_MOST);
    return [{
      level: 'error', subject: 'tables',
      text: `Routes of others stand in tables of uplinkd and steer its traffic: ${list(some.map((route) => `${routeWords(route, facts.links)} table ${route.table}`))}${more(intruders.length)}.`,
      remedy: some.map((route) => `ip -${route.family} route delete ${routeWords(route, facts.links)} metric ${route.metric} table ${route.table}`).join('\n'),
    }];
  },
};

export const defaults: Look = {
  subject: 'default routes',
  async look(scene) {
    const { facts, survey, uplinks, machine } = scene;
    const findings: Finding[] = [];
    for (const family of FAMILIES) {
      const ours = facts.routes.filter((route) => route.family === family && route.table === MAIN_TABLE && route.destination === 'default').map((route) => route.metric);
      const first = Math.min(...ours);
      const lower = facts.foreignDefaults.filter((route) => route.family === family && route.hops.length > 0 && ours.length > 0 && effectiveMetric(route) < first);
      const devices = new Set(uplinks.map((uplink) => uplink.link?.index));
      const [known, strange] = [lower.filter((r) => r.hops.every((hop) => devices.has(hop.ifindex))), lower.filter((r) => r.hops.some((hop) => !devices.has(hop.ifindex)))];
      if (known.length > 0) findings.push(note(`${quoted(known, scene)} in main ${known.length === 1 ? 'has' : 'have'} a lower metric than uplinkd's (${first}). No harm to what uplinkd steers: its table is asked before main. But "ip route" shows another first line, and programs that read main alone follow it (Tailscale's own packets do). Only while that uplink is silent uplinkd puts a default of its own before it.`));
      if (strange.length > 0) findings.push({ ...note(`${quoted(strange, scene)} in main leads over a device that is no uplink. Nothing goes that way while uplinkd runs, because its own table is asked before main's defaults.`), level: 'warning', remedy: 'If that line shall carry traffic, make it an uplink in the config (gateway: none for tunnels); if not, nothing needs to be done.' });
      const wide = survey.defaults.filter((route) => route.family === family && route.destination !== undefined && route.kind !== 'throw');
      if (wide.length > 0) findings.push(wideFinding(family, wide));
      const later = survey.defaults.filter((route) => route.family === family && route.destination === undefined && route.metric !== NO_ROUTE_METRIC && (ours.length === 0 || route.metric >= first || route.kind === 'throw'));
      if (later.length > 0) findings.push(note(`main has ${list(later.map((route) => `${route.kind} default metric ${route.metric}`))} (IPv${family}). No harm to what uplinkd routes; but where no uplink is left, packets are refused by it.`));
    }
    const refusing = refusalsIn(facts, facts.routes).map(({ text, isPassed }): Finding => ({ ...note(`${text}.`), level: isPassed ? 'warning' : 'error' }));
    return [...findings, ...refusing, ...(await halves(machine))];
  },
};

/** A kill switch in halves: more specific than any default, so it wins as any static route does. */
function wideFinding(family: Family, wide: readonly Survey['defaults'][number][]): Finding {
  const words = wide.map(({ kind, destination = 'default', metric }) => `${kind} ${destination}${metric === 0 ? '' : ` metric ${metric}`}`);
  return {
    level: 'error', subject: 'default routes',
    text: `main refuses ${list(words)} (IPv${family}; a VPN's kill switch, perhaps): such a route is more specific than a default, so it wins over every uplink, and nothing goes there.`,
    remedy: `If that is not meant:\n${words.map((one) => `ip -${family} route delete ${one}`).join('\n')}`,
  };
}

/** OpenVPN's `redirect-gateway def1`: two halves of the world, each more specific than a default. /proc/net/route shows main alone. */
async function halves(machine: Machine): Promise<readonly Finding[]> {
  const rows = (await machine.read('/proc/net/route')).split('\n').map((line) => line.split('\t'));
  // Addresses are in the byte order of the host: 128.0.0.0 is 00000080 on little-endian, 80000000 on big-endian machines.
  const half = rows.filter(([, to, , , , , , mask]) => (mask === '00000080' || mask === '80000000') && (to === '00000000' || to === mask)).filter(([device]) => device !== '*').map(([device = '']) => device);
  if (half.length < 2) return [];
  return [{
    level: 'warning', subject: 'default routes',
    text: `main holds 0.0.0.0/1 and 128.0.0.0/1 by ${list(half)} (OpenVPN's redirect-gateway): they win over every uplink, so everything goes into that tunnel, and policies and load sharing do nothing. The tunnel itself is pinned to one uplink by a host route and does not move when that uplink dies.`,
    remedy: 'In the client\'s .conf, if it shall carry only its own networks:\n  pull-filter ignore "redirect-gateway"\nthen restart the OpenVPN client.',
  }];
}

export const rules: Look = {
  subject: 'rules',
  async look(scene) {
    const foreign = scene.survey.rules.filter((rule) => !isKernels(rule));
    const inside = foreign.filter((rule) => rule.preference >= PREFERENCE_RANGE.first && rule.preference <= PREFERENCE_RANGE.last && rule.action === undefined);
    const after = foreign.filter((rule) => rule.preference > PREFERENCE_RANGE.last && rule.table !== 0 && ![MAIN_TABLE, DEFAULT_TABLE, LOCAL_TABLE].includes(rule.table));
    const before = foreign.filter((rule) => rule.preference < PREFERENCE_RANGE.first && ![DEFAULT_TABLE, LOCAL_TABLE].includes(rule.table));
    const findings = refusingRules(foreign);
    if (inside.length > 0) findings.push(insideFinding(inside));
    if (after.length > 0) findings.push(afterFinding(after, scene.policy.markMask));
    return [...findings, ...(await beforeFindings(before, scene))];
  },
};

/** What they fit is refused, or goes past us, before our rules are asked. */
function refusingRules(foreign: readonly ForeignRule[]): Finding[] {
  const before = foreign.filter((rule) => rule.preference < PREFERENCE.active && rule.action !== undefined && rule.action !== 'nop');
  const refusing = before.filter((rule) => !rule.action!.startsWith('goto'));
  const jumping = before.filter((rule) => rule.action!.startsWith('goto') && Number(rule.action!.slice('goto '.length)) > PREFERENCE.main);
  const remedy = (some: readonly ForeignRule[]): string => `If that is not meant:\n${some.slice(0, NAMED_AT_MOST).map((rule) => `ip -${rule.family} rule delete priority ${rule.preference}${selectorWords(rule) === 'from all' ? '' : ` ${selectorWords(rule)}`}`).join('\n')}`;
  const findings: Finding[] = [];
  if (refusing.length > 0) {
    findings.push({
      level: refusing.some(fitsAll) ? 'error' : 'note', subject: 'rules',
      text: `These rules refuse what they fit before uplinkd is asked: ${named(refusing)}${whose(refusing)}.`, remedy: remedy(refusing),
    });
  }
  if (jumping.length > 0) {
    findings.push({
      level: jumping.some(fitsAll) ? 'error' : 'note', subject: 'rules',
      text: `These rules go past uplinkd's (${PREFERENCE_RANGE.first}..${PREFERENCE_RANGE.last}), so that what they fit does not come to an uplink of its choice: ${named(jumping)}.`, remedy: remedy(jumping),
    });
  }
  return findings;
}

function insideFinding(inside: readonly ForeignRule[]): Finding {
  return {
    level: 'warning', subject: 'rules',
    text: `Rules of others stand among uplinkd's (${PREFERENCE_RANGE.first}..${PREFERENCE_RANGE.last}): ${named(inside)}. They take traffic away from the uplink that it was meant for; uplinkd leaves them alone.`,
    remedy: inside.slice(0, NAMED_AT_MOST).flatMap((rule) => {
      const preference = PREFERENCE_RANGE.first - 100 + (rule.preference % 100);
      return [`ip -${rule.family} rule add ${selectorWords(rule)} lookup ${rule.table} priority ${preference}`, `ip -${rule.family} rule delete ${selectorWords(rule)} lookup ${rule.table} priority ${rule.preference}`];
    }).join('\n'),
  };
}

/** ACTIVE has a default, so what comes after its rule is asked by nobody. */
function afterFinding(after: readonly ForeignRule[], markMask: number): Finding {
  const tunnel = after.find((rule) => rule.inverted && rule.mark !== 0);
  return {
    level: 'warning', subject: 'rules',
    text: `These rules are never reached, because uplinkd's (${PREFERENCE.active}) finds a default route first: ${named(after)}.${tunnel === undefined ? '' : ` A full-tunnel VPN (wg-quick) is passed over: nothing but its own networks goes into it.`}`,
    remedy: tunnel === undefined
      ? after.slice(0, NAMED_AT_MOST).map((rule) => `ip -${rule.family} rule add ${selectorWords(rule)} lookup ${rule.table} priority ${PREFERENCE_RANGE.first - 100}`).join('\n')
      : tunnelRemedy(tunnel, markMask),
  };
}

/**
 * wg-quick chooses its preferences itself, so it has to be told to keep off and be replaced line by line. Its mark is put beside our bits, and
 * compared without them: the tunnel's own packets bear both, and whoever compares all bits sends them into the tunnel again.
 */
function tunnelRemedy(tunnel: ForeignRule, markMask: number): string {
  const table = tunnel.table === 0 ? WG_QUICK_TABLE : tunnel.table;
  const others = ~markMask >>> 0;
  const mark = `0x${((tunnel.mark & others) >>> 0 || (others & -others) >>> 0).toString(16)}`;
  const [main, own] = [PREFERENCE_RANGE.first - 2, PREFERENCE_RANGE.first - 1];
  const line = (family: Family, verb: 'add' | 'delete'): string =>
    `ip -${family} rule ${verb} lookup main suppress_prefixlength 0 priority ${main}; ip -${family} rule ${verb} not fwmark ${mark}/0x${others.toString(16)} lookup ${table} priority ${own}`;
  return [
    'If everything shall go into the tunnel: in /etc/wireguard/wg0.conf, section [Interface]',
    '  Table = off', `  FwMark = ${mark}`,
    ...FAMILIES.flatMap((family) => [`  PostUp = ip -${family} route add default dev %i table ${table}; ${line(family, 'add')}`, `  PreDown = ${line(family, 'delete')}`]),
    'then: wg-quick down wg0; wg-quick up wg0', 'The tunnel\'s own packets then go by the uplink that uplinkd chose. If not, nothing needs to be done.',
  ].join('\n');
}

/** Rules before ours matter by what their tables hold: a default there takes everything that the rule fits. */
async function beforeFindings(before: readonly ForeignRule[], { machine }: Scene): Promise<readonly Finding[]> {
  const taking: ForeignRule[] = [];
  const partly: ForeignRule[] = [];
  const byMain = before.filter((rule) => rule.table === MAIN_TABLE && rule.suppressPrefixLength === -1);
  const known = new Map<string, boolean>();
  for (const rule of before.filter((one) => one.table !== MAIN_TABLE && one.table !== 0)) {
    const key = `${rule.family} ${rule.table}`;
    if (!known.has(key) && known.size < TABLES_ASKED_AT_MOST) known.set(key, await hasDefault(machine, rule.family, rule.table));
    const takes = known.get(key) === true && rule.suppressPrefixLength === -1;
    (takes ? taking : partly).push(rule);
  }
  const findings: Finding[] = [];
  if (taking.length > 0) {
    findings.push({
      // A full-tunnel VPN that was put before us on purpose.
      level: taking.every((rule) => rule.inverted && rule.mark !== 0) ? 'note' : 'warning', subject: 'rules',
      text: `These rules are asked before uplinkd's, and their tables hold a default route, so that what they fit never comes to an uplink of uplinkd's choice: ${named(taking)}${whose(taking)}.`,
      remedy: `If that is not meant:\n${taking.slice(0, NAMED_AT_MOST).map((rule) => `ip -${rule.family} rule delete ${selectorWords(rule)} lookup ${rule.table} priority ${rule.preference}`).join('\n')}`,
    });
  }
  if (byMain.length > 0) {
    findings.push({
      level: byMain.some(fitsAll) ? 'warning' : 'note', subject: 'rules',
      text: `What these rules fit is routed by main alone: it takes the first default there, policies and running connections that should stay on their uplink do not count for it: ${named(byMain)}${whose(byMain)}.`,
      remedy: byMain.filter(fitsAll).map((rule) => `ip -${rule.family} rule delete ${selectorWords(rule)} lookup main priority ${rule.preference}`).join('\n'),
    });
  }
  if (partly.length > 0) findings.push({ ...note(`These rules are asked before uplinkd's; the networks in their tables go their way, the rest goes by the uplinks: ${named(partly)}${whose(partly)}.`), subject: 'rules' });
  return findings;
}

async function hasDefault(machine: Machine, family: Family, table: number): Promise<boolean> {
  if (table === 0) return false;
  const shown = await machine.run('ip', [`-${family}`, 'route', 'show', 'default', 'table', String(table)]);
  return shown.stdout.includes('default');
}

/** The three that every kernel makes, and the one for VRFs. */
function isKernels(rule: ForeignRule): boolean {
  return rule.protocol === 2 && (rule.preference === 0 || rule.preference >= 32766 || (rule.preference === 1000 && rule.table === 0));
}

function fitsAll(rule: ForeignRule): boolean {
  return selectorWords(rule) === 'from all';
}

function whose(some: readonly ForeignRule[]): string {
  const guesses: string[] = [];
  if (some.some((rule) => rule.preference >= 5210 && rule.preference <= 5279)) guesses.push('Tailscale (5210..5270)');
  if (some.some((rule) => rule.preference >= 1001 && rule.preference <= 3999 && rule.table !== 0)) guesses.push('mwan3 (1001..3254)');
  if (some.some((rule) => rule.preference === 220 && rule.table === 220)) guesses.push('strongSwan (220)');
  if (some.some((rule) => rule.protocol === 18)) guesses.push('keepalived');
  return guesses.length === 0 ? '' : ` (probably ${list(guesses)})`;
}

function named(some: readonly ForeignRule[]): string {
  return list(some.slice(0, NAMED_AT_MOST).map(ruleWords)) + more(some.length);
}

function more(count: number): string {
  return count > NAMED_AT_MOST ? ` and ${count - NAMED_AT_MOST} more` : '';
}

/** As `ip rule` prints it: `IPv4 32764: not from all fwmark 0xca6c lookup 51820`. */
export function ruleWords(rule: ForeignRule): string {
  return `IPv${rule.family} ${rule.preference}: ${selectorWords(rule)}${rule.table === 0 ? '' : ` lookup ${rule.table}`}${rule.action === undefined ? '' : ` ${rule.action}`}`;
}

function selectorWords(rule: ForeignRule): string {
  const mask = rule.markMask === 0xffffffff || rule.markMask === 0 ? '' : `/0x${rule.markMask.toString(16)}`;
  return [
    rule.inverted ? 'not ' : '', `from ${rule.from === '' ? 'all' : rule.from}`, rule.to === '' ? '' : ` to ${rule.to}`,
    rule.mark === 0 && rule.markMask === 0 ? '' : ` fwmark 0x${rule.mark.toString(16)}${mask}`,
    rule.inInterface === '' ? '' : ` iif ${rule.inInterface}`, rule.outInterface === '' ? '' : ` oif ${rule.outInterface}`,
    rule.more ?? '',
  ].join('');
}

/** IPv6 shows a route without a metric as 1024. */
function effectiveMetric(route: Route): number {
  return route.family === 6 && route.metric === 0 ? 1024 : route.metric;
}

function quoted(some: readonly Route[], { facts }: Scene): string {
  return list(some.slice(0, NAMED_AT_MOST).map((route) => `"${routeWords(route, facts.links)} metric ${route.metric}" (${PROTOCOLS[route.protocol] ?? `protocol ${route.protocol}`})`)) + more(some.length);
}

function routeWords(route: Route, links: Scene['facts']['links']): string {
  const [hop] = route.hops;
  if (hop === undefined) return `${route.refuses ?? 'unreachable'} ${route.destination}`;
  const device = links.find((link) => link.index === hop.ifindex)?.name ?? `if${hop.ifindex}`;
  return `${route.destination}${hop.via === '' ? '' : ` via ${hop.via}`} dev ${device}`;
}

function note(text: string): Finding {
  return { level: 'note', subject: 'default routes', text, remedy: '' };
}
