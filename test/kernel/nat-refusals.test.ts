/** What is left out when the kernel or its programs refuse a part of the rules, and what is not. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { rulesFor, usableRules, withOrWithout, type NatRules, type Outcome } from '../../src/kernel/nat/rules.js';
import { tableOf } from '../../src/kernel/nat/nft-text.js';
import { chainsOf } from '../../src/kernel/nat/iptables-chains.js';
import { natWish, policy } from './nat-ground.js';

const { rules } = usableRules(natWish({ policies: [policy('guests', 0x180)] }));
const DONE: Outcome = { state: 'in sync', changed: true, problems: [] };

/** Writes what `refuses` lets pass, and tells what was tried. */
async function written(refuses: (rules: NatRules, turn: number) => string): Promise<{ tries: string[]; outcome: Outcome }> {
  const tries: string[] = [];
  const outcome = await withOrWithout(rules, (some) => {
    tries.push([some.ipsec ? 'ipsec' : '', some.policies.length > 0 ? 'policies' : ''].join(' ').trim());
    const error = refuses(some, tries.length);
    return Promise.resolve(error === '' ? DONE : { state: 'failed', error });
  });
  return { tries, outcome };
}

test('a kernel or a program that knows no IPsec costs that question, and nothing else', async () => {
  for (const error of ["Couldn't load match `policy'", 'Error: syntax error, unexpected ipsec', 'RULE_APPEND failed (No such file or directory)', 'No chain/target/match by that name']) {
    const { tries, outcome } = await written((some) => (some.ipsec ? error : ''));
    assert.deepEqual([tries, outcome.state], [['ipsec policies', 'policies'], 'in sync']);
  }
});

test('who is in the way for a moment costs nothing, and one who stays costs the policies', async () => {
  assert.deepEqual((await written((_, turn) => (turn === 1 ? 'in the way' : ''))).tries, ['ipsec policies', 'ipsec policies']);
  const { tries, outcome } = await written((some) => (some.policies.length > 0 ? 'too many' : ''));
  assert.deepEqual(tries, ['ipsec policies', 'ipsec policies', 'ipsec']);
  assert.match(outcome.state === 'in sync' ? outcome.problems.join() : '', /all policies are left out.*too many/);
});

test('IPsec is asked about before anything is translated or stamped, in both families and backends', () => {
  for (const family of [4, 6] as const) {
    const all = rulesFor(family, usableRules(natWish({ firewall: 'on', routed: ['192.0.2.0/24', '2001:db8::/48'] })).rules);
    const [nft, iptables] = [new Map(tableOf(all).chains.map((chain) => [chain.name, chain.rules])), new Map(chainsOf(all).map((chain) => [chain.name, chain.rules]))];
    assert.match(nft.get('leave')?.[0] ?? '', /^rt ipsec exists return/);
    assert.equal(iptables.get('UPLINKD_NAT')?.[0], '-m policy --dir out --pol ipsec -j RETURN');
    for (const [lists, asks, stamps] of [[[nft.get('stamp'), nft.get('brought')], /ipsec exists return/, /vmap .*stamp_/], [[iptables.get('UPLINKD_POST'), iptables.get('UPLINKD_IN')], /--pol ipsec -j RETURN/, /CONNMARK --set-xmark/]] as const) {
      for (const list of lists) {
        const asked = list?.findIndex((rule) => asks.test(rule)) ?? -1;
        assert.ok(asked >= 0 && asked < (list?.findIndex((rule) => stamps.test(rule)) ?? -1), list?.join('\n'));
      }
    }
  }
});
