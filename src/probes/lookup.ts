/**
 * Looks up names through one line, for methods that are given a URL: all resolvers of the line's family are asked at once, the first good
 * answer wins. What they said is kept as long as they allow, within 10 s and 1 h, and asked for anew before it runs out, so that a probe
 * seldom waits for it.
 *
 * There is no timer here: whoever waits gives up by itself (`complaint` says on whom it waited), and a query that was lost is asked again
 * with the next probe.
 */
import { isIP } from 'node:net';
import type { Instant, ProbeLine } from '../model.js';
import { complaintAbout } from './dns.js';
import { openQuerent } from './dns-query.js';

export interface Lookup {
  /**
   * One of the two is called, once, perhaps before this returns, or neither while resolvers are silent. Not more than 128 wait at a time, as
   * many as there are probes in flight.
   * @returns what takes the question back
   */
  find(name: string, resolvers: readonly string[], found: (addresses: readonly string[]) => void, failed: (error: string) => void): () => void;
  /** What the resolvers said of this name up to now, those that are silent included. */
  complaint(name: string): string;
  /** Idempotent. */
  close(): void;
}

const KEPT_MS = { least: 10_000, most: 3_600_000 };
/** Asked for anew when so much of its time has passed. */
const FRESH_SHARE = 0.75;
/** A query without an answer is taken for lost after so long, and asked again. */
const ASK_AGAIN_AFTER_MS = 500;
const DNS_PORT = 53;

interface Entry {
  addresses: readonly string[];
  until: Instant;
  freshUntil: Instant;
  /** The last round of queries; '' = this resolver said nothing yet. */
  said: Map<string, string>;
  askedAt: Instant | undefined;
  readonly waiting: Set<Waiter>;
}

interface Waiter {
  readonly found: (addresses: readonly string[]) => void;
  readonly failed: (error: string) => void;
}

export function openLookup(line: ProbeLine, now: () => Instant): Lookup {
  const querent = openQuerent(line, now);
  const entries = new Map<string, Entry>();

  const keep = (entry: Entry, at: Instant, addresses: readonly string[], ttlSeconds: number): void => {
    const keptMs = Math.min(KEPT_MS.most, Math.max(KEPT_MS.least, ttlSeconds * 1000));
    entry.addresses = addresses;
    entry.until = (at + keptMs) as Instant;
    entry.freshUntil = (at + FRESH_SHARE * keptMs) as Instant;
    entry.askedAt = undefined;
    for (const waiter of take(entry)) waiter.found(addresses);
  };

  const complain = (entry: Entry, resolver: string, text: string): void => {
    entry.said.set(resolver, text);
    if ([...entry.said.values()].includes('')) return;
    entry.askedAt = undefined;
    for (const waiter of take(entry)) waiter.failed(listed(entry));
  };

  const askAll = (name: string, entry: Entry, resolvers: readonly string[]): void => {
    const round = new Map(resolvers.map((resolver) => [resolver, '']));
    const isCurrent = (): boolean => entry.said === round && entry.askedAt !== undefined;
    entry.said = round;
    entry.askedAt = now();
    for (const resolver of resolvers) {
      querent.ask({
        server: { address: resolver, port: DNS_PORT },
        name,
        family: line.family,
        heard(at, _rttMs, answer) {
          if (answer.rcode === 0 && answer.addresses.length > 0) return keep(entry, at, answer.addresses, answer.ttlSeconds); // of a former round, too
          const complaint = complaintAbout(answer, { name, expect: [] }, resolver);
          if (isCurrent()) complain(entry, resolver, complaint === '' ? `${resolver} knows no IPv${line.family} address of ${name}` : complaint);
        },
        lost: (_at, { error }) => {
          if (isCurrent()) complain(entry, resolver, `${resolver}: ${error}`);
        },
      });
    }
  };

  return {
    find(name, resolvers, found, failed) {
      const own = resolvers.filter((resolver) => isIP(resolver) === line.family);
      const entry = entries.get(name) ?? unknown();
      entries.set(name, entry);
      const waiter = { found, failed };
      const kept = entry.until > now();
      if (!kept) entry.waiting.add(waiter);
      const asking = entry.askedAt !== undefined && now() - entry.askedAt < ASK_AGAIN_AFTER_MS;
      if (own.length === 0) {
        entry.waiting.delete(waiter);
        if (!kept) failed(`none of its resolvers has an IPv${line.family} address`);
      } else if (entry.freshUntil <= now() && !asking) {
        askAll(name, entry, own);
      }
      if (kept) found(entry.addresses);
      return () => entry.waiting.delete(waiter);
    },
    complaint: (name) => {
      const entry = entries.get(name);
      return entry === undefined ? '' : listed(entry);
    },
    close() {
      querent.close();
      for (const { waiting } of entries.values()) waiting.clear();
    },
  };
}

function unknown(): Entry {
  return { addresses: [], until: -Infinity as Instant, freshUntil: -Infinity as Instant, said: new Map(), askedAt: undefined, waiting: new Set() };
}

function take(entry: Entry): readonly Waiter[] {
  const waiters = [...entry.waiting];
  entry.waiting.clear();
  return waiters;
}

function listed({ said }: Entry): string {
  return [...said].map(([resolver, text]) => (text === '' ? `${resolver} did not answer` : text)).join('; ');
}
