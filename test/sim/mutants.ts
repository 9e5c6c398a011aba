/**
 * The core, broken on purpose: each mutant is one place in the compiled text, and the law that must fall when it is so. A search text that
 * does not stand there exactly once is a failure too, so that this table cannot rot in silence. What a test of test/core must notice
 * stands in mutants-of-tests.ts.
 */
export interface Slip {
  /** What a programmer would have got wrong. */
  readonly slip: string;
  /** Below src/core. */
  readonly file: string;
  readonly search: string;
  readonly replacement: string;
}

export interface Mutant extends Slip {
  readonly law: string;
  readonly weather: string;
  /** Fells the law: this one is played first. */
  readonly seed: number;
  /** How many are played until the law has fallen; default 24. */
  readonly seeds?: number;
}

export const MUTANTS: readonly Mutant[] = [
  {
    law: 'never-without-default', slip: 'the old routes are deleted before the new ones stand', file: 'plan.js', weather: 'cables', seed: 2,
    search: 'if (fresh.some((route) => old.some((gone) => gone.metric === route.metric)))',
    replacement: 'for (const route of old) changes.push({ op: "delete", route }); if (false)',
  },
  {
    law: 'never-without-default', slip: 'nothing is put back that somebody else deleted', file: 'reconcile.js', weather: 'foreign hands', seed: 1,
    search: 'repair.tries++;', replacement: 'if (repair.installedAs === wishAs) return false; repair.tries++;',
  },
  {
    law: 'active-is-alive', slip: 'a target that never answers keeps the burst open', file: 'ask.js', weather: 'mute targets', seed: 23,
    search: 'return expected(health).some((record) => isWaiting(record, sentBy, now))', replacement: 'return health.records.some((record) => nextDeadline(record, now) !== undefined)',
  },
  {
    law: 'active-is-alive', slip: 'nobody is surely better than a silent leader', file: 'decide.js', weather: 'leaders', seed: 4,
    search: 'if (sure.length === 0 && lost.some(', replacement: 'if (lost.some(',
  },
  {
    law: 'active-is-alive', slip: 'a cut cable is taken for silence', file: 'line.js', weather: 'cables', seed: 6,
    search: 'if (!link.carrier)', replacement: 'if (false)',
  },
  {
    law: 'every-healthy-uplink-found-again', slip: 'probes of a dead uplink lose their way', file: 'desire.js', weather: 'faults', seed: 3,
    search: 'if (device !== \'\')\n', replacement: 'if (!carries) return;\n    if (device !== \'\')\n',
  },
  {
    law: 'every-healthy-uplink-found-again', slip: 'a gateway is forgotten with the route that taught it', file: 'gateway.js', weather: 'devices', seed: 10,
    search: 'return known !== undefined && ', replacement: 'return false && ',
  },
  {
    law: 'every-healthy-uplink-found-again', slip: 'one lost notice is never made good', file: 'look.js', weather: 'lost notices', seed: 2,
    search: 'if (looks.nextReadAt <= now)', replacement: 'if (false)',
  },
  {
    law: 'no-cry-wolf', slip: 'one missed reply is believed', file: 'judge.js', weather: 'drizzle', seed: 1,
    search: 'if (health.burst.left === 0)', replacement: 'if (true)',
  },
  {
    law: 'no-cry-wolf', slip: 'our own starvation is taken for silence', file: 'judge.js', weather: 'starved', seed: 9,
    search: 'if (lateMs > LATE_MS)', replacement: 'if (false)',
  },
  {
    law: 'asks-sparingly', slip: 'no allowance for jitter', file: 'record.js', weather: 'fair', seed: 4,
    search: 'Math.max(GRANULARITY_MS, K * rttvarMs)', replacement: '0',
  },
  {
    law: 'no-switch-in-fair-weather', slip: 'doubt alone moves new flows', file: 'decide.js', weather: 'drizzle', seed: 4,
    search: 'return c.verdict.state === \'up\' && (led', replacement: 'return c.verdict.state === \'up\' && !c.verdict.inDoubt && (led',
  },
  {
    law: 'hiccups-cut-nothing', slip: 'suspicion is death', file: 'judge.js', weather: 'hiccups', seed: 1,
    search: 'return health.silentSince + policy.health.down.afterMs', replacement: 'return health.silentSince + 0.1 * policy.health.down.afterMs',
  },
  {
    law: 'keep-last', slip: 'the others are not asked before one is left', file: 'step.js', weather: 'eclipse', seed: 4,
    search: 'if (doubt)', replacement: 'if (false)',
  },
  {
    law: 'keep-last', slip: 'an uplink that was asked in vain counts as sure', file: 'verdict.js', weather: 'eclipse', seed: 4,
    search: 'inDoubt: health.burst !== undefined || health.checkedAt !== undefined', replacement: 'inDoubt: false',
  },
  {
    law: 'hold-respected', slip: 'no hold', file: 'decide.js', weather: 'cables', seed: 2,
    search: 'return automatic && now >= heldAt(question, c) && isProven(question, c);', replacement: 'return automatic;',
  },
  {
    law: 'hold-respected', slip: 'a suspicion shortens the hold', file: 'decide.js', weather: 'relapses', seed: 5,
    search: 'return Math.max(c.risenAt + holdMs(question.policy, c.penalty), c.verdict.holdUntil ?? -Infinity);',
    replacement: 'return (c.verdict.holdUntil ?? c.risenAt + holdMs(question.policy, c.penalty));',
  },
  {
    law: 'hold-respected', slip: 'the hold does not grow', file: 'damping.js', weather: 'cables', seed: 2,
    search: 'return policy.failback.holdMs * 2 **', replacement: 'return policy.failback.holdMs * 1 **',
  },
  {
    law: 'override-obeyed', slip: 'an order is taken for advice', file: 'decide.js', weather: 'operator', seed: 1,
    search: 'const choice = override === undefined ? automatic :', replacement: 'const choice = true ? automatic :',
  },
  {
    law: 'override-ends', slip: 'an order stands for ever', file: 'override.js', weather: 'operator', seed: 1,
    search: 'if (!expired && !unconfirmed)', replacement: 'if (!unconfirmed)',
  },
  {
    law: 'override-ends', slip: 'nobody needs to confirm', file: 'override.js', weather: 'operator', seed: 2,
    search: 'if (!expired && !unconfirmed)', replacement: 'if (!expired)',
  },
  {
    law: 'every-order-answered', slip: 'answers wait for something else to happen', file: 'settle.js', weather: 'operator', seed: 1,
    search: 'for (const token of state.waiting.splice(0))', replacement: 'for (const token of state.waiting.splice(1))',
  },
  {
    law: 'every-order-answered', slip: 'answered before it was read back', file: 'step.js', weather: 'operator', seed: 2,
    search: 'if (!applying)', replacement: 'if (true)',
  },
  {
    law: 'because-and-since', slip: 'no reason is given', file: 'verdict.js', weather: 'faults', seed: 1,
    search: 'health.because = because;', replacement: 'health.because = health.state === "suspect" ? "" : because;',
  },
  {
    law: 'forget-only-after-proof', slip: 'flows are forgotten at once', file: 'forgets.js', weather: 'cables', seed: 1,
    search: 'if (installed.get(plane.family) !== true || !isBetter(plane))', replacement: 'if (false)',
  },
  {
    law: 'forget-only-after-proof', slip: 'flows are forgotten while the uplink still stands in the kernel', file: 'forgets.js', weather: 'eclipse', seed: 13,
    search: 'return after === \'moved\' || hasLeft(state, plane, health) ?', replacement: 'return true ?',
  },
  {
    law: 'by-its-mark-alone', slip: 'another uplink\'s mark', file: 'forgets.js', weather: 'cables', seed: 2,
    search: 'mark: markOf(uplink.slot, markMask)', replacement: 'mark: markOf(uplink.slot ^ 1, markMask)',
  },
  {
    law: 'by-its-mark-alone', slip: 'connections that go on untranslated are cut', file: 'forgets.js', weather: 'one family', seed: 8, seeds: 120,
    search: 'uplink.translate[family].kind !== \'none\'', replacement: 'true',
  },
  {
    law: 'leaders-keep-their-connections', slip: 'a deadline outlives the return of the uplink', file: 'forgets.js', weather: 'returns', seed: 1,
    search: '!silent : leads(plane, order.uplink)', replacement: '!silent : false',
  },
  {
    law: 'left-behind-is-cut', slip: 'a metered uplink is treated like any other', file: 'forgets.js', weather: 'returns', seed: 8,
    search: 'health.policy.metered ? 0 :', replacement: '',
  },
  {
    law: 'left-behind-is-cut', slip: 'who was silent for a moment keeps what he carries', file: 'forgets.js', weather: 'policies', seed: 13,
    search: 'if (after === \'moved\' && silent)\n        return \'wait\';', replacement: 'if (after === \'moved\' && silent) return \'never\';',
  },
  {
    law: 'old-addresses-are-forgotten', slip: 'an address that came back counts as gone', file: 'forgets.js', weather: 'lost notices', seed: 4,
    search: 'return isBack(state, order) ? \'never\' :', replacement: 'return',
  },
  {
    law: 'blocked-never-leaks', slip: 'nothing is refused before the first decision', file: 'desire.js', weather: 'policies', seed: 1,
    search: 'if (each.otherwise === \'block\')', replacement: 'if (each.otherwise === \'block\' && decision !== undefined)',
  },
  {
    law: 'blocked-never-leaks', slip: 'the rule stands before its table does', file: 'plan.js', weather: 'policies', seed: 1,
    search: 'for (const table of classes)\n', replacement: 'for (const rule of newRules.splice(0)) changes.push({ op: \'add\', rule });\n    for (const table of classes)\n',
  },
  {
    law: 'policies-go-by-the-living', slip: 'the order of a policy is taken as it is written', file: 'desire.js', weather: 'policies', seed: 11,
    search: 'decision.fit.some((fit) => fit.uplink === member.uplink && fit.trust === trust)', replacement: 'trust === "proven"',
  },
  {
    law: 'policies-go-by-the-living', slip: 'what could go by an uplink that rests is refused', file: 'desire.js', weather: 'policies', seed: 19,
    search: '...(otherwise === \'block\' ? trusted(\'resting\') : [])', replacement: '',
  },
  {
    law: 'policies-keep-to-their-order', slip: 'policies follow whoever leads', file: 'desire.js', weather: 'policies', seed: 2,
    search: 'classRanks(each, decision), [table]', replacement: 'decision.ranks, [table]',
  },
  {
    law: 'nothing-without-a-line', slip: 'both families get their rules, whoever has an address', file: 'desire.js', weather: 'fair', seed: 1,
    search: 'of ground.planes) {', replacement: 'of new Map([[6, { health: new Map(), decision: undefined }], ...ground.planes])) {',
  },
  {
    law: 'one-generation', slip: 'each family counts for itself', file: 'decide.js', weather: 'one family', seed: 4,
    search: 'Math.max(previous?.generation ?? 0, question.generationBefore ?? 0) + 1', replacement: '(previous?.generation ?? 0) + 1',
  },
  {
    law: 'foretold-comes-true', slip: 'the forecast is made on the state itself', file: 'forecast.js', weather: 'cables', seed: 1,
    search: 'const copy = structuredClone(state);', replacement: 'const copy = state;',
  },
  {
    law: 'foretold-comes-true', slip: 'the forecast ends with the first plan', file: 'forecast.js', weather: 'cables', seed: 2,
    search: 'const STEPS_AT_MOST = 8;', replacement: 'const STEPS_AT_MOST = 1;',
  },
  {
    law: 'foreign-untouched', slip: 'a route of somebody else is replaced', file: 'plan.js', weather: 'foreign hands', seed: 11,
    search: 'for (const route of fresh)\n                changes.push({ op: \'add\', route });',
    replacement: 'for (const route of fresh) changes.push({ op: "replace", route: { ...route, metric: route.table === 254 ? 20 : route.metric } });',
  },
  {
    law: 'foreign-untouched', slip: 'a route without our protocol', file: 'desire.js', weather: 'fair', seed: 1,
    search: 'destination: \'default\', metric, protocol: OUR_PROTOCOL', replacement: 'destination: \'default\', metric, protocol: 4',
  },
  {
    law: 'nothing-refused', slip: 'a metric that somebody else has', file: 'desire.js', weather: 'foreign hands', seed: 3,
    search: 'return free ?? METRIC_BASES[0];', replacement: 'return METRIC_BASES[0];',
  },
  {
    law: 'nothing-refused', slip: 'two plans in flight', file: 'reconcile.js', weather: 'devices', seed: 2,
    search: 'if (repair.inFlight)', replacement: 'if (false)',
  },
  {
    law: 'flows-keep-their-way', slip: 'a suspect loses its mark rule', file: 'desire.js', weather: 'faults', seed: 2,
    search: 'health.get(uplink.name).state === \'down\'', replacement: 'health.get(uplink.name).state !== \'up\'',
  },
  {
    law: 'converges', slip: 'a quarrel runs hot', file: 'reconcile.js', weather: 'quarrel', seed: 1,
    search: 'repair.tries <= FREE_TRIES ? 0 :', replacement: 'true ? 0 :',
  },
  {
    law: 'converges', slip: 'what is there is not recognised', file: 'plan.js', weather: 'fair', seed: 1,
    search: 'function routeKey(route) {', replacement: 'let asked = 0;\nfunction routeKey(route) {\n    if (asked++ % 7 === 0) return String(asked);',
  },
  {
    law: 'wake-is-sane', slip: 'a deadline is kept that is over', file: 'look.js', weather: 'fair', seed: 1,
    search: 'looks.nextReadAt = (now + READ_EVERY_MS);', replacement: '',
  },
  {
    law: 'wake-is-sane', slip: 'nobody asks to be woken', file: 'step.js', weather: 'fair', seed: 1,
    search: 'return next;', replacement: 'return Infinity;',
  },
  {
    law: 'no-cry-wolf', slip: 'what our own prober could not ask counts as missed', file: 'record.js', weather: 'blind prober', seed: 1,
    search: 'probe.void = true;', replacement: 'probe.void = false;',
  },
  {
    law: 'no-verdict-without-evidence', slip: 'reasons in words alone', file: 'verdict.js', weather: 'faults', seed: 1,
    search: 'health.evidence = evidenceOf(health, now);', replacement: 'health.evidence = [];',
  },
  {
    law: 'progress-vetoes', slip: 'connections that get answers are not looked at', file: 'judge.js', weather: 'mute resolvers', seed: 2,
    search: 'if (flowsVouch(health, since, now))', replacement: 'if (false)',
  },
  {
    law: 'outside-obeyed', slip: 'a verdict from outside is only told', file: 'witness.js', weather: 'outsiders', seed: 1,
    search: 'verdict.state === \'down\'', replacement: 'false',
  },
  {
    law: 'outside-obeyed', slip: 'it never ends', file: 'outside.js', weather: 'outsiders', seed: 1,
    search: 'state.outside = state.outside.filter((verdict) => verdict.until > now);', replacement: '',
  },
  {
    law: 'poor-only-alone', slip: 'to work badly is to work', file: 'decide.js', weather: 'bad lines', seed: 3,
    search: 'return c.verdict.state === \'up\' && (led', replacement: 'return (c.verdict.state === \'up\' || c.verdict.state === \'degraded\') && (led',
  },
  {
    law: 'all-at-once-is-said', slip: 'each is judged by itself', file: 'correlate.js', weather: 'eclipse', seed: 2,
    search: 'if (since.length < whole.length)', replacement: 'if (true)',
  },
  {
    law: 'forget-only-after-proof', slip: 'a degradation cuts old flows', file: 'forgets.js', weather: 'bad lines', seed: 5,
    search: 'if (health.state !== \'suspect\' && health.state !== \'down\')', replacement: 'if (health.state === \'degraded\') state.forgets.set(health.name, { order: orderFor(state, health.policy, health.family, {}), after: \'moved\', dueAt: 0, isSweep: false });\n    if (health.state !== \'suspect\' && health.state !== \'down\')',
  },
  {
    law: 'deterministic', slip: 'a die in the core', file: 'look.js', weather: 'fair', seed: 1,
    search: 'LOOK_IDLE_MS));', replacement: 'LOOK_IDLE_MS + Math.random()));',
  },
  {
    law: 'deterministic', slip: 'a look at the clock on the wall', file: 'look.js', weather: 'fair', seed: 1,
    search: 'LOOK_IDLE_MS));', replacement: 'LOOK_IDLE_MS + Date.now() % 10));',
  },
  {
    law: 'hollow-lines-are-left', slip: 'targets are believed whatever connections say', file: 'hollow.js', weather: 'hollow lines', seed: 4,
    search: 'return health.policy.probe.passive && health.burst', replacement: 'return false && health.burst',
  },
  {
    law: 'main-leads-somewhere', slip: 'a foreign default that refuses everything stays in front of ours', file: 'stand-in.js', weather: 'foreign routes', seed: 1,
    search: 'if (metric === undefined || routes.length >= STAND_INS_AT_MOST)', replacement: 'if (true)',
  },
  {
    law: 'reasons-have-a-subject', slip: 'a target that answered a moment ago is not named', file: 'domain.js', weather: 'flows', seed: 3,
    search: 'const speak = answer.length + outsiders.length > 0 ? answer : heard.filter((record) => record.lastReplyAt === last);', replacement: 'const speak = answer;',
  },
];
