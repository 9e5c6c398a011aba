/**
 * Programs that believe that addresses, routes and rules are theirs: systemd-networkd, NetworkManager, DHCP clients, another uplinkd.
 *
 * Source: networkd.conf(5), NetworkManager.conf(5), and the run-time files of both programs.
 */
import type { Finding } from '../../model.js';
import type { Machine } from './machine.js';
import { fileWith, list, type Look, type Scene, type Uplink } from './scene.js';
import { settingOf, type Setting } from './settings.js';

const SYSTEMD_DIRS = ['/etc/systemd', '/run/systemd', '/usr/local/lib/systemd', '/usr/lib/systemd', '/lib/systemd'];
const NM_DIRS = ['/etc/NetworkManager', '/run/NetworkManager', '/usr/lib/NetworkManager'];
const KEYS = ['ManageForeignRoutes', 'ManageForeignRoutingPolicyRules'] as const;

export interface NetworkdHabit {
  readonly key: (typeof KEYS)[number];
  /** Who says so; '' file = nobody, it is networkd's default. */
  readonly setting: Setting;
}

/** What networkd takes away of others; empty = it was told to leave it. */
export async function networkdTakes(machine: Machine): Promise<readonly NetworkdHabit[]> {
  const places = { main: SYSTEMD_DIRS.map((dir) => `${dir}/networkd.conf`), dropIns: SYSTEMD_DIRS.map((dir) => `${dir}/networkd.conf.d`) };
  const habits: NetworkdHabit[] = [];
  for (const key of KEYS) {
    const setting = await settingOf(machine, places, 'Network', key);
    if (!/^(no|n|false|f|off|0)$/i.test(setting.value)) habits.push({ key, setting });
  }
  return habits;
}

export const networkd: Look = {
  subject: 'networkd',
  async look({ machine, processes }) {
    const running = processes.find((process) => process.name === 'systemd-networkd');
    const enabled = await machine.exists('/etc/systemd/system/multi-user.target.wants/systemd-networkd.service');
    if (running === undefined && !enabled) return [];
    const habits = await networkdTakes(machine);
    if (habits.length === 0) return running === undefined ? [] : await staleNetworkd(machine, running.ageS);
    const said = habits.map(({ key, setting }) => `${key} is ${setting.file === '' ? 'not set, which means yes' : `${setting.value} in ${setting.file}`}`);
    // A drop-in of a later name has the last word.
    const last = habits.map(({ setting }) => setting.file.slice(setting.file.lastIndexOf('/') + 1)).sort().at(-1) ?? '';
    const file = `/etc/systemd/networkd.conf.d/${last > 'uplinkd.conf' ? 'zz-' : ''}uplinkd.conf`;
    return [{
      level: 'warning', subject: 'networkd',
      text: `systemd-networkd ${running === undefined ? 'is enabled' : 'is running'}, and ${list(said)}: when it takes up a device anew (networkctl reconfigure), and newer versions (257, not yet 252) also when it starts again, it removes our routes and rules. uplinkd puts them back within a second; until then traffic goes by main, and running connections may break.`,
      remedy: `${fileWith(file, ['[Network]', ...KEYS.map((key) => `${key}=no`)])}\nsystemctl restart systemd-networkd`,
    }];
  },
};

/** networkd reads networkd.conf when it starts. */
async function staleNetworkd(machine: Machine, runningS: number): Promise<readonly Finding[]> {
  const file = '/etc/systemd/networkd.conf.d/uplinkd.conf';
  const ageS = await machine.ageS(file);
  if (ageS === undefined || ageS >= runningS) return [];
  return [{
    level: 'note', subject: 'networkd',
    text: `systemd-networkd has been running since before ${file} was written; unless it was told to reload, it does not know yet that our routes and rules are not to be removed.`,
    remedy: 'systemctl restart systemd-networkd',
  }];
}

export const networkManager: Look = {
  subject: 'networkmanager',
  async look(scene) {
    const { machine, processes } = scene;
    if (!processes.some((process) => process.name === 'NetworkManager')) return [];
    const managed: Uplink[] = [];
    for (const uplink of scene.uplinks) {
      if (await isNetworkManagers(machine, uplink)) managed.push(uplink);
    }
    if (managed.length === 0) return [];
    const places = { main: NM_DIRS.map((dir) => `${dir}/NetworkManager.conf`), dropIns: NM_DIRS.map((dir) => `${dir}/conf.d`) };
    const uri = await settingOf(machine, places, 'connectivity', 'uri');
    const enabled = await settingOf(machine, places, 'connectivity', 'enabled');
    if (uri.value === '' || /^(false|no|off|0)$/i.test(enabled.value)) return [];
    return [{
      level: 'note', subject: 'networkmanager',
      text: `NetworkManager manages ${list(managed.map((uplink) => uplink.interface))} and checks connectivity itself (${uri.file}): whenever its check fails it adds 20000 to the metric of its own default routes and back. Traffic does not follow those routes while uplinkd runs, but "ip route" and "nmcli" tell another story than uplinkctl.`,
      remedy: `${fileWith('/etc/NetworkManager/conf.d/90-uplinkd.conf', ['[connectivity]', 'enabled=false'])}\nsystemctl reload NetworkManager`,
    }];
  },
};

/** /run/NetworkManager/devices/INDEX, written by NetworkManager for itself. */
async function isNetworkManagers(machine: Machine, uplink: Uplink): Promise<boolean> {
  if (uplink.link === undefined) return false;
  return /^managed=(true|1)$/m.test(await machine.read(`/run/NetworkManager/devices/${uplink.link.index}`));
}

export const dhcpClients: Look = {
  subject: 'dhcp',
  async look(scene) {
    const findings: Finding[] = [];
    for (const uplink of scene.uplinks.filter((one) => one.link !== undefined)) {
      const clients = await clientsOf(uplink, scene);
      if (clients.length < 2) continue;
      findings.push({
        level: 'warning', subject: 'dhcp',
        text: `${list(clients.map((client) => client.name))} all ask for an address on ${uplink.interface} (uplink ${uplink.name}): addresses and default routes change hands whenever one of them renews, and connections break.`,
        remedy: ['Keep one of them:', ...clients.map((client) => `  without ${client.name}:  ${client.remedy}`)].join('\n'),
      });
    }
    return findings;
  },
};

interface Client {
  readonly name: string;
  /** How to stop it on this device alone. */
  readonly remedy: string;
}

async function clientsOf(uplink: Uplink, { machine, processes }: Scene): Promise<readonly Client[]> {
  const device = uplink.interface;
  const clients: Client[] = [];
  if ((await machine.read(`/run/systemd/netif/leases/${uplink.link?.index ?? 0}`)) !== '') {
    clients.push({ name: 'systemd-networkd', remedy: `set DHCP=no in the .network file of ${device} (networkctl status ${device} names it); networkctl reload` });
  }
  if (processes.some((process) => process.name === 'NetworkManager') && (await isNetworkManagers(machine, uplink))) {
    clients.push({ name: 'NetworkManager', remedy: `nmcli device set ${device} managed no; ${fileWith('/etc/NetworkManager/conf.d/91-uplinkd.conf', ['[keyfile]', `unmanaged-devices=interface-name:${device}`]).replaceAll('\n', '\n    ')}` });
  }
  for (const process of processes) {
    // NetworkManager starts a dhclient of its own.
    if (!/^(dhclient|udhcpc|dhcpcd|dhcp6c)$/.test(process.name) || process.words.some((word) => word.includes('nm-dhcp-helper'))) continue;
    const named = process.words.slice(1).includes(device);
    const serves = named || (process.name === 'dhcpcd' && process.words.slice(1).every((word) => word.startsWith('-')));
    if (serves && !clients.some((client) => client.name.startsWith(`${process.name} `))) {
      clients.push({ name: `${process.name} (pid ${process.pid})`, remedy: withoutClient(process.name, process.pid, device) });
    }
  }
  return clients;
}

function withoutClient(name: string, pid: number, device: string): string {
  if (name === 'dhcpcd') return `echo "denyinterfaces ${device}" >> /etc/dhcpcd.conf; systemctl restart dhcpcd`;
  return `take "iface ${device} inet dhcp" out of /etc/network/interfaces (or what else starts it); kill ${pid}`;
}

export const anotherOne: Look = {
  subject: 'uplinkd',
  look({ machine, processes }) {
    const others = processes.filter(({ pid, words, name }) =>
      pid !== machine.pid && words.includes('run') && (name === 'uplinkd' || words.some((word) => /\/uplinkd(\/dist\/src\/main\.js)?$/.test(word))));
    if (others.length === 0) return [];
    return [{
      level: 'error', subject: 'uplinkd',
      text: `Another uplinkd routes in the same network (${list(others.map(({ pid }) => `pid ${pid}`))}): the two undo each other's routes for ever.`,
      remedy: `systemctl status ${others[0]!.pid}      # what started it\nkill ${others.map(({ pid }) => pid).join(' ')}`,
    }];
  },
};
