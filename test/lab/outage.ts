/**
 * From samples to outages. Pure.
 *
 * A sample is one question sent: a packet of a running flow, the only packet of a new flow, a TCP connect. An outage is the time from the last
 * question that was answered to the next one that is, less one interval: a flow that loses nothing has 0. The sender's own stalls, when it
 * was not given the processor and so asked nothing, are told apart. One at the edge of an outage is taken off it, because nobody knows what the network
 * did meanwhile; one between two lost questions belongs to the outage.
 */

export interface Sample {
  /** When it was sent, or the connect begun; `now()` scale. */
  readonly at: number;
  /** Until the answer came, or the connection stood; undefined = not answered so far. */
  readonly rttMs: number | undefined;
  /** The ISP whose address the far end saw, else that address itself; '' = not answered; `ungreeted` = a connection that stood, of which the far end told nothing. */
  readonly via: string;
  /** The address that the far end saw, where one was told. */
  readonly seen?: string;
  /** Which connection (TCP streams); else 0. */
  readonly connection: number;
}

export interface Outage {
  /** The longest stretch without answers, less the sender's stalls at its edges. 0 = none. */
  readonly outageMs: number;
  /** When the last question before it was answered, and when the first one after it was sent; undefined = it has not ended, or there is none. */
  readonly startedAt: number | undefined;
  readonly endedAt: number | undefined;
  /** All stretches together. */
  readonly totalMs: number;
  readonly sent: number;
  readonly lost: number;
  /** Questions answered, by the ISP that carried them: `{ fibre: 512, cable: 80 }`. */
  readonly via: Readonly<Record<string, number>>;
  readonly worstRttMs: number;
  /** The sender's own stalls in the window. A large figure says: measure again. */
  readonly stalledMs: number;
}

/** A gap between two questions that is longer than this many intervals is a stall of the sender. */
const STALL_INTERVALS = 3;

/** @param samples in the order of sending, already cut to the window of interest */
export function outageOf(samples: readonly Sample[], intervalMs: number): Outage {
  let longest: Stretch | undefined;
  let totalMs = 0;
  for (const stretch of stretchesOf(samples, intervalMs)) {
    totalMs += stretch.ms;
    if (longest === undefined || stretch.ms > longest.ms) longest = stretch;
  }
  const via: Record<string, number> = {};
  for (const { via: name } of samples) if (name !== '') via[name] = (via[name] ?? 0) + 1;
  return {
    outageMs: rounded(longest?.ms ?? 0),
    startedAt: longest?.startedAt,
    endedAt: longest?.endedAt,
    totalMs: rounded(totalMs),
    sent: samples.length,
    lost: samples.filter((sample) => sample.rttMs === undefined).length,
    via,
    worstRttMs: rounded(samples.reduce((worst, sample) => Math.max(worst, sample.rttMs ?? 0), 0)),
    stalledMs: rounded(samples.reduce((sum, _, i) => sum + stallBefore(samples, i, intervalMs), 0)),
  };
}

interface Stretch {
  readonly ms: number;
  readonly startedAt: number | undefined;
  readonly endedAt: number | undefined;
}

/** Runs of unanswered questions. */
function stretchesOf(samples: readonly Sample[], intervalMs: number): readonly Stretch[] {
  const stretches: Stretch[] = [];
  for (let first = 0; first < samples.length; first++) {
    if (samples[first]?.rttMs !== undefined) continue;
    let next = first;
    while (next < samples.length && samples[next]?.rttMs === undefined) next++;
    const stalledMs = stallBefore(samples, first, intervalMs) + (next < samples.length ? stallBefore(samples, next, intervalMs) : 0);
    const startedAt = samples[first - 1]?.at;
    const endedAt = samples[next]?.at;
    const from = startedAt ?? (samples[first]?.at ?? 0) - intervalMs;
    const to = endedAt ?? (samples.at(-1)?.at ?? 0) + intervalMs;
    stretches.push({ ms: Math.max(0, to - from - intervalMs - stalledMs), startedAt, endedAt });
    first = next;
  }
  return stretches;
}

function stallBefore(samples: readonly Sample[], index: number, intervalMs: number): number {
  const gapMs = (samples[index]?.at ?? 0) - (samples[index - 1]?.at ?? samples[index]?.at ?? 0);
  return gapMs > STALL_INTERVALS * intervalMs ? gapMs - intervalMs : 0;
}

function rounded(ms: number): number {
  return Math.round(ms * 1000) / 1000;
}
