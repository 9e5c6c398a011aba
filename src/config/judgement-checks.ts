/**
 * Thresholds that contradict each other: an uplink that would be good again before it is bad. The two numbers may stand
 * far apart (one for all uplinks, one for this one, one nowhere), so both are named with their place.
 */
import type { Threshold, UplinkPolicy } from '../model.js';
import { writtenDuration } from '../duration.js';
import { type Check, lookUp, placeOf, report, sound, written } from './check.js';
import type { Path } from './problem.js';
import { percentText } from './quantities.js';

export function checkJudgement(check: Check, uplink: UplinkPolicy): void {
  if (!sound(check, ['uplinks', uplink.name, 'health'], ['health'])) return;
  const { lossPercent, latencyMs, jitterMs } = uplink.health.quality;
  checkThreshold(check, uplink, 'loss', lossPercent, percentText);
  checkThreshold(check, uplink, 'latency', latencyMs, writtenDuration);
  checkThreshold(check, uplink, 'jitter', jitterMs, writtenDuration);
  checkDamping(check, uplink);
}

function checkThreshold(check: Check, uplink: UplinkPolicy, name: string, { down, up }: Threshold, text: (value: number) => string): void {
  const [downs, ups] = [placesOf(uplink, 'quality', name, 'down'), placesOf(uplink, 'quality', name, 'up')];
  const place = written(check, [ups[0], downs[0], ups[1], downs[1]]);
  if (place === undefined) return;
  if (down === Infinity && up !== Infinity) {
    report(check, place, `\`${name}\` has an \`up\` and no \`down\`: write \`down\` beside it, beyond which new connections go elsewhere`);
  } else if (up === Infinity && down !== Infinity) {
    report(check, place, `\`${name}\` has a \`down\` and no \`up\`: write \`up\` beside it, such as \`up: ${text(Math.ceil(down / 2))}\`, below which new connections may come back`);
  } else if (up > down) {
    report(check, place, `\`${name}\` is too much from ${stated(check, downs, `down: ${text(down)}`)} on, and fine again below ${stated(check, ups, `up: ${text(up)}`)}: `
      + `\`up\` must not be above \`down\`, write \`up: ${text(down)}\` or less, or a larger \`down\``);
  }
}

function checkDamping(check: Check, uplink: UplinkPolicy): void {
  const { suppress, reuse } = uplink.health.damping;
  if (suppress > reuse) return;
  const [ons, offs] = [placesOf(uplink, 'damping', 'suppress'), placesOf(uplink, 'damping', 'reuse')];
  const place = written(check, [ons[0], offs[0], ons[1], offs[1]]);
  if (place === undefined) return;
  report(check, place, `the uplink comes last from ${stated(check, ons, `suppress: ${suppress}`)} on, and has its place again below ${stated(check, offs, `reuse: ${reuse}`)}: `
    + '`suppress` must be above `reuse`');
}

/** Where a number of `health` may stand: of the uplink, of all. */
function placesOf(uplink: UplinkPolicy, ...path: readonly string[]): readonly [Path, Path] {
  return [['uplinks', uplink.name, 'health', ...path], ['health', ...path]];
}

/** `up: 5%` with what made it so. */
function stated(check: Check, places: readonly Path[], text: string): string {
  const place = places.find((path) => lookUp(check.root, path).rest === 0);
  if (place === undefined) return `\`${text}\` (the default)`;
  const { file, line } = placeOf(check, place);
  return `\`${text}\` (line ${line}${file === check.root.at.file ? '' : ` of ${file}`})`;
}
