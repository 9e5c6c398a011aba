/**
 * Who probably took something of ours away: a guess from what has just started. systemd keeps a link per started unit in
 * /run/systemd/units, which also shows programs that were done within a moment (nftables.service, `ufw reload`).
 */
import { openMachine, type Machine, type Process, type System } from './machine.js';
import { networkdTakes } from './owners.js';

/** `filter`: NAT, marks or firewall rules. */
export type Loss = 'routes' | 'rules' | 'filter';

/** What started longer ago did not do it by starting. */
const RECENT_S = 30;
/** proc(5): PID_MAX_LIMIT. */
const PIDS_AT_MOST = 4_194_304;

interface Suspect {
  /** Of the process. */
  readonly name: string;
  /** Of the unit, without `.service`, where it is another. */
  readonly unit?: string;
  readonly takes: readonly Loss[];
  /** Takes things of others away whenever it likes, not only when it starts. */
  readonly always: boolean;
}

const SUSPECTS: readonly Suspect[] = [
  { name: 'systemd-networkd', takes: ['routes', 'rules'], always: true },
  { name: 'NetworkManager', takes: ['routes', 'rules'], always: false },
  { name: 'networking', takes: ['routes'], always: false },
  { name: 'netplan', takes: ['routes', 'rules'], always: false },
  ...['dhclient', 'dhcpcd', 'udhcpc', 'ifup', 'ifdown'].map((name): Suspect => ({ name, takes: ['routes'], always: false })),
  { name: 'zebra', unit: 'frr', takes: ['routes', 'rules'], always: false },
  { name: 'dockerd', unit: 'docker', takes: ['filter'], always: false },
  ...['bird', 'staticd', 'keepalived', 'pppd', 'ip'].map((name): Suspect => ({ name, takes: ['routes', 'rules'], always: false })),
  ...['mwan3', 'wg-quick', 'tailscaled'].map((name): Suspect => ({ name, takes: ['routes', 'rules', 'filter'], always: false })),
  ...['firewalld', 'ufw', 'nftables', 'netfilter-persistent', 'iptables', 'shorewall', 'libvirtd', 'nft', 'iptables-restore', 'iptables-nft-restore'].map((name): Suspect => ({ name, takes: ['filter'], always: false })),
];

/**
 * @param system where to look; the machine by default
 * @param port netlink port of the sender of the notification, where one is known: most programs use their process id; 0 is the kernel
 * @returns words for people, as `probably systemd-networkd, which started 2 s ago (...)`; '' = no idea. Never rejects.
 */
export async function culprit(loss: Loss, system?: System, port?: number): Promise<string> {
  const machine = openMachine(system);
  const processes = await machine.processes();
  const sender = port === undefined || port === 0 ? undefined : processes.find((process) => process.pid === port);
  if (sender !== undefined && sender.pid !== machine.pid) return `by ${sender.name} (pid ${sender.pid}: ${sender.words.join(' ').slice(0, 120)})`;

  const suspects = SUSPECTS.filter((suspect) => suspect.takes.includes(loss));
  const recent: string[] = [];
  for (const suspect of suspects) {
    const ageS = await startedAgo(machine, processes, suspect);
    if (ageS !== undefined && ageS <= RECENT_S) recent.push(`${suspect.name}, which started ${Math.round(ageS)} s ago${await habit(machine, suspect)}`);
  }
  if (recent.length > 0) return `probably ${recent.join(', or ')}`;
  if (port === 0 && loss === 'routes') return 'by the kernel itself: its device was switched off, or lost its address';
  // Ports that are no process ids are larger.
  if (port !== undefined && port > 0 && port <= PIDS_AT_MOST && sender === undefined) return `by a program that has ended since (it was process ${port}), as ip or nft typed by hand or in a script`;
  for (const suspect of suspects.filter((one) => one.always && processes.some((process) => process.name === one.name))) {
    const why = await habit(machine, suspect);
    if (why !== '') return `perhaps ${suspect.name}, which is running${why}`;
  }
  return '';
}

/** The latest of its processes and its unit. */
async function startedAgo(machine: Machine, processes: readonly Process[], suspect: Suspect): Promise<number | undefined> {
  const ages = processes.filter(({ name, pid, words }) => name === suspect.name && pid !== machine.pid && !words.includes('monitor')).map((process) => process.ageS);
  const unit = await machine.ageS(`/run/systemd/units/invocation:${suspect.unit ?? suspect.name}.service`);
  const known = unit === undefined ? ages : [...ages, unit];
  return known.length === 0 ? undefined : Math.min(...known);
}

async function habit(machine: Machine, suspect: Suspect): Promise<string> {
  if (suspect.name !== 'systemd-networkd') return '';
  const takes = await networkdTakes(machine);
  return takes.length === 0 ? '' : ` (${takes.map(({ key }) => `${key}=yes`).join(', ')}: it removes what it did not make; uplinkctl doctor has the remedy)`;
}
