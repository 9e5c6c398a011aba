/**
 * The method `arp`: is the gateway there, on the link itself? ARP in IPv4 (arp.ts), neighbour discovery in IPv6 (nd.ts).
 *
 * A gateway that answers here and not to ICMP echo filters; one that does not answer here is not there, whatever lies beyond. The kernel's own
 * neighbour table is not asked: it believes in a dead gateway for minutes.
 *
 * An answer bears no number. It is taken for that to the newest probe, and no other: with several in flight a reply could only be told from
 * an answer to an earlier one by its time, and an answer to any of them says the same.
 */
import { whenReady } from '../libc/library.js';
import { deviceOf, receiver, sendTo, ARPHRD_ETHER, type Received } from '../libc/packet-socket.js';
import { closeDescriptor } from '../libc/sockets.js';
import type { Instant, ProbeLine } from '../model.js';
import { openArpLink } from './arp.js';
import { errorInWords, isSocketBroken } from './errno.js';
import type { Asker, OpenAsker, Question } from './method.js';
import { openNdLink } from './nd.js';
import { addressBytes } from './packet.js';
import { isFailure, slot, type Slot } from './slot.js';

/** A socket on which one asks who has an address. */
export interface NeighbourLink {
  readonly fd: number;
  /** @param mac our own @param address whose owner is to answer */
  request(mac: Buffer, address: Buffer): { readonly bytes: Buffer; readonly to: Buffer };
  /** Whose answer that is; undefined: none, or not to us. */
  answererOf(received: Received, length: number): Buffer | undefined;
}

interface Flight {
  readonly question: Question;
  readonly address: Buffer;
  readonly sentAt: Instant;
}

const READ_AT_ONCE = 64;
const EAGAIN = 11;
const ENETDOWN = 100;

/** Never throws: a socket that cannot be had costs the probes, and is tried again. */
export const openNeighbour: OpenAsker = (line, now) => {
  const socket: Slot<Asker> = slot(() => openLink(line, now, (error) => socket.broke(error)), now);
  return {
    ask(question) {
      const asker = socket.take();
      if (isFailure(asker)) question.lost(now(), asker.failed, asker.error);
      else asker.ask(question);
    },
    close: () => socket.close(),
  };
};

let shared: Received | undefined;

/** @throws Error when there can be no such socket, or not on this device */
function openLink(line: ProbeLine, now: () => Instant, broke: (error: string) => void): Asker {
  const link = line.family === 4 ? openArpLink(line) : openNdLink(line);
  const received = (shared ??= receiver(2048));
  let newest: Flight | undefined;
  let open = true;

  const close = (): void => {
    if (!open) return;
    open = false;
    deaf();
    closeDescriptor(link.fd);
    newest = undefined;
  };
  const fail = (errno: number): void => {
    const error = `the probe socket failed: ${errorInWords(errno)}`;
    const stranded = newest;
    close();
    stranded?.question.lost(now(), 'prober', error);
    broke(error);
  };
  const deaf = whenReady(link.fd, 'readable', () => {
    const at = now();
    for (let count = 0; open && count < READ_AT_ONCE; count++) {
      const length = received.receive(link.fd);
      if (length === -EAGAIN) return;
      if (length === -ENETDOWN) continue; // said once, when the device goes down; the socket hears again when it is back
      if (length < 0) return fail(-length);
      const answerer = link.answererOf(received, length);
      if (answerer === undefined || newest?.address.equals(answerer) !== true) continue;
      const { question, sentAt } = newest;
      newest = undefined;
      question.answered(at, at - sentAt);
    }
  });

  return {
    ask(question) {
      const device = deviceOf(link.fd, line.interface);
      if (device === undefined) return question.lost(now(), 'unsent', `${line.interface} does not exist`);
      if (!device.arp || device.kind !== ARPHRD_ETHER) return question.lost(now(), 'unsent', `${line.interface} has no ${line.family === 4 ? 'ARP' : 'neighbour discovery'}`);
      const address = addressBytes(line.family, question.order.address);
      const { bytes, to } = link.request(device.mac, address);
      newest = { question, address, sentAt: now() };
      const sent = sendTo(link.fd, bytes, bytes.length, to);
      if (sent >= 0) return;
      newest = undefined;
      const broken = isSocketBroken(sent);
      question.lost(now(), broken ? 'prober' : 'unsent', `could not be sent: ${errorInWords(sent)}`);
      if (broken) fail(-sent);
    },
    close,
  };
}
