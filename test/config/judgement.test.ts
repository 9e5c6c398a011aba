/** `health.quality` and `health.damping`: what is written, what wins over what, and what is told. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compile } from '../../src/config/compile.js';
import { showProblem } from '../../src/config/load.js';
import type { HealthPolicy } from '../../src/model.js';

function load(common: string, own = '', profile = ''): HealthPolicy | string {
  const text = `${profile === '' ? '' : 'profile: p\n'}uplinks:\n  a:\n    interface: eth0\n    health: { ${own} }\nhealth: { ${common} }\n`;
  const loaded = compile({ file: 'c', text }, () => ({ file: 'p', text: profile }), new Map());
  return 'config' in loaded ? loaded.config.policy.uplinks[0]!.health : loaded.problems.map((problem) => showProblem(problem).replace(/^c:/, '')).join('\n');
}

/** loss, latency, jitter as `down/up` */
function qualityOf(common: string, own = '', profile = ''): string {
  const health = load(common, own, profile);
  if (typeof health === 'string') throw new Error(health);
  const { lossPercent, latencyMs, jitterMs } = health.quality;
  return [lossPercent, latencyMs, jitterMs].map(({ down, up }) => (down === Infinity && up === Infinity ? 'off' : `${down}/${up}`)).join(' ');
}

function dampingOf(common: string, own = ''): readonly number[] {
  const health = load(common, own);
  if (typeof health === 'string') throw new Error(health);
  const { halfLifeMs, suppress, reuse } = health.damping;
  return [halfLifeMs, suppress, reuse];
}

function told(common: string, own = '', profile = ''): string {
  const answer = load(common, own, profile);
  return typeof answer === 'string' ? answer : 'none';
}

function cases(table: readonly (readonly [written: string, told: string])[], answer: (written: string) => string): void {
  for (const [written, expected] of table) assert.equal(answer(written), expected, `for ${JSON.stringify(written)}`);
}

test('thresholds win key by key: the uplink over all over the default', () => {
  assert.equal(qualityOf('', ''), '20/5 500/300 off');
  assert.equal(qualityOf('quality: { loss: { down: 10% } }'), '10/5 500/300 off');
  assert.equal(qualityOf('quality: { loss: { down: 10% }, latency: { up: 100ms } }', 'quality: { loss: { up: 1% } }'), '10/1 500/100 off');
  assert.equal(qualityOf('quality: { jitter: { down: 80ms, up: 40ms } }', 'quality: { jitter: { up: 20ms } }'), '20/5 500/300 80/20');
  const health = load('quality: { window: 1m }', 'quality: { window: 2m }');
  assert.ok(typeof health !== 'string');
  assert.equal(health.quality.windowMs, 120_000);
});

test('off holds below its place, until somebody more special writes a number', () => {
  assert.equal(qualityOf('quality: off'), 'off off off');
  assert.equal(qualityOf('quality: { jitter: { down: 80ms, up: 40ms } }', 'quality: off'), 'off off off');
  assert.equal(qualityOf('quality: { loss: off }'), 'off 500/300 off');
  assert.equal(qualityOf('quality: { jitter: off, latency: off }'), '20/5 off off');
  assert.equal(qualityOf('quality: { loss: { down: 10% } }', 'quality: off'), 'off off off');
  assert.equal(qualityOf('quality: off', 'quality: { loss: { down: 30% } }'), '30/5 off off');
  assert.equal(qualityOf('quality: { loss: off, latency: off }', 'quality: { latency: { down: 1s } }'), 'off 1000/300 off');
  assert.equal(qualityOf('quality: off', 'quality: {}'), 'off off off', 'a section with nothing in it says nothing');
  assert.equal(qualityOf('quality: { loss: off }', 'quality: { loss: }'), 'off 500/300 off');
});

test('a profile is laid under', () => {
  assert.equal(qualityOf('quality: off', '', 'health: { quality: { loss: { down: 50% } } }'), 'off off off');
  assert.equal(qualityOf('quality: { latency: off }', '', 'health: { quality: { loss: { down: 50% } } }'), '50/5 off off');
  assert.equal(qualityOf('sensitivity: calm', '', 'health: { quality: off }'), 'off off off', 'no sensitivity stands for these');
});

test('damping wins key by key too, and can be off', () => {
  assert.deepEqual(dampingOf(''), [300_000, 3, 1]);
  assert.deepEqual(dampingOf('damping: off'), [300_000, Infinity, 1]);
  assert.deepEqual(dampingOf('damping: { halfLife: 1m, suppress: 5 }', 'damping: { reuse: 0.5 }'), [60_000, 5, 0.5]);
  assert.deepEqual(dampingOf('damping: { suppress: 5 }', 'damping: off'), [300_000, Infinity, 1]);
  assert.deepEqual(dampingOf('damping: off', 'damping: { halfLife: 1h }'), [3_600_000, 3, 1]);
  assert.deepEqual(dampingOf('damping: off', 'damping: {}'), [300_000, Infinity, 1]);
});

test('a share is written with its sign', () => {
  cases([
    ['20%', 'none'], ['5.5%', 'none'], ['100%', 'none'], ['"20%"', 'none'],
    ['0.2', '`0.2` has no `%`: write `20%`'], ['0.075', '`0.075` has no `%`: write `7.5%`'], ['20', '`20` has no `%`: write `20%`'], ['1', '`1` has no `%`: write `1%`'],
    ['20 %', 'write `20%`, without a space'],
    ['0%', '`0%` is too little: `0.1%` at least'], ['101%', '`101%` is too much: `100%` at most'],
    ['many', '`many` is not a percentage such as `20%`'], ['-5%', '`-5%` is not a percentage such as `20%`'],
    ['off', '`off` is not a percentage such as `20%`'],
  ], (text) => told(`quality: { loss: { down: ${text} } }`).replace('5: health.quality.loss.down: ', ''));
});

test('slips are told with what to write', () => {
  cases([
    ['quality: none', '5: health.quality: write `off`, not `none`'],
    ['quality: false', '5: health.quality: write `off`, not `false`'],
    ['quality: on', '5: health.quality: `on` stands here, but keys of its own are wanted, each on a line below: `loss`, `latency`, `jitter` and `window`; or the word `off`'],
    ['quality: { loss: 20% }', '5: health.quality.loss: `20%` stands here, but keys of its own are wanted, each on a line below: `down` and `up`; or the word `off`'],
    ['quality: { rtt: { down: 1s } }', '5: health.quality.rtt: `rtt` is not known here: did you mean `latency`?'],
    ['quality: { latency: { down: 200 } }', '5: health.quality.latency.down: `200` has no unit: write `200s`, or `200ms` for milliseconds'],
    ['quality: { window: 4s }', '5: health.quality.window: `4s` is too short: 5s at least'],
    ['quality: { window: 11m }', '5: health.quality.window: `11m` is too long: 10m at most'],
    ['suspect: off', '5: health.suspect: `off` stands here, but keys of its own are wanted, each on a line below: `failures` and `burst`'],
    ['damping: no', '5: health.damping: write `off`, not `no`'],
    ['damping: { halfLife: 5s }', '5: health.damping.halfLife: `5s` is too short: 10s at least'],
    ['damping: { half_life: 5m }', '5: health.damping.half_life: `half_life` is not known here: did you mean `halfLife`?'],
    ['damping: { suppress: 0 }', '5: health.damping.suppress: `0` is too small: write a number from 0.1 to 100'],
    ['damping: { suppress: high }', '5: health.damping.suppress: `high` is not a number from 0.1 to 100'],
    ['dampening: {}', '5: health.dampening: `dampening` is not known here: did you mean `damping`?'],
  ], told);
});

test('an uplink is not good again before it is bad, and both places are named', () => {
  const rule = '`up` must not be above `down`, write';
  cases([
    ['quality: { loss: { down: 20%, up: 20% } }', 'none'],
    ['quality: { loss: { down: 5%, up: 10% } }', `5: health.quality.loss.up: \`loss\` is too much from \`down: 5%\` (line 5) on, and fine again below \`up: 10%\` (line 5): ${rule} \`up: 5%\` or less, or a larger \`down\``],
    ['quality: { loss: { down: 3% } }', `5: health.quality.loss.down: \`loss\` is too much from \`down: 3%\` (line 5) on, and fine again below \`up: 5%\` (the default): ${rule} \`up: 3%\` or less, or a larger \`down\``],
    ['quality: { latency: { up: 1s } }', `5: health.quality.latency.up: \`latency\` is too much from \`down: 500ms\` (the default) on, and fine again below \`up: 1s\` (line 5): ${rule} \`up: 500ms\` or less, or a larger \`down\``],
    ['quality: { jitter: { down: 51ms } }', '5: health.quality.jitter.down: `jitter` has a `down` and no `up`: write `up` beside it, such as `up: 26ms`, below which new connections may come back'],
    ['quality: { jitter: { up: 51ms } }', '5: health.quality.jitter.up: `jitter` has an `up` and no `down`: write `down` beside it, beyond which new connections go elsewhere'],
  ], told);
  assert.equal(told('quality: { loss: { down: 10% } }', 'quality: { loss: { up: 15% } }'),
    `4: uplinks.a.health.quality.loss.up: \`loss\` is too much from \`down: 10%\` (line 5) on, and fine again below \`up: 15%\` (line 4): ${rule} \`up: 10%\` or less, or a larger \`down\``);
  assert.equal(told('quality: { loss: { up: 15% } }', '', 'health: { quality: { loss: { down: 10% } } }'),
    `6: health.quality.loss.up: \`loss\` is too much from \`down: 10%\` (line 1 of p) on, and fine again below \`up: 15%\` (line 6): ${rule} \`up: 10%\` or less, or a larger \`down\``);
});

test('suppression begins above the place where it ends', () => {
  const rule = '`suppress` must be above `reuse`';
  assert.equal(told('damping: { suppress: 1.5, reuse: 1.4 }'), 'none');
  assert.equal(told('damping: { suppress: 1 }'), `5: health.damping.suppress: the uplink comes last from \`suppress: 1\` (line 5) on, and has its place again below \`reuse: 1\` (the default): ${rule}`);
  assert.equal(told('damping: { suppress: 2 }', 'damping: { reuse: 2 }'), `4: uplinks.a.health.damping.reuse: the uplink comes last from \`suppress: 2\` (line 5) on, and has its place again below \`reuse: 2\` (line 4): ${rule}`);
  assert.equal(told('damping: off', 'damping: { reuse: 2 }'), 'none');
});
