/**
 * The method `dns`: one query for the addresses of a name, to one server, through one line; and is what comes back what was to be expected?
 *
 * IPv6 addresses are asked for where nothing but IPv6 addresses is expected, IPv4 ones otherwise: what is asked for is a matter of the
 * name, not of the line that the question takes. An error, an empty answer and a wrong address are lost probes that say who said what.
 */
import { isIPv6 } from 'node:net';
import type { Family, Method } from '../model.js';
import { rcodeInWords, type DnsAnswer } from './dns-message.js';
import { openQuerent } from './dns-query.js';
import type { OpenAsker } from './method.js';
import { canonical } from './packet.js';

type DnsMethod = Extract<Method, { kind: 'dns' }>;

export const openDns: OpenAsker = (line, now) => {
  const querent = openQuerent(line, now);
  return {
    ask({ order, answered, lost }) {
      const { target, address, source } = order;
      if (target.kind !== 'dns') return lost(now(), 'prober', `${target.id} is not asked by DNS`);
      querent.ask({
        server: { address, port: target.port, source },
        name: target.name,
        family: familyAskedFor(target),
        heard(at, rttMs, answer) {
          const complaint = complaintAbout(answer, target, address);
          if (complaint === '') answered(at, rttMs);
          else lost(at, 'answer', complaint);
        },
        lost: (at, { cause, error }) => lost(at, cause, `${address} port ${target.port}: ${error}`),
      });
    },
    close: () => querent.close(),
  };
};

function familyAskedFor({ expect }: DnsMethod): Family {
  return expect.length > 0 && expect.every(isIPv6) ? 6 : 4;
}

/** `9.9.9.9 answered SERVFAIL`; '' = the answer is as expected. */
export function complaintAbout(answer: DnsAnswer, { name, expect }: Pick<DnsMethod, 'name' | 'expect'>, server: string): string {
  if (answer.rcode !== 0) return `${server} answered ${rcodeInWords(answer.rcode)} for ${name}`;
  const expected = expect.map((address) => canonical(isIPv6(address) ? 6 : 4, address));
  if (expected.length === 0 ? answer.records > 0 : answer.addresses.some((address) => expected.includes(address))) return '';
  if (answer.truncated) return '';
  if (answer.broken) return `${server} gave an answer for ${name} that cannot be read`;
  if (answer.addresses.length === 0) return `${server} knows no address of ${name}`;
  return `${server} says that ${name} is ${listed(answer.addresses)}, and it should be ${listed(expected)}`;
}

function listed(addresses: readonly string[]): string {
  const shown = addresses.slice(0, 4).join(', ');
  return addresses.length > 4 ? `${shown} and ${addresses.length - 4} more` : shown;
}
