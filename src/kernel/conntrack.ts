/**
 * Forgets connections (conntrack entries) over ctnetlink, so that what an uplink carried can begin anew on another one.
 *
 * Always a dump of the entries that bear the uplink's mark, then changes of single entries by tuple: most are deleted; TCP
 * connections that are under way get the cut mark in place of the uplink's where the order has one, and their ends in the LAN are
 * made to notice (resets.ts); datagram flows of the router itself may be led to another line (lead.ts). Never a flush: a
 * request to delete that names no tuple empties the whole table, so none is ever built.
 * Work is in small parts and the kernel's share is done in a thread: the event loop is never held for more than about a millisecond.
 * An entry that ends by itself meanwhile (ENOENT) is forgotten too. Source: net/netfilter/nf_conntrack_netlink.c.
 */
import type { ForgetOrder } from '../model.js';
import { FlowReader, IPPROTO_TCP, type Flow, type Tuple } from './flow.js';
import { openAstray, type Astray } from './astray.js';
import { compilePrefixes, compileSelection, type IsOwn } from './flow-match.js';
import { compileLed, leadingChanges, writeZone } from './lead.js';
import { AsideSocket } from './netlink/aside.js';
import { AttributeIndex } from './netlink/attribute-index.js';
import type { Message, Writer } from './netlink/codec.js';
import { KernelError } from './netlink/error.js';
import {
  CTA_ID, CTA_MARK, CTA_MARK_MASK, CTA_PROTOINFO, CTA_PROTOINFO_TCP, CTA_PROTOINFO_TCP_STATE, CTA_STATUS, CTA_TIMEOUT,
  CTA_TUPLE_ORIG, CTA_TUPLE_REPLY, CTA_ZONE,
  IPCTNL_MSG_CT_DELETE, IPCTNL_MSG_CT_GET, IPCTNL_MSG_CT_NEW, IPS_OFFLOAD, IPS_SEEN_REPLY, NFGENMSG_BYTES,
} from './netlink/ctnetlink.js';
import { afOf, parseAddress } from './netlink/inet.js';
import { openRtnetlink } from './netlink/rtnetlink.js';
import { NETLINK_NETFILTER } from './netlink/socket.js';
import { openTeller, type Teller } from './resets.js';

/** From SYN_RECV to LAST_ACK: somebody still waits for something (enum tcp_conntrack). */
const TCP_UNDER_WAY = { first: 2, last: 6 } as const;

/** Changes in one call: some 20 KiB and a quarter of a millisecond. */
const BATCH = 200;
/** Entries that were made while the table was walked are met by the next walk; the last one finds nothing, normally the second. */
const WALKS_AT_MOST = 3;
/** A connection that was cut and whose ends keep silent is not to stay for the days that a TCP connection may. */
const CUT_TIMEOUT_S = 120;

/** Which entries are meant. What is left out limits nothing. */
export type Marked = Pick<ForgetOrder, 'mark' | 'markMask' | 'which'>
  & Partial<Pick<ForgetOrder, 'family' | 'translatedTo' | 'astray' | 'only' | 'except' | 'cutMark' | 'onto'>>;

/** What names one entry and no other. */
export interface Entry {
  /** AF_INET or AF_INET6. */
  readonly family: number;
  /** CTA_TUPLE_ORIG as the kernel gave it. */
  readonly tuple: Buffer;
  readonly id: number;
  /** Where connections are kept apart by zones. */
  readonly zone: number | undefined;
  /** Is to be cut instead of deleted. */
  readonly cut: Flow | undefined;
  /** Is to go on by another line. */
  readonly led: Tuple | undefined;
}

/**
 * @returns how many entries were deleted or cut
 * @throws KernelError when ctnetlink cannot be had or fails half-way (what was done stays done; the order may be repeated);
 *         RangeError for an order without a mark, or with text that is no address
 */
export async function forget(order: ForgetOrder): Promise<number> {
  const changer = new AsideSocket(NETLINK_NETFILTER);
  let astray: Astray | undefined;
  let teller: Teller | undefined;
  let total = 0;
  try {
    if (order.astray !== undefined) astray = openAstray(order.astray);
    const wanted = compileWanted(order, astray);
    for (let walk = 0; walk < WALKS_AT_MOST; walk++) {
      let done = 0;
      for await (const entries of entriesMarked(order, wanted)) {
        const toCut = entries.filter(({ cut }) => cut !== undefined);
        const toLead = entries.filter(({ led }) => led !== undefined);
        done += await leadEntries(changer, order, toLead);
        const isPlain = toCut.length + toLead.length === 0;
        const toDelete = isPlain ? entries : entries.filter(({ cut, led }) => cut === undefined && led === undefined);
        done += await deleteEntries(changer, toDelete);
        if (toCut.length === 0) continue;
        const { cut, refused } = await cutEntries(changer, order, toCut);
        done += cut.length + (await deleteEntries(changer, refused));
        teller ??= openTeller();
        await teller.tell(cut);
      }
      total += done;
      if (done === 0) break;
    }
  } finally {
    changer.close();
    teller?.close();
    astray?.close();
  }
  return total;
}

/** How many entries are meant. @throws as `forget` does */
export async function countMarked(which: Marked): Promise<number> {
  let count = 0;
  for await (const entries of entriesMarked(which, compileWanted(which))) count += entries.length;
  return count;
}

async function* entriesMarked(which: Marked, wanted: (message: Message) => Entry | undefined): AsyncGenerator<readonly Entry[], void> {
  const socket = new AsideSocket(NETLINK_NETFILTER);
  const af = which.family === undefined ? 0 : afOf(which.family);
  try {
    yield* socket.dump(
      IPCTNL_MSG_CT_GET,
      (out) => out.u32(af).attributeU32be(CTA_MARK, which.mark).attributeU32be(CTA_MARK_MASK, which.markMask),
      wanted,
    );
  } finally {
    socket.close();
  }
}

/**
 * Decodes an entry of a dump that is meant. Checks again what the kernel should have filtered: older ones ignore what they do not
 * know, and then everything would go.
 * @throws RangeError as `forget` does
 */
export function compileWanted(order: Marked, astray?: Astray): (message: Message) => Entry | undefined {
  const { mark, markMask, which, family, translatedTo = '', only, except = [], cutMark = 0, onto } = order;
  if ((mark & markMask) === 0) throw new RangeError('connections without a mark are nobody\'s: they cannot be forgotten by mark');
  if ((cutMark & ~markMask) !== 0) throw new RangeError(`the cut mark ${cutMark} has bits that are not ours`);
  const needsOwn = cutMark !== 0 || onto !== undefined || [only, ...except].some((kind) => kind?.origin === 'router');
  const isOwn = needsOwn ? compileOwn(translatedTo) : (): boolean => false;
  const selects = compileSelection({ translatedTo, only, except }, isOwn);
  const leads = compileLed({ onto, only }, isOwn);
  const attributes = new AttributeIndex();
  const nested = new AttributeIndex();
  const flows = new FlowReader();
  return ({ type, body }) => {
    if (type !== IPCTNL_MSG_CT_NEW) return undefined;
    attributes.read(body, NFGENMSG_BYTES);
    if (((attributes.u32be(CTA_MARK) ?? 0) & markMask) >>> 0 !== mark) return undefined;
    const status = attributes.u32be(CTA_STATUS) ?? 0;
    const offloaded = (status & IPS_OFFLOAD) !== 0;
    const answered = offloaded || (status & IPS_SEEN_REPLY) !== 0;
    if (which === 'unanswered' && answered) return undefined;
    const af = body.readUInt8(0);
    if (family !== undefined && af !== afOf(family)) return undefined;
    const cuttable = cutMark !== 0 && answered && (offloaded || isUnderWay(attributes, nested));
    const isRead = cuttable || selects !== undefined || astray !== undefined || onto !== undefined;
    const flow = isRead ? flows.read(attributes, CTA_TUPLE_ORIG, CTA_TUPLE_REPLY) : undefined;
    if (selects !== undefined && (flow === undefined || !selects(flow))) return undefined;
    if (astray !== undefined && (flow === undefined || !astray.fits(flow))) return undefined;
    const tuple = attributes.copy(CTA_TUPLE_ORIG);
    const id = attributes.u32be(CTA_ID);
    if (tuple === undefined || id === undefined) return undefined;
    const led = flow === undefined ? undefined : leads(flow);
    const cut = cuttable && flow !== undefined && isToBeCut(flow, isOwn) ? flow : undefined;
    return { family: af, tuple, id, zone: attributes.u16be(CTA_ZONE), cut, led };
  };
}

/** The router's own addresses as they are now, and the one or the prefix that it had. */
function compileOwn(former: string): IsOwn {
  const netlink = openRtnetlink();
  try {
    const own = new Set(netlink.listAddresses().map(({ address }) => parseAddress(address).toString('latin1')));
    const wasOurs = former === '' ? (): boolean => false : compilePrefixes([former]);
    return (address) => own.has(address.toString('latin1')) || wasOurs(address);
  } finally {
    netlink.close();
  }
}

/** TCP that got beyond its first packet and has not ended. */
function isUnderWay(attributes: AttributeIndex, nested: AttributeIndex): boolean {
  if (!attributes.has(CTA_PROTOINFO)) return false;
  const inner = nested.readNested(attributes, CTA_PROTOINFO);
  if (!inner.has(CTA_PROTOINFO_TCP)) return false;
  const state = inner.readNested(inner, CTA_PROTOINFO_TCP).u8(CTA_PROTOINFO_TCP_STATE);
  return state !== undefined && state >= TCP_UNDER_WAY.first && state <= TCP_UNDER_WAY.last;
}

/**
 * What somebody outside began with the router itself is deleted: nothing of it is translated, so it goes on when its line
 * comes back (an administrator's session), and nobody here could begin it anew.
 */
function isToBeCut({ original, reply }: Flow, isOwn: IsOwn): boolean {
  return original.protocol === IPPROTO_TCP && (isOwn(original.source) || !isOwn(reply.source));
}

async function deleteEntries(socket: AsideSocket, entries: readonly Entry[]): Promise<number> {
  const errors = await changeEntries(socket, IPCTNL_MSG_CT_DELETE, entries, (out, entry) => out.attributeU32be(CTA_ID, entry.id));
  let deleted = 0;
  for (const error of errors) {
    if (error === '') deleted++;
    else if (!isGone(error)) throw new KernelError(error.split(':', 1)[0] ?? '', `a connection could not be forgotten: ${error}`);
  }
  return deleted;
}

/** How many were forgotten. What takes their place may be refused: then they begin anew where their address leads. */
async function leadEntries(socket: AsideSocket, { onto }: ForgetOrder, entries: readonly Entry[]): Promise<number> {
  let done = 0;
  for (const entry of entries) {
    const { led, zone } = entry;
    if (led === undefined || onto === undefined) continue;
    const forgetting = {
      type: IPCTNL_MSG_CT_DELETE, flags: 0,
      write: (out: Writer): void => {
        writeEntry(out, entry);
        out.attributeU32be(CTA_ID, entry.id);
      },
    };
    const leading = leadingChanges(led, onto, zone);
    // In one call: a packet that comes between makes an entry of its own, which the second try takes away.
    const [forgotten = '', ...first] = await socket.mixed([forgetting, ...leading]);
    if (forgotten === '') done++;
    // Half of it would be worse than nothing.
    if (isRefused(first) && isRefused(await socket.mixed(leading))) await socket.mixed(leading.slice(0, 2));
  }
  return done;
}

/** Other bits of the mark stay as they are. What the kernel does not let be marked (a fixed timeout) is left to be deleted. */
async function cutEntries(socket: AsideSocket, { markMask, cutMark }: ForgetOrder, entries: readonly Entry[]): Promise<{ readonly cut: Flow[]; readonly refused: Entry[] }> {
  const errors = await changeEntries(socket, IPCTNL_MSG_CT_NEW, entries, (out) =>
    out.attributeU32be(CTA_MARK, cutMark).attributeU32be(CTA_MARK_MASK, markMask).attributeU32be(CTA_TIMEOUT, CUT_TIMEOUT_S),
  );
  const done = entries.filter((_, i) => errors[i] === '');
  return { cut: done.flatMap(({ cut }) => cut ?? []), refused: entries.filter((_, i) => errors[i] !== '' && !isGone(errors[i] ?? '')) };
}

/** @returns for each '' or the refusal */
async function changeEntries(socket: AsideSocket, type: number, entries: readonly Entry[], write: (out: Writer, entry: Entry) => void): Promise<readonly string[]> {
  const errors: string[] = [];
  for (let at = 0; at < entries.length; at += BATCH) {
    const writes = entries.slice(at, at + BATCH).map((entry) => (out: Writer): void => {
      writeEntry(out, entry);
      write(out, entry);
    });
    errors.push(...(await socket.changes(type, 0, writes)));
  }
  return errors;
}

/** That there was nothing to delete is no refusal. */
function isRefused(errors: readonly string[]): boolean {
  return errors.some((error) => error !== '' && !isGone(error));
}

function isGone(error: string): boolean {
  return error.startsWith('ENOENT');
}

/** The tuple comes first and is never empty: without it the kernel would flush the table. */
function writeEntry(out: Writer, entry: Entry): void {
  if (entry.tuple.length === 0) throw new RangeError('a connection without a tuple');
  out.u8(entry.family).u8(0).u16(0).nestedBytes(CTA_TUPLE_ORIG, entry.tuple);
  writeZone(out, entry.zone);
}
