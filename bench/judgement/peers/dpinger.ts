/**
 * dpinger 3.5 under a gateway group: of the echoes of the last `time_period` 60 s those older than `loss_interval` without an answer are lost; loss
 * over `losshigh` 20 % (whole percents, rounded down) or a mean round trip over `latencyhigh` 500 ms is an alarm, looked at each second. A group leaves a member in alarm.
 *
 *   pfSense   an echo each 500 ms, loss_interval 2 s; the alarm ends 10 s after both figures fell; by default the gateway is asked
 *   OPNsense  an echo each second, loss_interval 4 s; no hold; its watcher polls each second and sleeps 10 s after an alarm
 *
 * With all members in alarm every one counts as up. States are not killed by default, and keep their line.
 */
import type { Dice } from '../../../test/sim/dice.js';
import type { View } from '../line.js';
import { apart, type Contestant, type Opinion } from './monitor.js';

interface Settings {
  readonly host: string;
  readonly intervalMs: number;
  readonly lossIntervalMs: number;
  readonly holdMs: number;
  /** Between the alarm and the watcher that acts on it. */
  readonly pollMs: number;
  readonly sleepMs: number;
}

const PERIOD_MS = 60_000;
const ALERT_MS = 1000;
const LOSS_HIGH_PERCENT = 20;
const LATENCY_HIGH_MS = 500;
/** Fewer than these say nothing: dpinger was just started. */
const SAMPLES_AT_LEAST = 4;

const PFSENSE = { intervalMs: 500, lossIntervalMs: 2000, holdMs: 10_000, pollMs: 0, sleepMs: 0 };
const OPNSENSE = { intervalMs: 1000, lossIntervalMs: 4000, holdMs: 0, pollMs: 1000, sleepMs: 10_000 };

export const PFSENSE_GATEWAY = grouped('pfSense, gateway', 'dpinger and a gateway group, asking the gateway (the default)', { ...PFSENSE, host: 'gateway' });
export const PFSENSE_PUBLIC = grouped('pfSense, 8.8.8.8', 'the same, asking a public address (as users set it)', { ...PFSENSE, host: '8.8.8.8' });
export const OPNSENSE_PUBLIC = grouped('OPNsense, 8.8.8.8', 'dpinger with its 1 s echoes, asking a public address, monitoring enabled', { ...OPNSENSE, host: '8.8.8.8' });

function grouped(name: string, about: string, settings: Settings): Contestant {
  return apart(name, about, (view, dice, storm) => watch(view, dice, storm.lengthMs, settings), { nothingUp: 'first', flowsFollow: 'line' });
}

interface Sample {
  readonly sentAt: number;
  readonly rttMs: number | undefined;
}

function watch(view: View, dice: Dice, lengthMs: number, settings: Settings): readonly Opinion[] {
  const opinions: Opinion[] = [];
  let samples: Sample[] = [];
  let up = true;
  let clearAt = Infinity;
  let awakeAt = 0;
  const phase = dice.between(0, settings.intervalMs);
  let sendAt = phase;
  for (let at = phase + dice.between(0, ALERT_MS); at < lengthMs; at += ALERT_MS) {
    for (; sendAt <= at; sendAt += settings.intervalMs) samples.push({ sentAt: sendAt, rttMs: view.ask(settings.host, sendAt, dice) });
    samples = recent(samples, at);
    if (!view.at(at).carrier) {
      // rc.linkup: the group leaves it at once, and the next linkup starts dpinger anew.
      samples = [];
      if (!up) opinions.push({ at, up: true });
      up = true;
      clearAt = Infinity;
      continue;
    }
    const alarm = isAlarming(samples, at, settings);
    if (!alarm) clearAt = Math.min(clearAt, at + settings.holdMs);
    else clearAt = Infinity;
    if (up ? !alarm : at < clearAt) continue;
    const actsAt = Math.max(at + dice.between(0, settings.pollMs), awakeAt);
    if (actsAt > at + ALERT_MS) continue;
    up = !up;
    awakeAt = actsAt + settings.sleepMs;
    opinions.push({ at: actsAt, up });
  }
  return opinions;
}

function recent(samples: Sample[], now: number): Sample[] {
  let old = 0;
  while (old < samples.length && samples[old]!.sentAt <= now - PERIOD_MS) old++;
  return old === 0 ? samples : samples.slice(old);
}

function isAlarming(samples: readonly Sample[], now: number, { lossIntervalMs }: Settings): boolean {
  let received = 0;
  let lost = 0;
  let sumMs = 0;
  for (const { sentAt, rttMs } of samples) {
    if (rttMs !== undefined && sentAt + rttMs <= now) {
      received++;
      sumMs += rttMs;
    } else if (sentAt <= now - lossIntervalMs) lost++;
  }
  if (received + lost < SAMPLES_AT_LEAST) return false;
  return Math.floor((100 * lost) / (received + lost)) > LOSS_HIGH_PERCENT || (received > 0 && sumMs / received > LATENCY_HIGH_MS);
}
