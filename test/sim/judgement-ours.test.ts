/**
 * Our own core in the judgement bench: it runs as the daemon runs it, the same twice, sees what the others see, and the laws that watch it
 * can be broken.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openLan } from '../../bench/judgement/lan.js';
import { openLaws, type Fault } from '../../bench/judgement/laws.js';
import type { Overlay } from '../../bench/judgement/line.js';
import { run, type Sensitivity, type Watcher } from '../../bench/judgement/ours.js';
import { contestants, play } from '../../bench/judgement/play.js';
import { tableOf, verdictsOf, type Entry } from '../../bench/judgement/table.js';
import { NO_SCORE } from '../../bench/judgement/score.js';
import { craftStorm, drawFlows, drawStorm, type Flow, type Storm } from '../../bench/judgement/storm.js';
import { openDice } from './dice.js';

const MINUTE = 60_000;
const DIES_AT = 5 * MINUTE;
const LIVES_AT = 7 * MINUTE;

function oneOutage(overlay: Omit<Overlay, 'from' | 'to'>, flows: readonly Flow[] = []): Storm {
  return craftStorm(12 * MINUTE, [[{ from: DIES_AT, to: LIVES_AT, ...overlay }], []], flows);
}

for (const [sensitivity, idleMs] of [['fast', 700], ['balanced', 1600], ['calm', 4000]] as const) {
  test(`${sensitivity}: a silent line is left within ${idleMs} ms with nothing passing, a cut cable at once, and both are taken back`, () => {
    for (const [overlay, atMost] of [[{ upstream: 0 }, idleMs], [{ access: 0 }, idleMs], [{ severed: true as const }, 5]] as const) {
      const { changes } = run(oneOutage(overlay), sensitivity).trace;
      const left = changes.find(({ at, line }) => at > DIES_AT && line === 1)!.at - DIES_AT;
      assert.ok(left <= atMost, `${JSON.stringify(overlay)}: ${left} ms`);
      const back = changes.find(({ at, line }) => at > LIVES_AT && line === 0)!.at - LIVES_AT;
      assert.ok(back > 30_000 && back < 2 * MINUTE, `back after ${back} ms`);
    }
  });
}

test('connections that get no answers any more are seen before a probe is due', () => {
  const busy: Flow = { beginAt: MINUTE, endAt: 12 * MINUTE, packetsPerSecond: 200, bytesPerPacket: 500 };
  const leftAfter = (flows: readonly Flow[]): readonly number[] => Array.from({ length: 5 }, (_, phase) => {
    const from = DIES_AT + 337 * phase;
    const storm = craftStorm(6 * MINUTE, [[{ from, to: 6 * MINUTE, upstream: 0 }], []], flows);
    return run(storm, 'balanced').trace.changes.find(({ at, line }) => at > from && line === 1)!.at - from;
  }).sort((a, b) => a - b);
  const [busyMs, idleMs] = [leftAfter([busy]).at(-1)!, leftAfter([]).at(-1)!];
  assert.ok(busyMs < 500 && busyMs < 0.75 * idleMs, `at worst ${busyMs} ms, and ${idleMs} ms with nothing passing`);
});

test('the same storm twice gives the same choices, step for step', () => {
  const storm = drawStorm(5);
  const short = { ...storm, lengthMs: 10 * MINUTE };
  const [a, b] = [run(short, 'balanced'), run(short, 'balanced')];
  assert.deepEqual(a.trace, b.trace);
  assert.equal(a.steps, b.steps);
});

test('a storm is played by ours and by every peer, and the table has a row for each', () => {
  const sensitivities: readonly Sensitivity[] = ['balanced'];
  const { scores } = play(14, sensitivities, 120 * MINUTE);
  const names = contestants(sensitivities);
  assert.equal(scores.length, names.length);
  const lines = tableOf(names.map((each, i) => ({ ...each, score: scores[i]! }))).split('\n');
  assert.equal(lines.length, names.length + 2);
  assert.equal(new Set(lines.map((line) => line.length)).size, 1, 'columns stand below each other');
  assert.match(lines[2]!, /^\| uplinkd, balanced /);
});

test('ours is held against the best peer of each column that counts, and a draw is no win', () => {
  const entry = (name: string, isPeer: boolean, outageMin: number, falseFailovers: number): Entry => ({
    name, about: '', isPeer, score: { ...NO_SCORE, simulatedMs: 86_400_000, outageMs: outageMin * MINUTE, falseFailovers },
  });
  const said = verdictsOf([entry('ours', false, 3, 2), entry('quick', true, 5, 9), entry('calm', true, 50, 2)]);
  assert.deepEqual(said.map(({ text }) => text), ['ours, outage min: 3.00, best peer 5.00 (quick): better', 'ours, false failovers: 2.00, best peer 2.00 (calm): NOT BETTER']);
  assert.deepEqual(said.map(({ better }) => better), [true, false]);
  assert.match(tableOf([entry('ours', false, 3, 2), entry('quick', true, 5, 9), entry('calm', true, 50, 2)]), /quick \| +5\.00 \* .*\n.*calm +\| +50\.0 \| .* 2\.00 \* /);
});

test('what the LAN sends is answered while the line lives, and is counted on the line that the connections began on', () => {
  const flow: Flow = { beginAt: 1000, endAt: 60_000, packetsPerSecond: 100, bytesPerPacket: 500 };
  const lan = openLan(craftStorm(MINUTE, [[{ from: 20_000, to: MINUTE, upstream: 0 }], []], [flow]), openDice(1));
  const countsAt = (now: number, active: number): readonly [number, number, number, number] => {
    for (let at = now - 9000; at <= now; at += 20) lan.advance(at, active);
    const [first, second] = lan.counts(['eth0', 'eth1']);
    return [first!.sentPackets, first!.answeredPackets, second!.sentPackets, first!.sentBytes];
  };
  const [sent, answered, other, bytes] = countsAt(10_000, 0);
  assert.ok(sent > 500 && sent < 1400 && Math.abs(answered - sent) < 0.2 * sent && other === 0 && Math.abs(bytes - 500 * sent) < 501, `${sent} sent, ${answered} answered`);
  const [, before] = countsAt(19_990, 1);
  const [later, after, still] = countsAt(30_000, 1);
  assert.ok(after - before < 10, 'nothing comes back from a dead line');
  assert.ok(later > sent && still === 0, 'and nothing moves to the other one');
  lan.cut(0);
  const [cut] = countsAt(40_000, 1);
  assert.equal(cut, countsAt(50_000, 1)[0]);
});

test('the LAN has busy and quiet times, short connections and long ones', () => {
  const flows = drawFlows(openDice(4), 180 * MINUTE);
  assert.ok(flows.length > 300 && flows.every(({ beginAt }, i) => i === 0 || beginAt >= flows[i - 1]!.beginAt));
  assert.ok(flows.some(({ beginAt, endAt }) => endAt - beginAt > 20 * MINUTE) && flows.filter(({ beginAt, endAt }) => endAt - beginAt < MINUTE).length > flows.length / 2);
});

/** The laws' findings when they are shown something else than what happened. */
function found(storm: Storm, lie: (watch: Watcher) => Watcher): readonly string[] {
  const laws = openLaws(storm);
  const result = run(storm, 'balanced', lie(laws.watch));
  return laws.verdicts(result).map(({ law }: Fault) => law);
}

test('the laws hold on a plain outage, and each is broken by who breaks it', () => {
  const storm = oneOutage({ upstream: 0 });
  assert.deepEqual(found(storm, (watch) => watch), []);
  assert.deepEqual(found(storm, (watch) => (state, event, active) => {
    const health = state.planes.get(4)!.health.get('fibre')!;
    health.evidence = [];
    watch(state, event, active);
  }), ['evidence']);
  let upAt = Infinity;
  assert.deepEqual(found(storm, (watch) => (state, event, active) => {
    if (event.at > LIVES_AT && state.planes.get(4)!.health.get('fibre')!.state === 'up') upAt = Math.min(upAt, event.at);
    watch(state, event, event.at > upAt + 20_000 ? 0 : active);
  }), ['hold']);
  assert.deepEqual(found(storm, (watch) => (state, event, active) => {
    const health = state.planes.get(4)!.health.get('fibre')!;
    const was = health.state;
    if (event.at > LIVES_AT) health.state = 'down';
    watch(state, event, active);
    health.state = was;
  }), ['found again']);
  assert.deepEqual(found({ ...storm, lengthMs: 60 * MINUTE }, (watch) => (state, event, active) => watch(state, event, event.at > 6 * MINUTE ? 1 : active)), ['leads again']);
  const laws = openLaws(storm);
  const stubborn = { ...run(storm, 'balanced'), trace: { changes: [{ at: 0, line: 0 }], cuts: [], flowsFollow: 'line' as const } };
  assert.deepEqual(laws.verdicts(stubborn).map(({ law }) => law), ['best static choice']);
});
