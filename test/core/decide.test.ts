/** Who carries new flows, and why: stories. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { holdMs } from '../../src/core/damping.js';
import { decide } from '../../src/core/decide.js';
import type { Decision } from '../../src/model.js';
import { at, policyOf, uplinkPolicy } from './fixture.js';
import { story } from './decide-story.js';

const TWO = policyOf([uplinkPolicy('fibre'), uplinkPolicy('cable')]);
const THREE = policyOf([uplinkPolicy('fibre'), uplinkPolicy('cable'), uplinkPolicy('lte')]);
const ADOPTED: Decision = {
  ranks: [{ members: [{ uplink: 'cable', weight: 1 }] }, { members: [{ uplink: 'fibre', weight: 1 }] }],
  generation: 1, since: at(0), because: 'found in the kernel, as a former run left it', rule: 'adopted', order: '', fit: [],
};

test('start-up: the most preferred is waited for, two seconds at most', () => {
  story(THREE, `
    0     -               -> wait
    0.01  cable up        -> wait
    0.02  fibre up        -> fibre > cable [automatic] fibre is up and preferred (priority 1)
    0.05  lte up          -> fibre > cable > lte [automatic] fibre is up and preferred (priority 1)
  `);
  story(THREE, `
    0.01  cable up        -> wait
    2     -               -> cable [automatic] cable is up and preferred (priority 2)
  `);
  story(THREE, `
    0.01  cable up        -> wait
    0.5   fibre severed   -> cable [automatic] cable is up and preferred (priority 2)
  `);
});

test('start-up: when nobody answers, the most preferred that is not cut off is tried', () => {
  story(THREE, `
    0     fibre severed                   -> wait
    2     cable down, lte down            -> cable > lte [last-resort] no uplink answers; trying cable, the most preferred that is not cut off
    3     cable severed                   -> lte [last-resort] no uplink answers; trying lte, the most preferred that is not cut off
    4     lte severed                     -> none [last-resort] every uplink is cut off: fibre is down: no carrier; cable is down: no carrier; lte is down: no carrier
    5     fibre down                      -> fibre [last-resort] no uplink answers; trying fibre, the most preferred that is not cut off
  `);
});

test('a leader that is cut off is left at once', () => {
  story(TWO, `
    0     fibre up, cable up  -> fibre > cable [automatic] fibre is up and preferred (priority 1)
    9     fibre severed       -> cable [automatic] fibre is down: no carrier; cable is next (priority 2)
    9.1   cable doubt         -> =
  `);
});

test('a silent leader is left only for somebody who surely lives', () => {
  story(THREE, `
    0     fibre up, cable up, lte up  -> fibre > cable > lte [automatic] fibre is up and preferred (priority 1)
    9     fibre doubt                 -> =
    9.01  cable doubt, lte doubt      -> =
    9.06  fibre suspect               -> =
    9.1   lte sure                    -> lte > cable [automatic] fibre is suspect: silence; lte is next (priority 3)
    9.2   cable sure                  -> =
  `);
  story(TWO, `
    0     fibre up, cable up          -> fibre > cable [automatic] fibre is up and preferred (priority 1)
    9     cable doubt                 -> =
    9.01  fibre severed               -> cable [automatic] fibre is down: no carrier; cable is next (priority 2)
  `);
});

test('all silent: the last choice stays, says so, and the first answer does not win by a hair', () => {
  story(TWO, `
    0     fibre up, cable up                -> fibre > cable [automatic] fibre is up and preferred (priority 1)
    9     fibre suspect, cable doubt        -> =
    9.02  cable suspect                     -> fibre > cable [last-resort] all uplinks are silent, which may be us or the targets; fibre stays, because nothing better is left
    11    fibre down, cable down            -> =
    20    cable up                          -> =
    20.5  fibre up                          -> fibre > cable [automatic] fibre is up (priority 1)
  `);
  story(TWO, `
    0     fibre up, cable up                -> fibre > cable [automatic] fibre is up and preferred (priority 1)
    9     fibre suspect, cable suspect      -> fibre > cable [last-resort] all uplinks are silent, which may be us or the targets; fibre stays, because nothing better is left
    20    cable rests 5                     -> =
    20.25 -                                 -> =
    20.31 -                                 -> cable [automatic] cable answers, if not steadily; nothing better is left
  `);
  story(TWO, `
    0     fibre up, cable up                -> fibre > cable [automatic] fibre is up and preferred (priority 1)
    9     fibre down, cable down            -> fibre > cable [last-resort] all uplinks are silent, which may be us or the targets; fibre stays, because nothing better is left
    20    cable up                          -> =
    21.29 -                                 -> =
    21.31 -                                 -> cable [automatic] fibre is down: long silence; cable is next (priority 2)
  `);
});

test('all silent, and one that rests is in doubt itself: it is no refuge', () => {
  story(TWO, `
    0     fibre up, cable up               -> fibre > cable [automatic] fibre is up and preferred (priority 1)
    9     fibre suspect                    -> cable [automatic] fibre is suspect: silence; cable is next (priority 2)
    9.5   fibre rests 5                    -> =
    10    cable suspect, fibre doubt       -> =
    10.1  fibre suspect                    -> cable [last-resort] all uplinks are silent, which may be us or the targets; cable stays, because nothing better is left
  `);
  story(TWO, `
    0     fibre up, cable up               -> fibre > cable [automatic] fibre is up and preferred (priority 1)
    9     fibre suspect                    -> cable [automatic] fibre is suspect: silence; cable is next (priority 2)
    9.5   fibre rests 5                    -> =
    10    cable suspect                    -> fibre [automatic] fibre answers, if not steadily; nothing better is left
  `);
});

test('a single uplink stays, whatever it does', () => {
  story(policyOf([uplinkPolicy('fibre')]), `
    0     fibre up       -> fibre [automatic] fibre is up and preferred (priority 1)
    9     fibre suspect  -> fibre [last-resort] fibre is silent; fibre stays, because nothing better is left
    9.5   fibre rests 5  -> fibre [automatic] fibre is up (priority 1)
    11    fibre severed  -> none [last-resort] every uplink is cut off: fibre is down: no carrier
  `);
});

test('fail-back: the preferred one holds for its time first, and stands behind the leader meanwhile', () => {
  story(THREE, `
    0     fibre up, cable up, lte up  -> fibre > cable > lte [automatic] fibre is up and preferred (priority 1)
    60    fibre severed               -> cable > lte [automatic] fibre is down: no carrier; cable is next (priority 2)
    70    fibre up, fibre died 1      -> cable > fibre > lte [automatic] fibre is down: no carrier; cable is next (priority 2)
    99    -                           -> =
    100   fibre doubt                 -> =
    100.1 fibre sure                  -> fibre > cable > lte [automatic] fibre is preferred (priority 1) and has proved itself
  `);
});

test('fail-back: a suspicion does not shorten the hold, its own rest is added', () => {
  story(TWO, `
    0     fibre up, cable up   -> fibre > cable [automatic] fibre is up and preferred (priority 1)
    60    fibre severed        -> cable [automatic] fibre is down: no carrier; cable is next (priority 2)
    70    fibre up             -> cable > fibre [automatic] fibre is down: no carrier; cable is next (priority 2)
    72    fibre suspect        -> cable [automatic] fibre is down: no carrier; cable is next (priority 2)
    73    fibre rests 5        -> =
    78    -                    -> cable > fibre [automatic] fibre is down: no carrier; cable is next (priority 2)
    99    fibre suspect        -> cable [automatic] fibre is down: no carrier; cable is next (priority 2)
    99.5  fibre rests 10       -> =
    101   -                    -> =
    109.5 -                    -> fibre > cable [automatic] fibre is preferred (priority 1) and has proved itself
  `);
});

test('fail-back: after a mere suspicion the rest is enough', () => {
  story(TWO, `
    0     fibre up, cable up   -> fibre > cable [automatic] fibre is up and preferred (priority 1)
    60    fibre suspect        -> cable [automatic] fibre is suspect: silence; cable is next (priority 2)
    60.4  fibre rests 5        -> =
    65.4  -                    -> fibre > cable [automatic] fibre is preferred (priority 1) and has proved itself
  `);
});

test('fail-back: the hold doubles with each recent death, sixteen times at most', () => {
  assert.deepEqual([0, 1, 1.4, 2, 3, 4, 5, 9, 40].map((level) => holdMs(TWO, level) / 30_000), [1, 1, 1, 2, 4, 8, 16, 16, 16]);
  story(TWO, `
    0     fibre up, cable up       -> fibre > cable [automatic] fibre is up and preferred (priority 1)
    60    fibre severed            -> cable [automatic] fibre is down: no carrier; cable is next (priority 2)
    70    fibre up, fibre died 2.8 -> cable > fibre [automatic] fibre is down: no carrier; cable is next (priority 2)
    189   -                        -> =
    190   -                        -> fibre > cable [automatic] fibre is preferred (priority 1) and has proved itself
  `);
});

test('fail-back by hand: nobody returns by himself; the end of an order is the operator\'s word', () => {
  story(policyOf([uplinkPolicy('fibre'), uplinkPolicy('cable')], { mode: 'manual' }), `
    0     fibre up, cable up   -> fibre > cable [automatic] fibre is up and preferred (priority 1)
    60    fibre severed        -> cable [automatic] fibre is down: no carrier; cable is next (priority 2)
    70    fibre up             -> cable > fibre [automatic] fibre is down: no carrier; cable is next (priority 2)
    9999  -                    -> =
    10000 order fibre          -> fibre > cable [override] noc switched to fibre
    10001 auto                 -> fibre > cable [automatic] fibre is up (priority 1)
    10002 order cable          -> cable > fibre [override] noc switched to cable
    10003 auto                 -> fibre > cable [automatic] fibre is preferred (priority 1) and has proved itself
  `);
});

test('a leader that stuttered leads on, although new flows that had left would rest', () => {
  story(TWO, `
    0     fibre up, cable severed  -> fibre [automatic] fibre is up and preferred (priority 1)
    60    fibre suspect            -> fibre [last-resort] fibre is silent; fibre stays, because nothing better is left
    60.5  fibre rests 5            -> fibre [automatic] fibre is up (priority 1)
    62    cable up                 -> fibre > cable [automatic] fibre is up (priority 1)
  `);
});

test('equal priorities share by weight, and who comes back joins after his hold', () => {
  const shared = policyOf([uplinkPolicy('fibre', { weight: 3 }), uplinkPolicy('cable', { priority: 1 }), uplinkPolicy('lte')]);
  story(shared, `
    0     fibre up, cable up, lte up  -> fibre*3+cable > lte [automatic] fibre, cable are up and preferred (priority 1)
    60    cable suspect               -> fibre*3 > lte [automatic] cable is suspect: silence; fibre carries on
    62    cable down                  -> =
    70    cable up                    -> fibre*3 > cable > lte [automatic] cable is suspect: silence; fibre carries on
    100   -                           -> fibre*3+cable > lte [automatic] fibre, cable are preferred (priority 1) and have proved themselves
  `);
});

test('an order leads alone, is explained by who gave it, and ends into the rules', () => {
  story(THREE, `
    0     fibre up, cable up, lte up  -> fibre > cable > lte [automatic] fibre is up and preferred (priority 1)
    60    order lte for 100           -> lte > fibre > cable [override] noc switched to lte
    70    cable suspect               -> lte > fibre [override] noc switched to lte
    80    auto                        -> fibre > lte [automatic] fibre is preferred (priority 1) and has proved itself
  `);
});

test('an order whose uplink dies falls through to the rules, and stands again when it answers', () => {
  story(TWO, `
    0     fibre up, cable up    -> fibre > cable [automatic] fibre is up and preferred (priority 1)
    60    order cable           -> cable > fibre [override] noc switched to cable
    70    cable suspect         -> fibre [automatic] noc switched to cable, but it is suspect; cable is suspect: silence; fibre is next (priority 1)
    72    cable down            -> =
    80    cable up              -> cable > fibre [override] noc switched to cable
    90    fibre down            -> cable [override] noc switched to cable
    99    cable suspect         -> cable [last-resort] noc switched to cable, but it is suspect; all uplinks are silent, which may be us or the targets; cable stays, because nothing better is left
  `);
});

test('an order to obey stays on a dead uplink, and says how it fares', () => {
  story(TWO, `
    0     fibre up, cable up    -> fibre > cable [automatic] fibre is up and preferred (priority 1)
    60    order cable obey      -> cable > fibre [override] noc switched to cable
    70    cable suspect         -> cable [override] noc switched to cable; it is suspect, but the order is to obey
    72    cable down            -> cable [override] noc switched to cable; it is down, but the order is to obey
    80    cable up              -> cable > fibre [override] noc switched to cable
  `);
});

test('a restart adopts what the kernel has: the leader keeps its place while it is asked', () => {
  story(TWO, `
    0     -                -> =
    0.01  fibre up         -> cable > fibre [automatic] cable is up (priority 2)
    0.05  cable up         -> =
    30.02 -                -> fibre > cable [automatic] fibre is preferred (priority 1) and has proved itself
  `, ADOPTED);
  story(TWO, `
    0.01  fibre up         -> cable > fibre [automatic] cable is up (priority 2)
    2     cable down       -> fibre [automatic] cable is down: long silence; fibre is next (priority 1)
  `, ADOPTED);
});

test('another address on the leader: it is asked anew, and keeps its place meanwhile', () => {
  story(TWO, `
    0     fibre up, cable up  -> fibre > cable [automatic] fibre is up and preferred (priority 1)
    60    fibre unknown       -> =
    60.1  fibre up            -> =
    70    fibre unknown       -> =
    72    fibre down          -> cable [automatic] fibre is down: long silence; cable is next (priority 2)
  `);
});

test('generation and since change with the leading rank alone', () => {
  const up = (name: 'fibre' | 'cable') => ({ uplink: name, state: 'up', since: at(0), because: 'it answered', domain: 'none', evidence: [], severed: false, inDoubt: false, holdUntil: undefined } as const);
  const candidates = TWO.uplinks.map((policy) => ({ policy, verdict: up(policy.name as 'fibre' | 'cable'), risenAt: at(0), answeredAt: at(Infinity), lacks: 'nothing' as const, penalty: 0 }));
  const ask = (now: number, names: readonly string[], previous: Decision | undefined): Decision =>
    decide({ now: at(now), startedAt: at(0), policy: TWO, candidates: candidates.map((c) => (names.includes(c.policy.name) ? c : { ...c, verdict: { ...c.verdict, state: 'down', severed: true } })), override: undefined, previous }).decision!;
  const first = ask(10, ['fibre'], undefined);
  const second = ask(20, ['fibre', 'cable'], first);
  const third = ask(30, ['cable'], second);
  assert.deepEqual([first, second, third].map(({ generation, since }) => [generation, since]), [[1, 10], [1, 10], [2, 30]]);
});

test('a decision says when time alone may change it: holds, rests, the end of an order', () => {
  const candidates = TWO.uplinks.map((policy) => ({
    policy, risenAt: at(40_000), answeredAt: at(Infinity), lacks: 'nothing' as const, penalty: 1,
    verdict: { uplink: policy.name, state: 'up', since: at(40_000), because: 'it answered', domain: 'none', evidence: [], severed: false, inDoubt: false, holdUntil: undefined } as const,
  }));
  const order = { uplink: 'cable', until: at(65_000), confirmBy: at(61_000), reason: '', by: 'noc', since: at(0), ifDead: 'obey' } as const;
  const reviewAt = (override?: typeof order): number | undefined => decide({ now: at(60_000), startedAt: at(0), policy: TWO, candidates, override, previous: ADOPTED }).reviewAt;
  assert.equal(reviewAt(), 70_000);
  assert.equal(reviewAt(order), 61_000);
});
