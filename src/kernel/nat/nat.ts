/**
 * NAT, marks and forward firewall: chooses the backend, asks it for the rules, and takes the other one's away afterwards
 * (new first, then old: never an instant without masquerade).
 *
 * Masquerade comes first: while it is not known yet who else rules forwarding, because nft does not answer, it is written without
 * the forward firewall.
 *
 * `auto` takes the one that order.ts prefers, where it is installed and works, else the other one, and then stays with its choice: a backend
 * that fails once (somebody holds its lock) is a problem to report, not a reason to move everything.
 */
import { existsSync } from 'node:fs';
import type { Family, HostReport, NatWish, PolicyCounter } from '../../model.js';
import { openRtnetlink } from '../netlink/rtnetlink.js';
import { takesLonger } from '../spawn.js';
import { openIptables, type IptablesProgram } from './iptables.js';
import { openNftables } from './nftables.js';
import { prefersNftables } from './order.js';
import { forwardRivals } from './rivals.js';
import { quotable, usableRules, type NatBackend, type NatRules } from './rules.js';

export type NatReport = Pick<HostReport, 'natBackend' | 'natInSync' | 'natRepaired' | 'problems'>;

export interface NatShell {
  /** Level-triggered and idempotent. Never rejects. */
  sync(wish: NatWish): Promise<NatReport>;
  /** What sync would change, a line each, `+ ` or `- ` in front. Writes nothing. Never rejects. */
  preview(wish: NatWish): Promise<readonly string[]>;
  /** What the policies of the last wish took, both families together. Never rejects. */
  counters(): Promise<readonly PolicyCounter[]>;
  /** @throws Error that names what could not be removed */
  remove(): Promise<void>;
}

type BackendName = NatBackend['name'];

export function openNat(families: readonly Family[], iptablesProgram: IptablesProgram): NatShell {
  const backends: Readonly<Record<BackendName, NatBackend>> = {
    iptables: openIptables(families, iptablesProgram),
    nftables: openNftables(families),
  };
  /** In force since a former turn. */
  let standing: BackendName | undefined;
  /** The wish that it was written for. */
  let standingFor = '';
  /** What `auto` chose. */
  let settled: BackendName | undefined;
  /** The backend beside which nothing of ours is left in the other one. */
  let alone: BackendName | undefined;
  /** Of the policies in the last wish. */
  let names: readonly string[] = [];

  /** Best first. */
  const candidates = async (backend: NatWish['backend'], rules: NatRules): Promise<readonly BackendName[]> => {
    if (backend !== 'auto') return [backend];
    const isNftables = settled === undefined ? await prefersNftables(iptablesProgram, rules) : settled === 'nftables';
    return isNftables ? ['nftables', 'iptables'] : ['iptables', 'nftables'];
  };

  const remove = async (): Promise<void> => {
    [standing, settled, alone] = [undefined, undefined, undefined];
    const done = await Promise.allSettled([backends.iptables.remove(), backends.nftables.remove()]);
    const failures = done.flatMap((each) => (each.status === 'rejected' ? [words(each.reason)] : []));
    if (failures.length > 0) throw new Error(failures.join('; '));
  };

  const removeOther = async (name: BackendName): Promise<string[]> => {
    if (alone === name) return [];
    const other = name === 'iptables' ? 'nftables' : 'iptables';
    try {
      await backends[other].remove();
      alone = name;
      return [];
    } catch (failure) {
      return [`nat: ${name} is in force, but our former rules still stand in ${other}: ${words(failure)}`];
    }
  };

  const install = async (wish: NatWish, rules: NatRules): Promise<NatReport> => {
    const problems: string[] = [];
    for (const name of await candidates(wish.backend, rules)) {
      const outcome = await backends[name].sync(rules);
      if (outcome.state === 'in sync') {
        const wishedAs = JSON.stringify(rules);
        const natRepaired = outcome.changed && standing === name && standingFor === wishedAs;
        standing = name;
        standingFor = wishedAs;
        settled = wish.backend === 'auto' ? name : undefined;
        const left = outcome.problems.map((problem) => `nat: ${problem}`);
        return { natBackend: name, natInSync: left.length === 0, natRepaired, problems: [...problems, ...left, ...(await removeOther(name))] };
      }
      if (outcome.state === 'failed') problems.push(`nat: ${name} failed: ${outcome.error}`);
      if (outcome.state === 'failed' && standing === name) return { natBackend: name, natInSync: false, natRepaired: false, problems };
      if (wish.backend !== 'auto' && outcome.state === 'absent') problems.push(absent(name));
    }
    if (problems.length === 0) problems.push('nat: neither iptables nor nft is installed, so nothing is masqueraded and flows do not stay on their uplink; install one (apt install nftables)');
    return { natBackend: 'none', natInSync: false, natRepaired: false, problems };
  };

  return {
    async sync(wish) {
      const { rules, problems } = usableRules(wish, filteredBridges());
      names = rules.policies.map((policy) => policy.name);
      if (rules.lines.length === 0) return await withoutLines(remove, problems);
      const deciding = decideFirewall(wish, rules);
      if (standing === undefined && (await takesLonger(deciding, SLOW_MS))) await install(wish, { ...rules, lanInterfaces: [] });
      const firewall = await deciding;
      const report = await install(wish, firewall.rules);
      return { ...report, natInSync: report.natInSync && problems.length === 0, problems: [...problems, ...report.problems, ...firewall.problemsWith(report.natBackend)] };
    },
    async preview(wish) {
      const { rules } = usableRules(wish, filteredBridges());
      const wished = rules.lines.length === 0 ? undefined : (await decideFirewall(wish, rules)).rules;
      for (const name of await candidates(wish.backend, wished ?? rules)) {
        const lines = await backends[name].preview(wished);
        if (lines !== undefined) return [...lines, ...((await backends[name === 'iptables' ? 'nftables' : 'iptables'].preview(undefined)) ?? [])];
      }
      return [];
    },
    async counters() {
      const counted = standing === undefined ? [] : await backends[standing].counters();
      return names.map((policy) => {
        const own = counted.filter((each) => each.policy === quotable(policy));
        return { policy, packets: own.reduce((sum, { packets }) => sum + packets, 0), bytes: own.reduce((sum, { bytes }) => sum + bytes, 0) };
      });
    },
    remove,
  };
}

/** The bridges of this machine, where what they pass is shown to the packet filter of IP (br_netfilter is there). */
function filteredBridges(): readonly string[] {
  if (!existsSync('/proc/sys/net/bridge')) return [];
  const netlink = openRtnetlink();
  try {
    return netlink.listBridges();
  } finally {
    netlink.close();
  }
}

/** Some ms are usual. */
const SLOW_MS = 1000;

async function withoutLines(remove: () => Promise<void>, problems: readonly string[]): Promise<NatReport> {
  try {
    await remove();
    return { natBackend: 'none', natInSync: problems.length === 0, natRepaired: false, problems };
  } catch (failure) {
    return { natBackend: 'none', natInSync: false, natRepaired: false, problems: [...problems, `nat: ${words(failure)}`] };
  }
}

async function decideFirewall(wish: NatWish, rules: NatRules): Promise<{ rules: NatRules; problemsWith(backend: NatReport['natBackend']): string[] }> {
  const none = { rules: { ...rules, lanInterfaces: [] }, problemsWith: () => [] };
  if (wish.firewall === 'off' || rules.lanInterfaces.length === 0) return none;
  const rivals = await forwardRivals(rules.lines.map((line) => line.interface).filter((name) => !rules.lanInterfaces.includes(name)), rules.lanInterfaces);
  if (wish.firewall === 'auto') {
    if (rivals.length === 0) return { rules, problemsWith: () => [] };
    const where = rivals.map((rival) => rival.where).join('; ');
    const hint = rivals.some((rival) => rival.dropsByPolicy) ? ' It must accept what goes from the LAN to the uplinks.' : '';
    return { ...none, problemsWith: () => [`forwarding.firewall: auto is off here, because another firewall rules forwarding: ${where}.${hint} Set it to on (add our rules beside) or to off (leave it to the other)`] };
  }
  return {
    rules,
    problemsWith: (backend) => rivals
      .filter((rival) => rival.dropsByPolicy && !(backend === 'iptables' && rival.isIptablesForward))
      .map((rival) => `forwarding.firewall: on, but ${rival.where} drops what it does not accept itself: accept there what goes from the LAN to the uplinks and the replies`),
  };
}

function absent(name: BackendName): string {
  const program = name === 'iptables' ? 'iptables' : 'nft';
  return `nat: nat.backend is ${name}, but ${program} is not installed; install it (apt install ${name}) or set nat.backend: auto`;
}

function words(failure: unknown): string {
  return failure instanceof Error ? failure.message : String(failure);
}
