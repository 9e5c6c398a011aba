/**
 * Ends TCP sockets of this machine from outside (SOCK_DESTROY of sock_diag): the program that holds one gets ECONNABORTED from its
 * next or waiting call, the far end a reset. Needs a kernel with CONFIG_INET_DIAG_DESTROY;
 * others refuse each with EOPNOTSUPP. Sockets that were bound to a device are not found, on purpose: whoever bound one wants that
 * line and no other. Source: include/uapi/linux/inet_diag.h, net/ipv4/inet_diag.c.
 */
import type { AsideSocket } from './netlink/aside.js';
import type { Writer } from './netlink/codec.js';
import { AF_INET, AF_INET6 } from './netlink/inet.js';
import type { Ends } from './segment.js';

export const NETLINK_SOCK_DIAG = 4;

const SOCK_DESTROY = 21;
const IPPROTO_TCP = 6;
const ANY_STATE = 0xffffffff;
const NO_COOKIE = 0xffffffff;

/**
 * @param socket of NETLINK_SOCK_DIAG
 * @returns how many were ended; what was not there, or may not be ended here, is not counted
 * @throws KernelError when the socket fails
 */
export async function destroyTcpSockets(socket: AsideSocket, connections: readonly Ends[]): Promise<number> {
  const errors = await socket.changes(SOCK_DESTROY, 0, connections.map((ends) => (out) => writeSocket(out, ends)));
  return errors.filter((error) => error === '').length;
}

/** struct inet_diag_req_v2; ports and addresses in network order. */
function writeSocket(out: Writer, { near, far }: Ends): void {
  out.u8(near.address.length === 4 ? AF_INET : AF_INET6).u8(IPPROTO_TCP).u16(0).u32(ANY_STATE).u16(swap(near.port)).u16(swap(far.port));
  for (const { address } of [near, far]) {
    for (let at = 0; at < 16; at += 4) out.u32(at < address.length ? address.readUInt32LE(at) : 0);
  }
  out.u32(0).u32(NO_COOKIE).u32(NO_COOKIE);
}

function swap(port: number): number {
  return ((port & 0xff) << 8) | (port >> 8);
}
