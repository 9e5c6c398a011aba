/**
 * Valid settings made into the policy that the core works by: uplink over common section over sensitivity over
 * default. A number that is written anywhere wins over the word `sensitivity`, wherever that is written; the more
 * special of two numbers wins over the more general.
 */
import type { HealthPolicy, Policy, ProbePolicy, Target, UplinkPolicy } from '../model.js';
import { assignSlots } from '../core/layout.js';
import { DEFAULT_TARGETS, PRESETS, type Preset, type ProbeSettings, SCHEMA, type Settings, type UplinkSettings } from './schema.js';

/** @param knownSlots slots that names had before; they keep them */
export function policyOf(settings: Settings, knownSlots: ReadonlyMap<string, number>): Policy {
  const named = settings.uplinks ?? new Map<string, UplinkSettings>();
  const slots = assignSlots([...named.keys()], knownSlots);
  const { failback, nat, forwarding, stop, kernel } = SCHEMA.keys;
  return {
    uplinks: [...named].map(([name, uplink]) => uplinkPolicy(settings, name, uplink, slots.get(name) ?? 0)),
    lanInterfaces: settings.lan?.interfaces ?? [],
    failback: {
      mode: settings.failback?.mode ?? failback.keys.mode.default,
      holdMs: settings.failback?.hold ?? failback.keys.hold.default,
    },
    nat: { backend: settings.nat?.backend ?? nat.keys.backend.default },
    forwarding: { firewall: settings.forwarding?.firewall ?? forwarding.keys.firewall.default },
    stop: settings.stop ?? stop.default,
    markMask: settings.kernel?.markMask ?? Number(kernel.keys.markMask.default),
  };
}

function uplinkPolicy(settings: Settings, name: string, uplink: UplinkSettings, slot: number): UplinkPolicy {
  const { gateway, priority, weight, metered, masquerade } = SCHEMA.keys.uplinks.item.keys;
  const sensitivity = uplink.health?.sensitivity ?? settings.health?.sensitivity ?? SCHEMA.keys.health.keys.sensitivity.default;
  const preset = PRESETS[sensitivity];
  return {
    name,
    slot,
    interface: uplink.interface ?? '',
    gateway: uplink.gateway ?? gateway.default,
    priority: uplink.priority ?? priority.default,
    weight: uplink.weight ?? weight.default,
    metered: uplink.metered ?? metered.default,
    masquerade: uplink.masquerade ?? masquerade.default,
    probe: probePolicy(settings.probe ?? {}, uplink, preset),
    health: healthPolicy(settings, uplink, preset),
  };
}

function probePolicy(common: ProbeSettings, uplink: UplinkSettings, preset: Preset): ProbePolicy {
  const { timeout, timeoutMin, timeoutMax, quorum } = SCHEMA.keys.probe.keys;
  const own = uplink.probe ?? {};
  return {
    intervalMs: own.interval ?? common.interval ?? preset.intervalMs,
    timeoutMs: own.timeout ?? common.timeout ?? timeout.default,
    timeoutMinMs: own.timeoutMin ?? common.timeoutMin ?? timeoutMin.default,
    timeoutMaxMs: own.timeoutMax ?? common.timeoutMax ?? timeoutMax.default,
    targets: targetsOf(own, common, uplink.gateway === 'none'),
    quorum: own.quorum ?? common.quorum ?? quorum.default,
  };
}

/** The common list also serves lines that have no gateway to ask; a list of their own is taken as it is. */
function targetsOf(own: ProbeSettings, common: ProbeSettings, pointToPoint: boolean): readonly Target[] {
  const hosts = own.targets?.map((item) => item.icmp ?? '')
    ?? (common.targets?.map((item) => item.icmp ?? '') ?? DEFAULT_TARGETS).filter((host) => host !== 'gateway' || !pointToPoint);
  return hosts.map((host) => ({ kind: 'icmp', id: host === 'gateway' ? 'gateway' : `icmp ${host}`, host }));
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
  };
}
