/** What a world is made of, drawn from its seed before anything else is: uplinks, which of them have IPv6, policies, and what moves. */
import type { FlowPolicy, ProbePolicy, Target, TrafficPolicy, UplinkPolicy } from '../../src/model.js';
import { LINES, matchOf, policyOf, trafficPolicy, uplinkPolicy, type LineName } from '../core/fixture.js';
import type { Dice } from './dice.js';
import type { Weather } from './weather.js';
import type { Draw } from './world.js';

const PAGE: Target = { kind: 'http', id: 'page', host: '', url: 'http://a.example/', resolvers: [], status: 204, body: '', header: undefined, families: [4], intervalMs: undefined };

export function drawWorld(dice: Dice, weather: Weather): Draw {
  const names = LINES.map((line) => line.name).slice(0, dice.pick([1, 2, 2, 2, 3, 3, 3, 4]));
  const hosts = dice.pick([['gateway', '1.1.1.1', '9.9.9.9'], ['gateway', '1.1.1.1', '9.9.9.9'], ['gateway'], ['1.1.1.1'], ['gateway', '1.1.1.1', '8.8.8.8', '9.9.9.9']]);
  const sensitivity = dice.pick(weather.sensitivities ?? (['fast', 'balanced', 'balanced', 'calm'] as const));
  const quorum = hosts.length === 4 ? 2 : 1;
  const share = dice.chance(0.2);
  const dual = dice.chance(weather.dual ?? 0.3);
  const six = dual ? names.filter((_, i) => i === 0 || dice.chance(0.7)) : [];
  // Who has no other target of IPv6 is asked for its gateway.
  const hosts6 = dual && dice.chance(0.7) ? ['2606:4700:4700::1111', '2620:fe::9'].slice(0, dice.whole(1, 2)) : [];
  const busy = weather.brief !== true && dice.chance(weather.traffic ?? 0.25);
  const uplinks = names.map((name: LineName, i) => uplinkPolicy(name, {
    sensitivity, hosts: [...hosts, ...hosts6], quorum, priority: share ? 1 + (i >> 1) : 1 + i, weight: dice.whole(1, 3), timeoutMaxMs: dice.pick([1000, 2000]),
    metered: busy && dice.chance(0.4), ...(dice.chance(0.1) ? { translate: { 6: { kind: 'none' } } as const } : {}),
    ...(weather.burst !== undefined && dice.chance(0.4) ? { burst: weather.burst } : {}),
    ...(weather.gateways !== 'given' && dice.chance(0.3) ? { gateway: 'auto' as const } : {}),
    ...(six.includes(name) && (weather.gateways === 'given' || dice.chance(0.3)) ? { gateway6: { address: LINES.find((line) => line.name === name)!.gateway6 } } : {}),
  }));
  if (weather.pages === true) for (const [i, uplink] of uplinks.entries()) uplinks[i] = withProbe(uplink, { targets: [...uplink.probe.targets, PAGE] });
  if (weather.budgets === true) for (const [i, uplink] of uplinks.entries()) if (uplink.metered) uplinks[i] = withProbe(uplink, { budgetBytes: dice.pick([5_000_000, 20_000_000]) });
  const failback = { holdMs: dice.pick([0, 3000, 10_000]), mode: dice.chance(0.1) ? 'manual' : 'automatic' } as const;
  const plain = policyOf(uplinks, failback);
  if (!busy) return { policy: plain, six };
  const moves = { flows: dice.pick(['keep', 'move'] as const), drainMs: dice.pick([0, 3000, 8000]) };
  return { policy: { ...plain, policies: drawPolicies(dice, names), flows: drawFlows(dice), failback: { ...failback, ...moves } }, six };
}

function withProbe(uplink: UplinkPolicy, probe: Partial<ProbePolicy>): UplinkPolicy {
  return { ...uplink, probe: { ...uplink.probe, ...probe } };
}

export function drawPolicies(dice: Dice, names: readonly string[]): readonly TrafficPolicy[] {
  return Array.from({ length: dice.whole(1, 3) }, (_, i) => {
    const order = names.map((name) => ({ name, key: dice.next() })).sort((a, b) => a.key - b.key).slice(0, dice.whole(1, names.length));
    const text = order.map(({ name }) => `${name}*${dice.whole(1, 3)}`).join(dice.pick(['>', '>', '+']));
    return trafficPolicy(`p${i}`, text, { otherwise: dice.pick(['block', 'fall-through']), stickyMs: dice.chance(0.3) ? 60_000 : undefined });
  });
}

function drawFlows(dice: Dice): readonly FlowPolicy[] {
  return Array.from({ length: dice.whole(0, 2) }, (_, i) => ({ name: `f${i}`, match: matchOf({ protocol: 'udp' }), origin: 'router', failback: dice.pick(['keep', 'move']) }));
}
