/**
 * What readers of the API that mean no good do to the router: how late the daemon is, how long an operator waits for
 * a switch and new flows stand still when a line goes silent, how much memory it takes. Each beside the same without
 * readers, in the same run and lab.
 */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { openLab, type Lab } from '../test/lab/lab.js';
import type { Daemon } from '../test/lab/daemon.js';
import { quantile, row, type Row } from './figures.js';
import { lateness, startWaiting, watchedDaemon } from './pace.js';
import { FORGIVING } from './silence.js';

const pause = async (ms: number): Promise<void> => new Promise((resolve) => void setTimeout(resolve, ms));

const PORT = 9474;
const CROWDS = ['deaf', 'greedy', 'polite', 'silent', 'knocking'] as const;
const SECONDS = 5;
/** The readers take one of two cores themselves: a process that only waits is late, too. */
const LATE_BAR = 5;
const OUTAGE_BAR = 2;
const MEMORY_BAR_MB = 64;

interface Figures {
  readonly lateMs: readonly number[];
  /** Of a process that only waits, meanwhile. */
  readonly bareLateMs: readonly number[];
  readonly switchMs: readonly number[];
  readonly outageMs: readonly number[];
  readonly memoryMb: number;
}

export async function readers(runs: number): Promise<readonly Row[]> {
  const lab = await openLab({ isps: 2 });
  try {
    const config = lab.config({ health: { sensitivity: 'fast', ...FORGIVING }, failback: { hold: '100ms' }, api: { listen: `127.0.0.1:${PORT}` } });
    const bare = await startWaiting(lab);
    const daemon = await lab.startDaemon({ config, environment: watchedDaemon });
    await daemon.ready();
    await pause(3000);
    const alone = await measured(lab, daemon, bare.pid, runs);
    const rows = rowsOf('nobody', alone);
    for (const crowd of CROWDS) {
      const inside = fileURLToPath(new URL('readers-inside.js', import.meta.url));
      const attackers = await lab.start('router', [process.execPath, inside, crowd, String(PORT)]);
      rows.push(...rowsOf(crowd, await measured(lab, daemon, bare.pid, runs), alone));
      attackers.kill('SIGKILL');
      await attackers.exited;
      await pause(2000);
    }
    return rows;
  } finally {
    await lab.close();
  }
}

function rowsOf(crowd: string, figures: Figures, alone?: Figures): Row[] {
  const { lateMs, bareLateMs, switchMs, outageMs, memoryMb } = figures;
  const times = quantile(lateMs, 0.99) / quantile(bareLateMs, 0.99);
  const late = row(`${crowd}: how late the daemon is (p99), in times of a process that only waits`, [times], 'x', `<= ${LATE_BAR} x`, LATE_BAR);
  if (alone === undefined) {
    return [
      late, row(`${crowd}: switch-uplink, kernel read back`, switchMs, 'ms'),
      row(`${crowd}: new flows stand still, upstreamDead`, outageMs, 'ms'), row(`${crowd}: memory`, [memoryMb], 'MB'),
    ];
  }
  const usual = quantile(alone.outageMs, 0.5);
  return [
    late,
    row(`${crowd}: switch-uplink, kernel read back`, switchMs, 'ms'),
    row(`${crowd}: new flows stand still, upstreamDead, in times of nobody's`, outageMs.map((ms) => ms / usual), 'x', `<= ${OUTAGE_BAR} x`, OUTAGE_BAR),
    row(`${crowd}: memory beyond nobody's`, [memoryMb - alone.memoryMb], 'MB', `<= ${MEMORY_BAR_MB} MB`, MEMORY_BAR_MB),
  ];
}

async function measured(lab: Lab, daemon: Daemon, barePid: number, runs: number): Promise<Figures> {
  const [first, second] = lab.isps().map((isp) => isp.name);
  if (first === undefined || second === undefined) throw new Error('the lab has fewer than two ISPs');
  await daemon.untilActive(first, { timeoutMs: 60_000 });
  const latenesses = async (): Promise<readonly [ours: readonly number[], bare: readonly number[]]> => [await lateness(lab, daemon.pid), await lateness(lab, barePid, 'bare')];
  await latenesses();
  await pause(1000 * SECONDS);
  const [lateMs, bareLateMs] = await latenesses();
  const memoryMb = Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${daemon.pid}/status`, 'utf8'))?.[1]) / 1024;
  const switchMs: number[] = [];
  const outageMs: number[] = [];
  for (let run = 0; run < runs; run++) {
    for (const uplink of [second, first]) switchMs.push((await daemon.rest('PUT', '/v1/override', { uplink })).tookMs);
    await daemon.rest('DELETE', '/v1/override');
    await daemon.untilActive(first, { timeoutMs: 60_000 });
    const fresh = await lab.stream({ kind: 'new-udp' });
    await pause(900);
    const fault = await lab.upstreamDead(first);
    outageMs.push((await fresh.outageAfter(fault)).outageMs);
    await fresh.stop();
    await lab.heal(first);
    await daemon.untilActive(first, { timeoutMs: 60_000 });
  }
  return { lateMs, bareLateMs, switchMs, outageMs, memoryMb };
}
