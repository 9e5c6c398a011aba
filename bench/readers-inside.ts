/**
 * Readers of the API over TCP that mean no good, in the router itself: `node readers-inside.js KIND PORT`. They go on
 * until they are ended; who is closed comes back.
 *
 *   deaf      64 connections send 63 kB of requests each and read nothing
 *   greedy    64 connections send as many, and read what comes
 *   polite    8 read the status, one time after the other
 *   silent    64 connections say nothing
 *   knocking  one connection after the other, 32 at a time, each closed as soon as it stands
 */
import { Agent, get } from 'node:http';
import { connect, type Socket } from 'node:net';

const [kind = '', port = ''] = process.argv.slice(2);
const REQUEST = 'GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n';
const BYTES = 63_000;

const pause = async (ms: number): Promise<void> => new Promise((resolve) => void setTimeout(resolve, ms));

function open(): Socket {
  return connect({ host: '127.0.0.1', port: Number(port), allowHalfOpen: true });
}

async function closed(socket: Socket): Promise<unknown> {
  socket.on('error', () => socket.destroy());
  return new Promise((resolve) => socket.once('close', resolve));
}

async function pipeline(reads: boolean): Promise<void> {
  for (;;) {
    const socket = open();
    const end = closed(socket);
    const ask = (): boolean => socket.write(REQUEST.repeat(Math.ceil(BYTES / REQUEST.length)));
    ask();
    if (reads) {
      let bytes = 0;
      socket.on('data', (part: Buffer) => {
        bytes += part.length;
        if (bytes < 10_000_000) return;
        bytes = 0;
        ask();
      });
    } else socket.pause();
    await end;
    await pause(10);
  }
}

function readStatus(agent: Agent): Promise<void> {
  return new Promise((resolve) => {
    get({ host: '127.0.0.1', port, path: '/v1/status', agent }, (answer) => answer.resume().once('end', resolve)).once('error', () => void setTimeout(resolve, 10));
  });
}

async function read(): Promise<void> {
  const agent = new Agent({ keepAlive: true });
  for (;;) await readStatus(agent);
}

async function beSilent(): Promise<void> {
  for (;;) await closed(open());
}

async function knock(): Promise<void> {
  for (;;) {
    const socket = open();
    const end = closed(socket);
    socket.once('connect', () => socket.destroy());
    await end;
  }
}

const CROWDS: Readonly<Record<string, readonly [count: number, one: () => Promise<void>]>> = {
  deaf: [64, () => pipeline(false)], greedy: [64, () => pipeline(true)], polite: [8, read], silent: [64, beSilent], knocking: [32, knock],
};
const [count, one] = CROWDS[kind] ?? [0, pause.bind(undefined, 0)];
// A socket that is neither read nor written keeps no process.
setInterval(() => undefined, 1000);
process.stdout.write('at it\n');
await Promise.all(Array.from({ length: count }, () => one()));
