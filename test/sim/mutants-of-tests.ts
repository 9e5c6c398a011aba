/**
 * The rules of asking and judging, broken on purpose: each is one place in the compiled core, and a test of test/core that must fail when
 * it is so.
 */
import type { Slip } from './mutants.js';

export interface TestMutant extends Slip {
  /** test/core/NAME.test.js, and a pattern of the names of those that are run. */
  readonly test: string;
  readonly only: string;
}

export const TEST_MUTANTS: readonly TestMutant[] = [
  {
    test: 'quality', only: 'bufferbloat', slip: 'a full queue is a sickness', file: 'quality.js',
    search: 'isBusy(health, now) ||', replacement: '',
  },
  {
    test: 'quality', only: 'same delay', slip: 'any traffic excuses any delay', file: 'traffic.js',
    search: 'mostBytes >= LOAD_TIMES * averageBytes', replacement: 'true',
  },
  {
    test: 'quality', only: 'recovery', slip: 'good again as soon as it looks good', file: 'quality.js',
    search: '>= health.policy.health.quality.windowMs', replacement: '>= 0',
  },
  {
    test: 'quality', only: 'recovery', slip: 'one level for both ways', file: 'quality.js',
    search: '? threshold.up : threshold.down', replacement: '? threshold.down : threshold.down',
  },
  {
    test: 'quality', only: 'degraded, then silent', slip: 'a suspicion heals', file: 'judge.js',
    search: 'health.poor = health.state === \'degraded\' ?', replacement: 'health.poor = false ?',
  },
  {
    test: 'quality', only: 'one penalty|counts one', slip: 'a degradation is forgiven', file: 'verdict.js',
    search: '(state === \'degraded\' && before !== \'suspect\')', replacement: 'false',
  },
  {
    test: 'impairment', only: 'names', slip: 'one resolver speaks for all', file: 'quality.js',
    search: 'failing.length < asked.length || failing.length + others.length < 2', replacement: 'failing.length === 0',
  },
  {
    test: 'impairment', only: 'large packets that', slip: 'a host that never took large packets proves a narrow path', file: 'quality.js',
    search: 'record.lastReplyAt === undefined || !isSilent(record, now))', replacement: '!isSilent(record, now))',
  },
  {
    test: 'impairment', only: 'alone never', slip: 'those aside raise suspicion', file: 'judge.js',
    search: 'record.excused || isAside(record) ||', replacement: 'record.excused ||',
  },
  {
    test: 'impairment', only: 'where it broke', slip: 'hops are not looked at', file: 'domain.js',
    search: 'return \'hops\';', replacement: 'return \'upstream\';',
  },
  {
    test: 'impairment', only: 'just when', slip: 'a burst that was never sent is believed', file: 'judge.js',
    search: 'if (isBlinded(health, now))\n', replacement: 'if (false)\n',
  },
  {
    test: 'judge', only: 'a suspect is not condemned', slip: 'time in which we did not ask counts as silence', file: 'judge.js',
    search: 'policy.health.down.afterMs + starvedMs(health, health.silentSince)', replacement: 'policy.health.down.afterMs',
  },
  {
    test: 'judge-bounds', only: 'end before the fault', slip: 'whoever gets answers vouches, however few they are', file: 'traffic.js',
    search: 'return answered >= LEVEL_SHARE * usual - Math.sqrt(usual);', replacement: 'return true;',
  },
  {
    test: 'judge-bounds', only: 'nobody counts', slip: 'who vouched once vouches for ever', file: 'judge.js',
    search: 'now - health.traffic.lastAt > VOUCHED_LATELY_MS)', replacement: 'false)',
  },
  {
    test: 'impairment', only: 'for a while', slip: 'time without sight counts as silence', file: 'starvation.js',
    search: 'noteStarvation(health, health.blindSince, now);', replacement: 'void 0;',
  },
  {
    test: 'passive', only: 'dies under traffic', slip: 'connections raise no alarm', file: 'judge.js',
    search: 'health.alarmed = true;\n    health.nextPassAt', replacement: 'health.alarmed = false;\n    health.nextPassAt',
  },
  {
    test: 'passive', only: 'no verdict', slip: 'connections are believed without asking', file: 'judge.js',
    search: 'left: Math.max(from.byTraffic ? 1 : 0,', replacement: 'left: Math.max(0,',
  },
  {
    test: 'passive', only: 'falls silent while', slip: 'what the targets missed is loss of the line', file: 'quality.js',
    search: '|| health.vouchedSince !== undefined', replacement: '',
  },
  {
    test: 'passive', only: 'vouched for', slip: 'once vouched for is for ever', file: 'judge.js',
    search: 'now - health.vouchedSince > VOUCHED_LATELY_MS', replacement: 'false',
  },
  {
    test: 'passive', only: 'passive off', slip: 'the wish not to count is not heard', file: 'judge.js',
    search: 'if (!health.policy.probe.passive || health.line.severed !== \'\')', replacement: 'if (health.line.severed !== \'\')',
  },
  {
    test: 'traffic', only: 'not learnt', slip: 'silence becomes the usual', file: 'traffic.js',
    search: 'if (traffic.sentSince > 0 && now - traffic.answeredAt < USUAL_MS)', replacement: 'if (false)',
  },
  {
    test: 'traffic', only: 'counters', slip: 'counters never begin anew', file: 'traffic.js',
    search: ' || count.sentPackets < last.sentPackets || count.answeredPackets < last.answeredPackets', replacement: '',
  },
  {
    test: 'traffic', only: 'bursts', slip: 'gaps are not learnt', file: 'traffic.js',
    search: 'USUAL_GAPS * traffic.gapMs', replacement: '0',
  },
  {
    test: 'damping', only: 'four half-lives', slip: 'a penalty grows without bound', file: 'damping.js',
    search: 'Math.min(health.penalty + 1, Math.max(suppress, reuse * 2 ** HALF_LIVES_AT_MOST))', replacement: 'health.penalty + 1',
  },
  {
    test: 'damping', only: 'three deaths', slip: 'nobody is suppressed', file: 'damping.js',
    search: 'health.suppressed = true;', replacement: 'void 0;',
  },
  {
    test: 'damping', only: 'three deaths', slip: 'a suppression never ends', file: 'damping.js',
    search: 'health.suppressed = false;', replacement: 'void 0;',
  },
  {
    test: 'damping', only: 'keeps', slip: 'a reload forgives', file: 'health.js',
    search: 'penalty: former?.penalty ?? 0', replacement: 'penalty: 0',
  },
  {
    test: 'ask', only: '5 MB', slip: 'a budget is a wish', file: 'ask.js',
    search: 'if (budgetBytes === undefined)', replacement: 'if (true)',
  },
  {
    test: 'ask', only: 'who leads is watched', slip: 'who leads is asked as seldom as others', file: 'ask.js',
    search: 'const watched = health.leads &&', replacement: 'const watched = false &&',
  },
  {
    test: 'ask', only: 'rotation', slip: 'those asked in turn stand close together', file: 'health.js',
    search: 'rotate > 0 && rotate < turns.length ?', replacement: 'false ?',
  },
  {
    test: 'ask', only: 'dear', slip: 'a page is asked for by volleys', file: 'ask.js',
    search: 'first || !(isSlow(record.target) || isAside(record))', replacement: 'true',
  },
  {
    test: 'ask', only: 'by the hour', slip: 'hours are never forgotten', file: 'spending.js',
    search: 'if (spending.hours.length > HOURS)', replacement: 'if (false)',
  },
  {
    test: 'outside', only: 'condemned besides', slip: 'reasons quarrel', file: 'correlate.js',
    search: '&& domain !== \'outside\'', replacement: '',
  },
  {
    test: 'outside', only: 'up is one witness', slip: 'an excuse outlives its reason', file: 'judge.js',
    search: 'if (outside.length < health.outside.length)', replacement: 'if (false)',
  },
  {
    test: 'outside', only: 'bounded', slip: 'witnesses without number', file: 'outside.js',
    search: '|| same.indexOf(other) > same.length - WITNESSES_AT_MOST', replacement: '|| true',
  },
  {
    test: 'outside', only: 'different times', slip: 'any two deaths are one', file: 'correlate.js',
    search: 'const AT_ONCE_MS = 3000;', replacement: 'const AT_ONCE_MS = 3000000;',
  },
  {
    test: 'decide-poor', only: 'behind all others', slip: 'those that work badly are dropped', file: 'decide.js',
    search: 'return [...ranks, ...poor', replacement: 'return [...ranks, ...poor.slice(poor.length)',
  },
  {
    test: 'decide-poor', only: 'silent leader is left', slip: 'nobody is fit who works badly', file: 'decide.js',
    search: 'return fit.length > 0 ? fit : candidates', replacement: 'return fit.length > 0 ? fit : [].filter(() => candidates) && candidates.slice(candidates.length)',
  },
];
