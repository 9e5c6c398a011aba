/**
 * Values that say which device or which packets are meant: from the text that was written to what is meant, or to
 * what is wrong with it and what to write instead. Pure.
 */
import type { PortRange } from '../model.js';
import type { MarkSetting } from './fields.js';
import { shown } from './problem.js';
import type { Read } from './values.js';

/** In the kernel's writing: lower case, colons. */
export function readMac(text: string): Read<string> {
  const bare = text.toLowerCase().replace(/[-.:\s]/g, '');
  if (!/^[0-9a-f]{12}$/.test(bare)) return { wrong: `${shown(text)} is not a MAC address: write six pairs of hexadecimal digits, such as \`02:00:00:00:00:01\`` };
  const mac = bare.replace(/..(?!$)/g, '$&:');
  if (text.toLowerCase() !== mac) return { wrong: `${shown(text)} is not written as Linux does: write ${shown(mac)}` };
  if (/^(00:?){6}$/.test(mac) || Number.parseInt(bare.slice(0, 2), 16) % 2 === 1) return { wrong: `${shown(text)} belongs to no device: write the one that \`ip link\` shows for it` };
  return { value: mac };
}

/** ID_PATH of udev's path_id: where the device is plugged in. */
export function readPath(text: string): Read<string> {
  const how = '`udevadm info -q property -p /sys/class/net/NAME` shows it as ID_PATH';
  if (/[*?[\]]/.test(text)) return { wrong: `${shown(text)} is a pattern, and one device is meant: write the whole path, ${how}` };
  if (/^ID_PATH=/.test(text)) return { wrong: `write ${shown(text.slice('ID_PATH='.length))}, without \`ID_PATH=\`` };
  if (/^[A-Za-z0-9][A-Za-z0-9:._,+@-]*$/.test(text)) return { value: text };
  return { wrong: `${shown(text)} is not such a path as \`pci-0000:00:14.0-usb-0:2:1.0\`: ${how}` };
}

/** Goes into the packet filter as a comment and into the status as it is. */
export function readLabel(text: string): Read<string> {
  if (/^[\p{L}\p{N}][\p{L}\p{N} ._-]*$/u.test(text) && !text.endsWith(' ') && Buffer.byteLength(text) <= LABEL_BYTES_AT_MOST) return { value: text };
  return { wrong: `${shown(text)} cannot be a name: begin with a letter or a digit, then letters, digits, spaces, \`.\`, \`-\` or \`_\`, ${LABEL_BYTES_AT_MOST} bytes at most` };
}

/** What both nft and ipset (IPSET_MAXNAMELEN) take, with room for the `6` of IPv6. */
export function readSetName(text: string): Read<string> {
  if (text.startsWith('sticky_')) return { wrong: `${shown(text)} cannot name a set: \`sticky_\` begins the names of uplinkd's own` };
  if (/^[A-Za-z][A-Za-z0-9_.-]{0,29}$/.test(text)) return { value: text };
  const at = /^@/.test(text) ? ', without the `@`' : '';
  return { wrong: `${shown(text)} cannot name a set${at}: begin with a letter, then up to 29 letters, digits, \`.\`, \`-\` or \`_\`` };
}

export function readPorts(text: string): Read<PortRange> {
  const [, first, last] = /^(\d{1,6})(?:\s*[-:]\s*(\d{1,6}))?$/.exec(text) ?? [];
  if (first === undefined) {
    if (/^[\d\s,-]+$/.test(text) && text.includes(',')) return { wrong: `${shown(text)} are several: write a list, ${shown(`[${text}]`)}` };
    return { wrong: `${shown(text)} is not a port: write a number such as \`443\` or a range such as \`5060-5070\`` };
  }
  const range: PortRange = { first: Number(first), last: Number(last ?? first) };
  const bad = [range.first, range.last].find((port) => port < 1 || port > 65_535);
  if (bad !== undefined) return { wrong: `${bad} is no port; they go from 1 to 65535` };
  if (range.first > range.last) return { wrong: `${shown(text)} goes backwards: write ${shown(`${range.last}-${range.first}`)}` };
  return { value: range };
}

export function readMark(text: string): Read<MarkSetting> {
  const [written = '', slash] = text.split('/');
  const [value, mask] = [bits(written), slash === undefined ? undefined : bits(slash)];
  if (value === undefined || (slash !== undefined && mask === undefined) || text.split('/').length > 2) {
    return { wrong: `${shown(text)} is not a mark of 32 bits: write one such as \`0x1\`, or with a mask such as \`0x1/0xff\`` };
  }
  if (mask === 0) return { wrong: `with the mask ${shown(slash ?? '')} every mark fits: write the bits that count, such as \`0xff\`` };
  if (mask !== undefined && (value & ~mask) !== 0) return { wrong: `${shown(text)} can never fit: the mark has bits that its mask leaves out` };
  if (mask === undefined && value === 0) return { wrong: `${shown(text)} means no mark at all: write which bits must be clear, such as \`0/0xff\`` };
  return { value: { value, mask } };
}

/** `nft` takes 128 bytes for a comment, and ours holds more than the name. */
const LABEL_BYTES_AT_MOST = 48;

function bits(text: string): number | undefined {
  const value = /^(0x[0-9a-f]{1,8}|0|[1-9]\d{0,9})$/i.test(text) ? Number(text) : NaN;
  return value <= 0xffffffff ? value : undefined;
}
