/**
 * The probe shell: sends what the core orders, stamps, and reports facts. It judges nothing and schedules nothing.
 *
 *   bind(lines)   what each uplink's probes of a family go through; unchanged lines keep their sessions, changed ones get new ones
 *   send(order)   one echo request, now, through the uplink's device and no other
 *   reply, lost   each at most once per order; silence is never reported, deadlines are the core's
 *
 * A line is of one uplink and one family, so that what changes in one does not disturb the other. It has one session, opened at the
 * first probe. A session that failed is replaced, at most once per second; probes ordered meanwhile are lost, with the reason.
 *
 * Facts leave in a turn of their own (setImmediate). raw-socket calls us from C++ outside of any Node callback scope: there,
 * an exception of the daemon's would be swallowed and taken for a socket error, and its promises would not run until something else
 * wakes the loop.
 */
import { randomInt } from 'node:crypto';
import { isIP } from 'node:net';
import { isMainThread } from 'node:worker_threads';
import type { Event, Family, Instant, ProbeLine, ProbeOrder, UplinkName } from '../model.js';
import { openIcmpSession, type IcmpSession } from './icmp.js';

export type ProbeFact = Extract<Event, { type: 'reply' | 'lost' }>;

export interface Prober {
  /** All lines there are; those not named any more are closed. Probes in flight on a changed line are forgotten. */
  bind(lines: readonly ProbeLine[]): void;
  send(order: ProbeOrder): void;
  /** Nothing is sent or reported any more, and nothing keeps the process alive. */
  close(): void;
}

export interface ProberOptions {
  report(fact: ProbeFact): void;
  /** The daemon's clock (hrtime); it stamps sending and receipt. */
  now(): Instant;
  /**
   * Where these bytes lie in memory (koffi.address): lets the kernel keep everybody else's echo replies from our sockets.
   * Without it a flood of pings from this very machine costs probes and CPU; nothing else changes.
   */
  readonly addressOf?: (bytes: Buffer) => bigint;
}

/** After a failure of a session, the next attempt for its line waits this long. */
const REOPEN_AFTER_MS = 1000;
/** net-ping takes the identifier modulo 65535, and 0 for "use the process id". */
const IDENTIFIERS = 65_534;

interface HeldLine {
  readonly line: ProbeLine;
  session: HeldSession | undefined;
}

type HeldSession =
  | { readonly state: 'open'; readonly session: IcmpSession; readonly identifier: number }
  | { readonly state: 'failed'; readonly error: string; readonly retryAt: Instant };

/** @throws Error in a worker thread: raw-socket runs on the main thread's loop, and crashes elsewhere */
export function openProber(options: ProberOptions): Prober {
  const { report, now } = options;
  if (!isMainThread) throw new Error('The prober runs in the main thread only: raw-socket polls on its event loop and crashes in a worker.');
  const held = new Map<string, HeldLine>();
  const drawIdentifier = identifiers(held);
  const tell = reporter(report);
  let open = true;

  return {
    bind(lines) {
      if (!open) return;
      const wanted = new Map(lines.map((line) => [keyOf(line), line]));
      for (const [key, heldLine] of held) {
        if (sameLine(heldLine.line, wanted.get(key))) continue;
        closeSession(heldLine);
        held.delete(key);
      }
      for (const [key, line] of wanted) if (!held.has(key)) held.set(key, { line, session: undefined });
    },
    send(order) {
      if (!open) return;
      const { uplink, family, target, seq } = order;
      const lost = (at: Instant, error: string): void => tell.fact({ type: 'lost', at, uplink, family, target, seq, error });
      const heldLine = held.get(keyOf(order));
      const refusal = refuse(order, heldLine?.line);
      if (refusal !== '' || heldLine === undefined) return lost(now(), refusal);
      const session = sessionOf(heldLine, drawIdentifier, options);
      if (session.state === 'failed') return lost(now(), session.error);
      session.session.ask({
        address: order.address,
        answered: (at, rttMs) => tell.fact({ type: 'reply', at, uplink, family, target, seq, rttMs }),
        lost,
      });
    },
    close() {
      open = false;
      for (const heldLine of held.values()) closeSession(heldLine);
      held.clear();
      tell.close();
    },
  };
}

function keyOf({ uplink, family }: { readonly uplink: UplinkName; readonly family: Family }): string {
  return `${uplink} ${family}`;
}

/** Why this order cannot be carried out through this line; '' = it can. */
function refuse({ uplink, family, address }: ProbeOrder, line: ProbeLine | undefined): string {
  if (line === undefined) return `${uplink} has no line to probe IPv${family} through`;
  if (line.ifindex <= 0) return `${line.interface} does not exist`;
  const kind = isIP(address);
  if (kind === 0) return `"${address}" is not an IP address`;
  return kind === family ? '' : `${address} is IPv${kind}, and was to be asked through the IPv${family} line of ${uplink}`;
}

function sessionOf(heldLine: HeldLine, drawIdentifier: () => number, { now, addressOf }: ProberOptions): HeldSession {
  const { line, session: present } = heldLine;
  if (present?.state === 'open' || (present?.state === 'failed' && now() < present.retryAt)) return present;
  const fail = (error: string): HeldSession => (heldLine.session = { state: 'failed', error, retryAt: (now() + REOPEN_AFTER_MS) as Instant });
  const identifier = drawIdentifier();
  try {
    const session = openIcmpSession({ family: line.family, ifindex: line.ifindex, identifier, now, addressOf, failed: fail });
    return (heldLine.session = { state: 'open', session, identifier });
  } catch (cause) {
    return fail(cause instanceof Error ? cause.message : String(cause));
  }
}

/** Identifiers that no open session has. They begin anywhere, so that answers to a former process are not taken for ours. */
function identifiers(held: ReadonlyMap<string, HeldLine>): () => number {
  let last = randomInt(IDENTIFIERS);
  return () => {
    const taken = new Set<number>();
    for (const { session } of held.values()) if (session?.state === 'open') taken.add(session.identifier);
    do last = (last % IDENTIFIERS) + 1;
    while (taken.has(last));
    return last;
  };
}

function reporter(report: (fact: ProbeFact) => void): { fact(fact: ProbeFact): void; close(): void } {
  let waiting: ProbeFact[] = [];
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
  return b !== undefined && a.interface === b.interface && a.ifindex === b.ifindex && a.source === b.source;
}

function closeSession({ session }: HeldLine): void {
  if (session?.state === 'open') session.session.close();
}
