/**
 * Internet addresses as text, as far as the core has to reckon with them: which family, which prefix. Text in, text out, as the
 * kernel and `ip` write it (RFC 5952).
 */
import type { Family } from '../model.js';

export function familyOf(address: string): Family {
  return address.includes(':') ? 6 : 4;
}

export function isLinkLocal(address: string): boolean {
  return /^fe[89ab][0-9a-f]:/i.test(address);
}

/** The prefix that an address of that length stands in: `198.51.100.0/24`. */
export function prefixOf(address: string, length: number): string {
  const groups = groupsOf(address);
  const width = familyOf(address) === 4 ? 8 : 16;
  return `${textOf(groups.map((group, i) => group & maskOf(length - i * width, width)))}/${length}`;
}

/** Is this address within this prefix (CIDR)? An address of the other family never is. */
export function isWithin(address: string, prefix: string): boolean {
  const [network = '', length = ''] = prefix.split('/');
  return familyOf(address) === familyOf(network) && prefixOf(address, Number(length)) === prefixOf(network, Number(length));
}

/** From the first to the last, as text of `0` and `1`. */
export function bitsOf(address: string): string {
  const width = familyOf(address) === 4 ? 8 : 16;
  return groupsOf(address).map((group) => group.toString(2).padStart(width, '0')).join('');
}

/** The leading `bits` of a group. */
function maskOf(bits: number, width: number): number {
  const ones = Math.min(width, Math.max(0, bits));
  return (2 ** width - 1) ^ (2 ** (width - ones) - 1);
}

/** Four bytes, or eight groups of 16 bits. */
function groupsOf(address: string): readonly number[] {
  if (familyOf(address) === 4) return address.split('.').map(Number);
  const [head = '', tail] = address.split('::');
  const read = (text: string): number[] => (text === '' ? [] : text.split(':').map((group) => parseInt(group, 16)));
  const [before, after] = [read(head), read(tail ?? '')];
  return tail === undefined ? before : [...before, ...Array<number>(8 - before.length - after.length).fill(0), ...after];
}

function textOf(groups: readonly number[]): string {
  if (groups.length === 4) return groups.join('.');
  let gap = { start: 0, length: 0 };
  for (let start = 0; start < groups.length; start++) {
    let length = 0;
    while (groups[start + length] === 0) length++;
    if (length > gap.length) gap = { start, length };
  }
  const hex = groups.map((group) => group.toString(16));
  if (gap.length < 2) return hex.join(':');
  return `${hex.slice(0, gap.start).join(':')}::${hex.slice(gap.start + gap.length).join(':')}`;
}
