/**
 * Will the packet filter let the LAN out, its answers in, and strangers nowhere? Packets are tried in thought on every chain of the
 * forward hook, ours and others'; only what is certain is told. Where a chain drops them, the remedy is the one of its owner.
 *
 * `forwarding.firewall: auto` is off where somebody else rules there; then keeping strangers out is theirs to do.
 */
import type { Family, Finding } from '../../model.js';
import { decides, fateIn, hears, isOurs, type FilterChain, type Specimen } from './chains.js';
import { addressesOf, linkNamed, list, type Look, type Scene } from './scene.js';

type Owner = 'firewalld' | 'ufw' | 'docker' | 'iptables' | 'nft';

interface Lost {
  readonly chain: FilterChain;
  readonly out: string[];
  readonly back: string[];
}

export const firewall: Look = {
  subject: 'firewall',
  look(scene) {
    const lans = scene.policy.lanInterfaces;
    const uplinks = scene.uplinks.map((uplink) => uplink.interface).filter((name) => name !== '');
    if (lans.length === 0 || uplinks.length === 0) return unread(scene);
    const lost = lostIn(scene, lans, uplinks);
    return [...unread(scene), ...lost.map((one) => lostFinding(one, scene, lans, uplinks)), ...strangers(scene, lans, uplinks)];
  },
};

/** The chains that certainly drop what should pass. */
function lostIn(scene: Scene, lans: readonly string[], uplinks: readonly string[]): readonly Lost[] {
  const lost: Lost[] = [];
  for (const chain of forwardChains(scene)) {
    const [out, back] = [new Set<string>(), new Set<string>()];
    for (const family of familiesOf(scene).filter((one) => hears(chain, one))) {
      for (const lan of lans) {
        for (const uplink of uplinks) {
          if (drops(chain, scene, { family, from: lan, to: uplink, state: 'new' })) out.add(`${lan} to ${uplink} (IPv${family})`);
          if (drops(chain, scene, { family, from: uplink, to: lan, state: 'established' })) back.add(`${uplink} to ${lan} (IPv${family})`);
        }
      }
    }
    if (out.size + back.size > 0) lost.push({ chain, out: [...out], back: [...back] });
  }
  return lost;
}

function lostFinding({ chain, out, back }: Lost, scene: Scene, lans: readonly string[], uplinks: readonly string[]): Finding {
  const owner = ownerOf(chain, scene);
  const what = [
    out.length === 0 ? '' : `new connections from ${list(shortened(out))}`,
    back.length === 0 ? '' : `answers from ${list(shortened(back))}`,
  ].filter((words) => words !== '');
  const other = scene.policy.forwarding.firewall === 'on' ? '' : ' uplinkd leaves the forwarding rules to it (forwarding.firewall: auto)';
  return {
    level: 'error', subject: owner === 'nft' || owner === 'iptables' ? 'firewall' : owner,
    text: `${owner === 'iptables' || owner === 'nft' ? 'The packet filter' : owner} drops ${list(what)}: table ${chain.family} ${chain.table}, chain ${chain.name}${chain.drops ? ' (policy drop)' : ''}.${other}${other === '' ? '' : '.'}`,
    remedy: remedyOf(owner, chain, lans, uplinks),
  };
}

function shortened(words: readonly string[]): readonly string[] {
  return words.length > 6 ? [...words.slice(0, 5), `${words.length - 5} more`] : words;
}

/** Told only where somebody else rules forwarding, and we therefore stay away. */
function strangers(scene: Scene, lans: readonly string[], uplinks: readonly string[]): readonly Finding[] {
  const { policy: { forwarding }, filter: { chains } } = scene;
  if (forwarding.firewall === 'on') return [];
  const outside = uplinks.filter((name) => !lans.includes(name));
  const families = familiesOf(scene);
  const packets = (to: (uplink: string, family: Family) => readonly string[]): Specimen[] =>
    families.flatMap((family) => outside.flatMap((from) => to(from, family).map((each): Specimen => ({ family, from, to: each, state: 'new' }))));
  const intoLan = packets(() => lans);
  const rivals = forwardChains(scene).filter((chain) => !isOurs(chain) && decides(chain, chains.filter((one) => !isOurs(one)), intoLan));
  if (rivals.length === 0) return [];
  const open = (some: readonly Specimen[]): readonly string[] => some
    .filter((packet) => forwardChains(scene).filter((chain) => hears(chain, packet.family)).every((chain) => !fateIn(chain, chains, packet).drop))
    .map(({ from, to, family }) => `${from} to ${to} (IPv${family})`);
  const [lan, relay] = [open(intoLan), open(packets((uplink, family) => [...outside.filter((name) => name !== uplink), ...othersOf(scene, lans, outside, family)]))];
  const texts = [
    lan.length === 0 ? '' : `Nobody keeps strangers out of the LAN: new connections from ${list(shortened(lan))} are let in.`,
    relay.length === 0 ? '' : `Strangers behind an uplink are forwarded: new connections from ${list(shortened(relay))} pass, so whoever is in the provider's segment can use the other line, and reach these networks.`,
  ].filter((text) => text !== '');
  return texts.map((text) => ({
    level: 'warning', subject: 'firewall',
    text: `${text} uplinkd stays away because somebody else has rules there (${list(rivals.map((chain) => `table ${chain.family} ${chain.table}, chain ${chain.name}`))}).`,
    remedy: 'In /etc/uplinkd/uplinkd.yaml:\nforwarding:\n  firewall: on\nthen: systemctl reload uplinkd',
  }));
}

/** Networks of this machine that are neither the LAN nor behind an uplink. */
function othersOf({ facts }: Scene, lans: readonly string[], uplinks: readonly string[], family: Family): readonly string[] {
  return facts.links
    .filter(({ name, index }) => name !== 'lo' && !lans.includes(name) && !uplinks.includes(name) && addressesOf(facts, index, family).length > 0)
    .map(({ name }) => name);
}

function unread({ filter }: Scene): readonly Finding[] {
  if (filter.problems.length === 0) return [];
  return [{ level: 'note', subject: 'firewall', text: `The packet filter could not be read as a whole, so conflicts in it are not seen: ${list(filter.problems)}.`, remedy: '' }];
}

function forwardChains({ filter }: Scene): readonly FilterChain[] {
  return filter.chains.filter((chain) => chain.hook === 'forward' && chain.type === 'filter');
}

function drops(chain: FilterChain, { filter }: Scene, packet: Specimen): boolean {
  const fate = fateIn(chain, filter.chains, packet);
  return fate.drop && !fate.accept;
}

/** IPv6 where both sides have it. */
function familiesOf({ facts, policy, uplinks }: Scene): readonly Family[] {
  const lan6 = policy.lanInterfaces.some((name) => addressesOf(facts, linkNamed(facts, name)?.index ?? -1, 6).length > 0);
  const up6 = uplinks.some((uplink) => addressesOf(facts, uplink.link?.index ?? -1, 6).length > 0);
  return lan6 && up6 ? [4, 6] : [4];
}

function ownerOf(chain: FilterChain, { filter, processes }: Scene): Owner {
  if (chain.table === 'firewalld') return 'firewalld';
  const names = filter.chains.filter((one) => one.tool === chain.tool && one.table === chain.table && one.family === chain.family).map((one) => one.name);
  if (names.some((name) => name.startsWith('ufw'))) return 'ufw';
  if (names.includes('DOCKER-USER')) return 'docker';
  if (names.some((name) => name.startsWith('FWD_') || name === 'FORWARD_direct') && processes.some((process) => process.name === 'firewalld')) return 'firewalld';
  return chain.tool === 'iptables' || (chain.table === 'filter' && chain.name === 'FORWARD') ? 'iptables' : 'nft';
}

function remedyOf(owner: Owner, chain: FilterChain, lans: readonly string[], uplinks: readonly string[]): string {
  const pairs = lans.flatMap((lan) => uplinks.map((uplink) => [lan, uplink] as const));
  const program = chain.family === 'ip6' ? 'ip6tables' : 'iptables';
  const accepting = (inChain: string): string[] => pairs.flatMap(([lan, uplink]) => [
    `${program} -I ${inChain} -i ${lan} -o ${uplink} -j ACCEPT`,
    `${program} -I ${inChain} -i ${uplink} -o ${lan} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT`,
  ]);
  switch (owner) {
    case 'firewalld':
      return [
        ...lans.map((lan) => `firewall-cmd --permanent --zone=internal --change-interface=${lan}`),
        ...uplinks.map((uplink) => `firewall-cmd --permanent --zone=external --change-interface=${uplink}`),
        'firewall-cmd --permanent --new-policy=lan-to-uplinks',
        'firewall-cmd --permanent --policy=lan-to-uplinks --add-ingress-zone=internal',
        'firewall-cmd --permanent --policy=lan-to-uplinks --add-egress-zone=external',
        'firewall-cmd --permanent --policy=lan-to-uplinks --set-target=ACCEPT',
        'firewall-cmd --reload',
      ].join('\n');
    case 'ufw':
      return pairs.map(([lan, uplink]) => `ufw route allow in on ${lan} out on ${uplink}`).join('\n');
    case 'docker':
      return [
        ...accepting('DOCKER-USER'),
        'To keep that over a reboot (Docker 28 or newer): in /etc/docker/daemon.json',
        '  "ip-forward-no-drop": true',
        `then: ${program} -P FORWARD ACCEPT; systemctl restart docker`,
      ].join('\n');
    case 'iptables':
      return [...accepting('FORWARD'), 'then keep them: netfilter-persistent save   (or where you keep your rules)'].join('\n');
    case 'nft': {
      const where = `${chain.family} ${chain.table} ${chain.name}`;
      const set = (names: readonly string[]): string => `{ ${names.map((name) => `"${name}"`).join(', ')} }`;
      return [
        `nft 'insert rule ${where} iifname ${set(lans)} oifname ${set(uplinks)} accept'`,
        `nft 'insert rule ${where} ct state established,related accept'`,
        'and the same two rules at the top of that chain in /etc/nftables.conf',
      ].join('\n');
    }
  }
}

export const firewalld: Look = {
  subject: 'firewalld',
  async look({ machine, processes, facts, uplinks }) {
    if (!processes.some((process) => process.name === 'firewalld')) return [];
    const text = await machine.read('/etc/firewalld/firewalld.conf');
    const [, value = 'yes'] = /^\s*IPv6_rpfilter\s*=\s*(\S+)/m.exec(text) ?? [];
    const has6 = uplinks.some((uplink) => addressesOf(facts, uplink.link?.index ?? -1, 6).length > 0);
    if (!has6 || !/^(yes|true|strict|strict-forward)$/i.test(value)) return [];
    // Firewalld 2.2 brought `loose`, and its file says so.
    const wanted = text.includes('loose') ? 'loose' : 'no';
    return [{
      level: 'error', subject: 'firewalld',
      text: `firewalld drops IPv6 packets that came in by another interface than the way back (IPv6_rpfilter=${value}): running IPv6 connections on an uplink that is not the active one are cut, and an uplink that was down never comes back in IPv6.`,
      remedy: `${/^\s*IPv6_rpfilter/m.test(text) ? `sed -i 's/^ *IPv6_rpfilter *=.*/IPv6_rpfilter=${wanted}/' /etc/firewalld/firewalld.conf` : `echo IPv6_rpfilter=${wanted} >> /etc/firewalld/firewalld.conf`}\nsystemctl restart firewalld`,
    }];
  },
};
