/**
 * The door to the C library. The only file that imports koffi.
 *
 * `libc.func` declares a function by its prototype; `whenReadable` lets libuv's epoll drive a descriptor that Node itself refuses (it
 * knows no netlink and no raw sockets).
 */
import koffi, { type KoffiFunc } from 'koffi';

export type Call<T extends (...args: never[]) => unknown> = KoffiFunc<T>;

export const libc = koffi.load(null);

/** 4 or 8. */
export const POINTER_BYTES = koffi.sizeof('void *');

/** Where the bytes lie in memory: for calls that take a pointer inside a struct. */
export function addressOf(bytes: Buffer): bigint {
  return koffi.address(bytes);
}

/** What the call gave, or -errno when it failed. To be asked right after the call. */
export function orErrno(result: number): number {
  return result >= 0 ? result : -koffi.errno();
}

/** A call in a thread of libuv's pool. */
export function inThread(call: (done: (error: unknown, result: number) => void) => void): Promise<number> {
  return new Promise((resolve, reject) => {
    call((error, result) => {
      if (error === null || error === undefined) resolve(orErrno(result));
      else reject(error instanceof Error ? error : new Error(String(error)));
    });
  });
}

/**
 * Calls `readable` whenever there is something to read, until the returned function is called (before the descriptor is closed).
 * Does not keep the process alive. `readable` runs in setImmediate of the same turn of the loop, because koffi's own callback
 * swallows exceptions and drains no microtasks. Polling is begun anew each time: libuv ends it at POLLERR, which is how an
 * overrun (ENOBUFS) shows, and would then be deaf.
 */
export function whenReadable(fd: number, readable: () => void): () => void {
  let open = true;
  let scheduled = false;
  const schedule = (): void => {
    if (scheduled) return;
    scheduled = true;
    setImmediate(() => {
      scheduled = false;
      if (!open) return;
      readable();
      if (open) handle.start({ readable: true }, schedule);
    });
  };
  const handle = koffi.node.poll(fd, { readable: true }, schedule);
  handle.unref();
  return () => {
    if (!open) return;
    open = false;
    handle.close();
  };
}

/**
 * Calls `ready` whenever the descriptor is readable, or writable, or in error, in the very poll phase that found it so: what it reads has its
 * stamp before anything that waits for the end of that phase. For receivers that read, stamp and queue: in there no microtask runs. What `ready`
 * throws is thrown again outside. Ends when the returned function is called (before the descriptor is closed). Does not keep the process alive.
 */
export function whenReady(fd: number, what: 'readable' | 'writable', ready: () => void): () => void {
  let open = true;
  const events = { readable: what === 'readable', writable: what === 'writable' };
  const tell = (): void => {
    try {
      ready();
    } catch (cause) {
      setImmediate(() => {
        throw cause;
      });
    }
    if (open) handle.start(events, tell); // libuv ends polling at POLLERR
  };
  const handle = koffi.node.poll(fd, events, tell);
  handle.unref();
  return () => {
    if (!open) return;
    open = false;
    handle.close();
  };
}
