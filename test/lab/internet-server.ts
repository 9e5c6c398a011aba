/**
 * Web and TCP of the internet, run inside it (services.ts says what they answer).
 *
 *   node internet-server.js ADDRESS...
 *
 * Prints one line when everything listens, and ends with its stdin.
 */
import { createServer as createWebServer } from 'node:http';
import { createServer } from 'node:net';

const WEB_PORT = 80;
const TCP_PORT = 443;

await Promise.all(process.argv.slice(2).flatMap((address) => [listenWeb(address), listenTcp(address)]));
process.stdout.write('listening\n');
process.stdin.resume();
process.stdin.once('end', () => process.exit(0));

function listenWeb(host: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const server = createWebServer(({ url }, response) => {
      if (url === '/generate_204') response.writeHead(204).end();
      else response.writeHead(200, { 'content-type': 'text/plain', 'x-served-by': host }).end('the internet\n');
    });
    server.once('error', reject);
    server.listen({ port: WEB_PORT, host }, resolve);
  });
}

function listenTcp(host: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const server = createServer((connection) => {
      connection.resume();
      connection.on('error', () => connection.destroy()); // a reset is one way to hang up
    });
    server.once('error', reject);
    server.listen({ port: TCP_PORT, host, backlog: 1024 }, resolve);
  });
}
