/**
 * The pace of many probes: 64 uplinks with three targets each, asked ten times a second. What it costs, and how late the daemon is at what it wanted to do;
 * in the same run, how late a process is that does nothing but wait.
 *
 * The lateness is taken inside the daemon by a module that is loaded before it (lateness-inside.ts) and looks at nothing but its timer: the
 * intervals between probes have dice in them, so that gaps on the wire would not tell.
 */
import type { LabProcess } from '../test/lab/anchor.js';
import { openLab, type Lab } from '../test/lab/lab.js';
import { cpuPercent } from './costs.js';
import { quantile, row, type Row } from './figures.js';
import { manyIsps } from './scale.js';

const pause = async (ms: number): Promise<void> => new Promise((resolve) => void setTimeout(resolve, ms));

const UPLINKS = 64;
const CPU_BAR_PERCENT = 25;
const LATE_BAR_MS = 5;
const INSIDE = new URL('lateness-inside.js', import.meta.url).href;
/** A timer like the daemon's, and nothing to do. */
const BARE = 'const wait = () => setTimeout(() => setImmediate(wait), 5); wait();';

export async function manyProbes(seconds: number): Promise<readonly Row[]> {
  const lab = await openLab({ isps: manyIsps(UPLINKS), vpn: false });
  try {
    const targets = [{ icmp: 'gateway' }, { icmp: '1.1.1.1' }, { icmp: '9.9.9.9' }];
    const config = lab.config({ probe: { interval: '100ms', targets } });
    const daemon = await lab.startDaemon({ config, environment: watched('daemon') });
    const bare = await startWaiting(lab);
    await daemon.ready({ timeoutMs: 60_000 });
    await daemon.until('all uplinks are up', ({ uplinks }) => uplinks.length === UPLINKS && uplinks.every(({ state }) => state === 'up'), { timeoutMs: 60_000 });
    await pause(3000);
    const reports = async (): Promise<readonly [ours: readonly number[], bare: readonly number[]]> => [await lateness(lab, daemon.pid), await lateness(lab, bare.pid, 'bare')];
    await reports();
    const sentBefore = sentOf(await daemon.status());
    const began = performance.now();
    const percent = await cpuPercent(daemon.pid, seconds);
    const [lateMs, bareLateMs] = await reports();
    const perSecond = (1000 * (sentOf(await daemon.status()) - sentBefore)) / (performance.now() - began);
    return [
      row(`${UPLINKS} uplinks x 3 targets x 10/s: probes per second`, [perSecond], ''),
      row(`CPU over ${seconds} s`, [percent], '%', `<= ${CPU_BAR_PERCENT} % of one core`, CPU_BAR_PERCENT),
      row('how late a process is that only waits', bareLateMs, 'ms'),
      row('the same, p99', [quantile(bareLateMs, 0.99)], 'ms'),
      row('how late the daemon is at its probes', lateMs, 'ms'),
      row('the same, p99', [quantile(lateMs, 0.99)], 'ms', `<= ${LATE_BAR_MS} ms`, LATE_BAR_MS),
    ];
  } finally {
    await lab.close();
  }
}

type Watched = 'daemon' | 'bare';

/** A process that does nothing but wait. */
export async function startWaiting(lab: Lab): Promise<LabProcess> {
  return lab.start('client', ['env', ...Object.entries(watched('bare')).map(([name, value]) => `${name}=${value}`), process.execPath, '-e', BARE]);
}

/** @returns since the last time it was asked for, ms */
export async function lateness(lab: Lab, pid: number, who: Watched = 'daemon'): Promise<readonly number[]> {
  process.kill(pid, 'SIGUSR2');
  await pause(300);
  return JSON.parse(await lab.text('router', ['cat', reportOf(who)])) as readonly number[];
}

function reportOf(who: Watched): string {
  return `/run/lateness-${who}.json`;
}

/** The environment of a process whose timer is watched. */
function watched(who: Watched): Readonly<Record<string, string>> {
  return { NODE_OPTIONS: `--import=${INSIDE}`, LATENESS_REPORT: reportOf(who) };
}

export const watchedDaemon = watched('daemon');

function sentOf({ uplinks }: { readonly uplinks: readonly { readonly [key: string]: unknown }[] }): number {
  return uplinks.reduce((sum, { targets }) => sum + (targets as readonly { sent: number }[]).reduce((all, { sent }) => all + sent, 0), 0);
}
