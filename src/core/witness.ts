/**
 * Whose word counts. The witnesses of an uplink are its targets beyond the gateway; with none beyond, the gateway. Others (the gateway itself,
 * a hop, a large packet) only tell where it broke; whoever may have gone by another uplink counts where there is nobody else. What somebody outside says is one witness more.
 */
import type { Instant, Target } from '../model.js';
import type { Health } from './health.js';
import { answeredSince, answersInRow, isBlind, misses, type TargetRecord } from './record.js';
import { vouches } from './traffic.js';

/** So many answers in a row. */
const NEXT_DOOR_AT_LEAST = 3;

/** Asked seldom: they explain, and nothing hangs on them. */
export function isAside({ target }: Pick<TargetRecord, 'target'>): boolean {
  return target.kind === 'hop' || (target.kind === 'icmp' && target.sizeBytes > 0);
}

/** The first router beyond the gateway answered since then: the line itself lives, whatever lies farther out. */
export function isNearAlive({ records }: Pick<Health, 'records'>, since: Instant): boolean {
  return records.some((record) => record.target.kind === 'hop' && record.unpinned === '' && answeredSince(record, since));
}

/** Connections get their answers, about as many as used to, or somebody near the line answers, too. */
export function flowsVouch(health: Health, since: Instant, now: Instant): boolean {
  return health.policy.probe.passive && vouches(health.traffic, since, now, isNearAlive(health, since));
}

/** They go on doing so. Whoever is near is asked seldom: his last word stands. */
export function flowsStillVouch(health: Health, since: Instant, now: Instant): boolean {
  const isNear = health.records.some((record) => record.target.kind === 'hop' && record.unpinned === '' && record.lastReplyAt !== undefined && misses(record, now) === 0);
  return vouches(health.traffic, since, now, isNear);
}

/** Too dear, or too slow, for a volley of probes. */
export function isSlow(target: Target): boolean {
  return target.kind === 'http' || target.kind === 'exec';
}

export function isGateway({ target }: Pick<TargetRecord, 'target'>): boolean {
  return target.host === 'gateway';
}

/** Whoever answers for this address is on the line itself, and says nothing of the internet. */
export function isNextDoor(record: TargetRecord): boolean {
  return record.nextDoor >= NEXT_DOOR_AT_LEAST && !isGateway(record);
}

/** The targets whose answers count. */
export function witnesses({ records }: Health): readonly TargetRecord[] {
  const pinned = records.filter((record) => !isAside(record) && record.unpinned === '');
  const beyond = pinned.filter((record) => !isGateway(record));
  // Where somebody rewrites hop limits all answers look as if they came from next door: then they count.
  const far = beyond.filter((record) => !isNextDoor(record));
  if (far.length < beyond.length && far.some((record) => record.nextDoor < 0)) return far;
  if (beyond.length > 0) return beyond;
  const gateways = pinned.length > 0 ? pinned : records.filter((record) => !isAside(record));
  return gateways.length > 0 ? gateways : records;
}

export function quorumSince(health: Health, since: Instant): boolean {
  const heard = witnesses(health);
  let answered = vouchers(health);
  for (const record of heard) if (answeredSince(record, since)) answered++;
  return answered >= quorumOf(health, heard);
}

/** Infinity where nobody is asked. */
export function lastAnswerAt(health: Health): Instant {
  const heard = witnesses(health);
  return (heard.length === 0 ? Infinity : Math.max(...heard.map((record) => record.lastReplyAt ?? -Infinity))) as Instant;
}

/** When anything came back last, for probes or for connections, counted or not. */
export function lastHeardAt(health: Health, now: Instant): Instant {
  const { answeredAt, bypass } = health.traffic;
  const replies = witnesses(health).map((record) => record.lastReplyAt ?? -Infinity);
  return Math.min(now, Math.max(answeredAt, bypass.heardAt, ...replies)) as Instant;
}

/** Who is asked seldom needs fewer answers in a row, so that it takes no longer. */
export function steadySince(health: Health, since: Instant, now: Instant): boolean {
  const heard = witnesses(health);
  const { successes } = health.policy.health.up;
  const { intervalMs } = health.policy.probe;
  let steady = vouchers(health);
  for (const record of heard) {
    const wanted = Math.max(1, Math.ceil((successes * intervalMs) / Math.max(intervalMs, record.target.intervalMs ?? 0)));
    if (answersInRow(record, since, now) >= wanted) steady++;
  }
  return steady >= quorumOf(health, heard);
}

/** Somebody outside says that it is down. */
export function condemnation({ outside }: Health): Health['outside'][number] | undefined {
  return outside.find((verdict) => verdict.state === 'down');
}

function vouchers({ outside }: Health): number {
  return outside.some((verdict) => verdict.state === 'up') ? 1 : 0;
}

function quorumOf({ policy }: Health, heard: readonly TargetRecord[]): number {
  return Math.min(policy.probe.quorum, heard.length);
}

/** Nobody could be asked of late, by our own fault. */
export function isBlinded(health: Health, now: Instant): boolean {
  const heard = witnesses(health);
  return heard.length > 0 && heard.every((record) => isBlind(record, now));
}
