/**
 * What passes a line uncounted. A flowtable carries running connections past the packet filter, where they are counted,
 * and the packets of a tunnel are the router's own, which are left out. The device counts the bytes of both without
 * telling whose they are. So a device says two things only: how full the line is, and that much comes in which nobody
 * counted; then it is not to be said that connections get no answers.
 */
import type { DeviceCount, Instant } from '../model.js';

/** The device is read this often. */
export const DEVICE_EVERY_MS = 250;
/** Without a newer reading it says nothing any more. */
const STALE_MS = 3 * DEVICE_EVERY_MS;
/** What comes in uncounted is plain from this: ARP, broadcasts and answers to probes are less. */
const PLAIN_BYTES_PER_S = 20_000;
/** And when so many times as much came in as was counted: frames are a little larger than the packets in them. */
const COUNTED_TIMES = 2;
const RATE_MS = 1000;

/** Owned by its line's traffic and changed in place. */
export interface Bypass {
  last: DeviceCount | undefined;
  lastAt: Instant;
  /** Bytes per second, over about a second; 0 where nothing passes uncounted. */
  readonly rate: { sent: number; received: number };
  /** By the last reading much came in uncounted. */
  isPlain: boolean;
  /** When that was last so. */
  heardAt: Instant;
  /** It stood against an alarm: a newer reading is wanted at once. */
  inDoubt: boolean;
}

export function openBypass(now: Instant): Bypass {
  return {
    last: undefined, lastAt: now, rate: { sent: 0, received: 0 }, isPlain: false,
    heardAt: -Infinity as Instant, inDoubt: false,
  };
}

/** @param device undefined = it was not read. Counters that fell begin anew. */
export function noteDevice(bypass: Bypass, device: DeviceCount | undefined, now: Instant): void {
  const { last, lastAt, rate } = bypass;
  bypass.inDoubt = false;
  if (device === undefined && now - lastAt <= STALE_MS) return;
  bypass.last = device;
  bypass.lastAt = now;
  const elapsedMs = now - lastAt;
  if (device === undefined || last === undefined || elapsedMs <= 0 || fell(last, device)) {
    bypass.isPlain = false;
    [rate.sent, rate.received] = [0, 0];
    return;
  }
  const received = device.receivedBytes - last.receivedBytes;
  const counted = device.answeredBytes - last.answeredBytes;
  const keep = Math.exp(-elapsedMs / RATE_MS);
  rate.sent = rate.sent * keep + ((1000 * (device.sentBytes - last.sentBytes)) / elapsedMs) * (1 - keep);
  rate.received = rate.received * keep + ((1000 * received) / elapsedMs) * (1 - keep);
  bypass.isPlain = received >= COUNTED_TIMES * counted && received - counted >= (PLAIN_BYTES_PER_S * elapsedMs) / 1000;
  if (bypass.isPlain) bypass.heardAt = now;
}

/** Those that are counted get no answers: does the device say otherwise? Then it is read again at once. */
export function contradicts(bypass: Bypass, now: Instant): boolean {
  bypass.inDoubt = bypass.isPlain && now - bypass.lastAt <= STALE_MS;
  return bypass.inDoubt;
}

function fell(last: DeviceCount, device: DeviceCount): boolean {
  return device.sentBytes < last.sentBytes || device.receivedBytes < last.receivedBytes
    || device.answeredBytes < last.answeredBytes;
}
