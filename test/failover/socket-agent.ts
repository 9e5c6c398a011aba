/**
 * Sockets inside a host of the lab, opened and looked at line by line from outside (sockets.ts); it judges nothing. The far end is the lab's echo server,
 * which says the source address that it saw.
 *
 *   ask    fresh sockets, each for one question, some at a time
 *   hold   one socket that goes on: it sends at a pace, or only listens; with `again` it begins anew the moment it ends
 *   tell   what became of those
 *
 * Orders come on stdin as JSON lines with an `id`, answers leave on stdout; it ends with its stdin. Times are CLOCK_MONOTONIC in ms.
 */
import { createSocket } from 'node:dgram';
import { connect } from 'node:net';
import { createInterface } from 'node:readline';
import type { Answer, Ask, Held, Hold, Order } from './sockets.js';

const now = (): number => Number(process.hrtime.bigint()) / 1e6;
const held: { told: Held; end(): void }[] = [];

const lines = createInterface({ input: process.stdin });
lines.on('line', (line) => void carryOut(JSON.parse(line) as Order & { readonly id: number }));
lines.once('close', () => process.exit(0));
process.stdout.write('ready\n');

async function carryOut(order: Order & { readonly id: number }): Promise<void> {
  process.stdout.write(`${JSON.stringify({ id: order.id, answer: await answerTo(order) })}\n`);
}

async function answerTo(order: Order): Promise<unknown> {
  switch (order.verb) {
    case 'ask':
      return askAll(order);
    case 'hold':
      return begin(order);
    case 'tell':
      return held.map((one) => one.told);
    case 'end':
      for (const one of held.splice(0)) one.end();
      return undefined;
  }
}

async function askAll(order: Ask): Promise<readonly Answer[]> {
  const answers: Answer[] = [];
  for (let n = 0; n < order.count; n += order.atOnce) {
    const some = Array.from({ length: Math.min(order.atOnce, order.count - n) }, (_, i) => (order.protocol === 'udp' ? askUdp : askTcp)(order, n + i));
    answers.push(...(await Promise.all(some)));
  }
  return answers;
}

function askUdp({ to, port, from, sourcePort, patienceMs }: Ask, n: number): Promise<Answer> {
  return new Promise((resolve) => {
    const socket = createSocket(to.includes(':') ? 'udp6' : 'udp4');
    const askedAt = now();
    const end = (seen: string, error: string): void => {
      clearTimeout(patience);
      socket.close();
      resolve({ seen, error, tookMs: now() - askedAt });
    };
    const patience = setTimeout(() => end('', 'silence'), patienceMs);
    socket.once('message', (answer) => end(answer.toString('latin1').split(' ')[1] ?? '', ''));
    socket.once('error', (error) => end('', codeOf(error)));
    socket.bind(sourcePort === 0 ? 0 : sourcePort + n, from === '' ? undefined : from, () => socket.send('1', port, to));
  });
}

function askTcp({ to, port, from, sourcePort, patienceMs }: Ask, n: number): Promise<Answer> {
  return new Promise((resolve) => {
    const askedAt = now();
    const socket = connect({ host: to, port, ...(from === '' ? {} : { localAddress: from }), ...(sourcePort === 0 ? {} : { localPort: sourcePort + n }) });
    const end = (seen: string, error: string): void => {
      clearTimeout(patience);
      socket.removeAllListeners('error');
      socket.on('error', () => undefined); // it is judged already
      socket.resetAndDestroy();
      resolve({ seen, error, tookMs: now() - askedAt });
    };
    const patience = setTimeout(() => end('', 'silence'), patienceMs);
    socket.once('data', (greeting) => end(greeting.toString('latin1').slice(2).trim(), ''));
    socket.once('error', (error) => end('', codeOf(error)));
  });
}

/** Resolves when the far end was heard, or the socket ended before. */
function begin(order: Hold): Promise<number> {
  const told: Held = { began: now(), first: '', seen: '', asked: 0, answered: 0, lastAnswerAt: 0, error: '', endedAt: 0, times: 0, broken: [] };
  const one = { told, end: (): void => undefined };
  const number = held.push(one) - 1;
  return new Promise((resolve) => {
    const heard = (seen: string): void => {
      told.first ||= seen;
      told.seen = seen;
      told.answered++;
      told.lastAnswerAt = now();
      resolve(number);
    };
    if (order.protocol === 'udp') one.end = holdUdp(order, told, heard);
    else one.end = holdTcp(order, told, heard, () => resolve(number));
  });
}

function holdUdp({ to, port, from, sourcePort, everyMs }: Hold, told: Held, heard: (seen: string) => void): () => void {
  const socket = createSocket(to.includes(':') ? 'udp6' : 'udp4');
  let timer: NodeJS.Timeout | undefined;
  socket.on('message', (answer) => heard(answer.toString('latin1').split(' ')[1] ?? ''));
  // Of a connected socket: what came back for a lost packet. It goes on all the same.
  socket.on('error', (error) => (told.error = codeOf(error)));
  const ask = (): void => socket.send(String(++told.asked), () => undefined);
  socket.bind(sourcePort, from === '' ? undefined : from, () => socket.connect(port, to, () => {
    ask();
    timer = setInterval(ask, everyMs);
  }));
  return () => {
    clearInterval(timer);
    socket.close();
  };
}

function holdTcp(order: Hold, told: Held, heard: (seen: string) => void, ended: () => void): () => void {
  const { to, port, from, sourcePort, everyMs, again } = order;
  let over = false;
  let current = open();
  return () => {
    over = true;
    current.destroy();
  };

  function open(): ReturnType<typeof connect> {
    told.times++;
    const socket = connect({ host: to, port, noDelay: true, ...(from === '' ? {} : { localAddress: from }), ...(sourcePort === 0 ? {} : { localPort: sourcePort }) });
    const timer = everyMs === 0 ? undefined : setInterval(() => socket.readyState === 'open' && socket.write(`${++told.asked}\n`), everyMs);
    socket.on('data', (text) => heard(text.toString('latin1').trim().split(/[ \n]/).at(-1) ?? ''));
    socket.on('error', (error) => (told.error = codeOf(error)));
    socket.once('end', () => (told.error ||= 'closed by the far end'));
    socket.once('close', () => {
      clearInterval(timer);
      told.endedAt = now();
      told.broken.push(told.endedAt);
      ended();
      if (again && !over) setTimeout(() => (current = open()), 1);
    });
    return socket;
  }
}

function codeOf(error: Error): string {
  return (error as NodeJS.ErrnoException).code ?? error.message;
}
