/**
 * Sends bare IP packets by a device, past routing and netfilter (an AF_PACKET datagram socket: the kernel writes the link's header
 * and nothing else), many in one call and in a thread: on a veth or bridge the receiver's whole work is done within the call.
 *
 * One call at a time. All that the kernel reads lies in one piece of memory, in three rows: struct mmsghdr (a struct msghdr of
 * seven words and the length that was sent), struct iovec, and slots of struct sockaddr_ll with the packet behind it.
 */
import { KernelError, errnoName } from './error.js';
import { POINTER_BYTES, addressOf } from '../../libc/library.js';
import { closeDescriptor, openPacketSender, sendManyAside } from '../../libc/sockets.js';

export interface Packet {
  readonly ifindex: number;
  /** Of the next neighbour; empty on links without such addresses. */
  readonly hardware: Buffer;
  /** From the IP header on, at most PACKET_BYTES_AT_MOST. */
  readonly bytes: Buffer;
}

export const PACKETS_AT_MOST = 256;
export const PACKET_BYTES_AT_MOST = 108;

const AF_PACKET = 17;
const ETH_P_IP = 0x0800;
const ETH_P_IPV6 = 0x86dd;
const SOCKADDR_LL_BYTES = 20;
const HARDWARE_BYTES_AT_MOST = 8;
const MMSGHDR_BYTES = 8 * POINTER_BYTES;
const IOVEC_BYTES = 2 * POINTER_BYTES;
const SLOT_BYTES = SOCKADDR_LL_BYTES + PACKET_BYTES_AT_MOST;

export class PacketSender {
  private readonly fd: number;
  private readonly memory = Buffer.alloc(PACKETS_AT_MOST * (MMSGHDR_BYTES + IOVEC_BYTES + SLOT_BYTES));
  private readonly address = addressOf(this.memory);

  /** @throws KernelError when such a socket cannot be had: EPERM without CAP_NET_RAW, EAFNOSUPPORT where the service may not */
  constructor() {
    this.fd = openPacketSender();
    if (this.fd < 0) throw new KernelError(errnoName(-this.fd), 'no packet socket could be opened');
  }

  /**
   * At most PACKETS_AT_MOST. A packet that the device does not take (down, gone, queue full) is passed over.
   * @returns how many were taken
   * @throws RangeError for packets that are too many or too long
   */
  async send(packets: readonly Packet[]): Promise<number> {
    if (packets.length > PACKETS_AT_MOST) throw new RangeError(`${packets.length} packets at once; ${PACKETS_AT_MOST} are possible`);
    packets.forEach((packet, i) => this.put(i, packet));
    let taken = 0;
    for (let at = 0; at < packets.length; ) {
      const sent = await sendManyAside(this.fd, this.memory.subarray(at * MMSGHDR_BYTES), packets.length - at);
      taken += Math.max(0, sent);
      // Short of the end: the next one was refused.
      at += Math.max(0, sent) + 1;
    }
    return taken;
  }

  close(): void {
    closeDescriptor(this.fd);
  }

  private put(i: number, { ifindex, hardware, bytes }: Packet): void {
    if (bytes.length > PACKET_BYTES_AT_MOST || hardware.length > HARDWARE_BYTES_AT_MOST) throw new RangeError(`a packet of ${bytes.length} bytes to a hardware address of ${hardware.length}`);
    const header = i * MMSGHDR_BYTES;
    const vector = PACKETS_AT_MOST * MMSGHDR_BYTES + i * IOVEC_BYTES;
    const slot = PACKETS_AT_MOST * (MMSGHDR_BYTES + IOVEC_BYTES) + i * SLOT_BYTES;
    this.memory.fill(0, slot, slot + SOCKADDR_LL_BYTES);
    this.memory.writeUInt16LE(AF_PACKET, slot);
    this.memory.writeUInt16BE(bytes.readUInt8(0) >> 4 === 4 ? ETH_P_IP : ETH_P_IPV6, slot + 2);
    this.memory.writeInt32LE(ifindex, slot + 4);
    this.memory.writeUInt8(hardware.length, slot + 11);
    hardware.copy(this.memory, slot + 12);
    bytes.copy(this.memory, slot + SOCKADDR_LL_BYTES);
    this.word(vector, this.address + BigInt(slot + SOCKADDR_LL_BYTES));
    this.word(vector + POINTER_BYTES, BigInt(bytes.length));
    this.word(header, this.address + BigInt(slot));
    this.memory.writeUInt32LE(SOCKADDR_LL_BYTES, header + POINTER_BYTES);
    this.word(header + 2 * POINTER_BYTES, this.address + BigInt(vector));
    this.word(header + 3 * POINTER_BYTES, 1n);
  }

  /** A pointer or size_t. */
  private word(at: number, value: bigint): void {
    if (POINTER_BYTES === 8) this.memory.writeBigUInt64LE(value, at);
    else this.memory.writeUInt32LE(Number(value), at);
  }
}
