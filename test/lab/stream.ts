/**
 * Measured traffic as a test sees it: starts the two ends inside the lab, asks the near end for its samples, and cuts windows around faults.
 *
 *   const old = await lab.stream({ kind: 'udp', rateHz: 1000 });
 *   const cut = await lab.cutCable('fibre');
 *   const { outageMs, via } = await old.outageAfter(cut);      // waits until answers come again
 */
import { BlockList } from 'node:net';
import { join, dirname } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { Anchor, LabProcess } from './anchor.js';
import type { Applied } from './ip-batch.js';
import { outageOf } from './outage.js';
import type { Outage, Sample } from './outage.js';
import type { Isp, Topology } from './topology.js';
import { now, until as untilInstant, waitFor } from './wait.js';

export interface StreamOptions {
  /**
   * `udp`: one running flow. `new-udp`: every packet is a new flow. `tcp`: long-lived connections, asked in turn. `connect`: TCP connections begun
   * one after the other, each answered when it stands. `upload`: TCP connections that send as much as the line takes; a question is answered when it has
   * come through all that was sent before it.
   */
  readonly kind: 'udp' | 'new-udp' | 'tcp' | 'connect' | 'upload';
  /** Questions per second. Default udp 1000, new-udp 500, tcp 100, connect 50, upload 10. */
  readonly rateHz?: number;
  /** Host that asks: `client` (default), `router`, `vpn`, `internet`, ... */
  readonly from?: string;
  /** Any address of a host of the lab, of either family. Default the first of the internet. */
  readonly to?: string;
  /** For `tcp` and `upload`. Default 10: a single one takes its time to fill a long queue. */
  readonly connections?: number;
  /** Wait for the first answer. Default true; false where there is no way yet. */
  readonly answered?: boolean;
}

export interface Window {
  /** `now()` scale. Default: the stream's start. */
  readonly since?: number;
  /** Waited for when it lies in the future. Default: now. */
  readonly until?: number;
  /** An answer later than this counts as none; tells a TCP connect that needed a retransmission (1 s) from one that did not. Default: any answer counts. */
  readonly withinMs?: number;
  /** How long after `until` answers are waited for. Default 250. */
  readonly graceMs?: number;
}

export interface AfterOptions {
  /** It is over when every question of the last so many ms was answered. Default 200; longer than the time a fault needs to show. */
  readonly calmMs?: number;
  readonly withinMs?: number;
}

export interface Broken {
  readonly at: number;
  readonly connection: number;
  readonly error: string;
}

export interface Stream {
  readonly intervalMs: number;
  readonly startedAt: number;
  /** This instant, for a window. */
  mark(): number;
  samples(window?: Window): Promise<readonly Sample[]>;
  outage(window?: Window): Promise<Outage>;
  /** Waits until the stream runs again after the fault, and measures from just before it until then. @throws Error when it does not recover */
  outageAfter(fault: Applied | number, options?: AfterOptions): Promise<Outage>;
  /** The question asked nearest to this instant, once it is answered or the patience (default 8000 ms) is at its end: "a connect begun 200 ms before the fault". */
  nearest(instant: number, patienceMs?: number): Promise<Sample>;
  /** TCP connections that broke, or connects that failed. */
  broken(window?: Pick<Window, 'since' | 'until'>): Promise<readonly Broken[]>;
  stop(): Promise<void>;
}

export interface Streams {
  stream(options: StreamOptions): Promise<Stream>;
  /** Ends all that were begun; what answers them stays. */
  endStreams(): Promise<void>;
}

type Answer = { readonly id: number } | RawAnswer | { readonly id: number; readonly error: string };

interface RawAnswer {
  readonly id: number;
  readonly samples: readonly (readonly [number, number | null, string, number])[];
  readonly broken: readonly (readonly [number, number, string])[];
}

const PORT = 7007;
const HERE = dirname(fileURLToPath(import.meta.url));
const DEFAULT_RATE_HZ = { udp: 1000, 'new-udp': 500, tcp: 100, connect: 50, upload: 10 } as const;
const GRACE_MS = 250;
/** Of the looks after a fault: more than the RTT of a far line. */
const AFTER_GRACE_MS = 120;
/** A window after a fault begins this much earlier, so that the last answered question is in it. */
const LEAD_MS = 50;

export function createStreams(anchor: Anchor, topology: Topology, isps: () => readonly Isp[]): Streams {
  const servers = new Map<string, Promise<LabProcess>>();
  const begun = new Set<Stream>();
  const clients = new Map<string, Promise<Client>>();
  /** One process asks all that a host asks, but for uploads, which leave a process no time for others. */
  const clientOn = (host: string, kind: StreamOptions['kind']): Promise<Client> => {
    const known = kind === 'upload' ? undefined : clients.get(host);
    const client = known ?? anchor.start(host, [process.execPath, join(HERE, 'traffic-client.js')]).then(openClient);
    if (kind !== 'upload') clients.set(host, client);
    return client;
  };
  const serve = (address: string): Promise<LabProcess> => {
    const host = hostOf(address, topology, isps());
    const addresses = host === 'internet' ? topology.internet : [address];
    const key = addresses.join(' ');
    const known = servers.get(key) ?? startServer(anchor, host, addresses);
    servers.set(key, known);
    return known;
  };
  const stream: Streams['stream'] = async (options) => {
    const to = options.to ?? topology.internet[0] ?? '';
    await serve(to);
    const intervalMs = 1000 / (options.rateHz ?? DEFAULT_RATE_HZ[options.kind]);
    const order = { kind: options.kind, to, port: PORT, intervalMs, connections: options.connections ?? 10 };
    const client = await clientOn(options.from ?? 'client', options.kind);
    const made = streamOver(client, await client.open(order), intervalMs, (address) => carrierOf(address, isps()));
    begun.add(made);
    const what = `a ${options.kind} stream from ${options.from ?? 'client'} to ${to} is answered`;
    if (options.answered ?? true) await waitFor(what, () => made.samples({ graceMs: 0 }), (seen) => seen.some((one) => one.rttMs !== undefined));
    return made;
  };
  return {
    stream,
    async endStreams() {
      await Promise.all([...begun].map(async (one) => one.stop()));
      begun.clear();
    },
  };
}

async function startServer(anchor: Anchor, host: string, addresses: readonly string[]): Promise<LabProcess> {
  const server = await anchor.start(host, [process.execPath, join(HERE, 'traffic-server.js'), String(PORT), ...addresses]);
  let complaints = '';
  server.child.stderr?.on('data', (chunk: Buffer) => (complaints += chunk.toString()));
  const listening = new Promise<boolean>((resolve) => server.child.stdout?.once('data', () => resolve(true)));
  const ended = server.exited.then(() => false);
  if (!(await Promise.race([listening, ended]))) throw new Error(`${host}: the echo server did not start: ${complaints}`);
  return server;
}

interface Client {
  /** @returns the number of the new stream */
  open(order: object): Promise<number>;
  ask(stream: number, since: number, until: number): Promise<RawAnswer>;
  close(stream: number): Promise<void>;
}

function streamOver(client: Client, stream: number, intervalMs: number, viaOf: (address: string) => string): Stream {
  const startedAt = now();
  const query = async (since: number, until: number): Promise<RawAnswer> => client.ask(stream, since, until);
  const samples: Stream['samples'] = async ({ since = startedAt, until = now(), withinMs = Infinity, graceMs = GRACE_MS } = {}) => {
    await untilInstant(until);
    const look = async (): Promise<readonly Sample[]> => (await query(since, until)).samples.map((raw) => sampleOf(raw, withinMs, viaOf));
    for (const endAt = until + graceMs; ; ) {
      const seen = await look();
      if (now() >= endAt || seen.every((one) => one.rttMs !== undefined)) return seen;
      await untilInstant(Math.min(endAt, now() + 20));
    }
  };
  const outage: Stream['outage'] = async (window) => outageOf(await samples(window), intervalMs);
  return {
    intervalMs, startedAt, samples, outage,
    mark: now,
    async outageAfter(fault, { calmMs = 200, withinMs = Infinity } = {}) {
      const faultAt = typeof fault === 'number' ? fault : fault.beganAt;
      const calm = async (): Promise<Outage> => {
        const until = Math.max(now(), faultAt + calmMs);
        return outage({ since: until - calmMs, until, withinMs, graceMs: AFTER_GRACE_MS });
      };
      // Where the asker is given little of the processor, it asks less.
      const enough = Math.max(3, (calmMs / intervalMs) * 0.1);
      await waitFor(`the stream runs again, ${calmMs} ms without a loss`, calm, (seen) => seen.lost === 0 && seen.sent >= enough);
      return outage({ since: faultAt - LEAD_MS, until: now(), withinMs, graceMs: AFTER_GRACE_MS });
    },
    async nearest(instant, patienceMs = 8000) {
      const around = await samples({ since: instant - 5 * intervalMs, until: instant + 5 * intervalMs, graceMs: 0 });
      const [chosen] = [...around].sort((one, other) => Math.abs(one.at - instant) - Math.abs(other.at - instant));
      if (chosen === undefined) throw new Error(`nothing was asked within ${5 * intervalMs} ms of that instant`);
      const [settled] = await samples({ since: chosen.at, until: chosen.at + 0.001, graceMs: patienceMs });
      return settled ?? chosen;
    },
    async broken({ since = 0, until = now() } = {}) {
      await untilInstant(until);
      return (await query(since, until)).broken.map(([at, connection, error]) => ({ at, connection, error }));
    },
    stop: async () => client.close(stream),
  };
}

function openClient(near: LabProcess): Client {
  const waiting = new Map<number, (answer: Answer) => void>();
  let complaints = '';
  let lastId = 0;
  near.child.stderr?.on('data', (chunk: Buffer) => (complaints += chunk.toString()));
  if (near.child.stdout !== null) {
    createInterface({ input: near.child.stdout }).on('line', (line) => {
      const answer = JSON.parse(line) as Answer;
      waiting.get(answer.id)?.(answer);
      waiting.delete(answer.id);
    });
  }
  const call = async (wanted: object): Promise<Answer> => {
    const id = ++lastId;
    const answered = new Promise<Answer>((resolve) => waiting.set(id, resolve));
    near.child.stdin?.write(`${JSON.stringify({ id, ...wanted })}\n`);
    const first = await Promise.race([answered, near.exited]);
    if (!('id' in first)) throw new Error(`the measuring process has ended (code ${first.code}, signal ${first.signal}): ${complaints}`);
    if ('error' in first) throw new Error(`the measuring process: ${first.error}`);
    return first;
  };
  return {
    open: async (order) => (await call({ open: order })).id,
    ask: async (stream, since, until) => (await call({ of: stream, since, until })) as RawAnswer,
    async close(stream) {
      await call({ close: stream });
    },
  };
}

function sampleOf([at, rttMs, address, connection]: RawAnswer['samples'][number], withinMs: number, viaOf: (address: string) => string): Sample {
  return rttMs === null || rttMs > withinMs ? { at, rttMs: undefined, via: '', connection } : { at, rttMs, via: viaOf(address), seen: address, connection };
}

/** The ISP whose address the far end saw; any other address as it is. */
function carrierOf(address: string, isps: readonly Isp[]): string {
  const isOf = ({ nat, core, prefix, six }: Isp): boolean => {
    if (address.includes(':')) return six !== undefined && [six.prefix, six.delegated].some((each) => inPrefix(address, each));
    return nat ? address === core.isp : inPrefix(address, prefix);
  };
  return isps.find(isOf)?.name ?? address;
}

/** Thousands of answers are looked up again and again. */
const blocks = new Map<string, BlockList>();

function inPrefix(address: string, prefix: string): boolean {
  const family = address.includes(':') ? 'ipv6' : 'ipv4';
  const block = blocks.get(prefix) ?? new BlockList();
  if (!blocks.has(prefix)) {
    const [network = '', length] = prefix.split('/');
    block.addSubnet(network, Number(length), family);
    blocks.set(prefix, block);
  }
  return block.check(address, family);
}

function hostOf(address: string, topology: Topology, isps: readonly Isp[]): string {
  const lan = topology.lans.find((one) => one.clientAddress === address || one.six?.clientAddress === address);
  const ofIsps = isps.flatMap((isp) => [isp.router, isp.six?.router]);
  const router = [...ofIsps, ...topology.lans.flatMap((one) => [one.routerAddress, one.six?.routerAddress]), topology.vpn?.routerAddress];
  if (topology.internet.includes(address)) return 'internet';
  if (lan !== undefined) return lan.client;
  if (topology.vpn?.hostAddress === address) return 'vpn';
  if (router.includes(address)) return 'router';
  throw new Error(`no host of the lab that could serve has the address ${address}`);
}
