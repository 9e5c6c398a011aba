/**
 * The kernel's face: what kernel.ts does on Linux and dry.ts in memory. Errors of the kernel are data; KernelError is thrown only
 * when netlink itself fails. The contract that both keep is test/kernel/contract.ts.
 */
import type {
  ChangeFailure, DevicesToo, ForgetOrder, HostReport, HostWish, KernelFacts, Link, Plan, PolicyCounter, TrafficCount,
} from '../model.js';
import type { Survey } from './netlink/survey.js';

export type { Survey } from './netlink/survey.js';

export interface Kernel {
  /** Everything, true at one instant of each part. */
  readAll(): KernelFacts;
  /** Our routes, in every table, and our rules. */
  readOurs(): Pick<KernelFacts, 'routes' | 'rules'>;
  /** What others have put into routing beside us. */
  survey(): Survey;
  /** Asks for these devices one by one, which makes a kernel ≥ 6.8 look at their carrier at once. */
  look(ifindexes: readonly number[]): { readonly links: readonly Link[]; readonly gone: readonly number[] };
  /** In order, going on after a refusal; a change whose `needs` was refused or skipped is skipped. @returns the refusals */
  apply(plan: Plan): readonly ChangeFailure[];
  /** One watch at a time; it ends with `close`. What our own `apply` changes in routes and rules is not told; in addresses it is. */
  watch(tell: Watcher): void;
  forget(order: ForgetOrder): Promise<number>;
  host(wish: HostWish): Promise<HostReport>;
  /** As HostDoor has it. */
  preview(wish: HostWish): Promise<{ readonly filter: readonly string[]; readonly sysctls: readonly string[] }>;
  counters(): Promise<readonly PolicyCounter[]>;
  /** As HostDoor has it. */
  count(devices?: DevicesToo): readonly TrafficCount[];
  /** Removes our rules, routes, NAT and firewall and gives addresses and sysctls back. @throws Error that names all that could not be undone */
  restore(): Promise<void>;
  close(): void;
}

export interface Watcher {
  /** States of links, told at once; `gone` are indexes of deleted devices. */
  links(links: readonly Link[], gone: readonly number[]): void;
  /** Something else of interest changed, or notifications were lost: look again. */
  again(what: 'ours' | 'all'): void;
  /** Somebody, perhaps we, changed the nft ruleset. */
  ruleset?(): void;
}

/** The slow half: NAT, marks, firewall, counters, sysctls. */
export interface HostDoor {
  /** Operating errors are in `problems`. Never rejects. */
  host(wish: HostWish): Promise<HostReport>;
  /** What `host` would change: rules with `+ ` or `- ` in front, and `sysctl -w ...`. Nothing is written. Never rejects. */
  preview(wish: HostWish): Promise<{ readonly filter: readonly string[]; readonly sysctls: readonly string[] }>;
  /** New connections that the policies of the last wish took since their rules were written. Never rejects. */
  counters(): Promise<readonly PolicyCounter[]>;
  /**
   * What connections that pass sent and were answered, by device and family: one netlink request, some ten microseconds. Empty where `host` was not
   * asked to count, or could not. Never throws for what the kernel says.
   * @param devices what the devices carried, too: a few more requests. 'no' unless said
   */
  count(devices?: DevicesToo): readonly TrafficCount[];
  /** Removes every rule of ours, in both backends, and gives the sysctls back. @throws Error that names all that could not be undone */
  restore(): Promise<void>;
  close(): void;
}

/**
 * The order in which both doors carry out a plan.
 * @param change makes one change; '' = done, else why not
 */
export function carryOut(plan: Plan, change: (change: Plan['changes'][number]) => string): readonly ChangeFailure[] {
  const undone = new Set<number>();
  const failures: ChangeFailure[] = [];
  plan.changes.forEach((wanted, index) => {
    if (wanted.needs !== undefined && undone.has(wanted.needs)) {
      undone.add(index);
      return;
    }
    const error = change(wanted);
    if (error === '') return;
    undone.add(index);
    failures.push({ index, change: wanted, error });
  });
  return failures;
}
