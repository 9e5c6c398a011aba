/**
 * A status as plain data, and a daemon that does what it is told: the API's world without a kernel.
 */
import { openBoard, type Board } from '../../src/board.js';
import type { Ask } from '../../src/api/desk.js';
import { buildServer, type Server, type ServerOptions } from '../../src/api/server.js';
import type { Clock } from '../../src/api/wire.js';
import type { Instant, Status, TargetStatus, UplinkStatus } from '../../src/model.js';

export const instant = (ms: number) => ms as Instant;

/** 2024-05-01T12:00:00.000Z. */
export const STARTED_WALL_MS = Date.UTC(2024, 4, 1, 12);

const answering: TargetStatus = {
  target: 'gateway', kind: 'icmp', address: '198.51.100.1', rttMs: 4.21875, jitterMs: 0.5, lossPercent: 0, timeoutMs: 300, answering: true, lastReplyAt: instant(59_000), lastError: '', sent: 60, received: 60,
};
const silent: TargetStatus = {
  target: 'icmp 1.1.1.1', kind: 'icmp', address: '1.1.1.1', rttMs: undefined, jitterMs: undefined, lossPercent: 100, timeoutMs: 1000, answering: false, lastReplyAt: undefined, lastError: 'no answer', sent: 60, received: 0,
};

export const fibre: UplinkStatus = {
  uplink: 'fibre', state: 'up', since: instant(1_000), because: 'all 2 targets answer', domain: 'none', severed: false, inDoubt: false, holdUntil: undefined, interface: 'eth0', ifindex: 2, addresses: ['198.51.100.7/24'],
  gateway: '198.51.100.1', priority: 1, weight: 1, metered: false, carrier: true, active: true, rank: 0, mark: 0x80, table: 9401, targets: [answering], suspicions: 2, downs: 1,
};
export const cable: UplinkStatus = {
  uplink: 'cable', state: 'down', since: instant(2_000), because: 'upstream is silent since 12:00:02', domain: 'upstream', severed: false, inDoubt: false, holdUntil: instant(70_000), interface: 'eth1', ifindex: undefined, addresses: [],
  gateway: '', priority: 2, weight: 3, metered: true, carrier: false, active: false, rank: undefined, mark: 0x100, table: 9402, targets: [answering, silent], suspicions: 0, downs: 0,
};

export const healthy: Status = {
  at: instant(60_000),
  decision: { ranks: [{ members: [{ uplink: 'fibre', weight: 1 }] }], generation: 7, since: instant(1_000), because: 'fibre has the best priority', rule: 'automatic', order: '' },
  active: [{ name: 'fibre', interface: 'eth0', gateway: '198.51.100.1', family: 4, weight: 1 }],
  override: undefined,
  uplinks: [fibre, cable],
  kernel: { inSync: true, lastReadAt: instant(59_500), failures: [], repairs: 3, applied: 42 },
  host: { natBackend: 'nftables', natInSync: true, sysctlsInSync: false, problems: ['net/ipv4/ip_forward is read only'] },
  controller: { startedAt: instant(0), ready: true, worstLatenessMs: 1.5, steps: 1234 },
};

/** The state of the fake daemon; tests put another status here. */
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
}

export function openWorld(): World {
  const world: World = {
    status: healthy,
    board: openBoard(() => world.status),
    clock: {
      nowMs: 60_000,
      wallOffsetMs: STARTED_WALL_MS,
      now: () => instant(world.clock.nowMs),
      wallMs: () => world.clock.nowMs + world.clock.wallOffsetMs,
    },
    asked: [],
    error: '',
    mute: false,
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
    confirm: (by) => answer({ confirm: by }, { ...world.status, override: world.status.override && { ...world.status.override, confirmBy: undefined } }),
  };
}

export const quiet = { info: () => undefined, warn: () => undefined, error: () => undefined };

export function serve(world: World, more: Partial<ServerOptions> = {}): Server {
  return buildServer({
    board: world.board,
    ask: obedient(world),
    log: quiet,
    clock: world.clock,
    identity: { version: '0.1.0', boot: 'b1' },
    socketPath: '/run/uplinkd/uplinkd.sock',
    stranger: { by: 'test', mayChange: true },
    ...more,
  });
}
