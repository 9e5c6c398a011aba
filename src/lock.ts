/**
 * One uplinkd per network namespace: two would undo each other's routes. The claim is a name among the abstract unix sockets (unix(7)),
 * which belong to the namespace, not to the file system, and vanish with their process.
 *
 * Anybody on the box could take the name. A holder who is not who we are, nor root, is no uplinkd, and does not stop us.
 */
import { connect, createServer, type Socket } from 'node:net';

/** The user at the other end of a connected unix socket; undefined where the kernel does not tell. */
export type PeerUid = (socket: Socket) => number | undefined;

const NAME = '\0uplinkd';

/**
 * @returns a warning for people, '' when all is well
 * @throws Error when another uplinkd runs in this network namespace
 */
export async function claimNamespace(peerUid: PeerUid): Promise<string> {
  if (await listens()) return '';
  const uid = await holder(peerUid);
  if (uid === undefined || uid === 0 || uid === process.getuid?.()) {
    throw new Error('another uplinkd runs in this network namespace, and two would undo each other: stop that one first');
  }
  return `user ${uid} holds the name @uplinkd: a second uplinkd in this network namespace would go unnoticed`;
}

function listens(): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.end());
    server.once('error', (error: NodeJS.ErrnoException) => (error.code === 'EADDRINUSE' ? resolve(false) : reject(error)));
    server.listen(NAME, () => {
      server.unref();
      resolve(true);
    });
  });
}

function holder(peerUid: PeerUid): Promise<number | undefined> {
  return new Promise((resolve) => {
    const socket = connect(NAME);
    socket.once('connect', () => {
      resolve(peerUid(socket));
      socket.destroy();
    });
    // It went away, or it takes no calls: then nobody can say that it is not one of us.
    socket.once('error', () => resolve(undefined));
  });
}
