/**
 * What the kernel's answers say, read from bytes alone: acknowledgements of changes, and parts of dumps. Messages that bear
 * another request's sequence number are passed over. Source: net/netlink/af_netlink.c, netlink_ack and netlink_dump.
 */
import { Attributes, HEADER_BYTES, NLMSG_DONE, NLMSG_ERROR, NLM_F_ACK_TLVS, NLM_F_CAPPED, NLM_F_DUMP_INTR, align, messagesIn, type Glance, type Message } from './codec.js';
import { KernelError, errnoName, errnoText } from './error.js';

const NLMSGERR_ATTR_MSG = 1;

/** undefined = of no interest. The message is a view: take what you need. */
export type Decode<T> = (message: Message) => T | undefined;

export interface Part<T> {
  readonly found: T[];
  /** Something changed during the dump: objects may be missing or double. */
  readonly interrupted: boolean;
  readonly last: boolean;
}

/**
 * '' = done, else `ENETUNREACH: Nexthop has invalid gateway`, of a NLMSG_ERROR or NLMSG_DONE. The kernel's own words stand behind
 * the request it refused, which is cut to its header (NLM_F_CAPPED) or whole.
 */
export function refusal(message: Message): string {
  if (message.body.length < 4) return '';
  const errno = -message.body.readInt32LE(0);
  if (errno <= 0) return '';
  const text = extendedText(message) ?? errnoText(errno);
  return text === '' ? errnoName(errno) : `${errnoName(errno)}: ${text}`;
}

/**
 * Enters the errors of the requests numbered from `first` into `errors`, one place for each request.
 * @returns whether the last request has been answered
 */
export function readAcks(bytes: Buffer, first: number, errors: string[]): boolean {
  let last = false;
  for (const message of messagesIn(bytes)) {
    const i = (message.sequence - first) >>> 0;
    if (message.type !== NLMSG_ERROR || i >= errors.length) continue;
    errors[i] = refusal(message);
    last ||= i === errors.length - 1;
  }
  return last;
}

/** One part of a dump. @throws KernelError when the kernel refused the dump, or EBADMSG */
export function readPart<T>(bytes: Buffer, sequence: number, decode: Decode<T>, glance?: Glance): Part<T> {
  const found: T[] = [];
  let interrupted = false;
  for (const message of messagesIn(bytes, glance)) {
    if (message.sequence !== sequence) continue;
    if ((message.flags & NLM_F_DUMP_INTR) !== 0) interrupted = true;
    if (message.type === NLMSG_ERROR || message.type === NLMSG_DONE) {
      const error = refusal(message);
      if (error === '') return { found, interrupted, last: true };
      const code = error.split(':', 1)[0] ?? '';
      throw new KernelError(code, `${error.slice(code.length + 2)} (the kernel refused a netlink dump)`);
    }
    const object = decode(message);
    if (object !== undefined) found.push(object);
  }
  return { found, interrupted, last: false };
}

function extendedText(message: Message): string | undefined {
  if ((message.flags & NLM_F_ACK_TLVS) === 0) return undefined;
  let at = 4;
  if (message.type === NLMSG_ERROR && message.body.length >= at + HEADER_BYTES) {
    at += (message.flags & NLM_F_CAPPED) !== 0 ? HEADER_BYTES : align(message.body.readUInt32LE(at));
  }
  return message.body.length > at ? new Attributes(message.body, at).text(NLMSGERR_ATTR_MSG) : undefined;
}
