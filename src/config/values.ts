/**
 * Single values: from the text that was written to what is meant, or to what is wrong with it and what to write
 * instead. Pure; knows the kinds of field but no key.
 */
import { isIPv4, isIPv6 } from 'node:net';
import type { GatewayPolicy } from '../model.js';
import type { ChoiceField, DurationField, FlagField, IntegerField, LeafField, Listen } from './fields.js';
import { listed, nearest, shown } from './problem.js';

export type Read<T> = { readonly value: T } | { readonly wrong: string };

/** @param text as written, without quotes */
export function readValue(field: LeafField, text: string): Read<unknown> {
  if (text.length > LENGTH_AT_MOST) return { wrong: `${shown(text)} is not ${expected(field)}` };
  switch (field.type) {
    case 'duration': return readDuration(field, text);
    case 'integer': return readInteger(field, text);
    case 'flag': return readFlag(field, text);
    case 'choice': return readChoice(field, text);
    case 'profile': return readProfile(text);
    case 'interface': return readInterface(text);
    case 'gateway': return readGateway(text);
    case 'target': return readTarget(text);
    case 'listen': return readListen(text);
    case 'mask': return readMask(text);
  }
}

/** What a field takes, for people who wrote nothing or something of another shape. */
export function expected(field: LeafField): string {
  switch (field.type) {
    case 'duration': return field.auto === true ? '`auto` or a duration such as `500ms`' : 'a duration such as `500ms`, `5s` or `2h`';
    case 'integer': return `a whole number from ${field.min} to ${field.max}`;
    case 'flag': return '`true` or `false`';
    case 'choice': return listed(field.of, 'or');
    case 'profile': return 'the name of a profile, such as `dual-isp`';
    case 'interface': return 'the name of a network device, such as `eth0`';
    case 'gateway': return 'an IPv4 address, `auto` or `none`';
    case 'target': return '`gateway` or an IPv4 address';
    case 'listen': return 'ADDRESS:PORT, such as `127.0.0.1:9474`';
    case 'mask': return 'adjacent bits of a mark, such as `0x3f80`';
  }
}

/** `300ms`, `1500ms`, `1m30s`, `2h`. */
export function durationText(ms: number): string {
  if (ms % 1000 !== 0) return `${ms}ms`;
  let rest = ms;
  let text = '';
  for (const [unit, unitMs] of UNITS) {
    const count = Math.floor(rest / unitMs);
    if (count > 0) text += `${count}${unit}`;
    rest -= count * unitMs;
  }
  return text === '' ? '0s' : text;
}

/** The letter first: what follows is at most 31 characters more. */
export function uplinkNameWrong(name: string): string | undefined {
  if (/^[A-Za-z][A-Za-z0-9_-]{0,31}$/.test(name)) return undefined;
  return `${shown(name)} cannot name an uplink: begin with a letter, then up to 31 letters, digits, \`-\` or \`_\``;
}

/** No value is as long; patterns that look for slips would take minutes over a megabyte. */
const LENGTH_AT_MOST = 200;

const UNITS: readonly (readonly [string, number])[] = [['h', 3_600_000], ['m', 60_000], ['s', 1000], ['ms', 1]];
const DURATION = /^(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?(?:(\d+)ms)?$/;

function readDuration(field: DurationField, text: string): Read<number | 'auto'> {
  if (text === 'auto' && field.auto === true) return { value: 'auto' };
  const ms = milliseconds(text);
  if (ms === undefined) {
    if (/^\d+(\.\d+)?$/.test(text)) return { wrong: `${shown(text)} has no unit: write ${shown(`${text}s`)}, or ${shown(`${text}ms`)} for milliseconds` };
    const meant = meantDuration(text);
    return { wrong: `${shown(text)} is not a duration: write ${meant === undefined ? expected(field) : shown(meant)}` };
  }
  if (ms < field.minMs) return { wrong: `${shown(text)} is too short: ${durationText(field.minMs)} at least` };
  if (ms > field.maxMs) return { wrong: `${shown(text)} is too long: ${durationText(field.maxMs)} at most` };
  return { value: ms };
}

function milliseconds(text: string): number | undefined {
  const parts = DURATION.exec(text);
  if (parts === null || text === '') return undefined;
  let ms = 0;
  UNITS.forEach(([, unitMs], i) => { ms += Number(parts[i + 1] ?? 0) * unitMs; });
  const whole = Math.round(ms);
  return Math.abs(ms - whole) < 1e-6 ? whole : undefined;
}

/** `5 sec` → `5s`, `2 Hours` → `2h`, `1d` → `24h`. */
function meantDuration(text: string): string | undefined {
  const short = text.toLowerCase().replace(/\s/g, '')
    .replace(/(\d)(?:msecs?|millis|milliseconds?)\b/g, '$1ms').replace(/(\d)(?:secs?|seconds?)\b/g, '$1s')
    .replace(/(\d)(?:mins?|minutes?)\b/g, '$1m').replace(/(\d)(?:hrs?|hours?)\b/g, '$1h')
    .replace(/(\d+)(?:d|days?)\b/g, (_, days: string) => `${Number(days) * 24}h`);
  return short !== text && milliseconds(short) !== undefined ? short : undefined;
}

function readInteger(field: IntegerField, text: string): Read<number> {
  if (!/^-?(0|[1-9]\d{0,8})$/.test(text)) return { wrong: `${shown(text)} is not ${expected(field)}` };
  const value = Number(text);
  if (value < field.min || value > field.max) return { wrong: `${shown(text)} is too ${value < field.min ? 'small' : 'large'}: write ${expected(field)}` };
  return { value };
}

function readFlag(_field: FlagField, text: string): Read<boolean> {
  const word = text.toLowerCase();
  if (word === 'true' || word === 'false') return { value: word === 'true' };
  if (/^(yes|y|on|1)$/.test(word)) return { wrong: `write \`true\`, not ${shown(text)}` };
  if (/^(no|n|off|0)$/.test(word)) return { wrong: `write \`false\`, not ${shown(text)}` };
  return { wrong: `${shown(text)} is neither \`true\` nor \`false\`` };
}

function readChoice(field: ChoiceField, text: string): Read<string> {
  if (field.of.includes(text)) return { value: text };
  if (field.later?.includes(text) === true) return { wrong: `${shown(text)} is not in this version yet: write ${listed(field.of, 'or')}` };
  const meant = { true: 'on', yes: 'on', false: 'off', no: 'off' }[text.toLowerCase()] ?? nearest(text, field.of);
  if (meant !== undefined && field.of.includes(meant)) return { wrong: `${shown(text)} is none of ${listed(field.of, 'and')}: did you mean ${shown(meant)}?` };
  return { wrong: `${shown(text)} is not known here: write ${listed(field.of, 'or')}` };
}

function readProfile(text: string): Read<string> {
  if (/^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$/.test(text)) return { value: text };
  return { wrong: `${shown(text)} is not the name of a profile: write the name alone, such as \`dual-isp\`, without folder and \`.yaml\`` };
}

/** dev_valid_name() of net/core/dev.c, and what iptables and nft would take for a pattern or the end of the name. */
function readInterface(text: string): Read<string> {
  const wrong = (why: string): Read<string> => ({ wrong: `${shown(text)} cannot be the name of a network device: ${why}` });
  if (text === '' || text === '.' || text === '..') return wrong('write one such as `eth0`');
  if (Buffer.byteLength(text) > 15) return wrong('Linux allows 15 bytes at most');
  const odd = /[\s/:"'\\%*]|[^\P{C}]/u.exec(text)?.[0];
  if (odd !== undefined) return wrong(`${/\s/.test(odd) ? 'a space' : shown(odd)} cannot be part of it`);
  if (text.endsWith('+')) return wrong('a `+` at the end stands for many devices; write one');
  if (text === 'lo') return wrong('`lo` is the loopback and leads nowhere');
  return { value: text };
}

function readGateway(text: string): Read<GatewayPolicy> {
  if (text === 'auto' || text === 'none') return { value: text };
  if (/^(dhcp|dynamic|ppp|ra)$/i.test(text)) return { wrong: `write \`auto\`, not ${shown(text)}: it learns the gateway however it is told` };
  const wrong = addressWrong(text, 'a gateway', 'an IPv4 address, `auto` or `none`', 'host names are not taken');
  return wrong === undefined ? { value: { address: text } } : { wrong };
}

function readTarget(text: string): Read<string> {
  if (text === 'gateway') return { value: text };
  const wrong = addressWrong(text, 'a target', '`gateway` or an IPv4 address', 'names are not taken, because looking them up could need the very line that failed');
  return wrong === undefined ? { value: text } : { wrong };
}

/** Why a text is no IPv4 address of one host out there; undefined when it is. */
function addressWrong(text: string, what: string, takes: string, noName: string): string | undefined {
  if (isIPv4(text)) {
    const kind = specialKind(text);
    return kind === undefined ? undefined : `${shown(text)} is ${kind} and cannot be ${what}`;
  }
  if (isIPv6(text)) return `${shown(text)} is an IPv6 address, and this version speaks IPv4 only: write ${takes}`;
  const [address = '', length = ''] = text.split('/');
  if (isIPv4(address) && /^\d+$/.test(length)) return `${shown(text)} is a network, ${what} is one host: write its address without ${shown(`/${length}`)}`;
  if (/^[\d.]+$/.test(text)) return `${shown(text)} is not an IPv4 address: it needs four numbers from 0 to 255 without leading zeros, such as \`198.51.100.1\``;
  const meant = nearest(text, ['gateway', 'auto', 'none'].filter((word) => takes.includes(shown(word))));
  if (meant !== undefined) return `${shown(text)} is not known here: did you mean ${shown(meant)}?`;
  return `${shown(text)} is not an IPv4 address: write ${takes} (${noName})`;
}

/** RFC 6890: the addresses that are nobody's. */
function specialKind(address: string): string | undefined {
  const first = Number(address.split('.')[0]);
  if (address === '255.255.255.255') return 'the broadcast address';
  if (first === 0) return 'no host\'s address (0.0.0.0/8)';
  if (first === 127) return 'this machine itself (loopback)';
  if (first >= 224 && first <= 239) return 'a multicast address';
  if (first >= 240) return 'a reserved address (240.0.0.0/4)';
  return undefined;
}

function readListen(text: string): Read<Listen> {
  const wrong = (why: string): Read<Listen> => ({ wrong: `${shown(text)} is not ADDRESS:PORT: ${why}` });
  if (/^:?\d+$/.test(text)) return wrong(`write ${shown(`127.0.0.1:${text.replace(':', '')}`)}`);
  const [, bracketed, plain, digits] = /^(?:\[([^\]]*)\]|([^:]*)):(\d{1,6})$/.exec(text) ?? [];
  const host = bracketed ?? plain;
  if (host === undefined) return wrong(isIPv6(text) ? `write ${shown(`'[${text}]:9474'`)}, with the quotes` : 'write one such as `127.0.0.1:9474`');
  const port = Number(digits);
  if (port < 1 || port > 65_535) return wrong(`${port} is no port; they go from 1 to 65535`);
  if (host === 'localhost') return { value: { host: '127.0.0.1', port } };
  if (bracketed === undefined ? !isIPv4(host) : !isIPv6(host)) return wrong(`${shown(host)} is not an address; write one such as \`127.0.0.1:${port}\``);
  if (!/^127\./.test(host) && !isLoopback6(host)) {
    return { wrong: `${shown(host)} can be reached from other machines, and that needs \`api.tokens\`, which is not in this version yet: write ${shown(`127.0.0.1:${port}`)}` };
  }
  return { value: { host, port } };
}

function isLoopback6(host: string): boolean {
  return isIPv6(host) && new URL(`http://[${host.split('%')[0]}]/`).hostname === '[::1]';
}

function readMask(text: string): Read<number> {
  const value = /^(0x[0-9a-f]{1,8}|[1-9]\d{0,9})$/i.test(text) ? Number(text) : NaN;
  if (!(value <= 0xffffffff)) return { wrong: `${shown(text)} is not a mask of 32 bits: write one such as \`0x3f80\`` };
  const bits = value.toString(2).replace(/0+$/, '');
  if (value === 0 || bits.includes('0')) return { wrong: `the bits of ${shown(text)} are not adjacent: write one such as \`0x3f80\`` };
  if (bits.length < 7) return { wrong: `${shown(text)} is ${bits.length} bit${bits.length === 1 ? '' : 's'} wide, and 7 at least are needed to tell uplinks apart: write one such as \`0x3f80\`` };
  return { value };
}
