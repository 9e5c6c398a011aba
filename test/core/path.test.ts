/** What a DHCP client's or a person's default says of the path (MTU, source address, ...) is said by ours, wherever ours stand. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { desire } from '../../src/core/desire.js';
import { learn, type Learnt } from '../../src/core/gateway.js';
import { ACTIVE_TABLE, MAIN_TABLE, tableOf } from '../../src/core/layout.js';
import { showRoute } from '../../src/core/plan.js';
import type { KernelFacts, Policy, Route } from '../../src/model.js';
import { addressOf, factsOf, foreignDefault, policyOf, trafficPolicy, uplinkPolicy, type UplinkChoice } from './fixture.js';
import { decided, groundOf, NOTHING_LEARNT, wished } from './ground.js';

const METRICS = 'mtu 1400 window 65535 advmss 1360 initcwnd 20 quickack 1';
const AUTO: UplinkChoice = { gateway: 'auto' };
const one = (choice: UplinkChoice = AUTO): Policy => policyOf([uplinkPolicy('fibre', choice)]);

function leased(metrics: string | undefined, changes: Partial<Route> = {}): KernelFacts {
  return factsOf(['fibre', 'cable'], { foreignDefaults: [foreignDefault('fibre', 100, { ...(metrics === undefined ? {} : { metrics }), ...changes })] });
}

/** Of our defaults: what each says of the path. */
function told(routes: readonly Route[]): readonly (readonly [number, string, string])[] {
  return routes.filter(({ destination, hops }) => destination === 'default' && hops.length > 0).map(({ table, metrics, source }) => [table, metrics ?? '', source]);
}

test('every metric and the source are copied into the own table, ACTIVE, main and those of policies', () => {
  const policy = { ...one(), policies: [trafficPolicy('voice', 'fibre')] };
  const seen = told(wished(policy, leased(METRICS, { source: '198.51.100.2' }), 'fibre').routes);
  assert.deepEqual(new Set(seen.map(([table]) => table)).size, 4);
  for (const [, metrics, source] of seen) assert.deepEqual([metrics, source], [METRICS, '198.51.100.2']);
  const facts = leased(METRICS);
  const own = wished(one(), facts, 'fibre').routes.find(({ table, destination }) => table === tableOf(one().uplinks[0]!.slot) && destination === 'default')!;
  assert.match(showRoute(own, facts.links), / onlink mtu 1400 window 65535 advmss 1360 initcwnd 20 quickack 1$/);
});

test('a gateway that is written down takes them from a default by the very gateway, and from no other', () => {
  const facts = leased(METRICS);
  assert.deepEqual(told(wished(one({}), facts, 'fibre').routes).map(([, metrics]) => metrics), [METRICS, METRICS, METRICS]);
  assert.deepEqual(told(wished(one({ gateway: { address: '198.51.100.9' } }), facts, 'fibre').routes).map(([, metrics]) => metrics), ['', '', '']);
});

test('a source that the line does not have, or that is to be used no more, is not asked for', () => {
  const source = '198.51.100.7';
  const other = leased(undefined, { source });
  assert.deepEqual(told(wished(one(), other, 'fibre').routes).map((each) => each[2]), ['', '', '']);
  const both: KernelFacts = { ...other, addresses: [addressOf('fibre'), addressOf('fibre', { address: source })] };
  assert.deepEqual(told(wished(one(), both, 'fibre').routes).map((each) => each[2]), [source, source, source]);
});

test('they are remembered with the gateway when the route is gone, and over a restart', () => {
  const policy = one();
  const learnt = new Map<string, Learnt>();
  learn(learnt, policy, leased(METRICS));
  const ground = (known: ReadonlyMap<string, Learnt>) => ({ ...groundOf(policy, factsOf(['fibre']), decided('fibre')), learnt: known });
  const wish = desire(ground(learnt));
  assert.deepEqual(told(wish.routes).map(([, metrics]) => metrics), [METRICS, METRICS, METRICS]);
  const anew = new Map<string, Learnt>();
  learn(anew, policy, factsOf(['fibre'], { routes: wish.routes }));
  assert.deepEqual(told(desire(ground(anew)).routes), told(wish.routes));
  assert.deepEqual(told(desire(ground(NOTHING_LEARNT)).routes), []);
});

test('of lines that share the load the smallest packets are taken, and nothing else', () => {
  const policy = policyOf([uplinkPolicy('fibre', AUTO), uplinkPolicy('cable', { ...AUTO, priority: 1 })]);
  const facts = factsOf(['fibre', 'cable'], { foreignDefaults: [
    foreignDefault('fibre', 100, { metrics: METRICS, source: '198.51.100.2' }), foreignDefault('cable', 101, { metrics: 'mtu 1300 hoplimit 9' }),
  ] });
  const shared = wished(policy, facts, 'fibre+cable').routes.filter(({ table }) => table === ACTIVE_TABLE || table === MAIN_TABLE);
  assert.deepEqual(told(shared), [[ACTIVE_TABLE, 'mtu 1300 advmss 1360', ''], [MAIN_TABLE, 'mtu 1300 advmss 1360', '']]);
});
