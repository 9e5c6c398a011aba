/**
 * Forgets connections (conntrack entries) over ctnetlink, so that what an uplink carried can begin anew on another one.
 *
 * Always a dump of the entries that bear the uplink's mark, then deletes of single entries by tuple and id. Never a flush: a
 * request to delete that names no tuple empties the whole table, so none is ever built. Work is in small parts and the kernel's
 * share is done in a thread: the event loop is never held for more than about a millisecond.
 * An entry that ends by itself meanwhile (ENOENT) is forgotten too. Source: net/netfilter/nf_conntrack_netlink.c.
 */
import type { ForgetOrder } from '../model.js';
import { AsideSocket } from './netlink/aside.js';
import { Attributes, type Message, type Writer } from './netlink/codec.js';
import { KernelError } from './netlink/error.js';
import { NETLINK_NETFILTER } from './netlink/socket.js';

const NFNL_SUBSYS_CTNETLINK = 1;
const IPCTNL_MSG_CT_NEW = NFNL_SUBSYS_CTNETLINK << 8;
const IPCTNL_MSG_CT_GET = IPCTNL_MSG_CT_NEW + 1;
const IPCTNL_MSG_CT_DELETE = IPCTNL_MSG_CT_NEW + 2;
const NFGENMSG_BYTES = 4;
const CTA_TUPLE_ORIG = 1;
const CTA_STATUS = 3;
const CTA_MARK = 8;
const CTA_ID = 12;
const CTA_ZONE = 18;
const CTA_MARK_MASK = 21;
const IPS_SEEN_REPLY = 1 << 1;

/** Deletes in one call: some 20 KiB and a quarter of a millisecond. */
const BATCH = 200;
/** Entries that were made while the table was walked are met by the next walk; the last one finds nothing, normally the second. */
const WALKS_AT_MOST = 3;

/**
 * @returns how many entries were deleted
 * @throws KernelError when ctnetlink cannot be had or fails half-way (what was deleted stays deleted; the order may be repeated)
 */
export async function forget(order: ForgetOrder): Promise<number> {
  const deleter = new AsideSocket(NETLINK_NETFILTER);
  let total = 0;
  try {
    for (let walk = 0; walk < WALKS_AT_MOST; walk++) {
      let deleted = 0;
      for await (const entries of entriesMarked(order)) deleted += await deleteEntries(deleter, entries);
      total += deleted;
      if (deleted === 0) break;
    }
  } finally {
    deleter.close();
  }
  return total;
}

/** How many entries bear the mark. @throws KernelError */
export async function countMarked(which: Marked): Promise<number> {
  let count = 0;
  for await (const entries of entriesMarked(which)) count += entries.length;
  return count;
}

/** Which entries are meant. */
export type Marked = Pick<ForgetOrder, 'mark' | 'markMask' | 'which'>;

/** What names one entry and no other. */
export interface Entry {
  /** AF_INET or AF_INET6. */
  readonly family: number;
  /** CTA_TUPLE_ORIG as the kernel gave it. */
  readonly tuple: Buffer;
  readonly id: Buffer;
  /** Where connections are kept apart by zones. */
  readonly zone: Buffer | undefined;
}

async function* entriesMarked(which: Marked): AsyncGenerator<readonly Entry[], void> {
  if ((which.mark & which.markMask) === 0) throw new RangeError('connections without a mark are nobody\'s: they cannot be forgotten by mark');
  const socket = new AsideSocket(NETLINK_NETFILTER);
  try {
    yield* socket.dump(
      IPCTNL_MSG_CT_GET,
      (out) => out.u32(0).attributeU32be(CTA_MARK, which.mark).attributeU32be(CTA_MARK_MASK, which.markMask),
      (message) => wanted(message, which),
    );
  } finally {
    socket.close();
  }
}

/** Checks again what the kernel should have filtered: older ones ignore what they do not know, and then everything would go. */
export function wanted(message: Message, which: Marked): Entry | undefined {
  if (message.type !== IPCTNL_MSG_CT_NEW) return undefined;
  const attributes = new Attributes(message.body, NFGENMSG_BYTES);
  const mark = attributes.u32be(CTA_MARK) ?? 0;
  if ((mark & which.markMask) >>> 0 !== which.mark) return undefined;
  if (which.which === 'unanswered' && ((attributes.u32be(CTA_STATUS) ?? 0) & IPS_SEEN_REPLY) !== 0) return undefined;
  const tuple = attributes.bytes(CTA_TUPLE_ORIG);
  const id = attributes.bytes(CTA_ID);
  if (tuple === undefined || id === undefined) return undefined;
  const zone = attributes.bytes(CTA_ZONE);
  return { family: message.body.readUInt8(0), tuple: Buffer.from(tuple), id: Buffer.from(id), zone: zone === undefined ? undefined : Buffer.from(zone) };
}

async function deleteEntries(socket: AsideSocket, entries: readonly Entry[]): Promise<number> {
  let deleted = 0;
  for (let at = 0; at < entries.length; at += BATCH) {
    const errors = await socket.changes(
      IPCTNL_MSG_CT_DELETE,
      0,
      entries.slice(at, at + BATCH).map((entry) => (out) => writeEntry(out, entry)),
    );
    for (const error of errors) {
      if (error === '') deleted++;
      else if (!error.startsWith('ENOENT')) throw new KernelError(error.split(':', 1)[0] ?? '', `a connection could not be forgotten: ${error}`);
    }
  }
  return deleted;
}

/** The tuple comes first and is never empty: without it the kernel would flush the table. */
function writeEntry(out: Writer, entry: Entry): void {
  if (entry.tuple.length === 0) throw new RangeError('a connection without a tuple');
  out.u8(entry.family).u8(0).u16(0).nestedBytes(CTA_TUPLE_ORIG, entry.tuple).attribute(CTA_ID, entry.id);
  if (entry.zone !== undefined) out.attribute(CTA_ZONE, entry.zone);
}
