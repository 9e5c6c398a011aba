/**
 * The kernel's own sieve for a probe socket: a classic BPF program that lets pass our echo replies and the errors about our
 * probes, by identifier, and nothing else (linux/filter.h, Documentation/networking/filter.rst).
 *
 * ICMP_FILTER knows types only, and every raw socket gets every echo reply of its device: with it alone, somebody's `ping -f` on this
 * machine filled our receive queue (250 packets), which lost one probe in six and took a whole core.
 *
 * The program is handed over by address, and only a foreign-function library knows addresses: hence `addressOf`.
 */
import type { Family } from '../model.js';
import { ECHO_REPLY, ERRORS } from './packet.js';

/** Size of struct sock_fprog on a 64-bit machine: a count and a pointer. */
export const FPROG_BYTES = 16;

/** What passes a probe socket for ICMP echo: the packet begins with its IP header (IPv4), or with its ICMPv6 header. */
export function echoFilter(family: Family, identifier: number, addressOf: (bytes: Buffer) => bigint): Buffer {
  return filterOf(family === 4 ? program4(identifier) : program6(identifier), addressOf);
}

/**
 * What passes a packet socket of ETH_P_ARP: answers (RFC 826, Ethernet and IPv4) for this address of ours; all others, and all requests, stay in
 * the kernel. @param target 4 bytes, the address of whoever asked
 */
export function arpFilter(target: Buffer, addressOf: (bytes: Buffer) => bigint): Buffer {
  return filterOf([
    [LOAD_HALF_AT, 0, 0, 6],
    [JUMP_IF_EQUAL, 0, 3, 2],
    [LOAD_WORD_AT, 0, 0, 24],
    [JUMP_IF_EQUAL, 0, 1, target.readUInt32BE(0)],
    ...VERDICT,
  ], addressOf);
}

/**
 * For setsockopt(SOL_SOCKET, SO_ATTACH_FILTER): struct sock_fprog in the first FPROG_BYTES, and behind it, in the same memory
 * so that both live equally long, the program it points to. 64-bit machines only.
 */
function filterOf(instructions: readonly Instruction[], addressOf: (bytes: Buffer) => bigint): Buffer {
  const bytes = Buffer.alloc(FPROG_BYTES + 8 * instructions.length);
  const halves = new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.length / 2); // typed arrays: host byte order
  const words = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
  halves[0] = instructions.length;
  new BigUint64Array(bytes.buffer, bytes.byteOffset, 2)[1] = addressOf(bytes) + BigInt(FPROG_BYTES);
  for (const [i, [code, ifTrue, ifFalse, k]] of instructions.entries()) {
    const at = FPROG_BYTES + 8 * i; // struct sock_filter
    halves[at / 2] = code;
    bytes[at + 2] = ifTrue;
    bytes[at + 3] = ifFalse;
    words[at / 4 + 1] = k;
  }
  return bytes;
}

/** [code, jump if true, jump if false, k]; jumps count from the next instruction. */
type Instruction = readonly [code: number, ifTrue: number, ifFalse: number, k: number];

// linux/bpf_common.h: class | size | mode
const LOAD_WORD_AT = 0x20; // A = packet[k]
const LOAD_BYTE_AT = 0x30;
const LOAD_HALF_AT = 0x28;
const LOAD_BYTE_FROM_X = 0x50; // A = packet[X + k]
const LOAD_HALF_FROM_X = 0x48;
const X_FROM_IHL = 0xb1; // X = 4 * (packet[k] & 0xf): length of an IPv4 header
const AND = 0x54;
const SHIFT_LEFT = 0x64;
const ADD_X = 0x0c;
const X_FROM_A = 0x07;
const JUMP_IF_EQUAL = 0x15;
const RETURN = 0x06;

/** Accept the whole packet, or drop it. */
const VERDICT: readonly Instruction[] = [
  [RETURN, 0, 0, 0xffff],
  [RETURN, 0, 0, 0],
];

/** The packet begins with its IP header; an error carries another one, with a length of its own. */
function program4(identifier: number): readonly Instruction[] {
  return [
    [X_FROM_IHL, 0, 0, 0],
    [LOAD_BYTE_FROM_X, 0, 0, 0],
    [JUMP_IF_EQUAL, 9, 0, ECHO_REPLY[4]],
    [JUMP_IF_EQUAL, 1, 0, ERRORS[4][0]],
    [JUMP_IF_EQUAL, 0, 10, ERRORS[4][1]],
    [LOAD_BYTE_FROM_X, 0, 0, 8],
    [AND, 0, 0, 0xf],
    [SHIFT_LEFT, 0, 0, 2],
    [ADD_X, 0, 0, 0],
    [X_FROM_A, 0, 0, 0],
    [LOAD_HALF_FROM_X, 0, 0, 8 + 4],
    [JUMP_IF_EQUAL, 2, 3, identifier],
    [LOAD_HALF_FROM_X, 0, 0, 4],
    [JUMP_IF_EQUAL, 0, 1, identifier],
    ...VERDICT,
  ];
}

/** The packet begins with its ICMPv6 header; our probes carry no extension headers. */
function program6(identifier: number): readonly Instruction[] {
  return [
    [LOAD_BYTE_AT, 0, 0, 0],
    [JUMP_IF_EQUAL, 5, 0, ECHO_REPLY[6]],
    [JUMP_IF_EQUAL, 2, 0, ERRORS[6][0]],
    [JUMP_IF_EQUAL, 1, 0, ERRORS[6][1]],
    [JUMP_IF_EQUAL, 0, 5, ERRORS[6][2]],
    [LOAD_HALF_AT, 0, 0, 8 + 40 + 4],
    [JUMP_IF_EQUAL, 2, 3, identifier],
    [LOAD_HALF_AT, 0, 0, 4],
    [JUMP_IF_EQUAL, 0, 1, identifier],
    ...VERDICT,
  ];
}
