/**
 * Stands in for an ISP's kernel: answers every echo request with the messages that the last line of its stdin names, one after the other. It says when
 * it has taken in a line; after an empty one it answers nothing.
 *
 *   reply         the right answer
 *   wait:MS       a pause
 *   redirect      RFC 792 redirect for host, about the request
 *   unreachable   host unreachable, about the request
 *   elsewhere     host unreachable, about a request like this one to another address
 *   foreign       an answer with another identifier
 *   next          an answer with another sequence
 *   forged        an answer with other data than were sent
 *   short         an answer with the first 16 of the data that were sent
 *   bare          unreachable, and no more of the request is quoted than its header
 *   forgedError   unreachable, with other data than were sent
 *   exceeded      time exceeded in transit, about the request
 *
 * Answers leave from the address of eth0 whatever address was asked: a request to another one is answered by the wrong host.
 */
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { whenReadable } from '../../src/libc/library.js';
import { inetAddress, openRawIcmp, receiver, sendTo } from '../../src/libc/packet-socket.js';
import { addressBytes, checksum } from '../../src/probes/packet.js';

let answers: readonly string[] = [];
const fd = openRawIcmp(4);
const received = receiver(2048);
whenReadable(fd, () => {
  for (let length = received.receive(fd); length >= 0; length = received.receive(fd)) {
    const packet = Buffer.from(received.bytes.subarray(0, length));
    const request = packet.subarray((packet.readUInt8(0) & 0xf) * 4);
    if (request.readUInt8(0) === 8) void play(packet, Buffer.from(request), packet.subarray(12, 16).join('.'));
  }
});
createInterface({ input: process.stdin }).on('line', (line) => {
  answers = line.split(' ').filter((answer) => answer !== '');
  process.stdout.write('ready\n');
});

async function play(packet: Buffer, request: Buffer, asker: string): Promise<void> {
  for (const answer of answers) {
    if (answer.startsWith('wait:')) await sleep(Number(answer.slice('wait:'.length)));
    else transmit(message(answer, packet, request), asker);
  }
}

function message(answer: string, packet: Buffer, request: Buffer): Buffer {
  const reply = Buffer.from(request);
  reply.writeUInt8(0, 0);
  const about = Buffer.concat([Buffer.alloc(8), packet]);
  switch (answer) {
    case 'reply':
      return reply;
    case 'foreign':
      reply.writeUInt16BE((request.readUInt16BE(4) + 1) & 0xffff, 4);
      return reply;
    case 'next':
      reply.writeUInt16BE((request.readUInt16BE(6) + 1) & 0xffff, 6);
      return reply;
    case 'redirect':
      about.set([5, 1, 0, 0, 192, 0, 2, 77]);
      return about;
    case 'short':
      return reply.subarray(0, 24);
    case 'forged':
      return reply.fill(0, 8);
    case 'exceeded':
      about.set([11, 0]);
      return about;
    case 'bare':
      about.set([3, 1]);
      return about.subarray(0, 8 + 28);
    case 'forgedError':
      about.set([3, 1]);
      return about.fill(0, 8 + 28);
    case 'unreachable':
      about.set([3, 1]);
      return about;
    case 'elsewhere':
      about.set([3, 1]);
      about.set([198, 51, 100, 1], 8 + 16);
      return about;
    default:
      throw new Error(`no such answer: ${answer}`);
  }
}

function transmit(icmp: Buffer, to: string): void {
  icmp.writeUInt16BE(0, 2);
  icmp.writeUInt16BE(checksum(icmp), 2);
  const sent = sendTo(fd, icmp, icmp.length, inetAddress(4, addressBytes(4, to), 0));
  if (sent < 0) throw new Error(`sendto ${to}: errno ${-sent}`);
}
