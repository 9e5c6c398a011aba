/**
 * Big against small in the same run: 64 uplinks, 256 policies and 10,000 foreign routes against two uplinks and nothing; 200,000
 * connections against an empty table. What counts is the ratio.
 */
import { fileURLToPath } from 'node:url';
import { assignSlots, DEFAULT_MARK_MASK, markOf } from '../src/core/layout.js';
import { openLab, type Lab } from '../test/lab/lab.js';
import type { IspWish } from '../test/lab/topology.js';
import { quantile, row, type Row } from './figures.js';
import { FORGIVING } from './silence.js';

const pause = async (ms: number): Promise<void> => new Promise((resolve) => void setTimeout(resolve, ms));
const phaseMs = (): number => Number(process.hrtime.bigint() % 307n);

const UPLINKS = 64;
const POLICIES = 256;
const FOREIGN_ROUTES = 10_000;
const CONNECTIONS = 200_000;

interface Figures {
  readonly failover: number[];
  readonly turn: number[];
  readonly start: number[];
}

export async function scale(runs: number): Promise<readonly Row[]> {
  const nothing = async (): Promise<void> => undefined;
  const small = await measured({ open: async () => openLab({ isps: 2 }), more: {}, once: nothing, eachTime: nothing }, runs);
  const full = await measured({ open: async () => openLab({ isps: 2 }), more: {}, once: fill, eachTime: fill }, runs);
  const big = await measured({ open: async () => openLab({ isps: manyIsps(UPLINKS) }), more: { policies: manyPolicies() }, once: foreignRoutes, eachTime: nothing }, runs);
  return [
    row('two uplinks, nothing else: new flows stand still, upstreamDead', small.failover, 'ms'),
    row(`${CONNECTIONS} connections: the same`, full.failover, 'ms', '<= 1.5 x', 1.5 * quantile(small.failover, 0.5)),
    row(`${UPLINKS} uplinks, ${POLICIES} policies, ${FOREIGN_ROUTES} foreign routes: the same`, big.failover, 'ms', '<= 2 x', 2 * quantile(small.failover, 0.5)),
    row('two uplinks: switch-uplink, kernel read back', small.turn, 'ms'),
    row(`${CONNECTIONS} connections: the same`, full.turn, 'ms'),
    row(`${UPLINKS} uplinks, ${POLICIES} policies, ${FOREIGN_ROUTES} foreign routes: the same`, big.turn, 'ms'),
    row('two uplinks: from start to ready', small.start, 'ms'),
    row(`${CONNECTIONS} connections: the same`, full.start, 'ms'),
    row(`${UPLINKS} uplinks, ${POLICIES} policies, ${FOREIGN_ROUTES} foreign routes: the same`, big.start, 'ms'),
  ];
}

interface Size {
  readonly open: () => Promise<Lab>;
  /** Keys of the config. */
  readonly more: object;
  readonly once: (lab: Lab) => Promise<unknown>;
  readonly eachTime: (lab: Lab) => Promise<unknown>;
}

async function measured(size: Size, runs: number): Promise<Figures> {
  const figures: Figures = { failover: [], turn: [], start: [] };
  const lab = await size.open();
  try {
    await size.once(lab);
    const config = lab.config({ health: { sensitivity: 'fast', ...FORGIVING }, failback: { hold: '100ms' }, ...size.more });
    const began = performance.now();
    const daemon = await lab.startDaemon({ config });
    await daemon.ready({ timeoutMs: 60_000 });
    figures.start.push(performance.now() - began);
    const [first, second] = lab.isps().map((isp) => isp.name);
    if (first === undefined || second === undefined) throw new Error('the lab has fewer than two ISPs');
    for (let run = 0; run < runs; run++) {
      await daemon.untilActive(first, { timeoutMs: 60_000 });
      for (const uplink of [second, first]) figures.turn.push((await daemon.rest('PUT', '/v1/override', { uplink })).tookMs);
      await daemon.rest('DELETE', '/v1/override');
      await size.eachTime(lab);
      const fresh = await lab.stream({ kind: 'new-udp' });
      await pause(900 + phaseMs());
      const fault = await lab.upstreamDead(first);
      figures.failover.push((await fresh.outageAfter(fault)).outageMs);
      await fresh.stop();
      await pause(1500);
      await lab.heal(first);
    }
  } finally {
    await lab.close();
  }
  return figures;
}

/** At most 250. */
export function manyIsps(count: number): readonly IspWish[] {
  return Array.from({ length: count }, (_, n) => ({ name: `isp-${n}`, prefix: `198.18.${n}.0/24`, gateway: `198.18.${n}.1`, router: `198.18.${n}.2` }));
}

/** Each with addresses and ports of its own; in eight different orders of uplinks. */
function manyPolicies(): readonly object[] {
  return Array.from({ length: POLICIES }, (_, n) => ({
    name: `policy-${n}`, source: `192.168.1.${200 + (n % 50)}`, protocol: 'tcp', ports: 1000 + n, use: [`isp-${n % 8}`, `isp-${(n % 8) + 8}`],
  }));
}

/** Connections of the uplink that is to fail; those that are left of a former run count. */
async function fill(lab: Lab): Promise<void> {
  const [first = '', second = ''] = lab.isps().map((isp) => isp.name);
  const mark = markOf(assignSlots([first, second], new Map()).get(first) ?? 0, DEFAULT_MARK_MASK);
  await lab.text('router', [process.execPath, fileURLToPath(new URL('fill-inside.js', import.meta.url)), String(CONNECTIONS), String(mark)]);
}

async function foreignRoutes(lab: Lab): Promise<void> {
  const routes = Array.from({ length: FOREIGN_ROUTES }, (_, n) => `route add 10.${64 + (n >> 8)}.${n & 255}.0/24 dev lan0 proto bird`);
  await lab.text('router', ['ip', '-batch', '-'], `${routes.join('\n')}\n`);
}
