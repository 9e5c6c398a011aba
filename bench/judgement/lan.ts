/**
 * What the LAN's connections send over each line, and what comes back, as a packet filter would count it. Not packet by packet: how many are sent between
 * two looks is drawn from the rates of the connections and the gusts in which people use a network; how many of these are answered, a round trip later,
 * from the condition of the line when they passed it.
 *
 * A connection goes with the line that was active when it began. Who gets no answers sends less and less, as TCP backs off. A line that is full of our
 * own upload carries that upload besides. A connection has a destination of its own, and those are counted in groups; how packets fall to groups is not drawn.
 */
import type { TrafficCount } from '../../src/model.js';
import type { Dice } from '../../test/sim/dice.js';
import { flowChance, openView, type View } from './line.js';
import type { Flow, Storm } from './storm.js';

export interface Lan {
  /** Brings the counters up to now. `active`: where new connections went since the last call; -1 = nowhere. */
  advance(now: number, active: number): void;
  /** The connections of a line are cut. */
  cut(line: number): void;
  counts(interfaces: readonly string[]): readonly TrafficCount[];
}

const GROUPS = 8;
/** Of the upload that fills a line. */
const UPLOAD = { packetsPerSecond: 600, bytesPerPacket: 1400, answersPerPacket: 0.5, bytesPerAnswer: 60 };
/** Some packets ask for no answer. */
const ANSWERED = 0.9;
/** People and programs send in gusts of about this length. */
const GUST_MS = 250;
/** After so long without an answer a sender has slowed down to one part in two, then less and less. */
const BACK_OFF_MS = 300;

interface Side {
  readonly view: View;
  flows: Flow[];
  packetsPerSecond: number;
  bytesPerSecond: number;
  endsAt: number;
  silentSince: number | undefined;
  /** On their way, the oldest first. */
  /** By group: its share of the packets, what it is owed of them, and what was counted of it. */
  readonly groups: { share: number; owed: number; sent: number; answered: number }[];
  underWay: { readonly dueAt: number; readonly packets: number; readonly byGroup: readonly number[]; readonly bytesPerAnswer: number; readonly chance: number }[];
  sentPackets: number;
  sentBytes: number;
  answeredPackets: number;
  answeredBytes: number;
}

export function openLan(storm: Storm, dice: Dice): Lan {
  const sides = storm.lines.map((line): Side => ({
    view: openView(line), flows: [], packetsPerSecond: 0, bytesPerSecond: 0, endsAt: Infinity, silentSince: undefined, groups: Array.from({ length: GROUPS }, () => ({ share: 0, owed: 0, sent: 0, answered: 0 })), underWay: [], sentPackets: 0, sentBytes: 0, answeredPackets: 0, answeredBytes: 0,
  }));
  let lastAt = 0;
  let next = 0;

  return {
    advance(now, active) {
      sides.forEach((side, line) => {
        if (side.endsAt <= lastAt) keep(side, side.flows.filter(({ endAt }) => endAt > lastAt));
        pass(side, line, lastAt, now, dice);
      });
      for (; next < storm.flows.length && storm.flows[next]!.beginAt <= now; next++) {
        const side = sides[active];
        if (side !== undefined && side.view.at(now).truth !== 'dead') keep(side, [...side.flows, storm.flows[next]!]);
      }
      lastAt = now;
    },
    cut: (line) => keep(sides[line]!, []),
    counts: (interfaces) => sides.map(({ sentPackets, sentBytes, answeredPackets, answeredBytes, groups }, line) => ({
      interface: interfaces[line]!, family: 4, sentPackets, sentBytes, answeredPackets, answeredBytes, groups: groups.map(({ sent, answered }) => ({ sent, answered })),
    })),
  };
}

function keep(side: Side, flows: Flow[]): void {
  side.flows = flows;
  side.packetsPerSecond = flows.reduce((sum, flow) => sum + flow.packetsPerSecond, 0);
  side.bytesPerSecond = flows.reduce((sum, flow) => sum + flow.packetsPerSecond * flow.bytesPerPacket, 0);
  side.groups.forEach((group, i) => {
    const own = flows.reduce((sum, flow) => sum + (groupOf(flow) === i ? flow.packetsPerSecond : 0), 0);
    group.share = side.packetsPerSecond === 0 ? 0 : own / side.packetsPerSecond;
  });
  side.endsAt = Math.min(Infinity, ...flows.map(({ endAt }) => endAt));
}

function groupOf({ beginAt }: Flow): number {
  return (Math.imul(Math.floor(beginAt), 0x9e3779b1) >>> 0) % GROUPS;
}

function pass(side: Side, line: number, from: number, to: number, dice: Dice): void {
  arrive(side, to, dice);
  const { full } = side.view.at(to);
  if (to <= from || (side.packetsPerSecond === 0 && !full)) return;
  const effort = (eagerness(side, to) * (to - from)) / 1000;
  if (side.packetsPerSecond > 0) {
    send(side, (from + to) / 2, poisson(dice, side.packetsPerSecond * gustAt(line, to) * effort), side.bytesPerSecond / side.packetsPerSecond, ANSWERED, side.bytesPerSecond / side.packetsPerSecond);
  }
  if (full) send(side, (from + to) / 2, poisson(dice, UPLOAD.packetsPerSecond * effort), UPLOAD.bytesPerPacket, UPLOAD.answersPerPacket, UPLOAD.bytesPerAnswer);
}

function send(side: Side, at: number, packets: number, bytesPerPacket: number, answersPerPacket: number, bytesPerAnswer: number): void {
  if (packets === 0) return;
  const { rttMs, jitterMs } = side.view.at(at);
  side.sentPackets += packets;
  side.sentBytes += Math.round(packets * bytesPerPacket);
  const passes = flowChance(side.view.at(at)) * Math.sign(flowChance(side.view.at(at + rttMs)));
  const byGroup = shareOut(side, packets);
  if (passes > 0) side.underWay.push({ dueAt: at + rttMs + jitterMs, packets, byGroup, bytesPerAnswer, chance: passes * answersPerPacket });
}

/** Whoever is owed most is next. */
function shareOut(side: Side, packets: number): readonly number[] {
  const byGroup = side.groups.map(() => 0);
  for (const group of side.groups) group.owed += group.share * packets;
  for (let left = packets; left > 0;) {
    const most = side.groups.reduce((best, group, i) => (group.owed > side.groups[best]!.owed ? i : best), 0);
    const own = Math.min(left, Math.max(1, Math.floor(side.groups[most]!.owed)));
    byGroup[most]! += own;
    side.groups[most]!.owed -= own;
    side.groups[most]!.sent += own;
    left -= own;
  }
  return byGroup;
}

function arrive(side: Side, now: number, dice: Dice): void {
  let due = 0;
  for (; due < side.underWay.length && side.underWay[due]!.dueAt <= now; due++) {
    const { packets, byGroup, chance, bytesPerAnswer } = side.underWay[due]!;
    const answered = binomial(dice, packets, chance);
    side.answeredPackets += answered;
    side.answeredBytes += Math.round(answered * bytesPerAnswer);
    let [left, of] = [answered, packets];
    byGroup.forEach((sent, i) => {
      const own = of === 0 ? 0 : Math.min(sent, Math.round((left * sent) / of));
      side.groups[i]!.answered += own;
      left -= own;
      of -= sent;
    });
  }
  if (due > 0) side.underWay.splice(0, due);
}

/** 1 while answers come. */
function eagerness(side: Side, now: number): number {
  const condition = side.view.at(now - side.view.at(now).rttMs);
  if (flowChance(condition) > 0.02) {
    side.silentSince = undefined;
    return 1;
  }
  side.silentSince ??= Math.max(now - 1000, condition.from);
  return BACK_OFF_MS / (BACK_OFF_MS + Math.max(0, now - side.silentSince));
}

/** One gust in six is a lull. The same for everybody who looks at the same time. */
function gustAt(line: number, when: number): number {
  let hash = Math.imul(Math.floor(when / GUST_MS) ^ ((line + 1) << 24), 0x2c1b3c6d) >>> 0;
  hash = Math.imul(hash ^ (hash >>> 15), 0x297a2d39) >>> 0;
  const draw = ((hash ^ (hash >>> 13)) >>> 0) / 4294967296;
  return draw < 1 / 6 ? 0.03 : 0.3 + 1.5 * draw;
}

function poisson(dice: Dice, mean: number): number {
  if (mean <= 0) return 0;
  if (mean > 30) return Math.max(0, Math.round(mean + Math.sqrt(mean) * normal(dice)));
  let count = 0;
  for (let left = Math.exp(-mean), product = dice.next(); product > left; product *= dice.next()) count++;
  return count;
}

function binomial(dice: Dice, trials: number, chance: number): number {
  if (trials > 60) return Math.min(trials, Math.max(0, Math.round(trials * chance + Math.sqrt(trials * chance * (1 - chance)) * normal(dice))));
  let count = 0;
  for (let i = 0; i < trials; i++) if (dice.chance(chance)) count++;
  return count;
}

function normal(dice: Dice): number {
  return Math.sqrt(-2 * Math.log(1 - dice.next())) * Math.cos(2 * Math.PI * dice.next());
}
