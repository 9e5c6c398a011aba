/** Runs as root of fresh namespaces, between the two ISPs of test/probes/world.ts: measures what flood.ts shows. Its argument says what floods. Prints JSON. */
import { spawn } from 'node:child_process';
import { text as textOf } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';
import { buildWorld, FAR, GATEWAY, ip, line, listen } from '../test/probes/world.js';
import type { FloodFigures } from './flood.js';

const SECONDS = 4;
const PROBES = 150;

/** `ours` pings from this very machine (its answers come to every raw socket), `theirs` are echo requests to us. */
const FLOODS: Readonly<Record<string, readonly (readonly string[])[]>> = {
  none: [],
  ours: [['ping', '-I', 'wan-a', '-q', '-f', '-w', String(SECONDS), GATEWAY], ['ping', '-I', 'wan-a', '-q', '-f', '-w', String(SECONDS), GATEWAY]],
  theirs: [['ip', 'netns', 'exec', 'isp-a', 'ping', '-q', '-f', '-w', String(SECONDS), '192.0.2.2']],
};

buildWorld();
ip('link set lo up');
const { prober, ask, send, factOf } = listen();
prober.bind([line('a')]);
const flooders = (FLOODS[process.argv[2] ?? ''] ?? []).map(([command = '', ...args]) => spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'] }));
const printed = Promise.all(flooders.map(async (flooder) => await textOf(flooder.stdout)));
await delay(300);
// What came between the opening of the socket and its filter is read off first.
await ask('a', GATEWAY);
const before = process.cpuUsage();
const began = performance.now();
const orders = [];
for (let i = 0; i < PROBES; i++) {
  orders.push(send('a', i % 2 === 0 ? GATEWAY : FAR));
  await delay(20);
}
const { user, system } = process.cpuUsage(before);
const cpuPercent = (user + system) / 10 / (performance.now() - began);
await delay(100);
const rttMs = orders.map((order) => {
  const fact = factOf(order);
  return fact?.type === 'reply' ? fact.rttMs : Infinity;
});
prober.close();
const flooded = (await printed).reduce((sum, text) => sum + Number(/(\d+) packets transmitted/.exec(text)?.[1] ?? 0), 0) / SECONDS;
const figures: FloodFigures = { flooded, rttMs: rttMs.map((ms) => (ms === Infinity ? 10_000 : ms)), cpuPercent };
process.stdout.write(JSON.stringify(figures), () => process.exit(0));
