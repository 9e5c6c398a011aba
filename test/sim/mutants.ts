/**
 * The core, broken on purpose: each mutant is one place in the compiled text, and the law that must fall when it is so. A search text that
 * does not stand there exactly once is a failure too, so that this table cannot rot in silence.
 */
export interface Mutant {
  readonly law: string;
  /** What a programmer would have got wrong. */
  readonly slip: string;
  /** Below src/core. */
  readonly file: string;
  readonly search: string;
  readonly replacement: string;
  readonly weather: string;
}

export const MUTANTS: readonly Mutant[] = [
  {
    law: 'never-without-default', slip: 'the old routes are deleted before the new ones stand', file: 'plan.js', weather: 'cables',
    search: 'if (fresh.some((route) => old.some((gone) => gone.metric === route.metric)))',
    replacement: 'for (const route of old) changes.push({ op: "delete", route }); if (false)',
  },
  {
    law: 'never-without-default', slip: 'nothing is put back that somebody else deleted', file: 'reconcile.js', weather: 'foreign hands',
    search: 'repair.tries++;', replacement: 'if (repair.installedAs === wishAs) return false; repair.tries++;',
  },
  {
    law: 'active-is-alive', slip: 'a target that never answers keeps the burst open', file: 'ask.js', weather: 'mute targets',
    search: 'answers(record) && isWaiting(record, sentBy, now)', replacement: 'nextDeadline(record, now) !== undefined',
  },
  {
    law: 'active-is-alive', slip: 'nobody is surely better than a silent leader', file: 'decide.js', weather: 'leaders',
    search: 'if (sure.length === 0 && lost.some(', replacement: 'if (lost.some(',
  },
  {
    law: 'active-is-alive', slip: 'a cut cable is taken for silence', file: 'desire.js', weather: 'cables',
    search: 'if (!link.carrier)', replacement: 'if (false)',
  },
  {
    law: 'every-healthy-uplink-found-again', slip: 'probes of a dead uplink lose their way', file: 'desire.js', weather: 'faults',
    search: 'rules.push({ ...plainRule(family, PREFERENCE.device, table), outInterface: uplink.interface });\n    if (!carries)\n        return;',
    replacement: 'if (!carries) return; rules.push({ ...plainRule(family, PREFERENCE.device, table), outInterface: uplink.interface });',
  },
  {
    law: 'every-healthy-uplink-found-again', slip: 'a gateway is forgotten with the route that taught it', file: 'gateway.js', weather: 'devices',
    search: 'if (uplink.gateway !== \'auto\' || known === undefined || link === undefined)', replacement: 'if (true)',
  },
  {
    law: 'every-healthy-uplink-found-again', slip: 'one lost notice is never made good', file: 'look.js', weather: 'lost notices',
    search: 'if (looks.nextReadAt <= now)', replacement: 'if (false)',
  },
  {
    law: 'no-cry-wolf', slip: 'one missed reply is believed', file: 'judge.js', weather: 'drizzle',
    search: 'if (health.burst.left === 0)', replacement: 'if (true)',
  },
  {
    law: 'no-cry-wolf', slip: 'our own starvation is taken for silence', file: 'judge.js', weather: 'starved',
    search: 'if (lateMs > LATE_MS)', replacement: 'if (false)',
  },
  {
    law: 'asks-sparingly', slip: 'no allowance for jitter', file: 'record.js', weather: 'fair',
    search: 'Math.max(GRANULARITY_MS, K * record.rttvarMs)', replacement: '0',
  },
  {
    law: 'no-switch-in-fair-weather', slip: 'doubt alone moves new flows', file: 'decide.js', weather: 'drizzle',
    search: 'return c.verdict.state === \'up\' && (led', replacement: 'return c.verdict.state === \'up\' && !c.verdict.inDoubt && (led',
  },
  {
    law: 'hiccups-cut-nothing', slip: 'suspicion is death', file: 'judge.js', weather: 'hiccups',
    search: 'return health.silentSince + policy.health.down.afterMs', replacement: 'return health.silentSince + 0.1 * policy.health.down.afterMs',
  },
  {
    law: 'hiccups-cut-nothing', slip: 'time in which we did not ask counts as silence', file: 'judge.js', weather: 'hiccups',
    search: 'policy.health.down.afterMs + starvedMs(health, health.silentSince)', replacement: 'policy.health.down.afterMs',
  },
  {
    law: 'keep-last', slip: 'the others are not asked before one is left', file: 'step.js', weather: 'eclipse',
    search: 'if (doubt)', replacement: 'if (false)',
  },
  {
    law: 'keep-last', slip: 'an uplink that was asked in vain counts as sure', file: 'judge.js', weather: 'eclipse',
    search: 'inDoubt: health.burst !== undefined || health.checkedAt !== undefined', replacement: 'inDoubt: false',
  },
  {
    law: 'hold-respected', slip: 'no hold', file: 'decide.js', weather: 'cables',
    search: 'return automatic && now >= heldAt(question, c);', replacement: 'return automatic;',
  },
  {
    law: 'hold-respected', slip: 'a suspicion shortens the hold', file: 'decide.js', weather: 'relapses',
    search: 'return Math.max(c.risenAt + holdMs(question.policy, c.downLevel), c.verdict.holdUntil ?? -Infinity);',
    replacement: 'return (c.verdict.holdUntil ?? c.risenAt + holdMs(question.policy, c.downLevel));',
  },
  {
    law: 'hold-respected', slip: 'the hold does not grow', file: 'decide.js', weather: 'cables',
    search: 'return policy.failback.holdMs * 2 **', replacement: 'return policy.failback.holdMs * 1 **',
  },
  {
    law: 'override-obeyed', slip: 'an order is taken for advice', file: 'decide.js', weather: 'operator',
    search: 'const choice = override === undefined ? automatic :', replacement: 'const choice = true ? automatic :',
  },
  {
    law: 'override-ends', slip: 'an order stands for ever', file: 'override.js', weather: 'operator',
    search: 'if (!expired && !unconfirmed)', replacement: 'if (!unconfirmed)',
  },
  {
    law: 'override-ends', slip: 'nobody needs to confirm', file: 'override.js', weather: 'operator',
    search: 'if (!expired && !unconfirmed)', replacement: 'if (!expired)',
  },
  {
    law: 'every-order-answered', slip: 'answers wait for something else to happen', file: 'settle.js', weather: 'operator',
    search: 'for (const token of state.waiting.splice(0))', replacement: 'for (const token of state.waiting.splice(1))',
  },
  {
    law: 'every-order-answered', slip: 'answered before it was read back', file: 'step.js', weather: 'operator',
    search: 'if (!applying)', replacement: 'if (true)',
  },
  {
    law: 'because-and-since', slip: 'no reason is given', file: 'judge.js', weather: 'faults',
    search: 'health.because = because;', replacement: 'health.because = state === "suspect" ? "" : because;',
  },
  {
    law: 'forget-only-after-proof', slip: 'flows are forgotten at once', file: 'settle.js', weather: 'faults',
    search: 'else if (better && hasLeft(state, uplink))', replacement: 'else',
  },
  {
    law: 'forget-only-after-proof', slip: 'flows are forgotten when all are silent', file: 'settle.js', weather: 'eclipse',
    search: 'const better = installed &&', replacement: 'const better = installed || installed &&',
  },
  {
    law: 'forget-only-after-proof', slip: 'another uplink\'s mark', file: 'settle.js', weather: 'cables',
    search: 'mark: markOf(health.policy.slot, state.policy.markMask)', replacement: 'mark: markOf(health.policy.slot ^ 1, state.policy.markMask)',
  },
  {
    law: 'foreign-untouched', slip: 'a route of somebody else is replaced', file: 'plan.js', weather: 'foreign hands',
    search: 'for (const route of fresh)\n                changes.push({ op: \'add\', route });',
    replacement: 'for (const route of fresh) changes.push({ op: "replace", route: { ...route, metric: route.table === 254 ? 20 : route.metric } });',
  },
  {
    law: 'foreign-untouched', slip: 'a route without our protocol', file: 'desire.js', weather: 'fair',
    search: 'destination: \'default\', metric, protocol: OUR_PROTOCOL', replacement: 'destination: \'default\', metric, protocol: 4',
  },
  {
    law: 'nothing-refused', slip: 'a metric that somebody else has', file: 'desire.js', weather: 'foreign hands',
    search: 'return free ?? METRIC_BASES[0];', replacement: 'return METRIC_BASES[0];',
  },
  {
    law: 'nothing-refused', slip: 'two plans in flight', file: 'reconcile.js', weather: 'devices',
    search: 'if (repair.inFlight)', replacement: 'if (false)',
  },
  {
    law: 'flows-keep-their-way', slip: 'a suspect loses its mark rule', file: 'desire.js', weather: 'faults',
    search: '?.state !== \'down\')', replacement: '?.state === \'up\')',
  },
  {
    law: 'converges', slip: 'a quarrel runs hot', file: 'reconcile.js', weather: 'quarrel',
    search: 'repair.tries <= FREE_TRIES ? 0 :', replacement: 'true ? 0 :',
  },
  {
    law: 'converges', slip: 'what is there is not recognised', file: 'plan.js', weather: 'fair',
    search: 'other.onlink === hop.onlink', replacement: 'other.onlink !== hop.onlink',
  },
  {
    law: 'wake-is-sane', slip: 'a deadline is kept that is over', file: 'look.js', weather: 'fair',
    search: 'looks.nextReadAt = (now + READ_EVERY_MS);', replacement: '',
  },
  {
    law: 'wake-is-sane', slip: 'nobody asks to be woken', file: 'step.js', weather: 'fair',
    search: 'return next;', replacement: 'return Infinity;',
  },
  {
    law: 'deterministic', slip: 'a die in the core', file: 'look.js', weather: 'fair',
    search: 'LOOK_IDLE_MS));', replacement: 'LOOK_IDLE_MS + Math.random()));',
  },
  {
    law: 'deterministic', slip: 'a look at the clock on the wall', file: 'look.js', weather: 'fair',
    search: 'LOOK_IDLE_MS));', replacement: 'LOOK_IDLE_MS + Date.now() % 10));',
  },
];
