/**
 * The agents of nat-ground.ts: a process in another network namespace that sends and answers datagrams, opens and accepts connections, and sets
 * the sysctls of its namespace. One order per line goes in, one answer per line comes out; one agent serves all tests of a file.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { deadline } from '../lab/wait.js';

export const PORT = 7000;
/** The server listens there, TCP. */
export const TCP_PORT = 7801;

/** By the file below /proc/sys. */
export type Sysctls = Readonly<Record<string, number>>;

export interface Agent {
  /** Sends one datagram from the socket called `flow` and gives the answer, '' = none came in a minute. `from` = its address. */
  ask(flow: string, to: string, port?: number, from?: string): Promise<string>;
  /** Sends one and waits for nothing. `heard` tells of the answer. */
  send(flow: string, to: string, port?: number, from?: string): Promise<void>;
  /** The answer that came to this socket since it sent last, '' = none so far. */
  heard(flow: string): Promise<string>;
  /** Resolves when all that lay in its sockets has been taken in, and answered. */
  settled(): Promise<void>;
  /** Answers on that address from now on. */
  answer(address: string, port?: number): Promise<void>;
  /** Sends so many datagrams, each from a socket of its own, one per ms; resolves when all are out. */
  storm(to: string, count: number): Promise<void>;
  /** Accepts connections on that address from now on and answers `yes` to whatever is said. */
  listen(address: string): Promise<void>;
  /** Says something on every connection that was accepted and stands. */
  speak(): Promise<void>;
  /** Ends those connections, with a reset. */
  hangUp(): Promise<void>;
  /** Those of its network namespace. */
  setSysctls(values: Sysctls): Promise<void>;
  /** Connects to the server; '' = done, else the error, or `silence` for so long (a minute). */
  open(flow: string, to: string, ownPort?: number, patienceMs?: number): Promise<string>;
  /** Says something on a connection; the answer, or the error's code, '' = neither came in a minute. */
  say(flow: string): Promise<string>;
  shut(flow: string): Promise<void>;
  end(): void;
}

export function agentIn(where: string): Agent {
  const child: ChildProcess = spawn('ip', ['netns', 'exec', where, process.execPath, '-e', AGENT], { stdio: ['pipe', 'pipe', 'inherit'] });
  const waiting: ((line: string) => void)[] = [];
  if (child.stdout === null) throw new Error('the agent has no output');
  createInterface({ input: child.stdout }).on('line', (line) => waiting.shift()?.(JSON.parse(line) as string));
  const order = (words: object): Promise<string> => new Promise((resolve) => {
    waiting.push(resolve);
    child.stdin?.write(`${JSON.stringify(words)}\n`);
  });
  return {
    ask: (flow, to, port = PORT, from = '') => order({ do: 'ask', flow, to, port, from }),
    send: async (flow, to, port = PORT, from = '') => void (await order({ do: 'send', flow, to, port, from })),
    heard: (flow) => order({ do: 'heard', flow }),
    settled: async () => void (await order({ do: 'settled' })),
    answer: async (address, port = PORT) => void (await order({ do: 'answer', address, port })),
    storm: async (to, count) => void (await order({ do: 'storm', to, port: PORT, count })),
    listen: async (address) => void (await order({ do: 'listen', address, port: TCP_PORT })),
    speak: async () => void (await order({ do: 'speak' })),
    hangUp: async () => void (await order({ do: 'hangUp' })),
    setSysctls: async (values) => void (await order({ do: 'setSysctls', values })),
    open: (flow, to, ownPort = 0, patienceMs = deadline()) => order({ do: 'open', flow, to, port: TCP_PORT, ownPort, patienceMs }),
    say: (flow) => order({ do: 'say', flow }),
    shut: async (flow) => void (await order({ do: 'shut', flow })),
    end: () => void child.kill('SIGKILL'),
  };
}

/** One order per line in, one JSON string per order out, in order. */
const AGENT = `
const { createSocket } = require('node:dgram');
const { connect, createServer } = require('node:net');
const sockets = new Map();
const streams = new Map();
const accepted = new Set();
const make = (to) => createSocket(to.includes(':') ? 'udp6' : 'udp4');
const patienceMs = ${deadline()};
const orders = {
  async send({ flow, to, port, from }) {
    if (!sockets.has(flow)) {
      sockets.set(flow, { socket: make(to), answer: '', tell: () => undefined });
      if (from !== '') await new Promise((resolve) => sockets.get(flow).socket.bind(0, from, resolve));
      sockets.get(flow).socket.on('message', (text) => { const own = sockets.get(flow); own.answer ||= text.toString(); own.tell(own.answer); });
    }
    const own = sockets.get(flow);
    own.answer = '';
    return await new Promise((resolve) => own.socket.send('?', port, to, () => resolve('')));
  },
  heard: ({ flow }) => sockets.get(flow).answer,
  async ask(order) {
    await orders.send(order);
    const own = sockets.get(order.flow);
    return await new Promise((resolve) => {
      if (own.answer !== '') return resolve(own.answer);
      const timer = setTimeout(() => resolve(''), patienceMs);
      own.tell = (text) => { clearTimeout(timer); resolve(text); };
    });
  },
  // Each turn of the event loop reads all sockets.
  async settled() {
    for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
    return '';
  },
  answer({ address, port }) {
    const socket = make(address);
    socket.on('message', (_, from) => socket.send(from.address, from.port, from.address));
    return new Promise((resolve) => socket.bind(port, address, () => resolve('')));
  },
  listen({ address, port }) {
    const server = createServer((socket) => {
      accepted.add(socket);
      socket.on('data', () => socket.write('yes')).on('error', () => socket.destroy()).on('close', () => accepted.delete(socket));
    });
    return new Promise((resolve) => server.listen(port, address, () => resolve('')));
  },
  speak() {
    for (const socket of accepted) socket.write('!');
    return '';
  },
  hangUp() {
    for (const socket of accepted) socket.resetAndDestroy();
    return '';
  },
  setSysctls({ values }) {
    for (const [file, value] of Object.entries(values)) require('node:fs').writeFileSync('/proc/sys/' + file, String(value));
    return '';
  },
  open({ flow, to, port, ownPort, patienceMs }) {
    return new Promise((resolve) => {
      const socket = connect({ host: to, port, localPort: ownPort });
      const timer = setTimeout(() => { socket.destroy(); resolve('silence'); }, patienceMs);
      streams.set(flow, socket);
      socket.once('connect', () => { clearTimeout(timer); socket.removeAllListeners('error').on('error', () => socket.destroy()); resolve(''); });
      socket.once('error', (failure) => { clearTimeout(timer); socket.destroy(); resolve(failure.code); });
    });
  },
  say({ flow }) {
    const socket = streams.get(flow);
    return new Promise((resolve) => {
      const timer = setTimeout(() => resolve(''), patienceMs);
      const tell = (text) => { clearTimeout(timer); socket.removeAllListeners('data'); resolve(text); };
      socket.removeAllListeners('data').once('data', (data) => tell(data.toString())).once('error', (failure) => tell(failure.code));
      socket.write('?');
    });
  },
  shut({ flow }) {
    streams.get(flow)?.resetAndDestroy();
    return '';
  },
  storm({ to, port, count }) {
    return new Promise((resolve) => {
      let sent = 0;
      const timer = setInterval(() => {
        const socket = make(to);
        socket.send('!', port, to, () => socket.close());
        if (++sent === count) { clearInterval(timer); setTimeout(() => resolve(''), 50); }
      }, 1);
    });
  },
};
let last = Promise.resolve();
require('node:readline').createInterface({ input: process.stdin }).on('line', (line) => {
  const order = JSON.parse(line);
  last = last.then(() => orders[order.do](order)).then((answer) => console.log(JSON.stringify(answer)));
}).on('close', () => process.exit());
`;
