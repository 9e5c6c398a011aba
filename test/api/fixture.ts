/**
 * A status as plain data, and a daemon that does what it is told: the API's world without a kernel.
 */
import { openBoard, type Board } from '../../src/board.js';
import type { Ask, ConfigPreview, InvalidConfig, Questions } from '../../src/ports.js';
import { buildServer, type Server, type ServerOptions } from '../../src/api/server.js';
import type { Clock } from '../../src/api/wire.js';
import type { Decision, FamilyStatus, Finding, Instant, PolicyStatus, Status, TargetStatus, UplinkStatus } from '../../src/model.js';

export const instant = (ms: number) => ms as Instant;

/** 2024-05-01T12:00:00.000Z. */
export const STARTED_WALL_MS = Date.UTC(2024, 4, 1, 12);

const answering: TargetStatus = {
  family: 4, target: 'gateway', kind: 'icmp', address: '198.51.100.1', rttMs: 4.21875, jitterMs: 0.5, lossPercent: 0, timeoutMs: 300, answering: true, lastReplyAt: instant(59_000), lastError: '', lastCause: undefined, sent: 60, received: 60,
};
const silent: TargetStatus = {
  family: 4, target: 'icmp 1.1.1.1', kind: 'icmp', address: '1.1.1.1', rttMs: undefined, jitterMs: undefined, lossPercent: 100, timeoutMs: 1000, answering: false, lastReplyAt: undefined, lastError: 'no answer', lastCause: 'unreachable', sent: 60, received: 0,
};

const fibre4 = {
  state: 'up', since: instant(1_000), because: 'all 2 targets answer', domain: 'none', severed: false, inDoubt: false, holdUntil: undefined, gateway: '198.51.100.1', active: true, rank: 0,
  evidence: [{ witness: 'line', name: 'eth0', says: 'alive', text: 'it has a carrier' }, { witness: 'target', name: 'gateway', says: 'alive', text: 'answered 1 s ago' }],
  quality: { lossPercent: 1.25, latencyMs: 12.34567, jitterMs: 0.5, busy: false },
  damping: { penalty: 0.25, suppressedUntil: undefined, holdMs: 30_000, awaits: 'nothing' },
  traffic: { sentPackets: 120, answeredPackets: 96.5, sentBytes: 30_000, answeredBytes: 90_000, progressing: true },
} as const satisfies Omit<FamilyStatus, 'family'>;
const cable4 = {
  state: 'down', since: instant(2_000), because: 'upstream is silent since 12:00:02', domain: 'upstream', severed: false, inDoubt: false, holdUntil: instant(70_000), gateway: '', active: false, rank: undefined,
  evidence: [
    { witness: 'target', name: 'gateway', says: 'alive', text: 'answered 1 s ago' }, { witness: 'target', name: 'icmp 1.1.1.1', says: 'silent', text: 'no answer for 58 s' },
    { witness: 'outside', name: 'bgp-watch', says: 'silent', text: 'the session is lost' },
  ],
  quality: { lossPercent: 100, latencyMs: undefined, jitterMs: undefined, busy: true },
  damping: { penalty: 3.5, suppressedUntil: instant(253_000), holdMs: 120_000, awaits: 'less loss' },
  traffic: undefined,
} as const satisfies Omit<FamilyStatus, 'family'>;

export const fibre: UplinkStatus = {
  uplink: 'fibre', ...fibre4, families: [{ family: 4, ...fibre4 }], interface: 'eth0', ifindex: 2, addresses: ['198.51.100.7/24'],
  priority: 1, weight: 1, metered: false, carrier: true, mark: 0x80, table: 9401, targets: [answering], suspicions: 2, downs: 1, probeBytes: { spent: 1_234_567.8, budget: undefined }, outside: [],
};
export const cable: UplinkStatus = {
  uplink: 'cable', ...cable4, families: [{ family: 4, ...cable4 }], interface: 'eth1', ifindex: undefined, addresses: [],
  priority: 2, weight: 3, metered: true, carrier: false, mark: 0x100, table: 9402, targets: [answering, silent], suspicions: 0, downs: 0,
  probeBytes: { spent: 4_000_000, budget: 5_000_000 },
  outside: [{ uplink: 'cable', state: 'down', until: instant(80_000), since: instant(50_000), by: 'bgp-watch', because: 'the session is lost' }],
};

const decision4: Decision = { ranks: [{ members: [{ uplink: 'fibre', weight: 1 }] }], generation: 7, since: instant(1_000), because: 'fibre has the best priority', rule: 'automatic', order: '', fit: [] };

export const healthy: Status = {
  at: instant(60_000),
  decision: decision4,
  decisions: [{ family: 4, decision: decision4 }],
  active: [{ name: 'fibre', interface: 'eth0', gateway: '198.51.100.1', family: 4, weight: 1 }],
  override: undefined,
  uplinks: [fibre, cable],
  kernel: { inSync: true, lastReadAt: instant(59_500), failures: [], repairs: 3, applied: 42 },
  host: { natBackend: 'nftables', natInSync: true, natRepaired: false, sysctlsInSync: false, problems: ['net/ipv4/ip_forward is read only'] },
  controller: { startedAt: instant(0), ready: true, worstLatenessMs: 1.5, steps: 1234 },
};

const decision6: Decision = { ranks: [{ members: [{ uplink: 'cable', weight: 3 }] }], generation: 3, since: instant(40_000), because: 'fibre is down', rule: 'automatic', order: '', fit: [] };

/** fibre works in IPv4 and is dead in IPv6, cable the other way round. */
export const dual: Status = {
  ...healthy,
  decisions: [...healthy.decisions, { family: 6, decision: decision6 }],
  active: [...healthy.active, { name: 'cable', interface: 'eth1', gateway: 'fe80::2', family: 6, weight: 3 }],
  uplinks: [
    {
      ...fibre,
      families: [...fibre.families, { ...cable4, family: 6, since: instant(40_000), because: 'no answer in IPv6 for 20 s', gateway: 'fe80::1' }],
      targets: [answering, { ...silent, family: 6, target: 'gateway', address: 'fe80::1' }],
    },
    { ...cable, families: [...cable.families, { ...fibre4, family: 6, gateway: 'fe80::2' }], targets: [silent, { ...answering, family: 6, address: 'fe80::2' }] },
  ],
};

/** fibre dies, and cable takes its place. */
export const preview: ConfigPreview = {
  notes: [],
  decisions: [{ family: 4, decision: { ...decision4, ranks: [{ members: [{ uplink: 'cable', weight: 3 }] }], generation: 8, since: instant(60_000), because: 'fibre is down' } }],
  routing: ['ip route add default via 203.0.113.1 dev eth1 table 9400 proto 147 metric 29', 'ip rule delete fwmark 0x80/0x3f80 lookup 9401'],
  filter: ['+ oifname "eth1" masquerade'],
  sysctls: ['sysctl -w net.ipv4.ip_forward=1'],
  flows: ['forget 17 connections of fibre'],
};

export const policies: readonly PolicyStatus[] = [
  {
    policy: {
      name: 'telephony',
      match: { sources: ['192.0.2.0/25', '2001:db8:1::/64'], destinations: [], protocol: 'udp', sourcePorts: [], destinationPorts: [{ first: 5060, last: 5080 }, { first: 10000, last: 10000 }] },
      mark: { value: 0x10000, mask: 0xff0000 }, set: { name: 'providers', side: 'destination' },
      order: [{ members: [{ uplink: 'fibre', weight: 3 }, { uplink: 'cable', weight: 1 }] }, { members: [{ uplink: 'lte', weight: 1 }] }],
      otherwise: 'block', stickyMs: 600_000, router: true,
    },
    active: [{ family: 4, uplinks: ['fibre', 'cable'] }, { family: 6, uplinks: [] }], connections: 1234, bytes: 5_678_901,
  },
  {
    policy: {
      name: 'rest', match: { sources: [], destinations: [], protocol: 'any', sourcePorts: [], destinationPorts: [] }, mark: undefined, set: undefined,
      order: [{ members: [{ uplink: 'cable', weight: 1 }] }], otherwise: 'fall-through', stickyMs: undefined, router: false,
    },
    active: [{ family: 4, uplinks: ['cable'] }, { family: 6, uplinks: ['cable'] }], connections: undefined, bytes: undefined,
  },
];

export const findings: readonly Finding[] = [
  { level: 'ok', subject: 'rp_filter', text: 'loose on every uplink', remedy: '' },
  { level: 'warning', subject: 'networkd', text: 'systemd-networkd removes routes that it did not make', remedy: 'printf \'[Network]\\nManageForeignRoutes=no\\n\' > /etc/systemd/networkd.conf.d/uplinkd.conf\nsystemctl restart systemd-networkd\n' },
];

/** The state of the fake daemon; tests put another status here, and that is news. */
export interface World {
  status: Status;
  readonly board: Board;
  readonly clock: Clock & { nowMs: number; wallOffsetMs: number };
  /** What was asked, in order. */
  readonly asked: unknown[];
  /** What the daemon says to the next order; '' = done. */
  error: string;
  /** Says nothing at all. */
  mute: boolean;
  /** What the planner finds, or what is wrong with a config. */
  preview: ConfigPreview;
  invalid: InvalidConfig | undefined;
  policies: readonly PolicyStatus[];
  findings: readonly Finding[];
}

export function openWorld(): World {
  let current = healthy;
  const world: World = {
    get status() {
      return current;
    },
    set status(status) {
      current = status;
      world.board.publish();
    },
    board: openBoard(() => current),
    clock: {
      nowMs: 60_000,
      wallOffsetMs: STARTED_WALL_MS,
      now: () => instant(world.clock.nowMs),
      wallMs: () => world.clock.nowMs + world.clock.wallOffsetMs,
    },
    asked: [],
    error: '',
    mute: false,
    preview,
    invalid: undefined,
    policies,
    findings,
  };
  return world;
}

/** Does what a daemon would: the override is in force when the answer comes. */
export function obedient(world: World): Ask {
  const answer = async (order: unknown, status: Status) => {
    world.asked.push(order);
    if (world.mute) return new Promise<never>(() => undefined);
    if (world.error === '') {
      world.status = status;
      world.board.publish();
    }
    return { error: world.error };
  };
  return {
    override: (order) => {
      const at = world.clock.nowMs;
      const override = {
        uplink: order.uplink, until: order.forMs === undefined ? undefined : instant(at + order.forMs), confirmBy: order.confirmMs === undefined ? undefined : instant(at + order.confirmMs),
        reason: order.reason, by: order.by, since: instant(at), ifDead: order.ifDead,
      };
      const chosen = world.status.uplinks.find((uplink) => uplink.uplink === order.uplink) ?? fibre;
      return answer(order, {
        ...world.status,
        override,
        active: [{ name: chosen.uplink, interface: chosen.interface, gateway: chosen.gateway, family: 4, weight: 1 }],
        decision: { ...world.status.decision, generation: world.status.decision.generation + 1, since: instant(at), because: `${order.by} chose ${order.uplink}`, rule: 'override' },
        uplinks: world.status.uplinks.map((uplink) => ({ ...uplink, active: uplink.uplink === order.uplink, rank: uplink.uplink === order.uplink ? 0 : undefined })),
      });
    },
    clear: (by) => answer({ clear: by }, { ...world.status, override: undefined }),
    verdict: (order) => {
      const at = world.clock.nowMs;
      const said = { uplink: order.uplink, state: order.state, by: order.by, because: order.because, since: instant(at), until: instant(at + order.forMs) };
      return answer(order, saying(world.status, order.uplink, (outside) => [...outside.filter((one) => one.by !== order.by), said]));
    },
    withdraw: (uplink, by) => answer({ withdraw: uplink, by }, saying(world.status, uplink, (outside) => outside.filter((one) => by !== '' && one.by !== by))),
    confirm: (by) => answer({ confirm: by }, { ...world.status, override: world.status.override && { ...world.status.override, confirmBy: undefined } }),
  };
}

function saying(status: Status, name: string, change: (outside: UplinkStatus['outside']) => UplinkStatus['outside']): Status {
  return { ...status, uplinks: status.uplinks.map((uplink) => (uplink.uplink === name ? { ...uplink, outside: change(uplink.outside) } : uplink)) };
}

/** The planner, the packet filter and the machine, without any. */
export function knowing(world: World): Questions {
  const answer = async <T>(question: unknown, found: () => T): Promise<T> => {
    world.asked.push(question);
    return world.mute ? new Promise<never>(() => undefined) : found();
  };
  return {
    whatIf(name) {
      world.asked.push({ whatIf: name });
      return world.preview;
    },
    plan: (config, file) => answer({ plan: config, file }, () => world.invalid ?? world.preview),
    policies: () => answer('policies', () => world.policies),
    doctor: () => answer('doctor', () => world.findings),
    reload: (by) => answer({ reload: by }, () => world.invalid ?? (world.error === '' ? { preview: world.preview } : { error: world.error })),
  };
}

export const quiet = { info: () => undefined, warn: () => undefined, error: () => undefined };

export function serve(world: World, more: Partial<ServerOptions> = {}): Server {
  return buildServer({
    board: world.board,
    ask: obedient(world),
    questions: knowing(world),
    log: quiet,
    clock: world.clock,
    identity: { version: '0.1.0', boot: 'b1' },
    socketPath: '/run/uplinkd/uplinkd.sock',
    stranger: { by: 'test', door: 'unix', mayChange: true },
    ...more,
  });
}
