/** The source address that the core reckons with is the one that this kernel gives to a packet, for lines with several addresses. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { sourceOf } from '../../src/core/source.js';
import { openRtnetlink } from '../../src/kernel/netlink/rtnetlink.js';
import type { Family } from '../../src/model.js';
import { batch, inNamespaces, out } from './nat-ground.js';

const VIA = { 4: '198.51.100.1', 6: 'fe80::1' } as const;
const TO = { 4: ['1.1.1.1', '198.51.100.9', '192.168.100.1', '10.9.9.9'], 6: ['2606:4700:4700::1111', '2001:db8:5::9', '2001:db8:77::1', 'fd00:1::9', 'fd00:2::1', '2002:101:101::1'] } as const;
const ADDRESSES = {
  4: ['192.168.100.2/24', '198.51.100.2/24', '198.51.100.77/24', '10.0.0.2/32'],
  6: ['2001:db8:5::2/64', 'fd00:1::2/64', '2001:db8:7::2/64', '2002:c633:6402::2/64'],
} as const;
const CHANGED = ['addr', 'change', '2001:db8:7::2/64', 'dev', 'wan', 'preferred_lft', '0'];

inNamespaces(import.meta.url, 'source addresses on Linux', () => {
  for (const family of [4, 6] as const) {
    for (const order of ['as they come', 'reversed'] as const) {
      test(`IPv${family}, addresses ${order}`, () => {
        const netlink = openRtnetlink();
        const addresses = order === 'reversed' ? [...ADDRESSES[family]].reverse() : ADDRESSES[family];
        batch('router', [
          'link add wan type veth peer name isp', 'link set isp up', 'link set wan up',
          ...addresses.map((address) => `addr add ${address} dev wan${family === 6 ? ' nodad' : ''}`), `route add default via ${VIA[family]} dev wan onlink`,
        ]);
        assert.deepEqual(reckoned(family, ''), given(family));
        if (family === 6) out('ip', ...CHANGED);
        assert.deepEqual(reckoned(family, ''), given(family), 'one is deprecated');
        const preferred = addresses.at(-1)!.split('/', 1)[0]!;
        out('ip', `-${family}`, 'route', 'replace', 'default', 'via', VIA[family], 'dev', 'wan', 'onlink', 'src', preferred);
        assert.deepEqual(reckoned(family, preferred), given(family), 'the route asks for one');
        netlink.close();
        out('ip', 'link', 'del', 'wan');

        function reckoned(of: Family, source: string): readonly string[] {
          const all = netlink.listAddresses().filter((one) => one.family === of && one.scope === 0);
          const sorted = [...all.filter((one) => !one.deprecated), ...all.filter((one) => one.deprecated)];
          return TO[of].map((to) => `${to} from ${sourceOf(sorted, { via: VIA[of], source }, to)}`);
        }
      });
    }
  }
});

function given(family: Family): readonly string[] {
  const asked = { input: TO[family].map((to) => `route get ${to} oif wan`).join('\n'), encoding: 'utf8' } as const;
  const sources = [...execFileSync('ip', ['-o', '-batch', '-'], asked).matchAll(/^(\S+) .* src (\S+)/gm)].map(([, to, source]) => `${to} from ${source}`);
  assert.equal(sources.length, TO[family].length);
  return sources;
}
