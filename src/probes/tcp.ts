/**
 * The method `tcp`: a connection to a port, through one line, that is closed as soon as it stands.
 *
 * It is closed by a reset (SO_LINGER 0): one packet instead of three, no TIME_WAIT here, and the entries in connection tracking and in NATs on
 * the way live for seconds instead of minutes, which counts at ten probes a second. A service sees a connection that was reset before it
 * said anything, as from any health check.
 */
import { resetOnClose } from '../libc/inet.js';
import { closeDescriptor } from '../libc/sockets.js';
import type { OpenAsker } from './method.js';
import { connectStream } from './pinned-socket.js';

/** 10 probes/s × 10 s, and bursts: beyond that the oldest is let go, because the newest tells more. */
const IN_FLIGHT_AT_MOST = 128;

export const openTcp: OpenAsker = (line, now) => {
  const flights = new Set<() => void>();
  let open = true;

  return {
    ask({ order, answered, lost }) {
      const { target, address, source } = order;
      if (!open) return lost(now(), 'prober', 'the prober was closed');
      if (target.kind !== 'tcp') return lost(now(), 'prober', `${target.id} is not asked by TCP`);
      if (flights.size >= IN_FLIGHT_AT_MOST) letGo(flights);
      const sentAt = now();
      let done = false;
      const land = (): void => {
        done = true;
        flights.delete(cancel);
      };
      const connecting = {
        stands(fd: number) {
          const at = now();
          closeDescriptor(fd);
          land();
          answered(at, at - sentAt);
        },
        lost({ cause, error }: { readonly cause: Parameters<typeof lost>[1]; readonly error: string }) {
          land();
          lost(now(), cause, `${address} port ${target.port}: ${error}`);
        },
        silent: () => land(),
      };
      let cancel: () => void = () => undefined;
      cancel = connectStream(line, { address, port: target.port, source }, now, connecting, resetOnClose);
      if (!done) flights.add(cancel);
    },
    close() {
      open = false;
      for (const cancel of flights) cancel();
      flights.clear();
    },
  };
};

function letGo(flights: Set<() => void>): void {
  for (const oldest of flights) {
    oldest();
    flights.delete(oldest);
    return;
  }
}
