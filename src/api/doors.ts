/**
 * Where the API listens: a unix socket, whose file mode says who may change things, and loopback TCP, which may read.
 *
 * The socket file of a run that died is left behind and blocks the name. Who connects to it finds out: refused =
 * nobody is there, take the name over; accepted = another uplinkd is running, and two of them on one kernel would
 * fight. The file is born with mode 0660 (umask), so there is no moment at which others could connect. While we run
 * somebody may remove it, or the whole run directory: it is looked for every second, made again and told.
 */
import { chownSync, lstatSync, mkdirSync, unlinkSync } from 'node:fs';
import { connect, isIP, type Server } from 'node:net';
import { dirname } from 'node:path';
import { groupId } from './accounts.js';

export const OPERATORS_GROUP = 'uplinkd';
/** sun_path, unix(7), without the closing NUL. */
const PATH_BYTES_AT_MOST = 107;
/** All that knock are let in (or closed) in one go: so few at once take a millisecond or two. Others are asked by their kernel to try again. */
const TCP_BACKLOG = 32;
const TELL_APART_MS = 60_000;

export interface UnixDoor {
  /** Lets nobody in any more, and removes the file. */
  close(): void;
}

export interface UnixDoorWorld {
  readonly path: string;
  readonly lookEveryMs: number;
  /** Makes a server that lets people in. */
  open(): Server;
  tell(text: string): void;
}

/**
 * Listens at `path` and goes on doing so.
 * @throws Error for people, as `listenUnix`
 */
export async function keepUnix({ path, lookEveryMs, open, tell }: UnixDoorWorld): Promise<UnixDoor> {
  let server: Server;
  let file: string;
  /** Since the file was ours the last time. */
  const told = new Set<string>();
  let busy = false;

  const listen = async () => {
    server = open();
    const shortcoming = await listenUnix(server, path);
    survive(server, path, tell);
    file = fileAt(path);
    if (shortcoming !== '') tell(shortcoming);
  };

  const tellOnce = (text: string) => {
    if (!told.has(text)) tell(text);
    told.add(text);
  };

  const again = async () => {
    tellOnce(`${path} was removed by another program; without it uplinkctl cannot reach this daemon`);
    // First: node removes the file of a server that is closed.
    server.close();
    await listen();
    tell(`${path} was made again`);
    told.clear();
  };

  const look = () => {
    if (busy) return;
    const found = fileAt(path);
    if (found === file) told.clear();
    else if (found !== '') {
      tellOnce(`${path} is not our socket any more: another program made it anew. uplinkctl cannot reach this daemon. `
        + 'Remove it, and it is made again');
    } else {
      busy = true;
      again()
        .catch((error: unknown) => {
          const why = error instanceof Error ? error.message : String(error);
          tellOnce(`${path} could not be made again, and is tried again: ${why}. Where uplinkd may not make the directory itself, `
            + 'restart it (systemctl restart uplinkd); that interrupts no traffic');
        })
        .finally(() => (busy = false));
    }
  };

  await listen();
  const looking = setInterval(look, lookEveryMs);
  return {
    close() {
      clearInterval(looking);
      server.close();
    },
  };
}

/**
 * Listens at `path`, mode 0660, owned by us and the group `uplinkd` if there is one.
 * @returns what could not be done although it listens now, in words; '' = nothing
 * @throws Error for people: another uplinkd is running, the path is too long, is no socket, may not be written
 */
async function listenUnix(server: Server, path: string): Promise<string> {
  if (Buffer.byteLength(path) > PATH_BYTES_AT_MOST) {
    throw new Error(`socket path ${path} is longer than ${PATH_BYTES_AT_MOST} bytes, the most that unix(7) takes; choose a shorter --run-dir`);
  }
  mkdirSync(dirname(path), { recursive: true, mode: 0o755 });
  await makeRoom(path);
  const umask = process.umask(0o117);
  const listening = bound(server, path, () => server.listen({ path }));
  process.umask(umask);
  await listening;
  return giveToGroup(path);
}

/**
 * @returns the port, where 0 was asked for
 * @throws Error for people: not a loopback address, the port is taken
 */
export async function listenTcp(server: Server, host: string, port: number, tell: (text: string) => void): Promise<number> {
  if (!isLoopback(host)) throw new Error(`api.listen ${host}: only loopback addresses (127.0.0.1, ::1) are served, because who connects there is not asked who he is`);
  await bound(server, `${host} port ${port}`, () => server.listen({ host, port, backlog: TCP_BACKLOG }));
  survive(server, `${host} port ${port}`, tell);
  const address = server.address();
  return typeof address === 'object' && address !== null ? address.port : port;
}

export function isLoopback(host: string): boolean {
  return host === '::1' || (isIP(host) === 4 && host.startsWith('127.'));
}

/** Where connections cannot be accepted (no descriptors, no memory) the daemon goes on; it is told once a minute. */
function survive(server: Server, where: string, tell: (text: string) => void): void {
  let toldAt = -Infinity;
  server.on('error', (error) => {
    if (performance.now() - toldAt < TELL_APART_MS) return;
    toldAt = performance.now();
    tell(`nobody can be let in on ${where} at present: ${error.message}`);
  });
}

/** Which file is there; '' = none. */
function fileAt(path: string): string {
  try {
    const file = lstatSync(path, { throwIfNoEntry: false });
    return file === undefined ? '' : `${file.dev}:${file.ino}`;
  } catch (error) {
    // Its directory cannot be looked into: nobody reaches it there.
    if (error instanceof Error && 'code' in error) return '';
    throw error;
  }
}

/** Removes the socket file that a dead run left. */
async function makeRoom(path: string): Promise<void> {
  const file = lstatSync(path, { throwIfNoEntry: false });
  if (file === undefined) return;
  if (!file.isSocket()) throw new Error(`${path} is in the way: it is not a socket. Remove it, or choose another --run-dir`);
  const answer = await knock(path);
  if (answer === 'ECONNREFUSED') unlinkSync(path);
  else if (answer !== 'ENOENT') throw new Error(`another uplinkd is running: it answers on ${path} (${answer}). Stop it first, or choose another --run-dir`);
}

/** @returns `connected`, or the name of the error */
function knock(path: string): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect({ path });
    socket.once('connect', () => {
      socket.destroy();
      resolve('connected');
    });
    socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
  });
}

function bound(server: Server, where: string, listen: () => void): Promise<void> {
  return new Promise((resolve, reject) => {
    const fail = (error: NodeJS.ErrnoException) => reject(new Error(`cannot listen on ${where}: ${listenHint(error)}`, { cause: error }));
    server.once('error', fail);
    server.once('listening', () => {
      server.off('error', fail);
      resolve();
    });
    listen();
  });
}

function listenHint(error: NodeJS.ErrnoException): string {
  switch (error.code ?? '') {
    case 'EADDRINUSE':
      return 'another program listens there (EADDRINUSE)';
    case 'EADDRNOTAVAIL':
      return 'this machine does not have that address (EADDRNOTAVAIL)';
    case 'EACCES':
      return 'not allowed (EACCES); uplinkd runs as root, or owns its run directory';
    default:
      return error.message;
  }
}

function giveToGroup(path: string): string {
  const gid = groupId(OPERATORS_GROUP);
  if (gid === undefined) return '';
  try {
    chownSync(path, process.getuid?.() ?? 0, gid);
    return '';
  } catch (error) {
    // EINVAL, EPERM: a user namespace that does not know the group. It stays ours alone, which is safe.
    return `${path} could not be given to the group ${OPERATORS_GROUP}: ${error instanceof Error ? error.message : String(error)}. Only root can use it`;
  }
}
