/**
 * `policies` and `flows` of valid settings, with their defaults, as the core knows them.
 */
import type { FlowPolicy, Match, TrafficPolicy } from '../model.js';
import { SCHEMA, type FlowSettings, type PolicySettings, type Settings } from './schema.js';

export function trafficPolicies(settings: Settings, markMask: number): readonly TrafficPolicy[] {
  const { otherwise, router, set } = SCHEMA.keys.policies.item.keys;
  return (settings.policies ?? []).map((policy, i): TrafficPolicy => ({
    name: policy.name ?? `policy ${i + 1}`,
    match: matchOf(policy),
    // Without a mask our own bits alone are left out: they are other than what was written as soon as we have marked.
    mark: policy.mark === undefined ? undefined : { value: policy.mark.value, mask: policy.mark.mask ?? ~markMask >>> 0 },
    set: policy.set?.name === undefined ? undefined : { name: policy.set.name, side: policy.set.side ?? set.keys.side.default },
    order: policy.use ?? [],
    otherwise: policy.otherwise ?? otherwise.default,
    stickyMs: policy.sticky,
    router: policy.router ?? router.default,
  }));
}

export function flowPolicies(settings: Settings): readonly FlowPolicy[] {
  const { failback, flows } = SCHEMA.keys;
  return (settings.flows ?? []).map((flow, i): FlowPolicy => ({
    name: flow.name ?? `flow ${i + 1}`,
    match: matchOf(flow),
    origin: flow.origin ?? flows.item.keys.origin.default,
    failback: flow.failback ?? settings.failback?.flows ?? failback.keys.flows.default,
  }));
}

function matchOf(settings: PolicySettings | FlowSettings): Match {
  return {
    sources: settings.source ?? [],
    destinations: settings.destination ?? [],
    protocol: settings.protocol ?? SCHEMA.keys.policies.item.keys.protocol.default,
    sourcePorts: settings.sourcePorts ?? [],
    destinationPorts: settings.ports ?? [],
  };
}
