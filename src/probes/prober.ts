/**
 * The probe shell: sends what the core orders, stamps, and reports facts. It judges nothing and schedules nothing.
 *
 *   bind(lines)   what each uplink's probes of a family go through; unchanged lines keep what they have open, changed ones open it anew
 *   send(order)   one probe, now, through the uplink's device and no other, by the method of its target
 *   reply, lost   each at most once per order; silence is never reported, deadlines are the core's
 *
 * A line is of one uplink and one family, so that what changes in one does not disturb the other. It has one asker for each kind of method (method.ts),
 * opened at its first probe. One that cannot be opened is tried again at most once per second; probes ordered meanwhile are lost, with the reason.
 *
 * Facts leave in a turn of their own (setImmediate), so nobody who asks or listens finds itself called, bound anew or closed in the middle of it.
 * Askers read in the poll phase, where no microtask runs and no exception gets out; whoever takes the facts is called after it.
 */
import { isIP } from 'node:net';
import { isMainThread } from 'node:worker_threads';
import type { Instant, LostCause, Method, ProbeLine, ProbeOrder, UplinkName } from '../model.js';
import { openDns } from './dns.js';
import { openExec } from './exec.js';
import { openHttp } from './http.js';
import type { ProbeReport, Prober } from '../ports.js';
import { openersOfEcho } from './icmp.js';
import type { Asker, OpenAsker } from './method.js';
import { openNeighbour } from './neighbour.js';
import { isFailure, slot, type Slot } from './slot.js';
import { openTcp } from './tcp.js';

export interface ProberOptions {
  report(fact: ProbeReport): void;
  /** The daemon's clock (hrtime); it stamps sending and receipt. */
  now(): Instant;
}

type Kind = Method['kind'];

interface HeldLine {
  readonly line: ProbeLine;
  readonly askers: Map<Kind, Slot<Asker>>;
}

/** @throws Error in a worker thread: sockets are polled on the main thread's loop */
export function openProber({ report, now }: ProberOptions): Prober {
  if (!isMainThread) throw new Error('The prober runs in the main thread only: its sockets are polled on the event loop there.');
  const held = new Map<string, HeldLine>();
  const openers = openersByKind();
  const tell = reporter(report);
  let open = true;

  function askerOf({ line, askers }: HeldLine, kind: Kind): Slot<Asker> {
    const known = askers.get(kind);
    if (known !== undefined) return known;
    const asker = slot(() => openers[kind](line, now), now);
    askers.set(kind, asker);
    return asker;
  }

  function ask(order: ProbeOrder): void {
    const { uplink, family, seq, target: { id: target, kind } } = order;
    const lost = (at: Instant, cause: LostCause, error: string): void => tell.fact({ type: 'lost', at, uplink, family, target, seq, cause, error });
    const heldLine = held.get(keyOf(order));
    const refusal = refuse(order, heldLine?.line);
    if (refusal !== '' || heldLine === undefined) return lost(now(), 'unsent', refusal);
    const asker = askerOf(heldLine, kind).take();
    if (isFailure(asker)) return lost(now(), asker.failed, asker.error);
    asker.ask({ order, lost, answered: (at, rttMs, unpinned = '', hopLimit = undefined) => tell.fact({
      type: 'reply', at, uplink, family, target, seq, rttMs, ...(unpinned === '' ? {} : { unpinned }), ...(hopLimit === undefined ? {} : { hopLimit }),
    }) });
  }

  return {
    bind(lines) {
      if (!open) return;
      const wanted = new Map(lines.map((line) => [keyOf(line), line]));
      for (const [key, heldLine] of held) {
        if (sameLine(heldLine.line, wanted.get(key))) continue;
        closeLine(heldLine);
        held.delete(key);
      }
      for (const [key, line] of wanted) if (!held.has(key)) held.set(key, { line, askers: new Map() });
    },
    send(order) {
      if (open) ask(order);
    },
    close() {
      open = false;
      for (const heldLine of held.values()) closeLine(heldLine);
      held.clear();
      tell.close();
    },
  };
}

function openersByKind(): Readonly<Record<Kind, OpenAsker>> {
  const echo = openersOfEcho();
  return { icmp: echo, hop: echo, arp: openNeighbour, tcp: openTcp, dns: openDns, http: openHttp, exec: openExec };
}

function keyOf({ uplink, family }: { readonly uplink: UplinkName; readonly family: ProbeLine['family'] }): string {
  return family === 4 ? `${uplink} 4` : `${uplink} 6`;
}

/** Why this order cannot be carried out through this line; '' = it can. */
function refuse({ uplink, family, address, target }: ProbeOrder, line: ProbeLine | undefined): string {
  if (line === undefined) return `${uplink} has no line to probe IPv${family} through`;
  if (line.ifindex <= 0) return `${line.interface} does not exist`;
  if (address === '' && (target.kind === 'exec' || target.kind === 'http')) return '';
  if (address === '' && target.host === 'gateway') return `${line.interface} has no gateway to ask`;
  const kind = isIP(address);
  if (kind === 0) return `"${address}" is not an IP address`;
  return kind === family ? '' : `${address} is IPv${kind}, and was to be asked through the IPv${family} line of ${uplink}`;
}

function reporter(report: (fact: ProbeReport) => void): { fact(fact: ProbeReport): void; close(): void } {
  let waiting: ProbeReport[] = [];
  let turn: NodeJS.Immediate | undefined;
  let open = true;
  const deliver = (): void => {
    const facts = waiting;
    waiting = [];
    turn = undefined;
    for (const fact of facts) if (open) report(fact);
  };
  return {
    fact(fact) {
      waiting.push(fact);
      turn ??= setImmediate(deliver);
    },
    close() {
      open = false;
      clearImmediate(turn);
    },
  };
}

function sameLine(a: ProbeLine, b: ProbeLine | undefined): boolean {
  return b !== undefined && a.interface === b.interface && a.ifindex === b.ifindex && a.source === b.source && a.gateway === b.gateway && a.mark === b.mark;
}

function closeLine({ askers }: HeldLine): void {
  for (const asker of askers.values()) asker.close();
  askers.clear();
}
