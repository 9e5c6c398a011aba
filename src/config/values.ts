/**
 * Single values: from the text that was written to what is meant, or to what is wrong with it and what to write
 * instead. Pure; knows the kinds of field but no key.
 */
import { parseDuration, writtenDuration } from '../duration.js';
import { hostTakes, readGateway, readListen, readNetwork, readPrefix, readTarget, readTranslation } from './addresses.js';
import type { ChoiceField, DurationField, FlagField, IntegerField, LeafField } from './fields.js';
import { readLabel, readMac, readMark, readPath, readPorts, readSetName } from './matching.js';
import { listed, nearest, shown } from './problem.js';
import { decimalTakes, percentTakes, readDecimal, readPercent, readSize, sizeTakes } from './quantities.js';
import { readEndpoint, readHeader, readHostName, readProgram, readServer, readText, readUrl } from './asking.js';

export type Read<T> = { readonly value: T } | { readonly wrong: string };

/** @param text as written, without quotes */
export function readValue(field: LeafField, text: string): Read<unknown> {
  if (text.length > LENGTH_AT_MOST) return { wrong: `${shown(text)} is not ${expected(field)}` };
  switch (field.type) {
    case 'duration': return readDuration(field, text);
    case 'integer': return readInteger(field, text);
    case 'percent': return readPercent(field, text);
    case 'decimal': return readDecimal(field, text);
    case 'size': return readSize(field, text);
    case 'flag': return readFlag(field, text);
    case 'choice': return readChoice(field, text);
    case 'profile': return readProfile(text);
    case 'interface': return readInterface(text);
    case 'mac': return readMac(text);
    case 'path': return readPath(text);
    case 'gateway': return readGateway(field, text);
    case 'translation': return readTranslation(field, text);
    case 'target': return readTarget(text);
    case 'network': return readNetwork(text);
    case 'prefix': return field.auto === true && text === 'auto' ? { value: text } : readPrefix(text);
    case 'listen': return readListen(text);
    case 'mask': return readMask(text);
    case 'label': return readLabel(text);
    case 'set': return readSetName(text);
    case 'ports': return readPorts(text);
    case 'mark': return readMark(text);
    case 'address': return readServer(field, text);
    case 'endpoint': return readEndpoint(text);
    case 'hostname': return readHostName(text);
    case 'url': return readUrl(text);
    case 'header': return readHeader(text);
    case 'program': return readProgram(text);
    case 'text': return readText(text);
  }
}

/** What a field takes, for people who wrote nothing or something of another shape. */
export function expected(field: LeafField): string {
  switch (field.type) {
    case 'duration': return field.auto === true ? '`auto` or a duration such as `500ms`' : 'a duration such as `500ms`, `5s` or `2h`';
    case 'integer': return integerTakes(field);
    case 'percent': return percentTakes();
    case 'decimal': return decimalTakes(field);
    case 'size': return sizeTakes();
    case 'flag': return '`true` or `false`';
    case 'choice': return listed(field.of, 'or');
    case 'profile': return 'the name of a profile, such as `dual-isp`';
    case 'interface': return 'the name of a network device, such as `eth0`';
    case 'mac': return 'a MAC address, such as `02:00:00:00:00:01`';
    case 'path': return 'the ID_PATH that udev gives the device, such as `pci-0000:00:14.0-usb-0:2:1.0`';
    case 'gateway': return hostTakes([field.family], ['auto', 'none']);
    case 'translation': return hostTakes([field.family], field.family === 6 ? ['true', 'false', 'prefix'] : ['true', 'false']);
    case 'target': return hostTakes([4, 6], ['gateway']);
    case 'network': return 'an address or a network, such as `192.168.1.0/24`';
    case 'prefix': return `${field.auto === true ? '`auto` or ' : ''}an IPv6 prefix, such as \`2001:db8:1::/48\``;
    case 'listen': return 'ADDRESS:PORT, such as `127.0.0.1:9474`';
    case 'mask': return 'adjacent bits of a mark, such as `0x3f80`';
    case 'label': return 'a name of your own, such as `guests`';
    case 'set': return 'the name of a set of addresses, such as `streaming`';
    case 'ports': return 'a port such as `443`, or a range such as `5060-5070`';
    case 'mark': return 'a mark such as `0x1`, or mark and mask such as `0x1/0xff`';
    case 'address': return hostTakes([4, 6], []);
    case 'endpoint': return 'an address and a port, such as `9.9.9.9:443`';
    case 'hostname': return 'a name such as `example.com`';
    case 'url': return 'a URL such as `"http://connectivity.example/generate_204"`';
    case 'header': return 'a header such as `"server: nginx"`, in quotes';
    case 'program': return 'the whole path of a program, such as `/usr/local/lib/uplinkd/my-check`';
    case 'text': return 'some text';
  }
}

/** The letter first: what follows is at most 31 characters more. */
export function uplinkNameWrong(name: string): string | undefined {
  if (/^[A-Za-z][A-Za-z0-9_-]{0,31}$/.test(name)) return undefined;
  return `${shown(name)} cannot name an uplink: begin with a letter, then up to 31 letters, digits, \`-\` or \`_\``;
}

/** No value is as long; patterns that look for slips would take minutes over a megabyte. */
const LENGTH_AT_MOST = 200;

function readDuration(field: DurationField, text: string): Read<number | 'auto'> {
  if (text === 'auto' && field.auto === true) return { value: 'auto' };
  const ms = milliseconds(text);
  if (ms === undefined) {
    if (/^\d+(\.\d+)?$/.test(text)) return { wrong: `${shown(text)} has no unit: write ${shown(`${text}s`)}, or ${shown(`${text}ms`)} for milliseconds` };
    const meant = meantDuration(text);
    return { wrong: `${shown(text)} is not a duration: write ${meant === undefined ? expected(field) : shown(meant)}` };
  }
  if (ms < field.minMs) return { wrong: `${shown(text)} is too short: ${writtenDuration(field.minMs)} at least` };
  if (ms > field.maxMs) return { wrong: `${shown(text)} is too long: ${writtenDuration(field.maxMs)} at most` };
  return { value: ms };
}

function milliseconds(text: string): number | undefined {
  const ms = parseDuration(text);
  return Number.isInteger(ms) ? ms : undefined;
}

/** `5 sec` → `5s`, `2 Hours` → `2h`, `1 day` → `1d`. */
function meantDuration(text: string): string | undefined {
  const short = text.toLowerCase().replace(/\s/g, '')
    .replace(/(\d)(?:msecs?|millis|milliseconds?)\b/g, '$1ms').replace(/(\d)(?:secs?|seconds?)\b/g, '$1s')
    .replace(/(\d)(?:mins?|minutes?)\b/g, '$1m').replace(/(\d)(?:hrs?|hours?)\b/g, '$1h')
    .replace(/(\d)days?\b/g, '$1d');
  return short !== text && milliseconds(short) !== undefined ? short : undefined;
}

function readInteger(field: IntegerField, text: string): Read<number | string> {
  if (field.words?.includes(text) === true) return { value: text };
  if (!/^-?(0|[1-9]\d{0,8})$/.test(text)) return { wrong: `${shown(text)} is not ${expected(field)}` };
  const value = Number(text);
  if (value < field.min || value > field.max) return { wrong: `${shown(text)} is too ${value < field.min ? 'small' : 'large'}: write ${expected(field)}` };
  return { value };
}

function integerTakes({ min, max, words = [] }: IntegerField): string {
  return `${words.map((word) => shown(word)).join(', ')}${words.length > 0 ? ' or ' : ''}a whole number from ${min} to ${max}`;
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
  if (Buffer.byteLength(text) > 127) return wrong('Linux allows 15 bytes at most, and 127 for an alternative name');
  const odd = /[\s/:"'\\%*]|[^\P{C}]/u.exec(text)?.[0];
  if (odd !== undefined) return wrong(`${/\s/.test(odd) ? 'a space' : shown(odd)} cannot be part of it`);
  if (text.endsWith('+')) return wrong('a `+` at the end stands for many devices; write one');
  if (text === 'lo') return wrong('`lo` is the loopback and leads nowhere');
  return { value: text };
}

function readMask(text: string): Read<number> {
  const value = /^(0x[0-9a-f]{1,8}|[1-9]\d{0,9})$/i.test(text) ? Number(text) : NaN;
  if (!(value <= 0xffffffff)) return { wrong: `${shown(text)} is not a mask of 32 bits: write one such as \`0x3f80\`` };
  const bits = value.toString(2).replace(/0+$/, '');
  if (value === 0 || bits.includes('0')) return { wrong: `the bits of ${shown(text)} are not adjacent: write one such as \`0x3f80\`` };
  if (bits.length < 7) return { wrong: `${shown(text)} is ${bits.length} bit${bits.length === 1 ? '' : 's'} wide, and 7 at least are needed to tell uplinks apart: write one such as \`0x3f80\`` };
  return { value };
}
