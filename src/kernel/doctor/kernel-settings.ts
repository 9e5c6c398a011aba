/**
 * Switches of the kernel that decide whether packets of a second uplink get anywhere. The daemon sets most of them itself:
 * what is told here has been set back by somebody, or could not be set.
 *
 * Source: Documentation/networking/ip-sysctl.rst. What strict reverse path filters do to our routing was tried: flows that stay on
 * an uplink that is not the active one are lost, and so are the probes' answers of an uplink that is down (its source rule is gone).
 */
import type { Finding } from '../../model.js';
import type { FilterChain } from './chains.js';
import { dotted, sysctl, type Machine } from './machine.js';
import { addressesOf, fileWith, linkNamed, list, type Look, type Scene, type Uplink } from './scene.js';

const LOST = 'Running connections on an uplink that is not the active one are cut, and an uplink that was down never comes back, because the answers to its probes are dropped';
/** Files that sysctl(8) and systemd-sysctl read. */
const SYSCTL_DIRS = ['/etc/sysctl.d', '/run/sysctl.d', '/usr/local/lib/sysctl.d', '/usr/lib/sysctl.d'];
const KEPT_IN = '/etc/sysctl.d/90-uplinkd.conf';

export const reversePath: Look = {
  subject: 'rp_filter',
  async look(scene) {
    const findings: Finding[] = [];
    const all = Number(await sysctl(scene.machine, 'net/ipv4/conf/all/rp_filter'));
    for (const uplink of present(scene)) {
      const path = `net/ipv4/conf/${uplink.interface}/rp_filter`;
      // The larger of the two is in force: 2 (loose) on the device overrules 1 (strict) on all.
      if (Math.max(all, Number(await sysctl(scene.machine, path))) !== 1) continue;
      const culprit = await writersOf(scene.machine, 'rp_filter', '1');
      findings.push({
        level: 'error', subject: 'rp_filter',
        text: `${uplink.interface} (uplink ${uplink.name}) filters strictly by reverse path${culprit}. ${LOST}.`,
        remedy: setAndKeep([[path, '2']]),
      });
    }
    return [...findings, ...scene.filter.chains.filter((chain) => chain.hook === 'prerouting').flatMap((chain) => filterFinding(chain, scene))];
  },
};

/** Reverse path rules of nft or iptables. firewalld's own is told with firewalld. Those of ip6tables look the way up by device and do no harm. */
function filterFinding(base: FilterChain, { filter }: Scene): readonly Finding[] {
  const within = filter.chains.filter((chain) => chain.tool === base.tool && chain.family === base.family && chain.table === base.table && (chain === base || chain.hook === ''));
  const strict = within.some((chain) => chain.rules.some(({ conditions, verdict }) =>
    conditions.some((condition) => condition.is === 'way back' && condition.strict && (condition.not ? verdict.to === 'drop' : verdict.to === 'accept' || verdict.to === 'return'))));
  if (!strict || base.table === 'firewalld' || (base.tool === 'iptables' && base.family === 'ip6')) return [];
  const remedy = base.tool === 'nft'
    ? `In /etc/nftables.conf (or whatever writes table ${base.table}) take "iif" out of the test:\n  fib saddr . mark oif missing drop\nthen load it again: nft -f /etc/nftables.conf`
    : `iptables -t ${base.table} -S | grep rpfilter      # then take each rule out (-D) and add it again with --loose:\niptables -t ${base.table} -A ${base.name} -m rpfilter --loose --invert -j DROP`;
  return [{
    level: 'error', subject: 'rp_filter',
    text: `Table ${base.family} ${base.table}, chain ${base.name} drops packets that came in by another interface than the way back (strict reverse path). ${LOST}.`,
    remedy,
  }];
}

export const forwarding: Look = {
  subject: 'forwarding',
  async look({ policy, facts, machine, uplinks }) {
    if (policy.lanInterfaces.length === 0) return [];
    const findings: Finding[] = [];
    if ((await sysctl(machine, 'net/ipv4/ip_forward')) === '0') findings.push(notForwarded('IPv4', 'net/ipv4/ip_forward'));
    const lanHas6 = policy.lanInterfaces.some((name) => addressesOf(facts, linkNamed(facts, name)?.index ?? -1, 6).length > 0);
    const up6 = uplinks.filter((uplink) => addressesOf(facts, uplink.link?.index ?? -1, 6).length > 0);
    if (lanHas6 && up6.length > 0 && (await sysctl(machine, 'net/ipv6/conf/all/forwarding')) === '0') {
      findings.push(notForwarded('IPv6', 'net/ipv6/conf/all/forwarding'));
    }
    return findings;
  },
};

function notForwarded(what: string, path: string): Finding {
  return {
    level: 'error', subject: 'forwarding',
    text: `${what} forwarding is off (${path}): nothing from the LAN gets out by any uplink. uplinkd turns it on; somebody turns it off again, or /proc/sys cannot be written.`,
    remedy: setAndKeep([[path, '1']]),
  };
}

export const linkdown: Look = {
  subject: 'linkdown',
  async look(scene) {
    const wrong: string[] = [];
    for (const uplink of present(scene)) {
      const path = `net/ipv4/conf/${uplink.interface}/ignore_routes_with_linkdown`;
      if ((await sysctl(scene.machine, path)) === '0') wrong.push(path);
    }
    if (wrong.length === 0) return [];
    return [{
      level: 'warning', subject: 'linkdown',
      text: `ignore_routes_with_linkdown is off on ${list(wrong.map((path) => path.split('/')[3]!))}: when a cable is pulled, the kernel keeps sending into it until uplinkd has taken the routes away.`,
      remedy: setAndKeep(wrong.map((path) => [path, '1'])),
    }];
  },
};

export const sharing: Look = {
  subject: 'multipath',
  async look({ policy, machine, uplinks, facts }) {
    const shares = policy.uplinks.some((one) => policy.uplinks.some((other) => other !== one && other.priority === one.priority))
      || policy.policies.some((one) => one.order.some((rank) => rank.members.length > 1));
    if (!shares) return [];
    const has6 = uplinks.some((uplink) => addressesOf(facts, uplink.link?.index ?? -1, 6).length > 0);
    const paths = ['net/ipv4/fib_multipath_hash_policy', ...(has6 ? ['net/ipv6/fib_multipath_hash_policy'] : [])];
    const wrong: string[] = [];
    for (const path of paths) {
      if (['0', '2'].includes(await sysctl(machine, path))) wrong.push(path);
    }
    if (wrong.length === 0) return [];
    return [{
      level: 'warning', subject: 'multipath',
      text: `Uplinks share the load, but ${list(wrong.map(dotted))} is not 1: the kernel spreads by addresses alone, so all connections between two hosts take one uplink.`,
      remedy: setAndKeep(wrong.map((path) => [path, '1'])),
    }];
  },
};

export const ipv6: Look = {
  subject: 'ipv6',
  async look(scene) {
    const findings: Finding[] = [];
    for (const uplink of present(scene)) findings.push(...(await ipv6Of(uplink, scene)));
    return findings;
  },
};

async function ipv6Of(uplink: Uplink, { machine, facts }: Scene): Promise<readonly Finding[]> {
  const conf = `net/ipv6/conf/${uplink.interface}`;
  const value = (name: string): Promise<string> => sysctl(machine, `${conf}/${name}`);
  const wanted = uplink.policy.gateways[6];
  const who = `${uplink.interface} (uplink ${uplink.name})`;
  if (typeof wanted === 'object' && (await value('disable_ipv6')) === '1') {
    return [{ level: 'warning', subject: 'ipv6', text: `IPv6 is switched off on ${who}, but an IPv6 gateway is configured for it: it carries no IPv6.`, remedy: setAndKeep([[`${conf}/disable_ipv6`, '0']]) }];
  }
  const findings: Finding[] = [];
  if (wanted === 'auto' && (await value('forwarding')) === '1' && (await value('accept_ra')) === '1') {
    findings.push({
      level: 'error', subject: 'ipv6',
      text: `${who} forwards IPv6 with accept_ra=1: the kernel does not listen to router advertisements then, and its IPv6 gateway and addresses expire.`,
      remedy: setAndKeep([[`${conf}/accept_ra`, '2']]),
    });
  }
  const has6 = addressesOf(facts, uplink.link?.index ?? -1, 6).length > 0;
  if (has6 && uplink.policy.translate[6].kind === 'masquerade' && Number(await value('use_tempaddr')) > 0) {
    findings.push({
      level: 'note', subject: 'ipv6',
      text: `${who} has temporary IPv6 addresses (privacy): what is masqueraded bears one of them, and long connections break when it expires.`,
      remedy: setAndKeep([[`${conf}/use_tempaddr`, '0']]),
    });
  }
  return findings;
}

export function present({ uplinks }: Pick<Scene, 'uplinks'>): readonly Uplink[] {
  return uplinks.filter((uplink) => uplink.link !== undefined);
}

/** Now, and after the next boot. */
export function setAndKeep(values: readonly (readonly [path: string, value: string])[]): string {
  const lines = values.map(([path, value]) => `${dotted(path)} = ${value}`);
  return [...values.map(([path, value]) => `sysctl -w ${dotted(path)}=${value}`), fileWith(KEPT_IN, lines).replace('cat > ', 'cat >> ')].join('\n');
}

/** ` (set by FILE)`, or '' where no file says so. */
async function writersOf(machine: Machine, key: string, value: string): Promise<string> {
  const files = ['/etc/sysctl.conf'];
  for (const dir of SYSCTL_DIRS) files.push(...(await machine.list(dir)).filter((name) => name.endsWith('.conf')).map((name) => `${dir}/${name}`));
  const line = new RegExp(`^[^#;\\n]*\\b${key}\\s*=\\s*${value}\\s*$`, 'm');
  const found: string[] = [];
  for (const file of files) {
    if (line.test(await machine.read(file))) found.push(file);
  }
  return found.length === 0 ? '' : ` (set by ${list(found)})`;
}
