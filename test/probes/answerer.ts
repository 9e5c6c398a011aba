/**
 * Stands in for an ISP's kernel: answers every echo request with the messages named on the command line, one after the other.
 *
 *   reply         the right answer
 *   wait:MS       a pause
 *   redirect      RFC 792 redirect for host, about the request
 *   unreachable   host unreachable, about the request
 *   elsewhere     host unreachable, about a request like this one to another address
 *   foreign       an answer with another identifier
 *   next          an answer with another sequence
 *
 * Answers leave from the address of eth0 whatever address was asked: a request to another one is answered by the wrong host.
 */
import { createSession, NetworkProtocol } from 'net-ping';
import { setTimeout as sleep } from 'node:timers/promises';

const session = createSession({ networkProtocol: NetworkProtocol.IPv4, sessionId: 1, retries: 0, timeout: 1000 });
const socket = session.getSocket();
socket.removeAllListeners('message');
const answers = process.argv.slice(2);

socket.on('message', (packet: Buffer, source: string) => {
  const request = packet.subarray((packet.readUInt8(0) & 0xf) * 4);
  if (request.readUInt8(0) !== 8) return;
  void play(Buffer.from(packet), Buffer.from(request), source);
});
process.stdout.write('ready\n');

async function play(packet: Buffer, request: Buffer, asker: string): Promise<void> {
  for (const answer of answers) {
    if (answer.startsWith('wait:')) await sleep(Number(answer.slice('wait:'.length)));
    else transmit(message(answer, packet, request), asker);
  }
}

function message(answer: string, packet: Buffer, request: Buffer): Buffer {
  const reply = Buffer.from(request);
  reply.writeUInt8(0, 0);
  const about = Buffer.concat([Buffer.alloc(8), packet.subarray(0, 28)]);
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
  socket.send(icmp, 0, icmp.length, to, null, (error) => {
    if (error !== null) throw error;
  });
}

/** RFC 1071. */
function checksum(bytes: Buffer): number {
  let sum = 0;
  for (let i = 0; i + 1 < bytes.length; i += 2) sum += bytes.readUInt16BE(i);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  return ~sum & 0xffff;
}
