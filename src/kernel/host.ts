/**
 * The slow half of the kernel door: NAT, marks and forward firewall through iptables or nftables, counters of what passes, and sysctls.
 *
 * Level-triggered: reads what is there, compares, writes only what differs, reads back, reports. It never runs in the path
 * of a switch: the rules of every configured uplink stand ready whether it is up or not. The caller serialises the calls.
 */
import { existsSync } from 'node:fs';
import { FAMILIES } from '../core/layout.js';
import type { Family } from '../model.js';
import { openCounting } from './counting.js';
import type { HostDoor } from '../ports.js';
import type { IptablesProgram } from './nat/iptables.js';
import { openNat } from './nat/nat.js';
import { openSysctls } from './sysctl.js';

export interface HostOptions {
  /** Where the former values of the sysctls are kept (`/var/lib/uplinkd`). Made when missing. */
  readonly stateDir: string;
  /** Families that get rules; those that uplinkd routes unless said otherwise. */
  readonly families?: readonly Family[];
  readonly iptables?: IptablesProgram;
}

export function openHost(options: HostOptions): HostDoor {
  const families = options.families ?? FAMILIES.filter(isSpoken);
  const nat = openNat(families, options.iptables ?? 'iptables');
  const counting = openCounting(families);
  const sysctls = openSysctls(options.stateDir);
  return {
    /** NAT before sysctls: the kernel must not begin to forward before addresses are translated. */
    async host(wish) {
      const natReport = await nat.sync(wish.nat);
      const sysctlReport = await sysctls.sync(wish.sysctls);
      // Last: nobody forwards or is translated by it.
      const uncounted = await counting.sync(wish.nat);
      return { ...natReport, ...sysctlReport, problems: [...natReport.problems, ...sysctlReport.problems, ...uncounted] };
    },
    preview: async (wish) => ({ filter: [...(await nat.preview(wish.nat)), ...(await counting.preview(wish.nat))], sysctls: await sysctls.preview(wish.sysctls) }),
    counters: () => nat.counters(),
    count: (devices) => counting.count(devices),
    async restore() {
      const failures: string[] = [];
      for (const undo of [() => sysctls.restore(), () => nat.remove(), () => counting.remove()]) {
        await undo().catch((failure: unknown) => failures.push(failure instanceof Error ? failure.message : String(failure)));
      }
      if (failures.length > 0) throw new Error(failures.join('; '));
    },
    close: () => counting.close(),
  };
}

/** A kernel without IPv6 (ipv6.disable=1) refuses its rules, and that must not cost IPv4 its own. */
function isSpoken(family: Family): boolean {
  return family === 4 || existsSync('/proc/net/if_inet6');
}
