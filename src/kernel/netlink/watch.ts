/**
 * The kernel's notifications. They only mean "look again", with one exception: a link is told as it is, because a lost carrier
 * must be acted upon at once.
 *
 *   link                          told, the last state of each in a batch; one that is off or gone also means again('all'): its
 *                                 routes went without a word, and it may be on again by now
 *   address, foreign default,     again('all')
 *   route written by hand
 *   route of ours, any rule       again('ours'), unless our own request caused it (its port is in the message)
 *   other routes                  kept back by the kernel (sieve.ts): a routing daemon may change thousands a second
 *   overrun, unreadable message   again('all'): something was lost
 *   nft ruleset changed           ruleset(), by whomever
 *
 * libuv's epoll drives the sockets (no thread is held, nothing keeps the process alive). What is there is read in one go, told
 * once, and bounded, so that a storm of notifications cannot starve the loop.
 */
import type { Link } from '../../model.js';
import { OUR_PROTOCOL } from '../../core/layout.js';
import { RTM_DELADDR, RTM_NEWADDR } from './address.js';
import { messagesIn, type Message } from './codec.js';
import { KernelError, errnoName } from './error.js';
import { whenReadable } from '../../libc/library.js';
import { bindNetlink, closeDescriptor, openNetlink, receive } from '../../libc/sockets.js';
import { RTM_DELLINK, RTM_NEWLINK, decodeLink } from './link.js';
import { RTM_DELROUTE, RTM_NEWROUTE, routeHead } from './route.js';
import { isForeign } from './rtnetlink.js';
import { RTM_DELRULE, RTM_NEWRULE } from './rule.js';
import { attachRouteSieve } from './sieve.js';
import { NETLINK_NETFILTER, NETLINK_ROUTE, enlargeReceiveBuffer } from './socket.js';

export interface Watchers {
  /** States of links, told at once; `gone` are indexes of deleted devices. */
  links(links: readonly Link[], gone: readonly number[]): void;
  again(what: 'ours' | 'all'): void;
  /** Somebody, perhaps we, changed the nft ruleset (iptables-nft is told too, iptables-legacy is not). */
  ruleset(): void;
}

/** RTNLGRP_* (include/uapi/linux/rtnetlink.h). */
const ROUTE_GROUPS = [1 /* LINK */, 5 /* IPV4_IFADDR */, 7 /* IPV4_ROUTE */, 8 /* IPV4_RULE */, 9 /* IPV6_IFADDR */, 11 /* IPV6_ROUTE */, 19 /* IPV6_RULE */];
const NFNLGRP_NFTABLES = 7;
const NO_NETFILTER: readonly string[] = ['EPROTONOSUPPORT', 'ENOENT', 'EINVAL'];

const SOCKET_BUFFER_BYTES = 8 * 1024 * 1024;
const RECEIVE_BYTES = 64 * 1024;
/** Some 5 ms of reading at most; epoll calls again for the rest. */
const DATAGRAMS_PER_TURN = 1000;

/**
 * @param ownPort the port of the socket that makes our changes, asked for at each batch
 * @returns ends the watch
 * @throws KernelError when there is no notification socket to be had
 */
export function watch(tell: Watchers, ownPort: () => number): () => void {
  const answer = Buffer.alloc(RECEIVE_BYTES);
  const endRoutes = listen(NETLINK_ROUTE, ROUTE_GROUPS, answer, (batch) => report(batch, tell, ownPort()));
  let endRuleset: (() => void) | undefined;
  try {
    endRuleset = listen(NETLINK_NETFILTER, [NFNLGRP_NFTABLES], answer, () => tell.ruleset());
  } catch (error) {
    // A kernel without nftables has no ruleset to tell of.
    if (!(error instanceof KernelError) || !NO_NETFILTER.includes(error.code)) {
      endRoutes();
      throw error;
    }
  }
  return () => {
    endRoutes();
    endRuleset?.();
  };
}

/** What was read in one go. */
interface Batch {
  readonly datagrams: readonly Buffer[];
  /** The kernel dropped notifications because we did not read in time. */
  readonly overrun: boolean;
}

function listen(protocol: number, groups: readonly number[], answer: Buffer, take: (batch: Batch) => void): () => void {
  const fd = openNetlink(protocol);
  if (fd < 0) throw new KernelError(errnoName(-fd), `no notification socket (netlink protocol ${protocol}) could be opened`);
  enlargeReceiveBuffer(fd, SOCKET_BUFFER_BYTES);
  if (protocol === NETLINK_ROUTE) attachRouteSieve(fd);
  const bound = bindNetlink(
    fd,
    groups.reduce((mask, group) => mask | (1 << (group - 1)), 0),
  );
  if (bound < 0) {
    closeDescriptor(fd);
    throw new KernelError(errnoName(-bound), `the kernel does not let us listen to its notifications (netlink protocol ${protocol})`);
  }
  const stop = whenReadable(fd, () => {
    const batch = readBatch(fd, answer);
    if (batch.datagrams.length > 0 || batch.overrun) take(batch);
  });
  let open = true;
  return () => {
    if (!open) return;
    open = false;
    stop();
    closeDescriptor(fd);
  };
}

function readBatch(fd: number, answer: Buffer): Batch {
  const datagrams: Buffer[] = [];
  let overrun = false;
  while (datagrams.length < DATAGRAMS_PER_TURN) {
    const length = receive(fd, answer);
    if (length >= 0) {
      if (length > answer.length) overrun = true;
      else datagrams.push(Buffer.from(answer.subarray(0, length)));
      continue;
    }
    const error = errnoName(-length);
    if (error === 'EAGAIN') break;
    if (error === 'EINTR') continue;
    if (error !== 'ENOBUFS') throw new KernelError(error, 'the notification socket failed');
    overrun = true;
  }
  return { datagrams, overrun };
}

/** What a batch amounts to. */
interface Digest {
  readonly links: Map<number, Link | 'gone'>;
  again: 'no' | 'ours' | 'all';
}

function report(batch: Batch, tell: Watchers, ownPort: number): void {
  const digest: Digest = { links: new Map(), again: batch.overrun ? 'all' : 'no' };
  for (const datagram of batch.datagrams) {
    try {
      for (const message of messagesIn(datagram)) take(message, digest, ownPort);
    } catch (error) {
      if (!(error instanceof KernelError)) throw error;
      digest.again = 'all'; // unreadable is as good as lost
    }
  }
  if (digest.links.size > 0) {
    const links = [...digest.links.values()].filter((link) => link !== 'gone');
    const gone = [...digest.links].filter(([, link]) => link === 'gone').map(([index]) => index);
    tell.links(links, gone);
  }
  if (digest.again !== 'no') tell.again(digest.again);
}

function take(message: Message, digest: Digest, ownPort: number): void {
  switch (message.type) {
    case RTM_NEWLINK: {
      const link = decodeLink(message.body);
      if (link === undefined) return;
      digest.links.set(link.index, link);
      if (!link.adminUp) digest.again = 'all';
      return;
    }
    case RTM_DELLINK: {
      const link = decodeLink(message.body);
      if (link === undefined) return;
      digest.links.set(link.index, 'gone');
      digest.again = 'all';
      return;
    }
    case RTM_NEWADDR:
    case RTM_DELADDR:
      digest.again = 'all';
      return;
    case RTM_NEWROUTE:
    case RTM_DELROUTE: {
      const head = routeHead(message.body);
      if (isForeign(head)) digest.again = 'all';
      else if (head.protocol === OUR_PROTOCOL && message.port !== ownPort) askForOurs(digest);
      return;
    }
    case RTM_NEWRULE:
    case RTM_DELRULE:
      if (message.port !== ownPort) askForOurs(digest);
      return;
    default: // groups tell nothing else
  }
}

function askForOurs(digest: Digest): void {
  if (digest.again === 'no') digest.again = 'ours';
}
