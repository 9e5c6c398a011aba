/** Other people's ICMP on the same device while we probe. Prints what it did to our RTT; see flood.test.ts. */
import { spawn } from 'node:child_process';
import { text as textOf } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { buildWorld, FAR, GATEWAY, ip, line, listen } from './world.js';

const FLOOD_SECONDS = 2;

/** What floods: `ours` pings from this very machine (its answers come to every raw socket), `theirs` are echo requests to us. */
const floods: Readonly<Record<string, readonly (readonly string[])[]>> = {
  none: [],
  ours: [['ping', '-I', 'wan-a', '-q', '-f', '-w', String(FLOOD_SECONDS), GATEWAY], ['ping', '-I', 'wan-a', '-q', '-f', '-w', String(FLOOD_SECONDS), GATEWAY]],
  theirs: [['ip', 'netns', 'exec', 'isp-a', 'ping', '-q', '-f', '-w', String(FLOOD_SECONDS), '192.0.2.2']],
};

buildWorld();
ip('link set lo up');
const flood = process.argv[2] ?? '';
const { prober, send, factOf } = listen();
prober.bind([line('a')]);
const flooders = (floods[flood] ?? []).map(([command = '', ...args]) => spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'] }));
const printed = Promise.all(flooders.map(async (flooder) => await textOf(flooder.stdout)));
await sleep(200);
// What came between the opening of the socket and its filter is read off first: it may fill the buffer, and cost the first answer.
send('a', GATEWAY);
await sleep(100);
const cpuBefore = process.cpuUsage();
const orders = [];
for (let i = 0; i < 80; i++) {
  orders.push(send('a', i % 2 === 0 ? GATEWAY : FAR));
  await sleep(20);
}
await sleep(100);
const cpu = process.cpuUsage(cpuBefore);
const rtts = orders.flatMap((order) => {
  const fact = factOf(order);
  return fact?.type === 'reply' ? [fact.rttMs] : [];
}).sort((a, b) => a - b);
prober.close();
const flooded = (await printed).reduce((sum, text) => sum + Number(/(\d+) packets transmitted/.exec(text)?.[1] ?? 0), 0);
const p = (share: number): number => rtts[Math.floor(rtts.length * share)] ?? -1;
process.stdout.write(JSON.stringify({ sent: orders.length, answered: rtts.length, p50: p(0.5), p95: p(0.95), worst: rtts.at(-1), cpuMs: (cpu.user + cpu.system) / 1000, flooded }));
process.exit(0);
