/**
 * Valid settings made into the policy that the core works by: uplink over common section over sensitivity over
 * default. A number that is written anywhere wins over the word `sensitivity`, wherever that is written; the more
 * special of two numbers wins over the more general.
 */
import type { HealthPolicy, MssPolicy, Policy, ProbePolicy, Translation, UplinkPolicy } from '../model.js';
import { assignSlots } from '../core/layout.js';
import { judgementOf } from './judgement.js';
import { PRESETS, type Preset, SCHEMA, type Settings, type UplinkSettings } from './schema.js';
import { DEFAULT_TARGETS, METERED_BUDGET_BYTES, type ProbeSettings } from './schema-probe.js';
import { targetsOf } from './targets.js';
import { flowPolicies, trafficPolicies } from './traffic.js';

/** RFC 9293, 3.7.1: the MSS counts neither. */
const IPV4_AND_TCP_HEADER = 40;

/** @param knownSlots slots that names had before; they keep them */
export function policyOf(settings: Settings, knownSlots: ReadonlyMap<string, number>): Policy {
  const named = settings.uplinks ?? new Map<string, UplinkSettings>();
  const slots = assignSlots([...named.keys()], knownSlots);
  const { failback, nat, forwarding, stop, kernel } = SCHEMA.keys;
  const markMask = settings.kernel?.markMask ?? Number(kernel.keys.markMask.default);
  return {
    uplinks: [...named].map(([name, uplink]) => uplinkPolicy(settings, name, uplink, slots.get(name) ?? 0)),
    policies: trafficPolicies(settings, markMask),
    flows: flowPolicies(settings),
    lanInterfaces: settings.lan?.interfaces ?? [],
    routed: settings.lan?.routed ?? [],
    failback: {
      mode: settings.failback?.mode ?? failback.keys.mode.default,
      holdMs: settings.failback?.hold ?? failback.keys.hold.default,
      flows: settings.failback?.flows ?? failback.keys.flows.default,
      drainMs: settings.failback?.drainDeadline ?? failback.keys.drainDeadline.default,
    },
    nat: { backend: settings.nat?.backend ?? nat.keys.backend.default },
    forwarding: { firewall: settings.forwarding?.firewall ?? forwarding.keys.firewall.default },
    stop: settings.stop ?? stop.default,
    markMask,
  };
}

function uplinkPolicy(settings: Settings, name: string, uplink: UplinkSettings, slot: number): UplinkPolicy {
  const { gateway, gateway6, priority, weight, metered } = SCHEMA.keys.uplinks.item.keys;
  const sensitivity = uplink.health?.sensitivity ?? settings.health?.sensitivity ?? SCHEMA.keys.health.keys.sensitivity.default;
  const preset = PRESETS[sensitivity];
  return {
    name,
    slot,
    interface: uplink.match === undefined ? uplink.interface ?? '' : '',
    match: uplink.match === undefined ? undefined : { mac: uplink.match.mac ?? '', path: uplink.match.path ?? '' },
    gateways: { 4: uplink.gateway ?? gateway.default, 6: uplink.gateway6 ?? gateway6.default },
    priority: uplink.priority ?? priority.default,
    weight: uplink.weight ?? weight.default,
    metered: uplink.metered ?? metered.default,
    translate: { 4: translation4(uplink), 6: translation6(uplink, settings.lan?.prefix6) },
    prefix6: uplink.prefix6 ?? '',
    ...(uplink.endpoint === undefined || uplink.endpoint.length === 0 ? {} : { endpoints: uplink.endpoint }),
    mss: mssOf(uplink),
    probe: probePolicy(settings.probe ?? {}, uplink, preset),
    health: healthPolicy(settings, uplink, preset),
  };
}

function translation4(uplink: UplinkSettings): Translation {
  const wish = uplink.masquerade ?? true;
  return typeof wish === 'object' ? { kind: 'address', address: wish.address } : { kind: wish ? 'masquerade' : 'none' };
}

/** Whoever writes both prefixes wants one in place of the other; without them IPv6 goes as IPv4 does. */
function translation6(uplink: UplinkSettings, lanPrefix: string | undefined): Translation {
  const standard = uplink.prefix6 !== undefined && lanPrefix !== undefined ? 'prefix' : uplink.masquerade !== false;
  const wish = uplink.masquerade6 ?? standard;
  if (wish === 'prefix') return { kind: 'prefix', from: lanPrefix ?? '', to: uplink.prefix6 === undefined || uplink.prefix6 === 'auto' ? '' : uplink.prefix6 };
  return typeof wish === 'object' ? { kind: 'address', address: wish.address } : { kind: wish ? 'masquerade' : 'none' };
}

function mssOf(uplink: UplinkSettings): MssPolicy {
  if (uplink.mss !== undefined) return uplink.mss;
  return typeof uplink.mtu === 'number' ? uplink.mtu - IPV4_AND_TCP_HEADER : SCHEMA.keys.uplinks.item.keys.mss.default;
}

function probePolicy(common: ProbeSettings, uplink: UplinkSettings, preset: Preset): ProbePolicy {
  const { timeout, timeoutMin, timeoutMax, quorum, rotate, passive } = SCHEMA.keys.probe.keys;
  const own = uplink.probe ?? {};
  const intervalMs = own.interval ?? common.interval ?? preset.intervalMs;
  const budget = own.budget ?? common.budget ?? (uplink.metered === true ? METERED_BUDGET_BYTES : 'none');
  return {
    intervalMs,
    timeoutMs: own.timeout ?? common.timeout ?? timeout.default,
    timeoutMinMs: own.timeoutMin ?? common.timeoutMin ?? timeoutMin.default,
    timeoutMaxMs: own.timeoutMax ?? common.timeoutMax ?? timeoutMax.default,
    targets: targetsOf(own.targets ?? common.targets ?? DEFAULT_TARGETS, intervalMs),
    quorum: own.quorum ?? common.quorum ?? quorum.default,
    rotate: own.rotate ?? common.rotate ?? rotate.default,
    budgetBytes: budget === 'none' ? undefined : budget,
    passive: own.passive ?? common.passive ?? passive.default,
  };
}

function healthPolicy(settings: Settings, uplink: UplinkSettings, preset: Preset): HealthPolicy {
  const own = uplink.health ?? {};
  const common = settings.health ?? {};
  return {
    suspect: {
      failures: own.suspect?.failures ?? common.suspect?.failures ?? preset.failures,
      burst: own.suspect?.burst ?? common.suspect?.burst ?? preset.burst,
    },
    down: { afterMs: own.down?.after ?? common.down?.after ?? preset.afterMs },
    up: { successes: own.up?.successes ?? common.up?.successes ?? preset.successes },
    ...judgementOf(own, common),
  };
}
