/** The loop: inbox, one step at a time, effects, one timer. (Interfaces first; the shells fit them structurally.) */
import type { ChangeFailure, Event, ForgetOrder, HostReport, HostWish, KernelFacts, Link, Plan, ProbeLine, ProbeOrder } from './model.js';

/** The only door to Linux. Synchronous where a switch depends on it; errors of the kernel are data. */
export interface KernelDoor {
  /** Everything; interrupted dumps are repeated. @throws KernelError when the socket itself fails */
  readAll(): KernelFacts;
  /** Our routes and rules only (kernel-filtered dumps). */
  readOurs(): Pick<KernelFacts, 'routes' | 'rules'>;
  /** Single-device RTM_GETLINK each; an index that does not exist any more is in `gone`. */
  look(ifindexes: readonly number[]): { links: readonly Link[]; gone: readonly number[] };
  /** Carries out the changes in order, skipping those whose `needs` failed; goes on after a failure. */
  apply(plan: Plan): readonly ChangeFailure[];
  /** `links`: told by the kernel, at once; `again`: something else of interest changed or was lost (overrun): look again. */
  watch(tell: { links(links: readonly Link[], gone: readonly number[]): void; again(what: 'ours' | 'all'): void }): void;
  /** Forgets connections by mark, in parts, without blocking the loop for more than a few ms. */
  forget(order: ForgetOrder): Promise<number>;
  /** Brings NAT, marks, firewall and sysctls to the wish and reads them back; idempotent; serialised by the caller. */
  host(wish: HostWish): Promise<HostReport>;
  /** Removes everything of ours and gives the sysctls back their former values (`stop: restore`). */
  restore(): Promise<void>;
  close(): void;
}

export interface ProbeShell {
  bind(lines: readonly ProbeLine[]): void;
  send(order: ProbeOrder): void;
  close(): void;
}

/** What the prober reports; the daemon makes Events of it. */
export type ProbeReport = Extract<Event, { type: 'reply' | 'lost' }>;
