/** What it costs: the REST call, the route switch beside spawning `ip`, CPU and memory at rest. */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { openLab } from '../test/lab/lab.js';
import { row, type Row } from './figures.js';

const pause = async (ms: number): Promise<void> => new Promise((resolve) => void setTimeout(resolve, ms));

export async function rest(runs: number): Promise<readonly Row[]> {
  const took: number[] = [];
  const lab = await openLab();
  try {
    const daemon = await lab.startDaemon({ config: lab.config() });
    await daemon.ready();
    for (let run = 0; run < runs; run++) {
      const answer = await daemon.rest('PUT', '/v1/override', { uplink: run % 2 === 0 ? 'cable' : 'fibre' });
      if (answer.status !== 200) throw new Error(`PUT /v1/override: ${answer.status} ${JSON.stringify(answer.body)}`);
      took.push(answer.tookMs);
      await pause(20);
    }
  } finally {
    await lab.close();
  }
  return [row('PUT /v1/override: answered with the kernel read back', took, 'ms', '<= 5 ms', 5)];
}

/** Both replace the same default route in a namespace of their own. */
export async function routeSwitch(): Promise<readonly Row[]> {
  const lab = await openLab({ isps: 2 });
  try {
    const inside = fileURLToPath(new URL('route-inside.js', import.meta.url));
    const text = await lab.text('router', [process.execPath, inside]);
    const { netlinkUs, spawnUs } = JSON.parse(text) as { netlinkUs: number[]; spawnUs: number[] };
    const ratios = spawnUs.map((spawned, i) => spawned / netlinkUs[i]!);
    const sorted = [...ratios].sort((a, b) => a - b);
    const ratio = sorted[Math.floor(sorted.length / 2)]!;
    return [
      row('route switch by our netlink, acknowledged', netlinkUs, 'us'),
      row('route switch by spawning ip', spawnUs, 'us'),
      { what: 'spawning ip / our netlink', values: ratios, unit: 'x', bar: '>= 100 x', within: ratio >= 100 },
    ];
  } finally {
    await lab.close();
  }
}

export async function footprint(seconds: number): Promise<readonly Row[]> {
  const lab = await openLab();
  try {
    const daemon = await lab.startDaemon({ config: lab.config() });
    await daemon.ready();
    await pause(3000);
    const percent = await cpuPercent(daemon.pid, seconds);
    const rssKb = Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${daemon.pid}/status`, 'utf8'))?.[1]);
    return [
      row(`CPU at rest over ${seconds} s, three uplinks x three targets at 1/s, with its children`, [percent], '%', '<= 2 % of one core', 2),
      row(`CPU per minute`, [percent * 600], 'ms'),
      row('RSS', [rssKb / 1024], 'MiB', '<= 95 MB', 95e6 / 1024 / 1024),
    ];
  } finally {
    await lab.close();
  }
}

/** A routing daemon that cannot make up its mind: foreign routes come and go in main as fast as `ip -batch` writes them. */
export async function flapping(seconds: number): Promise<readonly Row[]> {
  const lab = await openLab();
  try {
    const daemon = await lab.startDaemon({ config: lab.config() });
    await daemon.ready();
    await pause(3000);
    const calm = await cpuPercent(daemon.pid, seconds);
    const prefixes = Array.from({ length: 2000 }, (_, n) => `10.${64 + (n >> 8)}.${n & 255}.0/24`);
    const batch = [...prefixes.map((prefix) => `route add ${prefix} dev lan0 proto bird`), ...prefixes.map((prefix) => `route del ${prefix} dev lan0 proto bird`)];
    await lab.text('router', ['tee', '/run/flapping'], `${batch.join('\n')}\n`);
    const flapper = await lab.start('router', ['sh', '-c', 'while ip -batch /run/flapping; do echo; done']);
    let rounds = 0;
    flapper.child.stdout?.on('data', (bytes: Buffer) => (rounds += bytes.length));
    await pause(500);
    const before = rounds;
    const busy = await cpuPercent(daemon.pid, seconds);
    const rate = ((rounds - before) * batch.length) / seconds;
    return [
      row('foreign routes that come or go, per second', [rate], ''),
      row('CPU at rest, for comparison', [calm], '%'),
      row('CPU while they do', [busy], '%', '<= 5 % of one core', 5),
    ];
  } finally {
    await lab.close();
  }
}

/** Of one core, with its children. */
export async function cpuPercent(pid: number, seconds: number): Promise<number> {
  const before = cpuMs(pid);
  const began = performance.now();
  await pause(seconds * 1000);
  return (100 * (cpuMs(pid) - before)) / (performance.now() - began);
}

/** User and system time, its own and that of children it waited for (proc(5), fields 14 to 17). */
function cpuMs(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/^.*\) /, '').split(' ');
  const ticks = fields.slice(11, 15).reduce((sum, field) => sum + Number(field), 0);
  return (ticks * 1000) / Number(spawnSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }).stdout);
}
