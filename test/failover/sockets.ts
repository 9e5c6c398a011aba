/**
 * Single sockets of a host, where the lab's streams are too many or too anonymous: a connection that only reads, a port that a policy names, the
 * very flow that a tunnel is. `socket-agent.ts` opens them inside the host.
 *
 *   const sockets = await openSockets(lab, 'client');
 *   await sockets.by({ count: 20 });                            // { fibre: 20 }
 *   const listener = await sockets.hold({ protocol: 'tcp', everyMs: 0 });
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { BlockList } from 'node:net';
import { waitFor } from '../lab/lab.js';
import type { Lab } from '../lab/lab.js';

interface Way {
  readonly protocol: 'udp' | 'tcp';
  readonly to: string;
  readonly port: number;
  /** An address of the host, '' = the kernel chooses. */
  readonly from: string;
  /** 0 = the kernel chooses; of several questions: the first one's, the others count on. */
  readonly sourcePort: number;
}

export interface Ask extends Way {
  readonly count: number;
  readonly atOnce: number;
  readonly patienceMs: number;
}

export interface Hold extends Way {
  /** Between two questions; 0 = only listens. */
  readonly everyMs: number;
  /** TCP: begins anew at once when it ends. */
  readonly again: boolean;
}

export type Order = (Ask & { readonly verb: 'ask' }) | (Hold & { readonly verb: 'hold' }) | { readonly verb: 'tell' | 'end' };

export interface Answer {
  /** The source address that the far end saw, '' = no answer. */
  readonly seen: string;
  /** `EHOSTUNREACH`, `silence`; '' = none. */
  readonly error: string;
  readonly tookMs: number;
}

/** What became of a socket that goes on; `now()` scale, 0 = not yet. */
export interface Held {
  readonly began: number;
  first: string;
  seen: string;
  asked: number;
  answered: number;
  lastAnswerAt: number;
  error: string;
  endedAt: number;
  /** How often it was begun. */
  times: number;
  readonly broken: number[];
}

export interface Sockets {
  ask(order?: Partial<Ask>): Promise<readonly Answer[]>;
  /** Answers by the ISP that carried them; errors under their own names: `{ fibre: 12, EHOSTUNREACH: 3 }`. */
  by(order?: Partial<Ask>): Promise<Readonly<Record<string, number>>>;
  /** A socket that goes on, answered once. @returns its number in what `tell` gives */
  hold(order?: Partial<Hold>): Promise<number>;
  tell(): Promise<readonly Held[]>;
  one(number: number): Promise<Held>;
  /** The ISP of an address that the far end saw; else the address. */
  carrier(seen: string): string;
  /** Closes what is held. */
  end(): Promise<void>;
}

export const PORT = 7007;
const HERE = dirname(fileURLToPath(import.meta.url));
const WAY: Way = { protocol: 'udp', to: '192.0.2.10', port: PORT, from: '', sourcePort: 0 };

/** The echo server of the internet on more ports: they all come to `PORT`. */
export async function morePorts(lab: Lab): Promise<void> {
  const rules = (family: string): string => `add table ${family} ports\ndelete table ${family} ports\ntable ${family} ports { chain pre { type nat hook prerouting priority dstnat; meta l4proto { tcp, udp } th dport 1000-20000 th dport != ${PORT} dnat to :${PORT}; }\n}\n`;
  await lab.text('internet', ['nft', '-f', '-'], rules('ip') + (lab.topology.ipv6 ? rules('ip6') : ''));
}

/** The far end drops what it did not see begin, as most firewalls do: nobody learns by its resets. */
export async function beStrict(lab: Lab): Promise<void> {
  await lab.sysctl('internet', '0', 'net/netfilter/nf_conntrack_tcp_loose');
  await lab.text('internet', ['nft', '-f', '-'], 'table ip strict { chain in { type filter hook input priority 0; iifname "to-*" ct state invalid drop; }\n}\n');
}

/** Each has ended by an error that the kernel gave it, and not by its own time-out. */
export async function assertTold(who: Sockets, numbers: readonly number[]): Promise<void> {
  const are = async (): Promise<readonly Held[]> => Promise.all(numbers.map((number) => who.one(number)));
  const ended = await waitFor('every connection has ended', are, (held) => held.every((one) => one.endedAt > 0));
  for (const { error } of ended) assert.ok(/ECONNRESET|EPIPE|ECONNABORTED/.test(error) || error === 'closed by the far end', error);
}

const agents = new WeakMap<Lab, Map<string, Promise<Sockets>>>();

/** One agent in each host; asked for again, it lets go of what it holds. Also starts the echo server, on every address of the internet. */
export async function openSockets(lab: Lab, host = 'client'): Promise<Sockets> {
  const those = agents.get(lab) ?? new Map<string, Promise<Sockets>>();
  const known = those.get(host);
  agents.set(lab, those.set(host, known ?? startAgent(lab, host)));
  await (await known)?.end();
  return those.get(host)!;
}

async function startAgent(lab: Lab, host: string): Promise<Sockets> {
  await serve(lab);
  const near = await lab.start(host, [process.execPath, join(HERE, 'socket-agent.js')]);
  const waiting = new Map<number, (answer: unknown) => void>();
  let complaints = '';
  let lastId = 0;
  near.child.stderr?.on('data', (chunk: Buffer) => (complaints += chunk.toString()));
  const { stdout } = near.child;
  if (stdout === null) throw new Error('the agent has no stdout');
  const lines = createInterface({ input: stdout });
  await Promise.race([once(lines, 'line'), near.exited]);
  lines.on('line', (line) => {
    const { id, answer } = JSON.parse(line) as { readonly id: number; readonly answer: unknown };
    waiting.get(id)?.(answer);
    waiting.delete(id);
  });
  const call = async <T>(order: Order): Promise<T> => {
    const id = ++lastId;
    const answered = new Promise<unknown>((resolve) => waiting.set(id, resolve));
    near.child.stdin?.write(`${JSON.stringify({ ...order, id })}\n`);
    return await Promise.race([answered, near.exited.then(() => Promise.reject(new Error(`${host}: the agent has ended: ${complaints}`)))]) as T;
  };
  const ask: Sockets['ask'] = async (order = {}) => call({ ...WAY, count: 1, atOnce: 100, patienceMs: 1000, ...order, verb: 'ask' });
  return {
    ask,
    async by(order) {
      const counts: Record<string, number> = {};
      for (const { seen, error } of await ask(order)) {
        const key = error === '' ? carrierOf(lab, seen) : error;
        counts[key] = (counts[key] ?? 0) + 1;
      }
      return counts;
    },
    hold: async (order = {}) => call({ ...WAY, everyMs: 20, again: false, ...order, verb: 'hold' }),
    tell: async () => call({ verb: 'tell' }),
    one: async (number) => (await call<readonly Held[]>({ verb: 'tell' }))[number]!,
    carrier: (seen) => carrierOf(lab, seen),
    end: async () => call({ verb: 'end' }),
  };
}

/** The echo server comes with the first stream. */
const served = new WeakMap<Lab, Promise<unknown>>();

async function serve(lab: Lab): Promise<void> {
  const known = served.get(lab) ?? lab.stream({ kind: 'udp', rateHz: 1, from: 'internet', to: '192.0.2.10' }).then((stream) => stream.stop());
  served.set(lab, known);
  await known;
}

function carrierOf(lab: Lab, seen: string): string {
  const family = seen.includes(':') ? 'ipv6' : 'ipv4';
  for (const isp of lab.isps()) {
    const prefixes = family === 'ipv4' ? [isp.prefix] : isp.six === undefined ? [] : [isp.six.prefix, isp.six.delegated];
    for (const prefix of prefixes) {
      const [network = '', length] = prefix.split('/');
      const block = new BlockList();
      block.addSubnet(network, Number(length), family);
      if (block.check(seen, family)) return isp.name;
    }
  }
  return seen;
}
