/**
 * Values that are addresses: from the text that was written to its one canonical form (RFC 5952, as the kernel writes
 * it), or to what is wrong with it and what to write instead. Pure.
 */
import { isIPv4, isIPv6 } from 'node:net';
import { familyOf, isLinkLocal, prefixOf } from '../core/address.js';
import type { Family, GatewayPolicy } from '../model.js';
import type { FamilyField, Listen } from './fields.js';
import { nearest, shown } from './problem.js';
import type { Read } from './values.js';

export function readGateway(field: FamilyField, text: string): Read<GatewayPolicy> {
  if (text === 'auto' || text === 'none') return { value: text };
  if (/^(dhcp|dhcpv6|slaac|dynamic|ppp|ra)$/i.test(text)) return { wrong: `write \`auto\`, not ${shown(text)}: it learns the gateway however it is told` };
  const read = readHost(text, {
    what: 'a gateway', families: [field.family], other: field.other, words: ['auto', 'none'], linkLocal: true, noNames: 'host names are not taken',
  });
  return 'value' in read ? { value: { address: read.value } } : read;
}

export function readTarget(text: string): Read<string> {
  if (text === 'gateway') return { value: text };
  return readHost(text, {
    what: 'a target', families: [4, 6], words: ['gateway'], linkLocal: false,
    noNames: 'names are not taken, because looking them up could need the very line that failed',
  });
}

/** The address of a host out there that is asked, or answers. @param what with its article, for people */
export function readOutside(text: string, what: string): Read<string> {
  return readHost(text, {
    what, families: [4, 6], words: [], linkLocal: false, noNames: 'names are not taken, because looking them up could need the very line that failed',
  });
}

/** `true`, `false`, `prefix` (IPv6), or the address that everything is to leave with. */
export function readTranslation(field: FamilyField, text: string): Read<boolean | 'prefix' | { readonly address: string }> {
  const word = text.toLowerCase();
  if (word === 'true' || word === 'false') return { value: word === 'true' };
  if (text === 'prefix' && field.family === 6) return { value: 'prefix' };
  if (/^(yes|y|on|1|auto|masquerade)$/.test(word)) return { wrong: `write \`true\`, not ${shown(text)}` };
  if (/^(no|n|off|0|none)$/.test(word)) return { wrong: `write \`false\`, not ${shown(text)}` };
  const words = field.family === 6 ? ['true', 'false', 'prefix'] : ['true', 'false'];
  const read = readHost(text, { what: 'a source address', families: [field.family], other: field.other, words, linkLocal: false, noNames: 'names are not taken' });
  return 'value' in read ? { value: { address: read.value } } : read;
}

/** An address or a network; yields a CIDR. */
export function readNetwork(text: string): Read<string> {
  const [written = '', slash] = [text.split('/')[0], text.includes('/') ? text.slice(text.indexOf('/') + 1) : undefined];
  if (/^(any|all|\*|default)$/i.test(text)) return { wrong: `${shown(text)} is not needed: everything fits where the key is not written` };
  if (isIPv6(written) && written.includes('%')) return { wrong: `${shown(text)} names a device: write the address without ${shown(`%${written.split('%')[1] ?? ''}`)}` };
  if (/^[\d.]+-[\d.]+$/.test(text)) return { wrong: `${shown(text)} is a range, which is not taken: write its networks one by one, or put it into a \`set\`` };
  if (!isIPv4(written) && !isIPv6(written)) {
    return { wrong: `${shown(text)} is neither an address nor a network: write one such as \`192.168.1.0/24\`, \`192.168.1.7\` or \`2001:db8::/32\` (names are not taken)` };
  }
  const address = canonical(written);
  const bits = familyOf(address) === 4 ? 32 : 128;
  if (slash === undefined) return { value: `${address}/${bits}` };
  const netmask = isIPv4(slash) ? netmaskLength(slash) : undefined;
  if (netmask !== undefined && bits === 32) return { wrong: `${shown(text)} has a netmask: write its length, ${shown(prefixOf(address, netmask))}` };
  if (!/^(0|[1-9]\d{0,2})$/.test(slash) || Number(slash) > bits) return { wrong: `${shown(`/${slash}`)} is not a prefix length of IPv${familyOf(address)}: it goes from \`/0\` to \`/${bits}\`` };
  const network = prefixOf(address, Number(slash));
  if (network === `${address}/${slash}`) return { value: network };
  return { wrong: `${shown(text)} is a host and not the beginning of a network: write ${shown(network)} for the network, or ${shown(address)} for the host` };
}

/** A network of IPv6 that is ours to number hosts from; yields a CIDR. */
export function readPrefix(text: string): Read<string> {
  const example = 'write one such as `2001:db8:1::/48`';
  if (isIPv6(text) && !text.includes('%')) return { wrong: `${shown(text)} has no length: ${example}` };
  const read = readNetwork(text);
  if ('wrong' in read) return isIPv6(text.split('/')[0] ?? '') ? read : { wrong: `${shown(text)} is not an IPv6 prefix: ${example}` };
  if (familyOf(read.value) === 4) return { wrong: `${shown(text)} is IPv4, and a prefix of IPv6 is wanted: ${example}` };
  const [address = '', length = ''] = read.value.split('/');
  const kind = specialKind(address);
  if (kind !== undefined) return { wrong: `${shown(text)} is ${kind} and numbers no hosts: ${example}` };
  if (Number(length) < LENGTH_LEAST || Number(length) > LENGTH_MOST) return { wrong: `${shown(`/${length}`)} is too ${Number(length) < LENGTH_LEAST ? 'large' : 'small'} a network: \`/${LENGTH_LEAST}\` to \`/${LENGTH_MOST}\` are possible` };
  return read;
}

export function readListen(text: string): Read<Listen> {
  const wrong = (why: string): Read<Listen> => ({ wrong: `${shown(text)} is not ADDRESS:PORT: ${why}` });
  if (/^:?\d+$/.test(text)) return wrong(`write ${shown(`127.0.0.1:${text.replace(':', '')}`)}`);
  const [, bracketed, plain, digits] = /^(?:\[([^\]]*)\]|([^:]*)):(\d{1,6})$/.exec(text) ?? [];
  const host = bracketed ?? plain;
  if (host === undefined) return wrong(isIPv6(text) ? `write ${shown(`'[${text}]:9474'`)}, with the quotes` : 'write one such as `127.0.0.1:9474`');
  const port = Number(digits);
  if (port < 1 || port > 65_535) return wrong(`${port} is no port; they go from 1 to 65535`);
  if (host === 'localhost') return { value: { host: '127.0.0.1', port } };
  if (bracketed === undefined ? !isIPv4(host) : !isIPv6(host)) return wrong(`${shown(host)} is not an address; write one such as \`127.0.0.1:${port}\``);
  if (!/^127\./.test(host) && !(isIPv6(host) && canonical(host.split('%')[0] ?? '') === '::1')) {
    return { wrong: `${shown(host)} can be reached from other machines, and that needs \`api.tokens\`, which is not in this version yet: write ${shown(`127.0.0.1:${port}`)}` };
  }
  return { value: { host, port } };
}

/** Whoever holds less than a /16 of the internet is no provider's customer, and a /127 has no room for hosts. */
const LENGTH_LEAST = 16;
const LENGTH_MOST = 126;

interface Wanted {
  readonly what: string;
  readonly families: readonly Family[];
  /** The key that takes the other family. */
  readonly other?: string;
  /** What else the key takes. */
  readonly words: readonly string[];
  readonly linkLocal: boolean;
  readonly noNames: string;
}

/** The address of one host out there. */
function readHost(text: string, wanted: Wanted): Read<string> {
  const { what, families } = wanted;
  if (isIPv4(text) || isIPv6(text)) return readAddress(text, wanted);
  const [address = '', length = ''] = text.split('/');
  if ((isIPv4(address) || isIPv6(address)) && /^\d+$/.test(length)) return { wrong: `${shown(text)} is a network, ${what} is one host: write its address without ${shown(`/${length}`)}` };
  const kind = families.length === 1 ? `an IPv${families[0] ?? 4}` : 'an IPv4 or IPv6';
  if (/^[\d.]+$/.test(text) && families.includes(4)) return { wrong: `${shown(text)} is not an IPv4 address: it needs four numbers from 0 to 255 without leading zeros, such as \`198.51.100.1\`` };
  if (/^[\da-f.]*:[\da-f:.]*$/i.test(text) && families.includes(6)) return { wrong: `${shown(text)} is not an IPv6 address: it needs eight groups of hexadecimal digits, or \`::\` for one run of zeros, such as \`2001:db8::1\`` };
  const meant = nearest(text, wanted.words);
  if (meant !== undefined) return { wrong: `${shown(text)} is not known here: did you mean ${shown(meant)}?` };
  return { wrong: `${shown(text)} is not ${kind} address: write ${hostTakes(families, wanted.words)} (${wanted.noNames})` };
}

function readAddress(text: string, { what, families, other, words, linkLocal }: Wanted): Read<string> {
  const family: Family = isIPv4(text) ? 4 : 6;
  if (!families.includes(family)) {
    return { wrong: `${shown(text)} is an IPv${family} address: write it as ${shown(other ?? '')}, and here ${hostTakes(families, words)}` };
  }
  const [bare = '', zone] = text.split('%');
  if (zone !== undefined) return { wrong: `${shown(text)} names a device: write ${shown(bare)}, the uplink's own device is meant` };
  const address = canonical(text);
  if (linkLocal && isLinkLocal(address)) return { value: address };
  const kind = specialKind(address);
  return kind === undefined ? { value: address } : { wrong: `${shown(text)} is ${kind} and cannot be ${what}` };
}

/** `an IPv4 address, auto or none` */
export function hostTakes(families: readonly Family[], words: readonly string[]): string {
  const address = families.length === 2 ? 'an IPv4 or IPv6 address' : `an IPv${families[0] ?? 4} address`;
  if (words.length === 0) return address;
  if (words[0] === 'gateway') return `\`gateway\` or ${address}`;
  return `${[address, ...words.slice(0, -1).map(shown)].join(', ')} or ${shown(words[words.length - 1] ?? '')}`;
}

/** @param address valid, without a zone */
function canonical(address: string): string {
  return isIPv4(address) ? address : new URL(`http://[${address}]/`).hostname.slice(1, -1);
}

/** 255.255.255.0 → 24; undefined where the ones are not adjacent. */
function netmaskLength(netmask: string): number | undefined {
  const bits = netmask.split('.').map((byte) => Number(byte).toString(2).padStart(8, '0')).join('');
  return /^1*0*$/.test(bits) ? bits.replace(/0/g, '').length : undefined;
}

/** RFC 6890: the addresses that are nobody's. */
function specialKind(address: string): string | undefined {
  if (familyOf(address) === 6) return specialKind6(address);
  const first = Number(address.split('.')[0]);
  if (address === '255.255.255.255') return 'the broadcast address';
  if (first === 0) return 'no host\'s address (0.0.0.0/8)';
  if (first === 127) return 'this machine itself (loopback)';
  if (first >= 224 && first <= 239) return 'a multicast address';
  if (first >= 240) return 'a reserved address (240.0.0.0/4)';
  return undefined;
}

function specialKind6(address: string): string | undefined {
  if (address === '::') return 'no host\'s address';
  if (address === '::1') return 'this machine itself (loopback)';
  if (address.startsWith('::ffff:')) return 'an IPv4 address in the clothes of IPv6 (::ffff:0:0/96)';
  if (/^ff[0-9a-f]{2}:/.test(address)) return 'a multicast address';
  if (isLinkLocal(address)) return 'a link-local address (fe80::/10)';
  return undefined;
}
