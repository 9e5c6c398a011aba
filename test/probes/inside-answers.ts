/** What comes back for a probe, right, wrong, late and too often. Prints the facts as JSON; see answers.test.ts for what they must be. */
import koffi from 'koffi';
import { readdirSync, readlinkSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { playAsked, type Stories } from './asked.js';
import { answerBy, buildWorld, echoesAt, FAR, GATEWAY, line, listen, rawSockets, SILENCE_MS, until, type Listener } from './world.js';

/** Each says who answers for a; b is left as it is. */
const stories: Stories = {
  redirect: () => played(['redirect', 'wait:20', 'reply'], 1),
  unreachable: () => played(['unreachable'], 1),
  errorElsewhere: () => played(['elsewhere'], 0),
  /** An error first and the answer after all: both are facts. */
  unreachableThenReply: () => played(['unreachable', 'unreachable', 'wait:20', 'reply'], 2),
  duplicates: () => played(['reply', 'reply', 'wait:20', 'reply'], 1),
  late: () => played(['wait:2500', 'reply'], 1),
  forged: () => played(['forged'], 0),
  forgedThenReply: () => played(['forged', 'wait:20', 'reply'], 1),
  forgedError: () => played(['forgedError'], 0),
  bare: () => played(['bare'], 1),
  foreignIdentifier: () => played(['foreign'], 0),
  otherSequence: () => played(['next'], 0),
  /** answerer.ts answers from eth0's address; the far address was asked. */
  wrongAddress: () => played(['reply'], 0, FAR),
  /** An error about a probe to the gateway ends only that one. */
  async errorAndOthers() {
    const { prober, send, factOf } = await listenTo('unreachable');
    const toGateway = send('a', GATEWAY);
    const toB = send('b', GATEWAY);
    await until(() => factOf(toGateway) !== undefined && factOf(toB) !== undefined);
    await sleep(SILENCE_MS);
    prober.close();
    return [factOf(toGateway)?.type ?? 'silence', factOf(toB)?.type ?? 'silence'];
  },

  /** Two with different delays in flight to the same target: each answer finds its own question. */
  async interleaved() {
    const { prober, send, factOf } = await listenTo('wait:200', 'reply');
    const first = send('a', GATEWAY);
    await sleep(100);
    const second = send('a', GATEWAY);
    await until(() => factOf(first) !== undefined && factOf(second) !== undefined);
    prober.close();
    return [first, second].map((order) => {
      const fact = factOf(order);
      return fact?.type === 'reply' ? Math.round(fact.rttMs) : -1;
    });
  },

  /** Two uplinks on one device, the same target: each hears only the answer to its own probe. */
  async twins() {
    const { prober, send, factOf } = await listenTo('wait:200', 'reply');
    prober.bind([line('a'), line('a', { uplink: 'twin' })]);
    const first = send('a', GATEWAY);
    await sleep(100);
    const second = send('twin', GATEWAY);
    await until(() => factOf(first) !== undefined && factOf(second) !== undefined);
    prober.close();
    return [first, second].map((order) => {
      const fact = factOf(order);
      return fact?.type === 'reply' ? Math.round(fact.rttMs) : -1;
    });
  },

  /** Sequences are counted up to 65535 and begin again: no probe may be lost or mistaken there. */
  async wrap() {
    const { prober, send, facts } = listen();
    prober.bind([line('b')]);
    let answered = 0;
    for (let round = 0; round < 340; round++) {
      const orders = Array.from({ length: 200 }, () => send('b', GATEWAY)); // a receive queue holds about 250
      await until(() => facts.length >= orders.length);
      const answers = new Set(facts.splice(0).map((fact) => (fact.type === 'reply' ? fact.seq : -1)));
      answered += orders.filter((order) => answers.has(order.seq)).length;
    }
    prober.close();
    return { answered };
  },

  /** More in flight than we keep: the surplus is told at once, and there is room again when they are forgotten. */
  async bounded() {
    const { prober, send, facts } = await listenTo('wait:15000');
    const before = echoesAt('a');
    const orders = Array.from({ length: 1010 }, () => send('a', GATEWAY));
    await until(() => facts.length >= 10);
    const refused = facts.length;
    const error = facts[0]?.type === 'lost' ? facts[0].error : '';
    await sleep(10_300);
    const told = facts.length - refused;
    const echoes = echoesAt('a') - before;
    const later = send('a', GATEWAY);
    await sleep(50);
    const room = !facts.some((fact) => fact.seq === later.seq);
    prober.close();
    return { orders: orders.length, refused, error, told, echoes, room };
  },

  /**
   * A socket that breaks: IP_RECVERR makes the kernel put an ICMP error on the socket itself, and reading fails.
   * It is replaced after a second, by one that is bound again.
   */
  async broken() {
    const listener = listen();
    const { prober, ask, send, factOf } = listener;
    await answerBy('a', 'unreachable');
    prober.bind([line('a'), line('b')]);
    const otherBefore = await ask('b', FAR);
    const worded = await ask('a', GATEWAY);
    const before = rawSockets().length;
    letIcmpErrorsBreakSockets();
    const stranded = send('a', GATEWAY);
    const breaking = await ask('a', GATEWAY);
    await until(() => factOf(stranded) !== undefined);
    const fact = factOf(stranded);
    const meanwhile = await ask('a', GATEWAY);
    const during = rawSockets().length;
    const other = await ask('b', FAR);
    await sleep(1050);
    const replaced = await ask('a', GATEWAY);
    const after = rawSockets().length;
    prober.close();
    return { otherBefore, worded, breaking, stranded: fact?.type === 'lost' ? fact.error : 'silence', meanwhile, other, replaced, sockets: [before, during, after, rawSockets().length] };
  },
};

async function listenTo(...answers: readonly string[]): Promise<Listener> {
  await answerBy('a', ...answers);
  const listener = listen();
  listener.prober.bind([line('a'), line('b')]);
  return listener;
}

/** One probe of a, these answers, and every fact that came of it: so many are waited for, and some time for one more. */
async function played(answers: readonly string[], expected: number, address = GATEWAY): Promise<unknown> {
  const { prober, send, facts } = await listenTo(...answers);
  send('a', address);
  await until(() => facts.length >= expected);
  await sleep(SILENCE_MS);
  prober.close();
  return facts.map((fact) => (fact.type === 'reply' ? { type: 'reply', rttMs: fact.rttMs } : { type: 'lost', error: fact.error }));
}

function letIcmpErrorsBreakSockets(): void {
  const setsockopt = koffi.load('libc.so.6').func('int setsockopt(int fd, int level, int option, const int *value, uint32_t length)');
  const inodes = rawSockets().map((row) => row.trim().split(/\s+/)[9]);
  for (const fd of readdirSync('/proc/self/fd')) {
    const inode = /^socket:\[(\d+)\]$/.exec(linkOf(fd))?.[1];
    if (inode !== undefined && inodes.includes(inode) && setsockopt(Number(fd), 0, 11, [1], 4) !== 0) throw new Error(`IP_RECVERR on ${fd} failed`);
  }
}

function linkOf(fd: string): string {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return ''; // the descriptor that listed the folder
    throw error;
  }
}

buildWorld();
await playAsked(stories);
