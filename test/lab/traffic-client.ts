/**
 * The near end of measured traffic, run inside a host of the lab: asks the echo server at a steady rate, and remembers every question.
 *
 *   node traffic-client.js '{"kind":"udp","to":"192.0.2.10","port":7007,"intervalMs":1,"connections":1}'
 *
 *   udp        one socket, one flow
 *   new-udp    a fresh socket for each question: every one is a new flow
 *   tcp        long-lived connections, one question at a time on each in turn
 *   connect    a fresh TCP connection each time; the answer is that it stands
 *   upload     TCP connections that are never short of bytes to send; a question is among them every so often, and is answered when it has come through
 *
 * It judges nothing. On stdin it takes lines `{"id":1,"since":MS,"until":MS}` and answers `{"id":1,"samples":[[at,rttMs|null,via,connection],...],
 * "broken":[[at,connection,error],...]}`; it ends with its stdin. Times are CLOCK_MONOTONIC in ms.
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

const order = JSON.parse(process.argv[2] ?? '') as Order;
/** ipv6Only: else a port that a stream of IPv4 has just now would be taken. */
const udp = order.to.includes(':') ? { type: 'udp6', ipv6Only: true } as const : { type: 'udp4' } as const;
const record = createRecord();
const broken: (readonly [at: number, connection: number, error: string])[] = [];

/** Reset at the end: else the kernel would go on sending what waits in them. */
const uploads: Socket[] = [];

let lastPort = Math.floor(now() / PORT_EVERY_MS) % PORTS;

const ask = await askerFor(order);
pace(order.intervalMs, ask);
const lines = createInterface({ input: process.stdin });
lines.on('line', (line) => {
  const { id, since, until } = JSON.parse(line) as { id: number; since: number; until: number };
  const answer = { id, samples: record.between(since, until), broken: broken.filter(([at]) => at >= since && at < until) };
  process.stdout.write(`${JSON.stringify(answer)}\n`);
});
lines.once('close', () => {
  for (const socket of uploads) socket.resetAndDestroy();
  process.exit(0);
});

async function askerFor({ kind, connections }: Order): Promise<() => void> {
  switch (kind) {
    case 'udp':
      return oneFlow();
    case 'new-udp':
      return freshFlow;
    case 'tcp':
      return longLived(connections);
    case 'connect':
      return freshConnection;
    case 'upload':
      return upload(connections);
  }
}

async function oneFlow(): Promise<() => void> {
  const socket = createSocket({ ...udp, recvBufferSize: 1 << 20 });
  socket.on('message', (answer) => record.answered(answer.toString('latin1')));
  // An ICMP error for a connected socket, or no route: a lost packet, which the record shows.
  socket.on('error', () => undefined);
  await new Promise<void>((resolve) => socket.connect(order.port, order.to, resolve));
  return () => {
    socket.send(String(record.asked(0)), () => undefined);
  };
}

function freshFlow(): void {
  askAfresh(record.asked(0));
}

function askAfresh(question: number): void {
  const socket = createSocket(udp);
  const patience = setTimeout(() => socket.close(), PATIENCE_MS);
  socket.once('message', (answer) => {
    record.answered(answer.toString('latin1'));
    clearTimeout(patience);
    socket.close();
  });
  socket.on('error', (error) => {
    // Not connected, so that an ICMP error from the way does not end it: a lost packet is lost. But a port that another stream holds is no outage.
    if (!('code' in error) || error.code !== 'EADDRINUSE') return;
    clearTimeout(patience);
    socket.close();
    askAfresh(question);
  });
  socket.bind({ port: nextPort(), exclusive: true }, () => socket.send(String(question), order.port, order.to, () => undefined));
}

function nextPort(): number {
  lastPort = (lastPort + 1) % PORTS;
  return FIRST_PORT + lastPort;
}

async function longLived(count: number): Promise<() => void> {
  return asking(await Promise.all(Array.from({ length: count }, (_, n) => openConnection(n))));
}

/** Each in turn. */
function asking(sockets: readonly Socket[]): () => void {
  let turn = 0;
  return () => {
    const connection = turn++ % sockets.length;
    const socket = sockets[connection];
    if (socket !== undefined && !socket.destroyed) socket.write(`${record.asked(connection)}\n`);
  };
}

/** Comments (`#...`), which the far end throws away, as fast as the sockets take them. */
async function upload(count: number): Promise<() => void> {
  const sockets = await Promise.all(Array.from({ length: count }, (_, n) => openConnection(n)));
  const filling = `${'#'.repeat(UPLOAD_BYTES - 1)}\n`;
  uploads.push(...sockets);
  for (const socket of sockets) {
    const fill = (): void => {
      while (!socket.destroyed && socket.write(filling));
    };
    socket.on('drain', fill);
    fill();
  }
  return asking(sockets);
}

function openConnection(connection: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: order.to, port: order.port, noDelay: true }, () => resolve(socket));
    socket.once('error', (error) => {
      broken.push([now(), connection, error.message]);
      reject(error);
    });
    socket.once('end', () => broken.push([now(), connection, 'closed by the far end']));
    hearLines(socket);
  });
}

function freshConnection(): void {
  const question = record.asked(0);
  const socket = connect({ host: order.to, port: order.port, localPort: nextPort() });
  const patience = setTimeout(() => socket.destroy(), CONNECT_PATIENCE_MS);
  let stoodAt = 0;
  let ungreeted: NodeJS.Timeout | undefined;
  socket.once('connect', () => {
    stoodAt = now();
    ungreeted = setTimeout(() => record.answered(`${question} ungreeted`, stoodAt), GREETING_MS);
  });
  socket.once('data', (greeting) => {
    record.answered(`${question} ${greeting.toString('latin1').slice(2).trim()}`, stoodAt);
    clearTimeout(patience);
    clearTimeout(ungreeted);
    socket.resetAndDestroy();
  });
  socket.once('error', (error) => {
    clearTimeout(patience);
    clearTimeout(ungreeted);
    broken.push([now(), question, error.message]);
  });
}

function hearLines(socket: Socket): void {
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
