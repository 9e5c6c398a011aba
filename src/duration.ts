/**
 * Durations as people write them, in config, API and command line alike: `90s`, `1h30m`, `1.5d`, `250ms`. The largest unit first, each at most once;
 * all but milliseconds may have a fraction.
 */

const NUMBER = '([0-9]{1,9}(?:[.][0-9]{1,3})?)';

/** Of the whole text; as JSON Schema takes it. */
export const DURATION_PATTERN = `^(?=.)(?:${NUMBER}d)?(?:${NUMBER}h)?(?:${NUMBER}m)?(?:${NUMBER}s)?(?:([0-9]{1,9})ms)?$`;

const UNITS = [['d', 86_400_000], ['h', 3_600_000], ['m', 60_000], ['s', 1000], ['ms', 1]] as const;
const DURATION = new RegExp(DURATION_PATTERN);

/** `90s` → 90000, `1h30m` → 5400000. @returns milliseconds, rounded to a thousandth; undefined for anything that is no duration */
export function parseDuration(text: string): number | undefined {
  const parts = DURATION.exec(text);
  if (parts === null) return undefined;
  const ms = UNITS.reduce((sumMs, [, unitMs], i) => sumMs + Number(parts[i + 1] ?? 0) * unitMs, 0);
  return Math.round(ms * 1000) / 1000;
}

/** As it would be written, without loss: `1m30s`, `24h`, `1500ms`. @param ms a whole number */
export function writtenDuration(ms: number): string {
  if (ms % 1000 !== 0) return `${ms}ms`;
  let rest = ms;
  let text = '';
  for (const [unit, unitMs] of UNITS.slice(1)) {
    const count = Math.floor(rest / unitMs);
    if (count > 0) text += `${count}${unit}`;
    rest -= count * unitMs;
  }
  return text === '' ? '0s' : text;
}
