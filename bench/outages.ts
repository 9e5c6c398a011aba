/**
 * Outages that the link tells of, of a running flow and of new flows, and moves that nobody should notice. In the same run: the kernel alone (two default
 * routes by metric, ignore_routes_with_linkdown, no daemon). Faults that only probes and traffic can find are in silence.ts.
 */
import { openLab } from '../test/lab/lab.js';
import { quantile, row, type Row } from './figures.js';
import { home, measure, phaseMs, start, type Outages } from './silence.js';

const pause = async (ms: number): Promise<void> => new Promise((resolve) => void setTimeout(resolve, ms));

/** New flows are begun 2 ms apart, packets of the running flow 1 ms: nothing finer can be seen. */
const GRAIN_MS = 2;

/** No outage is longer than so much, and twice what the kernel alone has. */
const BAR_MS = 15;

export async function outages(runs: number): Promise<readonly Row[]> {
  const [alone, ours] = [await cutCables(false, runs), await cutCables(true, runs)];
  const rows = (['running', 'fresh'] as const).map((flow): Row => {
    const barMs = Math.min(BAR_MS, 2 * Math.max(GRAIN_MS, quantile(alone[flow], 0.5)));
    return row(`cutCable, balanced: ${NAMES[flow]}`, ours[flow], 'ms', `<= ${BAR_MS} ms and 2 x the kernel alone`, barMs);
  });
  return [row('kernel alone, cable cut: running flow', alone.running, 'ms'), row('kernel alone, cable cut: new flows', alone.fresh, 'ms'), ...rows];
}

const NAMES = { running: 'running flow', fresh: 'new flows' } as const;

async function cutCables(daemon: boolean, runs: number): Promise<Outages> {
  const lab = await openLab();
  const result: Outages = { running: [], fresh: [] };
  try {
    if (daemon) await start(lab, 'balanced');
    else await lab.kernelAlone();
    for (let run = 0; run < runs; run++) {
      if (daemon) await home(lab);
      await measure(lab, 'cutCable', result);
      await pause(100);
    }
  } finally {
    await lab.close();
  }
  return result;
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
        if (daemon) await home(lab);
        else await pause(1500);
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
      await home(lab);
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
      await home(lab);
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
