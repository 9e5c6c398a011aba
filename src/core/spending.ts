/**
 * What probing costs on the line, in bytes both ways, estimated by method and kept hour by hour for a day: for lines that charge by the byte.
 *
 * A budget stretches the cadence of an uplink that carries nothing, so that what is left of it lasts; whoever carries traffic is watched at his
 * usual pace until the budget is spent, and pays it back on standby.
 */
import type { Family, Instant, Target } from '../model.js';

const HOUR_MS = 3_600_000;
const HOURS = 24;
/** Slower than this nobody is asked, whatever it costs. */
const SLOWEST_ROUND_MS = 60_000;

/** Owned by its uplink and changed in place. */
export interface Spending {
  /** By hour, the present one last. */
  readonly hours: number[];
  hourEndsAt: number;
}

export function openSpending(now: Instant): Spending {
  return { hours: [0], hourEndsAt: now + HOUR_MS };
}

export function spend(spending: Spending, bytes: number, now: Instant): void {
  turn(spending, now);
  spending.hours[spending.hours.length - 1]! += bytes;
}

export function spentBytes(spending: Spending, now: Instant): number {
  turn(spending, now);
  return spending.hours.reduce((sum, bytes) => sum + bytes, 0);
}

/**
 * How long a round of all targets has to take, ms, for the budget of 24 hours to be kept.
 *
 * @param roundBytes what a round costs
 */
export function roundMs(spending: Spending, budgetBytes: number, roundBytes: number, now: Instant): number {
  const fairMs = (roundBytes * HOURS * HOUR_MS) / budgetBytes;
  const left = 1 - spentBytes(spending, now) / budgetBytes;
  // Half of the budget is free to be spent at the fair pace; then the rest has to last.
  return Math.min(SLOWEST_ROUND_MS, left <= 0 ? SLOWEST_ROUND_MS : fairMs / Math.min(1, 2 * left));
}

/** Question and answer, with their IP headers and, for connections, what opens and closes them. */
export function costBytes(target: Target, family: Family): number {
  const header = family === 4 ? 20 : 40;
  switch (target.kind) {
    case 'icmp': return 2 * Math.max(target.sizeBytes, header + 8 + 12);
    case 'hop': return 2 * (header + 8 + 12) + header + 8;
    case 'arp': return family === 4 ? 2 * 28 : 2 * (header + 32);
    case 'tcp': return 4 * (header + 32);
    case 'dns': return 2 * (header + 8 + 12) + 2 * (target.name.length + 6) + 16;
    case 'http': return (target.url.startsWith('https:') ? 6000 : 1000) + 10 * (header + 32);
    case 'exec': return 0;
  }
}

function turn(spending: Spending, now: Instant): void {
  while (now >= spending.hourEndsAt) {
    spending.hours.push(0);
    if (spending.hours.length > HOURS) spending.hours.shift();
    spending.hourEndsAt = Math.max(spending.hourEndsAt + HOUR_MS, now - HOURS * HOUR_MS);
  }
}
