/** Where it broke, and what each witness had to say about it: the reasons of a verdict, as data and in words. */
import type { Evidence, FaultDomain, Instant } from '../model.js';
import type { Health } from './health.js';
import { answeredSince, isBlind, isSilent, misses, silentSince, tally, type TargetRecord } from './record.js';
import { progressed } from './traffic.js';
import { isGateway, isNextDoor, witnesses } from './witness.js';
import { duration, roundTrip } from './words.js';

/** Connections of the last second or so are evidence. */
const LATELY_MS = 1000;
/** Fewer probes than this make no percentage. */
const SAMPLES_AT_LEAST = 3;

/** The nearest thing that is silent since then, or has fallen silent after it. Who never answered says nothing. */
export function domainOf(health: Health, since: Instant, now: Instant): FaultDomain {
  const { records } = health;
  const answers = (record: TargetRecord): boolean => answeredSince(record, since) && !isSilent(record, now);
  const heard = witnesses(health);
  if (heard.length > 0 && heard.every((record) => record.lastCause === 'portal')) return 'portal';
  const gateways = records.filter((record) => isGateway(record) && record.lastReplyAt !== undefined);
  if (gateways.length > 0 && !gateways.some(answers)) return 'gateway';
  if (heard.length > 0 && heard.every((record) => record.lastCause === 'dns' || record.target.kind === 'dns') && heard.some((record) => record.lastCause === 'dns')) return 'dns';
  const hops = records.filter((record) => record.target.kind === 'hop' && record.lastReplyAt !== undefined);
  if (hops.length > 0 && !hops.some(answers)) return 'hops';
  return 'upstream';
}

export function whereInWords(health: Health, domain: FaultDomain): string {
  if (domain === 'hops') return '; the gateway answers, the first router beyond it does not';
  if (domain === 'upstream' && health.records.some((record) => record.target.kind === 'hop' && record.lastReplyAt !== undefined)) return '; the first router beyond the gateway answers';
  return domain === 'gateway' && !witnesses(health).some(isGateway) ? '; the gateway is silent too' : '';
}

export function silent(health: Health): string {
  return witnesses(health).map((record) => record.target.id).join(', ');
}

/** Who answers now; where nobody does at this moment, whoever answered last. '' = nobody ever did. */
export function answering(health: Health, now: Instant): string {
  const heard = witnesses(health).filter((record) => record.lastReplyAt !== undefined);
  const answer = heard.filter((record) => !record.excused && misses(record, now) === 0);
  const outsiders = health.outside.filter(({ state }) => state === 'up').map(({ by }) => by);
  const last = Math.max(...heard.map((record) => record.lastReplyAt!));
  const speak = answer.length + outsiders.length > 0 ? answer : heard.filter((record) => record.lastReplyAt === last);
  return [...speak.map((record) => record.target.id), ...outsiders].join(', ');
}

/** `icmp 1.1.1.1, noc answered`; where nobody but outsiders speaks for it, that they say so. */
export function whoSpeaks(health: Health, now: Instant, verb: string): string {
  const ups = health.outside.filter(({ state }) => state === 'up').map(({ by }) => by).join(', ');
  const names = answering(health, now);
  return ups !== '' && names === ups ? `${ups} says that it is up` : `${names} ${verb}`;
}

export function evidenceOf(health: Health, now: Instant): readonly Evidence[] {
  if (health.line.severed !== '') return [{ witness: 'line', name: health.line.device, says: 'silent', text: health.line.severed }, ...outsiders(health, now)];
  return [...health.records.map((record) => told(health, record, now)), ...flows(health, now), ...outsiders(health, now)];
}

function told(health: Health, record: TargetRecord, now: Instant): Evidence {
  const { id } = record.target;
  const because = record.lastError === '' ? '' : ` (${record.lastError})`;
  if (isBlind(record, now)) return { witness: 'target', name: id, says: 'nothing', text: `could not be asked${because}` };
  const missed = misses(record, now);
  if (missed > 0) {
    const wrong = record.lastCause === 'answer' || record.lastCause === 'portal' || record.lastCause === 'failed';
    if (wrong) return { witness: 'target', name: id, says: 'wrong', text: record.lastError };
    const since = silentSince(record, now)!;
    return { witness: 'target', name: id, says: 'silent', text: `no answer for ${duration(now - since)}, to ${missed === 1 ? 'one probe' : `${missed} probes`}${because}` };
  }
  if (record.lastReplyAt === undefined) return { witness: 'target', name: id, says: 'nothing', text: 'has not been heard yet' };
  const text = `answers in ${roundTrip(record.srttMs ?? 0)}`;
  if (record.unpinned !== '') return { witness: 'target', name: id, says: 'nothing', text: `${text}, which may be by another uplink: ${record.unpinned}` };
  if (isNextDoor(record)) return { witness: 'target', name: id, says: 'nothing', text: `${text}, from next door: the answer has passed no router` };
  const { quality } = health.policy.health;
  const { over, missed: lost } = tally(record, Math.max(health.qualityFrom, now - quality.windowMs) as Instant, now);
  if (over >= SAMPLES_AT_LEAST && 100 * lost > quality.lossPercent.down * over) return { witness: 'target', name: id, says: 'poor', text: `${text}, loses ${Math.round((100 * lost) / over)} %` };
  return { witness: 'target', name: id, says: 'alive', text };
}

function flows({ traffic, silentSince: quietSince }: Health, now: Instant): readonly Evidence[] {
  const progress = progressed(traffic, Math.max(now - LATELY_MS, quietSince ?? -Infinity) as Instant);
  // Much comes in that nobody counts: what is counted does not speak for it.
  if (progress === undefined || (!progress && traffic.bypass.isPlain)) return [];
  return [{ witness: 'flows', name: 'connections', says: progress ? 'alive' : 'silent', text: progress ? 'get their answers' : 'send and get hardly an answer' }];
}

function outsiders({ outside }: Health, now: Instant): readonly Evidence[] {
  return outside.map(({ by, state, because, until }) => ({
    witness: 'outside', name: by, says: state === 'up' ? 'alive' : 'silent', text: `says ${state}${because === '' ? '' : `: ${because}`}; for ${duration(until - now)} more`,
  }));
}
