/**
 * Sends neighbour advertisements out of an ISP without having been asked, fifty a second:
 *
 *   right     as a neighbour would answer
 *   routed    with the hop limit of a packet that has come over routers
 *   unasked   without the flag that says it is an answer
 */
import { closeSync } from 'node:fs';
import { inetAddress, openRawIcmp, sendTo, SOL_IPV6 } from '../../src/libc/packet-socket.js';
import { setOption } from '../../src/libc/sockets.js';
import { addressBytes } from '../../src/probes/packet.js';
import { inNetns } from '../lab/netns.js';

const IPV6_UNICAST_HOPS = 16;

/** Resolves when some are out. @returns ends it */
export async function advertise(netns: string, kind: 'right' | 'routed' | 'unasked', target: string, to: string): Promise<() => void> {
  const fd = inNetns(netns, () => openRawIcmp(6));
  if (setOption(fd, SOL_IPV6, IPV6_UNICAST_HOPS, kind === 'routed' ? 254 : 255) < 0) throw new Error('no hop limit');
  const advertisement = Buffer.alloc(24);
  advertisement.writeUInt8(136, 0);
  advertisement.writeUInt8(kind === 'unasked' ? 0x20 : 0x60, 4);
  addressBytes(6, target).copy(advertisement, 8);
  const address = inetAddress(6, addressBytes(6, to), 0);
  let sent = 0;
  return new Promise((resolve) => {
    const timer = setInterval(() => {
      const result = sendTo(fd, advertisement, advertisement.length, address);
      if (result < 0) throw new Error(`sendto: errno ${-result}`);
      if (++sent === 3) resolve(() => {
        clearInterval(timer);
        closeSync(fd);
      });
    }, 20);
  });
}
