/**
 * The C library's calls around child processes: a pipe for their output, and bpf(2) for what their sockets are bound to.
 *
 * A call that fails gives -errno, as the kernel does; nothing here throws. bpf has no wrapper in the C library and is called by number.
 */
import { addressOf, libc, orErrno } from './library.js';

const O_CLOEXEC = 0o2000000;
const ENOSYS = 38;

const cPipe2 = libc.func('int pipe2(_Out_ int *ends, int flags)') as (ends: [number, number], flags: number) => number;
const cSyscall = libc.func('long syscall(long number, int command, void *attributes, uint32_t length)') as (number: number, command: number, attributes: Buffer, length: number) => number;

/** Both ends close-on-exec. @returns the ends, or -errno */
export function openPipe(): { readonly reads: number; readonly writes: number } | number {
  const ends: [number, number] = [-1, -1];
  const result = orErrno(cPipe2(ends, O_CLOEXEC));
  return result < 0 ? result : { reads: ends[0], writes: ends[1] };
}

/**
 * Loads what `ip vrf exec` loads: every IPv4 and IPv6 socket that a process of a control group makes is bound to a device, and bears a
 * mark (BPF_PROG_TYPE_CGROUP_SOCK; linux/bpf.h, struct bpf_sock; iproute2 ip/ipvrf.c). @returns a descriptor, or -errno
 */
export function loadSocketBinder(ifindex: number, mark: number): number {
  const program = Buffer.concat([
    instruction(BPF_MOV64_IMM, 2, 0, 0, ifindex),
    instruction(BPF_STX_MEM_W, 1, 2, BOUND_DEV_IF_AT, 0), // r1 is the context: struct bpf_sock
    instruction(BPF_MOV64_IMM, 2, 0, 0, mark),
    instruction(BPF_STX_MEM_W, 1, 2, MARK_AT, 0),
    instruction(BPF_MOV64_IMM, 0, 0, 0, 1), // r0 = 1: the socket may be
    instruction(BPF_EXIT, 0, 0, 0, 0),
  ]);
  const license = Buffer.from('MIT\0');
  const attributes = Buffer.alloc(72);
  attributes.writeUInt32LE(BPF_PROG_TYPE_CGROUP_SOCK, 0);
  attributes.writeUInt32LE(program.length / INSTRUCTION_BYTES, 4);
  attributes.writeBigUInt64LE(addressOf(program), 8);
  attributes.writeBigUInt64LE(addressOf(license), 16);
  attributes.write('uplinkd', 48, 'latin1');
  attributes.writeUInt32LE(BPF_CGROUP_INET_SOCK_CREATE, 68);
  return bpf(BPF_PROG_LOAD, attributes);
}

/** It holds for the whole tree below the group, beside programs of others, and ends with the group. @returns 0 or -errno */
export function attachSocketBinder(cgroup: number, binder: number): number {
  const attributes = Buffer.alloc(16);
  attributes.writeUInt32LE(cgroup, 0);
  attributes.writeUInt32LE(binder, 4);
  attributes.writeUInt32LE(BPF_CGROUP_INET_SOCK_CREATE, 8);
  attributes.writeUInt32LE(BPF_F_ALLOW_MULTI, 12);
  return bpf(BPF_PROG_ATTACH, attributes);
}

function bpf(command: number, attributes: Buffer): number {
  const number = BPF_CALL[process.arch];
  return number === undefined ? -ENOSYS : orErrno(cSyscall(number, command, attributes, attributes.length));
}

/** struct bpf_insn, little-endian: opcode, source and destination register, offset, immediate value. */
function instruction(code: number, destination: number, source: number, offset: number, value: number): Buffer {
  const bytes = Buffer.alloc(INSTRUCTION_BYTES);
  bytes.writeUInt8(code, 0);
  bytes.writeUInt8((source << 4) | destination, 1);
  bytes.writeInt16LE(offset, 2);
  bytes.writeInt32LE(value | 0, 4);
  return bytes;
}

/** __NR_bpf of the little-endian machines that Node runs on. */
const BPF_CALL: Readonly<Partial<Record<NodeJS.Architecture, number>>> = { x64: 321, arm64: 280, riscv64: 280, loong64: 280, arm: 386, ia32: 357 };

const BPF_PROG_LOAD = 5;
const BPF_PROG_ATTACH = 8;
const BPF_PROG_TYPE_CGROUP_SOCK = 9;
const BPF_CGROUP_INET_SOCK_CREATE = 2;
const BPF_F_ALLOW_MULTI = 2;
const BPF_MOV64_IMM = 0xb7;
const BPF_STX_MEM_W = 0x63;
const BPF_EXIT = 0x95;
const INSTRUCTION_BYTES = 8;
const BOUND_DEV_IF_AT = 0;
const MARK_AT = 16;
