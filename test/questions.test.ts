/** Reloads and plans: what a running daemon cannot take over, and what happens when two ask at once. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Config, Loaded } from '../src/config/load.js';
import { openState } from '../src/core/state.js';
import type { Policy } from '../src/model.js';
import type { Questions } from '../src/ports.js';
import { openQuestions } from '../src/questions.js';
import { at, policyOf, trafficPolicy, uplinkPolicy } from './core/fixture.js';

const TWO = policyOf([uplinkPolicy('fibre'), uplinkPolicy('cable')]);

/** @param files what the file holds when it is read the first time, the second ...; @param previewMs how long each preview takes */
function asked(files: readonly Policy[], previewMs: readonly number[] = []): { readonly questions: Questions; readonly enforced: Policy[] } {
  const enforced: Policy[] = [];
  const [left, pauses] = [[...files], [...previewMs]];
  const config = (policy: Policy): Config => ({ policy, api: { listen: undefined, tokens: undefined }, files: ['uplinkd.yaml'] });
  const load = (): Loaded => ({ config: config(left.shift()!) });
  const questions = openQuestions({
    state: openState(TWO, at(0)), now: () => at(0), load, loadText: load, standing: config(TWO),
    enforce: ({ policy }, by) => {
      assert.equal(by, 'a test');
      enforced.push(policy);
      return Promise.resolve({ error: '' });
    },
    preview: () => new Promise((resolve) => setTimeout(resolve, pauses.shift() ?? 0, { filter: [], sysctls: [] })),
    counters: () => Promise.resolve([]), examine: () => Promise.resolve([]),
  });
  return { questions, enforced };
}

test('of two reloads at once, the file that was read last stays in force', async () => {
  const [older, newer] = [{ ...TWO, stop: 'keep' }, { ...TWO, stop: 'restore' }] as const;
  const { questions, enforced } = asked([older, newer], [30, 1]);
  await Promise.all([questions.reload('a test'), questions.reload('a test')]);
  assert.deepEqual(enforced.map(({ stop }) => stop), ['keep', 'restore']);
});

test('policies that need the wider mask of a new config are a problem, not an accident, and the next reload is heard', async () => {
  const names = ['fibre', 'cable'] as const;
  const policies = Array.from({ length: 200 }, (_, i) => trafficPolicy(`p${i}`, `${names[i % 2]!}*${i + 1}+${names[(i + 1) % 2]!}`));
  const wide: Policy = { ...TWO, policies, markMask: 0x3ff0 };
  const { questions, enforced } = asked([wide, wide, TWO]);
  const answers = [await questions.reload('a test'), await questions.plan('', 'uplinkd.yaml')];
  for (const answer of answers) assert.match('problems' in answer ? answer.problems.join() : '', /^uplinkd.yaml: kernel.markMask takes effect at the next start only, .* restart uplinkd/);
  assert.ok('preview' in (await questions.reload('a test')));
  assert.deepEqual(enforced, [TWO]);
});
