/**
 * One uplink's health in virtual time: it is asked as the judge orders, answers as the test says, and writes down what became of it.
 *
 *   const life = openLife(uplinkPolicy('fibre'), () => 8);     // every target answers after 8 ms
 *   life.until(5000);
 *   life.answer = () => undefined;                             // silence from now on
 */
import { check } from '../../src/core/ask.js';
import { DEVICE_EVERY_MS } from '../../src/core/bypass.js';
import { openHealth, type Health, type Line } from '../../src/core/health.js';
import { noteLine, pass, takeLost, takeReply, takeTraffic } from '../../src/core/judge.js';
import { verdictOf } from '../../src/core/verdict.js';
import type { Instant, LostCause, ProbeOrder, TrafficCount, UplinkPolicy, Verdict } from '../../src/model.js';
import { at } from './fixture.js';

/** An order, its target by name. */
export type Asked = Omit<ProbeOrder, 'target'> & { readonly target: string };

export interface Life {
  readonly health: Health;
  readonly now: number;
  /** The round trip in ms, undefined for no answer, or an error that comes back at once, with its cause (default: unsent). */
  answer: (order: Asked, now: number) => number | undefined | string | { readonly cause: LostCause; readonly error: string; /** The answer comes after all. */ readonly answeredMs?: number };
  /**
   * What passes through the uplink per second, counted every 20 ms; undefined = nobody counts. `device`: what its
   * device carries, where a flowtable stands. In packets of 1000 bytes.
   */
  traffic: {
    readonly sent: number; readonly answered: number;
    readonly device?: { readonly sent: number; readonly received: number };
  } | undefined;
  /** `1020 suspect: no answer from ...`, one line for each change. */
  readonly history: readonly string[];
  readonly sent: readonly { readonly at: number; readonly target: string; readonly seq: number }[];
  /** Why what a program says may have come by another uplink. */
  unpinned: string;
  until(ms: number): Life;
  line(changes: Partial<Line>): Life;
  /** The process does not run until then; what was answered meanwhile is read before its timer rings, unless it lies `unread`. */
  starveUntil(ms: number, unread?: 'unread'): Life;
  /** Asked because another uplink is in doubt. */
  check(): Life;
  verdict(): Verdict;
}

export const WHOLE: Line = { ifindex: 2, device: 'eth0', address: '198.51.100.2', addresses: [], source: '', gateway: '198.51.100.1', severed: '', severedDomain: 'none' };

export function openLife(policy: UplinkPolicy, answer: Life['answer']): Life {
  const health = openHealth(policy, 4, at(0));
  const history: string[] = [];
  const sent: { at: number; target: string; seq: number }[] = [];
  let pending: { at: number; take: (now: Instant) => void }[] = [];
  let now = 0;
  let said = '';

  const note = (): void => {
    const text = `${health.state}: ${health.because}`;
    if (text !== said) history.push(`${Math.round(now)} ${text}`);
    said = text;
  };
  const order = (orders: readonly ProbeOrder[]): void => {
    for (const each of orders) {
      const one: Asked = { ...each, target: each.target.id };
      sent.push({ at: now, target: one.target, seq: one.seq });
      const outcome = life.answer(one, now);
      const sentAt = now;
      const error = typeof outcome === 'string' ? { cause: 'unsent' as const, error: outcome } : outcome;
      if (typeof error === 'object') pending.push({ at: now + 0.1, take: (t) => takeLost(health, one.target, one.seq, t, error.cause, error.error) });
      const rttMs = typeof outcome === 'object' ? outcome.answeredMs : outcome;
      if (typeof rttMs === 'number') pending.push({ at: now + rttMs, take: (t) => takeReply(health, one.target, one.seq, t, t - sentAt, 0, each.target.kind === 'exec' ? life.unpinned : '') });
    }
  };
  let countedAt = 0;
  let readAt = -Infinity;
  let carried = { sentBytes: 0, receivedBytes: 0, answeredBytes: 0 };
  let counted: TrafficCount = { interface: 'eth0', family: 4, sentPackets: 0, sentBytes: 0, answeredPackets: 0, answeredBytes: 0, groups: [] };
  const countTraffic = (): void => {
    if (life.traffic === undefined || now < countedAt + 20) return;
    const seconds = (now - countedAt) / 1000;
    const [sentNow, answeredNow] = [life.traffic.sent * seconds, life.traffic.answered * seconds];
    countedAt = now;
    const { sent = 0, received = 0 } = life.traffic.device ?? {};
    counted = {
      ...counted, sentPackets: counted.sentPackets + sentNow, sentBytes: counted.sentBytes + 1000 * sentNow,
      answeredPackets: counted.answeredPackets + answeredNow, answeredBytes: counted.answeredBytes + 1000 * answeredNow,
    };
    carried = {
      sentBytes: carried.sentBytes + 1000 * sent * seconds,
      receivedBytes: carried.receivedBytes + 1000 * received * seconds, answeredBytes: counted.answeredBytes,
    };
    const isDue = health.traffic.bypass.inDoubt || now >= readAt + DEVICE_EVERY_MS;
    const isRead = life.traffic.device !== undefined && isDue;
    if (isRead) readAt = now;
    takeTraffic(health, isRead ? { ...counted, device: carried } : counted, at(now));
    note();
  };
  const wake = (lateMs: number): void => {
    const orders: ProbeOrder[] = [];
    if (health.nextPassAt <= now) pass(health, at(now), lateMs, orders);
    note();
    order(orders);
  };
  const readAll = (): void => {
    const due = pending.filter((reply) => reply.at <= now);
    pending = pending.filter((reply) => reply.at > now);
    for (const reply of due.sort((a, b) => a.at - b.at)) reply.take(at(now));
    note();
  };

  const life: Life = {
    health, answer, history, sent, traffic: undefined, unpinned: '',
    get now() { return now; },
    until(ms) {
      for (;;) {
        const next = Math.min(health.nextPassAt, ...pending.map((reply) => reply.at), life.traffic === undefined ? Infinity : countedAt + 20);
        if (next > ms) break;
        now = Math.max(now, next);
        readAll();
        countTraffic();
        wake(0);
      }
      now = ms;
      return life;
    },
    line(changes) {
      noteLine(health, { ...health.line, ...changes }, at(now));
      note();
      return life;
    },
    starveUntil(ms, unread) {
      const lateMs = ms - Math.min(ms, health.nextPassAt);
      now = ms;
      if (unread === undefined) readAll();
      wake(lateMs);
      return life;
    },
    check() {
      const orders: ProbeOrder[] = [];
      check(health, at(now), orders);
      order(orders);
      return life;
    },
    verdict: () => verdictOf(health),
  };
  noteLine(health, WHOLE, at(0));
  note();
  return life;
}
