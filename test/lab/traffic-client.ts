/**
 * The near end of measured traffic, run inside a host of the lab: asks echo servers at steady rates, and remembers every question. On stdin it takes
 *
 *   {"id":1,"open":{"kind":"udp","to":"192.0.2.10","port":7007,"intervalMs":1,"connections":1}}
 *
 *   udp        one socket, one flow
 *   new-udp    a fresh socket for each question: every one is a new flow
 *   tcp        long-lived connections, one question at a time on each in turn
 *   connect    a fresh TCP connection each time; the answer is that it stands
 *   upload     TCP connections that are never short of bytes to send; a question is among them every so often, and is answered when it has come through
 *
 * which is stream 1 from its answer on: `{"id":1}`, or `{"id":1,"error":"..."}`. It judges nothing. `{"id":2,"of":1,"since":MS,"until":MS}` is answered with
 * `{"id":2,"samples":[[at,rttMs|null,via,connection],...],"broken":[[at,connection,error],...]}`, and `{"id":3,"close":1}` ends that stream; all end with
 * stdin. Times are CLOCK_MONOTONIC in ms.
 */
import { createSocket } from 'node:dgram';
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { pace } from './pace.js';
import { now } from './wait.js';

interface Order {
  readonly kind: 'udp' | 'new-udp' | 'tcp' | 'connect' | 'upload';
  readonly to: string;
  readonly port: number;
  readonly intervalMs: number;
  readonly connections: number;
}

/** Older questions are forgotten: ten minutes at 1 kHz. */
const REMEMBERED = 600_000;
/** A fresh flow is given up after this. */
const PATIENCE_MS = 3000;
/** A TCP connect has time for two retransmissions of its SYN (1 s, 2 s). */
const CONNECT_PATIENCE_MS = 8000;
/** Of one write; more than one waits in the process before `drain` is said. */
const UPLOAD_BYTES = 16_384;
/** A connection that stands and is not greeted within this: its line died in between. It stands all the same. */
const GREETING_MS = 1000;

/**
 * Fresh flows take their ports in turn from this range, below the one that the kernel gives out. A random port would soon meet the connection entry of
 * an earlier flow, and then a "new" flow is none. 22,000 ports last 44 s at 500 per second; an entry of one question and one answer lives for 30 s. Streams
 * that follow each other go on where the last one ended, because the clock says where to begin.
 */
const FIRST_PORT = 10_000;
const PORTS = 22_000;
const PORT_EVERY_MS = 2;

interface Traffic {
  readonly record: Record;
  readonly broken: readonly (readonly [at: number, connection: number, error: string])[];
  close(): void;
}

const streams = new Map<number, Traffic>();
let lastPort = Math.floor(now() / PORT_EVERY_MS) % PORTS;

const lines = createInterface({ input: process.stdin });
lines.on('line', (line) => void obey(JSON.parse(line) as Wanted));
lines.once('close', () => {
  for (const traffic of streams.values()) traffic.close();
  process.exit(0);
});

type Wanted = { readonly id: number } & ({ readonly open: Order } | { readonly of: number; readonly since: number; readonly until: number } | { readonly close: number });

async function obey(wanted: Wanted): Promise<void> {
  const answer = (more: object): void => void process.stdout.write(`${JSON.stringify({ id: wanted.id, ...more })}\n`);
  if ('open' in wanted) {
    try {
      streams.set(wanted.id, await begin(wanted.open));
      answer({});
    } catch (error) {
      answer({ error: error instanceof Error ? error.message : String(error) });
    }
  } else if ('close' in wanted) {
    streams.get(wanted.close)?.close();
    streams.delete(wanted.close);
    answer({});
  } else {
    const { record, broken } = streams.get(wanted.of)!;
    answer({ samples: record.between(wanted.since, wanted.until), broken: broken.filter(([at]) => at >= wanted.since && at < wanted.until) });
  }
}

/** @throws Error of the first connection that cannot be had */
async function begin({ kind, to, port, intervalMs, connections }: Order): Promise<Traffic> {
  const record = createRecord();
  const broken: (readonly [at: number, connection: number, error: string])[] = [];
  /** What is to be closed at the end. */
  const open = new Set<() => void>();
  /** ipv6Only: else a port that a stream of IPv4 has just now would be taken. */
  const udp = to.includes(':') ? { type: 'udp6', ipv6Only: true } as const : { type: 'udp4' } as const;
  let closed = false;

  const ask = await askerFor();
  const asking = pace(intervalMs, ask);
  return {
    record, broken,
    close() {
      closed = true;
      asking.stop();
      for (const end of open) end();
    },
  };

  async function askerFor(): Promise<() => void> {
    switch (kind) {
      case 'udp':
        return oneFlow();
      case 'new-udp':
        return () => askAfresh(record.asked(0));
      case 'tcp':
        return inTurn(await longLived());
      case 'connect':
        return freshConnection;
      case 'upload':
        return upload();
    }
  }

  async function oneFlow(): Promise<() => void> {
    const socket = createSocket({ ...udp, recvBufferSize: 1 << 20 });
    socket.on('message', (answer) => record.answered(answer.toString('latin1')));
    // An ICMP error for a connected socket, or no route: a lost packet, which the record shows.
    socket.on('error', () => undefined);
    await new Promise<void>((resolve) => socket.connect(port, to, resolve));
    open.add(() => socket.close());
    return () => {
      socket.send(String(record.asked(0)), () => undefined);
    };
  }

  function askAfresh(question: number): void {
    const socket = createSocket(udp);
    const end = (): void => {
      clearTimeout(patience);
      if (open.delete(end)) socket.close();
    };
    const patience = setTimeout(end, PATIENCE_MS);
    open.add(end);
    socket.once('message', (answer) => {
      record.answered(answer.toString('latin1'));
      end();
    });
    socket.on('error', (error) => {
      // Not connected, so that an ICMP error from the way does not end it: a lost packet is lost. But a port that another stream holds is no outage.
      if (!('code' in error) || error.code !== 'EADDRINUSE') return;
      end();
      if (!closed) askAfresh(question);
    });
    socket.bind({ port: nextPort(), exclusive: true }, () => {
      if (open.has(end)) socket.send(String(question), port, to, () => undefined);
    });
  }

  async function longLived(): Promise<readonly Socket[]> {
    return Promise.all(Array.from({ length: connections }, (_, n) => openConnection(n)));
  }

  /** Each in turn. */
  function inTurn(sockets: readonly Socket[]): () => void {
    let turn = 0;
    return () => {
      const connection = turn++ % sockets.length;
      const socket = sockets[connection];
      if (socket !== undefined && !socket.destroyed) socket.write(`${record.asked(connection)}\n`);
    };
  }

  /** Comments (`#...`), which the far end throws away, as fast as the sockets take them. Reset at the end: else the kernel would go on sending what waits in them. */
  async function upload(): Promise<() => void> {
    const sockets = await longLived();
    const filling = `${'#'.repeat(UPLOAD_BYTES - 1)}\n`;
    for (const socket of sockets) {
      const fill = (): void => {
        while (!socket.destroyed && socket.write(filling));
      };
      open.add(() => socket.resetAndDestroy());
      socket.on('drain', fill);
      fill();
    }
    return inTurn(sockets);
  }

  function openConnection(connection: number): Promise<Socket> {
    return new Promise((resolve, reject) => {
      const socket = connect({ host: to, port, noDelay: true }, () => resolve(socket));
      open.add(() => socket.destroy());
      socket.once('error', (error) => {
        broken.push([now(), connection, error.message]);
        reject(error);
      });
      socket.once('end', () => broken.push([now(), connection, 'closed by the far end']));
      hearLines(socket, record);
    });
  }

  function freshConnection(): void {
    const question = record.asked(0);
    const socket = connect({ host: to, port, localPort: nextPort() });
    const end = (): void => {
      clearTimeout(patience);
      clearTimeout(ungreeted);
      if (open.delete(end)) socket.resetAndDestroy();
    };
    const patience = setTimeout(end, CONNECT_PATIENCE_MS);
    open.add(end);
    let stoodAt = 0;
    let ungreeted: NodeJS.Timeout | undefined;
    socket.once('connect', () => {
      stoodAt = now();
      ungreeted = setTimeout(() => record.answered(`${question} ungreeted`, stoodAt), GREETING_MS);
    });
    socket.once('data', (greeting) => {
      record.answered(`${question} ${greeting.toString('latin1').slice(2).trim()}`, stoodAt);
      end();
    });
    socket.once('error', (error) => {
      clearTimeout(patience);
      clearTimeout(ungreeted);
      open.delete(end);
      broken.push([now(), question, error.message]);
    });
  }
}

function nextPort(): number {
  lastPort = (lastPort + 1) % PORTS;
  return FIRST_PORT + lastPort;
}

function hearLines(socket: Socket, record: Record): void {
  let rest = '';
  socket.setEncoding('latin1');
  socket.on('data', (chunk: string) => {
    const parts = (rest + chunk).split('\n');
    rest = parts.pop() ?? '';
    for (const part of parts) if (!part.startsWith('-')) record.answered(part);
  });
}

interface Record {
  /** Notes a question and gives it a number. */
  asked(connection: number): number;
  /** @param answer `NUMBER ADDRESS` */
  answered(answer: string, at?: number): void;
  between(since: number, until: number): readonly (readonly [at: number, rttMs: number | null, via: string, connection: number])[];
}

function createRecord(): Record {
  const sentAt = new Float64Array(REMEMBERED);
  const rttMs = new Float64Array(REMEMBERED);
  const connections = new Uint16Array(REMEMBERED);
  const vias = new Uint8Array(REMEMBERED);
  const addresses = [''];
  let next = 0;
  return {
    asked(connection) {
      const slot = next % REMEMBERED;
      sentAt[slot] = now();
      rttMs[slot] = -1;
      connections[slot] = connection;
      vias[slot] = 0;
      return next++;
    },
    answered(answer, at = now()) {
      const [digits, address = ''] = answer.split(' ');
      const question = Number(digits);
      const slot = question % REMEMBERED;
      if (question <= next - REMEMBERED || rttMs[slot] !== -1) return;
      rttMs[slot] = at - (sentAt[slot] ?? at);
      if (!addresses.includes(address)) addresses.push(address);
      vias[slot] = addresses.indexOf(address);
    },
    between(since, until) {
      const found: (readonly [number, number | null, string, number])[] = [];
      const oldest = Math.max(0, next - REMEMBERED);
      for (let question = next - 1; question >= oldest; question--) {
        const slot = question % REMEMBERED;
        const at = sentAt[slot] ?? 0;
        if (at < since) break;
        const rtt = rttMs[slot] ?? -1;
        if (at < until) found.push([at, rtt < 0 ? null : rtt, addresses[vias[slot] ?? 0] ?? '', connections[slot] ?? 0]);
      }
      return found.reverse();
    },
  };
}
