/**
 * Targets answer, connections do not: a modem that answers for the addresses of the targets from its own memory, with nothing behind it. Probes
 * never see that, and connections do (unanswered.ts).
 *
 * It is a fault of a line that leads, while another one is well. As it may be the LAN's own doing, the harm is bounded: new connections leave, and
 * nothing that was answered is cut; when they get no answers by the other line either, they come back, and nobody is accused of it for an hour; and the
 * line is tried again after a while, longer with each repeat.
 */
import type { Instant } from '../model.js';
import type { Health } from './health.js';
import { askAnew, getNothing, LONG, SHORT, type Proof } from './unanswered.js';
import { become } from './verdict.js';
import { isNextDoor, quorumSince, witnesses } from './witness.js';
import { duration } from './words.js';

/** The line is tried again after this, and twice as long after each repeat. */
const RETRY_MS = { first: 300_000, most: 3_600_000 };
/** It is the LAN's own doing: nobody is accused of it for so long. */
const NOBODYS_FAULT_MS = 3_600_000;

/** What may be the cause, beyond the line itself. `isLikely`: there are other signs of it. */
export interface Suspicion {
  readonly isLikely: boolean;
  /** For the end of a sentence: `; they leave as ...`. */
  readonly text: string;
}

/** What follows from it for a line, compared with the others of its family. */
export function weighConnections(all: Iterable<Health>, now: Instant, suspect: (health: Health) => Suspicion | undefined = () => undefined): void {
  const healths = [...all];
  for (const health of healths) {
    const { unanswered } = health.traffic;
    if (isHollow(health)) {
      const instead = healths.find((other) => other !== health && other.leads && doGetNothing(other, SHORT, now));
      if (instead === undefined) continue;
      for (const each of [health, instead]) forgive(each, now);
      become(health, 'up', `connections get no answers by ${instead.name} either`, 'none', now);
    } else if (health.leads && health.state === 'up' && doGetNothing(health, SHORT, now) && healths.some((other) => other !== health && isWell(other, now))) {
      const cause = suspect(health);
      if (!doGetNothing(health, proofFor(health, cause), now)) continue;
      unanswered.times++;
      become(health, 'degraded', `targets answer, connections do not: nothing has come back for them for ${duration(now - unanswered.since!)}${cause?.text ?? ''}`, 'connections', now);
    }
  }
}

/** Degraded for that reason. */
export function isHollow({ state, domain }: Pick<Health, 'state' | 'domain'>): boolean {
  return state === 'degraded' && domain === 'connections';
}

/** Connections that were left on it get no answers, and it is too early to try it again. */
export function isStillHollow(health: Health, now: Instant): boolean {
  const { answeredAt, unanswered, bypass } = health.traffic;
  if (!isHollow(health) || Math.max(answeredAt, bypass.heardAt) > health.since) return false;
  if (now - health.since < Math.min(RETRY_MS.most, RETRY_MS.first * 2 ** (unanswered.times - 1))) return true;
  askAnew(unanswered);
  return false;
}

function isWell(health: Health, now: Instant): boolean {
  return health.state === 'up' && health.burst === undefined && health.line.severed === '' && !doGetNothing(health, SHORT, now);
}

/** Of a line that carries connections, for long, by nothing but them. */
export function getsNothing(health: Health, now: Instant): boolean {
  return health.leads && health.state === 'up' && doGetNothing(health, LONG, now);
}

/** Answers that came from next door are half the proof, and so is a likely cause. */
function proofFor(health: Health, cause: Suspicion | undefined): Proof {
  if (cause?.isLikely === true) return SHORT;
  const heard = witnesses(health);
  return heard.length > 0 && heard.every((record) => isNextDoor(record) || record.lastReplyAt === undefined) ? SHORT : LONG;
}

/** And targets do: else it is silence as any other. */
function doGetNothing(health: Health, proof: Proof, now: Instant): boolean {
  const { unanswered, bypass } = health.traffic;
  // What a flowtable carries is not counted, and may well be answered.
  if (now - bypass.heardAt < proof.afterMs) return false;
  return health.policy.probe.passive && health.burst === undefined && getNothing(unanswered, proof, now) && quorumSince(health, unanswered.since!);
}

function forgive({ traffic }: Health, now: Instant): void {
  traffic.unanswered.notBefore = (now + NOBODYS_FAULT_MS) as Instant;
  askAnew(traffic.unanswered);
}
