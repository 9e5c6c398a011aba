/** The lines themselves: whose port a device is, how large a packet gets through, and whose addresses overlap. */
import { createHash } from 'node:crypto';
import { isWithin } from '../../core/address.js';
import { tableOf } from '../../core/layout.js';
import type { Address, Finding } from '../../model.js';
import { present, setAndKeep } from './kernel-settings.js';
import { sysctl } from './machine.js';
import { addressesOf, linkNamed, list, type Look, type Scene, type Uplink } from './scene.js';

const ETHERNET_MTU = 1500;

export const masters: Look = {
  subject: 'devices',
  async look(scene) {
    const findings: Finding[] = [];
    for (const uplink of present(scene)) {
      const master = (await scene.machine.link(`/sys/class/net/${uplink.interface}/master`)).split('/').at(-1) ?? '';
      if (master === '') continue;
      findings.push(...(await masterFinding(uplink, master, scene)));
    }
    return findings;
  },
};

async function masterFinding(uplink: Uplink, master: string, { machine }: Scene): Promise<readonly Finding[]> {
  const at = `/sys/class/net/${master}`;
  if (/^DEVTYPE=vrf$/m.test(await machine.read(`${at}/uevent`))) {
    return [{
      level: 'error', subject: 'devices',
      text: `${uplink.interface} (uplink ${uplink.name}) is in the VRF ${master}: the kernel looks its traffic up in that VRF's table (rule 1000, l3mdev), before and instead of uplinkd's.`,
      remedy: `ip link set ${uplink.interface} nomaster      # and take "${master}" out of what puts it there`,
    }];
  }
  const kind = (await machine.exists(`${at}/bridge`)) ? 'a port of the bridge' : (await machine.exists(`${at}/bonding`)) ? 'a member of the bond' : 'subordinate to';
  return [{
    level: 'error', subject: 'devices',
    text: `${uplink.interface} (uplink ${uplink.name}) is ${kind} ${master}: addresses, routes and probes belong on ${master}; on ${uplink.interface} nothing comes in.`,
    remedy: `In /etc/uplinkd/uplinkd.yaml:\nuplinks:\n  ${uplink.name}:\n    interface: ${master}\nor, if it shall stand alone: ip link set ${uplink.interface} nomaster`,
  }];
}

export const packetSize: Look = {
  subject: 'mtu',
  async look(scene) {
    const small = present(scene).filter((uplink) => (uplink.link?.mtu ?? ETHERNET_MTU) < ETHERNET_MTU);
    const findings = small.filter((uplink) => uplink.policy.mss === 'off').map((uplink): Finding => ({
      level: 'warning', subject: 'mtu',
      text: `${uplink.interface} (uplink ${uplink.name}) takes packets of ${uplink.link?.mtu ?? 0} bytes at most, and mss is off for it: where somebody on the way drops ICMP, connections open and then hang as soon as much is sent.`,
      remedy: `In /etc/uplinkd/uplinkd.yaml:\nuplinks:\n  ${uplink.name}:\n    mss: auto\nthen: systemctl reload uplinkd`,
    }));
    if (small.length > 0 && (await sysctl(scene.machine, 'net/ipv4/tcp_mtu_probing')) === '0') {
      findings.push({
        level: 'note', subject: 'mtu',
        text: `${list(small.map((uplink) => uplink.interface))} ${small.length === 1 ? 'has' : 'have'} a small MTU, and the router does not probe for black holes (tcp_mtu_probing=0): after a switch its own long TCP connections may hang.`,
        remedy: setAndKeep([['net/ipv4/tcp_mtu_probing', '1']]),
      });
    }
    return findings;
  },
};

export const overlaps: Look = {
  subject: 'addresses',
  look(scene) {
    const { policy, facts } = scene;
    const findings: Finding[] = [];
    const of = (index: number | undefined): readonly Address[] => facts.addresses.filter((one) => one.ifindex === index && one.scope === 0 && one.peer === '' && one.prefixLength < (one.family === 4 ? 32 : 128));
    const uplinks = present(scene);
    for (const lan of policy.lanInterfaces) {
      for (const uplink of uplinks) {
        const pair = overlapping(of(linkNamed(facts, lan)?.index ?? -1), of(uplink.link?.index));
        if (pair === undefined) continue;
        findings.push({
          level: 'error', subject: 'addresses',
          text: `${lan} (${cidr(pair[0])}) and ${uplink.interface} of uplink ${uplink.name} (${cidr(pair[1])}) overlap: answers to the LAN leave by the uplink, or the uplink's gateway is looked for in the LAN.`,
          remedy: `Give the LAN another prefix, for example 10.83.0.0/24 (here, and in its DHCP server):\nip address delete ${cidr(pair[0])} dev ${lan}\nip address add 10.83.0.1/24 dev ${lan}\nor change the LAN side of the modem on ${uplink.interface}.`,
        });
      }
    }
    uplinks.forEach((first, at) => {
      for (const second of uplinks.slice(at + 1)) {
        const pair = overlapping(of(first.link?.index), of(second.link?.index));
        if (pair !== undefined) findings.push(sameNet(first, second, pair));
      }
    });
    return findings;
  },
};

function sameNet(first: Uplink, second: Uplink, [one, other]: readonly [Address, Address]): Finding {
  return {
    level: 'note', subject: 'addresses',
    text: `Uplinks ${first.name} (${cidr(one)}) and ${second.name} (${cidr(other)}) are in the same network. Traffic and probes are kept apart by device, and each port answers ARP for its own address alone (arp_ignore); but hosts in that network, as the page of the modem, are reached by one of the two only.`,
    remedy: `To reach the other's modem from the router: ping -I ${second.interface} ADDRESS; curl --interface ${second.interface} http://ADDRESS/`,
  };
}

export const sameRouter: Look = {
  subject: 'gateways',
  async look(scene) {
    const rows = (await scene.machine.read('/proc/net/arp')).split('\n').slice(1).map((line) => line.trim().split(/\s+/));
    const known = present(scene).map((uplink) => {
      const gateway = scene.facts.routes.find((route) => route.family === 4 && route.table === tableOf(uplink.policy.slot) && route.destination === 'default')?.hops[0]?.via ?? '';
      const [, , , mac = ''] = rows.find(([address, , , , , device]) => address === gateway && device === uplink.interface) ?? [];
      return { uplink, mac };
    }).filter(({ mac }) => mac !== '' && mac !== '00:00:00:00:00:00');
    const findings: Finding[] = [];
    for (const [at, { uplink, mac }] of known.entries()) {
      const twins = known.slice(at + 1).filter((one) => one.mac === mac).map((one) => one.uplink);
      if (twins.length === 0 || known.slice(0, at).some((one) => one.mac === mac)) continue;
      const devices = [uplink, ...twins].map((one) => one.interface);
      const text = `Uplinks ${list([uplink, ...twins].map((one) => one.name))} end at the same router (gateway ${mac}): they will fail together.`;
      const settings = await Promise.all(devices.map((device) => sysctl(scene.machine, `net/ipv4/conf/${device}/arp_ignore`)));
      if (settings.every((value) => Number(value) > 0)) {
        findings.push({ level: 'note', subject: 'gateways', text, remedy: '' });
        continue;
      }
      findings.push({
        level: 'warning', subject: 'gateways',
        text: `${text} And the kernel answers ARP for the address of one of them on the others, so that answers may come in by the wrong line, which is down then although it works. Where they share a network uplinkd prevents that by itself.`,
        remedy: setAndKeep(devices.flatMap((device) => [[`net/ipv4/conf/${device}/arp_ignore`, '1'], [`net/ipv4/conf/${device}/arp_announce`, '2']] as const)),
      });
    }
    return findings;
  },
};

export const lan6: Look = {
  subject: 'lan ipv6',
  look(scene) {
    const { policy, facts } = scene;
    const [lan] = policy.lanInterfaces.map((name) => linkNamed(facts, name)).filter((link) => link !== undefined);
    const masquerading = present(scene).filter((uplink) => uplink.policy.translate[6].kind === 'masquerade' && addressesOf(facts, uplink.link?.index, 6).length > 0);
    const lanHas6 = policy.lanInterfaces.some((name) => addressesOf(facts, linkNamed(facts, name)?.index ?? -1, 6).length > 0);
    if (lan === undefined || lanHas6 || masquerading.length === 0) return [];
    const prefix = localPrefix(lan.mac);
    return [{
      level: 'note', subject: 'lan ipv6',
      text: `${list(masquerading.map((uplink) => uplink.interface))} ${masquerading.length === 1 ? 'has' : 'have'} IPv6, but ${list(policy.lanInterfaces)} has none: the LAN has IPv4 only.`,
      remedy: `To give it IPv6 that survives a switch (a prefix of its own, masqueraded):\nip address add ${prefix}1/64 dev ${lan.name}\nand in /etc/radvd.conf:\ninterface ${lan.name} { AdvSendAdvert on; prefix ${prefix}/64 {}; };`,
    }];
  },
};

/** A unique local prefix (RFC 4193) that is always the same for this router. */
function localPrefix(mac: string): string {
  const digits = createHash('sha256').update(mac).digest('hex');
  return `fd${digits.slice(0, 2)}:${digits.slice(2, 6)}:${digits.slice(6, 10)}:1::`;
}

function overlapping(some: readonly Address[], others: readonly Address[]): readonly [Address, Address] | undefined {
  for (const one of some) {
    for (const other of others) {
      if (one.family === other.family && (within(one, other) || within(other, one))) return [one, other];
    }
  }
  return undefined;
}

function within(inner: Address, outer: Address): boolean {
  return inner.prefixLength >= outer.prefixLength && isWithin(inner.address, cidr(outer));
}

function cidr(address: Address): string {
  return `${address.address}/${address.prefixLength}`;
}
