/**
 * From the model to the JSON of what-if, plan, reload, policies and doctor.
 */
import type { Finding, PolicyStatus, PortRange, Status } from '../model.js';
import type { ConfigPreview } from '../ports.js';
import type { DoctorAnswer, PolicyPart, PreviewAnswer } from './question-schemas.js';
import { hexadecimal, wireDecision, type ShowTime } from './wire.js';

export function wirePreview(before: Status['decisions'], preview: ConfigPreview, show: ShowTime): PreviewAnswer {
  const { decisions, routing, filter, sysctls, flows, notes } = preview;
  return { before: before.map((one) => wireDecision(one, show)), after: decisions.map((one) => wireDecision(one, show)), routing, filter, sysctls, flows, notes };
}

export function wirePolicy({ policy, active, connections, bytes }: PolicyStatus): PolicyPart {
  const { match, mark, set } = policy;
  return {
    name: policy.name,
    sources: match.sources,
    destinations: match.destinations,
    protocol: match.protocol,
    sourcePorts: match.sourcePorts.map(portsText),
    destinationPorts: match.destinationPorts.map(portsText),
    mark: mark === undefined ? null : { value: hexadecimal(mark.value), mask: hexadecimal(mark.mask) },
    set: set === undefined ? null : { name: set.name, side: set.side },
    router: policy.router,
    order: policy.order.map((rank) => rank.members.map(({ uplink, weight }) => ({ uplink, weight }))),
    otherwise: policy.otherwise,
    stickyMs: policy.stickyMs ?? null,
    active: active.map(({ family, uplinks }) => ({ family, uplinks })),
    connections: connections ?? null,
    bytes: bytes ?? null,
  };
}

export function wireFinding({ level, subject, text, remedy }: Finding): DoctorAnswer['findings'][number] {
  return { level, subject, text, remedy };
}

function portsText({ first, last }: PortRange): string {
  return first === last ? String(first) : `${first}-${last}`;
}
