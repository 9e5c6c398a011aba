/** Other people's ICMP on the same device while we probe. Prints what became of our probes, and what lay in our sockets; see flood.test.ts. */
import { spawn } from 'node:child_process';
import { readFileSync, readdirSync, readlinkSync } from 'node:fs';
import { deadline } from '../lab/wait.js';
import { buildWorld, FAR, GATEWAY, ip, line, listen, now, rawSockets, until } from './world.js';

/** So many packets of the flood pass while nobody reads our sockets: more than one of them would hold. */
const UNREAD = 1000;
const PROBES = 40;

/** What floods: `ours` pings from this very machine (its answers come to every raw socket), `theirs` are echo requests to us. */
const floods: Readonly<Record<string, { readonly command: readonly string[]; readonly counted: string }>> = {
  ours: { command: ['ping', '-I', 'wan-a', '-q', '-f', GATEWAY], counted: 'InEchoReps' },
  theirs: { command: ['ip', 'netns', 'exec', 'isp-a', 'ping', '-q', '-f', '192.0.2.2'], counted: 'InEchos' },
};

buildWorld();
ip('link set lo up');
const flood = floods[process.argv[2] ?? ''];
if (flood === undefined) throw new Error('no such flood');
const { prober, ask, send, factOf } = listen();
prober.bind([line('a')]);
const [command = '', ...args] = flood.command;
const flooder = spawn(command, args, { stdio: 'ignore' });
const floodedAt = (from: number, packets: number): boolean => flooded(flood.counted) >= from + packets;
const start = flooded(flood.counted);
await until(() => floodedAt(start, UNREAD));
// The socket for the gateway opens in the midst of the flood, and so does that for FAR below.
await ask('a', GATEWAY);

// The loop does not turn meanwhile.
const before = flooded(flood.counted);
for (const endAt = now() + deadline(); !floodedAt(before, UNREAD) && now() < endAt; );
const passed = flooded(flood.counted) - before;
const own = new Set(readdirSync('/proc/self/fd').map(inodeOf));
const lying = rawSockets().map((row) => row.trim().split(/\s+/)).filter(({ 4: queues, 9: inode }) => own.has(inode) && queues !== '00000000:00000000').length;

const orders = Array.from({ length: PROBES }, (_, i) => send('a', i % 2 === 0 ? GATEWAY : FAR));
await until(() => orders.every((order) => factOf(order) !== undefined));
const during = flooded(flood.counted);
await until(() => floodedAt(during, 1));
flooder.kill('SIGKILL');
prober.close();
process.stdout.write(JSON.stringify({ passed: passed >= UNREAD, lying, answered: orders.filter((order) => factOf(order)?.type === 'reply').length }));
process.exit(0);

/** Of a socket, as the kernel lists it; undefined of anything else, and of the descriptor that listed the folder. */
function inodeOf(fd: string): string | undefined {
  try {
    return /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/self/fd/${fd}`))?.[1];
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** Echo requests or replies that came in here. */
function flooded(name: string): number {
  const [names, values] = readFileSync('/proc/self/net/snmp', 'utf8').split('\n').filter((row) => row.startsWith('Icmp:'));
  return Number(values?.split(' ')[names?.split(' ').indexOf(name) ?? -1]);
}
