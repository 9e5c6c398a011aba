/**
 * Who asks: over TCP anybody on this machine, who may read; on the unix socket whom its file mode lets in, by the name
 * of his user.
 */
import type { Server, Socket } from 'node:net';
import { userName } from './accounts.js';
import type { Door } from './turns.js';

export interface Caller {
  readonly by: string;
  /** Default: tcp. */
  readonly door?: Door;
  readonly mayChange: boolean;
}

/** @param peerUid the user at the other end of an accepted unix socket (SO_PEERCRED, unix(7)) by its file descriptor */
export function unixCaller(socket: Socket, peerUid: ((descriptor: number) => number | undefined) | undefined): Caller {
  let by: string | undefined;
  return {
    get by() {
      const descriptor = descriptorOf(socket);
      const uid = descriptor === undefined ? undefined : peerUid?.(descriptor);
      by ??= uid === undefined ? 'somebody@unix' : `${userName(uid)}@unix`;
      return by;
    },
    door: 'unix',
    mayChange: true,
  };
}

export function tcpCaller(socket: Socket): Caller {
  return { by: `reader@${socket.remoteAddress ?? 'tcp'}`, door: 'tcp', mayChange: false };
}

/** Node keeps it in the handle of libuv, without a public name. */
export function descriptorOf(socket: Socket | Server): number | undefined {
  const handle: unknown = Reflect.get(socket, '_handle');
  if (typeof handle !== 'object' || handle === null) return undefined;
  const descriptor: unknown = Reflect.get(handle, 'fd');
  return typeof descriptor === 'number' && descriptor >= 0 ? descriptor : undefined;
}
