/**
 * Lines that go silent without a word: the upstream or the gateway dies, each time at a random phase of the probes. How long a running flow and new flows
 * stand still while there is traffic, and when new flows leave a line that is idle; on short lines, and on lines that are 40 ± 15 ms long, where two RTTs
 * more are allowed. In the same run: the shell script that people write.
 *
 * A silence lasts from the fault to the first packet that was sent and is answered again. What was under way when the line died is lost on any line, and more of
 * it on a long one; that is not counted.
 *
 * An idle line cannot be measured by traffic, or it would not be idle. What counts there is the instant at which the kernel tells of the first
 * default route that has left for the sake of the fault.
 */
import { createInterface } from 'node:readline';
import { now, openLab, waitFor, type Lab } from '../test/lab/lab.js';
import { row, type Row } from './figures.js';

const pause = async (ms: number): Promise<void> => new Promise((resolve) => void setTimeout(resolve, ms));
/** Up to one interval of the slowest cadence. Here dice are wanted. */
export const phaseMs = (): number => Number(process.hrtime.bigint() % 1009n);

export interface Outages {
  readonly running: number[];
  readonly fresh: number[];
}

type Silence = 'gatewayDead' | 'upstreamDead';
type Sensitivity = 'fast' | 'balanced';
const SILENCES: readonly Silence[] = ['gatewayDead', 'upstreamDead'];

/** Bars in ms, for lines without length. */
const BARS = { fast: { running: 400, fresh: 80 }, balanced: { running: 3300, fresh: 250 } } as const;
const IDLE_BAR_MS = 600;
const FAR = { rttMs: 40, jitterMs: 15 } as const;
const FAR_BAR_MS = 2 * FAR.rttMs;
const SCRIPT_RUNS = 5;

export async function silences(runs: number): Promise<readonly Row[]> {
  const rows: Row[] = [];
  for (const far of [false, true]) {
    const where = far ? `${FAR.rttMs} ± ${FAR.jitterMs} ms` : 'short';
    const moreMs = far ? FAR_BAR_MS : 0;
    for (const sensitivity of ['fast', 'balanced'] as const) {
      for (const [fault, { running, fresh }] of await underTraffic(sensitivity, far, runs)) {
        const bars = BARS[sensitivity];
        rows.push(row(`${fault}, ${sensitivity}, ${where}: new flows`, fresh, 'ms', `<= ${bars.fresh + moreMs} ms`, bars.fresh + moreMs));
        rows.push(row(`${fault}, ${sensitivity}, ${where}: running flow`, running, 'ms', `<= ${bars.running + moreMs} ms`, bars.running + moreMs));
      }
    }
    for (const [fault, left] of await whileIdle(far, runs)) {
      rows.push(row(`${fault}, balanced, ${where}, idle: new flows leave`, left, 'ms', `<= ${IDLE_BAR_MS + moreMs} ms`, IDLE_BAR_MS + moreMs));
    }
  }
  rows.push(row('shell script (ping, ip route replace), upstreamDead: new flows', await shellScript(Math.min(SCRIPT_RUNS, runs)), 'ms'));
  return rows;
}

/** A running flow at 1 kHz and 500 new flows a second. */
export async function measure(lab: Lab, fault: Silence | 'cutCable', result: Outages): Promise<void> {
  const [flow, fresh] = await Promise.all([lab.stream({ kind: 'udp' }), lab.stream({ kind: 'new-udp' })]);
  await pause(600 + phaseMs());
  const applied = await lab[fault]('fibre');
  const [running, news] = await Promise.all([flow.outageAfter(applied), fresh.outageAfter(applied)]);
  const lastedMs = ({ outageMs, endedAt }: typeof running): number => (fault === 'cutCable' || outageMs === 0 ? outageMs : (endedAt ?? Infinity) - applied.beganAt);
  result.running.push(lastedMs(running));
  result.fresh.push(lastedMs(news));
  await Promise.all([flow.stop(), fresh.stop()]);
  await (fault === 'cutCable' ? lab.plugCable('fibre') : lab.heal('fibre'));
}

type Daemon = Awaited<ReturnType<Lab['startDaemon']>>;
const daemons = new WeakMap<Lab, Daemon>();

/** For `health`: one success brings an uplink back and flapping is forgiven. With a short hold that changes how long a run takes, not what is measured. */
export const FORGIVING = { up: { successes: 1 }, damping: { halfLife: '10s', suppress: 100, reuse: 50 } } as const;

export async function start(lab: Lab, sensitivity: Sensitivity): Promise<Daemon> {
  const daemon = await lab.startDaemon({ config: lab.config({ health: { sensitivity, ...FORGIVING }, failback: { hold: '100ms' } }) });
  await daemon.ready();
  await daemon.untilActive('fibre');
  daemons.set(lab, daemon);
  return daemon;
}

/** fibre leads again. */
export async function home(lab: Lab): Promise<void> {
  await daemons.get(lab)?.untilActive('fibre', { timeoutMs: 60_000 });
}

async function underTraffic(sensitivity: Sensitivity, far: boolean, runs: number): Promise<ReadonlyMap<Silence, Outages>> {
  const results = new Map(SILENCES.map((fault): [Silence, Outages] => [fault, { running: [], fresh: [] }]));
  const lab = await openFor(far);
  try {
    await start(lab, sensitivity);
    for (let run = 0; run < runs; run++) {
      for (const [fault, result] of results) {
        await home(lab);
        await measure(lab, fault, result);
      }
    }
  } finally {
    await lab.close();
  }
  return results;
}

async function whileIdle(far: boolean, runs: number): Promise<ReadonlyMap<Silence, number[]>> {
  const results = new Map(SILENCES.map((fault): [Silence, number[]] => [fault, []]));
  const lab = await openFor(far);
  try {
    const daemon = await start(lab, 'balanced');
    const departures: number[] = [];
    const monitor = await lab.start('router', ['ip', 'monitor', 'route']);
    if (monitor.child.stdout !== null) createInterface({ input: monitor.child.stdout }).on('line', (line) => /^Deleted default .*dev isp0/.test(line) && departures.push(now()));
    for (let run = 0; run < runs; run++) {
      for (const [fault, left] of results) {
        await home(lab);
        await pause(1500 + phaseMs());
        const before = departures.length;
        const { beganAt } = await lab[fault]('fibre');
        await waitFor('a default route leaves', () => departures[before], (at) => at !== undefined, { timeoutMs: 20_000 });
        left.push((departures[before] ?? Infinity) - beganAt);
        await daemon.until('fibre is down', ({ uplinks }) => uplinks[0]?.state === 'down', { timeoutMs: 20_000 });
        await lab.heal('fibre');
      }
    }
  } finally {
    await lab.close();
  }
  return results;
}

async function openFor(far: boolean): Promise<Lab> {
  return openLab(far ? { lines: { fibre: FAR, cable: FAR, lte: FAR } } : {});
}

/** One ping a second, one lost is enough: what people write, and about as quick as it gets. */
async function shellScript(runs: number): Promise<readonly number[]> {
  const lab = await openLab();
  const left: number[] = [];
  try {
    await lab.kernelAlone();
    const [fibre, cable] = lab.isps();
    if (fibre === undefined || cable === undefined) throw new Error('the lab has fewer than two ISPs');
    const route = (isp: typeof fibre): string => `ip route replace default via ${isp.gateway} dev ${isp.device} metric 10`;
    await lab.ip('router', `route add 1.1.1.1 via ${fibre.gateway} dev ${fibre.device}`);
    const script = `while :; do if ping -c 1 -W 1 -I ${fibre.device} 1.1.1.1 >/dev/null; then ${route(fibre)}; else ${route(cable)}; fi; sleep 1; done`;
    await lab.start('router', ['sh', '-c', script]);
    for (let run = 0; run < runs; run++) {
      await pause(2500);
      const fresh = await lab.stream({ kind: 'new-udp', to: '9.9.9.9' });
      await pause(500 + phaseMs());
      const applied = await lab.upstreamDead('fibre');
      left.push((await fresh.outageAfter(applied)).outageMs);
      await fresh.stop();
      await lab.heal('fibre');
    }
  } finally {
    await lab.close();
  }
  return left;
}
