/** IPsec policies of the kernel, as far as anybody here asks: are there any? Source: include/uapi/linux/xfrm.h. */
import { KernelError } from './error.js';
import { NetlinkSocket } from './socket.js';

const NETLINK_XFRM = 6;
const XFRM_MSG_NEWPOLICY = 0x13;
const XFRM_MSG_GETPOLICY = 0x15;
/** struct xfrm_userpolicy_id */
const POLICY_ID_BYTES = 64;

/** Of this network namespace. No: also where the kernel has no IPsec, or does not let us ask. */
export function hasPolicies(): boolean {
  let socket: NetlinkSocket | undefined;
  try {
    socket = new NetlinkSocket(NETLINK_XFRM);
    const found = socket.dump(
      XFRM_MSG_GETPOLICY,
      (out) => {
        for (let at = 0; at < POLICY_ID_BYTES; at += 4) out.u32(0);
      },
      ({ type }) => (type === XFRM_MSG_NEWPOLICY ? true : undefined),
    );
    return found.length > 0;
  } catch (failure) {
    if (failure instanceof KernelError) return false;
    throw failure;
  } finally {
    socket?.close();
  }
}
