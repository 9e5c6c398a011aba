/** Load sharing and reload: what share each line gets, and whom a change or a death of one line disturbs. */
import { openLab } from '../test/lab/lab.js';
import type { Sample } from '../test/lab/outage.js';
import { row, type Row } from './figures.js';
import { FORGIVING } from './silence.js';

const pause = async (ms: number): Promise<void> => new Promise((resolve) => void setTimeout(resolve, ms));
const FLOWS = 2000;
const CONNECTIONS = 60;

/** Fibre and cable share 3:1. */
export async function sharing(runs: number): Promise<readonly Row[]> {
  const offPoints: number[] = [];
  const moved: number[] = [];
  const broken: number[] = [];
  const lab = await openLab();
  try {
    const [fibre, cable] = lab.isps();
    const line = (isp: typeof fibre, weight: number): object => ({ interface: isp?.device, gateway: isp?.gateway, priority: 1, weight });
    const config = lab.config({ uplinks: { fibre: line(fibre, 3), cable: line(cable, 1) }, health: { sensitivity: 'fast', ...FORGIVING }, failback: { hold: '100ms' } });
    const daemon = await lab.startDaemon({ config });
    await daemon.ready();
    const both = async (): Promise<unknown> => daemon.until('both share the load', ({ active }) => active.length === 2, { timeoutMs: 30_000 });
    for (let run = 0; run < runs; run++) {
      await both();
      const fresh = await lab.stream({ kind: 'new-udp', rateHz: 1000 });
      const since = fresh.mark();
      const { via } = await fresh.outage({ since, until: since + FLOWS });
      await fresh.stop();
      const all = Object.values(via).reduce((sum, count) => sum + count, 0);
      offPoints.push(Math.abs(100 * ((via['fibre'] ?? 0) / all) - 75));

      const old = await lab.stream({ kind: 'tcp', connections: CONNECTIONS, rateHz: 600 });
      await pause(300);
      const before = viaOf(await old.samples());
      const fault = await lab.upstreamDead('cable');
      await pause(1500);
      const after = viaOf(await old.samples({ since: fault.doneAt + 1200 }));
      const healthy = [...before].filter(([, uplink]) => uplink === 'fibre').map(([connection]) => connection);
      moved.push(healthy.filter((connection) => after.get(connection) !== 'fibre').length);
      const broke = new Set((await old.broken()).map((one) => one.connection));
      broken.push(healthy.filter((connection) => broke.has(connection)).length);
      await old.stop();
      await lab.heal('cable');
    }
  } finally {
    await lab.close();
  }
  return [
    row(`weights 3:1, ${FLOWS} flows: distance from 75 %`, offPoints, 'pt', '<= 5 points', 5),
    row(`one of two dies: of ${CONNECTIONS} TCP connections, moved though on the healthy one`, moved, '', '0', 0),
    row('the same: broken though on the healthy one', broken, '', '0', 0),
  ];
}

/** A third uplink is added while two carry, a weight is changed, and it is taken away again. */
export async function reloads(runs: number): Promise<readonly Row[]> {
  const lost: number[] = [];
  const broken: number[] = [];
  const lab = await openLab();
  try {
    const whole = lab.config({ failback: { hold: '100ms' } });
    const uplinks = whole['uplinks'] as Readonly<Record<string, object>>;
    const { lte, ...two } = uplinks;
    const heavier = { ...uplinks, cable: { ...uplinks['cable'], weight: 7 } };
    const daemon = await lab.startDaemon({ config: { ...whole, uplinks: two } });
    await daemon.ready();
    await daemon.untilActive('fibre');
    if (lte === undefined) throw new Error('the lab has no lte');
    for (let run = 0; run < runs; run++) {
      const [flow, tcp] = await Promise.all([lab.stream({ kind: 'udp' }), lab.stream({ kind: 'tcp' })]);
      for (const set of [uplinks, heavier, two]) {
        daemon.configure({ ...whole, uplinks: set });
        const answer = await daemon.rest('POST', '/v1/reload');
        if (answer.status !== 200) throw new Error(`POST /v1/reload: ${answer.status} ${JSON.stringify(answer.body)}`);
        await pause(400);
      }
      lost.push((await flow.outage()).lost);
      broken.push((await tcp.broken()).length);
      await Promise.all([flow.stop(), tcp.stop()]);
    }
  } finally {
    await lab.close();
  }
  return [
    row('reload adds an uplink, changes a weight, takes the uplink away: packets lost of a running 1 kHz flow', lost, '', '0', 0),
    row('the same: TCP connections broken of 10', broken, '', '0', 0),
  ];
}

/** By which uplink each connection was answered last. */
function viaOf(samples: readonly Sample[]): ReadonlyMap<number, string> {
  return new Map(samples.filter((sample) => sample.rttMs !== undefined).map((sample) => [sample.connection, sample.via]));
}

