/**
 * Outage per fault and sensitivity, of a running flow and of new flows, each fault at a random phase of the probes. In the same run: the kernel
 * alone (two default routes by metric, ignore_routes_with_linkdown, no daemon) and the shell script that people write.
 */
import { openLab, type Lab } from '../test/lab/lab.js';
import { quantile, row, type Row } from './figures.js';

const pause = async (ms: number): Promise<void> => new Promise((resolve) => void setTimeout(resolve, ms));
/** Up to one interval of the slowest cadence. Here dice are wanted. */
const phaseMs = (): number => Number(process.hrtime.bigint() % 1009n);

/** New flows are begun 2 ms apart, packets of the running flow 1 ms: nothing finer can be seen. */
const GRAIN_MS = 2;

interface Outages {
  readonly running: number[];
  readonly fresh: number[];
}

type Fault = 'cutCable' | 'gatewayDead' | 'upstreamDead';
interface Case {
  readonly fault: Fault;
  readonly sensitivity: 'fast' | 'balanced';
  readonly running: number;
  readonly fresh: number;
}

const CASES: readonly Case[] = [
  { fault: 'cutCable', sensitivity: 'balanced', running: 15, fresh: 15 },
  { fault: 'gatewayDead', sensitivity: 'fast', running: 500, fresh: 200 },
  { fault: 'upstreamDead', sensitivity: 'fast', running: 500, fresh: 200 },
  { fault: 'gatewayDead', sensitivity: 'balanced', running: 3300, fresh: 1300 },
  { fault: 'upstreamDead', sensitivity: 'balanced', running: 3300, fresh: 1300 },
];

export async function outages(runs: number): Promise<readonly Row[]> {
  const rows: Row[] = [];
  const alone = await kernelAlone(runs);
  rows.push(row('kernel alone, cable cut: running flow', alone.running, 'ms'), row('kernel alone, cable cut: new flows', alone.fresh, 'ms'));
  for (const { fault, sensitivity, running, fresh } of CASES) {
    const measured = await withDaemon(fault, sensitivity, runs);
    const kernelDoes = (values: readonly number[]): number => (fault === 'cutCable' ? 2 * Math.max(GRAIN_MS, quantile(values, 0.5)) : Infinity);
    const bar = (ms: number): string => `<= ${ms} ms${fault === 'cutCable' ? ' and 2 x the kernel alone' : ''}`;
    rows.push(row(`${fault}, ${sensitivity}: running flow`, measured.running, 'ms', bar(running), Math.min(running, kernelDoes(alone.running))));
    rows.push(row(`${fault}, ${sensitivity}: new flows`, measured.fresh, 'ms', bar(fresh), Math.min(fresh, kernelDoes(alone.fresh))));
  }
  rows.push(row('shell script (ping, ip route replace), upstreamDead: new flows', (await shellScript(Math.min(5, runs))).fresh, 'ms'));
  return rows;
}

/** 50 ms after another port changed, on ports with ifindex = iflink as real NICs have. */
export async function otherPort(runs: number): Promise<readonly Row[]> {
  const alone: number[] = [];
  const ours: number[] = [];
  for (const daemon of [false, true]) {
    const lab = await openLab({ indexEqual: true });
    try {
      if (daemon) await start(lab, 'balanced');
      else await lab.kernelAlone();
      for (let run = 0; run < (daemon ? runs : Math.min(5, runs)); run++) {
        await home(lab, daemon);
        const flow = await lab.stream({ kind: 'udp' });
        await pause(1100 + phaseMs());
        await lab.flipPort();
        await pause(50);
        const fault = await lab.cutCable('fibre');
        (daemon ? ours : alone).push((await flow.outageAfter(fault)).outageMs);
        await flow.stop();
        await lab.plugCable('fibre');
      }
    } finally {
      await lab.close();
    }
  }
  return [
    row('kernel alone, cable cut 50 ms after another port changed', alone, 'ms'),
    row('cable cut 50 ms after another port changed: running flow', ours, 'ms', '<= 30 ms', 30),
  ];
}

/**
 * A TCP connect begun 200 ms before the upstream dies. On a line this short it would stand within a millisecond, so the ISP
 * drops its SYN: what is measured is whether its retransmission finds the other uplink or hangs on the dead one.
 */
export async function earlyConnect(runs: number): Promise<readonly Row[]> {
  const values: number[] = [];
  const lab = await openLab();
  try {
    await start(lab, 'fast');
    for (let run = 0; run < runs; run++) {
      await home(lab, true);
      await pause(phaseMs());
      await lab.text('fibre', ['nft', '-f', '-'], 'table ip held {\n chain f {\n type filter hook forward priority -10;\n tcp flags & (syn|ack) == syn drop\n }\n}\n');
      const connects = await lab.stream({ kind: 'connect', rateHz: 100, answered: false });
      await pause(300);
      const begun = connects.mark();
      await pause(200);
      const fault = await lab.upstreamDead('fibre');
      const connect = await connects.nearest(begun);
      values.push(connect.rttMs === undefined ? Infinity : connect.at + connect.rttMs - fault.beganAt);
      await connects.stop();
      await lab.text('fibre', ['nft', 'delete', 'table', 'ip', 'held']);
      await lab.heal('fibre');
    }
  } finally {
    await lab.close();
  }
  return [row('TCP connect begun 200 ms before upstreamDead, fast: stands after the fault', values, 'ms', '<= 1500 ms', 1500)];
}

/** Packets and connections lost by fail-back and by switch-uplink. */
export async function moves(runs: number): Promise<readonly Row[]> {
  const back = { lost: [] as number[], broken: [] as number[] };
  const switched = { lost: [] as number[], broken: [] as number[] };
  const lab = await openLab();
  try {
    const daemon = await start(lab, 'fast');
    for (let run = 0; run < runs; run++) {
      await home(lab, true);
      await lab.cutCable('fibre');
      await daemon.untilActive('cable');
      const flow = await lab.stream({ kind: 'udp' });
      const tcp = await lab.stream({ kind: 'tcp' });
      await lab.plugCable('fibre');
      await daemon.untilActive('fibre');
      await pause(300);
      back.lost.push((await flow.outage()).lost);
      back.broken.push((await tcp.broken()).length);
      const since = flow.mark();
      for (const uplink of ['lte', 'cable', 'fibre']) {
        await daemon.rest('PUT', '/v1/override', { uplink });
        await pause(150);
      }
      switched.lost.push((await flow.outage({ since })).lost);
      switched.broken.push((await tcp.broken({ since })).length);
      await Promise.all([flow.stop(), tcp.stop()]);
      await daemon.rest('DELETE', '/v1/override');
    }
  } finally {
    await lab.close();
  }
  return [
    row('fail-back: packets lost of a running 1 kHz flow', back.lost, '', '0', 0),
    row('fail-back: TCP connections broken of 10', back.broken, '', '0', 0),
    row('switch-uplink x 3: packets lost of a running 1 kHz flow', switched.lost, '', '0', 0),
    row('switch-uplink x 3: TCP connections broken of 10', switched.broken, '', '0', 0),
  ];
}

/** kill -9, nothing for a second, restart. */
export async function killed(runs: number): Promise<readonly Row[]> {
  const lost: number[] = [];
  const lab = await openLab();
  try {
    let daemon = await start(lab, 'balanced');
    const flow = await lab.stream({ kind: 'udp' });
    for (let run = 0; run < runs; run++) {
      const since = flow.mark();
      await daemon.kill9();
      await pause(500);
      daemon = await lab.startDaemon();
      await daemon.ready();
      await pause(300);
      lost.push((await flow.outage({ since })).lost);
    }
    await flow.stop();
  } finally {
    await lab.close();
  }
  return [row('daemon killed with -9 and restarted: packets lost', lost, '', '0', 0)];
}

async function withDaemon(fault: Fault, sensitivity: 'fast' | 'balanced', runs: number): Promise<Outages> {
  const lab = await openLab();
  const result: Outages = { running: [], fresh: [] };
  try {
    await start(lab, sensitivity);
    for (let run = 0; run < runs; run++) {
      await home(lab, true);
      await measure(lab, fault, result);
    }
  } finally {
    await lab.close();
  }
  return result;
}

async function kernelAlone(runs: number): Promise<Outages> {
  const lab = await openLab();
  const result: Outages = { running: [], fresh: [] };
  try {
    await lab.kernelAlone();
    for (let run = 0; run < runs; run++) {
      await measure(lab, 'cutCable', result);
      await pause(100);
    }
  } finally {
    await lab.close();
  }
  return result;
}

/** One ping a second, one lost is enough: what people write, and about as quick as it gets. */
async function shellScript(runs: number): Promise<Outages> {
  const lab = await openLab();
  const result: Outages = { running: [], fresh: [] };
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
      result.fresh.push((await fresh.outageAfter(applied)).outageMs);
      await fresh.stop();
      await lab.heal('fibre');
    }
  } finally {
    await lab.close();
  }
  return result;
}

async function measure(lab: Lab, fault: Fault, result: Outages): Promise<void> {
  const [flow, fresh] = await Promise.all([lab.stream({ kind: 'udp' }), lab.stream({ kind: 'new-udp' })]);
  await pause(600 + phaseMs());
  const applied = await lab[fault]('fibre');
  const [running, news] = await Promise.all([flow.outageAfter(applied), fresh.outageAfter(applied)]);
  result.running.push(running.outageMs);
  result.fresh.push(news.outageMs);
  await Promise.all([flow.stop(), fresh.stop()]);
  await (fault === 'cutCable' ? lab.plugCable('fibre') : lab.heal('fibre'));
}

type Daemon = Awaited<ReturnType<Lab['startDaemon']>>;
const daemons = new WeakMap<Lab, Daemon>();

/** One success brings an uplink back and the hold is short: that changes how long a run takes, not what is measured. */
async function start(lab: Lab, sensitivity: 'fast' | 'balanced'): Promise<Daemon> {
  const daemon = await lab.startDaemon({ config: lab.config({ health: { sensitivity, up: { successes: 1 } }, failback: { hold: '100ms' } }) });
  await daemon.ready();
  await daemon.untilActive('fibre');
  daemons.set(lab, daemon);
  return daemon;
}

async function home(lab: Lab, daemon: boolean): Promise<void> {
  if (daemon) await daemons.get(lab)?.untilActive('fibre', { timeoutMs: 60_000 });
  else await pause(1500);
}
