/**
 * Values that say whom to ask and what: endpoints, names, URLs, headers, programs. From the text that was written to
 * its one canonical form, or to what is wrong with it and what to write instead. Pure: nothing is looked up.
 */
import { isIPv4, isIPv6 } from 'node:net';
import { domainToASCII } from 'node:url';
import { readOutside } from './addresses.js';
import type { AddressField, Endpoint, HeaderSetting } from './fields.js';
import { shown } from './problem.js';
import type { Read } from './values.js';

export function readServer(field: AddressField, text: string): Read<string> {
  return readOutside(text, field.what);
}

/** `9.9.9.9:443`, `[2620:fe::fe]:443` */
export function readEndpoint(text: string): Read<Endpoint> {
  const wrong = (why: string): Read<Endpoint> => ({ wrong: `${shown(text)} is not ADDRESS:PORT: ${why}` });
  if (/^[a-z]+:\/\//i.test(text)) return wrong('for a URL write `http:` in place of `tcp:`');
  if (isIPv4(text)) return wrong(`the port is missing, write one such as ${shown(`${text}:443`)}`);
  if (isIPv6(text)) return wrong(`write one such as ${shown(`"[${text}]:443"`)}, with brackets, port and quotes`);
  if (/^\[[^\]]*\]$/.test(text)) return wrong(`the port is missing, write one such as ${shown(`"${text}:443"`)}`);
  const [, bracketed, plain, digits] = /^(?:\[([^\]]*)\]|([^:[\]]*)):(\d{1,6})$/.exec(text) ?? [];
  const host = bracketed ?? plain;
  if (host === undefined) return wrong('write one such as `9.9.9.9:443`');
  const port = Number(digits);
  if (port < 1 || port > 65_535) return wrong(`${port} is no port; they go from 1 to 65535`);
  if (bracketed !== undefined && !isIPv6(host)) return wrong(isIPv4(host) ? `write ${shown(`${host}:${port}`)}, without brackets` : `${shown(host)} is not an IPv6 address`);
  const read = readOutside(host, 'a target');
  return 'wrong' in read ? read : { value: { host: read.value, port } };
}

/** A name for a DNS query, without the dot at its end, lower case. */
export function readHostName(text: string): Read<string> {
  if (isIPv4(text) || isIPv6(text)) return { wrong: `${shown(text)} is an address: write a name such as \`example.com\`` };
  if (text.includes('/')) return { wrong: `${shown(text)} is more than a name: write it alone, such as \`example.com\`` };
  const name = text.toLowerCase().replace(/\.$/, '');
  if (isName(name)) return { value: name };
  const ascii = domainToASCII(name);
  return { wrong: ascii !== name && isName(ascii) ? `write ${shown(text)} as it is on the line: ${shown(ascii)}` : `${shown(text)} cannot be a name: write one such as \`example.com\`` };
}

/** Whole and normalized (WHATWG URL). */
export function readUrl(text: string): Read<string> {
  const example = 'write one such as `"http://connectivity.example/generate_204"`';
  if (/^https?:\/?[^/]/i.test(text)) return { wrong: `${shown(text)} is not a URL: write \`//\` after the \`:\`` };
  if (!/^[a-z][a-z0-9+.-]*:\/\//i.test(text)) {
    const whole = `http://${text}`;
    return { wrong: `${shown(text)} is not a URL: ${/^[^/\s]+\.[^/\s]+/.test(text) && URL.canParse(whole) ? `write ${shown(`"${whole}"`)}` : example}` };
  }
  if (!/^https?:/i.test(text)) return { wrong: `${shown(text)} is neither \`http:\` nor \`https:\`: ${example}` };
  if (!URL.canParse(text) || /\s/.test(text)) return { wrong: `${shown(text)} is not a URL: ${example}` };
  const url = new URL(text);
  if (url.username !== '' || url.password !== '') return { wrong: 'a user name or password stands in this URL, and status would show it to everybody: ask for something that is open to all' };
  if (text.includes('#')) return { wrong: `a server never sees ${shown(text.slice(text.indexOf('#')))}: take it away` };
  const literal = literalHost(url);
  if (literal !== undefined) {
    const read = readOutside(literal, 'a target');
    return 'wrong' in read ? read : { value: url.href };
  }
  if (!isName(url.hostname) || !url.hostname.includes('.')) return { wrong: `${shown(url.hostname)} is not the full name of a host on the internet: ${example}` };
  return { value: url.href };
}

/** The address that stands in place of a host name; undefined where a name stands. */
export function literalHost(url: URL): string | undefined {
  if (isIPv4(url.hostname)) return url.hostname;
  return url.hostname.startsWith('[') ? url.hostname.slice(1, -1) : undefined;
}

/** RFC 9110, 5.1: a name is a token. */
export function readHeader(text: string): Read<HeaderSetting> {
  const [, name, value] = /^([A-Za-z0-9!#$%&'*+.^_`|~-]+)\s*:\s*(.*)$/.exec(text) ?? [];
  if (name === undefined || value === undefined) return { wrong: `${shown(text)} is not a header: write one such as \`"server: nginx"\`, in quotes` };
  return unprintable(value) ? { wrong: `${shown(text)} is not a header: nothing but visible characters and spaces can be part of it` } : { value: { name: name.toLowerCase(), value: value.trim() } };
}

export function readProgram(text: string): Read<string> {
  if (!text.startsWith('/')) return { wrong: `${shown(text)} is not a whole path: write one such as \`/usr/local/lib/uplinkd/${/^[\w.-]+$/.test(text) ? text : 'my-check'}\`` };
  const [program = '', ...args] = text.split(/\s+/).filter((part) => part !== '');
  if (args.length > 0) return { wrong: `${shown(text)} is more than the path of a program: write ${shown(`exec: { program: ${program}, args: [${args.join(', ')}] }`)}` };
  if (unprintable(text)) return { wrong: `${shown(text)} cannot be the path of a program` };
  return text.endsWith('/') ? { wrong: `${shown(text)} is a folder: write the path of the program in it` } : { value: text };
}

export function readText(text: string): Read<string> {
  return unprintable(text) ? { wrong: `${shown(text)} has characters in it that cannot be seen: write it without` } : { value: text };
}

/** RFC 1035, 2.3.4; an underscore is usual in names of services. */
function isName(name: string): boolean {
  return name.length <= 253 && name.split('.').every((label) => /^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$/.test(label)) && !/^[\d.]+$/.test(name);
}

function unprintable(text: string): boolean {
  return /[^\P{C}]|[\u2028\u2029]/u.test(text);
}
