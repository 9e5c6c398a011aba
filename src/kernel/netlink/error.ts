/**
 * What can go wrong with netlink, apart from a change that the kernel refuses (that is data, a string).
 *
 * KernelError is thrown when the socket itself fails or what came out of it cannot be read. Nothing of it is expected in
 * operation, except ENOBUFS and EINTR on a machine that is drowning; the caller may read again later.
 */
import { constants } from 'node:os';
import { getSystemErrorMap } from 'node:util';

export class KernelError extends Error {
  override readonly name = 'KernelError';

  /**
   * @param code errno name (`ENOBUFS`), or `EBADMSG` for bytes that are not what they should be
   * @param text what was being done, in words
   */
  constructor(
    readonly code: string,
    text: string,
  ) {
    super(`${code}: ${text}`);
  }
}

/** `ENETUNREACH` for 101; `E512` for numbers that have no name here. */
export function errnoName(errno: number): string {
  return NAMES.get(errno) ?? `E${errno}`;
}

/** `network is unreachable` for 101, where the kernel has no words of its own; '' for numbers that have no text here. */
export function errnoText(errno: number): string {
  return NETLINK_TEXTS.get(errno) ?? getSystemErrorMap().get(-errno)?.[1] ?? '';
}

/** Where the C library speaks of files and processes, netlink means its objects. */
const NETLINK_TEXTS = new Map<number, string>([
  [constants.errno.EEXIST, 'there is one already'],
  [constants.errno.ENOENT, 'there is none such'],
  [constants.errno.ESRCH, 'there is none such'],
]);

const NAMES = new Map<number, string>(
  Object.entries(constants.errno)
    .filter(([name]) => name !== 'EWOULDBLOCK' && name !== 'ENOTSUP') // second names of EAGAIN and EOPNOTSUPP
    .map(([name, number]) => [number, name]),
);
