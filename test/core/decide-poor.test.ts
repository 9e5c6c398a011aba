/** Decisions where lines work badly, or came and went too often. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decide } from '../../src/core/decide.js';
import type { Decision, Verdict } from '../../src/model.js';
import { policyOf, uplinkPolicy, at } from './fixture.js';
import { story } from './decide-story.js';

const TWO = policyOf([uplinkPolicy('fibre'), uplinkPolicy('cable')]);
const THREE = policyOf([uplinkPolicy('fibre'), uplinkPolicy('cable'), uplinkPolicy('lte')]);

test('a degraded leader is left for a good one, and stands last', () => story(TWO, `
  0     fibre up, cable up   -> fibre > cable [automatic] fibre is up and preferred (priority 1)
  10    fibre degraded       -> cable > fibre [automatic] fibre is degraded: loss; cable is next (priority 2)
  60    fibre up             -> =
  90    -                    -> fibre > cable [automatic] fibre is preferred (priority 1) and has proved itself
`));

test('a degraded leader stays when nothing better is left', () => story(TWO, `
  0     fibre up, cable down -> fibre [automatic] fibre is up and preferred (priority 1)
  10    fibre degraded       -> =
  20    cable up             -> cable > fibre [automatic] fibre is degraded: loss; cable is next (priority 2)
  30    cable suspect        -> fibre [automatic] cable is suspect: silence; fibre is the best that is left (priority 1)
  31    cable rests 5        -> =
  36    -                    -> cable > fibre [automatic] fibre is degraded: loss; cable is next (priority 2)
`));

test('a degraded leader in doubt of somebody else waits for a sure one', () => story(TWO, `
  0     fibre up, cable up            -> fibre > cable [automatic] fibre is up and preferred (priority 1)
  10    cable doubt, fibre degraded   -> =
  11    cable sure                    -> cable > fibre [automatic] fibre is degraded: loss; cable is next (priority 2)
`));

test('degraded ones stand behind all others, in their own order', () => story(THREE, `
  0     fibre up, cable up, lte up    -> fibre > cable > lte [automatic] fibre is up and preferred (priority 1)
  10    cable degraded                -> fibre > lte > cable [automatic] fibre is up and preferred (priority 1)
  20    fibre degraded                -> lte > fibre > cable [automatic] fibre is degraded: loss; lte is next (priority 3)
`));

test('a silent leader is left even for a degraded one', () => story(TWO, `
  0     fibre up, cable up   -> fibre > cable [automatic] fibre is up and preferred (priority 1)
  10    cable degraded       -> =
  20    fibre suspect        -> cable [automatic] fibre is suspect: silence; cable is the best that is left (priority 2)
`));

test('a cut leader is left for a degraded one at once', () => story(TWO, `
  0     fibre up, cable degraded -> fibre > cable [automatic] fibre is up and preferred (priority 1)
  10    fibre severed            -> cable [automatic] fibre is down: no carrier; cable is the best that is left (priority 2)
`));

test('at the start a degraded one leads where nobody is well', () => story(TWO, `
  0     fibre down, cable unknown -> wait
  1     cable degraded            -> cable [automatic] cable is the best that is left (priority 2)
`));

test('an order leads over quality: the operator knows', () => story(TWO, `
  0     fibre up, cable degraded -> fibre > cable [automatic] fibre is up and preferred (priority 1)
  10    order cable              -> cable > fibre [override] noc switched to cable
  20    auto                     -> fibre > cable [automatic] cable is degraded: loss; fibre is next (priority 1)
`));

test('a suppressed one does not come back over others, however long it has been up, and does when its time is over', () => story(TWO, `
  0     fibre up, cable up             -> fibre > cable [automatic] fibre is up and preferred (priority 1)
  10    fibre severed                  -> cable [automatic] fibre is down: no carrier; cable is next (priority 2)
  20    fibre up, fibre suppressed 600 -> =
  300   -                              -> =
  620   -                              -> fibre > cable [automatic] fibre is preferred (priority 1) and has proved itself
`));

test('a suppressed one carries where there is nothing else', () => story(TWO, `
  0     fibre up, cable up             -> fibre > cable [automatic] fibre is up and preferred (priority 1)
  10    fibre severed                  -> cable [automatic] fibre is down: no carrier; cable is next (priority 2)
  20    fibre up, fibre suppressed 600 -> =
  30    cable severed                  -> fibre [automatic] fibre answers, if not steadily; nothing better is left
  40    cable up                       -> fibre > cable [automatic] fibre answers, if not steadily; nothing better is left
`));

test('a leader that is suppressed while it leads goes on leading: it works', () => story(TWO, `
  0     fibre up, cable up   -> fibre > cable [automatic] fibre is up and preferred (priority 1)
  10    fibre suppressed 600 -> =
  20    cable up             -> =
`));

function fitOf(states: readonly Verdict['state'][], leading: string): Decision['fit'] {
  const names = ['fibre', 'cable', 'lte'] as const;
  const candidates = states.map((state, i) => ({
    policy: uplinkPolicy(names[i]!), penalty: 0, risenAt: at(-Infinity), answeredAt: at(Infinity), lacks: 'nothing' as const,
    verdict: { uplink: names[i]!, state, since: at(0), because: 'said', domain: 'none', evidence: [], severed: false, inDoubt: false, holdUntil: undefined } satisfies Verdict,
  }));
  const ranks = [{ members: [{ uplink: leading, weight: 1 }] }];
  const previous: Decision = { ranks, generation: 1, since: at(0), because: 'before', rule: 'automatic', fit: [], order: '' };
  return decide({ now: at(60_000), startedAt: at(0), policy: policyOf(candidates.map(({ policy }) => policy)), candidates, override: undefined, previous }).decision!.fit;
}

test('for policies: degraded ones after the others, and like any other where nobody is well', () => {
  assert.deepEqual(fitOf(['up', 'degraded', 'up'], 'fibre').map(({ uplink, trust }) => `${uplink} ${trust}`), ['fibre proven', 'cable unproven', 'lte proven']);
  assert.deepEqual(fitOf(['degraded', 'degraded', 'down'], 'fibre').map(({ uplink, trust }) => `${uplink} ${trust}`), ['fibre proven', 'cable proven']);
  assert.deepEqual(fitOf(['suspect', 'degraded', 'down'], 'fibre').map(({ uplink, trust }) => `${uplink} ${trust}`), ['cable proven']);
});
