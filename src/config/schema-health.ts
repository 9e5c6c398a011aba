/**
 * The part of the schema that says what is made of the answers: suspicion, death, return, quality, and how much
 * flapping is enough. Some defaults hang on the word `sensitivity`; schema.ts has what it stands for.
 */
import type { SectionField, SettingsOf } from './fields.js';

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;

const DOWN = 'Beyond it the uplink is degraded: new connections go elsewhere, if anything is better.';
const UP = 'Below it they may come back.';

const LOSS = { type: 'percent', min: 0.1, max: 100, apply: 'live' } as const;
const TIME = { type: 'duration', minMs: 1, maxMs: 1 * MINUTE, apply: 'live' } as const;

export const HEALTH = {
  type: 'section',
  about: 'What is made of the replies: suspicion moves new flows away at once, silence that lasts cuts the old flows over too.',
  keys: {
    sensitivity: {
      type: 'choice', of: ['fast', 'balanced', 'calm'], default: 'balanced', apply: 'live',
      about: 'One word for `probe.interval`, `suspect`, `down` and `up`. A number that is written wins over it.',
    },
    suspect: {
      type: 'section', about: 'When new flows leave an uplink.',
      keys: {
        failures: {
          type: 'integer', min: 1, max: 100, default: { preset: 'failures' }, unit: 'missed replies', apply: 'live',
          about: 'So many missed replies in a row of one target start a burst of probes to all targets.',
        },
        burst: {
          type: 'integer', min: 0, max: 20, default: { preset: 'burst' }, unit: 'probes', apply: 'live',
          about: 'So many quick probes per target confirm the suspicion. 0 believes the missed reply as it is.',
        },
      },
    },
    down: {
      type: 'section', about: 'When the old flows are cut over too.',
      keys: {
        after: {
          type: 'duration', minMs: 20, maxMs: 1 * HOUR, default: { preset: 'afterMs' }, apply: 'live',
          about: 'Silence of that length, counted from the first missed probe.',
        },
      },
    },
    up: {
      type: 'section', about: 'When an uplink that was down is used again.',
      keys: {
        successes: {
          type: 'integer', min: 1, max: 1000, default: { preset: 'successes' }, unit: 'replies', apply: 'live',
          about: 'So many replies in a row.',
        },
      },
    },
    quality: {
      type: 'section', off: true, alsoCalled: ['thresholds', 'sla', 'performance'],
      about: 'When an uplink that works, badly, is left by new connections. Running ones stay. `off`: loss and latency are measured and shown, and decide nothing. Of the targets beyond the gateway the better half is believed, and nothing is judged while the line is full of our own traffic.',
      keys: {
        loss: {
          type: 'section', off: true, alsoCalled: ['losspercent', 'packetloss', 'loss_percent'], about: 'Share of the probes that get no answer.',
          keys: { down: { ...LOSS, default: 20, alsoCalled: ['high', 'max'], about: DOWN }, up: { ...LOSS, default: 5, alsoCalled: ['low'], about: UP } },
        },
        latency: {
          type: 'section', off: true, alsoCalled: ['rtt', 'delay', 'ping'], about: 'The median round trip.',
          keys: { down: { ...TIME, default: 500, alsoCalled: ['high', 'max'], about: DOWN }, up: { ...TIME, default: 300, alsoCalled: ['low'], about: UP } },
        },
        jitter: {
          type: 'section', off: true, alsoCalled: ['variance', 'stddev'], about: 'How much the round trip varies. `off` unless both numbers are written.',
          keys: { down: { ...TIME, alsoCalled: ['high', 'max'], about: DOWN }, up: { ...TIME, alsoCalled: ['low'], about: UP } },
        },
        window: {
          type: 'duration', minMs: 5 * SECOND, maxMs: 10 * MINUTE, default: 30 * SECOND, apply: 'live', alsoCalled: ['period', 'over', 'average'],
          about: 'Over which time. With fewer than ten answers or losses in it nothing is said: where probes are rare, make it longer.',
        },
      },
    },
    damping: {
      type: 'section', off: true, alsoCalled: ['dampening', 'flapping', 'flap', 'penalty'],
      about: 'Each death or degradation adds 1 to a penalty that decays (as RFC 2439 has it for routes). An uplink whose penalty is high comes last, however it fares now. `off`: it never does; the hold before fail-back grows all the same.',
      keys: {
        halfLife: {
          type: 'duration', minMs: 10 * SECOND, maxMs: 24 * HOUR, default: 5 * MINUTE, apply: 'live', alsoCalled: ['half_life', 'decay'],
          about: 'After so long half of the penalty is left.',
        },
        suppress: { type: 'decimal', min: 0.1, max: 100, default: 3, apply: 'live', alsoCalled: ['limit', 'max', 'high'], about: 'From this penalty on it comes last.' },
        reuse: { type: 'decimal', min: 0.1, max: 100, default: 1, apply: 'live', alsoCalled: ['release', 'low'], about: 'Below this penalty it has its old place again.' },
      },
    },
  },
} as const satisfies SectionField;

export type HealthSettings = SettingsOf<typeof HEALTH>;
