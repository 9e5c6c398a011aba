/**
 * Loaded into the daemon before it, by `node --import`: notes how late its timer is. The daemon has one timer for all that is due, sets it anew after every
 * event, and does its turn in the immediate that the timer asks for; its timer is known by that. Other timers are passed over.
 *
 * A timer that is set anew with no time left was due when the one before it was: what puts it off is lateness, too.
 * On SIGUSR2 it writes what it noted since the last time, in ms, to the file in LATENESS_REPORT.
 */
import { writeFileSync } from 'node:fs';

const plainTimeout = globalThis.setTimeout;
const plainImmediate = globalThis.setImmediate;
let noted: number[] = [];
/** Of the timer that was set last and has not been served. */
let dueAt: number | undefined;
/** The timer's callback runs. */
let ringing = false;

function watchedTimeout(callback: (...args: unknown[]) => void, delayMs = 0, ...args: unknown[]): NodeJS.Timeout {
  if (!String(callback).includes('setImmediate(')) return plainTimeout(callback, delayMs, ...args);
  dueAt = delayMs > 0 || dueAt === undefined ? performance.now() + delayMs : Math.min(dueAt, performance.now());
  return plainTimeout(() => {
    ringing = true;
    callback(...args);
    ringing = false;
  }, delayMs);
}

function watchedImmediate(callback: (...args: unknown[]) => void, ...args: unknown[]): NodeJS.Immediate {
  if (!ringing) return plainImmediate(callback, ...args);
  return plainImmediate(() => {
    if (dueAt !== undefined) noted.push(Math.max(0, performance.now() - dueAt));
    dueAt = undefined;
    callback(...args);
  });
}

globalThis.setTimeout = Object.assign(watchedTimeout, plainTimeout);
globalThis.setImmediate = Object.assign(watchedImmediate, plainImmediate);
process.on('SIGUSR2', () => {
  writeFileSync(process.env['LATENESS_REPORT'] ?? '/dev/null', JSON.stringify(noted));
  noted = [];
});
