/**
 * Lines that work, badly, and what must not happen on them: a lossy one is left by new flows and by no others; a line full of one's own upload, and a target
 * that is dead or limits its answers, are no outage. The last three stand side by side, each in a lab of its own, for as many minutes as wished.
 */
import { openLab, type Lab } from '../test/lab/lab.js';
import type { TopologyWish } from '../test/lab/topology.js';
import { row, type Row } from './figures.js';
import { phaseMs } from './silence.js';

const pause = async (ms: number): Promise<void> => new Promise((resolve) => void setTimeout(resolve, ms));

const LOSS_PERCENT = 40;
const LEAVE_BAR_MS = 30_000;
/** How long the lossy line is watched beyond the bar: new flows that come back to it have not left. */
const WATCHED_MORE_MS = 15_000;

/** Without any knob: this is how the product is shipped. */
export async function poorLine(runs: number): Promise<readonly Row[]> {
  const left: number[] = [];
  const cut: number[] = [];
  for (let run = 0; run < runs; run++) {
    const lab = await openLab();
    try {
      const daemon = await lab.startDaemon({ config: lab.config() });
      await daemon.ready();
      await daemon.untilActive('fibre');
      const [old, tcp, fresh] = await Promise.all([lab.stream({ kind: 'udp', rateHz: 100 }), lab.stream({ kind: 'tcp' }), lab.stream({ kind: 'new-udp', rateHz: 100 })]);
      await pause(2000 + phaseMs());
      const since = (await lab.lossy('fibre', LOSS_PERCENT)).doneAt;
      const samples = await fresh.samples({ since, until: since + LEAVE_BAR_MS + WATCHED_MORE_MS });
      // what was lost went the lossy way
      const last = samples.findLastIndex(({ via }) => via === 'fibre' || via === '');
      left.push(last + 1 < samples.length ? (samples[last]?.at ?? since) - since : Infinity);
      const moved = Object.entries((await old.outage({ since })).via).filter(([via]) => via !== 'fibre').length;
      cut.push(moved + (await tcp.broken({ since })).length);
    } finally {
      await lab.close();
    }
  }
  return [
    row(`${LOSS_PERCENT} % loss on the preferred line: the last new flow on it`, left, 'ms', `<= ${LEAVE_BAR_MS / 1000} s`, LEAVE_BAR_MS),
    row('the same: old flows cut or moved, of one UDP and ten TCP', cut, '', '0', 0),
  ];
}

interface Ordeal {
  readonly what: string;
  readonly wish: TopologyWish;
  /** Begins it. Its result is asked at the end. */
  begin(lab: Lab): Promise<() => Promise<readonly Row[]>>;
  /** What the status must name at the end; undefined = nothing in particular. */
  readonly names: string | undefined;
}

const TARGET = '9.9.9.9';
const NAMED_TARGET = `icmp ${TARGET}`;
/** So slow that the connections fill the buffer within seconds. */
const BLOAT = { rttMs: 20, rateKbit: 4000, queueMs: 400 } as const;
const UPLOADS = 10;
/** From so much on a target is one that people would want named. */
const MISSED_PERCENT = 20;
const nothing = async (): Promise<readonly Row[]> => [];

const ORDEALS: readonly Ordeal[] = [
  {
    what: `full upload (${BLOAT.rateKbit / 1000} Mbit/s, buffer of ${BLOAT.queueMs} ms)`, wish: { lines: { fibre: BLOAT } }, names: undefined,
    async begin(lab) {
      await lab.stream({ kind: 'upload', connections: UPLOADS });
      const beside = await lab.stream({ kind: 'udp', rateHz: 20 });
      return async () => {
        const samples = await beside.samples();
        const rtts = samples.flatMap(({ rttMs }) => (rttMs === undefined ? [] : [rttMs]));
        return [row('the same: RTT of a packet beside it', rtts, 'ms'), row('the same: of which get lost', [100 * (1 - rtts.length / samples.length)], '%')];
      };
    },
  },
  {
    what: 'one of three targets dead', wish: {}, names: NAMED_TARGET,
    async begin(lab) {
      await lab.deadTarget(TARGET);
      return nothing;
    },
  },
  {
    // three uplinks ask it once a second each: two answers of three are missing, perhaps all those of the same two uplinks
    what: 'one of three targets answers once a second for all', wish: {}, names: NAMED_TARGET,
    async begin(lab) {
      await lab.rateLimitTarget(TARGET, 1);
      return nothing;
    },
  },
];

/** @param minutes each, all at the same time */
export async function ordeals(minutes: number): Promise<readonly Row[]> {
  return (await Promise.all(ORDEALS.map(async (ordeal) => endured(ordeal, minutes)))).flat();
}

async function endured({ what, wish, begin, names }: Ordeal, minutes: number): Promise<readonly Row[]> {
  const lab = await openLab(wish);
  try {
    const daemon = await lab.startDaemon({ config: lab.config() });
    await daemon.ready();
    await daemon.until('all uplinks are up and fibre leads', ({ active, uplinks }) => active[0]?.name === 'fibre' && uplinks.every(({ state }) => state === 'up'), { timeoutMs: 30_000 });
    await pause(2000 + phaseMs());
    const before = await generation(daemon);
    const result = await begin(lab);
    await pause(minutes * 60_000);
    const changes = (await generation(daemon)) - before;
    const { uplinks } = await daemon.status();
    const suspicions = uplinks.reduce((sum, uplink) => sum + Number(uplink['suspicions']), 0);
    const unnamed = names === undefined ? [] : [row('the same: uplinks that miss its answers and do not name it', [countUnnamed(uplinks, names)], '', '0', 0)];
    return [
      row(`${what}, ${minutes} minutes: changes of active`, [changes], '', '0', 0),
      row('the same: suspicions of all uplinks', [suspicions], ''),
      ...unnamed, ...(await result()),
    ];
  } finally {
    await lab.close();
  }
}

type Daemon = Awaited<ReturnType<Lab['startDaemon']>>;
type Uplink = Awaited<ReturnType<Daemon['status']>>['uplinks'][number];

async function generation(daemon: Daemon): Promise<number> {
  return ((await daemon.rest('GET', '/v1/active')).body as { generation: number }).generation;
}

/** Infinity where no uplink misses anything: then there was no ordeal. */
function countUnnamed(uplinks: readonly Uplink[], target: string): number {
  const missing = uplinks.filter((uplink) => (uplink['targets'] as readonly TargetView[]).some((one) => one.target === target && (one.lossPercent ?? 0) >= MISSED_PERCENT));
  return missing.length === 0 ? Infinity : missing.filter((uplink) => !isNamed(uplink, target)).length;
}

interface TargetView {
  readonly target: string;
  readonly lossPercent: number | null;
}

/** As a witness that complains. */
function isNamed({ families }: Uplink, target: string): boolean {
  const evidence = families.flatMap((part) => (part as { readonly evidence?: readonly { readonly name: string; readonly says: string }[] }).evidence ?? []);
  return evidence.some(({ name, says }) => name === target && ['silent', 'wrong', 'poor'].includes(says));
}
