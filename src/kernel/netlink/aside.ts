/**
 * A netlink socket for long work: the kernel's part of each call is done in a thread of libuv's pool, so that the event loop only
 * reads what came. Needed for connections: the kernel walks its whole hash table (262144 buckets) within single calls, 10 ms
 * when it is empty, 65 ms with 200k entries of which none is wanted.
 *
 * One call at a time; the caller awaits. Lookups of names, which may hang, cannot occupy the whole pool (libuv keeps half of
 * it for other work).
 */
import { readAcks, readPart, type Decode } from './answer.js';
import { NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, Writer } from './codec.js';
import { KernelError, errnoName } from './error.js';
import { closeDescriptor, receiveAside, sendAside } from '../../libc/sockets.js';
import { PARTS_AT_MOST, RECEIVE_BYTES, REQUEST_BYTES, openForRequests, type Write } from './socket.js';

export interface Change {
  readonly type: number;
  readonly flags: number;
  readonly write: Write;
}

export class AsideSocket {
  private readonly fd: number;
  private sequence = 0;
  private readonly request = new Writer(REQUEST_BYTES);
  private readonly answer = Buffer.alloc(RECEIVE_BYTES);

  /** @throws KernelError when such a socket cannot be had */
  constructor(protocol: number) {
    this.fd = openForRequests(protocol);
  }

  /**
   * A dump, part by part (some 100 objects each). Objects that come or go meanwhile may be missing. After an error the socket is
   * of no more use but to be closed.
   * @throws KernelError
   */
  async *dump<T>(type: number, write: Write, decode: Decode<T>): AsyncGenerator<readonly T[], void> {
    this.request.clear();
    const sequence = this.write(type, NLM_F_REQUEST | NLM_F_DUMP, write);
    await this.send();
    for (let i = 0; i < PARTS_AT_MOST; i++) {
      const part = readPart(await this.receive(), sequence, decode);
      yield part.found;
      if (part.last) return;
    }
    throw new KernelError('EBADMSG', 'a netlink dump without end');
  }

  /**
   * Many changes in one call, in order, each on its own (one refused does not stop the next). Together at most 64 KiB.
   * @returns for each '' or the refusal, `ENOENT: there is none such`
   * @throws KernelError; RangeError when they are too long together
   */
  changes(type: number, flags: number, writes: readonly Write[]): Promise<readonly string[]> {
    return this.mixed(writes.map((write) => ({ type, flags, write })));
  }

  /** The same for changes of several types. Nothing comes between them but what other processors do. */
  async mixed(changes: readonly Change[]): Promise<readonly string[]> {
    const errors = changes.map(() => '');
    if (errors.length === 0) return errors;
    const first = this.sequence + 1;
    this.request.clear();
    // The last one alone is acknowledged; of the others only refusals are told, and before that.
    changes.forEach(({ type, flags, write }, i) => {
      this.write(type, flags | NLM_F_REQUEST | (i === changes.length - 1 ? NLM_F_ACK : 0), write);
    });
    await this.send();
    for (let i = 0; i < PARTS_AT_MOST; i++) {
      if (readAcks(await this.receive(), first, errors)) return errors;
    }
    throw new KernelError('EBADMSG', 'a netlink answer without end');
  }

  close(): void {
    closeDescriptor(this.fd);
  }

  private write(type: number, flags: number, write: Write): number {
    this.sequence += 1;
    this.request.message(type, flags, this.sequence, write);
    return this.sequence;
  }

  private async send(): Promise<void> {
    const bytes = this.request.bytes;
    const sent = await sendAside(this.fd, bytes, bytes.length);
    if (sent !== bytes.length) throw new KernelError(errnoName(-sent), 'a netlink request could not be sent');
  }

  private async receive(): Promise<Buffer> {
    const length = await receiveAside(this.fd, this.answer);
    if (length < 0) throw new KernelError(errnoName(-length), 'the answer to a netlink request was lost');
    if (length > this.answer.length) throw new KernelError('EMSGSIZE', `an answer of ${length} bytes`);
    return this.answer.subarray(0, length);
  }
}
