/**
 * What keeps the browser of somebody in the LAN from being used against the router by a page from elsewhere.
 *
 *   reading    A page whose name is made to point at the router (DNS rebinding) is of the router's origin, and reads
 *              what it likes. Its own name stands in `Host` then: only addresses, localhost and the name of this
 *              machine are answered. There is no CORS either.
 *   changing   Without being asked about it a browser sends forms and texts, never application/json. That is what
 *              changing calls want.
 *
 * The unix socket is out of a browser's reach. Any `Host` is taken there, and of a call without a body no type is
 * asked, unless a proxy hands on what only browsers say (`Origin`, `Sec-Fetch-Site`).
 * Source: RFC 9110, 7.4 (421); fetch.spec.whatwg.org (CORS-safelisted request headers; Sec-Fetch-Site)
 */
import type { IncomingHttpHeaders } from 'node:http';
import { isIP } from 'node:net';
import { problem, quoted, type Answer } from './answer.js';
import type { Door } from './turns.js';

/** @returns a problem where the name under which we were asked is not one of ours */
export function strangeHost(door: Door, host: string | undefined, hostName: string): Answer | undefined {
  // No browser leaves it out or sends it empty.
  if (door === 'unix' || host === undefined || host === '') return undefined;
  if (isOurs(nameOf(host), hostName.toLowerCase())) return undefined;
  const remedy = `Use its address, localhost or ${hostName}.`;
  return problem('wrong-host', `The header "Host" says ${quoted(host)}, which is not a name of this machine. ${remedy}`);
}

/** @returns a problem where a call that changes something could have been sent by a page of anybody */
export function strangeType(door: Door, headers: IncomingHttpHeaders): Answer | undefined {
  const type = headers['content-type'];
  if (type !== undefined && /^application\/json *(;|$)/i.test(type)) return undefined;
  const fromBrowser = headers.origin !== undefined || headers['sec-fetch-site'] !== undefined;
  if (door === 'unix' && type === undefined && !fromBrowser) return undefined;
  const detail = 'Changing calls want the header "Content-Type: application/json", and a body, where they take one, that is JSON.';
  return problem('wrong-content-type', detail);
}

function nameOf(host: string): string {
  const address = /^\[([^\]]*)\](:[0-9]+)?$/.exec(host)?.[1];
  return address ?? host.replace(/:[0-9]*$/, '').replace(/\.$/, '').toLowerCase();
}

function isOurs(name: string, hostName: string): boolean {
  const [short] = hostName.split('.', 1);
  return isIP(name) !== 0 || ['localhost', hostName, short, `${hostName}.local`].includes(name);
}
