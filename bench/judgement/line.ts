/**
 * What is physically true of one simulated line at each instant, for everybody alike.
 *
 *   Overlay    one thing that the weather does to a line from..to; several may lie over each other
 *   Condition  what all overlays together make of the line until the next change
 *   View       a contestant's eye on the line: `at` finds the condition, `ask` sends one echo
 *
 * A packet passes `access` (our port to the gateway) and, if it goes further, `upstream`. Both are probabilities that question and answer
 * survive together. A line is `usable` when a connection begun now would work well: less than 10 % loss, less than 1 s round trip, and at
 * least 80 % of the destinations in reach. It is `dead` without carrier, from 50 % loss on, or with less than 40 % in reach; else `poor`.
 */
import type { Dice } from '../../test/sim/dice.js';

export type Truth = 'usable' | 'poor' | 'dead';

export const USABLE = { lossBelow: 0.1, rttBelowMs: 1000, reachAtLeast: 0.8 } as const;
export const DEAD = { lossFrom: 0.5, reachBelow: 0.4 } as const;

export interface Overlay {
  readonly from: number;
  readonly to: number;
  /** The carrier is away, and everybody is told. */
  readonly severed?: true;
  /** Factors of survival, 0..1. */
  readonly access?: number;
  readonly upstream?: number;
  /** Added to the round trip: of everything, or of what goes beyond the gateway. */
  readonly accessDelayMs?: number;
  readonly upstreamDelayMs?: number;
  /** Mean of an exponential tail that is added to each round trip. */
  readonly jitterMs?: number;
  /** Echoes beyond the gateway are dropped; connections pass. */
  readonly blocked?: true;
  /** This share of the destinations is in reach; which ones depends on `key`. */
  readonly reach?: { readonly share: number; readonly key: number };
  /** The echoes to one operator's hosts are dropped with this chance. Connections elsewhere pass. */
  readonly drop?: { readonly operator: string; readonly chance: number };
  /** The line is full of our own upload. */
  readonly full?: true;
}

export interface Base {
  readonly gatewayRttMs: number;
  /** To the internet and back, the gateway's share included. */
  readonly rttMs: number;
  readonly jitterMs: number;
  /** 0..1, on the access line. */
  readonly loss: number;
}

export interface Condition {
  readonly from: number;
  readonly carrier: boolean;
  readonly access: number;
  readonly upstream: number;
  readonly gatewayRttMs: number;
  readonly rttMs: number;
  readonly jitterMs: number;
  readonly blocked: boolean;
  readonly reach: readonly { readonly share: number; readonly key: number }[];
  readonly drops: readonly { readonly operator: string; readonly chance: number }[];
  readonly full: boolean;
  readonly truth: Truth;
}

export interface Line {
  readonly name: string;
  /** Position in the order of preference, 0 first. */
  readonly index: number;
  readonly metered: boolean;
  readonly base: Base;
  /** In order of time; the first from -Infinity. */
  readonly conditions: readonly Condition[];
}

export interface View {
  at(when: number): Condition;
  /** The next change after `when`; Infinity = none. */
  nextAfter(when: number): number;
  /** One echo: its round trip in ms, undefined = no answer. `host`: `gateway`, `hop` (the first router beyond it), or an address. */
  ask(host: string, when: number, dice: Dice): number | undefined;
}

export function openLine(line: Omit<Line, 'conditions'>, overlays: readonly Overlay[]): Line {
  return { ...line, conditions: compile(line.base, overlays) };
}

export function openView(line: Line): View {
  const { conditions } = line;
  let i = 0;
  const seek = (when: number): number => {
    while (i > 0 && conditions[i]!.from > when) i--;
    while (i + 1 < conditions.length && conditions[i + 1]!.from <= when) i++;
    return i;
  };
  const at = (when: number): Condition => conditions[seek(when)]!;
  return {
    at,
    nextAfter: (when) => conditions[seek(when) + 1]?.from ?? Infinity,
    ask(host, when, dice) {
      const then = at(when);
      if (!dice.chance(answerChance(then, host))) return undefined;
      const baseMs = host === 'gateway' ? then.gatewayRttMs : host === 'hop' ? (then.gatewayRttMs + then.rttMs) / 2 : then.rttMs;
      const rttMs = baseMs - Math.log(1 - dice.next()) * then.jitterMs;
      const back = at(when + rttMs);
      return back === then || answerChance(back, host) > 0 ? rttMs : undefined;
    },
  };
}

/** How likely an echo is answered, 0..1. */
export function answerChance(condition: Condition, host: string): number {
  if (!condition.carrier) return 0;
  if (host === 'gateway') return condition.access;
  const through = condition.access * condition.upstream;
  if (host === 'hop') return through;
  if (condition.blocked || !condition.reach.every(({ share, key }) => isReached(host, share, key))) return 0;
  const operator = operatorOf(host);
  return condition.drops.reduce((chance, drop) => (drop.operator === operator ? chance * (1 - drop.chance) : chance), through);
}

/** How likely a packet of a connection, of whatever destination, is answered, 0..1. */
export function flowChance({ carrier, access, upstream, reach }: Condition): number {
  return carrier ? reach.reduce((chance, { share }) => chance * share, access * upstream) : 0;
}

export const OPERATORS = ['cloudflare', 'google', 'quad9', 'opendns'] as const;

/** Resolvers of one operator share their fate. */
export function operatorOf(host: string): string {
  switch (host) {
    case '1.1.1.1':
    case '1.0.0.1':
      return 'cloudflare';
    case '8.8.8.8':
    case '8.8.4.4':
      return 'google';
    case '9.9.9.9':
      return 'quad9';
    case '208.67.222.222':
    case '208.67.220.220':
      return 'opendns';
    default:
      return host;
  }
}

function isReached(host: string, share: number, key: number): boolean {
  let hash = key >>> 0;
  for (const char of operatorOf(host)) hash = Math.imul(hash ^ char.charCodeAt(0), 0x01000193) >>> 0;
  hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d) >>> 0;
  hash = Math.imul(hash ^ (hash >>> 12), 0x297a2d39) >>> 0;
  return ((hash ^ (hash >>> 15)) >>> 0) / 4294967296 < share;
}

function compile(base: Base, overlays: readonly Overlay[]): readonly Condition[] {
  const begins = [...overlays].filter(({ from, to }) => to > from).sort((a, b) => a.from - b.from);
  const edges = [...new Set(begins.flatMap(({ from, to }) => [from, to]))].sort((a, b) => a - b);
  const conditions = [conditionOf(base, [], -Infinity)];
  let present: readonly Overlay[] = [];
  let next = 0;
  for (const edge of edges) {
    const begun: Overlay[] = [];
    while (next < begins.length && begins[next]!.from <= edge) begun.push(begins[next++]!);
    present = [...present.filter(({ to }) => to > edge), ...begun];
    conditions.push(conditionOf(base, present, edge));
  }
  return conditions;
}

function conditionOf(base: Base, overlays: readonly Overlay[], from: number): Condition {
  const sum = (valueOf: (overlay: Overlay) => number | undefined): number => overlays.reduce((total, overlay) => total + (valueOf(overlay) ?? 0), 0);
  const product = (valueOf: (overlay: Overlay) => number | undefined): number => overlays.reduce((total, overlay) => total * (valueOf(overlay) ?? 1), 1);
  const accessDelayMs = sum((overlay) => overlay.accessDelayMs);
  const bare = {
    from, carrier: !overlays.some((overlay) => overlay.severed),
    access: (1 - base.loss) * product((overlay) => overlay.access), upstream: product((overlay) => overlay.upstream),
    gatewayRttMs: base.gatewayRttMs + accessDelayMs, rttMs: base.rttMs + accessDelayMs + sum((overlay) => overlay.upstreamDelayMs),
    jitterMs: base.jitterMs + sum((overlay) => overlay.jitterMs), blocked: overlays.some((overlay) => overlay.blocked),
    reach: overlays.flatMap((overlay) => overlay.reach ?? []), drops: overlays.flatMap((overlay) => overlay.drop ?? []), full: overlays.some((overlay) => overlay.full),
  };
  return { ...bare, truth: truthOf(bare) };
}

function truthOf({ carrier, access, upstream, rttMs, jitterMs, reach }: Omit<Condition, 'truth'>): Truth {
  const loss = 1 - access * upstream;
  const reached = reach.reduce((share, part) => share * part.share, 1);
  if (!carrier || loss >= DEAD.lossFrom || reached < DEAD.reachBelow) return 'dead';
  return loss < USABLE.lossBelow && rttMs + jitterMs < USABLE.rttBelowMs && reached >= USABLE.reachAtLeast ? 'usable' : 'poor';
}
