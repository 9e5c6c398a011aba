/**
 * Thresholds of quality and of damping as they are in force for an uplink: key by key the uplink's own over the
 * common section over the default. The word `off` holds at its place, for all that is below it, until somebody more
 * special writes a number there.
 */
import type { DampingPolicy, HealthPolicy, QualityPolicy, Threshold } from '../model.js';
import { HEALTH, type HealthSettings } from './schema-health.js';

/** @param own of the uplink @param common of all */
export function judgementOf(own: HealthSettings, common: HealthSettings): Pick<HealthPolicy, 'quality' | 'damping'> {
  return { quality: qualityOf(own.quality, common.quality), damping: dampingOf(own.damping, common.damping) };
}

/** Whatever is measured, it does not matter. */
const OFF: Threshold = { down: Infinity, up: Infinity };

type Quality = HealthSettings['quality'];
type Damping = HealthSettings['damping'];
type Written = 'off' | { readonly down?: number | undefined; readonly up?: number | undefined } | undefined;

function qualityOf(own: Quality, common: Quality): QualityPolicy {
  const { loss, latency, window } = HEALTH.keys.quality.keys;
  const [mine, all] = [partsOf(own), partsOf(common)];
  return {
    lossPercent: threshold(mine.loss, all.loss, { down: loss.keys.down.default, up: loss.keys.up.default }),
    latencyMs: threshold(mine.latency, all.latency, { down: latency.keys.down.default, up: latency.keys.up.default }),
    jitterMs: threshold(mine.jitter, all.jitter, OFF),
    windowMs: mine.window ?? all.window ?? window.default,
  };
}

function partsOf(quality: Quality): Exclude<Quality, 'off' | undefined> {
  return quality === 'off' ? { loss: 'off', latency: 'off', jitter: 'off' } : quality ?? {};
}

/** A section with nothing in it says nothing. */
function threshold(own: Written, common: Written, standard: Threshold): Threshold {
  const layers = [own, common].filter((layer) => layer === 'off' || layer?.down !== undefined || layer?.up !== undefined);
  if (layers[0] === 'off') return OFF;
  const numbers = layers.map((layer) => (layer === 'off' ? {} : layer ?? {}));
  return {
    down: numbers[0]?.down ?? numbers[1]?.down ?? standard.down,
    up: numbers[0]?.up ?? numbers[1]?.up ?? standard.up,
  };
}

function dampingOf(own: Damping, common: Damping): DampingPolicy {
  const { halfLife, suppress, reuse } = HEALTH.keys.damping.keys;
  const layers = [own, common].filter((layer) => layer === 'off' || Object.keys(layer ?? {}).length > 0);
  const [first = {}, second = {}] = layers.map((layer) => (layer === 'off' || layer === undefined ? {} : layer));
  return {
    halfLifeMs: first.halfLife ?? second.halfLife ?? halfLife.default,
    suppress: layers[0] === 'off' ? Infinity : first.suppress ?? second.suppress ?? suppress.default,
    reuse: first.reuse ?? second.reuse ?? reuse.default,
  };
}
