/** A TCP segment without data, as bytes from the IP header on (RFC 791, RFC 8200, RFC 9293), checksums included. */

export interface End {
  /** 4 or 16 bytes. */
  readonly address: Buffer;
  readonly port: number;
}

/** A connection as seen by its near end. */
export interface Ends {
  readonly near: End;
  readonly far: End;
}

const IPV4_BYTES = 20;
const IPV6_BYTES = 40;
const TCP_BYTES = 20;
const TIMESTAMPS_BYTES = 12;
const IPPROTO_TCP = 6;
const HOPS = 64;
const DONT_FRAGMENT = 0x4000;
const ACK = 0x10;
const WINDOW = 0xffff;
/** NOP, NOP, timestamps of 10 bytes (RFC 7323, appendix A). */
const TIMESTAMPS_HEAD = 0x0101080a;

/** From the far end to the near one. It acknowledges nothing in particular (0). */
export function bareAck({ near, far }: Ends, sequence: number, timestamps: boolean): Buffer {
  const tcpBytes = TCP_BYTES + (timestamps ? TIMESTAMPS_BYTES : 0);
  const isIPv4 = near.address.length === 4;
  const packet = Buffer.alloc((isIPv4 ? IPV4_BYTES : IPV6_BYTES) + tcpBytes);
  const tcp = packet.subarray(packet.length - tcpBytes);
  if (isIPv4) writeIPv4(packet, far.address, near.address);
  else writeIPv6(packet, tcpBytes, far.address, near.address);
  tcp.writeUInt16BE(far.port, 0);
  tcp.writeUInt16BE(near.port, 2);
  tcp.writeUInt32BE(sequence, 4);
  tcp.writeUInt8((tcpBytes / 4) << 4, 12);
  tcp.writeUInt8(ACK, 13);
  tcp.writeUInt16BE(WINDOW, 14);
  if (timestamps) tcp.writeUInt32BE(TIMESTAMPS_HEAD, TCP_BYTES);
  const pseudo = sumOf(far.address) + sumOf(near.address) + IPPROTO_TCP + tcpBytes;
  tcp.writeUInt16BE(checksum(pseudo + sumOf(tcp)), 16);
  return packet;
}

function writeIPv4(packet: Buffer, from: Buffer, to: Buffer): void {
  packet.writeUInt8(0x45, 0);
  packet.writeUInt16BE(packet.length, 2);
  packet.writeUInt16BE(DONT_FRAGMENT, 6);
  packet.writeUInt8(HOPS, 8);
  packet.writeUInt8(IPPROTO_TCP, 9);
  from.copy(packet, 12);
  to.copy(packet, 16);
  packet.writeUInt16BE(checksum(sumOf(packet.subarray(0, IPV4_BYTES))), 10);
}

function writeIPv6(packet: Buffer, payloadBytes: number, from: Buffer, to: Buffer): void {
  packet.writeUInt8(0x60, 0);
  packet.writeUInt16BE(payloadBytes, 4);
  packet.writeUInt8(IPPROTO_TCP, 6);
  packet.writeUInt8(HOPS, 7);
  from.copy(packet, 8);
  to.copy(packet, 24);
}

/** Of 16-bit words; all lengths here are even. */
function sumOf(bytes: Buffer): number {
  let sum = 0;
  for (let at = 0; at < bytes.length; at += 2) sum += (bytes[at]! << 8) | bytes[at + 1]!;
  return sum;
}

/** The internet checksum of a sum (RFC 1071). */
function checksum(sum: number): number {
  let folded = sum;
  while (folded > 0xffff) folded = (folded & 0xffff) + (folded >>> 16);
  return ~folded & 0xffff;
}
