/**
 * The far end of measured traffic, run inside a host of the lab: echoes UDP and TCP, and says which source address it saw.
 *
 *   node traffic-server.js PORT ADDRESS...
 *
 * Each address gets sockets of its own: a UDP answer must leave from the very address that was asked. A question is a line of
 * digits; the answer is the same digits, a space, and the source address as seen here. Lines of `#` are thrown away. A TCP connection is greeted by `- ADDRESS`. Prints one line when
 * everything listens, and ends with its stdin.
 */
import { createSocket } from 'node:dgram';
import { createServer } from 'node:net';

const port = Number(process.argv[2]);
const addresses = process.argv.slice(3);

await Promise.all(addresses.flatMap((address) => [listenUdp(address), listenTcp(address)]));
process.stdout.write('listening\n');
process.stdin.resume();
process.stdin.once('end', () => process.exit(0));

function listenUdp(address: string): Promise<void> {
  return new Promise((resolve, reject) => {
    // All streams ask one socket: on a busy machine its questions must wait here, and not get lost.
    const socket = createSocket({ type: address.includes(':') ? 'udp6' : 'udp4', recvBufferSize: 1 << 20 });
    socket.once('error', reject);
    socket.on('message', (question, from) => socket.send(`${question.toString('latin1')} ${from.address}`, from.port, from.address, ignoreSendError));
    socket.bind(port, address, resolve);
  });
}

function listenTcp(address: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const server = createServer({ noDelay: true }, (connection) => {
      const seen = connection.remoteAddress ?? '';
      connection.setEncoding('latin1');
      connection.write(`- ${seen}\n`);
      let rest = '';
      connection.on('data', (chunk: string) => {
        const lines = (rest + chunk).split('\n');
        rest = lines.pop() ?? '';
        if (rest.startsWith('#')) rest = '#';
        const answers = lines.filter((line) => !line.startsWith('#')).map((line) => `${line} ${seen}\n`).join('');
        if (answers !== '') connection.write(answers);
      });
      connection.on('error', () => connection.destroy()); // the client counts what broke
    });
    server.once('error', reject);
    server.listen({ port, host: address, backlog: 1024 }, resolve);
  });
}

/** An answer that cannot be sent is one that the client will miss, and count. */
function ignoreSendError(): void {
  return;
}
