/**
 * All connections of one door. There is room for so many; the next one takes the place of the one that has kept us
 * waiting longest: that says nothing, does not finish its request or does not take its answer. So who has something
 * to ask finds room, however many others hold a connection and are silent. Only where every one of them is being
 * answered is the next one closed.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { openConnection, type Connection, type ConnectionWorld } from './connection.js';

export interface Hall {
  admit(socket: Socket): Connection | undefined;
  /** @returns false where the request came by no connection of this hall */
  took(request: IncomingMessage, response: ServerResponse): boolean;
  /** Lets nobody in any more, ends who is idle, and waits for the answers that are being made; ends them all after `graceMs`. */
  close(graceMs: number): Promise<void>;
}

export interface HallWorld extends Omit<ConnectionWorld, 'gone'> {
  readonly atMost: number;
  readonly checkEveryMs: number;
}

export function openHall(world: HallWorld): Hall {
  const connections = new Map<unknown, Connection>();
  let closed = false;
  let onEmpty = () => undefined as void;
  let checking: NodeJS.Timeout | undefined;

  function leave(stream: unknown): void {
    connections.delete(stream);
    if (connections.size > 0) return;
    clearInterval(checking);
    checking = undefined;
    onEmpty();
  }

  function makeRoom(): boolean {
    let slowest: Connection | undefined;
    for (const one of connections.values()) {
      if ((one.waitsSince() ?? Infinity) < (slowest?.waitsSince() ?? Infinity)) slowest = one;
    }
    slowest?.destroy();
    return slowest !== undefined;
  }

  return {
    admit(socket) {
      if (closed || (connections.size >= world.atMost && !makeRoom())) {
        socket.destroy();
        return undefined;
      }
      const connection: Connection = openConnection(socket, { ...world, gone: () => leave(connection.stream) });
      connections.set(connection.stream, connection);
      checking ??= setInterval(() => [...connections.values()].forEach((one) => one.check()), world.checkEveryMs);
      return connection;
    },
    took(request, response) {
      const connection = connections.get(request.socket);
      connection?.took(request, response);
      return connection !== undefined;
    },
    async close(graceMs) {
      closed = true;
      for (const one of [...connections.values()]) one.finish();
      if (connections.size === 0) return;
      const force = setTimeout(() => [...connections.values()].forEach((one) => one.destroy()), graceMs);
      await new Promise<void>((resolve) => (onEmpty = resolve));
      clearTimeout(force);
    },
  };
}
