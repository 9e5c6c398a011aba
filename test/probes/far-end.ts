/**
 * The server behind an ISP of asker-world.ts; what it does depends on what it is asked. Its argument is the side it stands on.
 *
 *   tcp 7001           takes connections; prints nothing
 *   udp 53             DNS; the first label of the name says how it answers (see `answersTo`)
 *   tcp 80             HTTP; the path says how it answers (see `serveHttp`)
 *   tcp 443            the same over TLS, when /run/key.pem and /run/cert.pem are there
 *   tcp 81             speaks something that is not HTTP
 */
import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import { createServer as createTcpServer } from 'node:net';
import { inetAddress, openRawIcmp, sendTo } from '../../src/libc/packet-socket.js';
import { addressBytes, checksum } from '../../src/probes/packet.js';
import { OTHER, SERVER } from './asker-world.js';

const side = process.argv[2] ?? '';
/** Answers that are held back. */
const overtaken: (() => void)[] = [];
const icmp = openRawIcmp(4);

const talker = createTcpServer((socket) => socket.on('error', () => undefined).end('220 mail.example ESMTP, and not at all HTTP\r\n'));
const web = createServer(serveHttp);
const taker = createTcpServer((socket) => socket.on('error', () => undefined).resume());
const waits = [web.listen(80, '::'), taker.listen(7001, '::'), talker.listen(81, '::')].map((server) => once(server, 'listening'));
if (existsSync('/run/key.pem')) waits.push(once(createSecureServer({ key: readFileSync('/run/key.pem'), cert: readFileSync('/run/cert.pem') }, serveHttp).listen(443, '::'), 'listening'));
for (const family of [4, 6] as const) {
  const [own, other] = [createSocket(`udp${family}`), createSocket(`udp${family}`)];
  waits.push(new Promise((resolve) => own.bind(53, SERVER[family], () => resolve([]))), new Promise((resolve) => other.bind(53, OTHER[family], () => resolve([]))));
  own.on('message', (query, asker) => void answer(own, other, query, asker));
  other.on('message', (query, asker) => other.send(reply(query, { addresses: ['198.51.100.77'] }), asker.port, asker.address));
}
await Promise.all(waits);
process.stdout.write('ready\n');

interface Reply {
  readonly rcode?: number;
  readonly addresses?: readonly string[];
  /** An alias that the name has, and under which the addresses stand. */
  readonly alias?: boolean;
  readonly truncated?: boolean;
  readonly id?: number;
  readonly ttlSeconds?: number;
}

async function answer(own: Socket, other: Socket, query: Buffer, asker: RemoteInfo): Promise<void> {
  const say = (bytes: Buffer, from = own): void => from.send(bytes, asker.port, asker.address);
  const id = query.readUInt16BE(0);
  const wrong = { addresses: ['198.51.100.66', '2001:db8:66::66'] };
  switch (labelOf(query)) {
    case 'nx':
      return say(reply(query, { rcode: 3 }));
    case 'servfail':
      return say(reply(query, { rcode: 2 }));
    case 'refused':
      return say(reply(query, { rcode: 5 }));
    case 'empty':
      return say(reply(query, {}));
    case 'alias':
      return say(reply(query, { alias: true, addresses: ['198.51.100.7', '2001:db8:7::7'] }));
    case 'truncated':
      return say(reply(query, { truncated: true }));
    case 'late':
      await new Promise((resolve) => setTimeout(resolve, 300));
      return say(reply(query, { addresses: ['198.51.100.7'] }));
    case 'lateweb':
      await new Promise((resolve) => setTimeout(resolve, 300));
      return say(reply(query, { addresses: [SERVER[4], SERVER[6]] }));
    case 'overtaken': // answered once the next query has been
      return void overtaken.push(() => say(reply(query, { addresses: ['198.51.100.7'] })));
    case 'silent':
      return;
    case 'forged': // by another id, of another name, from another address, and garbage; and then the truth
      say(reply(query, { ...wrong, id: (id + 1) & 0xffff }));
      say(Buffer.concat([reply(query, wrong).subarray(0, 13), Buffer.from('x'), reply(query, wrong).subarray(14)]));
      say(reply(query, wrong), other);
      say(Buffer.from('nonsense'));
      say(query);
      await new Promise((resolve) => setTimeout(resolve, 50));
      return say(reply(query, { addresses: ['198.51.100.7'] }));
    case 'slandered': // an error about it, of somebody who has seen it; and then the truth
    case 'lied': // the same of somebody who has guessed its port
      slander(labelOf(query) === 'lied' ? Buffer.alloc(query.length) : query, asker);
      await new Promise((resolve) => setTimeout(resolve, 50));
      return say(reply(query, { addresses: ['198.51.100.7'] }));
    case 'onlyforged':
      return say(reply(query, { addresses: ['198.51.100.7'] }), other);
    case 'web': // where this very server is
      return say(reply(query, { addresses: [SERVER[4], SERVER[6]], ttlSeconds: 30 }));
    case 'twofold': // a dead address, and this very server
      return say(reply(query, { addresses: ['203.0.113.99', SERVER[4], '2001:db8:ff::99', SERVER[6]] }));
    default:
      say(reply(query, { addresses: ['198.51.100.7', '2001:db8:7::7'] }));
      return overtaken.splice(0).forEach((answerNow) => answerNow());
  }
}

/** ICMP host unreachable about a datagram that came in with this data (RFC 792); no such thing in IPv6 here. */
function slander(data: Buffer, asker: RemoteInfo): void {
  if (asker.family !== 'IPv4') return;
  const error = Buffer.alloc(8 + 20 + 8 + data.length);
  error.set([3, 1]);
  error.set([0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0, ...addressBytes(4, asker.address), ...addressBytes(4, SERVER[4])], 8);
  error.writeUInt16BE(28 + data.length, 10);
  error.writeUInt16BE(checksum(error.subarray(8, 28)), 18);
  error.writeUInt16BE(asker.port, 28);
  error.writeUInt16BE(53, 30);
  error.writeUInt16BE(8 + data.length, 32);
  data.copy(error, 36);
  error.writeUInt16BE(checksum(Buffer.concat([error, Buffer.alloc(error.length % 2)])), 2);
  sendTo(icmp, error, error.length, inetAddress(4, addressBytes(4, asker.address), 0));
}

function labelOf(query: Buffer): string {
  return query.toString('latin1', 13, 13 + query.readUInt8(12)).toLowerCase();
}

/** Addresses of the family asked for; a query carries one question, which ends where the query does. */
function reply(query: Buffer, { rcode = 0, addresses = [], alias = false, truncated = false, id = query.readUInt16BE(0), ttlSeconds = 60 }: Reply): Buffer {
  const type = query.readUInt16BE(query.length - 4);
  const own = addresses.filter((address) => address.includes(':') === (type === 28)).map(bytesOf);
  const target = Buffer.from('\x05other\x03net\x00', 'latin1');
  const owner = alias ? target : Buffer.from([0xc0, 12]);
  const records = own.map((data) => record(owner, type, ttlSeconds, data));
  if (alias) records.unshift(record(Buffer.from([0xc0, 12]), 5, ttlSeconds, target));
  const head = Buffer.from(query.subarray(0, 12));
  head.writeUInt16BE(id, 0);
  head.writeUInt16BE(0x8180 | (truncated ? 0x0200 : 0) | rcode, 2);
  head.writeUInt16BE(records.length, 6);
  return Buffer.concat([head, query.subarray(12), ...records]);
}

function record(owner: Buffer, type: number, ttlSeconds: number, data: Buffer): Buffer {
  const middle = Buffer.alloc(10);
  middle.writeUInt16BE(type, 0);
  middle.writeUInt16BE(1, 2);
  middle.writeUInt32BE(ttlSeconds, 4);
  middle.writeUInt16BE(data.length, 8);
  return Buffer.concat([owner, middle, data]);
}

function bytesOf(address: string): Buffer {
  if (!address.includes(':')) return Buffer.from(address.split('.').map(Number));
  const [head = '', tail = ''] = address.split('::');
  const groups = (text: string): number[] => (text === '' ? [] : text.split(':').map((group) => parseInt(group, 16)));
  const [before, after] = [groups(head), groups(tail)];
  const bytes = Buffer.alloc(16);
  [...before, ...Array<number>(8 - before.length - after.length).fill(0), ...after].forEach((group, i) => bytes.writeUInt16BE(group, 2 * i));
  return bytes;
}

function serveHttp(request: IncomingMessage, response: ServerResponse): void {
  response.on('error', () => undefined);
  response.setHeader('X-Isp', side);
  switch (request.url ?? '') {
    case '/204':
      return void response.writeHead(204).end();
    case '/page':
      return void response.end('<html>welcome to the hotel</html>');
    case '/chunkedpage':
      response.write('<html>');
      return void response.end('</html>');
    case '/emptypage':
      return void response.end();
    case '/away':
      return void response.writeHead(302, { Location: 'http://login.example/hello' }).end();
    case '/www':
      return void response.writeHead(301, { Location: `https://www.${request.headers.host ?? ''}/` }).end();
    case '/slash':
      return void response.writeHead(301, { Location: '/slash/' }).end();
    case '/511':
      return void response.writeHead(511).end('log in');
    case '/503':
      return void response.writeHead(503).end('sorry');
    case '/headers':
      return void response.end(JSON.stringify(request.headers));
    case '/slow': // the text that is waited for comes in two parts, each a moment late
      return drip(response, ['x'.repeat(1000), 'all is w', 'ell here', 'x']);
    case '/stall':
      return void response.write('begun');
    case '/never':
      return;
    case '/cut':
      response.write('begun');
      return void setTimeout(() => response.destroy(), 30);
    case '/endless':
      return flood(response);
    default:
      return void response.writeHead(404).end();
  }
}

function drip(response: ServerResponse, parts: readonly string[]): void {
  const [part, ...rest] = parts;
  if (part === undefined) return void response.end();
  response.write(part);
  setTimeout(() => drip(response, rest), 60);
}

function flood(response: ServerResponse): void {
  const block = 'z'.repeat(16 * 1024);
  while (!response.destroyed && response.write(block));
  response.once('drain', () => flood(response));
}
