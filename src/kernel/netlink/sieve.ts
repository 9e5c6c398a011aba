/**
 * The kernel's own sieve for the notification socket: a classic BPF program that keeps the routes of others from us, except defaults
 * and routes written by hand in main (linux/filter.h, Documentation/networking/filter.rst). A routing daemon may change thousands of routes a second: each notice
 * woke us, 20 µs of CPU, for nothing.
 *
 * A notification is one message in one datagram (several come in dumps alone; net/core/rtnetlink.c, rtnl_notify), so the program reads
 * at fixed places, and bytes only, which no machine orders otherwise.
 */
import { MAIN_TABLE, OUR_PROTOCOL } from '../../core/layout.js';
import { HEADER_BYTES } from './codec.js';
import { POINTER_BYTES, addressOf } from '../../libc/library.js';
import { SOL_SOCKET, setOptionBytes } from '../../libc/sockets.js';
import { BY_HAND, RTM_DELROUTE, RTM_NEWROUTE } from './route.js';

/** Nothing is lost where the kernel refuses: then watch.ts passes over what is of no interest, at its own expense. @returns 0 or -errno */
export function attachRouteSieve(fd: number): number {
  // struct sock_fprog (a count and a pointer), and behind it, in the same memory so that both live equally long, the program.
  const start = 2 * POINTER_BYTES;
  const bytes = Buffer.alloc(start + INSTRUCTION_BYTES * PROGRAM.length);
  const halves = new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.length / 2); // typed arrays: host byte order
  const words = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
  halves[0] = PROGRAM.length;
  const programAt = addressOf(bytes) + BigInt(start);
  if (POINTER_BYTES === 8) new BigUint64Array(bytes.buffer, bytes.byteOffset, 2)[1] = programAt;
  else words[1] = Number(programAt);
  for (const [i, [code, ifTrue, ifFalse, k]] of PROGRAM.entries()) {
    const at = start + INSTRUCTION_BYTES * i; // struct sock_filter
    halves[at / 2] = code;
    bytes[at + 2] = ifTrue;
    bytes[at + 3] = ifFalse;
    words[at / 4 + 1] = k;
  }
  return setOptionBytes(fd, SOL_SOCKET, SO_ATTACH_FILTER, bytes.subarray(0, start));
}

const SO_ATTACH_FILTER = 26;
const INSTRUCTION_BYTES = 8;

// linux/bpf_common.h
const LOAD_BYTE_AT = 0x30;
const JUMP_IF_EQUAL = 0x15;
const RETURN = 0x06;
const WHOLE = 0xffffffff;

/** The low byte of nlmsg_type; all of rtnetlink's types are below 256. */
const TYPE_AT = 4;
// struct rtmsg
const PREFIX_LENGTH_AT = HEADER_BYTES + 1;
const TABLE_AT = HEADER_BYTES + 4;
const PROTOCOL_AT = HEADER_BYTES + 5;

/** Where the program keeps the notice; the next instruction drops it. */
const KEEP = 10 + BY_HAND.length;

/** [code, jump if true, jump if false, k]; jumps count from the next instruction. */
const PROGRAM: readonly (readonly [code: number, ifTrue: number, ifFalse: number, k: number])[] = [
  [LOAD_BYTE_AT, 0, 0, TYPE_AT],
  [JUMP_IF_EQUAL, 1, 0, RTM_NEWROUTE],
  [JUMP_IF_EQUAL, 0, KEEP - 3, RTM_DELROUTE],
  [LOAD_BYTE_AT, 0, 0, PROTOCOL_AT],
  [JUMP_IF_EQUAL, KEEP - 5, 0, OUR_PROTOCOL],
  [LOAD_BYTE_AT, 0, 0, TABLE_AT],
  [JUMP_IF_EQUAL, 0, KEEP - 6, MAIN_TABLE],
  [LOAD_BYTE_AT, 0, 0, PREFIX_LENGTH_AT],
  [JUMP_IF_EQUAL, KEEP - 9, 0, 0],
  [LOAD_BYTE_AT, 0, 0, PROTOCOL_AT],
  ...BY_HAND.map((protocol, i) => [JUMP_IF_EQUAL, KEEP - 11 - i, i === BY_HAND.length - 1 ? 1 : 0, protocol] as const),
  [RETURN, 0, 0, WHOLE],
  [RETURN, 0, 0, 0],
];
