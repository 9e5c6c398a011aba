/**
 * Where the API listens: a unix socket, whose file mode says who may change things, and loopback TCP, which may read.
 *
 * The socket file of a run that died is left behind and blocks the name. Who connects to it finds out: refused = nobody is there,
 * take the name over; accepted = another uplinkd is running, and two of them on one kernel would fight.
 * The file is born with mode 0660 (umask), so there is no moment at which others could connect.
 */
import { chownSync, lstatSync, mkdirSync, unlinkSync } from 'node:fs';
import { connect, isIP, type Server } from 'node:net';
import { dirname } from 'node:path';
import { groupId } from './accounts.js';

export const OPERATORS_GROUP = 'uplinkd';
/** sun_path, unix(7), without the closing NUL. */
const PATH_BYTES_AT_MOST = 107;

/**
 * Listens at `path`, mode 0660, owned by us and the group `uplinkd` if there is one.
 * @returns what could not be done although it listens now, in words; '' = nothing
 * @throws Error for people: another uplinkd is running, the path is too long, is no socket, may not be written
 */
export async function listenUnix(server: Server, path: string): Promise<string> {
  if (Buffer.byteLength(path) > PATH_BYTES_AT_MOST) throw new Error(`socket path ${path} is longer than ${PATH_BYTES_AT_MOST} bytes, the most that unix(7) takes; choose a shorter --run-dir`);
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
export async function listenTcp(server: Server, host: string, port: number): Promise<number> {
  if (!isLoopback(host)) throw new Error(`api.listen ${host}: only loopback addresses (127.0.0.1, ::1) are served, because who connects there is not asked who he is`);
  await bound(server, `${host} port ${port}`, () => server.listen({ host, port }));
  const address = server.address();
  return typeof address === 'object' && address !== null ? address.port : port;
}

export function isLoopback(host: string): boolean {
  return host === '::1' || (isIP(host) === 4 && host.startsWith('127.'));
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
