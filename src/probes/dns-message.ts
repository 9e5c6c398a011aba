/**
 * DNS messages (RFC 1035, RFC 3596): writes a query for the addresses of a name, reads the answer to it.
 *
 *   header (id, flags, four counts) │ question │ answers: owner, type, class, TTL, data │ ...
 *
 * Whatever comes is read with bounds: a name ends after 255 bytes, a compression pointer must lead backwards, records end where the packet ends.
 * Nothing throws. What is not an answer to the very question (another id, another name, no answer at all) is `undefined`: it may be forged.
 */
import { domainToASCII } from 'node:url';
import type { Family } from '../model.js';
import { canonical } from './packet.js';

export interface DnsAnswer {
  /** RFC 1035, 4.1.1: 0 = no error. */
  readonly rcode: number;
  /** There would be more than fits into a datagram. */
  readonly truncated: boolean;
  /** Of the family asked for, under the name or what it is an alias of; in the notation of `canonical`. */
  readonly addresses: readonly string[];
  /** The least of the records that led to an address; 0 without any. */
  readonly ttlSeconds: number;
  /** How many answer records could be read, of whatever type. */
  readonly records: number;
  /** The header promises records that cannot be read. */
  readonly broken: boolean;
}

export interface DnsQuestion {
  readonly id: number;
  /** As `queryName` gives it. */
  readonly name: string;
  /** A records, or AAAA records. */
  readonly family: Family;
}

/** The name as it is asked for: lower case, ASCII (RFC 5891), no dot at the end; undefined where there can be no such name. */
export function queryName(name: string): string | undefined {
  const ascii = /^[\x21-\x7e]*$/.test(name) ? name.toLowerCase() : domainToASCII(name);
  const bare = ascii.endsWith('.') ? ascii.slice(0, -1) : ascii;
  const labels = bare.split('.');
  return bare.length <= 253 && labels.every((label) => label !== '' && label.length <= 63) ? bare : undefined;
}

export function writeQuery({ id, name, family }: DnsQuestion): Buffer {
  const bytes = Buffer.alloc(HEADER_BYTES + name.length + 2 + 4);
  bytes.writeUInt16BE(id, 0);
  bytes.writeUInt16BE(RECURSION_DESIRED, 2);
  bytes.writeUInt16BE(1, 4);
  let at = HEADER_BYTES;
  for (const label of name.split('.')) {
    at = bytes.writeUInt8(label.length, at);
    at += bytes.write(label, at, 'latin1');
  }
  at = bytes.writeUInt16BE(TYPE[family], at + 1);
  bytes.writeUInt16BE(CLASS_IN, at);
  return bytes;
}

export function readAnswer(bytes: Buffer, question: DnsQuestion): DnsAnswer | undefined {
  if (bytes.length < HEADER_BYTES || bytes.readUInt16BE(0) !== question.id) return undefined;
  const flags = bytes.readUInt16BE(2);
  if ((flags & IS_RESPONSE) === 0 || (flags & OPCODE) !== 0) return undefined;
  const rcode = flags & 0xf;
  const questions = bytes.readUInt16BE(4);
  let at = HEADER_BYTES;
  if (questions === 1) {
    const asked = readName(bytes, at);
    if (asked === undefined || asked.next + 4 > bytes.length || asked.name !== question.name) return undefined;
    if (bytes.readUInt16BE(asked.next) !== TYPE[question.family] || bytes.readUInt16BE(asked.next + 2) !== CLASS_IN) return undefined;
    at = asked.next + 4;
  } else if (questions !== 0 || rcode === 0) {
    return undefined; // only an error may leave the question out: a server that could not read it
  }
  const promised = bytes.readUInt16BE(6);
  const records = readRecords(bytes, at, promised);
  return {
    rcode,
    truncated: (flags & TRUNCATED) !== 0,
    ...addressesOf(records, question),
    records: records.length,
    broken: records.length < promised,
  };
}

/** RFC 1035, RFC 2136: `SERVFAIL`. */
export function rcodeInWords(rcode: number): string {
  return RCODES[rcode] ?? `error ${rcode}`;
}

interface DnsRecord {
  readonly owner: string;
  readonly type: number;
  readonly ttlSeconds: number;
  /** An address, or the name that an alias stands for; '' for other types. */
  readonly data: string;
}

/** Up to the first that cannot be read. */
function readRecords(bytes: Buffer, start: number, count: number): readonly DnsRecord[] {
  const records: DnsRecord[] = [];
  for (let at = start; records.length < count; ) {
    const owner = readName(bytes, at);
    if (owner === undefined || owner.next + 10 > bytes.length) break;
    const type = bytes.readUInt16BE(owner.next);
    const data = owner.next + 10;
    const end = data + bytes.readUInt16BE(owner.next + 8);
    if (end > bytes.length) break;
    const isInternet = bytes.readUInt16BE(owner.next + 2) === CLASS_IN;
    // A TTL with its highest bit set means 0 (RFC 2181, 8).
    const ttl = bytes.readUInt32BE(owner.next + 4);
    records.push({ owner: owner.name, type, ttlSeconds: ttl > 0x7fffffff ? 0 : ttl, data: isInternet ? readData(bytes, type, data, end) : '' });
    at = end;
  }
  return records;
}

function readData(bytes: Buffer, type: number, start: number, end: number): string {
  if (type === TYPE[4] && end - start === 4) return bytes.subarray(start, end).join('.');
  if (type === TYPE[6] && end - start === 16) return canonical(6, Array.from({ length: 8 }, (_, i) => bytes.readUInt16BE(start + 2 * i).toString(16)).join(':'));
  return type === CNAME ? (readName(bytes, start)?.name ?? '') : '';
}

function addressesOf(records: readonly DnsRecord[], { name, family }: DnsQuestion): { readonly addresses: readonly string[]; readonly ttlSeconds: number } {
  const aliases = new Map(records.filter(({ type, data }) => type === CNAME && data !== '').map((record) => [record.owner, record]));
  const names = new Set([name]);
  let ttlSeconds = Infinity;
  for (let alias = aliases.get(name); alias !== undefined && !names.has(alias.data); alias = aliases.get(alias.data)) {
    names.add(alias.data);
    ttlSeconds = Math.min(ttlSeconds, alias.ttlSeconds);
  }
  const found = records.filter(({ owner, type, data }) => type === TYPE[family] && data !== '' && names.has(owner));
  for (const record of found) ttlSeconds = Math.min(ttlSeconds, record.ttlSeconds);
  return { addresses: [...new Set(found.map(({ data }) => data))], ttlSeconds: found.length === 0 ? 0 : ttlSeconds };
}

/** In lower case; a dot within a label is written `\.`. `next`: where the name ends in the place it was begun at. */
function readName(bytes: Buffer, start: number): { readonly name: string; readonly next: number } | undefined {
  const labels: string[] = [];
  let length = 0;
  let next: number | undefined;
  let floor = start;
  for (let at = start; ; ) {
    const size = bytes[at];
    if (size === undefined) return undefined;
    if (size === 0) return { name: labels.join('.'), next: next ?? at + 1 };
    if (size >= 0xc0) {
      const low = bytes[at + 1];
      if (low === undefined) return undefined;
      const target = ((size & 0x3f) << 8) | low;
      if (target >= floor) return undefined; // each must lead further back than all before it: no loop
      next ??= at + 2;
      floor = target;
      at = target;
      continue;
    }
    if (size > 63 || at + 1 + size > bytes.length) return undefined;
    length += size + 1;
    if (length > 254) return undefined;
    labels.push(bytes.toString('latin1', at + 1, at + 1 + size).toLowerCase().replaceAll('.', '\\.'));
    at += 1 + size;
  }
}

const HEADER_BYTES = 12;
const IS_RESPONSE = 0x8000;
const OPCODE = 0x7800;
const TRUNCATED = 0x0200;
const RECURSION_DESIRED = 0x0100;
const CLASS_IN = 1;
const TYPE = { 4: 1, 6: 28 } as const;
const CNAME = 5;
const RCODES = ['NOERROR', 'FORMERR', 'SERVFAIL', 'NXDOMAIN', 'NOTIMP', 'REFUSED', 'YXDOMAIN', 'YXRRSET', 'NXRRSET', 'NOTAUTH', 'NOTZONE'];
