/** Connections and probes together: what passes through starts a burst, or stands in for silent targets, and is never a verdict by itself. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { UplinkPolicy } from '../../src/model.js';
import { uplinkPolicy, type UplinkChoice } from './fixture.js';
import { openLife, type Life } from './uplink-life.js';

const ALL = (): number => 8;
const NOBODY = (): undefined => undefined;
const BUSY = { sent: 500, answered: 500 };
const UNANSWERED = { sent: 500, answered: 0 };

function busyLife(choice: UplinkChoice = {}, passive = true): Life {
  const policy = uplinkPolicy('fibre', choice);
  const life = openLife({ ...policy, probe: { ...policy.probe, passive } }, ALL);
  life.traffic = BUSY;
  return life.until(20_000);
}

/** After the next probe of the quietest stretch of the grid: nobody is asked for some time. */
function afterProbe(life: Life, targets: number): Life {
  const before = life.sent.length;
  while (life.sent.length < before + targets) life.until(life.now + 1);
  return life.until(life.now + 20);
}

function stateAt(life: Life, index: number): { readonly at: number; readonly state: string } {
  const line = life.history.at(index)!;
  return { at: Number(line.split(' ')[0]), state: line.split(' ')[1]!.slice(0, -1) };
}

test('a line that dies under traffic is suspect within 80 ms (fast) or 200 ms (balanced), before any probe is due', () => {
  for (const [sensitivity, withinMs] of [['fast', 80], ['balanced', 200]] as const) diesUnderTraffic(afterProbe(busyLife({ sensitivity }), 3), withinMs);
});

function diesUnderTraffic(life: Life, withinMs: number): void {
  const diedAt = life.now;
  life.answer = NOBODY;
  life.traffic = UNANSWERED;
  const due = Math.min(...life.health.records.map((record) => record.dueAt));
  assert.ok(due > diedAt + 40, 'no probe is due');
  life.until(diedAt + 230);
  const { at, state } = stateAt(life, -1);
  assert.equal(state, 'suspect', life.history.join('\n'));
  assert.ok(at - diedAt <= withinMs, `after ${at - diedAt} ms`);
  assert.match(life.verdict().because, /^connections get no answers any more; no answer from icmp 1.1.1.1, icmp 9.9.9.9 to a burst of 3/);
  assert.ok(life.verdict().evidence.some((each) => each.witness === 'flows' && each.says === 'silent'));
}

test('a gateway whose last answer came just after the last one of connections is silent all the same', () => {
  const life = busyLife({ sensitivity: 'fast' });
  while (life.sent.at(-1)!.target !== 'gateway') life.until(life.now + 1);
  life.traffic = UNANSWERED;
  life.answer = NOBODY;
  life.until(life.now + 3000);
  assert.match(stateAt(life, -1).state, /down/);
  assert.deepEqual([life.verdict().domain, /the gateway is silent too$/.test(life.verdict().because)], ['gateway', true], life.history.join('\n'));
});

test('traffic whose answers stop is no verdict: the targets answer the burst, and nobody hears of it', () => {
  for (const burst of [0, 3]) {
    const life = busyLife({ burst });
    const told = life.history.length;
    life.traffic = UNANSWERED;
    const before = life.sent.length;
    life.until(30_000);
    assert.equal(life.history.length, told, `burst ${burst}: ${life.history.slice(told).join('\n')}`);
    assert.ok(life.sent.length - before > 30 + 2, `burst ${burst}: it was asked about`);
    assert.equal(life.health.suspicions, 0);
  }
});

test('alarms that prove wrong become rare', () => {
  const life = busyLife();
  const asked = (forMs: number): number => {
    const before = life.sent.length;
    const end = life.now + forMs;
    // Answers come in clumps of 400 ms, with nothing for 400 ms in between.
    while (life.now < end) {
      life.traffic = { sent: 500, answered: 1000 };
      life.until(life.now + 400);
      life.traffic = UNANSWERED;
      life.until(life.now + 400);
    }
    return life.sent.length - before - (3 * forMs) / 1000;
  };
  asked(10_000);
  const later = asked(20_000);
  assert.ok(later <= 18, `${later} extra probes in 20 s`);
  assert.equal(life.health.suspicions, 0);
});

test('every target falls silent while connections get their answers: it stays up, and the targets are named', () => {
  for (const sensitivity of ['fast', 'balanced', 'calm'] as const) {
    const life = busyLife({ sensitivity });
    life.answer = NOBODY;
    life.until(200_000);
    assert.equal(life.verdict().state, 'up', life.history.slice(2).join('\n'));
    assert.deepEqual([life.verdict().domain, life.health.suspicions, life.health.downs], ['target', 0, 0]);
    assert.equal(life.verdict().because, 'no answer from icmp 1.1.1.1, icmp 9.9.9.9, but connections get theirs: the targets are at fault');
    assert.deepEqual(life.verdict().evidence.map(({ witness, says }) => `${witness} ${says}`), ['target silent', 'target silent', 'target silent', 'flows alive']);
    life.answer = ALL;
    life.until(210_000);
    assert.deepEqual([life.verdict().state, life.verdict().domain], ['up', 'none']);
  }
});

test('vouched for by connections, and they stop too: suspect, then down', () => {
  const life = busyLife();
  life.answer = NOBODY;
  life.until(60_000);
  life.traffic = UNANSWERED;
  life.until(80_000);
  const [suspected, died] = [stateAt(life, -2), stateAt(life, -1)];
  assert.deepEqual([suspected.state, died.state], ['suspect', 'down'], life.history.join('\n'));
  assert.ok(suspected.at - 60_000 <= 2000, `${suspected.at}`);
  assert.ok(died.at - 60_000 <= 4200, `${died.at}`);
});

test('vouched for by connections, and they end: when nothing passes any more the targets count again', () => {
  const life = busyLife();
  life.answer = NOBODY;
  life.until(60_000);
  life.traffic = { sent: 0, answered: 0 };
  life.until(80_000);
  assert.equal(life.verdict().state, 'down', life.history.join('\n'));
});

test('a suspect whose connections get answers is up again, after a rest like any other', () => {
  const life = busyLife();
  life.answer = NOBODY;
  life.traffic = UNANSWERED;
  life.until(20_600);
  assert.equal(life.verdict().state, 'suspect');
  life.traffic = BUSY;
  life.until(21_500);
  assert.equal(life.verdict().state, 'up', life.history.join('\n'));
  assert.equal(life.health.downs, 0);
  assert.ok(life.verdict().holdUntil! > life.now + 3000);
});

test('connections that merely try, unanswered, vouch for nobody', () => {
  const life = openLife(uplinkPolicy('fibre'), ALL).until(20_000);
  life.traffic = { sent: 50, answered: 0 };
  life.answer = NOBODY;
  life.until(24_000);
  assert.equal(life.verdict().state, 'down');
});

test('passive off: connections start nothing and excuse nothing', () => {
  const life = afterProbe(busyLife({}, false), 3);
  const before = life.sent.length;
  life.traffic = UNANSWERED;
  life.until(life.now + 5000);
  assert.ok(life.sent.length - before <= 16, `${life.sent.length - before} probes`);
  life.traffic = BUSY;
  life.until(life.now + 5000).answer = NOBODY;
  life.until(life.now + 5000);
  assert.equal(life.verdict().state, 'down', 'the targets alone rule');
});

test('a severed line has no witnesses: what the counters say of it changes nothing', () => {
  const life = busyLife();
  life.line({ severed: 'no carrier on eth0', severedDomain: 'link' }).until(25_000);
  assert.deepEqual([life.verdict().state, life.verdict().domain], ['down', 'link']);
  assert.deepEqual(life.verdict().evidence.map(({ witness, name, says }) => [witness, name, says]), [['line', 'eth0', 'silent']]);
});

test('two lines, the same death: the busy one is known to be dead sooner than the idle one', () => {
  const times = [BUSY, undefined].map((traffic) => {
    const policy: UplinkPolicy = uplinkPolicy('fibre');
    const life = openLife(policy, ALL);
    life.traffic = traffic;
    life.until(20_000);
    afterProbe(life, 1);
    const diedAt = life.now;
    life.answer = NOBODY;
    if (traffic !== undefined) life.traffic = UNANSWERED;
    life.until(diedAt + 1500);
    return stateAt(life, -1).at - diedAt;
  });
  assert.ok(times[0]! < 230 && times[1]! > 300, times.join(' '));
});

/** A flowtable carries nearly everything: the packet filter sees beginnings, the device sees it all. */
const CARRIED = { sent: 500, received: 1000 };

test('a flowtable hides answers: while the device plainly receives more, connections raise no alarm', () => {
  const life = busyLife({ sensitivity: 'fast' });
  life.traffic = { ...BUSY, device: { sent: 1000, received: 1500 } };
  const askedIn = (ms: number): number => life.sent.filter(({ at }) => at > life.now - ms).length;
  life.until(life.now + 10_000);
  const [usual, told] = [askedIn(10_000), life.history.length];
  life.traffic = { ...UNANSWERED, device: CARRIED };
  life.until(life.now + 10_000);
  assert.deepEqual(life.history.slice(told), []);
  assert.ok(Math.abs(askedIn(10_000) - usual) <= 4, 'no burst');
  assert.ok(!life.verdict().evidence.some((each) => each.witness === 'flows' && each.says === 'silent'));
  // The line dies: all that was hidden stops, too.
  const diedAt = afterProbe(life, 3).now;
  life.answer = NOBODY;
  life.traffic = { ...UNANSWERED, device: { sent: 500, received: 0 } };
  life.until(diedAt + 230);
  const { at, state } = stateAt(life, -1);
  assert.equal(state, 'suspect', life.history.join('\n'));
  assert.match(life.verdict().because, /^connections get no answers any more/);
  assert.ok(at - diedAt <= 120, `after ${at - diedAt} ms`);
});

test('what a device receives besides, ARP and answers to probes, does not speak for connections', () => {
  const life = afterProbe(busyLife({ sensitivity: 'fast' }), 3);
  const diedAt = life.now;
  life.answer = NOBODY;
  life.traffic = { ...UNANSWERED, device: { sent: 500, received: 15 } };
  life.until(diedAt + 230);
  assert.ok(stateAt(life, -1).at - diedAt <= 80, life.history.join('\n'));
});

test('a silence is counted from the last answer of anybody, also when the LAN paused before the death', () => {
  const life = busyLife();
  life.traffic = { sent: 0, answered: 0 };
  afterProbe(life.until(life.now + 20_000), 3);
  const diedAt = life.now;
  life.answer = NOBODY;
  life.traffic = UNANSWERED;
  life.until(diedAt + 1000);
  assert.match(life.history.at(-1)!, / suspect: connections get no answers any more/);
  life.until(diedAt + 3000);
  const { at, state } = stateAt(life, -1);
  assert.equal(state, 'down', life.history.join('\n'));
  assert.ok(at - diedAt > 1500, `after ${at - diedAt} ms`);
});
