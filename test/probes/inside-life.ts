/** The prober as a part of a process: what keeps it alive, what may kill it. Prints JSON; see life.test.ts for what it must be. */
import { spawnSync } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { openProber } from '../../src/probes/prober.js';
import { deadline } from '../lab/wait.js';
import { playAsked, type Stories } from './asked.js';
import type { Ended } from './namespace.js';
import { answerBy, answerByKernel, buildWorld, FAR, GATEWAY, icmp, line, listen, now, targetOf, until } from './world.js';

const SELF = fileURLToPath(import.meta.url);
const ECHO = targetOf(icmp(GATEWAY));

/** What the story found, or nothing when its end is the finding. */
const stories: Stories = {
  /** Closed with a probe in flight and one queued: node must end by itself, and nothing is reported any more. */
  async closed() {
    const { prober, ask, send, facts } = listen();
    prober.bind([line('a'), line('b')]);
    await ask('a', GATEWAY);
    send('a', '203.0.113.200');
    send('b', 'nonsense');
    const before = facts.length;
    prober.close();
    prober.send({ uplink: 'a', family: 4, target: ECHO, address: GATEWAY, seq: 99 });
    prober.bind([line('a')]);
    prober.close();
    await sleep(50);
    return { before, after: facts.length };
  },

  /** Closed by the first of two facts that wait to be told. */
  async closedByFact() {
    let told = 0;
    const prober = openProber({
      now,
      report: () => {
        told++;
        prober.close();
      },
    });
    for (const seq of [1, 2]) prober.send({ uplink: 'nobody', family: 4, target: ECHO, address: GATEWAY, seq });
    await sleep(20);
    return { told };
  },

  /** Not closed, but nothing in flight. */
  async idle() {
    const { prober, ask } = listen();
    prober.bind([line('a')]);
    return { first: await ask('a', GATEWAY), second: await ask('a', FAR) };
  },

  /** Garbage is collected hard while answers are under way (needs --expose-gc). */
  async garbage() {
    const collect = globalThis.gc;
    if (collect === undefined) throw new Error('run me with --expose-gc');
    await answerBy('a', 'wait:100', 'reply');
    const { prober, send, factOf } = listen();
    prober.bind([line('a'), line('b')]);
    const orders = Array.from({ length: 100 }, () => send('a', GATEWAY));
    for (let i = 0; i < 20; i++) {
      collect();
      await sleep(10);
    }
    const afterIdle = send('b', GATEWAY);
    collect();
    await until(() => [...orders, afterIdle].every((order) => factOf(order) !== undefined));
    const answered = [...orders, afterIdle].filter((order) => factOf(order)?.type === 'reply').length;
    prober.close();
    await answerByKernel('a');
    return { answered };
  },

  /** An error of whoever takes the facts must end the process, not pass for an error of the socket. */
  async thrower() {
    const prober = openProber({
      now,
      report: () => {
        throw new Error('a bug in the daemon');
      },
    });
    prober.bind([line('a')]);
    prober.send({ uplink: 'a', family: 4, target: ECHO, address: GATEWAY, seq: 1 });
    await sleep(deadline());
    return 'survived';
  },

  /** Promises that the daemon makes on a fact run at once, not when something else wakes the loop. */
  async promises() {
    const order: string[] = [];
    const prober = openProber({
      now,
      report: () => {
        setImmediate(() => order.push('the loop turned'));
        void Promise.resolve().then(() => order.push('the promise went on'));
      },
    });
    prober.bind([line('a')]);
    prober.send({ uplink: 'a', family: 4, target: ECHO, address: GATEWAY, seq: 1 });
    await until(() => order.length === 2);
    prober.close();
    return order;
  },

  /** Without CAP_NET_RAW. */
  async openWithoutRights() {
    const { prober, ask } = listen();
    prober.bind([line('a')]);
    const answers = [await ask('a', GATEWAY), await ask('a', GATEWAY)];
    prober.close();
    return answers;
  },
};

const WITHOUT_RIGHTS = ['setpriv', '--bounding-set', '-net_raw', '--inh-caps', '-net_raw'];

/** This very script again, for a story that is the life of a process of its own. */
async function live(story: string, prefix: readonly string[] = []): Promise<Ended> {
  const [program = '', ...args] = [...prefix, process.execPath, SELF, story];
  const { stdout, stderr, status, signal } = spawnSync(program, args, { encoding: 'utf8', timeout: deadline(), killSignal: 'SIGKILL' });
  return Promise.resolve({ stdout, stderr, how: signal ?? status });
}

const story = process.argv[2] ?? '';
if (story === '') {
  buildWorld();
  const lives = Object.fromEntries(['closed', 'idle', 'thrower'].map((name) => [name, () => live(name)]));
  await playAsked({ ...stories, ...lives, openWithoutRights: () => live('openWithoutRights', WITHOUT_RIGHTS) });
}
process.stdout.write(JSON.stringify(await stories[story]?.()));
